# SPDX-License-Identifier: Apache-2.0
"""Numbers that espeak-ng reads oddly: German 3. Oktober, which ends a sentence there, and 1999, French XIXe, 14h30."""

import re

_GERMAN_WORDS = """
null ein zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn achtzehn
neunzehn
"""
_GERMAN_SMALL = _GERMAN_WORDS.split()
_GERMAN_TENS = ("", "zehn", "zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig")
_GERMAN_ODD = {1: "erste", 3: "dritte", 7: "siebte", 8: "achte"}
_COUNTED = (
    "Januar|Jänner|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember|Jan|Feb|Aug|Sept|Okt|Nov|Dez"
    "|Jahrhundert|Jh|Klasse|Platz|Mal|Stock|Etage|Kapitel|Weltkrieg|Geburtstag|Auflage|Liga|Bundesliga|Tag|Woche|Runde"
    "|Minute|Monat|Jahr|Bezirk|Semester|Staffel|Folge|Teil|Advent|Dynastie"
)
_NUMBER = r"(\d{1,2}|[IVX]{1,6})"
_GERMAN = re.compile(
    rf"(?:\b([A-Za-zäöü]{{2,7}})\s)?(?<![\w.,:]){_NUMBER}\.\s?"
    rf"(?=(?:{_COUNTED})(?:e?s|e?n|e)?\b|(?:und|bis|oder) \d{{1,2}}\.)"
)
_FIRST_OF_TWO = re.compile(rf"\b([A-Za-zäöü]{{2,7}})\s{_NUMBER}\.\s\Z")
_GERMAN_KING = re.compile(r"(?<=[a-zäöüß] )([IVX]{1,5})\.(?=\s[a-zäöü])")
_WITH_N = frozenset((
    "am", "vom", "zum", "im", "beim", "dem", "den", "des", "bis", "ab", "zur", "seit", "nach", "einem", "einen",
    "ihrem", "seinem", "unserem",
))  # fmt: skip
_WITH_R = frozenset(("ein", "mein", "dein", "sein", "ihr", "unser", "kein"))
_GERMAN_CLOCK = re.compile(r"(?<![\w.,:])([01]?\d|2[0-4])[:.]([0-5]\d)\sUhr\b")
_GERMAN_YEAR = re.compile(r"(?<![\w.,:/-])(1[1-9])(\d\d)(?!\d|[.,:/-]\d|\s?(?:[%€°$]|Euro\b))")
_FRENCH_CLOCK = re.compile(r"(?<![\w.,:])([01]?\d|2[0-4])\s?[hH](?:\s?([0-5]\d))?(?!\w)")
_FRENCH = re.compile(r"(?<![\w'’.,-])(?:(\d{1,2})|([IVXL]{1,6}))(?:e|ème|ième)(s?)(?![\w'’-])")
_FRENCH_FIRST = re.compile(r"(?<![\w'’.,-])I(er|re|ère)(?!\w)")
_FRENCH_WORDS = """
zéroième unième deuxième troisième quatrième cinquième sixième septième huitième neuvième dixième onzième douzième
treizième quatorzième quinzième seizième dix-septième dix-huitième dix-neuvième vingtième vingt&et&unième
"""
_FRENCH_NAMES = [word.replace("&", " ") for word in _FRENCH_WORDS.split()]


def with_numerals(text: str, language: str) -> str:
    """`text` with such ordinals and times in words, for the languages that have them.

    >>> with_numerals("am 3. Oktober", "de")
    'am dritten Oktober'
    """
    if language.startswith("de"):
        text = _GERMAN_CLOCK.sub(lambda match: f"{match[1]} Uhr" + f" {int(match[2])}" * (match[2] != "00"), text)
        text = _GERMAN_YEAR.sub(_german_year, _GERMAN.sub(_german, text))
        return _GERMAN_KING.sub(lambda match: f"der {german(_value(match[1]))}", text)
    if language.startswith("fr"):
        text = _FRENCH_CLOCK.sub(_french_clock, text)
        text = _FRENCH_FIRST.sub(lambda match: "premier" if match[1] == "er" else "première", text)
        return _FRENCH.sub(_french, text)
    return text


def _french_clock(match: re.Match[str]) -> str:
    hours = f"{match[1]} heure{'s' * (int(match[1]) > 1)}"
    return hours + (f" {int(match[2])}" if match[2] and match[2] != "00" else "")


def german(number: int) -> str:
    """The nominative: 21 -> einundzwanzigste."""
    if number in _GERMAN_ODD:
        return _GERMAN_ODD[number]
    if number < 20:
        return _GERMAN_SMALL[number] + "te"
    tens, ones = divmod(number, 10)
    return (f"{_GERMAN_SMALL[ones]}und" if ones else "") + _GERMAN_TENS[tens] + "ste"


def _german_year(match: re.Match[str]) -> str:
    """1999 -> neunzehnhundert 99, of which the voice says the rest; it would count thousands."""
    return f"{_GERMAN_SMALL[int(match[1])]}hundert" + (f" {int(match[2])}" if match[2] != "00" else "")


def _german(match: re.Match[str]) -> str:
    before = (match[1] or "").lower()
    if before in ("und", "oder") and (first := _FIRST_OF_TWO.search(match.string, 0, match.start())):
        before = first[1].lower()
    ending = "n" if before in _WITH_N else "r" if before in _WITH_R else ""
    return (f"{match[1]} " if match[1] else "") + german(_value(match[2])) + ending + " "


def _french(match: re.Match[str]) -> str:
    number = _value(match[1] or match[2])
    if not match[1] and match[2] in ("L", "I", "C"):
        return match[0]
    name = _FRENCH_NAMES[number] if number < len(_FRENCH_NAMES) else f"{number}ème"
    return name + match[3]


_WORTH: dict[str, int] = {"I": 1, "V": 5, "X": 10, "L": 50}


def _value(written: str) -> int:
    if written.isdigit():
        return int(written)
    worth = [_WORTH[letter] for letter in written]
    return min(99, sum(-w if w < max(worth[i:]) else w for i, w in enumerate(worth)))
