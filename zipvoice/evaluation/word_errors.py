# SPDX-License-Identifier: Apache-2.0
"""Word error rate: how many words must be changed to turn what was heard into what should have been said."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from zipvoice.text.characters import fold
from zipvoice.text.normalizer.english import reader as english
from zipvoice.text.normalizer.libritts import to_ascii


@dataclass(frozen=True)
class WordErrors:
    """Error counts of one utterance or, added up, of a corpus."""

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    words: int = 0
    """Words of the reference."""

    @property
    def errors(self) -> int:
        """All errors together."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors per reference word: 0 is perfect, above 1 is possible. Raises ValueError without reference words."""
        if self.words == 0:
            raise ValueError("no word error rate without a reference word; only a-z, 0-9 and apostrophes make words")
        return self.errors / self.words

    def __add__(self, other: "WordErrors") -> "WordErrors":
        return WordErrors(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.words + other.words,
        )


def normalize(text: str) -> str:
    """English text as it is compared: words of a-z, 0-9 and inner apostrophes, in lower case, one space between.

    What is written in digits is read, as the tokenizers read it, so that 50 equals fifty and $5 five dollars; letters
    lose their accents, titles are written out, and "and" inside a number does not count: one hundred and five.
    """
    text = fold(text)
    if _IN_DIGITS.search(text):
        text = english.spoken(text if any(map(str.islower, text)) else text.lower(), for_engine=False)
    text = to_ascii(text).lower().replace("&", " and ")
    words = (_TITLES.get(word, word) for word in _WORD.findall(text))
    return _AND_IN_NUMBER.sub(" ", " ".join(words))


def word_errors(reference: str, hypothesis: str) -> WordErrors:
    """The fewest word errors between two texts after `normalize` (Levenshtein distance over words).

    Example:
        >>> word_errors("It costs $5.", "it cost five dollars")
        WordErrors(substitutions=1, deletions=0, insertions=0, words=4)
    """
    return count_errors(normalize(reference), normalize(hypothesis))


def count_errors(reference: str, hypothesis: str) -> WordErrors:
    """The fewest errors between the words of two texts, which white space of any kind parts, as jiwer counts them."""
    expected, heard = reference.split(), hypothesis.split()
    if not expected:  # jiwer counts no errors here that a rate could be made of
        return WordErrors(insertions=len(heard))
    try:
        from jiwer import process_words
    except ImportError as error:
        raise ImportError(f"word errors need jiwer ({error}): pip install 'zipvoice-tts[evaluation]'") from None
    counts = process_words(" ".join(expected), " ".join(heard))
    return WordErrors(counts.substitutions, counts.deletions, counts.insertions, len(expected))


def word_error_rate(pairs: Iterable[tuple[str, str]]) -> float:
    """Corpus word error rate of (reference, hypothesis) pairs: all errors over all reference words.

    Example:
        >>> word_error_rate([("a b c", "a b d"), ("e", "e")])
        0.25
    """
    return sum((word_errors(reference, hypothesis) for reference, hypothesis in pairs), WordErrors()).rate


_IN_DIGITS = re.compile(r"\d|[%²³]")
_WORD = re.compile(r"[a-z0-9]+(?:'[a-z0-9]+)*")
_TITLES = {"mr": "mister", "mrs": "missus", "misess": "missus", "dr": "doctor", "prof": "professor", "vs": "versus"}
_NUMBER = (
    "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen"
    "|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
)
_BEFORE = ("hundred", "thousand", "million", "dollar", "dollars", "pounds", "euros")
_BEFORE_AND = "|".join(rf"(?<=\b{word})" for word in _BEFORE)
_AND_IN_NUMBER = re.compile(rf"(?:{_BEFORE_AND}) and (?=(?:{_NUMBER})\b)")
