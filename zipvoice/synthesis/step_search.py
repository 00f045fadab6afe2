# SPDX-License-Identifier: Apache-2.0
"""The time grid of a few steps whose speech is nearest to the exact flow of a model.

The exact flow takes 128 fine steps from the same noise. Grids are of 32nds, as published ones are. Shapes: T frames,
C mel bins of all channels.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from zipvoice.config.synthesis import EPSS_GRIDS, SamplingConfig, SynthesisOptions
from zipvoice.model.solver import time_grid
from zipvoice.runtime.base import Floats
from zipvoice.synthesis.chunk_planner import SpeechChunk
from zipvoice.synthesis.synthesizer import Synthesizer
from zipvoice.synthesis.voices import Voice, find_prompt

EXACT_STEPS = 128
PARTS = 32
"""Into which a grid divides the time."""
STRIDES = (4, 2, 1)
"""Parts by which a time of the grid is moved in trial."""
DB_PER_NAT = 20 / math.log(10)
RANGE_NATS = 60 / DB_PER_NAT
"""What lies further below the loudest bin is inaudible and differs by accident."""

Grid = tuple[int, ...]
"""Times in 32nds, from 0 to 32."""


@dataclass(frozen=True)
class Trial:
    """A sampling, and how far its speech is from the exact flow."""

    sampling: SamplingConfig
    distance: float
    """In dB; see `spectral_distance`."""


class Flow:
    """Some sentences whose exact flow is known.

    Args:
        synthesizer: of the model.
        texts: one chunk of each is spoken, in each of the voices.
        voices: as `Synthesizer.synthesize` takes one; by default that of the package.

    Raises:
        ValueError: there is no text, or one that cannot be spoken.

    Example:
        >>> flow = Flow(zipvoice.load(), ["Good morning to you all."])
        >>> flow.distance(SamplingConfig(4, 1.0))  # dB
    """

    def __init__(self, synthesizer: Synthesizer, texts: Sequence[str], voices: Sequence[Voice] = (None,)) -> None:
        if not texts or not voices:
            raise ValueError("the distance to the exact flow needs a text and a voice at least")
        self._synthesizer = synthesizer
        self._options = options = synthesizer.resolved(SynthesisOptions())
        prompts = [find_prompt(synthesizer, voice) for voice in voices]
        plans = (synthesizer.plan(text, prompt, options, text) for text in texts for prompt in prompts)
        self._chunks: list[SpeechChunk] = [next(chunk for chunk in plan if chunk.ids) for plan in plans]
        self._exact = self.mels(SamplingConfig(EXACT_STEPS, options.guidance_scale, 1.0, options.temperature))

    @property
    def sampling(self) -> SamplingConfig:
        """That of the model."""
        return self._options.sampling

    def mels(self, sampling: SamplingConfig) -> list[Floats]:
        """Log-mel features (T, C) of the sentences, as the flow made them: its matters end there."""
        return self._synthesizer.mels(self._chunks, replace(self._options, **vars(sampling.unfiltered)))

    def distance(self, sampling: SamplingConfig) -> float:
        """From the exact flow, mean of the sentences in dB."""
        return float(np.mean([spectral_distance(*pair) for pair in zip(self.mels(sampling), self._exact, strict=True)]))


def spectral_distance(first: Floats, second: Floats) -> float:
    """Mean over frames of the root-mean-square difference of two log-mel spectrograms (T, C) of equal length, in dB.

    Example:
        >>> spectral_distance(mel, mel + 0.1)  # dB, 0.1 · 20 / ln 10
        0.868
    """
    floor = max(first.max(), second.max()) - RANGE_NATS
    difference = first.clip(min=floor) - second.clip(min=floor)
    return DB_PER_NAT * float(np.sqrt(np.square(difference).mean(axis=1)).mean())


def search_grid(
    distance: Callable[[SamplingConfig], float], sampling: SamplingConfig, tell: Callable[[Trial], None]
) -> Trial:
    """The best grid of as many steps as a sampling has, with its solver and guidance.

    One time after another is moved by a few 32nds as long as that brings the speech nearer to the exact flow, from the
    best of equal steps, shifted steps and the published grid. What is found is no worse than these.

    Args:
        distance: of the speech of a sampling from the exact flow.
        sampling: all of it but the grid.
        tell: called with each trial.

    Raises:
        ValueError: fewer than 2 steps, which leave nothing to choose, or more than 32.

    Example:
        >>> search_grid(flow.distance, replace(flow.sampling, num_steps=4), print)
    """
    check_num_steps(sampling.num_steps)
    known: dict[Grid, Trial] = {}

    def tried(grid: Grid) -> Trial:
        if grid not in known:
            wanted = replace(sampling, time_grid=tuple(part / PARTS for part in grid))
            known[grid] = Trial(wanted, distance(wanted))
            tell(known[grid])
        return known[grid]

    best = min(_first_grids(sampling.num_steps), key=lambda grid: tried(grid).distance)
    for stride in STRIDES:
        while (nearest := min(_neighbours(best, stride), key=lambda grid: tried(grid).distance)) != best:
            best = nearest
    return known[best]


def check_num_steps(num_steps: int) -> None:
    """Raise ValueError for a number of steps whose grid leaves nothing to choose, or has more times than there are."""
    if not 2 <= num_steps <= PARTS:
        raise ValueError(f"a grid of 32nds has 2 to {PARTS} steps, not {num_steps}")


def _first_grids(num_steps: int) -> Iterator[Grid]:
    """Equal steps, steps packed towards the noise, and the published grid if there is one."""
    for t_shift in (1.0, 0.5, 0.25):
        yield _distinct([round(t * PARTS) for t in time_grid(num_steps, t_shift)])
    if num_steps in EPSS_GRIDS:
        yield tuple(round(t * PARTS) for t in EPSS_GRIDS[num_steps])


def _distinct(parts: Sequence[int]) -> Grid:
    """The parts moved up, and then down, as far as it needs for each to be above the one before."""
    rising = list(parts)
    for index in range(1, len(rising)):
        rising[index] = max(rising[index], rising[index - 1] + 1)
    for index, highest in zip(range(len(rising) - 1, 0, -1), range(PARTS, 0, -1), strict=False):
        rising[index] = min(rising[index], highest)
    return tuple(rising)


def _neighbours(grid: Grid, stride: int) -> Iterator[Grid]:
    """The grid and those with one of its inner times moved by the stride."""
    yield grid
    for index in range(1, len(grid) - 1):
        for move in (-stride, stride):
            moved = (*grid[:index], grid[index] + move, *grid[index + 1 :])
            if all(t < t_next for t, t_next in pairwise(moved)):
                yield moved
