# SPDX-License-Identifier: Apache-2.0
"""The default reading of Chinese against the table tests/data/text/reading_zh.json, which says where it comes from."""

import re

import pytest
from growth import grows_in_proportion
from hypothesis import given
from hypothesis import strategies as st
from reading_table import rows, verdicts

from zipvoice.config.text import TokenizerConfig
from zipvoice.text.explain import explanations, inspect_text
from zipvoice.text.language_segments import segments
from zipvoice.text.markup import parse
from zipvoice.text.normalizer.chinese import readings, spoken
from zipvoice.text.tokenizers import build_tokenizer

TABLE = "reading_zh.json"
TUNED, HELD_OUT = rows(TABLE, "tuned"), rows(TABLE, "held_out")


def wrong(table):
    """What the default reading gets wrong: the text, how it is read, and how it should be."""
    tokenizer = build_tokenizer(TokenizerConfig("emilia"))

    def read(text):
        return "".join(piece.text for piece in tokenizer.pieces(text))

    return [(row.text, spoken, row.read) for row, spoken, right in verdicts(table, read, list) if not right]


def test_the_table_is_large_and_has_a_part_held_out():
    assert len(TUNED) + len(HELD_OUT) >= 300
    assert len(HELD_OUT) >= 80
    assert len({row.text for row in (*TUNED, *HELD_OUT)}) == len(TUNED) + len(HELD_OUT)


def test_share_of_sentences_read_right():
    assert len(wrong([*TUNED, *HELD_OUT])) <= 0.03 * (len(TUNED) + len(HELD_OUT))
    assert len(wrong(HELD_OUT)) <= 0.05 * len(HELD_OUT)


@pytest.mark.parametrize("kind", sorted({row.kind for row in TUNED}))
def test_sentences_by_kind(kind):
    assert not wrong([row for row in TUNED if row.kind == kind])


def test_pieces_start_where_they_are_in_the_input():
    text = "我1999年买了2个iPhone 15和A4纸，共¥100。"
    for segment in segments(parse(text)):
        if segment.kind == "en":
            assert text[segment.start :].startswith(segment.text.strip()), segment


@pytest.mark.parametrize(
    "text", ["We met at the 茶馆 on Monday and had tea.", "他走了。 We met at the 茶馆 on Monday."]
)
def test_chinese_words_in_english_start_where_they_are_in_the_input(text):
    found = segments(parse(text))
    assert [segment.kind for segment in found][-3:] == ["en", "zh", "en"]
    assert all(text[segment.start :].startswith(segment.text.strip()) for segment in found)


@pytest.mark.parametrize("mark", [*"。！？!?；;", "\n"])
def test_each_mark_ends_a_sentence_and_so_its_language(mark):
    """The English sentence has more words than the Chinese one has characters, and would take its digits along."""
    found = [(s.kind, s.text) for s in segments(parse(f"I have only 3 of them here{mark}我有3个。"))]
    assert found == [("en", f"I have only 3 of them here{mark}"), ("zh", "我有三个。")]


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
    assert grows_in_proportion(lambda size: spoken(unit * (size // len(unit))), 3_000)


def test_the_explanation_names_what_was_written():
    text = "G102次列车9:00开，全价¥100元，See you at 5 there，3-5天。"
    inspection = inspect_text(text, build_tokenizer(TokenizerConfig("emilia")))
    found = [(e.rule, e.written, e.spoken) for piece in inspection.pieces for e in explanations(piece)]
    assert ("time", "9:00", "九点") in found
    assert ("quantity", "102", "幺零二") in found
    assert ("range", "3-5", "三到五") in found
    assert not any(written == "5" and spoken == "五" for _, written, spoken in found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("发布于2024-05。", "发布于二零二四年五月。"),
        ("最终比分3:2", "最终比分三比二"),
        ("成绩9:58，9:58开始", "成绩九分五十八秒，九点五十八分开始"),
        ("成绩2:03:59", "成绩两小时零三分五十九秒"),
        ("AT&T，甲&乙", "AT&T，甲和乙"),
        ("3×5=15，3×5，3×10^5", "三乘以五等于十五，三乘五，三乘以十的五次方"),
        ("x-5，GPT-4", "x减五，GPT四"),
        ("2、3个，1、2、3", "两三个，一、二、三"),
        ("第III集，第IV章，第XL章", "第三集，第四章，第四十章"),
        ("2023-24赛季，型号10-20", "二零二三到二四赛季，型号一零杠二零"),
        ("1914-1918期间，（1939-1945）", "一九一四到一九一八期间，（一九三九到一九四五）"),
        ("3-2平局，3-2天", "三比二平局，三到两天"),
        ("iPhone 5s，5s后，座位12A", "iPhone 五s，五秒后，座位十二A"),
    ],
)
def test_rare_rules(text, expected):
    assert spoken(text) == expected
