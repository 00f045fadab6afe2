# SPDX-License-Identifier: Apache-2.0
"""When each word of a recording is spoken, given what it says.

The aligner scores the sounds of every frame; the likeliest way through the sounds of the text, in their order and with
silence between words where there is some, gives the times (Viterbi). Shapes: T frames, S states, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zipvoice.audio.files import Audio
from zipvoice.audio.words import Word, rounded
from zipvoice.config.text import TokenizerConfig
from zipvoice.evaluation.aligner import FRAME_SECONDS, SILENCE, Aligner, builtin_aligner
from zipvoice.evaluation.level import require_sound
from zipvoice.evaluation.sounds import sounds
from zipvoice.text.characters import UnspeakableError
from zipvoice.text.tokenizers import build_tokenizer
from zipvoice.text.words import SpokenWord, spoken_words, tokens_of_words

LANGUAGE = "en"
"""English and Chinese; any other is a language of espeak-ng."""
LEAST_FRAMES = 2
"""Of a sound."""
WINDOW = 1000
"""States on either side of the best one that a frame looks at: what bounds time and memory for long recordings."""


def align(audio: Audio, text: str, language: str = LANGUAGE) -> tuple[Word, ...]:
    """When each word of `text` is spoken in a recording (channels, N) that says it.

    Words are those of the text as they are written, without the punctuation around them; an expression that is read as
    a whole, "$1.5 million", is one. `language` is en, which knows Chinese too, or one of espeak-ng.

    Raises ValueError for a text without words, and for a recording that is silent or too short to say it.

    Example:
        >>> align(read("me.wav"), "Hello from me.")
        (Word(word='Hello', start=0.13, end=0.52), Word(word='from', start=0.52, end=0.7), ...)
    """
    words = align_words(require_sound(audio), text_words(text, language))
    return tuple(Word(one.word.upper(), one.start, one.end) for one in words) if text.isupper() else words


def text_words(text: str, language: str = LANGUAGE) -> list[SpokenWord]:
    """The words of a text and their tokens. A text in capitals alone is read in small letters, not spelt."""
    config = TokenizerConfig() if language in ("en", "zh") else TokenizerConfig(type="espeak", language=language)
    tokenizer = build_tokenizer(config, ())
    try:
        return spoken_words(tokens_of_words(tokenizer, text.lower() if text.isupper() else text))
    except UnspeakableError as error:
        raise ValueError(f"{error.fault}; write it with letters of its language, which --language names") from None


def align_words(audio: Audio, words: Sequence[SpokenWord], aligner: Aligner | None = None) -> tuple[Word, ...]:
    """As `align`, of words whose tokens are known."""
    aligner = aligner or builtin_aligner()
    scores = aligner.scores(audio, doubting_silence=True)
    path = _path(words, aligner.classes, len(scores))
    return rounded(_timed(words, path, path.best(scores)), audio.seconds)


@dataclass(frozen=True)
class Fit:
    """How well a recording says some words; see `transcription.fits`."""

    likelihood: float
    """Mean log-likelihood of the sounds of the words against the likeliest sounds; 0 if those are the likeliest."""
    num_unlikely: int
    """Words that sound like something else."""
    unlikely: float
    """Their share."""
    unheard: float
    """Share of the frames in which something is spoken where the text has nothing to say."""


UNLIKELY = -2.0
"""Mean log-likelihood ratio of a word below which it sounds like something else."""


def fit(audio: Audio, words: Sequence[SpokenWord]) -> Fit:
    """How well a recording says some words. Errors as `align`."""
    aligner = builtin_aligner()
    scores = aligner.scores(audio)
    path = _path(words, aligner.classes, len(scores))
    states = np.searchsorted(path.best(scores)[:-1], np.arange(len(scores)), side="right") - 1
    ratios = scores[np.arange(len(scores)), path.classes[states]] - scores.max(axis=1)
    owners = path.owners[states]
    spoken = owners >= 0
    lengths = np.bincount(owners[spoken])
    means = np.bincount(owners[spoken], ratios[spoken])[lengths > 0] / lengths[lengths > 0]
    unheard = ~spoken & (scores.argmax(axis=1) != aligner.classes.index(SILENCE))
    num_unlikely = int((means < UNLIKELY).sum())
    return Fit(float(ratios[spoken].mean()), num_unlikely, num_unlikely / len(means), float(unheard.mean()))


def _path(words: Sequence[SpokenWord], classes: Sequence[str], num_frames: int) -> "Path":
    said = [sounds(word, classes) for word in words]
    if not any(said):
        raise ValueError("the text has no word whose times could be found")
    return Path.of(said, classes, min(LEAST_FRAMES, num_frames // sum(map(len, said))))


def _timed(words: Sequence[SpokenWord], path: "Path", entered: NDArray[np.int64]) -> list[Word]:
    """The words with their times; one without sounds takes none, right behind the word before."""
    timed: list[Word] = []
    for number, word in enumerate(words):
        states = np.flatnonzero(path.owners == number)
        if len(states):
            frames = entered[states[0]], entered[states[-1] + 1]
            start, end = ((frame - 0.5) * FRAME_SECONDS for frame in frames)
        else:
            start = end = timed[-1].end if timed else 0.0
        timed.append(Word(word.text, float(start), float(end)))
    return timed


@dataclass(frozen=True, eq=False)
class Path:
    """The states that a text goes through: silence, the sounds of a word, silence, and so on. Silence may be left out.

    Each sound is a run of states, of which only the last may be stayed in.
    """

    classes: NDArray[np.int64]
    """(S,)."""
    owners: NDArray[np.int64]
    """The word of each state (S,); -1 for silence."""
    may_stay: NDArray[np.bool_]
    may_skip: NDArray[np.bool_]
    """States that may follow the one before the last (S,): the one between is silence."""

    @classmethod
    def of(cls, words: Sequence[Sequence[str]], classes: Sequence[str], least_frames: int = LEAST_FRAMES) -> "Path":
        """The path of words of known sounds, each at least so long. Raises ValueError if that is no frame at all."""
        if least_frames < 1:
            raise ValueError("the recording is too short for the text; check that it is what the recording says")
        silence = classes.index(SILENCE)
        states = [(silence, -1, True)]
        for number, word in enumerate(words):
            for sound in word:
                kind = classes.index(sound)
                states += [(kind, number, False)] * (least_frames - 1) + [(kind, number, True)]
            states += [(silence, -1, True)] * bool(word)
        kinds, owners, stay = (np.array(column) for column in zip(*states, strict=True))
        before = np.concatenate([[-2], owners[:-1]])
        return cls(kinds, owners, stay, (before == -1) & (owners >= 0))

    def best(self, scores: NDArray[np.float32]) -> NDArray[np.int64]:
        """The frame at which each state is entered on the likeliest path through `scores` (T, K), and T (S + 1,).

        A state that is left out is entered when the next one is.
        """
        num_frames, size = len(scores), len(self.classes)
        total = np.full(size + 2, -np.inf)  # two more in front, for what comes before a state
        total[2:4] = scores[0, self.classes[:2]]
        moves, lows = [], [0]
        stay = np.where(self.may_stay, 0.0, -np.inf)
        skip = np.where(self.may_skip, 0.0, -np.inf)
        for row in scores[1:]:
            middle = int(total.argmax()) - 2
            low, high = max(0, middle - WINDOW), min(size, middle + WINDOW)
            stayed = total[2 + low : 2 + high] + stay[low:high]
            came = total[1 + low : 1 + high]
            skipped = total[low:high] + skip[low:high]
            best = np.maximum(stayed, came)
            moves.append(np.where(skipped > best, 2, came > stayed).astype(np.int8))
            lows.append(low)
            reached = np.maximum(best, skipped) + row[self.classes[low:high]]
            total.fill(-np.inf)
            total[2 + low : 2 + high] = reached
        return self._traced(moves, lows, size - 1 if total[-1] >= total[-2] else size - 2, num_frames)

    def _traced(
        self, moves: Sequence[NDArray[np.int8]], lows: Sequence[int], state: int, num_frames: int
    ) -> NDArray[np.int64]:
        entered = np.full(len(self.classes) + 1, num_frames)
        for frame in range(num_frames - 1, 0, -1):
            move = int(moves[frame - 1][state - lows[frame]])
            if move:
                entered[state - move + 1 : state + 1] = frame
                state -= move
        entered[: state + 1] = 0
        return entered
