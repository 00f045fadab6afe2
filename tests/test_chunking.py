# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zipvoice.text.chunking import Chunk, _exchanges, _filled, _sentences, chunks
from zipvoice.text.markup import pause_token
from zipvoice.text.punctuation import add_punctuation

DATA = Path(__file__).parent / "data" / "text"
REFERENCE = json.loads((DATA / "chunks.json").read_text(encoding="utf-8"))
PAUSE = pause_token(0.5)


def strings(result):
    return ["".join(chunk.tokens) for chunk in result]


def test_punctuation_chunks_of_reference_vectors():
    for record in REFERENCE["chunk_by_punctuation"]:
        assert _filled(_sentences(record["tokens"]), record["max_tokens"]) == record["chunks"]


def test_turn_chunks_of_reference_vectors():
    for record in REFERENCE["chunk_dialog"]:
        assert _filled(_exchanges(record["tokens"]), record["max_tokens"]) == record["chunks"]


@pytest.mark.parametrize("mark", ["'", "-"])
def test_a_word_is_not_cut_at_the_marks_within_it(mark):
    assert strings(chunks(f"abc don{mark}t ef", 7)) == ["abc ", f"don{mark}t ", "ef"]


def test_a_sign_stays_with_the_sound_that_it_changes():
    assert strings(chunks("abcdeːf", 5)) == ["abcd", "eːf"]  # the length of a vowel
    assert strings(chunks("abcdˈef", 5)) == ["abcd", "ˈef"]  # a stress belongs to what follows
    assert strings(chunks(["zh0", "ong1", "g0", "uo2"], 3)) == ["zh0ong1", "g0uo2"]


def test_add_punctuation_of_reference_vectors():
    for record in REFERENCE["add_punctuation"]:
        if isinstance(record["result"], str):
            assert add_punctuation(record["text"]) == record["result"]
        else:
            with pytest.raises(ValueError, match="empty"):
                add_punctuation(record["text"])


def test_sentences_that_fit_are_cut_as_in_the_reference():
    tokens = list("Hello there, friend. How? ok… yes; no")
    assert strings(chunks(tokens, 20)) == ["Hello there, ", "friend. How? ", "ok… yes; no"]


def test_without_punctuation_words_stay_whole():
    assert strings(chunks(list("one two three four"), 9)) == ["one two ", "three ", "four"]


def test_other_marks_come_before_words():
    for max_tokens in (8, 10):  # in ten there is room for the next word too
        assert strings(chunks(list("ab cd) ef gh"), max_tokens)) == ["ab cd) ", "ef gh"]


@pytest.mark.parametrize("mark", '([{“«‹„¿¡"')
def test_no_chunk_ends_with_a_mark_that_opens(mark):
    assert strings(chunks(list(f"ab cd {mark}ef gh"), 8)) == ["ab cd ", f"{mark}ef gh"]


def test_without_spaces_syllables_stay_whole():
    tokens = ["n0", "i3", "h0", "ao3", "sh0", "i4", "a1"]
    assert [chunk.tokens for chunk in chunks(tokens, 3)] == [["n0", "i3"], ["h0", "ao3"], ["sh0", "i4", "a1"]]


def test_digits_are_no_initials():
    assert strings(chunks(list("10203"), 2)) == ["10", "20", "3"]


def test_length_and_combining_marks_stay_with_their_letter():
    assert strings(chunks(list("aːɔ\u0303be"), 3)) == ["aː", "ɔ\u0303b", "e"]


def test_a_pause_of_no_length_before_everything_is_no_chunk():
    assert chunks([pause_token(0.0), "a"], 10) == [Chunk(["a"])]
    assert chunks([PAUSE, "a"], 10) == [Chunk([], 0.5), Chunk(["a"])]
    assert chunks(["a", PAUSE], 10) == [Chunk(["a"], 0.5)] and chunks([], 10) == []


def test_pauses_cut_and_are_not_tokens():
    assert chunks(["a", PAUSE, "b"], 9) == [Chunk(["a"], 0.5), Chunk(["b"])]
    assert chunks([PAUSE, "a", PAUSE], 9) == [Chunk([], 0.5), Chunk(["a"], 0.5)]


@pytest.mark.parametrize("max_tokens", [4, 5])
def test_whole_exchanges_stay_together(max_tokens):
    tokens = ["[S1]", "a", "[S2]", "b", "[S1]", "c", "[S2]", "d"]
    assert strings(chunks(tokens, max_tokens, dialogue=True)) == ["[S1]a[S2]b", "[S1]c[S2]d"]


def test_long_turns_keep_their_speaker():
    tokens = ["[S1]", *"aa. bb.", "[S2]", *"cc. dd."]
    assert strings(chunks(tokens, 6, dialogue=True)) == ["[S1]aa. ", "[S1]bb.", "[S1][S2]cc. ", "[S1][S2]dd."]


def test_a_long_exchange_keeps_words_before_its_tags_and_turns_without_words():
    assert strings(chunks(list("aa. bb."), 4, dialogue=True)) == ["aa. ", "bb."]
    assert strings(chunks(["[S1]", *"aa. bb.", "[S2]"], 5, dialogue=True)) == ["[S1]aa. ", "[S1]bb.", "[S1][S2]"]


def test_a_pause_within_a_turn_keeps_the_speaker():
    tokens = ["[S1]", "a", "[S2]", "b", PAUSE, "c", "[S1]", "d", PAUSE, "[S2]", "e"]
    assert strings(chunks(tokens, 9, dialogue=True)) == ["[S1]a[S2]b", "[S1][S2]c[S1]d", "[S1][S2]e"]
    again = ["[S1]", "a", "[S2]", "b", PAUSE, "[S2]", "c", PAUSE, "[S1]", "d"]
    assert strings(chunks(again, 9, dialogue=True)) == ["[S1]a[S2]b", "[S1][S2]c", "[S1]d"]


@pytest.mark.parametrize(("max_tokens", "dialogue"), [(0, False), (-3, False), (2, True)])
def test_too_small_a_chunk(max_tokens, dialogue):
    with pytest.raises(ValueError, match="room for at least"):
        chunks(["a"], max_tokens, dialogue)


any_tokens = st.lists(st.sampled_from(["a", "b0", "ang1", " ", ".", ",", "—", "ː", "。", PAUSE]), max_size=80)


@given(any_tokens, st.integers(1, 20))
def test_nothing_is_lost_and_everything_fits(tokens, max_tokens):
    result = chunks(tokens, max_tokens)
    assert [token for chunk in result for token in chunk.tokens] == [token for token in tokens if token != PAUSE]
    assert sum(chunk.pause_seconds for chunk in result) == 0.5 * tokens.count(PAUSE)
    assert all(len(chunk.tokens) <= max_tokens for chunk in result)


turns = st.lists(st.tuples(any_tokens, any_tokens), max_size=5)


@given(turns, st.integers(3, 20))
def test_every_token_keeps_its_speaker(exchanges, max_tokens):
    """Models tell speakers by the parity of the tags since the beginning of a chunk."""
    tokens = [token for first, second in exchanges for token in ("[S1]", *first, "[S2]", *second)]

    def spoken(sequence):
        turn, result = 0, []
        for token in sequence:
            turn += token in ("[S1]", "[S2]")
            if token not in ("[S1]", "[S2]", PAUSE):
                result.append((token, turn % 2))
        return result

    result = chunks(tokens, max_tokens, dialogue=True)
    assert [pair for chunk in result for pair in spoken(chunk.tokens)] == spoken(tokens)
    assert all(len(chunk.tokens) <= max_tokens for chunk in result)
    assert all(chunk.tokens[0] == "[S1]" for chunk in result if chunk.tokens)
