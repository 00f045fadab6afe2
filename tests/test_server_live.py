# SPDX-License-Identifier: Apache-2.0
"""Text that comes in word by word: the WebSocket, and Wyoming with its own client."""

import asyncio
import contextlib
import json
import socket

import httpx
import pytest
from server_process import HELLO
from websockets.exceptions import ConnectionClosedOK, InvalidStatus
from websockets.sync.client import connect
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.info import Describe, Info
from wyoming.tts import (
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeStopped,
    SynthesizeVoice,
)

from zipvoice.config.server import ServerOptions
from zipvoice.server.errors import busy
from zipvoice.server.wyoming import Event, _Client

SETTINGS = {"type": "session.config", "response_format": "pcm", "num_steps": 1, "seed": 7, "voice": "heart"}
LONG = "Nobody knows why the quick brown fox should jump again and again. " * 12


@pytest.fixture
def live(server):
    with connect(server.url.replace("http", "ws") + "/v1/audio/speech/stream", open_timeout=60) as connection:
        say(connection, **SETTINGS)
        yield connection


def say(connection, **message):
    connection.send(json.dumps(message))


def until(connection, *kinds):
    """Messages up to one of a kind, and the sound among them."""
    messages, sound = [], b""
    while not messages or messages[-1]["type"] not in kinds:
        message = connection.recv(timeout=60)
        if isinstance(message, bytes):
            sound += message
        else:
            messages.append(json.loads(message))
    return messages, sound


def spoken(server, text, **fields):
    body = {"input": text, "response_format": "pcm", "num_steps": 1, "seed": 7, **fields}
    return httpx.post(f"{server.url}/v1/audio/speech", json=body, timeout=120).content


def test_words_become_speech(live, server):
    for word in HELLO.split():
        say(live, type="input.text", text=word + " ")
    say(live, type="input.done")
    messages, sound = until(live, "session.done")
    start, done, end = messages
    assert (start["type"], start["format"], start["sample_rate"]) == ("audio.start", "pcm", 24000)
    assert (start["utterance_index"], start["sentence_index"]) == (0, 0) and HELLO.startswith(
        start["sentence_text"][:5]
    )
    assert done == {
        "type": "audio.done",
        "utterance_index": 0,
        "sentence_index": 0,
        "total_bytes": len(sound),
        "error": None,
    }
    assert end == {"type": "session.done", "utterance_index": 0, "total_sentences": 1}
    assert len(sound) == len(spoken(server, HELLO))


def test_a_clause_is_spoken_before_the_text_ends(live):
    say(live, type="input.text", text="This sentence is whole. And this one ")
    messages, sound = until(live, "audio.start")
    while len(sound) < 24000:
        sound += live.recv(timeout=60)
    say(live, type="input.text", text="is not yet.")
    say(live, type="input.done")
    messages, rest = until(live, "session.done")
    assert messages[0]["total_bytes"] == len(sound + rest)


def test_cancelling_stops_the_sound_and_keeps_the_connection(live, server):
    say(live, type="input.text", text=LONG)
    say(live, type="input.done")
    until(live, "audio.start")
    say(live, type="input.cancel")
    messages, _ = until(live, "input.cancelled")
    assert messages[-1]["utterance_indices"] == [0]
    with pytest.raises(TimeoutError):
        live.recv(timeout=0.3)
    say(live, type="input.text", text="Yes.")
    say(live, type="input.done")
    messages, sound = until(live, "session.done")
    assert messages[-1]["utterance_index"] == 1 and messages[1]["total_bytes"] == len(sound) > 0


def test_utterances_come_in_order_and_a_file_each(live):
    say(live, **{**SETTINGS, "response_format": "wav", "stream_audio": False})
    for text in ("Yes, I do.", "No."):
        say(live, type="input.text", text=text)
        say(live, type="input.done")
    say(live, type="session.close")
    first, one = until(live, "session.done")
    second, two = until(live, "session.done")
    assert [messages[-1]["utterance_index"] for messages in (first, second)] == [0, 1]
    assert one[:4] == two[:4] == b"RIFF" and len(one) > 24000
    with pytest.raises(ConnectionClosedOK):
        live.recv(timeout=60)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{", "invalid_json"),
        (b"\x00\x01", "invalid_json"),
        ("[1]", "invalid_json"),
        ("[" * 100_000, "invalid_json"),
        ('{"type": "input.sing"}', "unknown_type"),
        ('{"type": "input.text", "text": 5}', "string_type"),
        ('{"type": "session.config", "speed": 9}', "less_than_equal"),
        ('{"type": "session.config", "voice": "nobody"}', "voice_not_found"),
        ('{"type": "session.config", "input": "a"}', "unknown_field"),
        ('{"type": "session.config", "ref_audio": "data:audio/wav;base64,AAAA"}', "value_error"),
        ('{"type": "session.config", "ref_audio": "data:a/b;base64,A", "ref_text": "a", "voice": "b"}', "value_error"),
    ],
)
def test_mistakes_are_told_and_the_connection_stays(live, message, code):
    live.send(message)
    messages, _ = until(live, "error")
    assert messages[0]["error"]["code"] == code and messages[0]["message"]
    live.send(json.dumps({"type": "input.text", "text": "?"}))
    live.send(json.dumps({"type": "input.done"}))
    messages, sound = until(live, "session.done")
    assert messages[0]["error"]["code"] == "invalid_text" and not sound


def test_what_is_left_of_a_text_that_failed_is_not_spoken_and_the_next_one_is(live):
    say(live, type="input.text", text="Hello to all of you. [pause x] And more. ")
    messages, _ = until(live, "session.done")
    assert messages[1]["error"]["code"] == "invalid_text"
    say(live, type="input.text", text="This comes too late for it. ")
    say(live, type="input.done")
    say(live, type="input.text", text="Yes.")
    say(live, type="input.done")
    messages, sound = until(live, "session.done")
    assert [message.get("sentence_text") for message in messages] == ["Yes.", None, None]
    assert messages[-1]["utterance_index"] == 1 and sound


def test_a_character_in_two_messages_is_one(live, server):
    for text in ("Yes, I do. \ud83d", "\ude00 And you?"):
        say(live, type="input.text", text=text)
    say(live, type="input.done")
    messages, sound = until(live, "session.done")
    assert messages[0]["sentence_text"] in ("Yes, I do. \ud83d", "Yes, I do. \U0001f600 And you?")
    assert messages[1]["error"] is None and len(sound) == len(spoken(server, "Yes, I do. \U0001f600 And you?"))


@pytest.mark.parametrize("texts", [("Yes, I do. \ud83d", " And you?"), ("Yes, I do. ", "\ude00"), ("\ud83d",)])
def test_half_a_character_is_told(live, texts):
    for text in texts:
        say(live, type="input.text", text=text)
    say(live, type="input.done")
    messages, _ = until(live, "session.done")
    assert "half a character" in messages[-2]["error"]["message"]


def test_pages_from_elsewhere_are_refused(server):
    with pytest.raises(InvalidStatus) as caught:
        connect(server.url.replace("http", "ws") + "/v1/audio/speech/stream", origin="https://evil.example")
    assert caught.value.response.status_code == 403 and b"wrong_origin" in caught.value.response.body


# ---------------------------------------------------------------- Wyoming


def wyoming(server, *events, last=AudioStop):
    """What the server says to events, up to one of the kind `last`."""

    async def talk():
        async with AsyncTcpClient("127.0.0.1", server.wyoming_port) as client:
            for event in events:
                await client.write_event(event.event())
            answers = []
            while not answers or not last.is_type(answers[-1].type):
                answers.append(await asyncio.wait_for(client.read_event(), 60))
            return answers

    return asyncio.run(talk())


def test_home_assistant_finds_the_voices(server):
    (answer,) = wyoming(server, Describe(), last=Info)
    (program,) = Info.from_event(answer).tts
    assert program.supports_synthesize_streaming and program.installed
    (voice,) = [voice for voice in program.voices if voice.name == "heart"]
    assert voice.languages


def sound_of(answers):
    start, *chunks, stop = answers
    assert AudioStart.is_type(start.type) and AudioStop.is_type(stop.type)
    begun, parts = AudioStart.from_event(start), [AudioChunk.from_event(chunk) for chunk in chunks]
    assert (begun.rate, begun.width, begun.channels) == (24000, 2, 1)
    return b"".join(part.audio for part in parts)


def test_home_assistant_speaks(server):
    voice = SynthesizeVoice(name="heart", language="en")
    sound = sound_of(wyoming(server, Synthesize("Yes, I do.", voice=voice)))
    assert sound == spoken(server, "Yes, I do.", num_steps=None, seed=None)


def test_home_assistant_streams(server):
    pieces = [SynthesizeChunk(word) for word in ("Yes, ", "I ", "do.")]
    answers = wyoming(
        server, SynthesizeStart(), *pieces, Synthesize("Yes, I do."), SynthesizeStop(), last=SynthesizeStopped
    )
    assert sound_of(answers[:-1])


def test_home_assistant_is_told_what_is_wrong(server):
    (answer,) = wyoming(server, Synthesize("Yes.", voice=SynthesizeVoice(name="nobody")), last=Error)
    assert "there is no voice 'nobody'" in Error.from_event(answer).text
    (answer,) = wyoming(server, Synthesize("Yes.", voice=SynthesizeVoice(language="tlh")), last=Error)
    assert "'tlh'" in Error.from_event(answer).text
    (answer,) = wyoming(server, Synthesize("?"), last=Error)
    assert Error.from_event(answer).code == "invalid_text"


@pytest.mark.parametrize("voice", ["heart", "nobody"])
def test_home_assistant_does_not_wait_for_the_sound_of_what_cannot_be_spoken(server, voice):
    async def talk():
        async with AsyncTcpClient("127.0.0.1", server.wyoming_port) as client:
            await client.write_event(Synthesize("?", voice=SynthesizeVoice(name=voice)).event())
            return [await asyncio.wait_for(client.read_event(), 60) for _ in range(2)]

    error, end = asyncio.run(talk())
    assert Error.is_type(error.type) and end is None


def test_a_streamed_text_that_fails_is_told_so_and_ended(server):
    async def talk():
        async with AsyncTcpClient("127.0.0.1", server.wyoming_port) as client:
            for event in (SynthesizeStart(), SynthesizeChunk("[pause x] is no mark, is it? Go on. ")):
                await client.write_event(event.event())
            answers = [await asyncio.wait_for(client.read_event(), 60)]
            for event in (SynthesizeChunk("It comes too late."), SynthesizeStop(), Describe()):
                await client.write_event(event.event())
            return [*answers, *[await asyncio.wait_for(client.read_event(), 60) for _ in range(2)]]

    assert [answer and answer.type for answer in asyncio.run(talk())] == ["error", "synthesize-stopped", "info"]


def test_a_streamed_text_is_whole_though_there_was_no_room_for_its_first_words():
    class Speaker:
        """Has room for the second time somebody asks."""

        options, asked = ServerOptions(), []
        voices = None

        def check(self, manner):
            pass

        async def voice(self, name):
            return "voice"

        def log_text(self, text, voice):
            assert text == "Yes, I do."

        def submit(self, text, *given):
            self.asked.append(text)
            if len(self.asked) == 1:
                raise busy("later", 1.0, "busy")
            return Job()

    class Job:
        def __aiter__(self):
            return self

        async def __anext__(self):
            raise StopAsyncIteration

        def cancel(self):
            pass

    class Writer:
        def get_extra_info(self, name):
            return None

        def write(self, data):
            sent.append(json.loads(data.split(b"\n")[0])["type"])

        async def drain(self):
            pass

    async def talk():
        client = _Client(Speaker(), Writer())
        for kind, data in (("start", {}), ("chunk", {"text": "Yes, "}), ("chunk", {"text": "I do."}), ("stop", {})):
            assert await client.handle(Event(f"synthesize-{kind}", data))

    sent = []
    asyncio.run(talk())
    assert sent == ["error", "synthesize-stopped"] and list(Speaker.asked[1]) == ["Yes, I do."]


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xfe\n",
        b"[" * 50_000 + b"\n",
        b"a" * 200_000,
        b'{"type": 5}\n',
        b'{"type": "synthesize", "data": [1]}\n',
        b'{"type": "synthesize", "data_length": 4}\nnull',
        b'{"type": "synthesize", "payload_length": 1000000000000}\n',
        b'{"type": "synthesize", "data_length": -1}\n',
    ],
)
def test_what_is_no_event_ends_its_connection_alone(server, data):
    where = ("127.0.0.1", server.wyoming_port)
    with socket.create_connection(where, timeout=30) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(data)
        assert connection.recv(100) == b""
    assert "Traceback" not in server.log.read_text()
    assert wyoming(server, Describe(), last=Info)
