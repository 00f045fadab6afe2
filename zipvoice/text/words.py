# SPDX-License-Identifier: Apache-2.0
"""Which tokens of a text are which of its written words.

A tokenizer reads "Dr. Lee paid $5" as a stream of sounds in which "of the" may be one group and "$5" is two. Here each
written word is read by itself, and the sounds of all words are matched in order to the tokens of the text.

Shapes: N sounds of the words, S of the text.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
from numpy.typing import NDArray

from zipvoice.text.characters import fold, greek_by_name, is_han
from zipvoice.text.g2p import espeak
from zipvoice.text.normalizer.english import letters
from zipvoice.text.normalizer.reading import Reading
from zipvoice.text.punctuation import ascii_marks
from zipvoice.text.tokenizers import MarkupTokenizer, Piece

VOWELS = frozenset("aeiouyæøœɐɑɒɔəɘɚɛɜɞɤɨɪɯɵɶʉʊʌʏᵻ")
OTHER_VOWEL, UNLIKE, MISSING = 0.7, 1.3, 0.75
"""Costs of matching a vowel with another or a consonant with another, of a vowel with a consonant, and of a sound that
is only on one side."""
BAND = 256
"""Sounds that the two may be apart."""
_STRESS = "ˈˌ"
_MARKS = frozenset(" .,;:!?-\"'()[]…—–¿¡。，、")
_WORD = re.compile(r"\S+")
_ABBREVIATION = re.compile(r"(?<![^\W\d_])(?:[^\W\d_]{1,3}\.)+[^\W\d_]{1,3}\Z")
"""Some letters, a full stop and some letters: U.S, Ph.D, 9 a.m, but neither 3.5kg nor example.com."""
_OUTER = ".,;:!?…\"“”'‘’«»()[]{}—–-*_。，！？；：、《》「」（）"


class WordToken(str):
    """A token that knows which word of the text it belongs to. It is used as any other token."""

    __slots__ = ("number", "word")
    number: int
    """Of the word in the text."""
    word: str
    """The word as it is written."""


@dataclass(frozen=True)
class SpokenWord:
    """A written word and the tokens that stand for it."""

    text: str
    tokens: tuple[str, ...]


Characters = tuple[str, str]
"""A word of Chinese as it is written, and the characters that are spoken for it."""


def tokens_of_words(tokenizer: MarkupTokenizer, text: str) -> list[str]:
    """The tokens of a text, as `tokenizer.tokens` gives them, those of words as `WordToken`.

    An expression that is read as a whole, "$1.5 million" or "50%", is one word. Chinese is one word a character.
    """
    tokens: list[str] = []
    first = 0
    waiting: list[Characters] = []
    as_written = _as_written(text)
    for piece in tokenizer.pieces(text):
        words, owners = _characters_owned(piece, waiting) if piece.kind == "zh" else _owned(piece)
        words = [as_written(word) for word in words]
        tokens += [
            token if owner is None else _word_token(token, first + owner, words[owner])
            for token, owner in zip(piece.tokens, owners, strict=True)
        ]
        first += len(words)
    return tokens


def spoken_words(tokens: Iterable[str]) -> list[SpokenWord]:
    """The words of some consecutive tokens of `tokens_of_words`, in order."""
    owned = [token for token in tokens if isinstance(token, WordToken)]
    groups = (list(group) for _, group in groupby(owned, key=lambda token: token.number))
    return [SpokenWord(group[0].word, tuple(map(str, group))) for group in groups]


def _as_written(text: str) -> Callable[[str], str]:
    """Gives what a tokenizer reads in a usual form as it is written: ½ for 1/2, 2½ km for 2 1/2 km, I’m for I'm.

    To be called for the words in order, since a text may have ½ and 1/2.
    """
    written = [bare_word(word) for word in _WORD.findall("" if text.isascii() else text)]
    forms: dict[str, deque[str]] = {_usual(word): deque() for word in written if not word.isascii()}
    for word, following in pairwise([*written, ""]):
        for form, shown in ((_usual(word), word), (f"{word} {following}", f"{word} {following}")):
            if form in forms:
                forms[form].append(shown)
    any_form = "|".join(map(re.escape, sorted(filter(None, forms), key=len, reverse=True)))
    pattern = re.compile(rf"(?<!\S)(?:{any_form or '(?!)'})(?!\S)")

    def as_written(found: re.Match[str]) -> str:
        shown = forms[found[0]]
        return shown.popleft() if len(shown) > 1 else shown[0]

    return lambda word: pattern.sub(as_written, word)


def _usual(word: str) -> str:
    return ascii_marks(fold(greek_by_name(word))).strip()


def _word_token(token: str, number: int, word: str) -> WordToken:
    made = WordToken(token)
    made.number, made.word = number, word
    return made


# ---------------------------------------------------------------- one piece of a text

Owners = Sequence[int | None]
"""For each token of a piece, its word."""


def _owned(piece: Piece) -> tuple[list[str], Owners]:
    """The words of a piece, and the owner of each token."""
    if piece.kind in ("speaker", "tag", "pause"):
        return [], [None] * len(piece.tokens)
    if piece.kind in ("phonemes", "pinyin"):
        return [piece.text], [0] * len(piece.tokens)
    if piece.kind == "characters":
        return _letters_owned(piece)
    language = "en-us" if piece.kind == "en" else piece.kind
    units = list(_units(piece))
    return [written for written, _ in units], _matched(piece.tokens, [spoken for _, spoken in units], language)


def _letters_owned(piece: Piece) -> tuple[list[str], Owners]:
    """Where each character is a token."""
    words: list[str] = []
    owners: list[int | None] = [None] * len(piece.tokens)
    for match in _WORD.finditer("".join(piece.tokens)):
        if bare := bare_word(match[0]):
            start = match.start() + match[0].find(bare)
            owners[start : start + len(bare)] = [len(words)] * len(bare)
            words.append(bare)
    return words, owners


def _characters_owned(piece: Piece, waiting: list[Characters]) -> tuple[list[str], Owners]:
    """Chinese: each character has a syllable, an initial that ends in 0 and a final, or a final alone.

    `waiting` is what the first piece of some sentences was given for the later ones.
    """
    spoken = "".join(filter(is_han, piece.text))
    units = _taken(waiting, spoken)
    if units is None:
        waiting[:] = _characters(piece.written)
        units = _taken(waiting, spoken) or [(character, character) for character in spoken]
    numbers = [number for number, (_, said) in enumerate(units) for _ in said]
    owners: list[int | None] = []
    syllable, begun = -1, False
    for token in piece.tokens:
        if token[-1:].isdigit():
            syllable += not begun
            begun = token.endswith("0")
        owners.append(numbers[min(syllable, len(numbers) - 1)] if token[-1:].isdigit() and numbers else None)
    return [written for written, _ in units], owners


def _characters(written: str) -> Iterator[Characters]:
    """The words of Chinese sentences: characters, and what is read otherwise than it is written."""
    from zipvoice.text.normalizer import chinese

    end = 0
    for reading in chinese.readings(written):
        yield from ((character, character) for character in written[end : reading.start] if is_han(character))
        if said := "".join(filter(is_han, reading.words)):
            yield bare_word(written[reading.start : reading.end]), said
        end = reading.end
    yield from ((character, character) for character in written[end:] if is_han(character))


def _taken(waiting: list[Characters], spoken: str) -> list[Characters] | None:
    """The first words that are spoken so, which then wait no longer; None if none are."""
    said = ""
    for count, (_, characters) in enumerate(waiting, 1):
        said += characters
        if said == spoken:
            taken = waiting[:count]
            del waiting[:count]
            return taken
        if not spoken.startswith(said):
            return None
    return None


def _units(piece: Piece) -> Iterator[tuple[str, str]]:
    """Each word as it is written and as it is spoken, an expression that is read as a whole being one."""
    from zipvoice.text.normalizer.english import reader as english

    written = piece.written or piece.text
    readings = list(english.readings(written)) if piece.written else []
    for start, end, inside in _spans(written, readings):
        spoken, position = "", start
        for reading in inside:
            spoken += f"{written[position : reading.start]} {reading.words} "
            position = reading.end
        if bare := bare_word(written[start:end].rstrip()):
            yield bare, spoken + written[position:end]


def _spans(text: str, readings: Sequence[Reading]) -> Iterator[tuple[int, int, list[Reading]]]:
    """Start and end of each word, joined where a reading reaches over several, with the readings inside."""
    waiting, inside = list(reversed(readings)), list[Reading]()
    start = end = 0
    for match in _WORD.finditer(text):
        start = match.start() if match.start() >= end else start
        end = max(end, match.end())
        while waiting and waiting[-1].start < end:
            inside.append(waiting.pop())
            end = max(end, inside[-1].end)
        if not text[match.end() : end].strip():  # a reading may reach over the space behind a word
            yield start, end, inside
            inside = []


def bare_word(written: str) -> str:
    """A word without the punctuation around it; an abbreviation such as U.S. keeps its last full stop."""
    bare = written.strip(_OUTER)
    end = written.find(bare) + len(bare)
    return bare + "." if written[end : end + 1] == "." and _ABBREVIATION.search(bare) else bare


# ---------------------------------------------------------------- sounds of the words, and of the text


def _matched(tokens: Sequence[str], words: Sequence[str], language: str) -> Owners:
    """The word of each token of phonemes, from the phonemes of each word as it is spoken alone."""
    places = [i for i, token in enumerate(tokens) if token not in _MARKS and token not in _STRESS]
    sounds, numbers = [], []
    for number, word in enumerate(words):
        heard = [c for c in _phonemes(word, language) if c not in _MARKS and c not in _STRESS]
        sounds += heard
        numbers += [number] * len(heard)
    owners: list[int | None] = [None] * len(tokens)
    if not sounds or not places:
        return owners
    for place, number in zip(places, match_sounds(sounds, [tokens[i] for i in places]), strict=True):
        owners[place] = numbers[number]
    for i in reversed(range(len(tokens) - 1)):
        if tokens[i] in _STRESS:
            owners[i] = owners[i + 1]
    return owners


def _phonemes(word: str, language: str) -> list[str]:
    return espeak.speak(letters.for_the_engine(word) if espeak.is_english(language) else word, language)


def match_sounds(words: Sequence[str], text: Sequence[str]) -> list[int]:
    """For each sound of the text, which sound of the words it is, at the least cost and in order; both non-empty."""
    width = min(len(text), 2 * BAND) + 1
    lows = [_low(i, len(words), len(text), width) for i in range(len(words) + 1)]
    vowel = np.array([sound in VOWELS for sound in text])
    codes = {sound: i for i, sound in enumerate(dict.fromkeys([*words, *text]))}
    said = np.array([codes[sound] for sound in text])
    total = np.full(len(text) + 1, np.inf)  # of the first i sounds of the words and j of the text
    total[:width] = MISSING * np.arange(width)
    moves = np.zeros((len(words) + 1, width), np.int8)  # 0: the text has one more, 1: the words have, 2: a match
    ahead = MISSING * np.arange(width)
    for i, sound in enumerate(words):
        low = lows[i + 1]
        columns = np.arange(low, low + width)
        unlike = np.where(vowel == (sound in VOWELS), OTHER_VOWEL, UNLIKE) * (said != codes[sound])
        matched = np.where(columns > 0, total[columns - 1] + unlike[columns - 1], np.inf)
        skipped = total[columns] + MISSING
        entered = np.minimum(matched, skipped)
        reached = np.minimum.accumulate(entered - ahead) + ahead
        moves[i + 1] = np.where(reached < entered, 0, np.where(matched <= skipped, 2, 1))
        total = np.full(len(text) + 1, np.inf)
        total[columns] = reached
    return _traced(moves, lows, len(words), len(text))


def _low(i: int, num_words: int, num_text: int, width: int) -> int:
    return min(max(0, round(i * num_text / num_words) - width // 2), num_text + 1 - width)


def _traced(moves: NDArray[np.int8], lows: Sequence[int], i: int, j: int) -> list[int]:
    """The match of each sound of the text, from the last one back; one without takes that of the sound before."""
    owners: list[int] = []
    while j > 0:
        move = moves[i, j - lows[i]] if i else 0
        if move != 1:
            owners.append(max(i - 1, 0))
            j -= 1
        i -= move != 0
    return owners[::-1]
