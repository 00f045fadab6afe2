# SPDX-License-Identifier: Apache-2.0
r"""The markup a text may carry: one grammar for every tokenizer and every entry point.

    [S1] [S2]            who speaks                      [LAUGHS]      a sound the model has a token for
    [pause 0.6s]         silence                         <chang2>      how a Chinese syllable is read
    </təˈmɑːtoʊ/>        how a word is read, in IPA      \< \[ \\      the character itself

Everything else is text, `<` and `[` included; what looks like a mistyped mark is an error. docs/text.md has the rules.
"""

import difflib
import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from zipvoice.text.g2p.syllables import is_syllable, normal_syllable

MAX_PAUSE_SECONDS = 60.0

Kind = Literal["text", "speaker", "tag", "pause", "pinyin", "phonemes"]


@dataclass(frozen=True)
class Element:
    """A stretch of the input: plain text, or one mark."""

    kind: Kind
    content: str
    """text: the text without escapes; speaker, tag, pause: the token, `[S1]`; pinyin: syllables; phonemes: IPA."""
    start: int
    """Where it starts in the input."""


def parse(text: str, tags: Collection[str] = ()) -> list[Element]:
    """Split `text` into plain text and marks, in time linear in its length.

    Args:
        text: what the user wrote.
        tags: the bracketed tokens of the model, for instance `[S1]` and `[LAUGHS]`.

    Raises ValueError for a mistyped mark: an unknown tag (the message lists the known ones), a pause without a
    readable length, a syllable without a tone.
    """
    elements: list[Element] = []
    end = 0
    for match in _MARK.finditer(text):
        element = _element(match, tags)
        if element is None:
            continue
        elements.extend(_plain(text, end, match.start()))
        elements.append(element)
        end = match.end()
    elements.extend(_plain(text, end, len(text)))
    return elements


def escape(text: str) -> str:
    r"""`text` with `<`, `[` and `\` escaped, so that `parse` finds no mark in it."""
    return re.sub(r"[\\<\[]", r"\\\g<0>", text)


def pause_token(seconds: float) -> str:
    """The token of a pause; `pause_seconds` reads it back."""
    return f"[pause {seconds:g}s]"


def pause_seconds(token: str) -> float | None:
    """The length of a pause token, None for any other token."""
    match = _PAUSE_TOKEN.fullmatch(token)
    return float(match[1]) if match else None


_MARK = re.compile(r"\\(?P<escaped>[\\<>\[\]])|\[(?P<square>[^\[\]<>\\\n]*)\]|<(?P<angle>[^\[\]<>\\\n]*)>")
_PAUSE = re.compile(r"pause\s+(\d{1,9}(?:\.\d{1,9})?|\.\d{1,9})\s*(s|ms)", re.IGNORECASE)
_PAUSE_TOKEN = re.compile(r"\[pause ([\d.e-]+)s\]")
_TAG_SHAPE = re.compile(r"[A-Z0-9]{2,}(?:[ _-][A-Z0-9]+)*|[A-Za-z]{2,}")
_SYLLABLE_SHAPE = re.compile(r"[^\W\d_]+:?[^\W\d_]*\d?")


def _plain(text: str, start: int, end: int) -> Iterator[Element]:
    if start < end:
        yield Element("text", text[start:end], start)


def _element(match: re.Match[str], tags: Collection[str]) -> Element | None:
    """What a match means; None when it is text after all."""
    if match["escaped"]:
        return Element("text", match["escaped"], match.start())
    if match["square"] is not None:
        return _bracketed(match, tags)
    return _pronunciation(match)


def _bracketed(match: re.Match[str], tags: Collection[str]) -> Element | None:
    content, start = match["square"].strip(), match.start()
    token = f"[{content}]"
    if token in tags:
        return Element("speaker" if re.fullmatch(r"\[S\d\]", token) else "tag", token, start)
    if re.match(r"pause\b", content, re.IGNORECASE):
        return Element("pause", pause_token(_seconds(match)), start)
    if re.search(r"[A-Za-z0-9_]$", match.string[max(0, start - 1) : start]) or not content.isascii():
        return None  # names[index]
    folded = {tag.casefold(): tag for tag in tags}
    if (_TAG_SHAPE.fullmatch(content) and not content.isdigit()) or token.casefold() in folded:
        raise ValueError(f"unknown tag {token} at character {start}{_known(token, folded)}")
    return None


def _known(token: str, folded: dict[str, str]) -> str:
    """The end of the message about an unknown tag: the nearest, all known ones, and how to have it as text."""
    as_text = f"To have it read as text, write \\{token}"
    if not folded:
        return f"; this model has no tags. {as_text}"
    near = difflib.get_close_matches(token.casefold(), folded, n=1)
    hint = f"; did you mean {folded[near[0]]}?" if near else "."
    return f"{hint} Known tags: {', '.join(sorted(folded.values()))}. {as_text}"


def _seconds(match: re.Match[str]) -> float:
    parsed = _PAUSE.fullmatch(match["square"].strip())
    seconds = float(parsed[1]) / (1000 if parsed[2].lower() == "ms" else 1) if parsed else 0.0
    if not 0 < seconds <= MAX_PAUSE_SECONDS:
        raise ValueError(
            f"{match[0]} at character {match.start()}: write a pause like [pause 0.6s] or [pause 600ms], "
            f"longer than zero and at most {MAX_PAUSE_SECONDS:g} seconds"
        )
    return seconds


def _pronunciation(match: re.Match[str]) -> Element | None:
    content, start = match["angle"], match.start()
    if len(content) > 2 and content[0] == content[-1] == "/":
        return Element("phonemes", unicodedata.normalize("NFD", content[1:-1]), start)
    words = content.split()
    if not words or not all(_SYLLABLE_SHAPE.fullmatch(word) for word in words):
        return None
    syllables = [normal_syllable(word) for word in words]
    if all(map(is_syllable, syllables)):
        return Element("pinyin", " ".join(syllables), start)
    if all(word[-1].isdigit() for word in words) or all(map(_lacks_tone, words)):
        raise ValueError(_syllable_message(match, words))
    return None


def _lacks_tone(word: str) -> bool:
    """True for a syllable without a tone number: `chang`, `cháng`."""
    bare = "".join(c for c in unicodedata.normalize("NFD", word) if c not in "\u0304\u0301\u030c\u0300")
    return any(is_syllable(normal_syllable(bare) + tone) for tone in "12345")


def _syllable_message(match: re.Match[str], words: Sequence[str]) -> str:
    wrong = next(word for word in words if not is_syllable(normal_syllable(word)))
    return (
        f"{match[0]} at character {match.start()}: {wrong!r} is not a pinyin syllable with a tone number 1 to 5, "
        f"such as chang2 or lv4. To have it read as text, write \\{match[0]}"
    )
