# SPDX-License-Identifier: Apache-2.0
"""Chunks of speech put together as they come: faded into each other where both are silent, pauses of the right length.

Works on one chunk at a time and keeps nothing but the end of the last one, so that speech of any length can be written
while it is made. Waves are (channels, N).
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from zipvoice.audio.files import Audio
from zipvoice.audio.silence import fade
from zipvoice.audio.words import Word, rounded
from zipvoice.synthesis.word_times import collected, word_times
from zipvoice.text.words import SpokenWord

Wave = NDArray[np.float32]

SILENCE = 10 ** (-50 / 20)
"""Root mean square up to which 10 ms are silent: -50 dBFS, as for prompts."""
EDGE_SECONDS = 0.1
"""Silence left at either end of the speech."""
FADE_SECONDS = 0.1
"""Chunks overlap by this much, as far as the end of one and the beginning of the next are silent."""
SHORTEST_FADE_SECONDS = 0.005
"""Where they are not, this prevents a click."""
LONGEST_GAP_SECONDS = 0.6
"""Between two chunks that no pause was asked for."""
LONGEST_PAUSE_SECONDS = 1.0
"""Within speech whose long silences are removed: half a second stays on either side."""


@dataclass(frozen=True, eq=False)
class ChunkAudio:
    """The sound of a chunk and what belongs behind it."""

    samples: Wave
    """(channels, N)."""
    pause: float = 0.0
    """Seconds of silence behind it; 0 joins it with the next."""
    words: tuple[SpokenWord, ...] = ()
    """What it says, where the times of words are asked for."""


@dataclass
class Joiner:
    """Puts the pieces of one utterance together, one at a time: all parts that it gives are the whole.

    A part has those words that begin in it, with times from its own beginning.
    """

    sampling_rate: int
    _num_given: int = field(default=0, init=False)
    """Samples of all parts so far."""
    _words: list[Word] = field(default_factory=list, init=False)
    """Those that no part had yet, with times in the whole."""
    _heard_until: float = field(default=0.0, init=False)
    """The end of the last word."""

    def add(self, piece: ChunkAudio) -> Iterator[Audio]:
        """What is final when `piece` comes next."""
        raise NotImplementedError

    def end(self) -> Iterator[Audio]:
        """The rest, when nothing comes any more."""
        raise NotImplementedError

    def join(self, pieces: Iterable[ChunkAudio]) -> Iterator[Audio]:
        """The parts of all pieces."""
        for piece in pieces:
            yield from self.add(piece)
        yield from self.end()

    def _hear(self, samples: Wave, words: Sequence[SpokenWord], start: int) -> None:
        """Find the times of the words of a piece whose first sample is that of this number in the whole."""
        for word in word_times(Audio(samples, self.sampling_rate), words):
            moved = word.moved(start / self.sampling_rate)
            begins = max(moved.start, self._heard_until)  # pieces may overlap
            self._heard_until = max(moved.end, begins)
            self._words.append(Word(word.word, begins, self._heard_until))

    def _parts(self, samples: Wave, is_last: bool = False) -> Iterator[Audio]:
        start, end = (count / self.sampling_rate for count in (self._num_given, self._num_given + samples.shape[1]))
        if samples.shape[1] == 0:
            return
        begun = [word.moved(-start) for word in self._words if is_last or word.start < end]
        self._words = self._words[len(begun) :]
        self._num_given += samples.shape[1]
        yield Audio(samples, self.sampling_rate, rounded(begun, end - start if is_last else math.inf))


@dataclass
class Crossfader(Joiner):
    """Cross-fades chunks of speech."""

    shorten_silence: bool = False
    """Shorten silence within a piece to a second: it is what speech at a slow rate would be full of."""
    _tail: Wave | None = field(default=None, init=False)
    """What was not given out yet: the end of the last piece, which the next one may overlap."""
    _pause: float = field(default=0.0, init=False)
    _missing: float = field(default=0.0, init=False)
    """Seconds of silence to come before anything else: pauses that have no piece before them."""

    def add(self, piece: ChunkAudio) -> Iterator[Audio]:
        if piece.samples.shape[1] == 0:
            self._add_pause(piece.pause)
            return
        samples = self._shortened(piece.samples)
        final = self._begun(samples)
        assert self._tail is not None
        self._hear(samples, piece.words, self._num_given + final.shape[1] + self._tail.shape[1] - samples.shape[1])
        yield from self._parts(final)
        self._pause = piece.pause

    def end(self) -> Iterator[Audio]:
        yield from self._parts(self._ended(), is_last=True)

    def _add_pause(self, seconds: float) -> None:
        if self._tail is None:
            self._missing += seconds
        else:
            self._pause += seconds

    def _begun(self, samples: Wave) -> Wave:
        """What is final when `samples` come next; their own end is kept back."""
        if self._tail is None:
            lead = max(0, self._lead(samples) - self._count(EDGE_SECONDS))
            whole = np.concatenate([self._silence(samples, self._missing), samples[:, lead:]], axis=1)
        elif self._pause:
            whole = self._paused(self._tail, samples)
        else:
            whole = self._faded(self._tail, samples)
        kept = min(whole.shape[1], self._trail(whole) + self._count(FADE_SECONDS))
        final, self._tail = whole[:, : whole.shape[1] - kept], whole[:, whole.shape[1] - kept :]
        return final

    def _faded(self, tail: Wave, head: Wave) -> Wave:
        """Overlapping by their common silence, and not further apart than a gap."""
        trail, lead = self._trail(tail), self._lead(head)
        overlap = min(max(min(trail, lead), self._count(SHORTEST_FADE_SECONDS)), self._count(FADE_SECONDS))
        excess = max(0, trail + lead - overlap - self._count(LONGEST_GAP_SECONDS))
        from_head = min(excess, max(0, lead - overlap))
        from_tail = min(excess - from_head, max(0, trail - overlap))
        return fade(tail[:, : tail.shape[1] - from_tail], head[:, from_head:], overlap)

    def _paused(self, tail: Wave, head: Wave) -> Wave:
        """With exactly the pause between them, their own silence included."""
        length = self._count(self._pause)
        trail, lead = min(self._trail(tail), length // 2), min(self._lead(head), length // 2)
        end, begin = tail.shape[1] - self._trail(tail) + trail, self._lead(head) - lead
        silence = np.zeros((len(head), length - trail - lead), np.float32)
        return np.concatenate([tail[:, :end], silence, head[:, begin:]], axis=1)

    def _ended(self) -> Wave:
        """The end of the last piece, with the silence that belongs behind it."""
        if self._tail is None:
            raise ValueError("there is nothing to speak, only pauses")
        tail, self._tail = self._tail, None
        if self._pause:
            return self._paused(tail, tail[:, :0])
        return tail[:, : tail.shape[1] - max(0, self._trail(tail) - self._count(EDGE_SECONDS))]

    def _shortened(self, samples: Wave) -> Wave:
        return shorten_silence(samples, self.sampling_rate, LONGEST_PAUSE_SECONDS) if self.shorten_silence else samples

    def _lead(self, samples: Wave) -> int:
        return leading_silence(samples, self.sampling_rate)

    def _trail(self, samples: Wave) -> int:
        return leading_silence(samples[:, ::-1], self.sampling_rate)

    def _count(self, seconds: float) -> int:
        return round(seconds * self.sampling_rate)

    def _silence(self, like: Wave, seconds: float) -> Wave:
        return np.zeros((len(like), self._count(seconds)), np.float32)


@dataclass
class ExactJoiner(Joiner):
    """Pieces, cut to their lengths before, one after the other with their pauses: `num_samples_left` in all.

    Nothing is trimmed; a short fade at each edge prevents clicks.
    """

    num_samples_left: int
    _num_channels: int = field(default=1, init=False)

    def add(self, piece: ChunkAudio) -> Iterator[Audio]:
        self._num_channels = len(piece.samples)
        fade_length = round(SHORTEST_FADE_SECONDS * self.sampling_rate)
        silence = np.zeros((self._num_channels, round(piece.pause * self.sampling_rate)), np.float32)
        whole = np.concatenate([faded_edges(piece.samples, fade_length), silence], axis=1)
        self._hear(piece.samples, piece.words, self._num_given)
        yield from self._counted(whole[:, : self.num_samples_left])

    def end(self) -> Iterator[Audio]:
        yield from self._counted(
            np.zeros((self._num_channels, self.num_samples_left), np.float32)
        )  # pauses are rounded

    def _counted(self, samples: Wave) -> Iterator[Audio]:
        self.num_samples_left -= samples.shape[1]
        yield from self._parts(samples)


@dataclass
class BareJoiner(Joiner):
    """Pieces as they are."""

    def add(self, piece: ChunkAudio) -> Iterator[Audio]:
        self._hear(piece.samples, piece.words, self._num_given)
        yield from self._parts(piece.samples)

    def end(self) -> Iterator[Audio]:
        yield from ()


def joined(parts: Iterable[Audio]) -> Audio:
    """Parts of one sound as a whole."""
    words: list[Word] = []
    parts = list(collected(parts, words))
    samples = np.concatenate([part.samples for part in parts], axis=1)
    return Audio(samples, parts[0].sampling_rate, rounded(words, samples.shape[1] / parts[0].sampling_rate))


def faded_edges(samples: Wave, length: int) -> Wave:
    """The wave rising from and falling to zero over `length` samples."""
    ramp = np.linspace(0, 1, min(length, samples.shape[1] // 2), dtype=np.float32)
    envelope = np.ones(samples.shape[1], np.float32)
    envelope[: len(ramp)] = ramp
    envelope[samples.shape[1] - len(ramp) :] = ramp[::-1]
    return samples * envelope


def silent_steps(samples: Wave, sampling_rate: int) -> NDArray[np.bool_]:
    """For each 10 ms, the last of which may be shorter, whether they are silent over all channels."""
    step = sampling_rate // 100
    missing = -samples.shape[1] % step
    energy = np.pad(np.square(samples).mean(axis=0), (0, missing)).reshape(-1, step).sum(axis=1)
    count = np.full(len(energy), step)
    count[-1:] -= missing
    return energy / count <= SILENCE**2


def leading_silence(samples: Wave, sampling_rate: int) -> int:
    """Silent samples before the first 10 ms that are not; all if there are none."""
    sounding = np.flatnonzero(~silent_steps(samples, sampling_rate))
    return int(sounding[0]) * (sampling_rate // 100) if len(sounding) else samples.shape[1]


def shorten_silence(samples: Wave, sampling_rate: int, longest_seconds: float) -> Wave:
    """The wave with the middle taken out of each longer silence between sounds."""
    step, longest = sampling_rate // 100, round(100 * longest_seconds)
    sounding = np.flatnonzero(~silent_steps(samples, sampling_rate)).tolist()
    kept, position = [], 0
    for before, after in pairwise(sounding):
        if after - before - 1 > longest:
            kept.append(samples[:, position : (before + 1 + longest // 2) * step])
            position = (after - (longest - longest // 2)) * step
    return np.concatenate([*kept, samples[:, position:]], axis=1) if kept else samples


def cut_to(piece: ChunkAudio, num_samples: int) -> ChunkAudio:
    """The piece with exactly so many samples: cut, or followed by silence."""
    missing = max(0, num_samples - piece.samples.shape[1])
    return replace(piece, samples=np.pad(piece.samples[:, :num_samples], ((0, 0), (0, missing))))
