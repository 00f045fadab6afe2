# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zipvoice.text import reference_compat
from zipvoice.text.g2p import pinyin
from zipvoice.text.normalizer.chinese import spoken
from zipvoice.text.normalizer.chinese_numbers import cardinal, number
from zipvoice.text.punctuation import ascii_marks

DATA = Path(__file__).parent / "data" / "text"
NUMBERS = json.loads((DATA / "normalizers.json").read_text(encoding="utf-8"))["chinese"]
HELPERS = json.loads((DATA / "chinese_helpers.json").read_text(encoding="utf-8"))


def test_compatible_readings_of_reference_vectors():
    for record in NUMBERS:
        assert reference_compat.chinese(record["text"]) == record["result"], record["text"]


def test_words_of_reference_vectors():
    for record in HELPERS["words"]:
        assert pinyin.words(reference_compat.chinese(ascii_marks(record["text"]))) == record["words"], record["text"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("你好", "n0 i2 h0 ao3"),
        ("一个", "y0 i2 g0 e4"),
        ("不是", "b0 u2 sh0 i4"),
        ("重庆", "ch0 ong2 q0 ing4"),
        ("嗯", "n0 n2"),
        ("女", "n0 v3"),
        ("月", "y0 ue4"),
        ("二零二四年", "er4 l0 ing2 er4 s0 i4 n0 ian2"),
    ],
)
def test_pinyin_tokens(text, expected):
    assert pinyin.pinyin_tokens(text) == expected.split()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024年5月1日", "二零二四年五月一日"),
        ("2024-05-01", "二零二四年五月一日"),
        ("5年", "五年"),
        ("90%", "百分之九十"),
        ("10%-20%", "百分之十到百分之二十"),
        ("-5", "负五"),
        ("降到了-5℃", "降到了负五摄氏度"),
        ("3.14", "三点一四"),
        ("1/2", "二分之一"),
        ("10086", "一万零八十六"),
        ("1,000", "一千"),
        ("1,234,567人", "一百二十三万四千五百六十七人"),
        ("12:30", "十二点三十分"),
        ("08:05发车", "八点零五分发车"),
        ("12:00", "十二点"),
        ("9:00:30出发", "九点零分三十秒出发"),
        ("截至5/1，生日12/31", "截至五月一日，生日十二月三十一日"),
        ("截至5/32", "截至三十二分之五"),
        ("19点00分", "十九点零分"),
        ("16:9", "十六比九"),
        ("1-2个", "一到两个"),
        ("10~20岁", "十到二十岁"),
        ("2+3=5，10-4=6", "二加三等于五，十减四等于六"),
        ("¥5", "五元"),
        ("￥1,280.50", "一千二百八十点五零元"),
        ("$50", "五十美元"),
        ("€3亿", "三亿欧元"),
        ("5kg", "五千克"),
        ("300km/h以上", "三百公里每小时以上"),
        ("20m²", "二十平方米"),
        ("10^-3和10⁻⁶米", "十的负三次方和十的负六次方米"),
        ("13800001234", "幺三八零零零零幺二三四"),
        ("010-12345678", "零幺零幺二三四五六七八"),
        ("密码是0000", "密码是零零零零"),
        ("12345678901234567890", "一二三四五六七八九零一二三四五六七八九零"),
        ("１００％", "百分之百"),
        ("减少CO2排放，H2O和Fe2O3", "减少C O 二排放，H 二 O和F E 二 O 三"),
        ("第III号厅，II型，第IV章", "第三号厅，二型，第四章"),
    ],
)  # fmt: skip
def test_spoken(text, expected):
    assert spoken(text.translate({ord(c): str(i) for i, c in enumerate("０１２３４５６７８９")})) == expected


@given(st.integers(0, 10**16 - 1))
def test_cardinals_can_be_read_back(n):
    assert read_back(cardinal(str(n))) == n


@given(st.text(alphabet=st.sampled_from(list("0123456789.,:/-%￥$°年月日点到kgm")), max_size=40))
def test_no_digit_is_left(text):
    assert not any(c.isdigit() for c in spoken(text))


def test_two_before_a_large_unit():
    assert [number(digits) for digits in ("200", "2000", "20000", "200000000")] == ["二百", "两千", "两万", "两亿"]


def test_numbers_with_decimals():
    assert number("0.50") == "零点五零"
    assert number("007") == "零零七"


def test_words_cover_the_text():
    text = "你好，世界！" + "中" * 2000 + " 再见。"
    assert "".join(pinyin.words(text)) == text


def read_back(words):
    """The value of a Chinese cardinal."""
    for unit, value in (("亿", 10**8), ("万", 10**4), ("千", 1000), ("百", 100), ("十", 10)):
        if unit in words:
            before, after = words.rsplit(unit, 1) if value >= 10**4 else words.split(unit, 1)
            return (read_back(before) if before.strip("零") else 1) * value + (read_back(after) if after else 0)
    return int("0" + "".join(str("零一二三四五六七八九".index(c)) for c in words))
