# SPDX-License-Identifier: Apache-2.0
"""The voices that a server keeps: how many, and under which names."""

import pytest

from zipvoice.server.errors import ApiError
from zipvoice.server.voice_folders import folder_at
from zipvoice.server.voice_store import CACHED_PROMPTS, VoiceStore, details_of


def test_so_many_voices_are_kept(speaker, tmp_path):
    store, details = VoiceStore(folder_at(tmp_path), max_voices=2), details_of(b"", "audio/wav", "yes", "a tone", None)
    prompt = speaker.voices.get("low")
    for name in ("first", "second", "first"):  # the last takes the place of one
        store.add(name, prompt, details)
    with pytest.raises(ApiError, match="there are 2 voices, as many as are kept; delete one"):
        store.add("third", prompt, details)
    store.remove("second")
    store.add("third", prompt, details)
    assert store.names()[-2:] == ["first", "third"]


def test_a_name_that_stands_for_no_voice_says_so(speaker, tmp_path):
    with pytest.raises(ApiError, match="'alloy' stands for the voice 'nobody', which is not there"):
        VoiceStore(folder_at(tmp_path), {"alloy": "nobody"}).get("alloy")


def test_the_voice_that_was_not_asked_for_longest_is_forgotten(speaker, tmp_path):
    store, prompt = VoiceStore(folder_at(tmp_path)), speaker.voices.get("low")
    for number in range(CACHED_PROMPTS):
        store.remember(number, prompt)
    assert store.remembered(0) is prompt
    store.remember("one more", prompt)
    assert [key for key in (0, 1, 2, "one more") if store.remembered(key) is None] == [1]


@pytest.mark.parametrize(
    ("name", "is_taken"), [("字" * 50, True), ("字" * 51, False), ("a" * 64, True), ("a" * 65, False)]
)
def test_the_name_of_a_voice_is_one_of_a_file(speaker, name, is_taken):
    """Of 64 characters and 150 bytes at most; a file has an ending besides, and some systems take 255 bytes."""
    if is_taken:
        assert speaker.voices.check_name(name) == name
    else:
        with pytest.raises(ApiError, match="is no name for a voice"):
            speaker.voices.check_name(name)
