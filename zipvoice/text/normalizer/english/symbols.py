# SPDX-License-Identifier: Apache-2.0
"""Signs that are read as words, and signs that are not read: arithmetic, slashes, arrows, hash and at, emoticons."""

import re
from collections.abc import Callable

from zipvoice.text.normalizer.english.addresses import MARK_NAMES
from zipvoice.text.normalizer.english.dates import MONTH
from zipvoice.text.normalizer.english.numbers import cardinal, ordinal
from zipvoice.text.normalizer.english.quantities import parse
from zipvoice.text.normalizer.english.saying import expression, power
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
            r"!(?<=[\d)]!)(?=\s*[=+*/×]\s*[\w(])|!(?<=\b[a-z]!)(?=\s*[=+*/×<>≤≥])|!(?<=\bn!)(?= [a-z]{2})"
            r"|!(?<=[-+][a-z\d]\)!)"
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
            r"(?<=[\d)²³] )[-−–]\s(?=\d{0,6}[a-z]\b|\d)|(?<=\b[a-zA-Z] )[-−]\s(?=\d+\b|[a-z]\b)"
            r"|(?<=\d[nxyzt] )[-−]\s(?=\d|[a-z]\b)|−\s?(?=[\w(])"
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
