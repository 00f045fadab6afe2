# SPDX-License-Identifier: Apache-2.0
"""A scheduler whose model takes its steps when a test says so; for `pytest_plugins`."""

import threading
import time

import numpy as np
import pytest
from closed_form_model import ClosedFormModel
from tiny_models import LETTERS, tone

from zipvoice.config.model_file import ModelFile
from zipvoice.config.synthesis import SynthesisOptions
from zipvoice.config.text import TokenizerConfig
from zipvoice.runtime.base import ModelDescription
from zipvoice.server.admission import SchedulerLimits
from zipvoice.server.scheduler import Scheduler
from zipvoice.server.speech_job import SpeechRequest
from zipvoice.synthesis.synthesizer import Synthesizer

LONG = "one two three, four five six. seven eight nine ten! eleven twelve? " * 3
WORDS = "one two three four"
PATIENCE = 20.0
"""Seconds after which a test gives up."""


class StepByStepModel(ClosedFormModel):
    """Takes its steps when the test says so, and remembers the times of those in each; refuses texts with a Q."""

    def __init__(self):
        super().__init__(ModelDescription.of(ModelFile(), "zipvoice_distill", LETTERS.vocabulary))
        self.allowed = threading.Semaphore(0)
        self.steps = []
        self.asked = threading.Semaphore(0)
        self.is_free = False

    def condition(self, tokens, num_tokens, num_frames, speech):
        if (tokens == LETTERS.ids(["Q"])[0]).any():
            raise RuntimeError("Q is too much for this runtime")
        return super().condition(tokens, num_tokens, num_frames, speech)

    def velocity(self, t, x, condition, guidance_scale):
        self.steps.append([round(float(time), 3) for time in np.broadcast_to(np.ravel(t), len(x))])
        self.asked.release()
        assert self.is_free or self.allowed.acquire(timeout=PATIENCE)
        return super().velocity(t, x, condition, guidance_scale)

    def wait_for_step(self):
        """Until the next one has begun."""
        assert self.asked.acquire(timeout=PATIENCE)

    def step(self):
        """Let the present step end and wait until the next one has begun."""
        self.allowed.release()
        self.wait_for_step()

    def run(self):
        """Let all steps go on, those that wait too."""
        self.is_free = True
        self.allowed.release(8)


def hum(log_mel):
    """A vocoder of tones."""
    return np.repeat(tone((log_mel.shape[2] - 1) * 256 / 24000).samples, len(log_mel), axis=0)


@pytest.fixture
def model():
    return StepByStepModel()


@pytest.fixture
def stepping(model):
    return Synthesizer(model, hum, TokenizerConfig("simple"), LETTERS)


@pytest.fixture
def make(stepping, model):
    """Makes a scheduler of the given limits, one in a test."""
    made = []

    def start(**limits):
        made.append(Scheduler(stepping, SchedulerLimits(**{"max_batch_frames": 1500, **limits})))
        return made[0]

    yield start
    model.run()
    for scheduler in made:
        scheduler.close()


def request(text, prompt, num_steps=4, **more):
    return SpeechRequest(text, prompt, SynthesisOptions(num_steps=num_steps, t_shift=1.0), **more)


def until(condition):
    """Wait for what another thread does."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)
