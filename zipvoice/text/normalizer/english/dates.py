# SPDX-License-Identifier: Apache-2.0
"""Dates, times of day, durations and decades.

Days are ordinals and years are read in pairs, as Chicago and everyday English have it; with slashes the month comes
first, as the voice is American, unless only the other order is a date.
"""

import re

from zipvoice.text.normalizer.english.numbers import cardinal, digit_by_digit, ordinal, plural, year_like
from zipvoice.text.normalizer.reading import Said, just_before

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_SHORT_MONTHS = {month[:3]: month for month in MONTHS} | {"Sept": "September"}
_LOOKUP = {month: month for month in MONTHS} | _SHORT_MONTHS
_LOOKUP |= {name.upper(): month for name, month in _LOOKUP.items()}
_DAYS = {
    "Mon": "Monday", "Tue": "Tuesday", "Tues": "Tuesday", "Wed": "Wednesday", "Thu": "Thursday", "Thur": "Thursday",
    "Thurs": "Thursday", "Fri": "Friday", "Sat": "Saturday", "Sun": "Sunday",
}  # fmt: skip
MONTH = f"(?:{'|'.join(_LOOKUP)})(?![A-Za-z])"
_MONTH = f"({MONTH})"
_DAY = r"(\d{1,2})(?:st|nd|rd|th)?(?![\d:/]|[.,]\d|\s?[%°])"
_YEAR = r"(\d{4})(?![\d:/]|[.,]\d|-\d)"

# ---------------------------------------------------------------- dates


def month_first(text: str, start: int) -> Said | None:
    """July 4, 1776; Dec. 25; Nov. 5-7; Jan. 2019."""
    if not (found := _MONTH_FIRST.match(text, start)):
        return None
    month, day, last, year, only_year = found.groups()
    if only_year:
        return Said(found.end(), f"{_LOOKUP[month]} {year_like(only_year)}", "date")
    if not 1 <= int(day) <= 31 or (month in ("March", "MARCH", "May") and _NO_DAY.match(text, found.end())):
        return None
    words = f"{_LOOKUP[month]} {ordinal(day)}" + (f" to {ordinal(last)}" if last else "")
    return Said(found.end(), words + (f", {year_like(year)}" if year else ""), "date")


def day_first(text: str, start: int) -> Said | None:
    """4 July 1776; 3 Mar; 1st Oct. 1949."""
    if not (found := _DAY_FIRST.match(text, start)) or not 1 <= int(found[1]) <= 31:
        return None
    day, month, year = found.groups()
    if month in ("May", "March", "Mar", "Sun", "Dec") and not year and text[start - 4 : start] == "the ":
        return None
    words = f"{_LOOKUP[month]} {ordinal(day)}"
    return Said(found.end(), words + (f", {year_like(year)}" if year else ""), "date")


def day_of_month(text: str, start: int) -> Said | None:
    """The month of *21st of Sept.* and the like, standing alone; Jan.–Mar."""
    if months := _MONTHS.match(text, start):
        return Said(months.end(), f"{_LOOKUP[months[1]]} to {_LOOKUP[months[2]]}", "month")
    found = _SHORT_MONTH.match(text, start)
    return Said(found.end(), _SHORT_MONTHS[found[1]], "month") if found else None


def weekday(text: str, start: int) -> Said | None:
    """Mon., Aug. 8; Mon-Fri; Tue 3 Mar."""
    found = _WEEKDAYS.match(text, start) or _WEEKDAY.match(text, start)
    if not found:
        return None
    words = _DAYS[found[1]] + (f" to {_DAYS[found[2]]}" if found.re is _WEEKDAYS else "")
    return Said(found.end(), words, "weekday")


def hyphenated(text: str, start: int) -> Said | None:
    """5-May-1990, 03-Jan-24."""
    found = _HYPHENATED.match(text, start)
    if not found or not 1 <= int(found[1]) <= 31:
        return None
    return Said(found.end(), f"{_LOOKUP[found[2]]} {ordinal(found[1])}, {year_like(_century(found[3]))}", "date")


def season(text: str, start: int) -> Said | None:
    """2023/24: two years that follow one another."""
    found = _SEASON.match(text, start)
    if not found or (int(found[1]) + 1) % 100 != int(found[2]):
        return None
    if found[2] == "00":
        last = year_like(str(int(found[1]) + 1))
    else:
        last = ("oh " if found[2][0] == "0" else "") + cardinal(found[2])
    return Said(found.end(), f"{year_like(found[1])}, {last}", "years")


def military(text: str, start: int) -> Said | None:
    """0600 hrs, 1430 hours."""
    found = _MILITARY.match(text, start)
    if not found or int(found[1]) > 24:
        return None
    hour = ("zero " if found[1][0] == "0" else "") + cardinal(found[1])
    minute = "hundred" if found[2] == "00" else ("zero " if found[2][0] == "0" else "") + cardinal(found[2])
    return Said(found.end(), f"{hour} {minute} hours", "time")


def numeric(text: str, start: int) -> Said | None:
    """2024-05-01, maybe with a time; 2024/05/01; 07/04/2026; 25.12.2021; on 7/4; Fri 7/4."""
    if found := _ISO.match(text, start):
        words = _date(found[1], found[2], found[3])
        clock = f", {_clock(found[4], found[5])}" if words and found[4] else ""
        return Said(found.end(), words + clock + (" Z" if found[6] else ""), "date") if words else None
    if found := _SLASHED.match(text, start):
        first, second, year = found[1], found[3], found[4]
        words = _date(_century(year), first, second) or _date(_century(year), second, first)
        return Said(found.end(), words, "date") if words else None
    if (found := _YEAR_FIRST.match(text, start)) and (words := _date(found[1], found[2], found[3])):
        return Said(found.end(), words, "date")
    found = _MONTH_AND_DAY.match(text, start)
    if found and (found[2] in _DAYS_ONLY or just_before(_ON, text, start)):
        words = _date("", found[1], found[2])
        return Said(found.end(), words, "date") if words else None
    return None


_MONTH_FIRST = re.compile(
    rf"{_MONTH}\.?\s{{1,2}}(?:{_DAY}(?:\s?[-–—]\s?{_DAY})?(?:,?\s{_YEAR})?|(\d{{4}})(?![\d:/]|[.,]\d|\s?[-–]\d))"
)
_DAY_FIRST = re.compile(rf"(\d{{1,2}})(?:st|nd|rd|th)?\s{_MONTH}(?:\.(?=\s[\da-z]|,))?(?:,?\s{_YEAR})?")
_NO_DAY = re.compile(r"\s?(?:miles|times|more|people|percent|million|thousand|steps|km|kg)\b")
_MONTHS = re.compile(rf"{_MONTH}\.?\s?[-–]\s?{_MONTH}(?![\w-])(?:\.(?=\s[a-z\d]|[,;:)]))?(?!\s\d{{1,2}}\b)")
_SHORT_MONTH = re.compile(r"(Jan|Feb|Aug|Sept|Sep|Oct|Nov|Dec)\.(?=\s+[a-z\d]|,|-)")
_WEEKDAYS = re.compile(rf"({'|'.join(_DAYS)})\.?\s?[-–]\s?({'|'.join(_DAYS)})\b\.?(?!\w)")
_WEEKDAY = re.compile(rf"({'|'.join(_DAYS)})(?:\.(?=,|\s+[a-z\d])|\.?(?=,?\s(?:\d|{MONTH})))")
_HYPHENATED = re.compile(rf"(\d{{1,2}})-{_MONTH}\.?-(\d{{4}}|\d\d)(?![\w-])")
_SEASON = re.compile(r"((?:19|20)\d\d)/(\d\d)(?![\d/]|[.,]\d)")
_MILITARY = re.compile(r"(\d\d)([0-5]\d) ?(?:h(?:ou)?rs?\b\.?)")
_ISO = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ](\d\d):(\d\d)(?::\d\d(?:\.\d{1,9})?)?(?:(Z)|[+-]\d\d:?\d\d)?)?(?![\d-])"
)
_SLASHED = re.compile(r"(\d{1,2})([/.])(\d{1,2})\2(\d{4}|\d\d)(?![\d/]|\.\d)(?<!\.\d\d)")
_YEAR_FIRST = re.compile(r"((?:19|20)\d\d)/(\d{1,2})/(\d{1,2})(?![\d/]|\.\d)")
_MONTH_AND_DAY = re.compile(r"(\d{1,2})/(\d{1,2})(?![\d/]|[.,]\d|\s?(?:of|correct|points|stars|cup|in|\"|lb|kg|mile))")
_DAYS_ONLY = frozenset(["13", "14", "15", "17", "18", "19", "21", "22", "23", "26", "27", "28", "29", "31"])
"""Days that are hardly ever denominators: 3/15 is a date."""
_ON = re.compile(
    rf"\b(?:(?:on|by|until|since|from|before|after)|(?:{'|'.join(_DAYS)})(?:[a-z]*day)?\.?,?)\s\Z", re.IGNORECASE
)


def _century(year: str) -> str:
    if len(year) == 4:
        return year
    return ("20" if int(year) < 50 else "19") + year


def _date(year: str, month: str, day: str) -> str:
    if not (1 <= int(month) <= 12 and 1 <= int(day) <= 31):
        return ""
    return f"{MONTHS[int(month) - 1]} {ordinal(day)}" + (f", {year_like(year)}" if year else "")


# ---------------------------------------------------------------- times


def time(text: str, start: int) -> Said | None:
    """5:30pm, 9 a.m., 18:00, 9am-5pm, 10:30-11:45, 1:02:03."""
    if half := _HALF_PAST.match(text, start):
        return Said(half.end(), "half" if half[1] == "2" else "quarter", "time")
    if (long := _MINUTES_OF_PLAY.match(text, start)) and (int(long[1]) > 24):
        return Said(long.end(), f"{cardinal(long[1])} {_minutes(long[2]) if int(long[2]) else 'minutes'}", "time")
    first = _TIME.match(text, start)
    if not first or not _is_time(first):
        return None
    if dash := _TO.match(text, first.end()):
        last = _TIME.match(text, dash.end())
        if last and _is_time(last) and (last[2] or last[4]):
            return Said(_time_end(last), f"{_time_words(first, bool(last[4]))} to {_time_words(last)}", "time")
    if not (first[2] or first[4]):
        return None
    return Said(_time_end(first), _time_words(first), "time")


_TIME = re.compile(
    r"(\d{1,2})(?:[:.](\d\d)(?::(\d\d))?)?(?:\s?([aApP])(?:\.\s?[mM]\.?|[mM](?![a-zA-Z])))?"
    r"(?![\d:]|[.,/]\d|\s?[%°$€£])"
)
_MINUTES_OF_PLAY = re.compile(r"(\d{2,3}):(0\d)(?![\d:]|[.,/]\d)")
"""41:02 is no ratio."""
_HALF_PAST = re.compile(r"1/([24])(?=\s+(?:past|to|after)\s)")
_TO = re.compile(r"\s?[-–—]\s?")


def _is_time(found: re.Match[str]) -> bool:
    hour, minute, second, half = found.groups()
    dotted = minute is not None and found[0][len(hour)] == "."
    if dotted and not half:
        return False
    if half and not 1 <= int(hour) <= 12:
        return False
    return int(hour) <= 24 and int(minute or 0) < 60 and int(second or 0) < 60


def _time_end(found: re.Match[str]) -> int:
    """The full stop of p.m. ends the sentence too before the end, or a capital that does not belong to the time."""
    return found.end() - bool(found[0].endswith(".") and _SENTENCE_END.match(found.string, found.end()))


_OF_TIME = rf"""(?:{_MONTH}\.?\s\d|(?:[ECMP][SD]?T|GMT|UTC|BST|CES?T|IST|JST|AE[SD]T|Eastern|Central|Pacific|Greenwich
    |(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day(?!\s(?:is|was|will|would|has|had|came|began)\b))(?![\w']))"""
_SENTENCE_END = re.compile(rf"\s{{0,9}}\Z|[\"')]{{0,3}}\s+[\"'(]?(?!{_OF_TIME})[A-Z]", re.VERBOSE)


def _time_words(found: re.Match[str], is_half_known: bool = False) -> str:
    hour, minute, second, half = found.groups()
    words = cardinal(hour)
    if minute and int(minute):
        words += f" {_minutes(minute)}"
    elif minute and not half and not is_half_known and not _O_CLOCK.match(found.string, found.end()):
        words += " o'clock" if 1 <= int(hour) <= 12 and not second else " hundred" if not second else " zero"
    if second:
        words += f" and {cardinal(second)} second{'s' * (int(second) != 1)}"
    return words + (f" {half.upper()}M" if half else "")


def _clock(hour: str, minute: str) -> str:
    return f"{cardinal(hour)} {_minutes(minute) if int(minute) else 'hundred'}"


def _minutes(digits: str) -> str:
    """05 -> oh five."""
    return ("oh " if int(digits) < 10 else "") + cardinal(digits)


_O_CLOCK = re.compile(r"\s?o['’]\s?clock")


def duration(text: str, start: int) -> Said | None:
    """3h 20m, 5h30, 2m30s; 1:59:40.2, the time of a race; 00:03:15, a place in a film."""
    if race := _RACE.match(text, start):
        hours, minutes, seconds, fraction = race.groups()
        larger = f"{_counted(hours, 'hour')} " if hours else ""
        exact = f"{cardinal(seconds)} point {digit_by_digit(fraction)} seconds"
        return Said(race.end(), f"{larger}{_counted(minutes, 'minute')} {exact}", "duration")
    if (clock := _CLOCKED.match(text, start)) and (
        just_before(_TOOK, text, start) or (clock[1] == "00" and not just_before(_DAY_BEFORE, text, start))
    ):
        counted = zip(clock.groups(), ("hour", "minute", "second"), strict=True)
        words = " ".join(_counted(n, name) for n, name in counted if int(n)) or "zero seconds"
        return Said(clock.end(), words, "duration")
    found = _DURATION.match(text, start) or _MINUTES.match(text, start)
    if not found:
        return None
    names = ("hour", "minute", "second") if found.re is _DURATION else ("minute", "second")
    before_noun = just_before(_ARTICLE, text, start) and _NOUN.match(text, found.end())
    parts = ((n, name) for n, name in zip(found.groups(), names, strict=True) if n)
    words = " ".join(f"{cardinal(n)} {name}" if before_noun else _counted(n, name) for n, name in parts)
    return Said(found.end(), words, "duration")


_DURATION = re.compile(r"(\d{1,4})\s?h(?:rs?)?\s?([0-5]?\d)(?:\s?m(?:ins?)?(?:\s?([0-5]?\d)\s?s(?:ecs?)?)?)?(?!\w)")
_RACE = re.compile(r"(?:(\d{1,2}):)?(\d{1,2}):([0-5]\d)\.(\d{1,3})(?![\w:]|[.,]\d)")
_CLOCKED = re.compile(r"(\d{1,2}):([0-5]\d):([0-5]\d)(?![\d:]|\.\d|\s(?:UTC|GMT|[ECMP][SD]?T)\b)")
_TOOK = re.compile(r"(?i)\b(?:in|time(?: of)?|ran|took|lasted|record of|duration|clocked|length):?\s\Z")
_DAY_BEFORE = re.compile(r"(?:\d|\d(?:st|nd|rd|th)|y),?(?:\s|T)(?:at\s)?\Z")
_MINUTES = re.compile(r"(\d{1,4})\s?m\s?([0-5]?\d)\s?s(?!\w)")


_ARTICLE = re.compile(r"(?i)\ban?\s\Z")
_NOUN = re.compile(r"[\s-](?!(?:of|or|and|to|in|per|is|was|from|for|at|on|by|with)\b)[a-z]")


def _counted(digits: str, name: str) -> str:
    return f"{cardinal(digits)} {name}{'s' * (int(digits) != 1)}"


# ---------------------------------------------------------------- years


def decade(text: str, start: int) -> Said | None:
    """The 1990s, 2000s, 20s; 1980s-90s."""
    found = _DECADE.match(text, start)
    if not found:
        return None
    digits = found[1]
    if len(digits) == 2 and "'" not in found[0] and not just_before(_IN_THE, text, start):
        return None  # seconds
    return _decade(text, found.end(), year_like(digits) if len(digits) == 4 else cardinal(digits))


def _decade(text: str, end: int, number: str) -> Said:
    """The decade in words, with the dash behind it if another follows."""
    until = _UNTIL_DECADE.match(text, end)
    return Said(until.end() if until else end, plural(number) + " to" * bool(until), "decade")


_DECADE = re.compile(r"((?:\d\d)?\d0|1000)'?s\b")
_UNTIL_DECADE = re.compile(r"\s?[-–—]\s?(?='?(?:\d\d)?\d0'?s\b)")


_IN_THE = re.compile(
    r"(?i)(?:\b(?:the|his|her|my|their|your|our|its|early|mid|late|low|high|lower|upper|into|and|or|in)[ -]'?"
    r"|s\s?[-–—/]\s?'?)\Z"
)


def short_year(text: str, start: int) -> Said | None:
    """'69, '05, '80s."""
    found = _SHORT_YEAR.match(text, start)
    if not found:
        return None
    return _decade(text, found.end(), cardinal(found[1])) if found[2] else Said(found.end(), _minutes(found[1]), "year")


_SHORT_YEAR = re.compile(r"'(\d\d)('?s)?(?![\w'])")
