# SPDX-License-Identifier: Apache-2.0
"""Events of the Wyoming protocol: how they are read and written, and what a client is told, to the letter."""

import asyncio
import json
import logging
from dataclasses import replace
from types import SimpleNamespace

import pytest
from server_app import Job
from tiny_models import tone

from zipvoice.server import wyoming
from zipvoice.server.schemas import Manner
from zipvoice.server.wyoming import MAX_DATA_BYTES, Event, event_bytes, read_event

VOICE = {"voice": {"name": "low"}}
TEXT = "one two three."


async def read(data: bytes) -> Event | None:
    reader = asyncio.StreamReader(limit=wyoming.MAX_LINE_BYTES)
    reader.feed_data(data)
    reader.feed_eof()
    return await read_event(reader)


def chunks(*texts):
    return [Event("synthesize-chunk", {"text": text}) for text in texts]


@pytest.mark.parametrize(
    "event", [Event("ping"), Event("synthesize", {"text": "字 \ud83d"}), Event("audio-chunk", {"rate": 1}, b"\n\0{")]
)
def test_an_event_is_read_as_it_was_sent(event):
    assert asyncio.run(read(event_bytes(event))) == event


def test_data_in_the_line_and_behind_it_are_one():
    line = {"type": "a", "data": {"x": 1, "y": 1}, "data_length": 8, "payload_length": None, "version": "1.10.2"}
    assert asyncio.run(read(json.dumps(line).encode() + b'\n{"x": 2}')) == Event("a", {"x": 2, "y": 1})
    assert asyncio.run(read(b"")) is None


@pytest.mark.parametrize("name", ["data_length", "payload_length"])
def test_an_event_has_a_bounded_length(name):
    def sent(length):
        body = b"{" + b" " * (MAX_DATA_BYTES - 2) + b"}"
        return json.dumps({"type": "a", name: length}).encode() + b"\n" + body + b" "

    event = asyncio.run(read(sent(MAX_DATA_BYTES)))
    assert len(event.payload) == (MAX_DATA_BYTES if name == "payload_length" else 0)
    for length in (MAX_DATA_BYTES + 1, -1, True, 1.5, "1"):
        with pytest.raises(ValueError, match=f"at most {MAX_DATA_BYTES} bytes"):
            asyncio.run(read(sent(length)))
    with pytest.raises(EOFError):
        asyncio.run(read(sent(MAX_DATA_BYTES)[:-9]))


def test_limits_are_these():
    known = (wyoming.MAX_LINE_BYTES, MAX_DATA_BYTES, wyoming.MAX_CONNECTIONS, wyoming.IDLE_SECONDS, wyoming.WIDTH)
    assert known == (65536, 1048576, 100, 600.0, 2)


def test_an_event_is_a_line_and_what_follows_it():
    line, _, rest = event_bytes(Event("a", {"x": 1}, b"abc")).partition(b"\n")
    assert json.loads(line) == {"type": "a", "data_length": 8, "payload_length": 3} and rest == b'{"x": 1}abc'
    line, _, rest = event_bytes(Event("a")).partition(b"\n")
    assert json.loads(line) == {"type": "a", "data_length": 0, "payload_length": 0} and rest == b""


@pytest.mark.parametrize(
    "data",
    [
        b"[1]\n",
        b'{"kind": "a"}\n',
        b'{"type": 5}\n',
        b'{"type": "a", "data": [1]}\n',
        b'{"type": "a", "data_length": 4}\nnull',
        b'{"type": "a", "data": 5, "data_length": 2}\n{}',
        b"no event\n",
    ],
)
def test_what_is_no_event_is_refused(data):
    with pytest.raises(ValueError):
        asyncio.run(read(data))


def served(speaker, jobs, *events, stuck_at=None, **changed):
    """What a client sends to events, whether its connection stays after each, and what it was asked for."""
    sent, asked, stays, left = [], [], [], list(jobs)

    def submit(text, prompt, manner, key):
        asked.append((text if isinstance(text, str) else text.text, prompt, manner, key))
        return left.pop(0)

    options = replace(speaker.options, **changed)
    names = ("check", "check_length", "log_text", "voice", "voices", "storage", "languages", "model")
    known = {name: getattr(replace(speaker, options=options), name) for name in names}
    desk = SimpleNamespace(submit=submit, options=options, **known)

    async def drain():
        if len(sent) - 1 == stuck_at:
            await asyncio.sleep(60)

    async def played():
        writer = SimpleNamespace(get_extra_info=lambda name: ("10.0.0.7", 1), write=sent.append, drain=drain)
        client = wyoming._Client(desk, writer)
        for event in events:
            stays.append(await client.handle(event))
        return client

    client = asyncio.run(asyncio.wait_for(played(), 60))
    read_back = [asyncio.run(read(data)) for data in sent]
    return [(event.type, event.data, len(event.payload)) for event in read_back], stays, asked, client


SOUND, STEREO = tone(0.25), tone(0.5, channels=2)
MONO = {"rate": 24000, "width": 2, "channels": 1}
TWO = {"rate": 24000, "width": 2, "channels": 2}


@pytest.mark.parametrize(
    ("parts", "sent", "stays"),
    [
        ([SOUND, SOUND], [("audio-start", MONO, 0), *[("audio-chunk", MONO, 12000)] * 2, ("audio-stop", {}, 0)], True),
        ([STEREO], [("audio-start", TWO, 0), ("audio-chunk", TWO, 48000), ("audio-stop", {}, 0)], True),
        ([], [], True),
        (
            [SOUND, ValueError("no words")],
            [
                ("audio-start", MONO, 0),
                ("audio-chunk", MONO, 12000),
                ("error", {"text": "no words", "code": "invalid_text"}, 0),
                ("audio-stop", {}, 0),
            ],
            False,
        ),
        ([ValueError("no words")], [("error", {"text": "no words", "code": "invalid_text"}, 0)], False),
    ],
)
def test_a_whole_text_is_told_of_from_start_to_stop(speaker, parts, sent, stays, caplog):
    job = Job(*parts)
    with caplog.at_level(logging.INFO, "zipvoice.server"):
        found = served(speaker, [job], Event("synthesize", {"text": TEXT, **VOICE}), log_texts=True)
    assert found[:2] == (sent, [stays]) and job.ended == 1
    assert found[2] == [(TEXT, speaker.voices.get("low"), Manner(), "10.0.0.7")] and found[3].job is None
    assert caplog.messages == [f"- low: {TEXT!r}"]


def test_a_streamed_text_is_told_of_and_its_connection_stays(speaker, caplog):
    begin, stop = Event("synthesize-start", VOICE), Event("synthesize-stop")
    jobs = [Job(SOUND), Job(ValueError("no words"))]
    with caplog.at_level(logging.INFO, "zipvoice.server"):
        events = [begin, *chunks(" ", "one ", "two."), stop] * 2
        sent, stays, asked, client = served(speaker, jobs, *events, log_texts=True)
    spoken = ["audio-start", "audio-chunk", "audio-stop"]
    assert [kind for kind, *_ in sent] == [*spoken, "synthesize-stopped", "error", "synthesize-stopped"]
    assert all(stays) and [job.ended for job in jobs] == [1, 1]
    assert [(text, key) for text, _, _, key in asked] == [(" one ", "10.0.0.7")] * 2
    assert caplog.messages == ["- low: ' one two.'"] * 2
    assert (client.feed, client.job, client.sending) == (None, None, None)


@pytest.mark.parametrize(
    ("event", "text", "code"),
    [
        (Event("synthesize", {}), "text must be a string", "invalid_value"),
        (Event("synthesize", {"text": "x" * 11}), "the text has 11 characters, more than the 10 that", "text_too_long"),
        (Event("synthesize", {"text": "a", "text_format": "ssml"}), "texts are plain, with the marks", "invalid_value"),
        (Event("synthesize", {"text": "a", "voice": 5}), "voice must be an object with a name and", "invalid_value"),
        (Event("synthesize-chunk", {"text": "a"}), "synthesize-chunk follows synthesize-start and", "invalid_value"),
    ],
)
def test_mistakes_are_told_in_words(speaker, event, text, code):
    ((kind, data, _),), stays, asked, _ = served(speaker, [], event, max_characters=10)
    assert (kind, data["code"], stays, asked) == ("error", code, [event.type != "synthesize"], [])
    assert data["text"].startswith(text)


@pytest.mark.parametrize(("last", "code"), [("45", None), ("456", "text_too_long")])
def test_a_streamed_text_is_bounded_as_a_whole(speaker, last, code):
    """Of ten characters; what is too long is given up, and the next text is a new one."""
    job = Job(SOUND)
    events = [Event("synthesize-start", VOICE), *chunks("one ", "two ", last), Event("synthesize-stop")]
    sent, stays, *_ = served(speaker, [job], *events, max_characters=10)
    assert all(stays) and job.ended >= 1
    assert [data["code"] for kind, data, _ in sent if kind == "error"] == ([code] if code else [])
    assert sent[-1] == ("synthesize-stopped", {}, 0)


def test_a_client_that_is_stuck_is_known_as_such(speaker):
    with pytest.raises(ConnectionError, match="the client takes nothing in"):
        served(speaker, [], Event("ping"), stuck_at=0, send_seconds=0.01)
