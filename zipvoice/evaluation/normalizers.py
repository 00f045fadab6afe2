# SPDX-License-Identifier: Apache-2.0
"""What of a text counts when errors are counted. Each published figure has its own rules, and they move it.

Between words, or between the characters of Chinese, stands a space.
"""

import re
import string
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from zipvoice.config.strict_json import suggestion
from zipvoice.evaluation.word_errors import normalize
from zipvoice.text.characters import HAN, fold
from zipvoice.text.normalizer import chinese

INSTALL = "pip install 'zipvoice-tts[benchmarks]'"


@dataclass(frozen=True)
class Normalizer:
    """The rules of one suite."""

    name: str
    """As options name it."""
    about: str
    """What it does, in short."""
    apply: Callable[[str], str]
    """The rules."""
    characters: bool = False
    """Whether its tokens are characters: errors are character errors."""

    def __call__(self, text: str) -> str:
        return self.apply(text)


def find_normalizer(name: str) -> Normalizer:
    """The normaliser of this name. Raises ValueError for an unknown one.

    Example:
        >>> find_normalizer("librispeech-pc")("It’s 5 o'clock -- nearly!")
        "it's 5 o'clock nearly"
    """
    if name not in NORMALIZERS:
        raise ValueError(f"there is no normaliser {name!r}{suggestion(name, NORMALIZERS, and_all=True)}")
    return NORMALIZERS[name]


def zipvoice_chinese(text: str) -> str:
    """As the tokenizer reads it, 50% as 百分之五十: Chinese characters and Latin words in lower case, without marks.

    Example:
        >>> zipvoice_chinese("涨了50%，OK！")
        '涨 了 百 分 之 五 十 ok'
    """
    return " ".join(_HAN_OR_WORD.findall(chinese.spoken(fold(text)).lower()))


def librispeech_pc(text: str) -> str:
    """Lower case; all but a-z, 0-9 and apostrophes are spaces, of which one stays."""
    text = text.replace("‘", "'").replace("’", "'").lower()
    return " ".join(re.sub(r"[^a-z0-9']", " ", text).split())


def seedtts_english(text: str) -> str:
    """Punctuation but the apostrophe is deleted, double spaces are halved once, lower case; ends are not stripped."""
    return _without_punctuation(text).replace("  ", " ").lower()


def seedtts_chinese(text: str) -> str:
    """Punctuation is deleted, double spaces are halved once, and a space is put between all characters."""
    return " ".join(_without_punctuation(text).replace("  ", " "))


def dialogue_english(text: str) -> str:
    """Without what stands in brackets, without punctuation, lower case, one space between words."""
    return " ".join(_without_punctuation(_BRACKETED.sub("", text)).split()).lower()


def dialogue_chinese(text: str) -> str:
    """Without what stands in brackets, without punctuation, a space between all characters."""
    return " ".join(" ".join(_without_punctuation(_BRACKETED.sub("", text)).split()))


def whisper_english(text: str) -> str:
    """Whisper's own, as the package whisper-normalizer carries it."""
    try:
        from whisper_normalizer.english import EnglishTextNormalizer
    except ImportError as error:
        raise ImportError(f"the normaliser of Whisper needs its package ({error}): {INSTALL}") from None
    return " ".join(str(EnglishTextNormalizer()(text)).split())


_HAN_OR_WORD = re.compile(rf"{HAN}|[^\W_]+?(?={HAN}|[\W_]|\Z)")


def _without_punctuation(text: str) -> str:
    return text.translate(_punctuation())


@cache
def _punctuation() -> dict[int, None]:
    try:
        from zhon.hanzi import punctuation
    except ImportError as error:
        raise ImportError(f"this normaliser needs zhon ({error}): {INSTALL}") from None
    return {ord(character): None for character in (punctuation + string.punctuation) if character != "'"}


_BRACKETED = re.compile(r"\[[^\]]*\]|<[^>]*>|\([^)]*\)")

NORMALIZERS = {
    one.name: one
    for one in (
        Normalizer("zipvoice", "numbers, units and titles read as words on both sides", normalize),
        Normalizer("zipvoice-zh", "the same for Chinese, characters", zipvoice_chinese, characters=True),
        Normalizer("whisper", "Whisper's English normaliser", whisper_english),
        Normalizer("librispeech-pc", "a-z, 0-9 and apostrophes", librispeech_pc),
        Normalizer("seedtts-en", "Seed-TTS evaluation, English", seedtts_english),
        Normalizer("seedtts-zh", "Seed-TTS evaluation, Chinese characters", seedtts_chinese, characters=True),
        Normalizer("dialogue-en", "without brackets and punctuation", dialogue_english),
        Normalizer("dialogue-zh", "without brackets and punctuation, characters", dialogue_chinese, characters=True),
    )
}
