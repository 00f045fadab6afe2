# SPDX-License-Identifier: Apache-2.0
"""The grammar of quantities: parsed once, from left to right, then said.

    expression = [comparison] (range | quantity {joint quantity})      joint: by, times, minus, plus or minus, ratio
    range      = quantity dash quantity       what the left one lacks it has from the right: $1-2 million, 10-15 %
    quantity   = [sign] [currency] number [magnitude] [currency | unit] ["/" period]

`numerals` has the numbers themselves, `units` the words that may stand beside one; `saying` turns what is found here
into words.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from zipvoice.text.normalizer.english.numbers import cardinal
from zipvoice.text.normalizer.english.numerals import Number, parse_number
from zipvoice.text.normalizer.english.units import (
    AFTER,
    CODES,
    MAGNITUDES,
    PERIODS,
    SIGNS,
    UNITS,
    Currency,
    plural_unit,
    powered,
)
from zipvoice.text.normalizer.reading import just_before


@dataclass(frozen=True)
class Quantity:
    """A number with what stands beside it."""

    number: Number
    sign: str = ""
    """minus, plus, or plus or minus."""
    currency: Currency | None = None
    magnitude: str = ""
    unit: str = ""
    """Name in the singular."""
    period: str = ""
    """What follows "per"."""
    before_noun: bool = False
    """Joined by a hyphen, so in the singular: a 10-km run."""
    more: str = ""
    """plus for 10+, squared for 5²."""

    @property
    def is_bare(self) -> bool:
        """A number alone."""
        return not (self.currency or self.magnitude or self.unit or self.period or self.more)


@dataclass(frozen=True)
class Expression:
    """One quantity, compared or not, a range, or the sides of something."""

    first: Quantity
    comparison: str = ""
    rest: tuple[tuple[str, Quantity], ...] = ()
    """What follows, each with the word before it: to, by, times, minus, plus or minus."""


def parse(text: str, start: int) -> tuple[Expression, int] | None:
    """The expression at `start` and where it ends, or None."""
    position = start
    comparison = ""
    if found := _COMPARISON.match(text, position):
        comparison, position = _COMPARISONS[found[0].strip()], found.end()
        if comparison == "about" and just_before(_ABOUT, text, start):
            comparison = ""  # approx. ~5
    one = _quantity(text, position)
    if one is None:
        return None
    first, end = one
    quantities = [first]
    words: list[str] = []
    while (joint := _joint(text, end, quantities[-1])) and (not words or words[-1] == joint[0] != "to"):
        words.append(joint[0])
        quantities.append(joint[1])
        end = joint[2]
    if words and words[0] == "times" and quantities[-1].unit:
        words = ["by"] * len(words)  # 3 × 5 m
    if words and words[0] in ("to", "by"):  # with "" nothing is shared
        for i in reversed(range(len(words))):
            quantities[i : i + 2] = _shared(*quantities[i : i + 2])
    return Expression(quantities[0], comparison, tuple(zip(words, quantities[1:], strict=True))), end


# ---------------------------------------------------------------- what joins two quantities

_COMPARISONS = {
    "<": "less than", "<=": "less than or equal to", "≤": "less than or equal to", ">": "greater than",
    ">=": "greater than or equal to", "≥": "greater than or equal to", "~": "about", "≈": "about", "≃": "about",
    "<~": "less than about", ">~": "greater than about",
}  # fmt: skip
_COMPARISON = re.compile(r"[<>]~|<=|>=|[<>≤≥~≈≃]\s?")
_ABOUT = re.compile(r"\b(?:about|around|approx\.?|approximately|roughly|ca\.|circa|nearly|almost)\s?\Z", re.IGNORECASE)
_DASH = re.compile(r"-to-(?=\d)|~(?=\d)|\s?[-–—−]\s?")
_SPACED_HYPHEN_AS_MINUS = re.compile(r"\s*(?:[=)\],;.!?]|\Z|[-+*/]\s?\d)")
_BY = re.compile(r"\s?[x×]\s?(?=\d)")
_PLUS_MINUS = re.compile(r"\s?(?:±|\+/-|\+-)\s?(?=\d)")
_RATIO = re.compile(r":(?=\d)")


def _joint(text: str, end: int, first: Quantity) -> tuple[str, Quantity, int] | None:
    """What follows a quantity and belongs to it: the word between, the other quantity, and where that ends."""
    if dash := _DASH.match(text, end):
        return _after_dash(text, dash, first)
    if by := _BY.match(text, end):
        other = _quantity(text, by.end())
        if other is not None:
            return ("times" if by[0].strip() == "×" and " " in by[0] else "by"), *other
    if found := _PLUS_MINUS.match(text, end):
        other = _quantity(text, found.end())
        return None if other is None else ("plus or minus", *other)
    if first.is_bare and (ratio := _RATIO.match(text, end)):
        other = _quantity(text, ratio.end())
        return None if other is None else ("to", *other)
    return None


def _after_dash(text: str, dash: re.Match[str], first: Quantity) -> tuple[str, Quantity, int] | None:
    other = _quantity(text, dash.end())
    if other is None or (first.before_noun and dash[0] == "-"):
        return None
    last, end = other
    spaced = dash[0].strip() in "-−" and dash[0] != dash[0].strip()
    if last.sign and not (first.unit or last.unit or first.sign):
        return None
    if spaced and first.is_bare and last.is_bare and _SPACED_HYPHEN_AS_MINUS.match(text, end):
        return "minus", last, end
    if first.unit == "inch" and last.is_bare and dash[0] == "-" and text[dash.start() - 1] == '"':
        return "", last, end  # a 1/4"-20 screw
    if dash[0].endswith(" ") and not dash[0].startswith(" "):
        return None
    if first.is_bare and last.is_bare and first.number == last.number == Number("50"):
        return "", last, end  # 50-50
    return "to", last, end


def _shared(first: Quantity, last: Quantity) -> tuple[Quantity, Quantity]:
    """A range says once what both have: $10-$20, 5 kg-10 kg, $1-2 million."""
    if first.is_bare:
        return first, last
    if first.currency and not last.unit and last.currency in (None, first.currency):
        last = replace(last, currency=first.currency)
        magnitude = first.magnitude if first.magnitude != last.magnitude else ""
        return replace(first, currency=None, magnitude=magnitude), last
    if first.unit and first.unit == last.unit:
        return replace(first, unit=""), last
    if first.unit and last.is_bare:
        return replace(first, unit=""), replace(last, unit=first.unit)
    if first.magnitude and first.magnitude == last.magnitude and not first.currency:
        return replace(first, magnitude=""), last
    return first, last


# ---------------------------------------------------------------- one quantity


def _alternatives(words: Iterable[str]) -> str:
    return "|".join(map(re.escape, sorted(words, reverse=True)))  # kg before k


_SIGN = re.compile(r"(±|\+/-|\+-)\s?|([-−–])(?=[^\W_]|[$£€¥₹₩.])|\+\s?")
_CURRENCY = re.compile(rf"({_alternatives(SIGNS)}|(?<!/)(?:{_alternatives(CODES)})(?=\s?\d))\s?(?=[-−]?\.?\d)")
_LOSS = re.compile(rf"({_alternatives(SIGNS)})\((?=[\d.,]{{1,16}}\))")
_LOSS_END = re.compile(r"\)(?= (?:million|billion|trillion|thousand)\b)")
_MAGNITUDE = re.compile(
    r"(?P<word>[\s-]?(?:hundred thousand|hundred million|hundred billion|thousand|(?:m|b|tr)illions?|hundred"
    r"|lakhs?|crores?)\b)|\s?(?P<letter>mn|bn|tn|tr|MM|mm|[kKmMbBtT])\b(?!')"
)
_CURRENCY_AFTER = re.compile(rf"\s?({_alternatives(AFTER)})(?![\w$€£]|\.\w)")
_PERCENT = re.compile(r"\s?(%|‰)(?!\w)|\s?%(?=\w)")
_UNIT = re.compile(
    rf"(?P<gap>[ ]{{0,2}}|-)(?P<unit>{_alternatives(UNITS)})(?P<power>\^?[23]|[²³])?(?![\w^])"
    rf"(?:[·⋅*](?P<times>{_alternatives(UNITS)})(?P<beside>\^?[23]|[²³])?(?!\w))?"
    rf"(?:/(?P<per>{_alternatives(UNITS)}|{_alternatives(PERIODS)})(?P<below>\^?[23]|[²³])?(?!\w))?"
)
_PER = re.compile(rf"(?:\s|[·⋅*])?({_alternatives(UNITS)})(?:\^?\{{?-|[⁻-])([1-3¹²³])\}}?(?![\w¹²³])")
_PER_MANY = re.compile(
    r"\s?/\s?(?=10{1,3} ?[kmglL]|\d{1,3} ?[hmsd])(\d{1,4}) ?(h|hr|hrs|min|s|km|mi|kg|g|ml|mL|dL|L)(?!\w)"
)
_PERIOD = re.compile(rf"\s?/\s?({_alternatives(PERIODS)}|[a-z]{{3,12}})(?![\w/])|\s?p\.?/?a\.(?=\W)")
_INCH = re.compile(r"\"|''|″|[ -]?in\.(?=\s+[a-z(]|\s*\Z|\s*[,;)])|-in(?=[\s-])|[ -]?in\.(?=\s*=)|-inch(?=\W)")
_UNIT_DOT = re.compile(r"\.(?=\s+[a-z\d(]|[,;:)])")


def _quantity(text: str, start: int) -> tuple[Quantity, int] | None:
    """The quantity at `start`, without what joins it to another."""
    position, sign = _sign(text, start)
    currency = None
    if found := _CURRENCY.match(text, position):
        currency = SIGNS.get(found[1]) or CODES[found[1]]
        inner, sign_after = _sign(text, found.end())
        position, sign = inner, sign or sign_after
    elif found := _LOSS.match(text, position):
        currency, position = SIGNS[found[1]], found.end()
    parsed = parse_number(text, position)
    if parsed is None:
        return None
    number, end = parsed
    if found and (found[0][-1] == "(" or (text[start - 1 : start] == "(" and _LOSS_END.match(text, end))):
        end, sign = end + 1, "minus"  # $(1.2) million and ($1.2) million, as accounts have losses
    quantity = Quantity(number, sign, currency)
    quantity, end = _magnitude(text, end, quantity)
    quantity, end = _measure(text, end, quantity)
    if (quantity.unit or quantity.currency) and _is_before_noun(text, start, end, quantity):
        quantity = replace(quantity, before_noun=True)
    if quantity.unit and (many := _PER_MANY.match(text, end)):
        return replace(quantity, period=f"{cardinal(many[1])} {plural_unit(UNITS[many[2]])}"), many.end()
    period = _PERIOD.match(text, end)
    if period and _is_rate(quantity, period[1]):
        quantity, end = (
            replace(quantity, period=PERIODS.get(period[1], period[1]) if period[1] else "year"),
            period.end(),
        )
    return quantity, end


def _is_rate(quantity: Quantity, period: str | None) -> bool:
    """True if what follows the slash is what the quantity is counted by: $5/kg, 12 oz/can, 3/day but not 3/d."""
    if quantity.currency:
        return True
    return period is not None and (len(period) > 1 if period in PERIODS else bool(quantity.unit))


def _sign(text: str, position: int) -> tuple[int, str]:
    found = _SIGN.match(text, position)
    if not found:
        return position, ""
    return found.end(), "plus or minus" if found[1] else "minus" if found[2] else "plus"


def _magnitude(text: str, end: int, quantity: Quantity) -> tuple[Quantity, int]:
    found = _MAGNITUDE.match(text, end)
    if not found:
        return quantity, end
    if word := found["word"]:
        hyphen = word[0] == "-"
        if (hyphen or word.endswith("illions")) and not quantity.currency:
            return quantity, end
        return replace(quantity, magnitude=word.strip(" -").rstrip("s"), before_noun=hyphen), found.end()
    letter = found["letter"]
    if not quantity.currency and not _counts(text, end, letter, quantity.number):
        return quantity, end
    if quantity.currency and found[0] != letter and letter in ("b", "B", "t", "T"):
        return quantity, end
    return replace(quantity, magnitude=MAGNITUDES[letter]), found.end()


_COUNTED = re.compile(r"[-+]?\s?(?!(?:off|from|and|near|with|for|the|has|was|are|but|via|will)\b)[a-z]{3,}")
_COUNTED_BY_MILLIONS = re.compile(
    r" (?:people|users|views|voters|viewers|customers|subscribers|followers|jobs|households|visitors|downloads|copies"
    r"|homes|tonnes|tons|barrels|vehicles|cars|children|workers|members|passengers|patients|tourists|years)\b"
)
_PLACE = re.compile(
    r"(?i)\b(?:exit|gate|unit|apt|apartment|room|row|seat|suite|no|section|floor|platform|class|flat|line)\b"
    r"[. #]{0,2}\d*\Z"
)


def _counts(text: str, end: int, letter: str, number: Number) -> bool:
    """10k runners and 5M views are counts; 4K, 5m and apartment 4B are not."""
    if text[end] != letter[0] or number.below:
        return False
    if letter in ("bn", "mn", "tn"):
        return True
    if letter == "k":
        return True
    if letter == "K":
        return number.whole not in ("2", "4", "5", "8", "16") or bool(number.decimals)
    is_place = just_before(_PLACE, text, end)
    if letter == "m" and _COUNTED_BY_MILLIONS.match(text, end + 1):
        return True
    return letter in "MB" and not is_place and (bool(number.decimals) or bool(_COUNTED.match(text, end + 1)))


def _measure(text: str, end: int, quantity: Quantity) -> tuple[Quantity, int]:
    """The currency, percent sign or unit behind a number."""
    if quantity.currency:
        if quantity.currency.cents == "pence" and text[end : end + 1] == "p" and not text[end + 1 : end + 2].isalnum():
            return quantity, end + 1
        return quantity, end
    if percent := _PERCENT.match(text, end):
        return replace(quantity, unit="per mille" if percent[1] == "‰" else "percent"), percent.end()
    if currency := _CURRENCY_AFTER.match(text, end):
        dot = _UNIT_DOT.match(text, currency.end()) if currency[1] == "kr" else None
        found = (dot or currency).end()
        if not (currency[1] in "$£€¥₹₽₩" and text[found : found + 1].isdigit()):
            return replace(quantity, currency=AFTER[currency[1]]), found
    if quantity.magnitude:
        return quantity, end
    if (inch := _INCH.match(text, end)) and (inch[0] != '"' or not _is_closing_quote(text, end)):
        return replace(quantity, unit="inch", before_noun="-" in inch[0]), inch.end()
    if inverse := _PER.match(text, end):
        return replace(quantity, period=_inverse(inverse)), inverse.end()
    if unit := _UNIT.match(text, end):
        return _with_unit(text, end, quantity, unit)
    if text[end : end + 1] == "+" and not _number_ahead(text, end + 1) and text[end + 1 : end + 2] not in "+=":
        return replace(quantity, more="plus"), end + 1
    return quantity, end


_AHEAD = re.compile(r"\s?[.$£€]?\d")


def _number_ahead(text: str, position: int) -> bool:
    return bool(_AHEAD.match(text, position))


def _is_closing_quote(text: str, position: int) -> bool:
    """True if an opening quotation mark stands shortly before."""
    before = text[max(0, position - 200) : position]
    return len(re.findall(r'"', re.sub(r'\d"', "", before))) % 2 == 1


def _with_unit(text: str, end: int, quantity: Quantity, found: re.Match[str]) -> tuple[Quantity, int]:
    symbol, hyphen = found["unit"], found["gap"] == "-"
    if not _is_meant(symbol, found, quantity, text):
        return quantity, end
    name = UNITS[symbol]
    if power := (found["power"] or "").lstrip("^"):
        name = powered(name, power)
    if found["times"]:
        beside = (found["beside"] or "").lstrip("^")
        name += f" {powered(UNITS[found['times']], beside) if beside else UNITS[found['times']]}"
    if per := found["per"]:
        below = UNITS.get(per) or PERIODS[per]
        if exponent := (found["below"] or "").lstrip("^"):
            below = powered(below, exponent)
        name += f" per {below}"
    stop = found.end()
    while inverse := _PER.match(text, stop):
        name += f" per {_inverse(inverse)}"
        stop = inverse.end()
    if dot := _UNIT_DOT.match(text, stop):
        stop = dot.end()
    elif not hyphen and text[stop : stop + 1] == "-" and text[stop + 1 : stop + 2].isalpha():
        hyphen = True  # a 6ft-tall man
    return replace(quantity, unit=name, before_noun=hyphen), stop


def _inverse(found: re.Match[str]) -> str:
    """m⁻³ -> cubic meter, as what follows "per"."""
    exponent = found[2].translate(_FIGURES)
    return UNITS[found[1]] if exponent == "1" else powered(UNITS[found[1]], exponent)


_FIGURES = str.maketrans("¹²³", "123")


def _is_before_noun(text: str, start: int, end: int, quantity: Quantity) -> bool:
    """A 5 kg bag, a $500 fine, a 27" monitor, 35mm film, 45° angle."""
    mark = text[end - 2 : end]
    if quantity.unit and (_NOUNS.match(text, end) or (quantity.unit == "degree" and _ANGLES.match(text, end))):
        return True
    if (mark[-1:] == '"' or (mark == "mm" and text[end - 3].isdigit())) and _NOUN.match(text, end):
        return not _ADVERB.match(text, end)
    return bool(just_before(_ARTICLE, text, start) and _NOUN.match(text, end))


_NOUNS = re.compile(
    r" (?!(?:is|was|has|as|his|this|plus|less|across|towards|always|its|thus|us|yes)\b)[a-z]{2,}[^s\W]s\b"
)
_ANGLES = re.compile(r" (?:angle|turn|view|bend|rotation|weather|heat|day|slope)")
_ADVERB = re.compile(r" (?:long|tall|wide|high|deep|thick|apart|away|across|below|above|in|x|he|she|it|i)\b")
_ARTICLE = re.compile(r"(?i)\b(?:an?|each)\s(?:[\d.]{1,5}[ -]?[a-zA-Z]{1,4},? )?\Z")
_NOUN = re.compile(
    r"\s(?:\d{1,3} ?[a-zA-Z]{1,3} )?(?!(?:of|or|and|to|in|per|is|was|from|for|at|on|by|with|above|below)\b)[a-zA-Z]"
)
_VOLTS = re.compile(r"\d ?[mk]?[VW](?:,? (?:and |at )?|/)\d*\Z")


def _is_meant(symbol: str, found: re.Match[str], quantity: Quantity, text: str) -> bool:
    """False for letters that look like units and are not: apartment 3A, 5 K, the 30s, a 4-T engine."""
    glued = found["gap"] == ""
    if len(symbol) == 1 and symbol.isupper() and text[found.end() : found.end() + 2] == ". ":
        return False  # 4508 N. Lincoln Ave.
    if symbol in ("A", "J", "N", "K", "W", "V", "T", "F", "AU"):
        is_sure = not glued or symbol in ("W", "V") or bool(quantity.number.decimals)
        return found["gap"] != "-" and (is_sure or bool(just_before(_VOLTS, text, found.start())))
    if symbol == "MP":
        return glued
    if symbol in ("h", "g", "m", "l", "L", "t"):
        return found["gap"] != "-" and not text.startswith("'", found.end())
    if symbol in ("ac", "ha", "mo", "deg", "bar", "pt"):
        return found["gap"] != "-"
    return True
