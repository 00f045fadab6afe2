# SPDX-License-Identifier: Apache-2.0
"""Chinese and English text as stretches of one language each."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from zipvoice.text.markup import Element
from zipvoice.text.normalizer.chinese import UNITS

Language = Literal["zh", "en", "other"]


@dataclass(frozen=True)
class Segment:
    """A stretch of one language, or one mark."""

    kind: str
    """zh or en; for marks tag, speaker, pause, pinyin or phonemes."""
    text: str
    start: int
    """Where it starts in the input."""


def segments(elements: Sequence[Element]) -> list[Segment]:
    """Segments of the languages zh and en.

    Digits, punctuation, white space, tags and units after a number have no language of their own: they belong to the
    language before them, at the very beginning to the first one. Without any letter the language is English, unless
    there is Chinese punctuation.
    """
    parts = list(_parts(elements))
    own = [_OWN_LANGUAGE.get(part.kind, "other") for part in parts]
    first = next((language for language in own if language != "other"), _default_language(parts))
    current = first
    spoken = []
    for part, language in zip(parts, own, strict=True):
        current = current if language == "other" else language
        spoken.append(replace(part, kind=current) if part.kind == "other" else part)
    return list(_merged(spoken))


_OWN_LANGUAGE: dict[str, Language] = {"zh": "zh", "pinyin": "zh", "en": "en", "phonemes": "en"}
_UNITS = "|".join(map(re.escape, sorted(UNITS, key=len, reverse=True)))
_HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_LETTER = rf"[^\W\d_{_HAN}]"
_RUN = re.compile(
    rf"(?P<zh>[{_HAN}]+)|(?P<unit>(?<=\d) ?(?:{_UNITS})(?!{_LETTER}))|(?P<en>{_LETTER}(?:{_LETTER}|[\u0300-\u036f])*)"
    rf"|(?P<other>\d+|[\W_]+)"
)
_CHINESE_MARKS = re.compile("[，。！？；：、￥％《》【】「」（）]")


def _parts(elements: Iterable[Element]) -> Iterator[Segment]:
    for element in elements:
        if element.kind != "text":
            yield Segment(element.kind, element.content, element.start)
            continue
        for match in _RUN.finditer(element.content):
            kind = match.lastgroup if match.lastgroup in ("zh", "en") else "other"
            yield Segment(str(kind), match[0], element.start + match.start())


def _default_language(parts: Iterable[Segment]) -> Language:
    return "zh" if any(_CHINESE_MARKS.search(part.text) for part in parts) else "en"


def _merged(parts: Iterable[Segment]) -> Iterator[Segment]:
    """Neighbours of one language joined."""
    pending: list[Segment] = []
    for part in parts:
        if pending and not (part.kind in ("zh", "en") and part.kind == pending[0].kind):
            yield _joined(pending)
            pending = []
        pending.append(part)
    if pending:
        yield _joined(pending)


def _joined(parts: Sequence[Segment]) -> Segment:
    return replace(parts[0], text="".join(part.text for part in parts))
