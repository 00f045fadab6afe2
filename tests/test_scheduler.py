# SPDX-License-Identifier: Apache-2.0
"""Requests spoken together by the scheduler."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from tiny_models import FAST, make_synthesizer, tone

from zipvoice.server.scheduler import Scheduler
from zipvoice.server.speech_job import SpeechRequest
from zipvoice.synthesis.synthesizer import joined

LONG = "one two three, four five six. seven eight nine ten! eleven twelve? " * 3


@pytest.fixture(scope="module")
def synthesizer(tmp_path_factory):
    return make_synthesizer(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def prompt(synthesizer):
    return synthesizer.prompt(tone(0.6), "a low tone")


@pytest.fixture
def scheduler(synthesizer):
    with Scheduler(synthesizer) as scheduler:
        yield scheduler


@pytest.mark.parametrize("stream", [False, True])
def test_requests_spoken_together_sound_as_each_alone(scheduler, synthesizer, prompt, stream):
    texts = [LONG, "no.", "one two three four.", "seven eight nine ten!", LONG * 2]
    options = [
        replace(FAST, num_steps=steps, guidance_scale=scale) for steps, scale in zip(range(1, 6), (0, 1, 2, 0, 1))
    ]
    requests = [
        SpeechRequest(text, prompt, each, name=str(number), stream=stream)
        for number, (text, each) in enumerate(zip(texts, options))
    ]
    for request, job in [(request, scheduler.submit(request)) for request in requests]:
        alone = synthesizer.stream if stream else synthesizer.parts
        expected = joined(alone(request.text, prompt, request.options, name=request.name))
        np.testing.assert_allclose(joined(job).samples, expected.samples, atol=1e-4)


def test_async(scheduler, prompt):
    async def speak():
        async with scheduler.submit(SpeechRequest(LONG, prompt, FAST, stream=True)) as job:
            return [part async for part in job]

    assert len(asyncio.run(speak())) > 2
