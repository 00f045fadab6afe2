# SPDX-License-Identifier: Apache-2.0
"""Measures with signs of their own: feet and inches, degrees of an angle, of warmth, and lumber."""

import re

from zipvoice.text.normalizer.english.numbers import cardinal, plural
from zipvoice.text.normalizer.english.quantities import parse
from zipvoice.text.normalizer.english.saying import expression, fraction
from zipvoice.text.normalizer.reading import Said, just_before


def feet_and_inches(text: str, start: int) -> Said | None:
    """5'11", 6' tall, 8' x 10', 6ft 2in."""
    one = just_before(_ONE, text, start)
    if tall := _FEET_INCHES.match(text, start):
        single = one and _THING.match(text, tall.end())
        inches = "inch" if single or int(tall[2]) == 1 else "inches"
        feet = "foot" if single or int(tall[1]) == 1 else "feet"
        return Said(tall.end(), f"{cardinal(tall[1])} {feet} {cardinal(tall[2])} {inches}", "length")
    found = _FEET.match(text, start)
    if not found:
        return None
    feet, inches = found[1], found[2] or found[3]
    if inches and int(inches) > 11 and not found[3]:
        return Said(found.end(), _parts((feet, "minute"), (inches, "second")), "duration")
    if not inches and just_before(_OPEN_QUOTE, text, start, 100):
        return None
    end = found.end()
    is_foot = feet == "1" or inches or (one and _THING.match(text, end))
    words = f"{cardinal(feet)} {'foot' if is_foot else 'feet'}" + (f" {cardinal(inches)}" if inches else "")
    if inches and (part := _PART_OF_INCH.match(text, end)):
        words, end = f"{words} and {fraction(part[1], part[2])}", part.end()
    if by := _BY_FEET.match(text, end):
        return Said(by.end(), f"{words} by ", "length")
    return Said(end, words, "length")


_FEET_INCHES = re.compile(
    r"(\d{1,3})\s?(?:ft\.?|feet|foot)\s?(\d{1,2})(?:in|\s?(?:ins|inch(?:es)?)|\sin(?=[.,;:)!?]|\s*\Z|\s(?:tall|long|wide)))"
    r"(?!\w)(?:\.(?=\s+[a-z\d(]|[,;:)]))?"
)
_ONE = re.compile(r"(?i)\ba\s\Z")
_THING = re.compile(r"\s(?!in\b)[a-z]{3}")
_OPEN_QUOTE = re.compile(r"(?:\A|\s)'[^']*\Z")
_FEET = re.compile(
    r"(?<![A-Za-z])(\d{1,3})(?:['′][\s-]?(\d{1,2})(?![\d'])(?:[\"″]|'')?|['′](?=\s[a-z]|\s?[x×])|\s?ft\s?(\d{1,2})(?!\w))"
)


_PART_OF_INCH = re.compile(r"\s{1,2}(\d)/(\d{1,2}) ?(?:[\"″]|'')")
_BY_FEET = re.compile(r"\s?[x×]\s?(?=\d{1,3}['′])")


def coordinate(text: str, start: int) -> Said | None:
    """52° 30′ N., 13°24'5" E: degrees, minutes and seconds of an angle; 40.71° N."""
    if decimal := _DECIMAL_COORDINATE.match(text, start):
        number = parse(decimal[1], 0)
        assert number is not None
        return Said(decimal.end(), f"{expression(number[0])} degrees {_SIDES[decimal[2]]}", "angle")
    found = _COORDINATE.match(text, start)
    if not found:
        return None
    degrees, minutes, seconds, side = found.groups()
    words = _parts((degrees, "degree"), (minutes, "minute"), (seconds, "second"))
    return Said(found.end(), f"{words} {_SIDES[side]}" if side else words, "angle")


def _parts(*parts: tuple[str | None, str]) -> str:
    """Degrees or minutes, and what they are divided into."""
    return " ".join(f"{cardinal(n)} {name}{'s' * (int(n) != 1)}" for n, name in parts if n)


_SIDES = {"N": "north", "S": "south", "E": "east", "W": "west"}
_DECIMAL_COORDINATE = re.compile(r"(\d{1,3}(?:\.\d{1,9})?)\s?[°º]\s?([NSEW])\b(?:\.(?=\s*[,;)]|\s+[a-z\d]))?")
_COORDINATE = re.compile(
    r"(\d{1,3})\s?[°º]\s?(\d{1,2})\s?['′’](?:\s?(\d{1,2})\s?(?:[\"″”]|''))?(?:\s?([NSEW])\b(?:\.(?=\s*[,;)]|\s+[a-z\d]))?)?"
)


def temperature(text: str, start: int) -> Said | None:
    """75F, 20-25C, after words that tell how warm it is or before those that tell where."""
    found = _TEMPERATURE.match(text, start)
    if not found or not (just_before(_WARM, text, start) or _WHERE.match(text, found.end())):
        return None
    whole, _, tenths = found[1].partition(".")
    words = (
        cardinal(whole)
        + (f" point {cardinal(tenths)}" if tenths else "")
        + (f" to {cardinal(found[2])}" if found[2] else "")
    )
    return Said(found.end(), f"{words} degrees {'Celsius' if found[3] == 'C' else 'Fahrenheit'}", "temperature")


_TEMPERATURE = re.compile(r"(\d{2,3}(?:\.\d)?)(?:[FC]?\s?[-–]\s?(\d{2,3}))?([FC])(?![\w+#]|'s)")
_WARM = re.compile(
    r"(?i)(?:\b(?:temps?|temperatures?):|\bfever of"
    r"|\b(?:high|low|temps?|temperatures?) (?:of|near|around|above|below|is|was)"
    r"|\b(?:oven|heat|was|it's|is|below|above|hits?|reached|about|around|nearly|almost|over|under)(?: to| at)?"
    r"|\b(?:to|at)) \Z"
)
_WHERE = re.compile(r" (?:outside|inside|today|tonight|tomorrow|heat|oven|weather|water|and sunny|day)\b")


def lumber(text: str, start: int) -> Said | None:
    """2x4s -> two by fours; 4x30s is a time."""
    found = _LUMBER.match(text, start)
    return Said(found.end(), f"{cardinal(found[1])} by {plural(cardinal(found[2]))}", "lumber") if found else None


_LUMBER = re.compile(r"([1246])[x×]([468]|10|12)'?s\b")
