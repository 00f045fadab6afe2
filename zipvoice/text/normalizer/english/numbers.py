# SPDX-License-Identifier: Apache-2.0
"""English numbers in words, with the words and commas of the inflect package (which its tests compare with)."""

_SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_THOUSANDS = (
    "", "thousand", "million", "billion", "trillion", "quadrillion", "quintillion", "sextillion", "septillion",
    "octillion", "nonillion", "decillion",
)  # fmt: skip
MAX_DIGITS = 3 * len(_THOUSANDS)

_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
    "twelve": "twelfth",
}  # fmt: skip


def cardinal(digits: str, conjunction: str = "") -> str:
    """1234567 -> one million, two hundred thirty-four thousand, five hundred sixty-seven.

    With the conjunction "and": one hundred and one. Numbers of more than 36 digits have no name; they are read digit by
    digit.
    """
    digits = digits.lstrip("0") or "0"
    if len(digits) > MAX_DIGITS:
        return digit_by_digit(digits)
    if digits == "0":
        return _SMALL[0]
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    values = [int(digits[i : i + 3]) for i in range(0, len(digits), 3)]
    names = _THOUSANDS[len(values) - 1 :: -1]
    groups = [f"{_below_thousand(n, conjunction)} {name}".rstrip() for n, name in zip(values, names, strict=True) if n]
    return _joined(groups, values[-1], conjunction)


def ordinal(digits: str) -> str:
    """121 -> one hundred and twenty-first."""
    words = cardinal(digits, "and")
    start = max(words.rfind(" "), words.rfind("-")) + 1
    head, last = words[:start], words[start:]
    if last in _ORDINALS:
        return head + _ORDINALS[last]
    return head + (last.removesuffix("y") + "ieth" if last.endswith("y") else last + "th")


def year_like(digits: str) -> str:
    """Whole numbers as in running text: between 1001 and 2999 in pairs, nineteen ninety-nine; else as `cardinal`."""
    n = int(digits) if len(digits) <= 9 else 0
    if not 1000 < n < 3000:
        return cardinal(digits)
    hundreds, rest = divmod(n, 100)
    if n == 2000 or 2000 < n < 2010:
        return "two thousand" + (f" {_SMALL[rest]}" if rest else "")
    if rest == 0:
        return f"{_below_thousand(hundreds, '')} hundred"
    return f"{_below_thousand(hundreds, '')} {'oh ' if rest < 10 else ''}{_below_thousand(rest, '')}"


def digit_by_digit(digits: str) -> str:
    """007 -> zero zero seven."""
    return " ".join(_SMALL[int(d)] for d in digits)


def plural(words: str) -> str:
    """Nineteen ninety -> nineteen nineties; twenty -> twenties; eighth -> eighths."""
    return words.removesuffix("y") + "ies" if words.endswith("y") else words + ("es" if words.endswith("x") else "s")


def _below_thousand(n: int, conjunction: str) -> str:
    hundreds, rest = divmod(n, 100)
    words = [f"{_SMALL[hundreds]} hundred"] if hundreds else []
    if hundreds and rest and conjunction:
        words.append(conjunction)
    if rest >= 20:
        words.append(_TENS[rest // 10] + (f"-{_SMALL[rest % 10]}" if rest % 10 else ""))
    elif rest:
        words.append(_SMALL[rest])
    return " ".join(words)


def _joined(groups: list[str], last: int, conjunction: str) -> str:
    """Groups of three digits; inflect has no comma before a last group below one hundred."""
    if len(groups) > 1 and 0 < last < 100:
        return ", ".join(groups[:-1]) + (f" {conjunction} " if conjunction else " ") + groups[-1]
    return ", ".join(groups)
