# SPDX-License-Identifier: Apache-2.0
"""The Wyoming protocol, by which Home Assistant speaks: events over TCP, a line of JSON each, with data and payload.

As the package `wyoming` 1.10 has it, with bounds on what a stranger may send. Texts come whole (`synthesize`), or piece
by piece (`synthesize-start`, `-chunk`, `-stop`); then the whole comes once more, for older servers.
"""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import zipvoice
from zipvoice.audio.files import pcm16
from zipvoice.server.errors import invalid
from zipvoice.server.schemas import Manner
from zipvoice.server.speaker import Speaker, told
from zipvoice.server.speech_job import SpeechJob
from zipvoice.server.text_feed import TextFeed
from zipvoice.synthesis.prompt import Prompt

MAX_LINE_BYTES = 1 << 16
MAX_DATA_BYTES = 1 << 20
MAX_CONNECTIONS = 100
IDLE_SECONDS = 600.0
WIDTH = 2
"""Bytes of a sample."""
URL = "https://github.com/k2-fsa/ZipVoice"


@dataclass(frozen=True)
class Event:
    """What one side tells the other."""

    type: str
    data: dict[str, Any] = field(default_factory=dict)
    payload: bytes = b""


async def read_event(reader: asyncio.StreamReader) -> Event | None:
    """The next event, None at the end. Raises ValueError for anything that is none."""
    line = await reader.readline()
    if not line:
        return None
    head = json.loads(line)
    if not isinstance(head, dict) or not isinstance(head.get("type"), str):
        raise ValueError("an event is a JSON object with a type")
    lengths = [head.get(name) or 0 for name in ("data_length", "payload_length")]
    if not all(type(length) is int and 0 <= length <= MAX_DATA_BYTES for length in lengths):
        raise ValueError(f"an event has at most {MAX_DATA_BYTES} bytes of data and of payload")
    parts = [head.get("data") or {}, json.loads(await reader.readexactly(lengths[0]) or b"{}")]
    if not all(isinstance(part, dict) for part in parts):
        raise ValueError("the data of an event is a JSON object")
    return Event(head["type"], {**parts[0], **parts[1]}, await reader.readexactly(lengths[1]))


def event_bytes(event: Event) -> bytes:
    """An event as it is sent."""
    data = json.dumps(event.data).encode() if event.data else b""
    head = {"type": event.type, "data_length": len(data), "payload_length": len(event.payload)}
    return json.dumps(head).encode() + b"\n" + data + event.payload


class WyomingServer:
    """Connections of all clients. They are not asked for keys: the protocol has none."""

    def __init__(self, speaker: Speaker) -> None:
        self.speaker = speaker
        self._clients: dict[asyncio.Task[None], _Client] = {}
        self._is_draining = False

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until it leaves, or sends what is no event."""
        task = asyncio.current_task()
        assert task is not None
        client = self._clients[task] = _Client(self.speaker, writer)
        is_one_too_many = len(self._clients) > MAX_CONNECTIONS
        try:
            while not (is_one_too_many or self._is_draining):
                event = await asyncio.wait_for(read_event(reader), IDLE_SECONDS)
                if event is None:
                    break
                if not await client.handle(event):
                    break
        except (ValueError, OSError, EOFError, asyncio.TimeoutError, RecursionError):
            pass
        finally:
            await client.cancel()
            del self._clients[task]
            if client.is_stuck:
                writer.transport.abort()
            else:
                writer.close()
                loop = asyncio.get_running_loop()  # what the client does not take in would keep it open for good
                loop.call_later(self.speaker.options.send_seconds, writer.transport.abort)

    async def drain(self, seconds: float) -> None:
        """Let what is being spoken end, for at most so long, and then end all connections."""
        self._is_draining = True
        speaking = [task for task, client in self._clients.items() if client.job is not None]
        if speaking:
            await asyncio.wait(speaking, timeout=seconds)
        for client in self._clients.values():
            client.writer.close()  # its reader finds the end; asyncio tells of handlers that it has to cancel
        if self._clients:
            await asyncio.wait(list(self._clients), timeout=1.0)


class _Client:
    """What one client is told."""

    def __init__(self, speaker: Speaker, writer: asyncio.StreamWriter) -> None:
        self.speaker, self.writer = speaker, writer
        self.key = str((writer.get_extra_info("peername") or [""])[0])
        self.voice: Prompt | None = None
        self.feed: TextFeed | None = None
        self.job: SpeechJob | None = None
        self.name: str | None = None
        """Of the voice that speaks what is streamed."""
        self.sending: asyncio.Task[bool] | None = None
        self.is_stuck = False
        self.has_failed = False
        """Whether a whole text could not be spoken."""

    async def handle(self, event: Event) -> bool:
        """Do what an event says, and tell what is wrong with it; whether the connection stays.

        It ends where a whole text cannot be spoken: clients wait for the end of the sound, or of the connection.
        """
        answers = {
            "describe": self._describe,
            "ping": self._ping,
            "synthesize": self._synthesize,
            "synthesize-start": self._start,
            "synthesize-chunk": self._chunk,
            "synthesize-stop": self._stop,
        }
        if event.type in answers:
            try:
                await answers[event.type](event.data)
            except OSError:
                raise
            except Exception as problem:
                error = told(problem)
                await self._send("error", text=error.message, code=error.code)
                return event.type != "synthesize"
        return not self.has_failed

    async def _describe(self, data: dict[str, Any]) -> None:
        names = await self.speaker.storage.read(self.speaker.voices.names)
        await self._send("info", tts=[_program(self.speaker, names)])

    async def _ping(self, data: dict[str, Any]) -> None:
        await self._send_event(Event("pong", data))

    async def _synthesize(self, data: dict[str, Any]) -> None:
        if self.feed is not None:
            return  # the whole text of what is streamed
        text = data.get("text")
        if not isinstance(text, str):
            raise invalid("text must be a string", "text")
        self.speaker.check_length(text, "text")
        prompt = await self._prompt(data)
        self.speaker.log_text(text, (data.get("voice") or {}).get("name"))
        self.job = self.speaker.submit(text, prompt, Manner(), self.key)
        self.has_failed = not await self._send_sound(self.job)
        self.job = None

    async def _start(self, data: dict[str, Any]) -> None:
        await self.cancel()
        self.voice, self.feed = await self._prompt(data), TextFeed()
        self.name = (data.get("voice") or {}).get("name")

    async def _chunk(self, data: dict[str, Any]) -> None:
        text = data.get("text")
        if self.feed is None or self.voice is None or not isinstance(text, str):
            raise invalid("synthesize-chunk follows synthesize-start and has a text", "text")
        if len(self.feed.text + text) > self.speaker.options.max_characters:
            await self.cancel()
            raise invalid("the text is too long", "text", "text_too_long")
        with suppress(ValueError):  # what is left of a text that failed
            self.feed.write(text)
        if self.job is None and text.strip():
            self.job = self.speaker.submit(self.feed, self.voice, Manner(), self.key)
            self.sending = asyncio.create_task(self._send_sound(self.job))

    async def _stop(self, data: dict[str, Any]) -> None:
        if self.feed is not None:
            self.feed.end()
            self.speaker.log_text(self.feed.text, self.name)
        try:
            if self.sending is not None:
                await self.sending
        finally:
            self.feed = self.job = self.sending = None
            await self._send("synthesize-stopped")

    async def _prompt(self, data: dict[str, Any]) -> Prompt:
        if data.get("text_format", "text") != "text":
            raise invalid("texts are plain, with the marks of docs/text.md; there is no SSML here", "text_format")
        voice = data.get("voice") or {}
        if not isinstance(voice, dict) or not all(isinstance(voice.get(k), str | None) for k in ("name", "language")):
            raise invalid("voice must be an object with a name and a language", "voice")
        self.speaker.check(Manner(language=voice.get("language")))
        return await self.speaker.voice(voice.get("name"))

    async def cancel(self) -> None:
        """Give up what is being spoken."""
        if self.job is not None:
            self.job.cancel()  # closes its text, which by itself would be one that failed
        if self.sending is not None:
            self.sending.cancel()
            await asyncio.gather(self.sending, return_exceptions=True)
        self.feed = self.job = self.sending = None

    async def _send_sound(self, job: SpeechJob) -> bool:
        """Send what is spoken, and what is wrong with it; whether nothing is."""
        begun, problem = False, None
        try:
            async for part in job:
                about = {"rate": part.sampling_rate, "width": WIDTH, "channels": part.num_channels}
                if not begun:
                    await self._send("audio-start", **about)
                begun = True
                await self._send_event(Event("audio-chunk", about, pcm16(part).astype("<i2").tobytes()))
        except OSError:
            raise
        except Exception as error:
            problem = told(error)
            await self._send("error", text=problem.message, code=problem.code)
        finally:
            job.cancel()
        if begun:
            await self._send("audio-stop")
        return problem is None

    async def _send(self, kind: str, **data: Any) -> None:
        await self._send_event(Event(kind, data))

    async def _send_event(self, event: Event) -> None:
        self.writer.write(event_bytes(event))
        try:
            await asyncio.wait_for(self.writer.drain(), self.speaker.options.send_seconds)
        except asyncio.TimeoutError:
            self.is_stuck = True
            raise ConnectionError("the client takes nothing in") from None


def _program(speaker: Speaker, voices: list[str]) -> dict[str, Any]:
    """What Home Assistant shows, and the voices that it can choose."""
    attribution = {"name": "ZipVoice", "url": URL}
    about = {"attribution": attribution, "installed": True, "version": zipvoice.__version__}
    languages = speaker.languages
    shown = [{"name": name, "description": name, "languages": languages, "speakers": None, **about} for name in voices]
    return {
        "name": "zipvoice",
        "description": speaker.model,
        "voices": shown,
        "supports_synthesize_streaming": True,
        **about,
    }
