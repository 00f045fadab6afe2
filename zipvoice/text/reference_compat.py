# SPDX-License-Identifier: Apache-2.0
"""Chinese and English text as the reference implementation handles it, losses included, for comparison with it.

The released models were trained on text that went through these rules. Nothing here reports what it leaves out.
"""

import re
from collections.abc import Callable, Iterator

from zipvoice.text.language_segments import Segment
from zipvoice.text.normalizer.chinese_numbers import MAX_DIGITS as MAX_CHINESE_DIGITS
from zipvoice.text.normalizer.chinese_numbers import cardinal, digit_by_digit
from zipvoice.text.normalizer.english.numbers import MAX_DIGITS, ordinal, year_like
from zipvoice.text.normalizer.english.numbers import cardinal as english_cardinal

# ---------------------------------------------------------------- segments


def segments(text: str) -> list[Segment]:
    """Segments of the kinds zh, en, pinyin, tag and, for text that will be dropped, other; line breaks vanish."""
    parts = [(match[0], _kind(match[0])) for match in _PART.finditer(text)]
    current = next((kind for _, kind in parts if kind != "other"), "other")
    joined: list[tuple[str, str]] = []
    for part, kind in parts:
        current = current if kind == "other" else kind
        if joined and joined[-1][1] == current:
            joined[-1] = (joined[-1][0] + part, current)
        else:
            joined.append((part, current))
    return [Segment(kind, part, 0) for stretch, language in joined for part, kind in _brackets(stretch, language)]


_PART = re.compile(r"[<\[][^\n]*?[>\]]|[^\n]")


def _kind(part: str) -> str:
    if "\u4e00" <= part <= "\u9fa5" or (part[0] == "<" and part[-1] == ">"):
        return "zh"
    return "en" if part.isascii() and part.isalpha() else "other"


def _brackets(text: str, language: str) -> Iterator[tuple[str, str]]:
    for part in re.split(r"([<\[].*?[>\]])", text):
        if part:
            yield part, {"<>": "pinyin", "[]": "tag"}.get(part[0] + part[-1], language)


# ---------------------------------------------------------------- English


def english(text: str) -> str | None:
    """Abbreviations and numbers in words; None for a number too large to have a name."""
    for abbreviation, word in _ABBREVIATIONS:
        text = abbreviation.sub(word, text)
    try:
        for pattern, replacement in _NUMBER_RULES:
            text = pattern.sub(replacement, text)
    except OverflowError:
        return None
    return text


_ABBREVIATIONS = [
    (re.compile(rf"\b{short}\b", re.IGNORECASE), long)
    for short, long in (
        ("mrs", "misess"), ("mr", "mister"), ("dr", "doctor"), ("st", "saint"), ("co", "company"), ("jr", "junior"),
        ("maj", "major"), ("gen", "general"), ("drs", "doctors"), ("rev", "reverend"), ("lt", "lieutenant"),
        ("hon", "honorable"), ("sgt", "sergeant"), ("capt", "captain"), ("esq", "esquire"), ("ltd", "limited"),
        ("col", "colonel"), ("ft", "fort"), ("etc", "et cetera"), ("btw", "by the way"),
    )
]  # fmt: skip


def dollars(match: re.Match[str]) -> str:
    """The reference's reading of an amount: $3.5 is three dollars and five cents."""
    amount = match[1]
    parts = amount.split(".")
    if len(parts) > 2:
        return f" {amount} dollars "
    whole, cents = int(parts[0] or 0), int(parts[1]) if len(parts) > 1 and parts[1] else 0
    names = [f"{whole} dollar{'s' * (whole != 1)}"] * bool(whole) + [f"{cents} cent{'s' * (cents != 1)}"] * bool(cents)
    return f" {', '.join(names) or 'zero dollars'} "


def _fraction(match: re.Match[str]) -> str:
    above, below = (digits.lstrip("0") or "0" for digits in match.groups())
    named = {"2": ("half", "halves"), "4": ("quarter", "quarters")}.get(below)
    name = (named[0] if above == "1" else named[1]) if named else ordinal(_sayable(below))
    return f" {english_cardinal(_sayable(above), 'and')} {name} "


def _sayable(digits: str) -> str:
    if len(digits.lstrip("0")) > MAX_DIGITS:
        raise OverflowError
    return digits


_NUMBER_RULES: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(r"(?a)\d[\d,]+\d"), lambda m: m[0].replace(",", "")),
    (re.compile(r"(?a)£([\d,]*\d)"), r"\1 pounds"),
    (re.compile(r"(?a)\$([\d.,]*\d)"), dollars),
    (re.compile(r"(?a)(\d+)/(\d+)"), _fraction),
    (re.compile(r"(?a)(\d+)\.(\d+)"), r"\1 point \2"),
    (re.compile(r"(?a)(?<=\d)%"), " percent "),
    (re.compile(r"(?a)(\d+)(?:st|nd|rd|th)"), lambda m: f" {ordinal(_sayable(m[1]))} "),
    (re.compile(r"(?a)\d+"), lambda m: f" {year_like(_sayable(m[0]))} "),
]


# ---------------------------------------------------------------- Chinese


def chinese(text: str) -> str:
    """Numbers in words, with the patterns and the order of the cn2an package."""
    for pattern, replacement in _CHINESE_RULES:
        text = pattern.sub(replacement, text)
    return text


def _number(text: str) -> str:
    """-3.14 -> 负三点一四; more than 16 digits stay as they are."""
    digits = "".join(str(int(c)) if c.isdecimal() else c for c in text)
    sign, digits = ("负", digits[1:]) if digits.startswith("-") else ("", digits)
    whole, _, decimals = digits.partition(".")
    if len(whole) > MAX_CHINESE_DIGITS:
        return text
    whole = whole.lstrip("0") or "0"
    return sign + cardinal(whole) + (f"点{digit_by_digit(decimals)}" if decimals else "")


def _date(match: re.Match[str]) -> str:
    year, month, day = match.groups()
    words = f"{digit_by_digit(year)}年" if year else ""
    return words + (f"{_number(month)}月" if month else "") + (f"{_number(day)}日" if day else "")


_MEASURE_WORDS = "斤|千克|公斤|吨|米|公里|升|元|角|分|个|只|条|张|块|瓶|杯|份|本|辆|台|匹|头|位|亩|小时|分钟|秒|天|半"
_CHINESE_RULES: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(rf"(\d+)-(\d+)(?={_MEASURE_WORDS})"), r"\1到\2"),
    (re.compile(r"(?:(\d{2,4})年)?(?:(\d{1,2})月)?(?:(\d{1,2})日)?"), _date),
    (re.compile(r"(\d+)/(\d+)"), lambda m: f"{_number(m[2])}分之{_number(m[1])}"),
    (re.compile(r"(-?)(\d+(?:\.\d+)?)%"), lambda m: ("负" if m[1] else "") + "百分之" + _number(m[2])),
    (re.compile(r"(\d+)(?=℃)"), lambda m: _number(m[1])),
    (re.compile(r"℃"), "摄氏度"),
    (re.compile(r"-?\d+(?:\.\d+)?"), lambda m: _number(m[0])),
]
