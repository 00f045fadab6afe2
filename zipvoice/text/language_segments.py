# SPDX-License-Identifier: Apache-2.0
"""Chinese and English text as stretches of one language each, what is in digits between Chinese already said."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from zipvoice.text.markup import Element
from zipvoice.text.normalizer import chinese
from zipvoice.text.normalizer.chinese_units import UNIT

Language = Literal["zh", "en", "other"]


@dataclass(frozen=True)
class Segment:
    """A stretch of one language, or one mark."""

    kind: str
    """zh or en; for marks tag, speaker, pause, pinyin or phonemes."""
    text: str
    start: int
    """Where it starts in the input."""
    written: str = ""
    """For the first Chinese segment of some sentences: what the Chinese normaliser was given, English left blank."""


def segments(elements: Sequence[Element]) -> list[Segment]:
    """Segments of the languages zh and en.

    In a Chinese sentence everything in digits is read in Chinese, 用iPhone 15拍的 too, except inside a stretch of
    English text. Elsewhere digits, punctuation, white space, tags and units after a number have no language of their
    own: they belong to the language before them, at the very beginning to the first one. Without any letter the
    language is English, unless there is Chinese punctuation.
    """
    parts = list(_parts(elements))
    own = [_OWN_LANGUAGE.get(part.kind, "other") for part in parts]
    first = next((language for language in own if language != "other"), _default_language(elements))
    current = first
    spoken = []
    for part, language in zip(parts, own, strict=True):
        current = current if language == "other" else language
        spoken.append(replace(part, kind=current) if part.kind == "other" else part)
    return list(_merged(spoken))


_OWN_LANGUAGE: dict[str, Language] = {"zh": "zh", "pinyin": "zh", "en": "en", "phonemes": "en"}
_HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_LETTER = rf"[^\W\d_{_HAN}]"
_RUN = re.compile(
    rf"(?P<zh>[{_HAN}]+)|(?P<unit>(?<=\d) ?{UNIT}(?!{_LETTER}))|(?P<en>{_LETTER}(?:{_LETTER}|[\u0300-\u036f])*)"
    rf"|(?P<other>\d+|[\W_]+)"
)
_CHINESE_MARKS = re.compile("[，。！？；：、￥％《》【】「」（）]")


def _parts(elements: Sequence[Element]) -> Iterator[Segment]:
    language = _default_language(elements)
    for element in elements:
        if element.kind != "text":
            language = _OWN_LANGUAGE.get(element.kind, language)
            yield Segment(element.kind, element.content, element.start)
            continue
        start = element.start
        for passage, written in _passages(element.content, language):
            language = passage
            text, origins = _said(written) if language == "zh" else (written, [(0, 0)])
            given = _without_english(written) if language == "zh" else ""
            is_plain = language == "en" and not _HAN_CHARACTER.search(text)
            for match in _RUN.finditer(text):
                kind = match.lastgroup if match.lastgroup in ("zh", "en") else "other"
                if is_plain and kind == "en":  # so is the rest, whatever it has besides
                    yield Segment("en", text[match.start() :], start + match.start())
                    break
                yield Segment(str(kind), match[0], start + _origin(match.start(), origins), given * (kind == "zh"))
                given = "" if kind == "zh" else given
            start += len(written)


def _default_language(elements: Iterable[Element]) -> Language:
    return "zh" if any(e.kind == "text" and _CHINESE_MARKS.search(e.content) for e in elements) else "en"


# ---------------------------------------------------------------- sentences of Chinese

_SENTENCE_END = re.compile(r"(?<=[。！？!?；;\n])|(?<=[A-Za-z]\.)(?=\s)")
_HAN_CHARACTER = re.compile(f"[{_HAN}]")
_LATIN_WORD = re.compile(r"(?<![\dA-Za-z/])[A-Za-z]+")  # no unit
_NOT_HAN = re.compile(rf"[A-Za-z][^{_HAN}，。、；：！？“”（）《》「」]*")
_FUNCTION_WORDS = "the of at in on to you is are it and for with my we was have this that but by from be do not"
_ENGLISH_WORDS = frozenset(_FUNCTION_WORDS.split())


def _passages(text: str, before: Language) -> list[tuple[Language, str]]:
    """Neighbouring sentences of one language together."""
    if not _HAN_CHARACTER.search(text):
        return [(_language(text, before), text)]
    passages: list[tuple[Language, list[str]]] = []
    for sentence in _SENTENCE_END.split(text):
        language = _language(sentence, passages[-1][0] if passages else before)
        if passages and language == passages[-1][0]:
            passages[-1][1].append(sentence)
        else:
            passages.append((language, [sentence]))
    return [(language, "".join(sentences)) for language, sentences in passages]


def _language(sentence: str, before: Language) -> Language:
    """Chinese with at least as many characters as Latin words of several letters; without either, the one before."""
    han = len(_HAN_CHARACTER.findall(sentence))
    if not han:
        return "en" if _LATIN_WORD.search(sentence) else before
    return "zh" if han >= sum(len(word) > 1 for word in _LATIN_WORD.findall(sentence)) else "en"


def _said(sentence: str) -> tuple[str, list[tuple[int, int]]]:
    """A Chinese sentence in words, stretches of English in it as written, with origins as `spoken_with_origins`."""
    parts: list[str] = []
    origins = [(0, 0)]
    length = end = 0
    for first, last in (*_english_stretches(sentence), (len(sentence), len(sentence))):
        words, inner = chinese.spoken_with_origins(sentence[end:first])
        origins += [(length + position, end + origin) for position, origin in inner]
        length += len(words)
        origins.append((length, first))
        parts += (words, sentence[first:last])
        length += last - first
        end = last
    return "".join(parts), origins


def _without_english(sentence: str) -> str:
    """The sentence as the Chinese normaliser reads it, with spaces for its English stretches."""
    for first, last in _english_stretches(sentence):
        sentence = sentence[:first] + " " * (last - first) + sentence[last:]
    return chinese.half_width(sentence)


def _english_stretches(sentence: str) -> Iterator[tuple[int, int]]:
    """Where a Chinese sentence has English text, as against a name or abbreviation."""
    for match in _NOT_HAN.finditer(sentence):
        words = _LATIN_WORD.findall(match[0])
        if len(words) >= 4 or not _ENGLISH_WORDS.isdisjoint(words):
            yield match.span()


def _origin(position: int, origins: Sequence[tuple[int, int]]) -> int:
    """Where in the sentence a position of its spoken form comes from."""
    spoken, written = origins[bisect_right(origins, position, key=lambda pair: pair[0]) - 1]
    return written + position - spoken


# ---------------------------------------------------------------- neighbours


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
    text, written = ("".join(values) for values in zip(*((part.text, part.written) for part in parts), strict=True))
    return replace(parts[0], text=text, written=written)
