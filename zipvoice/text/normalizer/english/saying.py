# SPDX-License-Identifier: Apache-2.0
"""Parsed quantities as words."""

from dataclasses import replace

from zipvoice.text.normalizer.english.numbers import cardinal, digit_by_digit, ordinal, plural, year_like
from zipvoice.text.normalizer.english.numerals import Number
from zipvoice.text.normalizer.english.quantities import Expression, Quantity
from zipvoice.text.normalizer.english.units import plural_unit

MAX_QUANTITY_DIGITS = 7
"""Longer runs of digits without commas are no amounts, unless they end in zeros: they are read digit by digit."""


def expression(found: Expression) -> str:
    """An expression in words."""
    words = [found.comparison, quantity(found.first)]
    for between, other in found.rest:
        words += [between, quantity(other)]
    return " ".join(filter(None, words))


def quantity(found: Quantity) -> str:
    """-$1.5 million -> minus one point five million dollars."""
    words = _money(found) if found.currency else _measured(found)
    if found.more:
        words += f" {found.more}"
    if found.period:
        words += f" per {found.period}" if found.period != "each" else " each"
    return f"{found.sign} {words}".strip()


def number(found: Number, counted: bool = False) -> str:
    """A number in words; `counted` ones are amounts of something and never read in pairs as years are."""
    if found.below:
        return _mixed(found)
    if found.exponent:
        return f"{number(replace(found, exponent=''), counted)} times ten {power(found.exponent)}"
    if found.grouping == "indian":
        words = _indian(found.whole)
    else:
        words = whole(found.whole, counted, found.grouping == "comma", bool(found.decimals))
    return f"{words} point {digit_by_digit(found.decimals)}".strip() if found.decimals else words


def whole(digits: str, counted: bool, grouped: bool = False, has_decimals: bool = False) -> str:
    """Whole numbers: codes with a leading zero and very long ones digit by digit, 1001 to 2999 in pairs."""
    if not digits:
        return ""
    if len(digits) > 1 and digits[0] == "0" and not has_decimals:
        return digit_by_digit(digits)
    if not grouped and len(digits) > MAX_QUANTITY_DIGITS and not digits.endswith("000"):
        return digit_by_digit(digits)
    if has_decimals or ((counted or grouped) and not digits.endswith("00")):
        return cardinal(digits)
    return year_like(digits)


def power(exponent: str) -> str:
    """To the sixth; to the minus three."""
    sign, digits = ("minus ", exponent[1:]) if exponent[0] == "-" else ("", exponent.lstrip("+"))
    return f"to the {sign}{cardinal(digits) if sign else ordinal(digits)}"


def _indian(digits: str) -> str:
    """2550000 -> twenty-five lakh fifty thousand."""
    crore, lakh, rest = digits[:-7], digits[-7:-5], digits[-5:]
    parts = [(crore, " crore"), (lakh, " lakh"), (rest, "")]
    return " ".join(cardinal(part) + name for part, name in parts if part.strip("0")) or "zero"


# ---------------------------------------------------------------- money and measures


def _money(found: Quantity) -> str:
    """$3.50 -> three dollars, fifty cents; $1.5 -> one point five dollars; a $5-million deal -> five million dollar."""
    currency = found.currency
    assert currency is not None
    given = found.number
    if found.magnitude:
        name = currency.one if found.before_noun else currency.many
        return f"{number(given, True)} {found.magnitude} {name}"
    if given.below or given.exponent or (given.decimals and not (len(given.decimals) == 2 and currency.cent)):
        return f"{number(given, True)} {currency.many}"
    parts = []
    main, cents = int(given.whole or 0), int(given.decimals or 0)
    if main or not cents:
        words = number(replace(given, decimals=""), True) or "zero"
        is_one = main == 1 or (found.before_noun and not cents)
        parts.append(f"{words} {currency.one if is_one else currency.many}")
    if cents:
        parts.append(f"{cardinal(given.decimals)} {currency.cent if cents == 1 else currency.cents}")
    return ", ".join(parts)


def _measured(found: Quantity) -> str:
    words = number(found.number, counted=bool(found.unit))
    if found.magnitude:
        words += f" {found.magnitude}"
    if not found.unit:
        return words
    return f"{words} {_unit_name(found)}"


def _unit_name(found: Quantity) -> str:
    if found.unit in ("percent", "per mille"):
        return found.unit
    part_of_one = found.number.below and not found.number.whole and int(found.number.above) < int(found.number.below)
    if found.before_noun or part_of_one or (found.number.whole == "1" and found.number == Number("1")):
        return found.unit
    return plural_unit(found.unit)


# ---------------------------------------------------------------- fractions

_PAIRS = {
    ("24", "7"): "twenty-four seven",
    ("9", "11"): "nine eleven",
    ("7", "11"): "seven eleven",
    ("50", "60"): "fifty or sixty",
    ("1", "1"): "one over one",
}
_OUT_OF = ("5", "10", "100")
_NAMED_BELOW = (*range(2, 17), 32, 64, 100, 128, 1000)


def _mixed(found: Number) -> str:
    words = fraction(found.above, found.below)
    return f"{whole(found.whole, True)} and {words}" if found.whole else words


def fraction(above: str, below: str) -> str:
    """3/4 -> three quarters; 12/80 -> twelve over eighty; 50/50 -> fifty fifty; 9/10 -> nine out of ten."""
    if (above, below) in _PAIRS:
        return _PAIRS[above, below]
    if len(above) > 9 or len(below) > 9:
        return f"{whole(above, True)} over {whole(below, True)}"
    a, b = int(above), int(below)
    if a + b == 100:
        return f"{cardinal(above)} {cardinal(below)}"
    if above == below:
        return f"{cardinal(above)} {'out of ' if above in _OUT_OF else ''}{cardinal(below)}"
    if b in (10, 100) and 1 < a < b:
        return f"{cardinal(above)} out of {cardinal(below)}"
    if not a or (b not in _NAMED_BELOW and a != 1) or b < 2 or (a > b and b > 16):
        between = "out of" if a < b and above[0] != "0" and below[0] != "0" and a else "over"
        return f"{whole(above, True)} {between} {whole(below, True)}"
    name = {2: "half", 4: "quarter"}.get(b) or ordinal(below)
    if a != 1:
        name = "halves" if name == "half" else plural(name)
    return name if name.startswith("one ") and a == 1 else f"{cardinal(above)} {name}"
