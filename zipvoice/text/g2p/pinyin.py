# SPDX-License-Identifier: Apache-2.0
"""Chinese text as pinyin tokens, with jieba for words, pypinyin for their reading, and `polyphones` for the rest."""

import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

from zipvoice.text.g2p.polyphones import Syllable, is_loose, phrase_reading, phrases_in, resolved
from zipvoice.text.g2p.syllables import syllable_tokens


def pinyin_tokens(text: str) -> list[str]:
    """Initial and final tokens of each character, with tone sandhi; other characters are tokens of their own.

    Numbers must be words already. Raises ImportError with the install command where jieba or pypinyin is missing.
    """
    return [token for reading in readings(text) for token in _tokens(reading)]


def readings(text: str) -> list[str]:
    """Pinyin with tone numbers of each Chinese character in context; what stands between is as written."""
    syllables = [syllable for word in words(text) for syllable in _syllables(word)]
    return resolved(syllables)


def reference_tokens(text: str) -> list[str]:
    """As `pinyin_tokens`, with the readings of the reference: those of each word, however it was cut."""
    return [token for word in words(text) for reading in _pinyin(word, True) for token in _tokens(reading)]


def words(text: str) -> list[str]:
    """The words of `text`, in order and without loss."""
    jieba = _jieba()
    return [word for block in _LONG_RUN.sub(r"\g<0>\0", text).split("\0") for word in jieba.lcut(block)]


def is_readable(character: str) -> bool:
    """True if pypinyin knows how a Chinese character is read."""
    return ord(character) in _known_characters()


@lru_cache(maxsize=2048)
def _tokens(reading: str) -> tuple[str, ...]:
    if reading[:-1].isalpha() and reading[-1] in "12345":
        return tuple(syllable_tokens(reading))
    return (reading,)


# ---------------------------------------------------------------- words to syllables


@lru_cache(maxsize=65536)
def _syllables(word: str) -> tuple[Syllable, ...]:
    """The characters of a word with the readings of its parts, and of the tone sandhi inside it."""
    usual = _pinyin(word, True)
    if len(usual) != len(word):  # what is not Chinese stays in one piece
        return tuple(Syllable(written, written, written, False, True, False) for written in usual)
    parts = list(_parts(word))
    plain = [reading for part in parts for reading in _part_readings(part)]
    found = usual if plain == list(_pinyin(word, False)) else _third_tones(plain)
    loose = [len(part) == 1 for part in parts for _ in part]
    last = len(word) - 1
    return tuple(
        Syllable(character, found[i], plain[i], loose[i], i == 0, 0 < i == last) for i, character in enumerate(word)
    )


def _parts(word: str) -> Iterator[str]:
    """A word of the dictionaries as it is, another in the longest words they have."""
    from pypinyin.constants import PHRASES_DICT
    from pypinyin.seg.mmseg import seg

    if is_loose(word):
        yield from word
    elif phrase_reading(word) or word in PHRASES_DICT:
        yield word
    elif phrase := phrases_in(word):
        for part in (word[: phrase.start()], phrase[0], word[phrase.end() :]):
            yield from _parts(part) if part else ()
    else:
        for part in seg.cut(word):
            yield from part if is_loose(part) else (part,)


def _part_readings(part: str) -> Sequence[str]:
    return phrase_reading(part) or _pinyin(part, False)


def _third_tones(syllables: Sequence[str]) -> list[str]:
    """Of two third tones the first becomes a second."""
    raised = [f"{a[:-1]}2" if a[-1] == b[-1] == "3" else a for a, b in pairwise(syllables)]
    return [*raised, syllables[-1]]


@lru_cache(maxsize=65536)
def _pinyin(word: str, sandhi: bool) -> tuple[str, ...]:
    """What pypinyin has for a word."""
    _known_characters()
    from pypinyin import Style, lazy_pinyin

    return tuple(lazy_pinyin([word], style=Style.TONE3, tone_sandhi=sandhi, neutral_tone_with_five=True))


@lru_cache(maxsize=1)
def _jieba() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes and pkg_resources in its source
            import jieba
    except ImportError:
        raise ImportError(_INSTALL) from None
    jieba.setLogLevel(logging.WARNING)
    jieba.initialize()
    return jieba


@lru_cache(maxsize=1)
def _known_characters() -> dict[int, str]:
    try:
        from pypinyin.constants import PINYIN_DICT
    except ImportError:
        raise ImportError(_INSTALL) from None
    return PINYIN_DICT


# jieba takes quadratic time over characters without punctuation; sentences are shorter than this.
_LONG_RUN = re.compile("[\u4e00-\u9fff]{500}")

_INSTALL = 'Chinese text needs pypinyin and jieba: pip install "zipvoice-tts[chinese]"'
