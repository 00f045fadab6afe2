# SPDX-License-Identifier: Apache-2.0
"""Times of words on their way through pieces and parts of speech."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from zipvoice.audio.files import Audio
from zipvoice.audio.words import Word
from zipvoice.text.words import SpokenWord


def word_times(audio: Audio, words: Sequence[SpokenWord]) -> tuple[Word, ...]:
    """When the words of a piece are spoken; none if none are asked for."""
    if not words:
        return ()
    from zipvoice.evaluation.alignment import align_words

    return align_words(audio, words)


def collected(parts: Iterable[Audio], words: list[Word]) -> Iterator[Audio]:
    """The parts of a sound as they come; their words are put into `words`, with times in the whole."""
    start = 0.0
    for part in parts:
        words += [word.moved(start) for word in part.words]
        start += part.seconds
        yield part


def with_words_beside(parts: Iterable[Audio], path: Path) -> Iterator[Audio]:
    """The parts of a sound as they come; behind the last one the times of their words are in the file `path`."""
    from zipvoice.evaluation.word_files import write_words

    words: list[Word] = []
    seconds = 0.0
    for part in collected(parts, words):
        seconds += part.seconds
        yield part
    write_words(path, words, seconds)
