# SPDX-License-Identifier: Apache-2.0
"""Chinese text as pinyin tokens, with jieba for words and pypinyin for their reading."""

import logging
import re
import warnings
from functools import lru_cache
from typing import Any

from zipvoice.text.g2p.syllables import syllable_tokens


def pinyin_tokens(text: str) -> list[str]:
    """Initial and final tokens of each character, with tone sandhi; other characters are tokens of their own.

    Numbers must be words already. Raises ImportError with the install command where jieba or pypinyin is missing.
    """
    _readings()
    from pypinyin import Style, lazy_pinyin

    readings = lazy_pinyin(words(text), style=Style.TONE3, tone_sandhi=True, neutral_tone_with_five=True)
    return [token for reading in readings for token in _tokens(reading)]


def words(text: str) -> list[str]:
    """The words of `text`, in order and without loss."""
    jieba = _jieba()
    return [word for block in _LONG_RUN.sub(r"\g<0>\0", text).split("\0") for word in jieba.lcut(block)]


def is_readable(character: str) -> bool:
    """True if pypinyin knows how a Chinese character is read."""
    return ord(character) in _readings()


def _tokens(reading: str) -> list[str]:
    if reading[:-1].isalpha() and reading[-1] in "12345":
        return syllable_tokens(reading)
    return [reading]


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
def _readings() -> dict[int, str]:
    try:
        from pypinyin.constants import PINYIN_DICT
    except ImportError:
        raise ImportError(_INSTALL) from None
    return PINYIN_DICT


# jieba takes quadratic time over characters without punctuation; sentences are shorter than this.
_LONG_RUN = re.compile("[\u4e00-\u9fff]{500}")

_INSTALL = 'Chinese text needs pypinyin and jieba: pip install "zipvoice-tts[chinese]"'
