# SPDX-License-Identifier: Apache-2.0
"""Clauses in the marks that espeak-ng knows, so that it loses no pause and no gap between words.

Of the ends of clauses it has a mark only for . , ? ! : ; followed by a space. At others, an ellipsis, 。, a danda, ¿ in
the middle, it drops the mark and the gap too. A full stop before a small letter counts as part of an abbreviation, and
that of a title as the end of a sentence.
"""

import re
from collections.abc import Iterator

_MARKS = {
    ".": ".。．｡।॥۔։።၊။៕།",
    ",": ",，、､﹐՝፣،၊",
    "?": "?？﹖՞؟፧⁇⁈",
    "!": "!！﹗՜‼⁉",
    ";": ";；﹔؛፤",
    ":": ":：﹕፥",
}
_KNOWN = {written: mark for mark, forms in _MARKS.items() for written in forms}
_STRANGE = "".join(c for c in _KNOWN if not c.isascii() and c not in "،؛؟")
_ELLIPSIS = r"(?:[…⋯]|\.{2,}|\. \. \.)"
# A run of marks with one that espeak-ng does not know. Sayers of numbers keep 10：30 and 1．5 as they are.
_UNKNOWN_END = re.compile(rf"(?<![\s.,?!:;])\s*(?:[.,?!:;]*(?:{_ELLIPSIS}|[{_STRANGE}])[.,?!:;\s]*)+")
_BETWEEN_DIGITS = re.compile(r"(?<=\d)([：．，])(?=\d)")
_TIGHT = re.compile(r"(?<=[^\s\d!-/:-@[-`{-~][,;:!?؟؛،])(?=[^\W\d_])")
_CASELESS = "[\u0590-\u1dff\u3040-\u9fff\uac00-\ud7af]{2}"  # scripts in which a full stop hardly abbreviates
_TIGHT_STOP = re.compile(rf"(?<={_CASELESS})(?<!\d)\.(?=(?!\d){_CASELESS})")
_OPENING = re.compile(r"(?<!\s)\s*[¿¡]+\s*")


def with_known_marks(text: str, language: str) -> str:
    """`text` with every end of a clause as one of . , ? ! : ; and a space.

    An ellipsis inside a sentence is a comma, at its end a full stop.
    """
    if language.startswith(("el", "grc")):
        text = text.replace(";", "?").replace("·", ";").replace("\u0387", ";")
    if ".." in text or ". ." in text or not text.isascii():
        text = _BETWEEN_DIGITS.sub(lambda match: _KNOWN[match[0]], _OPENING.sub(" ", text))
        text = _TIGHT_STOP.sub(". ", _UNKNOWN_END.sub(_known_end, text))
    return _TIGHT.sub(" ", _without_full_stops_of_titles(text, language))


def _known_end(match: re.Match[str]) -> str:
    run = {_KNOWN.get(c, c) for c in match[0] if not c.isspace()}
    at_end = match.end() == len(match.string)
    stop = next((mark for mark in "?!" if mark in run), None)
    if stop is None and re.search(_ELLIPSIS, match[0]):
        stop = "." if at_end or "." in {_KNOWN.get(c) for c in re.sub(_ELLIPSIS, "", match[0])} else ","
    stop = stop or next(mark for mark in ".;:," if mark in run)
    return stop + " " * (not at_end)


# ---------------------------------------------------------------- titles

_TITLES = (
    "Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|Rev|Gen|Sen|Rep|Gov|Capt|Lt|Col|Sgt|Maj|Hon|Mt|Mme|Mlle|Sra|Dra|Hr|Fr|Sig|Pres|Supt"
)
_TITLE = re.compile(rf"(?<![\w.-])({_TITLES})\.(?=\s+[^\W\d_a-z])")
_TITLE_WORDS = {
    "en": {"Prof": "Professor", "Gen": "General", "Sen": "Senator", "Rep": "Representative", "Gov": "Governor"},
    "de": {"Dr": "Doktor", "Prof": "Professor", "Hr": "Herr", "Fr": "Frau"},
}


def _without_full_stops_of_titles(text: str, language: str) -> str:
    words = _TITLE_WORDS.get(language.split("-")[0], {})
    return _TITLE.sub(lambda match: words.get(match[1], match[1]), text)


# ---------------------------------------------------------------- full stops before a small letter

_STOP_BEFORE_SMALL = re.compile(r"\.[\"'”’»)\]]*\s+(?=[\"'“‘«(\[]*([^\W\d_A-Z]))")
_SHORT = (
    "etc vs ca cf al approx dept est ext inc ltd corp nos op pp vol viz eds esp misc ave blvd usw evtl inkl exkl zzgl "
    "ggf vgl sog geb gest tel str env chap pág núm ecc itd itp др напр см"
)
_ABBREVIATIONS = frozenset(_SHORT.split())
_VOWEL = re.compile("[^bcdfghjklmnpqrstvwxzßçñ]", re.IGNORECASE)


def sentences(text: str) -> Iterator[str]:
    """`text`, cut after full stops that a small letter follows, unless they belong to an abbreviation."""
    start = 0
    for match in _STOP_BEFORE_SMALL.finditer(text):
        before = text[max(0, match.start() - 40) : match.start()].split(" ")[-1]
        if match[1].islower() and not _is_abbreviation(before):
            yield text[start : match.end()]
            start = match.end()
    yield text[start:]


def _is_abbreviation(word: str) -> bool:
    bare = word.strip("\"'“”‘’«»()[]").lower()
    return "." in bare or bare in _ABBREVIATIONS or bare[-1:].isdigit() or len(bare) < 2 or not _VOWEL.search(bare)
