# SPDX-License-Identifier: Apache-2.0
"""How sure a figure is: error bars by drawing speakers anew, and whether two folders differ.

Legend: C clusters (speakers), R draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zipvoice.evaluation.scores import FolderScores, Score, ScoredRecording

DRAWS = 2000
LEVEL = 0.95
FEWEST_SPEAKERS = 5
"""With fewer speakers the recordings themselves are drawn."""


@dataclass(frozen=True)
class Figure:
    """A weighted mean with its interval of 95 %."""

    value: float
    """The mean."""
    low: float
    """2.5th percentile of the bootstrap."""
    high: float
    """97.5th percentile of the bootstrap."""
    num_recordings: int
    """What it is a mean of."""


@dataclass(frozen=True)
class Difference:
    """How much more the second of two folders has, over the recordings that both have."""

    value: float
    """Second minus first."""
    low: float
    """2.5th percentile of the bootstrap."""
    high: float
    """97.5th percentile of the bootstrap."""
    p_value: float
    """How often chance would part them as far, if each speaker's scores belonged to either folder."""


def figure(scored: Sequence[tuple[str, Score]]) -> Figure:
    """The weighted mean of (speaker, score) pairs, with the percentile bootstrap over speakers (Efron 1979).

    Speakers are drawn because the scores of one speaker hang together (Bisani and Ney 2004 draw them for word errors);
    recordings where there are fewer than five speakers. The draws are the same in each call.

    Example:
        >>> figure([("anna", Score(0.1, 10)), ("ben", Score(0.4, 20))]).value
        0.3
    """
    sums = _cluster_sums(scored)  # (C, 2)
    low, high = _interval(_ratio(_draws(len(sums)) @ sums))
    return Figure(float(_ratio(sums.sum(axis=0))), low, high, len(scored))


def difference(first: FolderScores, second: FolderScores, row: str) -> Difference:
    """Whether two folders that say one list differ in a row: paired bootstrap, and a randomisation test.

    Raises ValueError where no recording has the score in both.

    Example:
        >>> difference(folders["base"], folders["distilled"], row).p_value
    """
    both = common(first, second, row)
    if not both:
        raise ValueError(f"{first.folder} and {second.folder} have no recording with {row} in common")
    speakers = [own.speaker or own.name for own, _ in both]
    a = _cluster_sums([(s, own.scores[row]) for s, (own, _) in zip(speakers, both, strict=True)])  # (C, 2)
    b = _cluster_sums([(s, other.scores[row]) for s, (_, other) in zip(speakers, both, strict=True)])
    draws = _draws(len(a))
    value = float(_ratio(b.sum(axis=0)) - _ratio(a.sum(axis=0)))
    low, high = _interval(_ratio(draws @ b) - _ratio(draws @ a))
    return Difference(value, low, high, _chance_of(abs(value), a, b))


def common(first: FolderScores, second: FolderScores, row: str) -> list[tuple[ScoredRecording, ScoredRecording]]:
    """The recordings that have a score in both folders."""
    theirs = {recording.name: recording for recording in second.recordings if row in recording.scores}
    return [(own, theirs[own.name]) for own in first.recordings if row in own.scores and own.name in theirs]


def _chance_of(distance: float, a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """P value of the randomisation test: each cluster's two sums are swapped or not, evenly."""
    swapped = np.random.default_rng(1).random((DRAWS, len(a))) < 0.5  # (R, C)
    kept = ~swapped
    apart = np.abs(_ratio(kept @ b + swapped @ a) - _ratio(kept @ a + swapped @ b))
    return float((1 + np.count_nonzero(apart >= distance - 1e-12)) / (1 + DRAWS))


def _cluster_sums(scored: Sequence[tuple[str, Score]]) -> NDArray[np.float64]:
    """Weighted sum and weight of each speaker, (C, 2)."""
    speakers = [speaker for speaker, _ in scored]
    if len(set(speakers)) < FEWEST_SPEAKERS:
        speakers = [str(number) for number in range(len(scored))]
    index = {speaker: number for number, speaker in enumerate(dict.fromkeys(speakers))}
    sums = np.zeros((len(index), 2))
    for speaker, (_, score) in zip(speakers, scored, strict=True):
        sums[index[speaker]] += (score.value * score.weight, score.weight)
    return sums


def _draws(num_clusters: int) -> NDArray[np.float64]:
    """How often each cluster is drawn, (R, C)."""
    even = np.full(num_clusters, 1 / num_clusters)
    return np.random.default_rng(0).multinomial(num_clusters, even, DRAWS).astype(np.float64)


def _ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = np.where(sums[..., 1] == 0, np.nan, sums[..., 1])
    means: NDArray[np.float64] = sums[..., 0] / weights
    return means


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.nanquantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
