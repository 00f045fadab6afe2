# SPDX-License-Identifier: Apache-2.0
"""Text to tokens: markup, then the words in between, each tokenizer in its own way.

What reads texts for one tokenizer alone is imported there: its regular expressions take a tenth of a second.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Protocol

from zipvoice.config.text import TokenizerConfig
from zipvoice.text.characters import fold, greek_by_name, is_han, only_speakable, script, separate
from zipvoice.text.g2p import espeak
from zipvoice.text.g2p.syllables import syllable_tokens
from zipvoice.text.markup import Element, parse
from zipvoice.text.normalizer.english import letters
from zipvoice.text.normalizer.markdown import FILLER, unmarked
from zipvoice.text.punctuation import PUNCTUATION, ascii_marks, with_pauses

if TYPE_CHECKING:
    from zipvoice.text.language_segments import Segment

DIALOG_TAGS = (
    "[S1]", "[S2]", "[LAUGHS]", "[CLEARS THROAT]", "[SIGHS]", "[GASPS]", "[COUGHS]", "[SINGING]", "[SCREAMS]",
)  # fmt: skip
"""Tags of the released dialogue vocabulary; `TokenTable.tags` has those of any other."""


class Tokenizer(Protocol):
    """Anything that turns a text into tokens."""

    def tokens(self, text: str) -> list[str]:
        """The tokens of `text`; raises ValueError for text that cannot be spoken."""


@dataclass(frozen=True)
class Piece:
    """A stretch of the input and its tokens."""

    kind: str
    """The language; for marks speaker, tag, pause, pinyin or phonemes."""
    text: str
    """The text as it was spoken: white space, numbers and abbreviations normalised."""
    start: int
    """Where the stretch starts in the input."""
    tokens: tuple[str, ...]
    written: str = ""
    """What the normaliser of the language was given; empty where there is none."""


@dataclass(frozen=True)
class MarkupTokenizer(ABC):
    """What all tokenizers share: markup, white space, and the report of what cannot be spoken."""

    tags: Sequence[str] = ()
    """The bracketed tokens of the model, which the text may use: `TokenTable.tags`."""
    skip_unknown: bool = False
    """Leave out what cannot be spoken, with a warning, instead of raising ValueError."""
    compatible: bool = False
    """Do as the reference does, with its losses and its own idea of markup; for comparison."""
    markdown: bool = False
    """The text is Markdown or a book: leave out also those marks that could be meant otherwise."""

    marks: ClassVar[Sequence[str]] = ("speaker", "tag", "pause")
    """The kinds of markup that this tokenizer has tokens for."""

    def tokens(self, text: str) -> list[str]:
        """The tokens of `text`, pauses as `[pause 0.6s]`; docs/text.md says what becomes of it.

        Raises ValueError for mistyped markup, for letters and digits that this tokenizer cannot speak, and for an
        unknown language; ImportError, with the install command, for a missing phonemizer or dictionary.
        """
        return [token for piece in self.pieces(text) for token in piece.tokens]

    def pieces(self, text: str) -> list[Piece]:
        """The stretches of `text` with their tokens, in order; errors as `tokens`."""
        if self.compatible:
            return list(self._compatible_pieces(text))
        elements = parse(self._unmarked(text), self.tags)
        self._check_marks(elements)
        return _spaced(list(self._pieces(_without_spaces_around_turns(elements))))

    def _pieces(self, elements: Sequence[Element]) -> Iterator[Piece]:
        """Pieces of marks and of the text between them."""
        for element in _joined_text(elements):
            if element.kind == "text":
                element = self._speakable(element)
                yield self._piece(element.kind, element.content, element.start)
            else:
                yield _mark(element.kind, element.content, element.start)

    @abstractmethod
    def _piece(self, kind: str, text: str, start: int) -> Piece:
        """The tokens of text without marks."""

    def _english(self, kind: str, written: str, start: int, language: str) -> Piece:
        """English, with what is no word in words, in an English voice."""
        from zipvoice.text.normalizer.english import reader as english

        text = english.spoken(written)
        if not text.isascii():
            is_named = partial(espeak.is_speakable, language=language)
            text = only_speakable(text, is_named, self._speaker(), start, self.skip_unknown, espeak.is_symbol)
        tokens = espeak.speak(letters.for_the_engine(text), language)  # nothing for punctuation alone
        return Piece(kind, text, start, tuple(tokens or [c for c in text if c in PUNCTUATION or c == "…"]), written)

    @abstractmethod
    def _compatible_pieces(self, text: str) -> Iterator[Piece]:
        """Pieces as the reference has them."""

    @abstractmethod
    def _speaks(self, character: str) -> bool:
        """True if a letter or digit has tokens."""

    @abstractmethod
    def _speaker(self) -> str:
        """Who cannot speak a character, for the message."""

    def _speakable(self, element: Element) -> Element:
        """Plain text with usual white space, and only what can be spoken."""
        text = only_speakable(
            element.content, self._speaks, self._speaker(), element.start, self.skip_unknown, self._has_sound
        )
        return replace(element, content=separate(text).replace(FILLER, ""))

    def _unmarked(self, text: str) -> str:
        """The text without marks that are only seen."""
        return unmarked(text, self.markdown)

    def _has_sound(self, character: str) -> bool:
        """True for characters that must not be left out."""
        return character.isalnum()

    def _check_marks(self, elements: Sequence[Element]) -> None:
        for element in elements:
            if element.kind not in ("text", *self.marks):
                raise ValueError(
                    f"{element.content!r} at character {element.start}: {self._speaker()} has no {element.kind}; "
                    "to have the bracket read as text, write \\< for it"
                )


@dataclass(frozen=True)
class EmiliaTokenizer(MarkupTokenizer):
    """Chinese as pinyin and English as phonemes, of the released single-speaker models."""

    marks: ClassVar[Sequence[str]] = ("speaker", "tag", "pause", "pinyin", "phonemes")

    def _pieces(self, elements: Sequence[Element]) -> Iterator[Piece]:
        from zipvoice.text.language_segments import segments

        texts = (self._speakable(_with_greek_names(e)) if e.kind == "text" else e for e in elements)
        folded = [replace(e, content=fold(e.content)) if e.kind == "text" else e for e in texts]
        for segment in segments(folded):
            piece = self._piece(segment.kind, segment.text, segment.start)
            yield replace(piece, written=segment.written) if segment.written else piece

    def _piece(self, kind: str, text: str, start: int) -> Piece:
        if kind == "zh":
            from zipvoice.text.g2p import pinyin
            from zipvoice.text.normalizer import chinese

            words = with_pauses(ascii_marks(chinese.spoken(text)))
            return Piece(kind, words, start, tuple(pinyin.pinyin_tokens(words)), text)
        if kind == "en":
            return self._english(kind, ascii_marks(_TIGHT_CHINESE_MARK.sub(r"\g<0> ", text)), start, "en-us")
        return _mark(kind, text, start)

    def _compatible_pieces(self, text: str) -> Iterator[Piece]:
        from zipvoice.text import reference_compat

        for segment in reference_compat.segments(ascii_marks(text)):
            yield Piece(segment.kind, segment.text, segment.start, tuple(_compatible_tokens(segment)))

    def _speaks(self, character: str) -> bool:
        return all(_is_chinese_or_english(c) for c in fold(character))

    def _speaker(self) -> str:
        return "the Chinese and English tokenizer"


@dataclass(frozen=True)
class DialogTokenizer(EmiliaTokenizer):
    """As Emilia, for two speakers; by default with the tags of the released dialogue models."""

    tags: Sequence[str] = DIALOG_TAGS

    def _compatible_pieces(self, text: str) -> Iterator[Piece]:
        return super()._compatible_pieces(re.sub(r"\s*(\[S[12]\])\s*", r"\1", text))


@dataclass(frozen=True)
class EspeakTokenizer(MarkupTokenizer):
    """Phonemes of one espeak-ng language. It reads the numbers too, but for English, which is read as Emilia does."""

    language: str = "en-us"

    marks: ClassVar[Sequence[str]] = ("speaker", "tag", "pause", "phonemes")

    def _speakable(self, element: Element) -> Element:
        is_english = espeak.is_english(self.language)
        known = super()._speakable(_with_greek_names(element) if is_english else element)
        return replace(known, content=fold(known.content)) if is_english else known

    def _piece(self, kind: str, text: str, start: int) -> Piece:
        if espeak.is_english(self.language):
            return self._english(self.language, ascii_marks(text), start, self.language)
        return Piece(self.language, text, start, tuple(espeak.speak(text, self.language)))

    def _compatible_pieces(self, text: str) -> Iterator[Piece]:
        yield Piece(self.language, text, 0, tuple(espeak.phonemes(text, self.language)))

    def _speaks(self, character: str) -> bool:
        if espeak.is_english(self.language):
            return all(c in _UNITS or espeak.is_speakable(c, self.language) for c in fold(character))
        return espeak.is_speakable(character, self.language)

    def _has_sound(self, character: str) -> bool:
        return character.isalnum() or (espeak.is_symbol(character) and not espeak.is_english(self.language))

    def _speaker(self) -> str:
        return f"the espeak-ng language {self.language!r}"


@dataclass(frozen=True)
class LibriTTSTokenizer(MarkupTokenizer):
    """Upper-case English characters, with numbers and abbreviations in words."""

    def _piece(self, kind: str, text: str, start: int) -> Piece:
        from zipvoice.text.normalizer import libritts

        return _characters(libritts.spoken(text), start)

    def _compatible_pieces(self, text: str) -> Iterator[Piece]:
        from zipvoice.text.normalizer import libritts

        yield _characters(libritts.compatible(text), 0)

    def _speaks(self, character: str) -> bool:
        from zipvoice.text.normalizer import libritts

        return libritts.has_ascii(fold(character))

    def _speaker(self) -> str:
        return "the tokenizer of English characters"


@dataclass(frozen=True)
class SimpleTokenizer(MarkupTokenizer):
    """One token per character, as written."""

    def _unmarked(self, text: str) -> str:
        return text

    def _piece(self, kind: str, text: str, start: int) -> Piece:
        return _characters(text, start)

    def _compatible_pieces(self, text: str) -> Iterator[Piece]:
        yield _characters(text, 0)

    def _speaks(self, character: str) -> bool:
        return True

    def _speaker(self) -> str:
        return "the character tokenizer"


def build_tokenizer(
    config: TokenizerConfig,
    tags: Sequence[str] | None = None,
) -> MarkupTokenizer:
    """The tokenizer that `config` describes.

    Args:
        config: which tokenizer, its language, and how strict it is.
        tags: the bracketed tokens of the model (`TokenTable.tags`); by default those of the released dialogue models
            for the dialogue tokenizer and none for the others.
    """
    tokenizer = _KINDS[config.type](
        skip_unknown=config.skip_unknown, compatible=config.compatible, markdown=config.markdown
    )
    if isinstance(tokenizer, EspeakTokenizer):
        tokenizer = replace(tokenizer, language=config.language)
    return tokenizer if tags is None else replace(tokenizer, tags=tuple(tags))


_KINDS: dict[str, Callable[..., MarkupTokenizer]] = {
    "emilia": EmiliaTokenizer,
    "dialog": DialogTokenizer,
    "espeak": EspeakTokenizer,
    "libritts": LibriTTSTokenizer,
    "simple": SimpleTokenizer,
}

_TIGHT_CHINESE_MARK = re.compile(r"[，。！？；：、](?=\w)")
_UNITS = frozenset("²³µμΩ")  # which the English reader says
_LEADING_MARKS = re.compile(r"\A[\s.,!?;:]+")


def _characters(text: str, start: int) -> Piece:
    return Piece("characters", text, start, tuple(text))


def _mark(kind: str, content: str, start: int) -> Piece:
    """A mark with its tokens."""
    if kind == "pinyin":
        tokens = [token for syllable in content.split() for token in syllable_tokens(syllable)]
    else:
        tokens = list(content) if kind == "phonemes" else [content]
    return Piece(kind, content, start, tuple(tokens))


def _compatible_tokens(segment: "Segment") -> list[str]:
    from zipvoice.text import reference_compat
    from zipvoice.text.g2p import pinyin

    if segment.kind == "zh":
        return pinyin.reference_tokens(reference_compat.chinese(segment.text))
    if segment.kind == "en":
        text = reference_compat.english(segment.text)
        return espeak.phonemes(text, "en-us") if text is not None else []
    if segment.kind == "pinyin":
        syllable = segment.text.strip("<>")
        return syllable_tokens(syllable) if syllable[:-1].isalpha() and syllable[-1] in "12345" else []
    return [segment.text] if segment.kind == "tag" else []


def _is_chinese_or_english(character: str) -> bool:
    if character.isascii() or not character.isalnum() or character in _UNITS:
        return True
    if is_han(character):
        from zipvoice.text.g2p import pinyin

        return pinyin.is_readable(character)
    return script(character) == "LATIN" and espeak.is_speakable(character, "en-us")


def _without_spaces_around_turns(elements: Sequence[Element]) -> list[Element]:
    """White space beside speakers and pauses has no sound."""
    turn = [e.kind in ("speaker", "pause") for e in elements]
    result = []
    for i, element in enumerate(elements):
        content = element.content
        if element.kind == "text" and i > 0 and turn[i - 1]:
            content = content.lstrip()
        if element.kind == "text" and i + 1 < len(elements) and turn[i + 1]:
            content = content.rstrip()
        result.append(replace(element, content=content))
    return result


def _with_greek_names(element: Element) -> Element:
    return replace(element, content=greek_by_name(element.content))


def _joined_text(elements: Sequence[Element]) -> Iterator[Element]:
    """Plain text that escapes had split, in one piece again."""
    pending: Element | None = None
    parts: list[str] = []
    for element in elements:
        if element.kind == "text":
            pending = pending or element
            parts.append(element.content)
            continue
        if pending:
            yield replace(pending, content="".join(parts))
        pending, parts = None, []
        yield element
    if pending:
        yield replace(pending, content="".join(parts))


def _spaced(pieces: list[Piece]) -> list[Piece]:
    """Space tokens between phonemes given in the text and the words beside them, and the punctuation after them.

    espeak-ng strips white space and leading punctuation of each stretch, which matters in the middle of a sentence.
    """
    result = list(pieces)
    for i, piece in enumerate(pieces):
        if piece.kind != "phonemes":
            continue
        before, after = pieces[i - 1 : i], pieces[i + 1 : i + 2]
        if before and _is_phonemic(before[0]) and before[0].text.strip() and before[0].text[-1].isspace():
            result[i] = replace(piece, tokens=(" ", *piece.tokens))
        if after and _is_phonemic(after[0]):
            result[i + 1] = replace(after[0], tokens=_with_leading_marks(after[0]))
    return result


def _with_leading_marks(piece: Piece) -> tuple[str, ...]:
    rest = _LEADING_MARKS.sub("", piece.text, count=1)
    lead = re.sub(r"\s+", " ", piece.text[: len(piece.text) - len(rest)])
    return (*lead, *piece.tokens) if rest else tuple(lead)


def _is_phonemic(piece: Piece) -> bool:
    return piece.kind not in ("zh", "pinyin", "phonemes", "speaker", "tag", "pause")
