# SPDX-License-Identifier: Apache-2.0
"""English text as words: addresses, abbreviations, dates, times, amounts, units and numbers."""

import re
from collections.abc import Callable

from zipvoice.text.normalizer.english_numbers import cardinal, digit_by_digit, ordinal, plural, year_like

Rule = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]


def spoken(text: str) -> str:
    """`text` with everything that is not a word written as words; punctuation stays.

    The rules apply in order, each over the whole text, and take linear time: none starts inside a run of what it
    matches, and none has nested repetition.
    """
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def quantity(number: str) -> str:
    """A number as written (1,234.50 or .5 or 007) in words; numbers with a leading zero are codes, digit by digit."""
    whole, _, decimals = number.partition(".")
    if decimals:
        return f"{cardinal(whole.replace(',', ''))} point {digit_by_digit(decimals)}".removeprefix(
            "zero " * (not whole)
        )
    if "," in whole and not whole.endswith("00"):
        return cardinal(whole.replace(",", ""))
    whole = whole.replace(",", "")
    return digit_by_digit(whole) if len(whole) > 1 and whole[0] == "0" else year_like(whole)


# A number is tried only where it starts: a rule that fails at the end of a long one must not try again at each digit.
_START = r"(?<!\d)(?<!\d\.)(?<!\d,(?=\d{3}(?!\d)))"
_NUM = rf"{_START}(?:\d{{1,3}}(?:,\d{{3}})+(?!\d)|\d+)(?:\.\d+)?"

# ---------------------------------------------------------------- addresses

_SYMBOL_NAMES = {
    ".": "dot", "/": "slash", ":": "colon", "@": "at", "-": "dash", "_": "underscore", "?": "question mark",
    "=": "equals", "&": "and", "#": "hash", "%": "percent", "+": "plus", "~": "tilde", "!": "exclamation mark",
    "*": "asterisk", ",": "comma", ";": "semicolon",
}  # fmt: skip


def _address(match: re.Match[str]) -> str:
    """https://a.org/b -> https colon slash slash a dot org slash b; closing punctuation is the sentence's."""
    address = match[0].rstrip(".,;:!?'\")]")
    words = re.sub(r"[^\w']|_", lambda m: f" {_SYMBOL_NAMES.get(m[0], m[0])} ", address)
    return " ".join(words.split()) + match[0][len(address) :]


_ADDRESSES: list[Rule] = [
    (re.compile(r"(?<!\w)(?:(?:https?|ftp)://|www\.)[^\s<>\"]+"), _address),
    (re.compile(r"(?a)(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"), _address),
    (
        re.compile(
            r"(?a)(?<![\w@./-])(?:[a-zA-Z0-9-]{1,63}\.){1,8}(?:com|org|net|edu|gov|io|ai|dev|app|info|uk|cn)"
            r"(?![\w-]|\.\w)(?:/[^\s<>\"]*)?"
        ),
        _address,
    ),
]

# ---------------------------------------------------------------- abbreviations

_TITLES = {
    "mrs": "misess", "mr": "mister", "drs": "doctors", "dr": "doctor", "prof": "professor", "sgt": "sergeant",
    "capt": "captain",
}  # fmt: skip
_RANKS = {
    "Gen": "general", "Col": "colonel", "Maj": "major", "Lt": "lieutenant", "Rev": "reverend", "Hon": "honorable",
    "GEN": "general", "COL": "colonel", "MAJ": "major", "LT": "lieutenant", "REV": "reverend", "HON": "honorable",
    "Ms": "Ms", "Ft": "fort", "FT": "fort", "St": "saint", "ST": "saint",
}  # fmt: skip
_ENDINGS = {"jr": "junior", "esq": "esquire", "ltd": "limited", "etc": "et cetera", "btw": "by the way", "vs": "versus"}
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip


def _word(words: str) -> str:
    """A whole word, which is not a part of a hyphenated one: co-operate has no company in it."""
    return rf"(?<![\w-])({words})(?![\w-])"


_NO_END = r"(?:\.(?!\s*$|\s+[\"'(]?[A-Z]))?"  # the full stop of an abbreviation, unless it may end the sentence too
_ABBREVIATIONS: list[Rule] = [
    (re.compile(rf"(?i:{_word('|'.join(_TITLES))})\.?"), lambda m: _TITLES[m[1].lower()]),
    (re.compile(rf"(?<=\d(?:st|nd|rd|th) ){_word('St|Street')}{_NO_END}"), "street"),
    (re.compile(rf"{_word('|'.join(_RANKS))}\.?(?=\s+[A-Z])"), lambda m: _RANKS[m[1]]),
    (re.compile(rf"{_word('St')}{_NO_END}"), "street"),
    (re.compile(rf"{_word('Co|CO')}\.?(?=\s+(?:Ltd|Inc|KG)\b)"), "company"),
    (re.compile(rf"{_word('Co|CO')}(?=[.,]){_NO_END}"), "company"),
    (re.compile(rf"(?i:{_word('|'.join(_ENDINGS))}){_NO_END}"), lambda m: _ENDINGS[m[1].lower()]),
    (re.compile(rf"(?i)(?:{_word('no|nr')}\.|№|#)\s?(?={_NUM})"), "number "),
]

# ---------------------------------------------------------------- dates and times


def _date(year: str, month: str, day: str) -> str | None:
    if not (1 <= int(month) <= 12 and 1 <= int(day) <= 31):
        return None
    return f"{_MONTHS[int(month) - 1]} {ordinal(day)}, {year_like(year)}"


def _american_date(match: re.Match[str]) -> str:
    """Month first, as in the voice's country; day first where only that is a date."""
    first, second, year = match.groups()
    return _date(year, first, second) or _date(year, second, first) or match[0]


def _time(match: re.Match[str]) -> str:
    hour, minute, second = match.groups()
    words = cardinal(hour)
    if int(minute):
        words += f" {'oh ' if int(minute) < 10 else ''}{cardinal(minute)}"
    elif not re.match(r"\s*[ap]\.?m", match.string[match.end() : match.end() + 6], re.IGNORECASE):
        words += " o'clock" if 1 <= int(hour) <= 12 and not second else " hundred" if not second else " zero"
    return f"{words} and {cardinal(second)} second{'s' * (int(second) != 1)}" if second else words


def _decade(match: re.Match[str]) -> str:
    digits = match[1]
    return plural(year_like(digits) if len(digits) == 4 else cardinal(digits))


_DATES: list[Rule] = [
    (re.compile(r"(?<![\d-])(\d{4})-(\d{1,2})-(\d{1,2})(?![\d-])"), lambda m: _date(*m.groups()) or m[0]),
    (re.compile(r"(?<![\d/])(\d{1,2})/(\d{1,2})/(\d{4})(?![\d/])"), _american_date),
    (re.compile(r"(?<![\d:.])([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?(?![\d:])"), _time),
    (re.compile(r"(?<![\d.,])(?:')?((?:\d\d)?\d0)'?s\b"), _decade),
]

# ---------------------------------------------------------------- amounts and units

_CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
    "¥": ("yen", "yen", "", ""),
    "₹": ("rupee", "rupees", "paisa", "paise"),
    "₩": ("won", "won", "", ""),
    "₽": ("ruble", "rubles", "kopeck", "kopecks"),
}
_MAGNITUDES = {"k": "thousand", "m": "million", "mn": "million", "bn": "billion", "b": "billion", "tn": "trillion"}


def _amount(sign: str, number: str, magnitude: str | None) -> str:
    """$3.50 -> three dollars, fifty cents; $1.5 -> one point five dollars; $5 million -> five million dollars."""
    one, many, cent, cents = _CURRENCIES[sign]
    if magnitude:
        return f"{quantity(number)} {_MAGNITUDES.get(magnitude.lower(), magnitude)} {many}"
    whole, _, decimals = number.replace(",", "").partition(".")
    if decimals and not (len(decimals) == 2 and cent):
        return f"{quantity(number)} {many}"
    parts = (
        []
        if not int(whole or 0) and int(decimals or 0)
        else [f"{quantity(number.split('.')[0])} {one if int(whole) == 1 else many}"]
    )
    if int(decimals or 0):
        parts.append(f"{cardinal(decimals)} {cent if int(decimals) == 1 else cents}")
    return ", ".join(parts)


UNITS = {
    "km/h": "kilometer per hour", "mph": "mile per hour", "m/s": "meter per second", "kg": "kilogram",
    "mg": "milligram", "µg": "microgram", "g": "gram", "km": "kilometer", "cm": "centimeter", "mm": "millimeter",
    "µm": "micrometer", "nm": "nanometer", "m": "meter", "mi": "mile", "ft": "foot", "yd": "yard", "lbs": "pound",
    "lb": "pound", "oz": "ounce", "L": "liter", "ml": "milliliter", "mL": "milliliter", "Hz": "hertz",
    "kHz": "kilohertz", "MHz": "megahertz", "GHz": "gigahertz", "kWh": "kilowatt hour", "kW": "kilowatt",
    "W": "watt", "V": "volt", "kB": "kilobyte", "KB": "kilobyte", "MB": "megabyte", "GB": "gigabyte",
    "TB": "terabyte", "ms": "millisecond", "µs": "microsecond", "sec": "second", "min": "minute", "hrs": "hour",
    "hr": "hour", "kcal": "kilocalorie", "dB": "decibel", "m²": "square meter", "m2": "square meter",
    "km²": "square kilometer", "km2": "square kilometer", "ft²": "square foot", "cm²": "square centimeter",
    "m³": "cubic meter", "m3": "cubic meter", "cm³": "cubic centimeter", "°C": "degree Celsius",
    "℃": "degree Celsius", "°F": "degree Fahrenheit", "℉": "degree Fahrenheit", "°": "degree",
}  # fmt: skip
"""What a unit after a number is called."""


def _measured(match: re.Match[str]) -> str:
    number, name = match[1], UNITS[match[2]]
    if number == "1" or name.endswith("hertz"):
        return f"{quantity(number)} {name}"
    head, separator, tail = name.partition(" per ")
    first, _, last = head.partition(" ") if head.startswith("degree") else ("", "", head)
    names = f"degrees {last}".rstrip() if first else last[:-4] + "feet" if last.endswith("foot") else last + "s"
    return f"{quantity(number)} {names}{separator}{tail}"


def _alternatives(words: dict[str, object] | dict[str, str]) -> str:
    return "|".join(map(re.escape, sorted(words, key=len, reverse=True)))


_SIGN = "[" + re.escape("".join(_CURRENCIES)) + "]"
_MAGNITUDE = r"(?:\s?(hundred|thousand|million|billion|trillion)\b|([kKmMbB]|[mbt]n)\b)"
_AMOUNTS: list[Rule] = [
    (re.compile(rf"(?<![\w.)%])[-−](?={_SIGN}?\.?\d)"), "minus "),
    (
        re.compile(rf"({_SIGN})({_NUM})\s?[-–]\s?\1?({_NUM})"),
        lambda m: f"{quantity(m[2])} to {_amount(m[1], m[3], None)}",
    ),
    (
        re.compile(rf"(?<!\d)({_SIGN})\s?({_NUM}|\.\d+)(?!\.?\d){_MAGNITUDE}?"),
        lambda m: _amount(m[1], m[2], m[3] or m[4]),
    ),
    (re.compile(rf"({_NUM})\s?({_SIGN})(?!\d)"), lambda m: _amount(m[2], m[1], None)),
    (re.compile(rf"({_NUM})\s?%(?!\w)"), lambda m: f"{quantity(m[1])} percent"),
    (re.compile(rf"({_NUM})\s?‰"), lambda m: f"{quantity(m[1])} per mille"),
    (re.compile(rf"({_NUM})\s?[-–]\s?(?={_NUM}\s?(?:{_alternatives(UNITS)})(?!\w))"), r"\1 to "),
    (re.compile(rf"({_NUM})[\s-]?({_alternatives(UNITS)})(?!\w)(?:\.(?=\s+[a-z]))?"), _measured),
]

# ---------------------------------------------------------------- numbers


def _telephone(match: re.Match[str]) -> str:
    return ", ".join(map(digit_by_digit, match[0].split("-")))


def _fraction(match: re.Match[str]) -> str:
    above, below = match.groups()
    if not (int(above) and 2 <= int(below) <= 100) or len(above) > 3:
        return f"{quantity(above)} slash {quantity(below)}"
    if (above, below) == ("24", "7"):
        return "twenty-four seven"
    name = {"2": "half", "4": "quarter"}.get(below) or ordinal(below)
    if above != "1":
        name = "halves" if name == "half" else plural(name)
    return f"{cardinal(above)} {name}"


def _apart(match: re.Match[str], words: str) -> str:
    """Words with spaces where something else touches: MP3 -> MP three, COVID-19 -> COVID- nineteen."""
    before, after = match.string[max(0, match.start() - 1) : match.start()], match.string[match.end() : match.end() + 1]
    return " " * (before not in ("", *"([{\"' ")) + words + " " * after.isalnum()


def _number(match: re.Match[str]) -> str:
    return _apart(match, quantity(match[0]))


def _version(match: re.Match[str]) -> str:
    return _apart(match, " point ".join(map(quantity, match[0].split("."))))


_NUMBERS: list[Rule] = [
    (re.compile(r"(?<![\w.-])\d+(?:-\d+){2,}(?![\w.])"), _telephone),
    (re.compile(r"(?<![\w.-])\d{3}-\d{4}(?![\w.-])"), _telephone),
    (re.compile(rf"({_NUM}) - (?={_NUM})"), r"\1 minus "),
    (re.compile(rf"({_NUM})[-–](?={_NUM})"), r"\1 to "),
    (re.compile(r"(?<![\w)])\+\s?(?=\.?\d)"), "plus "),
    (re.compile(r"±\s?(?=\.?\d)"), "plus or minus "),
    (re.compile(r"~\s?(?=\.?\d)"), "about "),
    (re.compile(rf"({_NUM}):(?=\d)"), r"\1 to "),
    (re.compile(r"(\d) (\d{1,3}/\d{1,3})(?![\d/])"), r"\1 and \2"),
    (re.compile(r"(?<![\d./])(\d{1,36})/(\d{1,36})(?![\d/])"), _fraction),
    (
        re.compile(r"(?<![\d.])((?:\d{1,3}(?:,\d{3})+(?!\d)|\d+))(?:st|nd|rd|th)\b", re.IGNORECASE),
        lambda m: ordinal(m[1].replace(",", "")),
    ),
    (re.compile(r"(?<=\w)²"), " squared "),
    (re.compile(r"(?<=\w)³"), " cubed "),
    (re.compile(r"²"), " two "),
    (re.compile(r"³"), " three "),
    (re.compile(r"(?<=\s)<=?(?=\s)|(?<=\d)<(?=\d)"), " less than "),
    (re.compile(r"(?<=\s)>=?(?=\s)|(?<=\d)>(?=\d)"), " greater than "),
    (re.compile(r"(?<!\d)\d+(?:\.\d+){2,}"), _version),
    (re.compile(r"(?<=\d),(?=\d)(?!\d{3}(?!\d))"), ", "),
    (re.compile(r"\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|(?<![\w.])\.\d+"), _number),
]

_RULES: list[Rule] = [*_ADDRESSES, *_ABBREVIATIONS, *_DATES, *_AMOUNTS, *_NUMBERS]
