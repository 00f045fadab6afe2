# SPDX-License-Identifier: Apache-2.0
"""Recordings -> segments. Each depends on the seed and its number only, so that a run can continue from any step.

Shapes: B batch, N samples.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from zipvoice.audio.files import ENCODINGS, pcm16
from zipvoice.audio.mel import HOP, N_FFT, SAMPLING_RATE
from zipvoice.config.vocoder import VocoderRunConfig
from zipvoice.data.cuts import load_audio, make_cut, read_cuts, recording
from zipvoice.data.overlap import Sound, warn_of_shared
from zipvoice.data.workers import fitting
from zipvoice.seeds import seed_of

if TYPE_CHECKING:
    from lhotse.cut import Cut

CONTEXT = N_FFT // 2
"""Samples read on either side of a segment, so that its features see no edge."""

NO_RECORDINGS = "train names no recordings; give cut manifests or folders"


def recordings(sources: Sequence[str]) -> list["Cut"]:
    """All cuts of manifests, and all audio files below folders.

    Raises ValueError for a source that is neither or has no recordings, and for a file that is not audio.
    """
    cuts = []
    for source in sources:
        found = _of_folder(Path(source)) if Path(source).is_dir() else list(read_cuts(source))
        if not found:
            raise ValueError(f"there are no recordings in {source}")
        cuts += found
    return cuts


def _of_folder(folder: Path) -> list["Cut"]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENCODINGS and path.name[0] != ".")
    return [make_cut(str(path), "", recording(path.absolute())) for path in paths]


def whole(cut: "Cut") -> NDArray[np.float32]:
    """The samples (N,) of a recording at 24 kHz, its channels as one."""
    samples: NDArray[np.float32] = load_audio(cut).mono().samples[0]
    return samples


class Recordings:
    """Recordings of which parts are read from their files, or from memory.

    Attributes:
        lengths: of each in samples at 24 kHz, int64.
        sounds: where each is from.
    """

    def __init__(self, sources: Sequence[str], in_memory: bool) -> None:
        self._cuts = recordings(sources)
        self._decoded = [pcm16(load_audio(cut).mono())[:, 0] for cut in self._cuts] if in_memory else None
        self.sounds = list(map(Sound.of, self._cuts))
        self.lengths = torch.tensor([round(cut.duration * SAMPLING_RATE) for cut in self._cuts])

    def part(self, number: int, start: int, length: int) -> Tensor:
        """Samples (length,) of a recording from `start` on; silence follows its end."""
        if self._decoded:
            samples = self._decoded[number][start : start + length] * np.float32(1 / 32768)
        else:
            samples = self._read(self._cuts[number], start, length)
        return torch.from_numpy(np.pad(samples, (0, length - len(samples))))

    def _read(self, cut: "Cut", start: int, length: int) -> NDArray[np.float32]:
        offset = start / SAMPLING_RATE
        seconds = min(length / SAMPLING_RATE, cut.duration - offset)
        return whole(cut.truncate(offset=offset, duration=seconds))[:length]


class Segments(Dataset[Tensor]):
    """Random segments by number: samples (N,), with `CONTEXT` more at either end than `crop_samples`.

    Every second of every recording is about equally likely; a recording that is too short is padded with silence.
    """

    def __init__(self, config: VocoderRunConfig) -> None:
        if not config.train:
            raise ValueError(NO_RECORDINGS)
        self._config = config
        self._recordings = Recordings(config.train, config.in_memory)
        self._length = config.crop_samples + 2 * CONTEXT

    @property
    def sounds(self) -> list[Sound]:
        """Where they are from."""
        return self._recordings.sounds

    @property
    def batches_per_epoch(self) -> int:
        """Batches as long as all recordings together."""
        return math.ceil(int(self._recordings.lengths.sum()) / (self._config.crop_samples * self._config.batch_size))

    def __getitem__(self, number: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed_of(self._config.seed, "crop", number))
        ends = self._recordings.lengths.cumsum(0)
        recording = int(torch.searchsorted(ends, torch.randint(int(ends[-1]), (), generator=generator), right=True))
        last = max(0, int(self._recordings.lengths[recording]) - self._length)
        start = int(torch.randint(last + 1, (), generator=generator))
        samples = self._recordings.part(recording, start, self._length)
        low, high = self._config.gain_db
        gain = 10 ** ((low + (high - low) * torch.rand((), generator=generator)) / 20)
        return samples * gain / (samples.abs().max() * gain).clamp(min=1)

    def batches(self, step: int, rank: int = 0, world_size: int = 1) -> Iterator[Tensor]:
        """The batches (B, N) of process `rank` of `world_size` from a step on; processes take turns."""
        size = self._config.batch_size
        firsts = itertools.count((step * world_size + rank) * size, world_size * size)
        numbers = itertools.chain.from_iterable(range(first, first + size) for first in firsts)
        workers = fitting(self._config.num_workers)
        return iter(DataLoader(self, size, sampler=numbers, num_workers=workers, generator=torch.Generator()))


@dataclass(frozen=True, eq=False)
class SegmentBatch:
    """Some segments of recordings, or one whole recording."""

    samples: Tensor
    """(B, N) at 24 kHz."""
    ids: list[str]
    """Names of the segments."""

    @property
    def seconds(self) -> list[float]:
        """Length of each segment, rounded to 10 ms."""
        return [round(self.samples.shape[1] / SAMPLING_RATE, 2)] * len(self.ids)

    def to(self, device: torch.device | str) -> "SegmentBatch":
        """The batch with its samples on `device`."""
        return replace(self, samples=self.samples.to(device))


def whole_recordings(config: VocoderRunConfig, trained: Iterable[Sound] = ()) -> list[SegmentBatch]:
    """Each validation recording as a batch of its own; those that are `trained` on are told.

    Raises ValueError for one that is too short for a spectrum.
    """
    cuts = recordings(config.dev)
    warn_of_shared(trained, map(Sound.of, cuts), ", ".join(config.dev))
    batches = [SegmentBatch(torch.from_numpy(whole(cut))[None], [cut.id]) for cut in cuts]
    least = (max(N_FFT, *config.stft_windows) // 2 // HOP + 2) * HOP
    if short := [batch.ids[0] for batch in batches if batch.samples.shape[1] < least]:
        raise ValueError(f"validation needs recordings of {least / SAMPLING_RATE:.3f} s; leave out {', '.join(short)}")
    return batches


class SegmentBatches:
    """The batches of a run without end, from a position that can be saved.

    Args:
        segments: to take batches of.
        rank: of this process.
        world_size: number of processes, which take turns.
    """

    def __init__(self, segments: Segments, rank: int = 0, world_size: int = 1) -> None:
        self._segments = segments
        self._share = rank, world_size
        self._num_batches = 0
        self._batches: Iterator[Tensor] | None = None

    @property
    def epoch(self) -> int:
        """How often the recordings' length has been drawn, by all processes."""
        return self._num_batches * self._share[1] // self._segments.batches_per_epoch

    def __next__(self) -> SegmentBatch:
        if self._batches is None:
            self._batches = self._segments.batches(self._num_batches, *self._share)
        samples = next(self._batches)
        first = (self._num_batches * self._share[1] + self._share[0]) * len(samples)
        self._num_batches += 1
        return SegmentBatch(samples, [f"segment {first + number}" for number in range(len(samples))])

    def state_dict(self) -> dict[str, int]:
        return {"num_batches": self._num_batches}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._num_batches, self._batches = state["num_batches"], None
