# SPDX-License-Identifier: Apache-2.0
"""The WebSocket without a process around it: what each message does, and what is sent in which order."""

import asyncio
import json
import logging
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from starlette.websockets import WebSocketDisconnect
from tiny_models import tone

from zipvoice.audio.files import pcm16
from zipvoice.config.server import ServerOptions
from zipvoice.server import containers, live_routes
from zipvoice.server.errors import busy
from zipvoice.server.live_routes import LiveSession
from zipvoice.server.schemas import LiveSettings
from zipvoice.server.speaker import Speaker
from zipvoice.synthesis.synthesizer import joined

CONFIG = {"type": "session.config", "voice": "low", "num_steps": 1, "guidance_scale": 0.0, "seed": 7}
PCM = {**CONFIG, "response_format": "pcm"}
DONE, CLOSE = {"type": "input.done"}, {"type": "session.close"}


def text(words):
    return {"type": "input.text", "text": words}


def talk(speaker, *messages, key="me"):
    """What a session sends to messages, of which the last one is followed by silence; sound as bytes."""
    sent, left = [], [message if isinstance(message, str) else json.dumps(message) for message in messages]

    async def receive():
        if not left:
            await asyncio.sleep(60)
        return {"type": "websocket.receive", "text": left.pop(0)}

    async def send_text(data):
        sent.append(json.loads(data))

    async def send_bytes(data):
        sent.append(data)

    async def talked():
        socket = SimpleNamespace(receive=receive, send_text=send_text, send_bytes=send_bytes, scope={})
        session = LiveSession(socket, speaker, key)
        while await session.handle_next():
            pass
        await session.finish()
        assert not session.is_speaking and not session.waiting

    asyncio.run(asyncio.wait_for(talked(), 60))
    return sent


def test_a_text_is_spoken_and_told_of_from_start_to_end(speaker, caplog):
    loud = replace(speaker, options=replace(speaker.options, log_texts=True))
    with caplog.at_level(logging.INFO, "zipvoice.server"):
        start, *sound, done, end = talk(loud, PCM, text("one "), text("two."), DONE, CLOSE)
    where = {"utterance_index": 0, "sentence_index": 0}
    assert start.pop("sentence_text") in ("one ", "one two.")
    assert start == {"type": "audio.start", **where, "format": "pcm", "sample_rate": 24000}
    data = b"".join(sound)
    assert done == {"type": "audio.done", **where, "total_bytes": len(data), "error": None}
    assert end == {"type": "session.done", "utterance_index": 0, "total_sentences": 1}
    prompt, options = speaker.voices.get("low"), LiveSettings(**{k: v for k, v in PCM.items() if k != "type"}).options()
    expected = pcm16(joined(speaker.synthesizer.stream("one two.", prompt, options))).ravel()
    np.testing.assert_allclose(np.frombuffer(data, "<i2"), expected, atol=4)
    assert caplog.messages == ["- low: 'one two.'"]


def test_the_sound_of_an_utterance_may_come_in_one_message(speaker):
    lines = [text("one two three. " * 3), DONE, text("four."), DONE, CLOSE]
    sent = talk(speaker, {**CONFIG, "stream_audio": False}, *lines)
    kinds = [type(message) if isinstance(message, bytes) else message["type"] for message in sent]
    assert kinds == ["audio.start", bytes, "audio.done", "session.done"] * 2
    assert [message["utterance_index"] for message in sent if isinstance(message, dict)] == [0] * 3 + [1] * 3
    assert [sent[n + 1][:4] for n in (0, 4)] == [b"RIFF"] * 2
    assert [sent[n + 2]["total_bytes"] for n in (0, 4)] == [len(sent[n + 1]) for n in (0, 4)]


def test_a_text_is_whole_when_its_session_is_closed(speaker):
    kinds = [message["type"] for message in talk(speaker, PCM, text("one."), CLOSE) if isinstance(message, dict)]
    assert kinds == ["audio.start", "audio.done", "session.done"]
    assert talk(speaker, DONE, DONE, CLOSE) == talk(speaker, CLOSE) == []


LONG = "one two three four five six seven. " * 4


@pytest.mark.parametrize(
    ("message", "code", "param"),
    [
        ("{", "invalid_json", None),
        ("", "invalid_json", None),
        ("[]", "invalid_json", None),
        ('{"type": 5}', "invalid_json", None),
        ('{"type": "input.done", "type": "input.done"}', "given_twice", "type"),
        ({"type": "cancel"}, "unknown_type", "type"),
        ({"type": "session.close.now"}, "unknown_type", "type"),
        ({"type": "input.text"}, "string_type", "text"),
        ({"type": "input.text", "text": ["a"]}, "string_type", "text"),
        (text("x" * 101), "text_too_long", "text"),
        ({**CONFIG, "speed": 5}, "less_than_equal", "speed"),
        ({**CONFIG, "model": "tts-9"}, "model_not_found", "model"),
        ({**CONFIG, "voice": "nobody"}, "voice_not_found", "voice"),
        ({**CONFIG, "ref_audio": "x", "ref_text": "a", "voice": None}, "invalid_value", "ref_audio"),
    ],
)
def test_a_mistake_is_told_and_changes_nothing(speaker, message, code, param):
    careful = replace(speaker, options=replace(speaker.options, max_characters=100))
    error, *rest = talk(careful, PCM, message, text("one."), DONE, CLOSE)
    assert (error["type"], error["error"]["code"], error["error"]["param"]) == ("error", code, param)
    assert error["message"] == error["error"]["message"] and "retry_after" not in error
    assert rest[0]["format"] == "pcm" and rest[-2]["error"] is None


def test_the_pieces_of_a_text_are_counted_together_and_each_text_anew(speaker):
    careful = replace(speaker, options=replace(speaker.options, max_characters=8))
    sent = talk(careful, PCM, text("one "), text("two."), text("!"), DONE, text("one two."), DONE, CLOSE)
    told = [message for message in sent if isinstance(message, dict)]
    (error,) = (message for message in told if message["type"] == "error")
    assert error["error"]["code"] == "text_too_long"
    assert [message["utterance_index"] for message in told if message["type"] == "session.done"] == [0, 1]


def test_a_type_that_is_no_type_is_shown_in_short(speaker):
    (error,) = talk(speaker, {"type": "x" * 100}, CLOSE)
    assert error["message"] == f"unknown type '{'x' * 80}'"


def test_a_session_without_settings_speaks_as_the_server_does(speaker, monkeypatch):
    asked = []

    def submit(self, feed, prompt, settings, key):
        asked.append((prompt, settings, key))
        raise busy("all places are taken", 6.5, "busy")

    monkeypatch.setattr(Speaker, "submit", submit)
    for words in ([text("one.")], [CONFIG, text("one.")]):
        (error,) = talk(speaker, *words, CLOSE)
        assert (error["error"]["code"], error["retry_after"]) == ("busy", 7)
    (first, settings, key), (second, *_) = asked
    assert first is speaker.voices.get(None) and second is speaker.voices.get("low")
    assert settings == LiveSettings() and key == "me"


def test_cancelling_tells_what_was_not_sent_and_the_count_goes_on(speaker):
    class Slow:
        """A job of which nothing comes."""

        def __init__(self):
            self.ended = 0

        def __aiter__(self):
            return self

        async def __anext__(self):
            await asyncio.sleep(60)

        def cancel(self):
            self.ended += 1

    jobs = [Slow() for _ in range(3)]
    left = list(jobs)
    slow = SimpleNamespace(
        options=ServerOptions(),
        voice=speaker.voice,
        check_length=lambda *_: None,
        log_text=lambda *_: None,
        submit=lambda *_: left.pop(0),
    )
    cancel = {"type": "input.cancel"}
    sent = talk(slow, text("one."), DONE, text("two."), cancel, cancel, text("three."), DONE, cancel, CLOSE)
    assert sent == [{"type": "input.cancelled", "utterance_indices": indices} for indices in ([0, 1], [], [2])]
    assert [job.ended for job in jobs] == [1, 1, 1]


def test_a_text_that_has_begun_goes_on_in_time_or_is_given_up(speaker, monkeypatch):
    """Without one, nothing is waited for in vain."""
    limits = []

    async def wait_for(coming, limit):
        limits.append(limit)
        if limits.count(3.0) == 1 and limit == 3.0:
            coming.close()
            raise asyncio.TimeoutError
        return await coming

    known = {name: getattr(asyncio, name) for name in ("TimeoutError", "create_task", "gather", "to_thread")}
    monkeypatch.setattr(live_routes, "asyncio", SimpleNamespace(wait_for=wait_for, **known))
    hasty = replace(speaker, options=replace(speaker.options, receive_seconds=3.0, send_seconds=7.0))
    cancelled, error = talk(hasty, PCM, text("one"), CLOSE)
    assert limits == [None, None, 3.0, 7.0, 7.0, None]  # three messages, silence, two answers, and the last message
    assert cancelled == {"type": "input.cancelled", "utterance_indices": [0]}
    assert (error["error"]["code"], error["message"]) == ("slow_request", "the text did not go on; it is given up")


def test_a_client_that_leaves_ends_its_session(speaker):
    async def receive():
        return {"type": "websocket.disconnect"}

    session = LiveSession(SimpleNamespace(receive=receive), speaker, "")
    with pytest.raises(WebSocketDisconnect):
        asyncio.run(session.handle_next())


def test_a_text_that_cannot_be_spoken_is_told_of_and_the_next_one_is_spoken(speaker):
    sent = talk(speaker, PCM, text("ü"), DONE, text("one."), DONE, CLOSE)
    done, end, start, *_ = sent
    where = {"utterance_index": 0, "sentence_index": 0}
    error = done.pop("error")
    assert done == {"type": "audio.done", **where, "total_bytes": 0}
    assert (error["code"], error["param"]) == ("invalid_text", "input")
    assert (end["type"], start["type"], start["utterance_index"]) == ("session.done", "audio.start", 1)


@pytest.mark.parametrize("stream_audio", [True, False])
def test_what_was_made_before_an_error_is_sent(speaker, monkeypatch, stream_audio):
    """As it came, or not at all where it was to come as a whole."""

    class Job:
        def __init__(self):
            self.parts = [tone(0.25), tone(0.25), ValueError("no words")]

        def __aiter__(self):
            return self

        async def __anext__(self):
            part = self.parts.pop(0)
            if isinstance(part, Exception):
                raise part
            return part

        def cancel(self):
            pass

    def container(*about):
        file = containers.container(*about)
        monkeypatch.setattr(file, "close", lambda: closed.append(about))
        return file

    closed = []
    monkeypatch.setattr(live_routes, "container", container)
    monkeypatch.setattr(Speaker, "submit", lambda *_: Job())
    start, *sound, done, _ = talk(speaker, {**PCM, "stream_audio": stream_audio}, text("one."), CLOSE)
    assert start["type"] == "audio.start" and [len(data) for data in sound] == [12000] * (2 if stream_audio else 0)
    assert (done["total_bytes"], done["error"]["code"]) == (24000 if stream_audio else 0, "invalid_text")
    assert closed == [("pcm", 24000, 1)]


@pytest.mark.parametrize(
    ("offered", "named"),
    [
        ([], None),
        (["zipvoice"], "zipvoice"),
        (["openai-insecure-api-key.k", "a", "b"], "a"),
        (["openai-insecure-api-key.k"], None),
    ],
)
@pytest.mark.parametrize("last", [CLOSE, None])
def test_a_session_is_known_as_long_as_it_is_there(speaker, offered, named, last):
    """Closed by its client, or left."""
    done, live = [], set()
    messages = [{"type": "websocket.receive", "text": json.dumps(last)}] if last else [{"type": "websocket.disconnect"}]

    async def accept(subprotocol):
        done.append(subprotocol)

    async def receive():
        done.append(len(live))
        return messages.pop(0)

    async def close():
        done.append("closed")

    app = SimpleNamespace(state=SimpleNamespace(speaker=speaker, live=live))
    scope = {"subprotocols": offered, "state": {"key": "k"}}
    asyncio.run(live_routes.stream(SimpleNamespace(app=app, scope=scope, accept=accept, receive=receive, close=close)))
    assert done == [named, 1, *(["closed"] if last else [])] and live == set()
