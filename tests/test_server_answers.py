# SPDX-License-Identifier: Apache-2.0
"""What is told of speech beside its sound, and what becomes of late errors."""

import asyncio
import base64
import json
from dataclasses import replace

import pytest
from tiny_models import tone

from zipvoice.audio.words import Word
from zipvoice.server.answers import MAX_HEADER_BYTES, as_events, heard, shown_words, whole_answer
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
