# SPDX-License-Identifier: Apache-2.0
"""From what a client asks for to a job of the scheduler: model, voice, text and options checked, errors named."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import quote

from starlette.requests import ClientDisconnect

from zipvoice.config.server import ServerOptions
from zipvoice.server import recordings
from zipvoice.server.admission import Busy, ShuttingDown
from zipvoice.server.errors import ApiError, busy, invalid
from zipvoice.server.request_log import request_id
from zipvoice.server.scheduler import Scheduler
from zipvoice.server.schemas import LiveSettings, Manner, Speech
from zipvoice.server.speech_job import Cancelled, DeadlineExceeded, Failed, SpeechJob, SpeechRequest
from zipvoice.server.storage import Storage
from zipvoice.server.text_feed import TextFeed
from zipvoice.server.voice_store import VoiceStore, recording_key
from zipvoice.synthesis.batch import check_language, spoken_languages
from zipvoice.synthesis.prompt import Prompt
from zipvoice.synthesis.synthesizer import Synthesizer
from zipvoice.text.token_table import SPEAKER_TAGS

OPENAI_MODELS = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
"""Names that clients of OpenAI are fixed to; the model that is served speaks for them, and X-Model names it."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Speaker:
    """What all routes and protocols speak through."""

    synthesizer: Synthesizer
    scheduler: Scheduler
    voices: VoiceStore
    model: str
    """Its name, under which clients ask for it."""
    options: ServerOptions
    decoders: recordings.Decoders = field(default_factory=recordings.Decoders)
    storage: Storage = field(default_factory=Storage)
    """By which the voices are asked."""

    @property
    def languages(self) -> list[str]:
        """What the model speaks, as far as it is known."""
        return list(spoken_languages(self.synthesizer.tokenizer_config))

    @property
    def headers(self) -> dict[str, str]:
        """Sent with all speech."""
        return {"X-Model": quote(self.model, safe=" !#$&'()*+,/:;=?@[]")}

    # ------------------------------------------------------------ speech

    async def speak(self, speech: Speech, key: str, *, goes_on: bool = False) -> SpeechJob:
        """Begin to speak. Raises ApiError for what cannot be done, or not now; what `goes_on` waits instead."""
        self.check(speech)
        self.check_length(speech.input)
        prompt = await self.prompt_of(speech)
        self.log_text(speech.input, speech.voice)
        if goes_on:
            return await self.submit_later(speech.input, prompt, speech, key)
        return self.submit(speech.input, prompt, speech, key)

    def log_text(self, text: str, voice: str | None) -> None:
        """Write a text to the log, where that was asked for."""
        if self.options.log_texts:
            logger.info("%s %s: %r", request_id.get(), voice or "default voice", text)

    def submit(
        self, text: str | TextFeed, prompt: Prompt, manner: Manner, key: str, *, goes_on: bool = False
    ) -> SpeechJob:
        """Begin to speak a text in a voice."""
        seconds = min(manner.timeout_seconds or self.options.request_seconds, self.options.request_seconds)
        try:
            options = manner.options()
            stream = manner.stream is not False and options.duration is None
            request = SpeechRequest(text, prompt, options, stream=stream, deadline_seconds=seconds, key=key)
            return self.scheduler.submit(request, goes_on=goes_on)
        except (ValueError, Busy, Failed) as error:
            raise told(error) from None

    async def submit_later(self, text: str, prompt: Prompt, manner: Manner, key: str) -> SpeechJob:
        """Begin to speak what belongs to a request that was let in, as soon as there is room."""
        until = time.monotonic() + self.options.request_seconds
        while True:
            try:
                return self.submit(text, prompt, manner, key, goes_on=True)
            except ApiError as error:
                if error.status_code != 429:
                    raise
                if time.monotonic() > until:
                    self.scheduler.refuse()
                    raise
                await asyncio.sleep(float((error.headers or {})["Retry-After"]))

    def check(self, manner: Manner) -> None:
        """Raise ApiError for a model or a language that is not served."""
        if manner.model not in (None, self.model, *OPENAI_MODELS):
            raise ApiError(
                404,
                f"there is no model {str(manner.model)[:80]!r}; this server has {self.model}",
                "model_not_found",
                "model",
            )
        try:
            check_language(manner.language, self.synthesizer.tokenizer_config)
        except ValueError as error:
            raise invalid(str(error), "language") from None

    def check_length(self, text: str, param: str = "input") -> None:
        """Raise ApiError for a text that is too long."""
        if len(text) > self.options.max_characters:
            raise invalid(
                f"the text has {len(text)} characters, more than the {self.options.max_characters} that a request may "
                "have; send it in parts",
                param,
                "text_too_long",
            )

    def check_turns(self, texts: Sequence[str]) -> None:
        """Raise ApiError for the first of several texts that cannot be spoken, before any of them is."""
        for number, text in enumerate(texts):
            try:
                self.synthesizer.check_text(text)
            except ValueError as error:
                raise invalid(str(error), f"turns.{number}.text", "invalid_text") from None

    # ------------------------------------------------------------ voices

    async def prompt_of(self, speech: Speech | LiveSettings) -> Prompt:
        """The voice that a request names or brings along."""
        if speech.ref_audio is None or speech.ref_text is None:
            voice = await self.voice(speech.voice)
            if self.synthesizer.is_dialogue and not all(tag in voice.text for tag in SPEAKER_TAGS):
                message = (
                    "this server has a dialogue model: /v1/audio/dialogue takes two voices like this one; for other "
                    "routes upload one of two speakers, whose transcript has [S1] and [S2]"
                )
                raise invalid(message, "voice", "one_speaker")
            return voice
        recording = recordings.of_data_url(speech.ref_audio, self.options.max_upload_bytes)
        return await self.prompt(recording, speech.ref_text)

    async def voice(self, name: str | None) -> Prompt:
        """A voice by its name, wherever its file is. Raises ApiError if there is none of the name."""
        return await self.storage.read(self.voices.get, name)

    async def prompt(self, recording: bytes, text: str) -> Prompt:
        """A voice of a recording and its transcript; kept in memory for a while."""
        key = recording_key(recording, text)
        if (known := self.voices.remembered(key)) is not None:
            return known
        self.check_length(text, "ref_text")
        audio = await self.decoders.decode(recording, self.options.max_recording_seconds)
        try:
            made = partial(
                self.synthesizer.prompt, audio, text, check=False
            )  # complaints tell texts, and cost a hearing
            return self.voices.remember(key, await asyncio.to_thread(made))
        except ValueError as error:
            raise invalid(str(error), "ref_audio", "unusable_recording") from None


def told(error: Exception) -> ApiError:
    """What a client is told of an error of the scheduler or of the synthesizer."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, Cancelled | ShuttingDown):
        return ApiError(503, "the server is shutting down", "shutting_down", headers={"Retry-After": "5"})
    if isinstance(error, Busy):
        return busy(f"{error}; try again later", error.retry_after_seconds, "busy")
    if isinstance(error, DeadlineExceeded):
        return ApiError(408, "the speech was not finished in the time that the request has", "deadline_exceeded")
    if isinstance(error, ClientDisconnect):
        return ApiError(408, "the client is gone", "client_gone")
    if isinstance(error, ValueError):
        return invalid(str(error), "input", "invalid_text")
    logger.error("the request %s failed", request_id.get(), exc_info=error)
    return ApiError(500, "the server failed; its log says why", "internal_error")
