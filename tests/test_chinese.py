# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zipvoice.text import reference_compat
from zipvoice.text.g2p import pinyin
from zipvoice.text.g2p.syllables import syllable_tokens
from zipvoice.text.normalizer.chinese import spoken
from zipvoice.text.normalizer.chinese_numbers import cardinal, number
from zipvoice.text.punctuation import ascii_marks, with_pauses

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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # years and counts of years
        ("1492年，1000年历史，3000年前", "一四九二年，一千年历史，三千年前"),
        ("98年，98年来，近98年，50年代", "九八年，九十八年来，近九十八年，五十年代"),
        ("90后，92后，90后来", "九零后，九十二后，九十后来"),
        ("（1939-1945），1939-1945期间", "（一九三九到一九四五），一九三九到一九四五期间"),
        ("2020-21赛季，2004-2008年", "二零二零到二一赛季，二零零四到二零零八年"),
        # telephone numbers, codes, lines
        ("拨打110，110人", "拨打幺幺零，一百一十人"),
        ("尾号123，尾号12", "尾号幺二三，尾号十二"),
        ("(010)8888-6666，(021)6233 5678", "零幺零八八八八六六六六，零二幺六二三三五六七八"),
        ("1080P，720p，1080元", "一零八零P，七二零p，一千零八十元"),
        ("月薪15k-25k，15K~20K", "月薪十五k到二十五k，十五K到二十K"),
        ("密码123，密码12，123室，12室", "密码一二三，密码十二，一二三室，十二室"),
        ("5号楼301，5号楼301人", "五号楼三零一，五号楼三百零一人"),
        ("301路，301路人，G102次，12次列车", "三零幺路，三百零一路人，G幺零二次，十二次列车"),
        ("400-820-8820，4-3-3", "四零零八二零八八二零，四三三"),
        ("2.0.1，192.168.1.1", "二点零点一，一九二点一六八点一点一"),
        ("C919，C900，波音747", "C九一九，C九百，波音七四七"),
        ("996，996个，涨到520", "九九六，九百九十六个，涨到五百二十"),
        ("315晚会，11.11大促", "三一五晚会，一一一一大促"),
        # scores, times, durations
        ("2-1获胜", "二比一获胜"),
        ("图2-1，2-1", "图二杠一，二到一"),
        ("比赛3:1获胜", "比赛三比一获胜"),
        ("成绩2:03，成绩2:03:59", "成绩两分零三秒，成绩两小时零三分五十九秒"),
        ("9:05pm，晚上9:05pm", "下午九点零五分，晚上九点零五分"),
        ("52′30″，9秒83", "五十二分三十秒，九秒八三"),
        # ratios, fractions, signs
        ("1 1/2杯，50/60Hz，血压120/80", "一又二分之一杯，五十或六十赫兹，血压一百二十比八十"),
        ("20/3，21/20", "三分之二十，二十一、二十"),
        ("x-5，GPT-4，5-3=2", "x减五，GPT四，五减三等于二"),
        ("2×3=6，2×3米，AT&T", "二乘以三等于六，二乘三米，AT&T"),
        ("+5℃，1+5，±5", "正五摄氏度，一加五，正负五"),
        ("北纬30°N，30°N，116.4°E", "北纬三十度，北纬三十度，东经一百一十六点四度"),
        # quantities
        ("2米5，1米75，2块5毛", "两米五，一米七五，两块五毛"),
        ("2、3个，7、8人", "两三个，七八人"),
        ("2个，第2个，2月，2年，2年级，周2", "两个，第二个，二月，两年，二年级，周二"),
        ("$10-20，¥100元，￥5/斤", "十到二十美元，一百元，五元每斤"),
        ("10w，100W粉丝，100W，10W+", "十万，一百万粉丝，一百瓦，十万加"),
        ("1.5W-2W粉丝，50W-100W的灯泡", "一点五万到两万粉丝，五十瓦到一百瓦的灯泡"),
        ("2-3万，2～3百人，2-3w人，2-3月", "两到三万，两到三百人，两到三万人，二到三月"),
        ("大约~5人，约 ~5人，~5人", "大约五人，约 五人，约五人"),
        ("3栋1203，3栋13579，H7N9，5kmA", "三栋一二零三，三栋一万三千五百七十九，H 七 N 九，五kmA"),
        ("iPhone 5s，5s，座位12A，12A", "iPhone 五s，五秒，座位十二A，十二安"),
        ("浓度3 ppm，0.5-2ppm，5ppb", "浓度百万分之三，百万分之零点五到百万分之二，十亿分之五"),
        ("5g/cm³，5N·m，美元/人民币", "五克每立方厘米，五牛米，美元兑人民币"),
    ],
)
def test_spoken_in_context(text, expected):
    """What a number is depends on the words around it: each kind beside what it would be without them."""
    assert spoken(text) == expected


def entries(name):
    return dict(line.split("\t") for line in (DATA / name).read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize(("text", "expected"), entries("borders_zh.tsv").items())
def test_each_rule_at_its_borders(text, expected):
    """What a rule reads, beside what it just does not."""
    assert spoken(text) == expected


def test_every_entry_of_the_lists_of_words():
    """Units, currencies, 2 before measure words, words that say what a number is: each of them once."""
    table = entries("lists_zh.tsv")
    assert {written: spoken(written) for written in table} == table


def test_compatible_rules_one_by_one():
    measures = "斤 千克 公斤 吨 米 公里 升 元 角 分 个 只 条 张 块 瓶 杯 份 本 辆 台 匹 头 位 亩 小时 分钟 秒 天 半"
    for measure in measures.split():
        assert reference_compat.chinese(f"3-12{measure}") == f"三到十二{measure}"
    read = {
        "3-12页": "三负十二页", "2012年": "二零一二年", "12年3月4日": "一二年三月四日", "3月": "三月", "15日": "十五日",
        "3/4": "四分之三", "5%": "百分之五", "-5.5%": "负百分之五点五", "20℃": "二十摄氏度", "-3.14": "负三点一四",
        "007": "七", "1" * 17: "1" * 17, "1" * 16 + ".5": cardinal("1" * 16) + "点五",
    }  # fmt: skip
    assert {text: reference_compat.chinese(text) for text in read} == read


@given(st.integers(0, 10**16 - 1))
def test_cardinals_can_be_read_back(n):
    assert read_back(cardinal(str(n))) == n


@given(st.text(alphabet=st.sampled_from(list("0123456789.,:/-%￥$°年月日点到kgm")), max_size=40))
def test_no_digit_is_left(text):
    assert not any(c.isdigit() for c in spoken(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("好…走", "好,走"),
        ("好—走", "好,走"),
        ("好 …— … 走", "好,走"),
        ("好……", "好."),
        ("好——", "好."),
        ("好…!", "好!"),
        ("好——?走", "好?走"),
        ("好……,走", "好,走"),
        ("好,…走", "好,…走"),
        ("…好", "…好"),
    ],
)
def test_a_long_pause_is_a_comma_inside_and_a_full_stop_at_the_end(text, expected):
    assert with_pauses(text) == expected


def test_a_syllable_without_a_tone_has_the_neutral_one():
    assert syllable_tokens("ma") == syllable_tokens("ma5") == ["m0", "a5"]
    assert syllable_tokens("lü4") == ["l0", "v4"] and syllable_tokens("r") == ["r0", "r5"]


def test_two_before_a_large_unit():
    assert [number(digits) for digits in ("200", "2000", "20000", "200000000")] == ["二百", "两千", "两万", "两亿"]


def test_numbers_with_decimals():
    assert number("0.50") == "零点五零"
    assert number("007") == "零零七"
    assert number("1234567890123456") == cardinal("1234567890123456")


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
