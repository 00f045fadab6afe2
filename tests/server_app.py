# SPDX-License-Identifier: Apache-2.0
"""The application of a small server, for tests without a process around it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from tiny_models import make_synthesizer, tone

from zipvoice.config.server import ServerOptions
from zipvoice.server.admission import SchedulerLimits
from zipvoice.server.scheduler import Scheduler
from zipvoice.server.speaker import Speaker
from zipvoice.server.voice_folders import folder_at
from zipvoice.server.voice_store import VoiceStore, details_of

HERE = "http://127.0.0.1:8000"
QUICK = {"num_steps": 1, "guidance_scale": 0.0, "seed": 7, "response_format": "pcm"}


@contextmanager
def small_speaker(folder: Path) -> Iterator[Speaker]:
    """A small server of one voice that holds two requests at a time."""
    (folder / "model").mkdir()
    synthesizer = make_synthesizer(folder / "model")
    store = VoiceStore(folder_at(folder / "voices"), {"alloy": "low"})
    prompt = synthesizer.prompt(tone(0.6), "a low tone")
    store.add("low", prompt, details_of(b"", "audio/wav", "yes", "a low tone", None))
    with Scheduler(synthesizer, SchedulerLimits(max_requests=2, queue_seconds=1e6, burst_seconds=0)) as scheduler:
        yield Speaker(synthesizer, scheduler, store, "tiny", ServerOptions())


def ask(app, method, path, **given):
    async def asked():
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=HERE, timeout=60) as client:
            return await client.request(method, path, **given)

    return asyncio.run(asked())


class Job:
    """Speech that is there, or fails, and how often it was given up."""

    num_tokens, num_frames = 3, 50

    def __init__(self, *parts):
        self.parts, self.ended = list(parts), 0

    def __aiter__(self):
        return self

    async def __anext__(self):
        if not self.parts:
            raise StopAsyncIteration
        part = self.parts.pop(0)
        if isinstance(part, Exception):
            raise part
        return part

    def cancel(self):
        self.ended += 1

    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        self.cancel()
