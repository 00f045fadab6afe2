# SPDX-License-Identifier: Apache-2.0
"""Words of a sound, and when they are spoken."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """A word as it is written, and the seconds at which it starts and ends in its sound."""

    word: str
    start: float
    end: float

    def moved(self, seconds: float) -> "Word":
        """The word in a sound that begins so many seconds earlier."""
        return Word(self.word, self.start + seconds, self.end + seconds)


def rounded(words: Iterable[Word], seconds: float) -> tuple[Word, ...]:
    """Words with times in whole milliseconds within a sound of so many seconds."""
    return tuple(
        Word(one.word, *(round(min(max(time, 0.0), seconds), 3) for time in (one.start, one.end))) for one in words
    )
