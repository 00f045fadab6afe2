# SPDX-License-Identifier: Apache-2.0
"""Text that comes in word by word, and its sound: the WebSocket /v1/audio/speech/stream.

A client sends `session.config` (fields as for /v1/audio/speech), `input.text` as often as it has some, `input.done`
where an utterance ends, and `session.close`. It gets `audio.start`, the sound in binary messages, `audio.done` and
`session.done`, utterance by utterance. `input.cancel` stops the sound at once, and the connection stays.
"""

import asyncio
import json
from contextlib import suppress
from typing import Any

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from zipvoice.server.containers import container
from zipvoice.server.errors import ApiError, invalid, of_validation
from zipvoice.server.guard import KEY_PROTOCOL
from zipvoice.server.json_bodies import parsed
from zipvoice.server.schemas import LiveSettings
from zipvoice.server.speaker import Speaker, told
from zipvoice.server.speech_job import SpeechJob
from zipvoice.server.speech_routes import caller
from zipvoice.server.text_feed import TextFeed
from zipvoice.synthesis.prompt import Prompt

router = APIRouter()


@router.websocket("/v1/audio/speech/stream")
async def stream(websocket: WebSocket) -> None:
    """Speak texts as they are written; see the module."""
    asked = websocket.scope.get("subprotocols", [])
    named = next((name for name in asked if not name.startswith(KEY_PROTOCOL)), None)
    await websocket.accept(subprotocol=named)
    session = LiveSession(websocket, websocket.app.state.speaker, caller(websocket))
    sessions: set[LiveSession] = websocket.app.state.live
    sessions.add(session)
    try:
        while await session.handle_next():
            pass
        await session.finish()
        await websocket.close()
    except WebSocketDisconnect:
        pass
    finally:
        sessions.remove(session)
        await session.cancel()


class Utterance:
    """What is spoken in one go: its text may still be coming."""

    def __init__(self, index: int, feed: TextFeed, job: SpeechJob, settings: LiveSettings) -> None:
        self.index, self.feed, self.job, self.settings = index, feed, job, settings

    def write(self, text: str) -> None:
        """Add text; that of an utterance which failed is not spoken, and its end was told."""
        with suppress(ValueError):
            self.feed.write(text)

    def cancel(self) -> None:
        self.job.cancel()  # closes its text, which by itself would be one that failed


class LiveSession:
    """One connection: the texts it brings, spoken one after the other."""

    def __init__(self, websocket: WebSocket, speaker: Speaker, key: str) -> None:
        self.websocket, self.speaker, self.key = websocket, speaker, key
        self.settings = LiveSettings()
        self.prompt: Prompt | None = None
        self.num_utterances = 0
        self.waiting: list[Utterance] = []
        """Not yet sent to their ends; the text of the last one may be open."""
        self.open: Utterance | None = None
        """The last one while its text goes on, even if it failed: what is left of its text is nobody's then."""
        self.sending: asyncio.Task[None] | None = None

    @property
    def is_speaking(self) -> bool:
        """Whether something is still to be sent."""
        return self.sending is not None and not self.sending.done()

    # ------------------------------------------------------------ what comes in

    async def handle_next(self) -> bool:
        """Do what the next message says; whether more may come. What is wrong is told, and the session stays."""
        try:
            kind, message = await self._received()
            if kind == "session.close":
                return False
            if kind not in ("session.config", "input.text", "input.done", "input.cancel"):
                raise invalid(f"unknown type {kind[:80]!r}", "type", "unknown_type")
            await getattr(self, f"_{kind.replace('.', '_')}")(message)
        except WebSocketDisconnect:
            raise
        except Exception as problem:
            error = told(problem)
            wait = {"retry_after": int(seconds)} if (seconds := (error.headers or {}).get("Retry-After")) else {}
            await self._send("error", message=error.message, error=error.body, **wait)
        return True

    async def _received(self) -> tuple[str, dict[str, Any]]:
        limit = self.speaker.options.receive_seconds if self.open else None
        try:
            event = await asyncio.wait_for(self.websocket.receive(), limit)
        except asyncio.TimeoutError:
            await self._input_cancel({})
            raise ApiError(408, "the text did not go on; it is given up", "slow_request") from None
        if event["type"] == "websocket.disconnect":
            raise WebSocketDisconnect
        try:
            message = parsed(event.get("text") or "")
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            raise invalid("messages are JSON objects with a type", code="invalid_json")
        return message.pop("type"), message

    async def _session_config(self, message: dict[str, Any]) -> None:
        try:
            settings = LiveSettings.model_validate(message)
        except ValidationError as error:
            raise of_validation([dict(each) for each in error.errors()]) from None
        self.speaker.check(settings)
        self.prompt = await self.speaker.prompt_of(settings)
        self.settings = settings

    async def _input_text(self, message: dict[str, Any]) -> None:
        text = message.get("text")
        if not isinstance(text, str):
            raise invalid("text must be a string", "text", "string_type")
        self.speaker.check_length((self.open.feed.text if self.open else "") + text, "text")
        if self.open is None:
            self.open = await self._begun()
            self.waiting.append(self.open)
        self.open.write(text)
        if self.waiting and not self.is_speaking:
            self.sending = asyncio.create_task(self._send_all())

    async def _begun(self) -> Utterance:
        feed = TextFeed()
        prompt = self.prompt or await self.speaker.voice(None)
        job = self.speaker.submit(feed, prompt, self.settings, self.key)
        self.num_utterances += 1
        return Utterance(self.num_utterances - 1, feed, job, self.settings)

    async def _input_done(self, message: dict[str, Any]) -> None:
        if self.open:
            self.open.feed.end()
            self.speaker.log_text(self.open.feed.text, self.open.settings.voice)
            self.open = None

    async def _input_cancel(self, message: dict[str, Any]) -> None:
        indices = [utterance.index for utterance in self.waiting]
        await self.cancel()
        await self._send("input.cancelled", utterance_indices=indices)

    async def cancel(self) -> None:
        """Give up all that is not yet sent; nothing of it is sent afterwards."""
        for utterance in self.waiting:
            utterance.cancel()
        self.waiting, self.open = [], None
        if self.sending is not None:
            self.sending.cancel()
            await asyncio.gather(self.sending, return_exceptions=True)
            self.sending = None  # `finish` would be cancelled with it

    async def finish(self) -> None:
        """Speak what has come to its end."""
        await self._input_done({})
        if self.sending is not None:
            await self.sending

    # ------------------------------------------------------------ what goes out

    async def _send_all(self) -> None:
        while self.waiting:
            utterance = self.waiting[0]
            await self._send_sound(utterance, utterance.settings)
            await self._send("session.done", utterance_index=utterance.index, total_sentences=1)
            self.waiting.remove(utterance)

    async def _send_sound(self, utterance: Utterance, settings: LiveSettings) -> None:
        where = {"utterance_index": utterance.index, "sentence_index": 0}
        file, held, total, error = None, b"", 0, None
        try:
            async for part in utterance.job:
                if file is None:
                    file = container(settings.response_format, part.sampling_rate, part.num_channels)
                    about = {"format": settings.response_format, "sample_rate": part.sampling_rate}
                    await self._send("audio.start", **where, sentence_text=utterance.feed.text, **about)
                held += await asyncio.to_thread(file.add, part)
                if settings.stream_audio:
                    held, total = b"", total + await self._send_bytes(held)
            held += await asyncio.to_thread(file.end) if file else b""
            total += await self._send_bytes(held)
        except WebSocketDisconnect:
            raise
        except Exception as problem:
            error = told(problem).body
        finally:
            if file:
                file.close()
        await self._send("audio.done", **where, total_bytes=total, error=error)

    async def _send_bytes(self, data: bytes) -> int:
        if data:
            await self._within(self.websocket.send_bytes(data))
        return len(data)

    async def _send(self, kind: str, **message: Any) -> None:
        await self._within(self.websocket.send_text(json.dumps({"type": kind, **message})))

    async def _within(self, sending: Any) -> None:
        """Send, unless the client takes in nothing."""
        try:
            await asyncio.wait_for(sending, self.speaker.options.send_seconds)
        except asyncio.TimeoutError:
            if abort := self.websocket.scope.get("state", {}).get("abort"):  # of `connections`, which not all serve by
                abort()
            raise WebSocketDisconnect from None
