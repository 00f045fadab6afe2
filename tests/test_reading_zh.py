# SPDX-License-Identifier: Apache-2.0
"""The default reading of Chinese against the table tests/data/text/reading_zh.json, which says where it comes from."""

import json
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zipvoice.config.text import TokenizerConfig
from zipvoice.text.language_segments import segments
from zipvoice.text.markup import parse
from zipvoice.text.normalizer.chinese import readings, spoken
from zipvoice.text.tokenizers import build_tokenizer

TABLE = json.loads((Path(__file__).parent / "data" / "text" / "reading_zh.json").read_text(encoding="utf-8"))
SENTENCES = TABLE["sentences"]


def words(text):
    return re.sub(r"[\W_]+", "", text).casefold()


def share_right(sentences):
    """How many of the sentences get one of the readings of the table, and those that do not."""
    tokenizer = build_tokenizer(TokenizerConfig("emilia"))
    read = {s["text"]: words("".join(piece.text for piece in tokenizer.pieces(s["text"]))) for s in sentences}
    wrong = [s for s in sentences if read[s["text"]] not in map(words, [s["reading"], *s.get("also", [])])]
    return 1 - len(wrong) / len(sentences), [(s["text"], read[s["text"]], s["reading"]) for s in wrong]


def test_the_table_is_large_and_has_a_part_held_out():
    held_out = [s for s in SENTENCES if s.get("held_out")]
    assert len(SENTENCES) >= 300
    assert len(held_out) >= 80
    assert len({s["text"] for s in SENTENCES}) == len(SENTENCES)


def test_share_of_sentences_read_right():
    share, wrong = share_right(SENTENCES)
    assert share >= 0.97, wrong


@pytest.mark.parametrize("kind", sorted({s["kind"] for s in SENTENCES}))
def test_sentences_by_kind(kind):
    _, wrong = share_right([s for s in SENTENCES if s["kind"] == kind and not s.get("held_out")])
    assert not wrong


def test_pieces_start_where_they_are_in_the_input():
    text = "我1999年买了2个iPhone 15和A4纸，共¥100。"
    for segment in segments(parse(text)):
        if segment.kind == "en":
            assert text[segment.start :].startswith(segment.text.strip()), segment


def test_readings_name_their_rule():
    found = [(reading.rule, reading.words) for reading in readings("9:00-18:00，¥100元，3-5天，1/2")]
    assert [rule for rule, _ in found] == ["time", "span", "time", "quantity", "range", "fraction"]


@given(st.text(alphabet=st.sampled_from("0123456789.,:/-%￥$°~～+×=<^²年月日点个第到Akmg路元()"), max_size=60))
def test_no_digit_is_left_and_nothing_else_lost(text):
    result = spoken(text)
    assert not any(c.isdigit() for c in re.sub("[²³]", "", result))
    for character in "年月日个第路":
        assert result.count(character) >= text.count(character)


@pytest.mark.parametrize(
    "unit", ["1-", "1:", "1/", "1.", "1,000,", "¥1", "5km-", "3^", "2×", "~1", "<", "A1", "第1", "1年"]
)
def test_time_is_linear(unit):
    seconds = []
    for size in (20_000, 80_000):
        start = time.process_time()
        spoken(unit * (size // len(unit)))
        seconds.append(time.process_time() - start)
    assert seconds[1] < 9 * seconds[0] + 0.1
