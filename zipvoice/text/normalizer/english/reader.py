# SPDX-License-Identifier: Apache-2.0
"""English text as words.

The text is walked once from left to right. Where something starts that may not be a word as it stands, the rules for
its first character are tried in order until one of them reads it; the walk goes on behind what was read, so that no
rule sees what another has consumed. Each rule looks at a bounded stretch or at what it consumes, which keeps the time
linear.
"""

import re
from collections.abc import Iterator

from zipvoice.text.normalizer.english import (
    abbreviations,
    addresses,
    codes,
    dates,
    formulas,
    letters,
    measures,
    roman,
    scripture,
    symbols,
)
from zipvoice.text.normalizer.english.numbers import digit_by_digit
from zipvoice.text.normalizer.reading import Reading, Rule, Said, spoken_text


def spoken(text: str, for_engine: bool = True) -> str:
    """`text` with everything that is not a word written as words; punctuation stays.

    With `for_engine` also capitals and interjections that espeak-ng would misread are written in a way that it reads.

    >>> spoken("It rose 10-15% to $1.5 million.")
    'It rose ten to fifteen percent to one point five million dollars.'
    """
    return spoken_text(text, readings(text, for_engine))


def readings(text: str, for_engine: bool = True) -> Iterator[Reading]:
    """What of `text` is read otherwise than written, from left to right, with the rule that reads it."""
    rules = _RULES if for_engine else _WRITTEN_RULES
    position = 0
    while found := _CANDIDATE.search(text, position):
        said = _said(text, found, rules)
        if said is None:
            position = found.end()
            continue
        yield Reading(said.rule, found.start(), said.end, said.words)
        position = said.end


def _said(text: str, found: re.Match[str], rules: dict[str, list[Rule]]) -> Said | None:
    start = found.start()
    kind = found.lastgroup
    if kind == "word":
        if not _is_notable(text, found):
            return None
        if _is_capitalised(text, found):
            kind = "capitalised"
    for rule in rules[str(kind)]:
        if (said := rule(text, start)) and said.end > start:
            return said
    return None


def _is_notable(text: str, found: re.Match[str]) -> bool:
    """False for plain words, which are most: lower case, and neither short for something nor part of anything."""
    word, after = found[0], text[found.end() : found.end() + 1]
    if after in _NOTABLE_AFTER or word.lower() in _NOTABLE_WORDS or (word.isupper() and len(word) > 1):
        return True
    return word[0].isupper() or _UNUSUAL.fullmatch(word) is not None


def _is_capitalised(text: str, found: re.Match[str]) -> bool:
    """True for a word like Jones or Dec that nothing but a space follows, which few rules read."""
    return text[found.end() : found.end() + 1] in _PLAIN_AFTER and found[0][1:].islower()


_NOTABLE_AFTER = frozenset(".@/:#+_-&0123456789\\")
_PLAIN_AFTER = frozenset(("", *' ,;!?)"”'))
_NOTABLE_WORDS = abbreviations.LOWER_WORDS | letters.LOWER_WORDS
_UNUSUAL = re.compile(r"[a-z]{0,2}(?:([a-z])\1{2,}[a-z]?|[bcdfghjklmnpqrstvwxz]{2,})|[ivxlc]{1,7}")

_SIGN = "[~≈≃<>≤≥±+−–-]"

# A digit starts a number only if it does not stand within one. More signs than there can be before a number are a line,
# which is not looked through from each of them.
_CANDIDATE = re.compile(
    rf"(?P<word>[^\W\d_⁰¹²³⁴-⁹]+)|(?P<digit>\d)|(?P<quantity>[$£€¥₹₩₽₺₪₫₴₱₿¢]|(?<!{_SIGN}{{9}}){_SIGN}{{1,9}}\s?"
    r"(?=[$£€¥₹₩~]?[-−–]?\.?\d)|\.(?=\d)|(?<![\w.)])[(]?\+?(?=\d))|(?P<quote>'(?=\d\d))"
    r"|(?P<mark>[\"'“‘](?=(?:[^\w\s\"'“”‘’]|_)[\"'”’])|\}\{|[~.]{0,2}/(?=[\w.])|[^\w\s.,?\"'()\[\]{}…“”‘’]|[⁰¹²³⁴-⁹])"
)


def _digits(text: str, start: int) -> Said | None:
    """A digit that nothing else reads."""
    found = _DIGITS.match(text, start)
    return Said(found.end(), digit_by_digit(found[0]), "number") if found else None


_DIGITS = re.compile(r"(?a)\d+")


def _signed(text: str, start: int) -> Said | None:
    """A quantity that begins with a sign, unless the sign joins it to a word before."""
    if text[start - 1 : start].isalnum() or text[start - 1 : start] in (")", "]"):
        return None
    if text[start] in "-–<" and (said := symbols.symbol(text, start)) and said.rule in ("range", "emoticon"):
        return said
    return symbols.quantity(text, start)


_NUMBER_RULES: list[Rule] = [
    addresses.address,
    codes.identifier,
    codes.section,
    codes.hyphenated,
    dates.hyphenated,
    dates.season,
    dates.military,
    dates.numeric,
    codes.serial,
    codes.telephone,
    symbols.sterling,
    dates.day_first,
    scripture.numbered_book,
    scripture.verse,
    dates.duration,
    dates.time,
    codes.version,
    measures.coordinate,
    symbols.beats,
    symbols.counted_ordinal,
    symbols.ordinal_range,
    symbols.old_ordinal,
    symbols.many,
    dates.decade,
    measures.feet_and_inches,
    measures.temperature,
    symbols.book_size,
    measures.lumber,
    codes.code,
    codes.room,
    symbols.quantity,
    _digits,
]
_RULES: dict[str, list[Rule]] = {
    "word": [
        addresses.address,
        addresses.path,
        addresses.file_name,
        symbols.special_slash,
        symbols.language_name,
        codes.identifier,
        codes.offset,
        codes.ion,
        formulas.chemical,
        letters.variables,
        codes.dotted_letter,
        codes.state,
        codes.serial,
        dates.month_first,
        dates.weekday,
        dates.day_of_month,
        scripture.book,
        roman.numeral,
        abbreviations.direction,
        abbreviations.initials,
        abbreviations.abbreviation,
        symbols.quantity,
        letters.stutter,
        letters.plural,
        letters.name,
        letters.at_clause_end,
        letters.interjection,
        letters.shouted,
    ],
    "digit": _NUMBER_RULES,
    "quantity": [codes.telephone, codes.hyphenated, _signed, symbols.symbol],
    "quote": [dates.short_year],
    "mark": [formulas.latex, addresses.path, symbols.quoted_sign, symbols.symbol],
}
_RULES["capitalised"] = [
    dates.month_first,
    dates.weekday,
    dates.day_of_month,
    scripture.book,
    roman.numeral,
    abbreviations.abbreviation,
    symbols.quantity,
    letters.name,
    letters.interjection,
]
_FOR_THE_ENGINE = (
    letters.stutter,
    letters.shouted,
    letters.plural,
    letters.name,
    letters.at_clause_end,
    letters.interjection,
)
_WRITTEN_RULES = {kind: [rule for rule in rules if rule not in _FOR_THE_ENGINE] for kind, rules in _RULES.items()}
