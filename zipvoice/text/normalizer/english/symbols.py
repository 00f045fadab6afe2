# SPDX-License-Identifier: Apache-2.0
"""Signs that are read as words, and signs that are not read: arithmetic, slashes, arrows, hash and at, emoticons."""

import re
from collections.abc import Callable

from zipvoice.text.normalizer.english.addresses import MARK_NAMES
from zipvoice.text.normalizer.english.dates import MONTH
from zipvoice.text.normalizer.english.numbers import cardinal, ordinal, plural
from zipvoice.text.normalizer.english.quantities import parse
from zipvoice.text.normalizer.english.saying import expression, fraction, power
from zipvoice.text.normalizer.reading import Said, just_before


def symbol(text: str, start: int) -> Said | None:
    """The sign at `start` in words, by what stands around it."""
    for rule, pattern, words in _SIGNS:
        if found := pattern.match(text, start):
            said = words(found) if callable(words) else words
            return Said(found.end(), _spaced(text, start, found.end(), said), rule)
    return None


def _spaced(text: str, start: int, end: int, words: str) -> str:
    """Spaces where the sign touches something."""
    words = words.strip()
    if not words:
        return words
    left = not text[start - 1 : start].isspace() and start > 0 and text[start - 1] not in "([\"'"
    return " " * left + words + " " * (end < len(text) and not text[end].isspace() and text[end] not in ".,;:!?)]\"'")


def _power(found: re.Match[str]) -> str:
    exponent = found[1]
    if exponent in ("2", "3"):
        return "squared" if exponent == "2" else "cubed"
    return power(exponent.replace("−", "-")) if exponent.lstrip("-−+").isdigit() else f"to the {exponent}"


_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")


def _superscript(found: re.Match[str]) -> str:
    digits = found[0].translate(_SUPERSCRIPTS)
    return {"2": "squared", "3": "cubed"}.get(digits) or power(digits)


_UNTIL = r"(?:noon|midnight|[Pp]resent|[Nn]ow|today|[Cc]urrent|date|ongoing)\b"

_MATHS = {
    "∞": "infinity", "∑": "sum", "∏": "product", "∫": "integral of", "∂": "partial", "∇": "nabla", "∈": "in",
    "∉": "not in", "⊂|⊆": "is a subset of", "∪": "union", "∩": "intersection", "∅": "empty set", "∀": "for all",
    "∃": "there exists", "∴": "therefore", "∝": "is proportional to", "≡": "is equivalent to", "≪": "much less than",
    "≫": "much greater than", "∧": "and", "∨": "or", "¬": "not", "↑": "up", "↓": "down", "⟶": "to",
    "⇔|↔": "if and only if",
}  # fmt: skip
"""Signs of mathematics that mean the same wherever they stand."""

_SIGNS: list[tuple[str, re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    ("range", re.compile(rf"(?<=\d )[–—-]\s(?=\d{{1,2}}(?:st|nd|rd|th)? {MONTH})"), "to"),
    (
        "factorial",
        re.compile(
            r"!(?<=[\d)]!)(?=\s*[=+*/×]\s*[\w(])|!(?<=\b[a-z]!)(?=\s*[=+*/×<>≤≥])|!(?<=\bn!)(?= [a-z]{2})|!(?<=[-+][a-z\d]\)!)"
        ),
        "factorial",
    ),
    ("emoticon", re.compile(r"(?<![\w/])(?:[:;=]-?[)(\]DPpO|*/\\]{1,4}|[:;]'\(|<3+(?= *(?:\Z|[.!?])))(?!\w)"), ""),
    ("arrow", re.compile(r"(?:<?[-=]{1,2}>|→|⇒)(?=\s|\w)"), "to"),
    ("arithmetic", re.compile(r"\^[({]?([-−+]?\d{1,3}|[a-z])[)}]?(?!\w)"), _power),
    ("arithmetic", re.compile(r"(?<=[\w)])[⁻⁺]?[⁰¹²³⁴-⁹]{1,3}"), _superscript),
    ("arithmetic", re.compile(r"\^\s?\\circ"), "degrees"),
    ("arithmetic", re.compile(r"\^[({]"), "to the"),
    ("arithmetic", re.compile(r"²"), "two"),
    ("arithmetic", re.compile(r"³"), "three"),
    ("arithmetic", re.compile(r"===?"), "equals"),
    ("arithmetic", re.compile(r"!==?|≠|=/="), "is not equal to"),
    ("arithmetic", re.compile(r"<=|≤"), "less than or equal to"),
    ("arithmetic", re.compile(r">=|≥"), "greater than or equal to"),
    ("arithmetic", re.compile(r"\+=(?=\s)"), "plus equals"),
    ("arithmetic", re.compile(r"(?<=\w )-=(?=\s)"), "minus equals"),
    ("arithmetic", re.compile(r"(?<=\w )\*=(?=\s)"), "times equals"),
    ("arithmetic", re.compile(r"(?<=\w )/=(?=\s)"), "divide equals"),
    ("arithmetic", re.compile(r"[-−](?<=[(=+*/^{\s][a-z][-−])(?=(?:[a-z]|\d{1,2})[)}])"), "minus"),
    ("arithmetic", re.compile(r"(?<=[\w)\]%!\s])=(?=[\s\w.$(√+-])"), "equals"),
    ("arithmetic", re.compile(r"\*\*(?=\s?\d)(?<=[\w\s)]\*\*)\s?(\d{1,3})(?!\w)"), _power),
    (
        "arithmetic",
        re.compile(r"(?<=[\d)])(?:\*(?! [a-z]{2}| \()|[×·⋅])\s?(?=[\w(])|(?<=[\w)%] )[*×·⋅]\s(?=[\w(])"),
        "times",
    ),
    ("arithmetic", re.compile(r"(?<=\w)×(?=\w)"), "by"),
    ("arithmetic", re.compile(r"(?<=[\d)])÷\s?(?=[\d(])|(?<=[\w)] )÷(?=\s)"), "divided by"),
    ("arithmetic", re.compile(r"(?<=[\d)] )/(?=\s[\d(])|(?<=\b[a-z] )/(?=\s[a-z]\s?=)"), "divided by"),
    (
        "arithmetic",
        re.compile(
            r"\+\s?(?=[\w($£€.√])(?<=[\w)]\+)|(?<=[\w)²³…] )\+\s(?=[\w($£€.√…])|\+\s(?=[\w($£€.√])(?<=[\w)²³]\+ )"
        ),
        "plus",
    ),
    (
        "arithmetic",
        re.compile(
            r"(?<=[\d)²³] )[-−–]\s(?=\d{0,6}[a-z]\b|\d)|(?<=\b[a-zA-Z] )[-−]\s(?=\d+\b|[a-z]\b)|(?<=\d[nxyzt] )[-−]\s(?=\d|[a-z]\b)|−\s?(?=[\w(])"
        ),
        "minus",
    ),
    (
        "grade",
        re.compile(r"[-−](?<=\b[A-F][-−])(?=[,.;:!?)]|\s*\Z|\s(?:grade|average|student|rating|and|or|in|on|for)\b)"),
        "minus",
    ),
    (
        "grade",
        re.compile(r"\+(?<=\b[A-F]\+)(?=[,.;:!?)]|\s*\Z|\s(?:grade|average|student|rating|and|or|in|on|for)\b)"),
        "plus",
    ),
    ("arithmetic", re.compile(r"√\s?(?=[\w(])"), "square root of"),
    ("arithmetic", re.compile(r"∛\s?"), "cube root of"),
    ("arithmetic", re.compile(r"\}\{|(?<=\))/(?=[\d(])"), "over"),
    *(("arithmetic", re.compile(sign), words) for sign, words in _MATHS.items()),
    ("arithmetic", re.compile(r"≈"), "is about"),
    ("arithmetic", re.compile(r"±"), "plus or minus"),
    ("comparison", re.compile(r"(?<=\s)<(?=\s)|(?<=\w)<(?=\d)"), "less than"),
    ("comparison", re.compile(r"(?<=[\w)]\s)>(?=\s\w)|(?<=\w)>(?=\d)"), "greater than"),
    ("logic", re.compile(r"(?<=[\w)\s])&&(?=[\w(!\s])"), "and"),
    ("logic", re.compile(r"(?<=[\w)\s])\|\|(?=[\w(!\s])"), "or"),
    ("and", re.compile(r"&\s?(?=\w)"), "and"),
    ("hash", re.compile(r"#(?=[0-9A-Fa-f]{6}\b)(?=[A-Fa-f]*\d)"), "hash"),
    ("hash", re.compile(r"#(?=\d{1,9}(?!\w))"), "number"),
    ("hash", re.compile(r"#(?=[A-Za-z]\w|\d{1,9}[A-Za-z]{3})"), "hashtag"),
    ("hash", re.compile(r"#(?=\s(?:of|is|was|on)\b|\s?\d)"), "number"),
    ("at", re.compile(r"@\s?(?=\w)"), "at"),
    ("option", re.compile(r"(?<!\S)--?(?=[a-zA-Z][\w-]*(?:[\s=.,)]|\Z))(?<=--)"), "dash dash"),
    ("option", re.compile(r"(?<=\w )-(?=[a-zA-Z](?:[\s.,)]|\Z))"), "dash"),
    ("section", re.compile(r"§§\s?"), "sections"),
    ("section", re.compile(r"§\s?"), "section"),
    ("paragraph", re.compile(r"¶¶?\s?"), "paragraph"),
    ("number", re.compile(r"№\s?"), "number"),
    ("mark", re.compile(r"©\s?(?=\d|\w)"), "copyright"),
    ("mark", re.compile(r"[©®™♪♫♬♩℠☺☹]|(?<=s)~(?=[,;.])"), ""),
    ("mark", re.compile(r"[★☆⭐]+|(?<=\d)(?<!\d\d)\*(?= [a-z]{3})(?! (?:off|from)\b)"), "star"),
    ("score", re.compile(r"(?<=\d)\*(?= (?:off|from)\b| \(\d)"), "not out"),
    ("mark", re.compile(r"[✓✔☑✅]"), "check"),
    ("mark", re.compile(r"[•◦▪■□●○◆◇▶►]"), ","),
    (
        "omission",
        re.compile(r"(?<=[a-zA-Z])\*{2,}|(?<=\d)\*(?=[\s.,;)]|\Z)|\*{2,}(?=\s|\Z)|(?<!\S)\*{2,}(?=[A-Za-z])"),
        "",
    ),
    ("omission", re.compile(r"(?<=[A-Za-z])-{3,}|-{3,}(?=[a-z])|(?<=\b[A-Z])—(?=\W)"), ""),
    ("range", re.compile(rf"[-–—]\s?(?={_UNTIL})(?<=[\w.][-–—])"), "to"),
    ("range", re.compile(rf"(?<=[\w.] )[-–—]\s(?={_UNTIL})"), "to"),
    ("range", re.compile(rf"(?<=\d )[–—-]\s(?={MONTH})|(?<=\d)[–—](?={MONTH})"), "to"),
    ("fraction", re.compile(r"(?<=\d)/(?=\d)"), "slash"),
]


def quoted_sign(text: str, start: int) -> Said | None:
    """The "+" and "-" buttons: a sign in quotation marks by its name."""
    found = _QUOTED_SIGN.match(text, start)
    if not found:
        return None
    is_minus = found[1] == "-" and "+" in text[max(0, start - 24) : start + 24]
    return Said(found.end(), "minus" if is_minus else _SIGN_NAMES[found[1]], "sign")


_SIGN_NAMES = {**MARK_NAMES, "<": "less than", ">": "greater than", "^": "caret"}
_QUOTED_SIGN = re.compile(r"[\"'“‘]([-+./,:;&@#*_~|=%^$\\<>])[\"'”’]")


def quantity(text: str, start: int) -> Said | None:
    """The expression at `start` in words; the grammar is in `quantities`."""
    parsed = parse(text, start)
    if parsed is None:
        return None
    found, end = parsed
    first = found.first
    kind = "money" if first.currency else "quantity" if first.unit else "number"
    return Said(end, expression(found), "range" if found.rest else kind)


def beats(text: str, start: int) -> Said | None:
    """6/8 time, in 3/4: the signature of a piece of music; 287/4 declared: the score of an innings."""
    if score := _INNINGS.match(text, start):
        return Said(score.end(), f"{cardinal(score[1])} for {cardinal(score[2])}", "score")
    found = _BEATS.match(text, start)
    return Said(found.end(), f"{cardinal(found[1])} {cardinal(found[2])}", "time signature") if found else None


_INNINGS = re.compile(r"(\d{2,3})/(\d|10)(?=\s\(?(?:\d{1,3}(?:\.\d)? ?ov|dec|after|off|in \d{1,2} overs))")
_BEATS = re.compile(r"(\d{1,2})/([248]|16)(?= (?:time|meter|metre|signature|beat|groove|rhythm|waltz|march)\b)")


def counted_ordinal(text: str, start: int) -> Said | None:
    """21st, 1,000th, 2-fold."""
    found = _ORDINAL.match(text, start)
    if not found:
        return None
    words = ordinal(found[1].replace(",", ""))
    dash = _DASH.match(text, found.end())
    return Said((dash or found).end(), words + " to " if dash else words, "ordinal")


_ORDINAL = re.compile(r"(\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th|ST|ND|RD|TH)\b")


_DASH = re.compile(r"\s?[-–]\s?(?=\d{1,9}(?:st|nd|rd|th)\b)")


def ordinal_range(text: str, start: int) -> Said | None:
    """5–6th grade, the 17-18th centuries."""
    found = _ORDINAL_RANGE.match(text, start)
    return Said(found.end(), f"{ordinal(found[1])} to {ordinal(found[2])}", "range") if found else None


_ORDINAL_RANGE = re.compile(r"(\d{1,3})\s?[-–]\s?(\d{1,3})(?:st|nd|rd|th)(?![\w-])")


def old_ordinal(text: str, start: int) -> Said | None:
    """The 3d inst., the 22d Regiment: ordinals of old books."""
    found = _OLD_ORDINAL.match(text, start)
    return Said(found.end(), ordinal(found[1]), "ordinal") if found else None


_OLD_ORDINAL = re.compile(
    r"(\d?[23])d"
    r"(?= (?:inst|ult|prox|of [A-Z]|day|Reg|Bat|Cav|Inf|Div|Brig|Corps|Street|St\b|Cir|edn?\b|edition|[Ff]l(?:oor)?\b))"
)


def many(text: str, start: int) -> Said | None:
    """100s of 1000s; 10x, 2-3x; 24/7/365."""
    if text.startswith("24/7/365", start) and not text[start + 8 : start + 9].isalnum():
        return Said(start + 8, "twenty-four seven three sixty-five", "slash")
    if found := _HUNDREDS.match(text, start):
        return Said(
            found.end(),
            {"0": "tens", "00": "hundreds", "000": "thousands"}[next(filter(None, found.groups()))],
            "number",
        )
    if found := _OUT_OF.match(text, start):
        return Said(found.end(), f"{cardinal(found[1])} out of {cardinal(found[2])}", "score")
    if found := _TIMES.match(text, start):
        words = f"{cardinal(found[1])} to " if found[1] else ""
        parsed = parse(text, found.start(2))
        assert parsed is not None
        return Said(found.end(), f"{words}{expression(parsed[0])} times", "number")
    return None


_HUNDREDS = re.compile(r"1(?:,(?=000))?(0{1,3})'?s(?= of\b)|(?<=of )1(0{2,3})s\b|(?<=the )1(00)s\b")
_OUT_OF = re.compile(r"(\d{1,3})/(\d{1,3})(?=\s(?:stars?|points?|correct|would)\b)")
_TIMES = re.compile(
    r"(?:(\d{1,4})\s?[-–]\s?)?(\d{1,4}(?:\.\d{1,3})?)[xX](?![\w^²³])(?!\s?[-+*/=]|\s\d)(?<![=+*/-] \dx)"
)


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


def book_size(text: str, start: int) -> Said | None:
    """8vo, 12mo. of a book."""
    found = _BOOK_SIZE.match(text, start)
    if not found or (found[1] not in ("4", "8") and not just_before(_OF_A_BOOK, text, start)):
        return None
    return Said(found.end(), {"4": "quarto", "8": "octavo"}.get(found[1]) or f"{cardinal(found[1])}mo", "book")


_BOOK_SIZE = re.compile(r"(4(?=to)|8(?=vo)|12|16|18|24|32)(?:[mv]o|to)\b(?:\.(?!\s*\Z))?")
_OF_A_BOOK = re.compile(r"\A\Z|\b(?:vols?|pp|ed|edn|edition|cloth|calf|boards)\b[.,\s]{1,4}\Z")


def special_slash(text: str, start: int) -> Said | None:
    """w/o, w/, b/w, c/o, n/a, and/or."""
    found = _SPECIAL.match(text, start)
    return Said(found.end(), _SLASHED[found[0].lower()], "slash") if found else None


_SLASHED = {
    "w/o": "without", "w/": "with", "w/in": "within", "b/w": "between", "b/c": "because", "c/o": "care of",
    "n/a": "N eh", "and/or": "and or", "w/e": "whatever", "a/c": "air conditioning", "h/t": "hat tip",
    "y/o": "year old",
}  # fmt: skip
_SPECIAL = re.compile(r"(?i)(?:w/o|w/in|b/w|b/c|c/o|n/a|and/or|a/c|h/t|w/e|y/o)(?!\w)|w/(?=\s|\d|[a-z]{3})")


def language_name(text: str, start: int) -> Said | None:
    """C#, F#, C++."""
    found = _LANGUAGE.match(text, start)
    return Said(found.end(), f"{found[1]} {'sharp' if found[2] == '#' else 'plus plus'}", "name") if found else None


_LANGUAGE = re.compile(r"\b([A-Z])(#|\+\+)(?!\w)")


def sterling(text: str, start: int) -> Said | None:
    """5s. 6d.: shillings and pence."""
    found = _STERLING.match(text, start)
    if not found:
        return None
    shillings = f"{cardinal(found[1])} shilling{'s' * (found[1] != '1')}"
    return Said(found.end(), shillings + (f" {cardinal(found[2])} pence" if found[2] else ""), "money")


_STERLING = re.compile(r"(\d{1,2})s\.\s?(\d{1,2})d(?:\.(?=\W))?")
