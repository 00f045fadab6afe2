# SPDX-License-Identifier: Apache-2.0
"""What is told of speech beside its sound, and what becomes of late errors."""

import asyncio
import base64
import json
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
from tiny_models import tone

from zipvoice.audio.words import Word
from zipvoice.server import answers
from zipvoice.server.answers import (
    MAX_HEADER_BYTES,
    Stream,
    as_events,
    encoded,
    heard,
    shown_words,
    until_gone,
    usage_of,
    whole_answer,
)
from zipvoice.server.containers import whole_file
from zipvoice.server.errors import ApiError, invalid


def test_a_late_error_is_an_event_and_an_early_one_is_raised():
    async def chunks(*whole):
        for chunk in whole:
            yield chunk
        raise invalid("too much", "input")

    async def told(*whole):
        return [event.decode() async for event in as_events(chunks(*whole), "pcm", dict)]

    first, last = asyncio.run(told(b"abc"))
    assert first.startswith("event: speech.audio.delta") and base64.b64encode(b"abc").decode() in first
    assert last.startswith("event: speech.audio.error") and "too much" in last
    with pytest.raises(ApiError, match="too much"):
        asyncio.run(told())


def test_words_are_timed_from_the_beginning_of_the_sound():
    """In the order of their parts, of 0.5 s each."""

    async def parts():
        for words in ((Word("one", 0.1, 0.4),), (), (Word("two", 0.0, 0.25),)):
            yield replace(tone(0.5), words=words)

    async def listened(words):
        return [part.seconds async for part in heard(parts(), words)]

    words = []
    assert asyncio.run(listened(words)) == [0.5] * 3
    assert shown_words(words) == [
        {"word": "one", "start_ms": 100, "end_ms": 400},
        {"word": "two", "start_ms": 1000, "end_ms": 1250},
    ]


def test_the_header_for_the_times_of_words_is_bounded_to_the_byte(monkeypatch):
    sound = replace(tone(0.5), words=(Word("hello", 0.0, 0.1),))

    async def parts():
        yield sound

    size = len(json.dumps(shown_words(sound.words)))
    for most, fits in ((size, True), (size - 1, False)):
        monkeypatch.setattr("zipvoice.server.answers.MAX_HEADER_BYTES", most)
        answer = asyncio.run(whole_answer(parts(), "wav", {"X-Model": "tiny"}))
        head = answer.headers
        assert ("x-word-timestamps" in head, "x-word-timestamps-omitted" in head) == (fits, not fits)
        assert (answer.status_code, head["content-type"], head["x-model"]) == (200, "audio/wav", "tiny")
        assert answer.body == whole_file("wav", sound)


@pytest.mark.parametrize("num_words", [1, 80, 120, 2000])
def test_times_of_words_are_in_the_head_of_an_answer_where_they_fit(num_words):
    """Each takes between 40 and 50 bytes there, of 4096."""
    words = tuple(Word("hello", 0.0, 0.1) for _ in range(num_words))

    async def parts():
        yield replace(tone(0.5), words=words)

    head = asyncio.run(whole_answer(parts(), "wav", {})).headers
    if num_words * 50 <= MAX_HEADER_BYTES:
        assert json.loads(head["x-word-timestamps"]) == shown_words(words)
        assert "x-word-timestamps-omitted" not in head
    else:
        assert "x-word-timestamps" not in head
        assert "x-word-timestamps-omitted" in head


# ---------------------------------------------------------------- streams


class Held:
    """A file that gives out what was added at its second part, and says when it is closed."""

    def __init__(self, name, rate, num_channels):
        self.about, self.num, self.closed = (name, rate, num_channels), 0, 0

    def add(self, part):
        self.num += 1
        return b"two" if self.num == 2 else b""

    def end(self):
        return b"end" if self.num > 1 else b""

    def close(self):
        self.closed += 1


@pytest.mark.parametrize(("num", "expected"), [(0, []), (1, []), (2, [b"two", b"end"]), (3, [b"two", b"end"])])
def test_a_file_is_sent_as_it_grows_and_closed_whatever_happens(monkeypatch, num, expected):
    files = []
    monkeypatch.setattr(answers, "container", lambda *about: files.append(Held(*about)) or files[-1])

    async def parts(fails):
        for _ in range(num):
            yield tone(0.1, channels=2)
        if fails:
            raise ValueError("no words")

    async def read(fails, chunks):
        async for chunk in encoded(parts(fails), "opus"):
            chunks.append(chunk)

    for fails in (False, True):
        chunks = []
        with pytest.raises(ValueError, match="no words") if fails else nullcontext():
            asyncio.run(read(fails, chunks))
        assert chunks == expected[: 1 if fails else None]
    assert [(file.about, file.closed) for file in files] == [(("opus", 24000, 2), 1)] * (2 if num else 0)


def test_events_are_told_in_order_and_the_last_one_tells_about_all():
    async def chunks():
        yield b"abc"
        yield b"d"

    async def told():
        return [event async for event in as_events(chunks(), "wav", lambda: {"usage": "字"})]

    kinds = ["speech.audio.delta"] * 2 + ["speech.audio.done"]
    about = [{"audio": "YWJj", "response_format": "wav"}, {"audio": "ZA==", "response_format": "wav"}, {"usage": "字"}]
    expected = [
        f"event: {kind}\ndata: {json.dumps({'type': kind, **each}, ensure_ascii=False)}\n\n".encode()
        for kind, each in zip(kinds, about, strict=True)
    ]
    assert asyncio.run(told()) == expected


def test_the_usage_of_jobs_is_their_sum():
    jobs = [SimpleNamespace(num_tokens=3, num_frames=50), SimpleNamespace(num_tokens=4, num_frames=5)]
    assert usage_of(jobs) == {"input_tokens": 7, "output_tokens": 55, "total_tokens": 62}


async def forever():
    await asyncio.sleep(60)


def streamed(chunks, receive=forever, state=None, send_seconds=5.0):
    """What a stream sends, and how often it is stopped."""
    sent, stopped = [], []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", **({} if state is None else {"state": state})}
    stream = Stream(chunks, lambda: stopped.append(len(sent)), "audio/wav", {"X-Model": "tiny"}, send_seconds)
    try:
        asyncio.run(stream(scope, receive, send))
    except ConnectionAbortedError as error:
        sent.append(str(error))
    return sent, stopped


async def sound(*chunks, error=None):
    for chunk in chunks:
        yield chunk
    if error:
        raise error


HEAD = {
    "content-type": "audio/wav",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
    "x-model": "tiny",
}


def body(data, more=True):
    return {"type": "http.response.body", "body": data, "more_body": more}


def test_chunks_are_sent_behind_their_head_and_stopped_in_the_end():
    (start, *rest), stopped = streamed(sound(b"a", b"b"))
    assert (start["type"], start["status"]) == ("http.response.start", 200)
    assert {name.decode(): value.decode() for name, value in start["headers"]} == HEAD
    assert rest == [body(b"a"), body(b"b"), body(b"", more=False)] and stopped == [4]


def test_an_error_before_the_first_chunk_is_an_answer_of_its_own():
    (start, answer), stopped = streamed(sound(error=ValueError("no words")))
    assert start["status"] == 400 and json.loads(answer["body"])["error"]["code"] == "invalid_text"
    assert stopped == [2]


def test_a_later_error_cuts_the_answer_off():
    cut = []
    sent, stopped = streamed(sound(b"a", error=ValueError("no words")), state={"abort": lambda: cut.append("cut")})
    assert sent[1:] == [body(b"a")] and cut == ["cut"] and stopped == [2]
    sent, stopped = streamed(sound(b"a", error=ValueError("no words")))  # by another server than ours
    assert sent[1:] == [body(b"a"), "an answer was cut off"] and stopped == [2]


def test_a_client_that_is_gone_is_sent_nothing_more():
    messages = iter([{"type": "http.request"}, {"type": "http.disconnect"}])

    async def receive():
        return next(messages)

    async def slow():
        await asyncio.sleep(60)
        yield b"a"

    assert streamed(slow(), receive) == ([], [0])


def test_work_is_done_unless_its_client_is_gone():
    ended = []

    async def work(seconds):
        try:
            await asyncio.sleep(seconds)
            return "done"
        finally:
            ended.append(seconds)

    async def gone():
        return {"type": "http.disconnect"}

    assert asyncio.run(until_gone(forever, work(0))) == "done"
    with pytest.raises(ApiError, match="the client is gone") as caught:
        asyncio.run(until_gone(gone, work(60)))
    assert (caught.value.status_code, caught.value.code, ended) == (408, "client_gone", [0, 60])
