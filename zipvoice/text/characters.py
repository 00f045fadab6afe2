# SPDX-License-Identifier: Apache-2.0
"""Characters: white space, compatibility forms, scripts, and the error about those that a model cannot speak."""

import logging
import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import lru_cache

logger = logging.getLogger(__name__)

Speakable = Callable[[str], bool]


def separate(text: str) -> str:
    """Line breaks, tabs and other white space and control characters as single spaces; runs of plain spaces stay."""
    return _SEPARATORS.sub(" ", text)


def fold(text: str) -> str:
    """Letters and digits in their usual form: full-width and mathematical letters, ligatures, digits of other scripts.

    ① and Ⅳ and ½ become 1, IV and 1/2 between spaces, since they are words of their own. Invisible format characters
    (byte order mark, zero-width space, soft hyphen, direction marks) vanish. The superscripts ² and ³ stay: they are
    read as words. Longer exponents are written with a caret, 10⁻³ as 10^-3, and the figures of formulas on the line,
    CO₂ as CO2; the slash of fractions ⁄ as any slash.
    """
    if text.isascii():
        return text
    text = _EXPONENT.sub(lambda match: "^" + match[0].translate(_RAISED), text).translate(_LOWERED)
    text = _MICRO.sub("\u00b5", unicodedata.normalize("NFC", text))
    return _NOT_ASCII.sub(_folded, text)


def greek_by_name(text: str) -> str:
    """Greek letters that stand alone by their English name, α as alpha; signs of units (µ, Ω) and words stay."""
    return text if text.isascii() else _LONE_GREEK.sub(lambda match: f" {_greek_name(match[0])} ", text)


def script(character: str) -> str:
    """The writing system of a letter, LATIN, CJK, HANGUL, ..., by the first word of its Unicode name."""
    return "LATIN" if character in "ªº" else unicodedata.name(character, "UNKNOWN").split()[0].split("-")[0]


def is_han(character: str) -> bool:
    """True for Chinese characters of all planes, and for 〇 and 々."""
    return _HAN.fullmatch(character) is not None


def is_surrogate(character: str) -> bool:
    """True for half a character, a trace of text read with the wrong encoding."""
    return "\ud800" <= character <= "\udfff"


OTHER_LANGUAGE = ", --tokenizer espeak --language CODE reads another language, for a model trained so"


class UnspeakableError(ValueError):
    """A text has characters that cannot be spoken.

    Attributes:
        fault: the message without what to do, where that is another thing than on the commands that speak.
    """

    def __init__(self, fault: str, remedy: str) -> None:
        super().__init__(f"{fault}; {remedy}")
        self.fault = fault


def only_speakable(
    text: str,
    speakable: Speakable,
    speaker: str,
    where: int,
    skip_unknown: bool,
    has_sound: Callable[[str], bool] = str.isalnum,
) -> str:
    """`text` if every character in it that has a sound is speakable.

    Args:
        text: a stretch of the user's text.
        speakable: tells whether a character has a sound.
        speaker: who cannot speak it, for the message.
        where: position of `text` in the whole input.
        skip_unknown: leave unspeakable characters out, with a warning, instead of raising UnspeakableError.
        has_sound: tells which characters must be speakable, by default letters and digits.
    """
    bad = {c for c in set(text) if is_surrogate(c) or (has_sound(c) and not speakable(c)) or _hides(c, speakable)}
    if not bad:
        return text
    message = _unspeakable_message(text, bad, speaker, where)
    if not skip_unknown:
        is_language = any(c.isalpha() for c in bad)
        remedy = f"--skip-unknown leaves out such characters{OTHER_LANGUAGE if is_language else ''}"
        raise UnspeakableError(message, remedy)
    logger.warning("%s; left out", message)
    return "".join(" " if c in bad else c for c in text)


def _hides(character: str, speakable: Speakable) -> bool:
    """True for a sign that is written for a word nobody can speak here: ㌀, which is アパート."""
    word = "" if character.isascii() or character.isalnum() else unicodedata.normalize("NFKC", character)
    return any(c.isalnum() and not speakable(c) for c in word)


def excerpt(text: str, first: int, last: int, width: int = 20) -> str:
    """text[first:last] between `>` and `<` with some context on both sides, for messages."""
    before, after = text[max(0, first - width) : first], text[last : last + width]
    left, right = "…" if first > width else "", "…" if last + width < len(text) else ""
    whole = f"{left}{before}>{text[first:last]}<{after}{right}".translate(_VISIBLE)
    return whole.encode("utf-8", "backslashreplace").decode()  # half a character cannot be written to a log


def shown(characters: Iterable[str], limit: int = 10) -> str:
    """A short list of characters or tokens for a message."""
    distinct = list(dict.fromkeys(characters))
    rest = f" and {len(distinct) - limit} more" if len(distinct) > limit else ""
    return ", ".join(map(_named, distinct[:limit])) + rest


_SEPARATORS = re.compile(r"[^\S ]|[\x00-\x08\x0e-\x1b\x7f-\x9f]")
_MICRO = re.compile(r"\u03bc(?=(?:[gmslLFAVW]|mol)(?![A-Za-z]))")  # the Greek letter for the sign in µm
_GREEK = "\u0370-\u03ff\u1f00-\u1fff\u0300-\u036f"
_LONE_GREEK = re.compile(
    rf"(?<![{_GREEK}])(?!{_MICRO.pattern}|(?<=[\dkMG ])\u03a9)[\u0391-\u03a1\u03a3-\u03a9\u03b1-\u03c9](?![{_GREEK}])"
)
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
HAN = "[\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]"
"""A pattern for a Chinese character."""
_HAN = re.compile(HAN)
_BEFORE_MARK = re.compile(r" (?=[^\w\s])")  # as in 3⅛″
_EXPONENT = re.compile("[⁰¹⁴-⁹⁻][⁰¹²³⁴-⁹⁻]*|[²³][⁰¹²³⁴-⁹⁻]+")
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋⁄∕", "0123456789+-//")
_VISIBLE = dict.fromkeys(range(32), "␣")


def _greek_name(letter: str) -> str:
    return unicodedata.name(letter).split()[-1].lower().replace("lamda", "lambda")


def _folded(run: re.Match[str]) -> str:
    folded = _BEFORE_MARK.sub("", "".join(map(_folded_character, run[0])))
    if run.string[run.start() - 1 : run.start()] == " ":  # one space is enough
        folded = folded.removeprefix(" ")
    after = run.string[run.end() : run.end() + 1]
    return folded if after.isalnum() else folded.removesuffix(" ")


@lru_cache(maxsize=4096)
def _folded_character(c: str) -> str:
    category = unicodedata.category(c)
    if category == "Cf":
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(c))
    if c in "²³µªº" or _HAN.fullmatch(c):
        return c
    if category == "No" or category == "Nl":
        return f" {unicodedata.normalize('NFKC', c)} ".replace("\u2044", "/")
    if category[0] == "L" or "\u3300" <= c <= "\u33ff":  # letters, and the squared units of East Asian text: ㎏ ㎡
        return unicodedata.normalize("NFKC", c)
    return c


def _unspeakable_message(text: str, bad: set[str], speaker: str, where: int) -> str:
    found = [c for c in text if c in bad]
    first = next(i for i, c in enumerate(text) if c in bad)
    last = next((i for i in range(first, len(text)) if text[i] not in bad), len(text))
    place = excerpt(text, first, min(last, first + 20))
    return f"{speaker} cannot speak {shown(found)}, first at character {where + first}: {place}"


def _named(c: str) -> str:
    if len(c) > 1:
        return repr(c)
    name = "half a character; was the text read with the wrong encoding?" if is_surrogate(c) else script(c).title()
    return f"{c!r} ({name})"
