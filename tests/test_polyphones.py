# SPDX-License-Identifier: Apache-2.0
"""Characters of several readings, against the table tests/data/text/polyphones.json."""

import json
import sys
from pathlib import Path

import pytest

from zipvoice.config.text import TokenizerConfig
from zipvoice.text.g2p import pinyin
from zipvoice.text.g2p.polyphones import Syllable, resolved
from zipvoice.text.tokenizers import build_tokenizer

TABLE = json.loads((Path(__file__).parent / "data" / "text" / "polyphones.json").read_text(encoding="utf-8"))["words"]


def is_right(found, expected):
    """Equal, or with the sandhi of two third tones, which the table leaves out."""
    expected = expected.replace("ü", "v").split()
    raised = [
        a[:-1] + "2" if a[-1] == b[-1] == "3" else a for a, b in zip(expected, [*expected[1:], "  "], strict=True)
    ]
    return all(f in pair for f, pair in zip(found, zip(expected, raised, strict=True), strict=True))


def wrong(words):
    found = [(w["text"], pinyin.readings(w["text"]), w["pinyin"]) for w in words]
    return [entry for entry in found if not any(is_right(entry[1], expected) for expected in entry[2])]


def test_words_of_the_table():
    assert len(TABLE) >= 600
    assert not wrong([w for w in TABLE if not w.get("held_out")])


def test_words_held_out():
    held_out = [w for w in TABLE if w.get("held_out")]
    assert len(held_out) >= 150
    assert len(wrong(held_out)) <= 0.04 * len(held_out), wrong(held_out)


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    for module in ("pypinyin", "pypinyin.constants"):
        monkeypatch.setitem(sys.modules, module, None)
    pinyin._known_characters.cache_clear()
    for read in (lambda: pinyin._pinyin.__wrapped__("好", False), lambda: pinyin.is_readable("好")):
        with pytest.raises(ImportError, match=r'pip install "zipvoice-tts\[chinese\]"'):
            read()


def test_every_entry_of_the_lists():
    """Each word of the phrases, and each neighbour by which a character that stands alone is read."""
    lines = (Path(__file__).parent / "data/text/lists_pinyin.tsv").read_text(encoding="utf-8").splitlines()
    table = dict(line.split("\t") for line in lines)
    assert {word: " ".join(pinyin.readings(word)) for word in table} == table


@pytest.mark.parametrize(
    ("text", "readings"),
    [
        ("不对", "bu2 dui4"),
        ("我不去", "wo3 bu2 qu4"),
        ("他不来", "ta1 bu4 lai2"),
        ("有一次", "you3 yi2 ci4"),
        ("第一名", "di4 yi1 ming2"),
        ("一九九八年", "yi1 jiu3 jiu3 ba1 nian2"),
        ("统一", "tong3 yi1"),
        ("统一管理", "tong3 yi1 guan2 li3"),
        ("这一问题", "zhe4 yi2 wen4 ti2"),
        ("同一地方", "tong2 yi2 di4 fang1"),
        ("一天", "yi4 tian1"),
        ("你好", "ni2 hao3"),
        ("展览馆", "zhan2 lan2 guan3"),
    ],
)
def test_sandhi(text, readings):
    assert pinyin.readings(text) == readings.split()


def test_what_is_not_chinese_stays_where_it_is():
    assert "".join(pinyin.readings("A长，…b")) == "Achang2,…b".replace(",", "，")


def test_compatible_readings_are_those_of_the_words_alone():
    tokenizer = build_tokenizer(TokenizerConfig("emilia", compatible=True))
    assert tokenizer.tokens("音乐会") == ["y0", "in1", "l0", "e4", "h0", "ui4"]
    assert build_tokenizer(TokenizerConfig("emilia")).tokens("音乐会") == ["y0", "in1", "y0", "ue4", "h0", "ui4"]


def test_a_loose_character_is_read_by_its_neighbours():
    alone = [Syllable(c, r, r, True, True, False) for c, r in (("还", "hai2"), ("钱", "qian2"))]
    assert resolved(alone) == ["huan2", "qian2"]
    in_a_word = [Syllable(c, r, r, False, True, False) for c, r in (("还", "hai2"), ("钱", "qian2"))]
    assert resolved(in_a_word) == ["hai2", "qian2"]


@pytest.mark.parametrize("before", ["...", "AB ", "……", "!! ", "ABC"])
@pytest.mark.parametrize("text", ["他长得高，一个人走了一圈，看了一眼。", "他背着包，一起走，不是不好。", "一"])
def test_what_is_not_chinese_moves_no_reading(before, text):
    """jieba keeps `...` and `ABC` in one piece, so that pieces and characters have numbers of their own."""
    alone, behind = pinyin.readings(text), pinyin.readings(before + text)
    assert behind[-len(alone) :] == alone
