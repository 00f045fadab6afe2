# SPDX-License-Identifier: Apache-2.0
"""Numbers as they are written.

number   = [digits] digits "/" digits | digits [decimals] [exponent]
digits   = 1234 | 1,234 | 1,00,000 | 1 000 000 | 1_000_000
exponent = "e" digits | "x 10^" digits
"""

import re
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Number:
    """A number as written."""

    whole: str = ""
    """Digits, without the commas of thousands."""
    decimals: str = ""
    above: str = ""
    """Numerator of a fraction; with `whole` it is mixed, two and a half."""
    below: str = ""
    exponent: str = ""
    """Power of ten, of 2e-5."""
    grouping: str = ""
    """comma for 1,234; indian for 1,00,000."""


_GROUPED = r"\d{1,3}(?:,\d{3})+(?!\d|,\d)"
_INDIAN = r"\d{1,2}(?:,\d{2})+,\d{3}(?!\d|,\d)"
_SPACED = r"\d{1,3}(?:(?: \d{3}){2,}(?!\d|[ ]\d)| \d{3}(?= ?(?:€|EUR\b|kr\b)))"
_JOINED = r"\d{1,3}(?:_\d{3})+(?!\w)"
_EURO = r"\d{1,3}(?:(?: \d{3})+|(?:\.\d{3})+)|\d+"  # 1 234,50 €; 1.234,50 €; 12,50 €
_NUMBER = re.compile(
    rf"(?P<euro>{_EURO}),(?P<d5>\d\d)(?=\s?(?:€|EUR\b|kr\b))"
    rf"|(?P<comma>{_GROUPED})(?P<d1>\.\d+)?|(?P<indian>{_INDIAN})(?P<d2>\.\d+)?|(?P<spaced>{_SPACED})|(?P<joined>{_JOINED})"
    r"|(?P<plain>\d+)(?P<d3>\.\d+(?!\.\d))?|(?P<d4>\.\d+)"
)
_EXPONENT = re.compile(r"[eE]([+-]?\d{1,3})(?![\w.])|\s?[x×*·]\s?10(?:\^|\*\*)([-−+]?\d{1,3})(?!\d)")
_MIXED = re.compile(r"(?: {1,2}|-|\s?&\s?| and )(\d{1,2})/(\d{1,3})(?![\d/]|[.,]\d)")
_FRACTION = re.compile(r"/(\d{1,36})(?:(?:rd|th)s)?(?![\d/]|[.,]\d)")
MAX_FRACTION = 36


def parse_number(text: str, start: int) -> tuple[Number, int] | None:
    """The number at `start` and where it ends, or None."""
    found = _NUMBER.match(text, start)
    if not found:
        return None
    if euro := found["euro"]:
        whole = re.sub(r"\D", "", euro)
        return Number(whole, found["d5"], grouping="comma" if whole != euro else ""), found.end()
    decimals = (found["d1"] or found["d2"] or found["d3"] or found["d4"] or "")[1:]
    whole = found["comma"] or found["indian"] or found["spaced"] or found["joined"] or found["plain"] or ""
    grouping = "comma" if found["comma"] or found["spaced"] or found["joined"] else "indian" if found["indian"] else ""
    number = Number(re.sub("[, _]", "", whole), decimals, grouping=grouping)
    end = found.end()
    if found["plain"] and not decimals:
        return _with_fraction(text, end, number)
    return _with_exponent(text, end, number)


def _with_fraction(text: str, end: int, number: Number) -> tuple[Number, int]:
    mixed = _MIXED.match(text, end)
    if mixed and 0 < int(mixed[1]) < int(mixed[2]):
        return replace(number, above=mixed[1], below=mixed[2]), mixed.end()
    fraction = _FRACTION.match(text, end)
    if fraction and len(number.whole) <= MAX_FRACTION:
        return Number(above=number.whole, below=fraction[1]), fraction.end()
    return _with_exponent(text, end, number)


def _with_exponent(text: str, end: int, number: Number) -> tuple[Number, int]:
    found = _EXPONENT.match(text, end)
    if not found:
        return number, end
    return replace(number, exponent=(found[1] or found[2]).replace("−", "-")), found.end()
