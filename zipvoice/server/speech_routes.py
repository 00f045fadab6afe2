# SPDX-License-Identifier: Apache-2.0
"""Routes that speak: one text, several texts, a dialogue."""

import asyncio
import base64
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import ValidationError
from starlette.requests import HTTPConnection
from starlette.responses import Response

from zipvoice.audio.files import Audio
from zipvoice.audio.words import Word
from zipvoice.server import dialogues
from zipvoice.server.answers import (
    EVENTS,
    Stream,
    as_events,
    encoded,
    heard,
    shown_words,
    until_gone,
    usage_of,
    whole_answer,
)
from zipvoice.server.containers import media_type, whole_file
from zipvoice.server.errors import ApiError, invalid, of_validation
from zipvoice.server.json_bodies import JsonRoute
from zipvoice.server.schemas import Batch, Dialogue, Manner, Speech
from zipvoice.server.speaker import Speaker, told
from zipvoice.server.speech_job import SpeechJob
from zipvoice.synthesis.synthesizer import joined

MAX_BATCH_BYTES = 1 << 27
"""Of the sounds of a batch, before which another is begun: 47 minutes of wav."""

router = APIRouter(prefix="/v1/audio", tags=["speech"], route_class=JsonRoute)


async def _speaker(connection: HTTPConnection) -> Speaker:
    speaker: Speaker = connection.app.state.speaker
    return speaker


def caller(connection: HTTPConnection) -> str:
    """Whose request it is, for limits: the key, or the address where there are none."""
    known: str | None = connection.scope.get("state", {}).get("key")
    return known or (connection.client.host if connection.client else "")


Speaking = Annotated[Speaker, Depends(_speaker)]


@router.post("/speech", response_class=Response, responses={200: {"content": {"audio/mpeg": {}, EVENTS: {}}}})
async def speech(body: Speech, request: Request, speaker: Speaking) -> Response:
    """Speak a text, as OpenAI's route does."""
    job = await speaker.speak(body, caller(request))
    return await _answer(body, job, [job], request, speaker)


@router.post("/dialogue", response_class=Response, responses={200: {"content": {"audio/mpeg": {}, EVENTS: {}}}})
async def dialogue(body: Dialogue, request: Request, speaker: Speaking) -> Response:
    """Speak turns, each in its voice: one after the other, or in one where the model is one for dialogues."""
    speaker.check_length("".join(turn.text for turn in body.turns), "turns")
    speaker.check(body)
    by_name = {name: await speaker.voice(name) for name in dict.fromkeys(turn.voice for turn in body.turns)}
    voices = [by_name[turn.voice] for turn in body.turns]
    for turn in body.turns:
        speaker.log_text(turn.text, turn.voice)
    if speaker.synthesizer.is_dialogue:
        job = dialogues.in_one(body, voices, speaker, caller(request))
        return await _answer(body, job, [job], request, speaker)
    await asyncio.to_thread(speaker.check_turns, [turn.text for turn in body.turns])
    jobs: list[SpeechJob] = []
    turns = dialogues.one_by_one(body, voices, speaker, caller(request), jobs)
    return await _answer(body, turns, jobs, request, speaker)


async def _answer(
    manner: Manner, parts: AsyncIterator[Audio], jobs: Sequence[SpeechJob], request: Request, speaker: Speaker
) -> Response:
    """The parts as the answer that was asked for."""

    def stop() -> None:
        for job in jobs:
            job.cancel()

    headers = speaker.headers
    if manner.ignored:
        headers["X-Ignored-Fields"] = ", ".join(manner.ignored)
    name = manner.response_format
    if manner.stream is False and manner.stream_format == "audio":
        try:
            return await until_gone(request.receive, whole_answer(parts, name, headers))
        except Exception as error:
            raise told(error) from None
        finally:
            stop()
    words: list[Word] = []
    chunks, content_type = encoded(heard(parts, words), name), media_type(name)
    if manner.stream_format == "sse":
        chunks, content_type = as_events(chunks, name, lambda: _about(jobs, words)), EVENTS
    return Stream(chunks, stop, content_type, headers, speaker.options.send_seconds)


def _about(jobs: Sequence[SpeechJob], words: Sequence[Word]) -> dict[str, Any]:
    """What is told of speech beside its sound."""
    times = {"word_timestamps": shown_words(words)} if words else {}
    return {"usage": usage_of(jobs), **times}


@router.post("/speech/batch")
async def batch(body: Batch, request: Request, speaker: Speaking) -> dict[str, Any]:
    """Speak several texts; what cannot be spoken is an error of its item, not of the request."""
    turnstile, door = asyncio.Semaphore(dialogues.IN_FLIGHT), _Door()

    async def spoken(index: int, item: dict[str, Any]) -> dict[str, Any]:
        async with turnstile:
            try:
                return {"index": index, "status": "success", **await _item(item, speaker, caller(request), door)}
            except ApiError as error:
                if error.status_code in (429, 503) and not door.is_open:
                    raise  # nothing of it was let in
                return {"index": index, "status": "error", "error": error.body}

    async def results() -> list[dict[str, Any]]:
        tasks = [asyncio.ensure_future(spoken(index, item)) for index, item in enumerate(body.merged())]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    done = await until_gone(request.receive, results())
    succeeded = sum(result["status"] == "success" for result in done)
    return {
        "id": f"batch-{uuid.uuid4().hex}",
        "results": done,
        "total": len(done),
        "succeeded": succeeded,
        "failed": len(done) - succeeded,
    }


class _Door:
    """Lets the first of several jobs in if there is room for it, and the others when there is.

    The answer holds the sounds of all: when those that are there are large, no more is spoken.
    """

    def __init__(self) -> None:
        self.is_open, self._lock = False, asyncio.Lock()
        self.num_bytes = 0
        """Of the sounds that are there."""

    async def enter(self, speech: Speech, speaker: Speaker, key: str) -> SpeechJob:
        """Begin to speak. Raises ApiError."""
        if self.num_bytes > MAX_BATCH_BYTES:
            message = f"the sounds before this one have {self.num_bytes} bytes; send the others in batches of their own"
            raise ApiError(413, message, "too_large")
        async with self._lock:
            if not self.is_open:
                job = await speaker.speak(speech, key)
                self.is_open = True
                return job
        return await speaker.speak(speech, key, goes_on=True)


async def _item(item: dict[str, Any], speaker: Speaker, key: str, door: _Door) -> dict[str, Any]:
    """The sound of one item of a batch. Raises ApiError."""
    try:
        speech = Speech.model_validate({**item, "stream": False})
    except ValidationError as error:
        raise of_validation([dict(each) for each in error.errors()]) from None
    if speech.stream_format == "sse":
        raise invalid("a batch is answered as a whole; leave out stream_format", "stream_format")
    try:
        async with await door.enter(speech, speaker, key) as job:
            sound = joined([part async for part in job])
            data = await asyncio.to_thread(whole_file, speech.response_format, sound)
            door.num_bytes += len(data)
    except Exception as error:
        raise told(error) from None
    return {
        "audio_data": base64.b64encode(data).decode(),
        "media_type": media_type(speech.response_format),
        **_about([job], sound.words),
    }
