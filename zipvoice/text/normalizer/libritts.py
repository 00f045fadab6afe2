# SPDX-License-Identifier: Apache-2.0
"""English text as the upper-case ASCII characters that LibriTTS models are trained on."""

import re
import unicodedata
from collections.abc import Callable

from zipvoice.text.characters import fold
from zipvoice.text.normalizer.english.numbers import ordinal, year_like
from zipvoice.text.normalizer.english.reader import spoken as english_words
from zipvoice.text.reference_compat import dollars


def spoken(text: str) -> str:
    """Upper-case ASCII with numbers and abbreviations in words, and single spaces."""
    return _cleaned(to_ascii(english_words(fold(text), for_engine=False)))


def compatible(text: str) -> str:
    """As the reference for text in the Latin script: its readings of numbers and abbreviations."""
    text = to_ascii(text).lower()
    for pattern, replacement in (*_NUMBER_RULES, *_ABBREVIATIONS):
        text = pattern.sub(replacement, text)
    return _cleaned(text.replace("&", "and"))


def to_ascii(text: str) -> str:
    """Latin letters without accents and typographic marks as ASCII; characters of other scripts stay.

    Covers the Latin script, compatibility forms, and the marks of European typography.
    """
    if text.isascii():
        return text
    return "".join(c if c.isascii() else _ascii_character(c) for c in text)


def has_ascii(character: str) -> bool:
    """True if a letter or digit can be written in ASCII."""
    return to_ascii(character).isascii()


_LETTERS = str.maketrans(
    {"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d",
     "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ħ": "h", "Ħ": "H", "ı": "i", "ŧ": "t", "Ŧ": "T", "ŋ": "ng",
     "Ŋ": "NG", "ĸ": "k", "ƒ": "f", "ə": "e"}
)  # fmt: skip
_MARKS = str.maketrans(
    {"‘": "'", "’": "'", "‚": ",", "“": '"', "”": '"', "„": '"', "«": "<<", "»": ">>", "–": "-", "—": "--", "−": "-",
     "‐": "-", "•": "*", "·": "*", "×": "x", "§": "SS", "©": "(c)", "®": "(r)",
     "¿": "?", "¡": "!", "£": "PS", "€": "EUR", "¥": "Y=", "°": "deg", "±": "+-", "。": ".", "、": ","}
)  # fmt: skip


def _ascii_character(c: str) -> str:
    base = unicodedata.normalize("NFKD", c.translate(_LETTERS))
    kept = "".join(part for part in base if not unicodedata.combining(part)).translate(_LETTERS).translate(_MARKS)
    return kept.replace("\u2044", "/") if kept.replace("\u2044", "/").isascii() else c


def _cleaned(text: str) -> str:
    text = re.sub("[;:]", ",", text).replace("-", " ").replace("&", " and ")
    return re.sub(r"\s+", " ", re.sub(r"[()\[\]<>\"]", "", text)).upper()


_Rule = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]
_ABBREVIATIONS: list[_Rule] = [
    (re.compile(rf"\b{short}\."), long)
    for short, long in (
        ("mrs", "misess"), ("mr", "mister"), ("dr", "doctor"), ("st", "saint"), ("co", "company"), ("jr", "junior"),
        ("maj", "major"), ("gen", "general"), ("drs", "doctors"), ("rev", "reverend"), ("lt", "lieutenant"),
        ("hon", "honorable"), ("sgt", "sergeant"), ("capt", "captain"), ("esq", "esquire"), ("ltd", "limited"),
        ("col", "colonel"), ("ft", "fort"),
    )
]  # fmt: skip
_NUMBER_RULES: list[_Rule] = [
    (re.compile(r"(?a)\d[\d,]+\d"), lambda m: m[0].replace(",", "")),
    (re.compile(r"(?a)\$([\d.,]*\d)"), lambda m: dollars(m).strip()),
    (re.compile(r"(?a)(\d+)\.(\d+)"), r"\1 point \2"),
    (re.compile(r"(?a)(\d+)(?:st|nd|rd|th)"), lambda m: ordinal(m[1])),
    (re.compile(r"(?a)\d+"), lambda m: year_like(m[0])),
]
