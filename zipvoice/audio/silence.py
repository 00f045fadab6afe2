# SPDX-License-Identifier: Apache-2.0
"""Silence within and around speech: long pauses shortened, edges trimmed, pieces joined.

Levels are those of 16-bit samples over all channels, as whole numbers, and positions are whole milliseconds: the
semantics of pydub, with which the released models are used.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zipvoice.audio.files import Audio

SILENCE_DBFS = -50.0
"""Sound up to this level, relative to the largest 16-bit sample, is silence."""
PAUSE_MS = 1000
"""Silence from this length on is a pause; as much of it stays on either side."""
STEP_MS = 10
"""Pauses are searched, and edges trimmed, at multiples of this."""
EDGE_MS = 100
"""Silence left at either end."""


def remove_silence(audio: Audio, trail_ms: int = 0) -> Audio:
    """Trim silence at both ends to 100 ms and shorten pauses of more than 2 s to 2 s.

    `trail_ms` of silence are appended. The result is quantised to 16 bits and never empty. Raises ValueError for
    nothing but silence: there is no voice in it.
    """
    return _trimmed(_shorten_pauses(_Clip.of(audio)), trail_ms)


def _trimmed(clip: "_Clip", trail_ms: int = 0) -> Audio:
    clip = _trim_start(_trim_start(clip).reversed()).reversed()
    tail = np.zeros((trail_ms * clip.sampling_rate // 1000, clip.samples.shape[1]), np.int16)
    samples = np.concatenate([clip.samples, tail]).T * np.float32(1 / 32768)
    return Audio(samples, clip.sampling_rate)


@dataclass(frozen=True, eq=False)
class _Clip:
    """16-bit sound addressed in milliseconds."""

    samples: np.ndarray  # (N, channels)
    sampling_rate: int
    duration: int  # milliseconds

    @staticmethod
    def of(audio: Audio) -> "_Clip":
        """The recording truncated to 16 bits and, by at most half a millisecond, cut or padded to whole ones."""
        if not np.isfinite(audio.samples).all():
            raise ValueError("the recording holds NaN or infinite samples; use another one")
        samples = (audio.samples.T * 32768).clip(-32768, 32767).astype(np.int16)
        duration = round(1000 * audio.seconds)
        if duration == 0:
            raise ValueError(f"the recording has only {audio.num_samples} samples; use a longer one")
        missing = duration * audio.sampling_rate // 1000 - len(samples)
        samples = np.pad(samples, ((0, max(0, missing)), (0, 0)))[: len(samples) + missing]
        return _Clip(samples, audio.sampling_rate, duration)

    def part(self, start: int, end: int) -> "_Clip":
        return _Clip(self.samples[self._at(start) : self._at(end)], self.sampling_rate, end - start)

    def reversed(self) -> "_Clip":
        return _Clip(self.samples[::-1], self.sampling_rate, self.duration)

    def is_silent(self, starts: np.ndarray, length: int) -> np.ndarray:
        """Whether each span from `starts` of `length` milliseconds, or up to the end of the clip, is silent."""
        energy = np.square(self.samples, dtype=np.int64).sum(axis=1).cumsum()
        energy = np.concatenate([[0], energy])  # of the first n samples
        begin, end = self._at(starts), self._at(np.minimum(starts + length, self.duration))
        count = np.maximum(end - begin, 1) * self.samples.shape[1]
        level = np.floor(np.sqrt((energy[end] - energy[begin]) / count))
        return level <= 32768 * 10 ** (SILENCE_DBFS / 20)

    def _at(self, milliseconds: np.ndarray | int) -> np.ndarray:
        """The sample at a time; rounding can differ by one sample in a part of a clip of an odd rate."""
        return np.minimum(np.asarray(milliseconds) * self.sampling_rate // 1000, len(self.samples))


def _shorten_pauses(clip: _Clip) -> _Clip:
    """Take the middle out of each pause, except PAUSE_MS beside speech."""
    if _leading_silence(clip) == clip.duration:
        raise ValueError(f"the recording never exceeds {SILENCE_DBFS:.0f} dBFS; use one that is louder")
    kept, position = [], 0
    for start, end in _pauses(clip):
        cut_from = start + PAUSE_MS if start > 0 else 0
        cut_to = end - PAUSE_MS if end < clip.duration else clip.duration
        if cut_from < cut_to:
            kept.append(clip.part(position, cut_from).samples)
            position = cut_to
    kept.append(clip.part(position, clip.duration).samples)
    samples = np.concatenate(kept)
    return _Clip(samples, clip.sampling_rate, round(1000 * len(samples) / clip.sampling_rate))


def _pauses(clip: _Clip) -> list[tuple[int, int]]:
    """Start and end, in milliseconds, of each union of overlapping silent windows of PAUSE_MS.

    None if that would be the whole clip: sound just above the threshold or too short to lift a window is no pause.
    """
    last = clip.duration - PAUSE_MS
    if last < 0:
        return []
    starts = np.append(np.arange(0, last, STEP_MS), last)
    starts = starts[clip.is_silent(starts, PAUSE_MS)]
    groups = np.split(starts, np.flatnonzero(np.diff(starts) > PAUSE_MS) + 1) if len(starts) else []
    pauses = [(int(group[0]), int(group[-1]) + PAUSE_MS) for group in groups]
    return [] if pauses == [(0, clip.duration)] else pauses


def _trim_start(clip: _Clip) -> _Clip:
    return clip.part(max(0, _leading_silence(clip) - EDGE_MS), clip.duration)


def _leading_silence(clip: _Clip) -> int:
    """Milliseconds before the first step that is not silent; the whole duration if there is none."""
    starts = np.arange(0, clip.duration, STEP_MS)
    sounding = starts[~clip.is_silent(starts, STEP_MS)]
    return int(sounding[0]) if len(sounding) else clip.duration


def fade(tail: NDArray[np.float32], head: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Two waves (channels, N), the first fading linearly into the second over up to `length` samples."""
    length = min(length, tail.shape[1], head.shape[1])
    weight = np.linspace(1, 0, length, dtype=np.float32)
    kept = tail.shape[1] - length
    overlap = tail[:, kept:] * weight + head[:, :length] * (1 - weight)
    return np.concatenate([tail[:, :kept], overlap, head[:, length:]], axis=1)
