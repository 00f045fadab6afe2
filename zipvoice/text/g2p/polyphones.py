# SPDX-License-Identifier: Apache-2.0
"""Chinese characters of several readings: what the words beside one that stands alone say, and 一 and 不.

The tables are data, in `polyphone_tables`; pypinyin's own dictionary of phrases comes first. The decision record on
polyphones says why no larger dictionary or model is used.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

from zipvoice.text.g2p.polyphone_tables import COUNT, LINE, LOOSE, PHRASES, RULES, TITLES


@dataclass(frozen=True)
class Syllable:
    """A character in its place."""

    character: str
    reading: str
    """Pinyin with its tone number: chang2."""
    plain: str
    """The same before the sandhi of two third tones in the word."""
    is_loose: bool
    """It belongs to no word of the dictionary, so the text around decides its reading."""
    starts_word: bool
    ends_word: bool
    """It is the last of a word of several characters."""


def resolved(syllables: Sequence[Syllable]) -> list[str]:
    """The readings in context, with the sandhi of 一 and 不."""
    text = "".join(s.character for s in syllables)
    starts = [0, *accumulate(len(s.character) for s in syllables)]  # what is not Chinese may be of several characters
    readings = [s.reading for s in syllables]
    for i, syllable in enumerate(syllables):
        reading = _in_context(text, starts[i], syllable)
        if reading != syllable.plain:
            readings[i] = reading
            if i and not syllable.starts_word:
                readings[i - 1] = _before(syllables[i - 1], readings[i - 1], reading)
    for i, syllable in enumerate(syllables):
        following = _tone(readings[i + 1]) if i + 1 < len(readings) else ""
        if syllable.character == "不" and readings[i][-1] != "5":
            readings[i] = "bu2" if following == "4" else "bu4"
        elif syllable.character == "一" and readings[i][-1] != "5":
            readings[i] = _yi(text, starts[i], syllable, following)
    return readings


def phrase_reading(word: str) -> tuple[str, ...] | None:
    """The readings of a word that pypinyin's dictionary lacks or has in another sense."""
    return _PHRASES.get(word)


def phrases_in(word: str) -> re.Match[str] | None:
    """The first word of `_PHRASES` inside a longer one."""
    return _phrase().search(word)


def is_loose(word: str) -> bool:
    """True for a word whose reading its neighbours decide: 五行 of a text, or the elements."""
    return word in LOOSE


def _before(syllable: Syllable, reading: str, following: str) -> str:
    """The syllable before one whose reading has changed, with or without its sandhi."""
    if reading not in (syllable.reading, syllable.plain) or syllable.plain[-1] != "3":
        return reading
    return f"{syllable.plain[:-1]}2" if following[-1] == "3" else syllable.plain


# ---------------------------------------------------------------- 一 and 不


def _tone(reading: str) -> str:
    return reading[-1] if reading[:-1].isalpha() else ""


_NUMBERS = "零〇一二三四五六七八九十幺"
_SERIES = re.compile("月(?!份?[亮光])|号|楼|班|年级|级|等|把手|号线|月份")


def _yi(text: str, i: int, syllable: Syllable, following: str) -> str:
    """一: as a number and at the end of a word yi1, between equal verbs neutral, else by the tone `following` it."""
    before, after = text[max(0, i - 1) : i], text[i + 1 : i + 2]
    if not following or after in _NUMBERS or (before and before in _NUMBERS + "第初百万"):
        return "yi1"
    if (
        _SERIES.match(text, i + 1)
        or (before == "月" and after == "日")
        or (syllable.ends_word and before not in "这那每某另任有同")
    ):
        return "yi1"
    if before == after:
        return "yi5"
    return "yi2" if following in "45" else "yi4"


# ---------------------------------------------------------------- characters that stand alone

_PLACEHOLDERS = (
    ("{count}", COUNT), ("{title}", f"(?={TITLES})"), ("{line}", f"(?:{LINE})"), ("{han}", "[\u4e00-\u9fff]"),
)  # fmt: skip
Rule = tuple[re.Pattern[str] | None, re.Pattern[str], str]


@cache  # when they are first needed: other languages do not wait for them
def _rules(table: str) -> dict[str, list[Rule]]:
    """The rules of each character, in order."""
    rules: dict[str, list[Rule]] = {}
    for line in table.strip().splitlines():
        for name, pattern in _PLACEHOLDERS:
            line = line.replace(name, pattern)
        character, reading, before, after = line.split(" ")
        ahead = re.compile(after if after != "-" else "")
        rules.setdefault(character, []).append((_behind(before), ahead, reading))
    return rules


def _behind(pattern: str) -> re.Pattern[str] | None:
    return re.compile(rf"(?:{pattern})\Z") if pattern != "-" else None


_REACH = 4


def _in_context(text: str, i: int, syllable: Syllable) -> str:
    rules = _rules(RULES).get(syllable.character) if syllable.is_loose else None
    if not rules:
        return syllable.plain
    before = text[max(0, i - _REACH) : i]
    for behind, ahead, reading in rules:
        if (behind is None or behind.search(before)) and ahead.match(text, i + 1):
            return reading
    return syllable.plain


# ---------------------------------------------------------------- words

_ENTRIES = (entry.split() for entry in PHRASES.replace("\n", " ").split(","))
_PHRASES = {word: tuple(readings) for word, *readings in _ENTRIES}


@cache
def _phrase() -> re.Pattern[str]:
    return re.compile("|".join(sorted(_PHRASES, reverse=True)))
