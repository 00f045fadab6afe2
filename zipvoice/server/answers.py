# SPDX-License-Identifier: Apache-2.0
"""Speech as an HTTP answer: sent while it is made, and given up as soon as nobody listens."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from zipvoice.audio.files import Audio
from zipvoice.audio.words import Word
from zipvoice.server.containers import Container, Format, container, media_type, whole_file
from zipvoice.server.errors import ApiError
from zipvoice.server.speaker import told
from zipvoice.server.speech_job import SpeechJob
from zipvoice.synthesis.synthesizer import joined

EVENTS = "text/event-stream"
MAX_HEADER_BYTES = 4096
"""Of what is told of words; clients refuse much larger heads."""

T = TypeVar("T")


async def encoded(parts: AsyncIterator[Audio], name: Format) -> AsyncIterator[bytes]:
    """The parts of a sound as the bytes of a file, as they come."""
    file: Container | None = None
    try:
        async for part in parts:
            file = file or container(name, part.sampling_rate, part.num_channels)
            if data := await asyncio.to_thread(file.add, part):
                yield data
        if file and (data := await asyncio.to_thread(file.end)):
            yield data
    finally:
        if file:
            file.close()


async def as_events(
    chunks: AsyncIterator[bytes], name: Format, about: Callable[[], dict[str, Any]]
) -> AsyncIterator[bytes]:
    """The bytes of a file in OpenAI's events, the last of which tells `about` it; a late error is an event too."""
    begun = False
    try:
        async for chunk in chunks:
            begun = True
            audio = base64.b64encode(chunk).decode()
            yield event("speech.audio.delta", audio=audio, response_format=name)
    except Exception as error:
        if not begun:
            raise
        yield event("speech.audio.error", error=told(error).body)
        return
    yield event("speech.audio.done", **about())


async def heard(parts: AsyncIterator[Audio], words: list[Word]) -> AsyncIterator[Audio]:
    """The parts of a sound; `words` gets theirs, with times from its beginning."""
    start = 0.0
    async for part in parts:
        words += [word.moved(start) for word in part.words]
        start += part.seconds
        yield part


def shown_words(words: Iterable[Word]) -> list[dict[str, Any]]:
    """Words and their times, as other servers tell them."""
    return [
        {"word": each.word, "start_ms": round(1000 * each.start), "end_ms": round(1000 * each.end)} for each in words
    ]


def event(kind: str, **data: Any) -> bytes:
    """One server-sent event."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data}, ensure_ascii=False)}\n\n".encode()


def usage_of(jobs: Sequence[SpeechJob]) -> dict[str, int]:
    """Tokens of the texts, and frames of speech, of which a second has 93.75."""
    spoken, made = sum(job.num_tokens for job in jobs), sum(job.num_frames for job in jobs)
    return {"input_tokens": spoken, "output_tokens": made, "total_tokens": spoken + made}


async def whole_answer(parts: AsyncIterator[Audio], name: Format, headers: dict[str, str]) -> Response:
    """The sound in one piece, with its length."""
    sound = joined([part async for part in parts])
    if sound.words:
        told_words = json.dumps(shown_words(sound.words))
        fits = len(told_words) <= MAX_HEADER_BYTES
        headers |= {"X-Word-Timestamps": told_words} if fits else {"X-Word-Timestamps-Omitted": "too long; ask for sse"}
    return Response(await asyncio.to_thread(whole_file, name, sound), 200, headers, media_type(name))


class Stream(Response):
    """Sends chunks as they are made. An error before the first is an answer of its own; a later one cuts it off.

    Args:
        chunks: the body.
        stop: ends their making; called in any case.
        content_type: of the body.
        headers: sent before it.
        send_seconds: a client that takes in nothing for so long is let go.
    """

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        stop: Callable[[], None],
        content_type: str,
        headers: dict[str, str],
        send_seconds: float,
    ) -> None:
        self.chunks, self.stop, self.send_seconds = chunks, stop, send_seconds
        self.status_code, self.background, self.body_iterator = 200, None, chunks
        without_delay = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        self.init_headers({"Content-Type": content_type, **without_delay, **headers})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with suppress(ApiError):
                await until_gone(receive, self._send(scope, receive, send))
        finally:
            self.stop()

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            first = await anext(self.chunks)
        except Exception as error:
            await told(error).response()(scope, receive, send)
            return
        try:
            await self._within(send({"type": "http.response.start", "status": 200, "headers": self.raw_headers}))
            await self._within(send({"type": "http.response.body", "body": first, "more_body": True}))
            async for chunk in self.chunks:
                await self._within(send({"type": "http.response.body", "body": chunk, "more_body": True}))
            await self._within(send({"type": "http.response.body", "body": b"", "more_body": False}))
        except Exception as error:
            told(error)  # logs what is not the client's
            abort = scope.get("state", {}).get("abort")
            if abort is None:  # another server than `connections` keeps; it cuts off what raises
                raise ConnectionAbortedError("an answer was cut off") from error
            abort()

    async def _within(self, sending: Awaitable[None]) -> None:
        try:
            await asyncio.wait_for(sending, self.send_seconds)
        except asyncio.TimeoutError:
            raise ApiError(408, "the client takes nothing in", "slow_client") from None


async def until_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is given up when the client is gone. Raises ApiError then; nobody will read it."""

    async def listen() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    working, listening = asyncio.ensure_future(work), asyncio.ensure_future(listen())
    try:
        await asyncio.wait({working, listening}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ApiError(408, "the client is gone", "client_gone")
        return working.result()
    finally:
        working.cancel()
        listening.cancel()
        await asyncio.gather(working, listening, return_exceptions=True)
