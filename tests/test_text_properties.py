# SPDX-License-Identifier: Apache-2.0
"""Whatever people type: no crash, no hang, no lost letter."""

import logging
import random
import re
from dataclasses import replace
from itertools import pairwise

import pytest
from growth import grows_in_proportion
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from zipvoice.config.text import TokenizerConfig
from zipvoice.text.chunking import chunks
from zipvoice.text.explain import inspect_text
from zipvoice.text.normalizer.english.reader import readings
from zipvoice.text.tokenizers import build_tokenizer

TAGS = ("[S1]", "[S2]", "[LAUGHS]")
CONFIGS = [
    TokenizerConfig("emilia"),
    TokenizerConfig("dialog"),
    TokenizerConfig("espeak", "en-us"),
    TokenizerConfig("espeak", "de"),
    TokenizerConfig("espeak", "cmn"),
    TokenizerConfig("libritts"),
    TokenizerConfig("simple"),
]
TOKENIZERS = {
    f"{config.type}-{config.language}": build_tokenizer(replace(config, skip_unknown=True), tags=TAGS)
    for config in CONFIGS
}
STRICT = {f"{config.type}-{config.language}": build_tokenizer(config, tags=TAGS) for config in CONFIGS}
relaxed = settings(max_examples=40, suppress_health_check=list(HealthCheck))

FRAGMENTS = [
    "[S1]", "[S2]", "[LAUGHS]", "[pause 0.5s]", "[pause", "<ni3>", "<hao>", "</a/>", "<", ">", "[", "]", "\\", "\\<",
    "\0", "\n", "\r\n", "\u2028", "\u200b", "\ufeff", "..", "...", "a.", "U.S.", "Dr. ", "5", "1,000", "3.14", "$5",
    "50%", "12:30", "2024-05-01", "a@b.com", "http://x.y/z", "²", "½", "①", "Ⅳ", "٣", "５", "Ａ", "é", "ł", "ư", "ß",
    "Привет", "あ", "안", "你好", "龦", "𠮷", "々", "😀", "👨\u200d👩", "e\u0301\u0301", "cat", "co-operate", " ",
    ",", "。", "，", "-", "kg",
]  # fmt: skip
fragments = st.sampled_from(FRAGMENTS)
anything = st.text(max_size=60) | st.text(st.characters(), max_size=9) | st.lists(fragments, max_size=12).map("".join)


@pytest.mark.parametrize("name", STRICT)
@relaxed
@given(anything)
def test_any_text_gives_tokens_or_a_value_error(name, text):
    try:
        found = STRICT[name].tokens(text)
    except ValueError as error:
        assert re.search(r"at character \d+", str(error))
        assert not isinstance(error, UnicodeError)
        return
    assert all(isinstance(token, str) and token for token in found)


def is_face(text):
    return any(reading.rule == "emoticon" for reading in readings(text))


@pytest.mark.parametrize("name", TOKENIZERS)
@relaxed
@given(anything)
@example("=o")
@example(":O")
def test_every_letter_and_digit_is_spoken_or_named(name, text):
    """In strict mode what is not spoken is an error; so what is left must be in the text that the pieces speak.

    Letter by letter, each piece with a letter or digit must have tokens, and so must each of its words alone; but :O is
    a face, and silent.
    """
    assume(not is_face(text))
    try:
        inspection = inspect_text(text, STRICT[name])
    except ValueError:
        return
    for piece in inspection.pieces:
        for word in piece.text.split():
            if piece.kind not in ("speaker", "tag", "pause") and any(map(str.isalnum, word)) and not is_face(word):
                assert piece.tokens
                assert any(t for t in STRICT[name].tokens(word.translate({60: " ", 91: " ", 92: " "}))), word
    written = [c for c in re.sub(r"\[[^\]]*\]", "", text) if c.isalnum()]
    assert bool(written) <= bool(inspection.tokens)


@pytest.mark.parametrize("name", ["simple-en-us", "libritts-en-us"])
@relaxed
@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="<>[]\\"), max_size=40))
def test_characters_come_through_one_by_one(name, text):
    try:
        found = STRICT[name].tokens(text)
    except ValueError:
        return
    if name.startswith("simple"):
        assert len(found) == len(text)
        assert [a for a, b in zip(text, found, strict=True) if a != b and not a.isspace() and a.isprintable()] == []
    else:
        letters = [c for c in text if c.isascii() and c.isalpha()]
        assert len([c for c in found if c.isalpha()]) >= len(letters)


@pytest.mark.parametrize("name", ["emilia-en-us", "espeak-en-us"])
@relaxed
@given(st.lists(st.sampled_from(["cat", "tree", "house", "你好", "世界", "lemon"]), min_size=1, max_size=30), st.data())
def test_every_word_adds_its_sound(name, words, data):
    """Words between stops are spoken as they are alone, whatever stands around them."""
    if name.startswith("espeak"):
        words = [word for word in words if word.isascii()]
    separator = data.draw(st.sampled_from([". ", "! ", ".\n", "? "]))
    alone = [token for word in words for token in STRICT[name].tokens(word)]
    together = STRICT[name].tokens(separator.join(words))
    assert [t for t in together if t not in ".!? "] == [t for t in alone if t != " "]


@relaxed
@given(anything)
def test_the_caller_gets_the_same_again(text):
    tokenizer = TOKENIZERS["emilia-en-us"]
    try:
        first = tokenizer.tokens(text)
    except ValueError:
        return
    tokenizer.tokens("What..")
    assert tokenizer.tokens(text) == first


@relaxed
@given(anything, st.integers(1, 50))
def test_chunks_of_any_text_lose_nothing(text, max_tokens):
    try:
        found = TOKENIZERS["emilia-en-us"].tokens(text)
    except ValueError:
        return
    spoken = [token for chunk in chunks(found, max_tokens) for token in chunk.tokens]
    assert spoken == [token for token in found if not token.startswith("[pause")]


UNITS = [
    "a", "7", "1,", "1.", "1-", "1/", "1:", "$", "<", "[", "\\", "<a", "[A ", " ", "a@", "a.", "http://", "www.",
    "-", "中", "1中", ".", "the cat sat ", "\0", "\n", "<ni3>", "\\<", "é", "Mr. ", "1st ", "$1 ", "1,000,", "9:30",
    "5 m ", "²", "½", "'", "+1", "10s", "~", "a-", "ﬁ", "我爱北京", "~1", "H2",
    "ab:", "w-w-", "\\frac{", "$x^", "m^-1", "OUT ",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "prefix"), [("emilia", ""), ("emilia", "中"), ("espeak", ""), ("libritts", ""), ("simple", "")]
)
def test_time_is_linear(kind, prefix):
    tokenizer = build_tokenizer(TokenizerConfig(kind, skip_unknown=True))
    tokenizer.tokens(prefix + "warm")
    units = [unit for unit in UNITS if unit != "<ni3>" or kind == "emilia"]
    slow = [unit for unit in units if not _is_linear(tokenizer, lambda n, unit=unit: prefix + unit * (n // len(unit)))]
    assert not slow


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "sign"), [*(("espeak", sign) for sign in "-~<"), ("emilia", " ")])
def test_a_long_line_of_signs_takes_linear_time(kind, sign):
    tokenizer = build_tokenizer(TokenizerConfig(kind))
    tokenizer.tokens("warm")
    assert _is_linear(tokenizer, lambda size: f"a{sign * size} end")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["emilia", "espeak", "libritts", "simple"])
def test_a_megabyte_on_one_line(kind):
    tokenizer = build_tokenizer(TokenizerConfig(kind, skip_unknown=True))
    rng = random.Random(0)
    words = ["the", "cat", "sat", "42", "$5.50", "co-operate,", "a@b.com", "I", "3/4", "end.", "Dr.", "x<y", "(ok)"]
    line = " ".join(rng.choice(words) for _ in range(220_000))
    assert len(line) > 1_000_000
    assert len(tokenizer.tokens(line)) > len(line) / 2


def _is_linear(tokenizer, text_of):
    logging.disable()  # a line for each sign that is left out
    try:
        return grows_in_proportion(lambda size: tokenizer.tokens(text_of(size)), 500)
    finally:
        logging.disable(logging.NOTSET)


def test_neighbouring_sizes_agree():
    """The cuts that keep espeak-ng from truncating depend on length; the sound of the words must not."""
    tokenizer = STRICT["espeak-en-us"]
    counts = [tokenizer.tokens("over " * n).count("v") for n in range(90, 130)]
    assert [b - a for a, b in pairwise(counts)] == [1] * 39
