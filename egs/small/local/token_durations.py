# SPDX-License-Identifier: Apache-2.0
"""How long each token typically is: a token table with a third column, by which a model lays out texts.

Speech is not even, and a model that gives all tokens of a text equally many frames has to find out by itself where each
one really is. That takes more data and steps than a small model gets. The durations here are those, one per token, that
together come closest to the times of all phones (align_phones.py), after each recording is brought to the same pace:
ordinary least squares, without negative durations. They are in seconds at the mean pace.

usage: python local/token_durations.py TOKENS.txt TIMED.txt --cuts CUTS.jsonl.gz... --phones PHONES.jsonl...
"""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from anchors import Anchors, cut_anchors, read_times

from zipvoice.data.cuts import read_cuts, stored_tokens
from zipvoice.text.token_table import TokenTable

ROUNDS = 5
"""Of finding durations, then the paces of recordings; both settle within three."""
LEAST_SECONDS = 0.004
"""No token is without time: a model could not be told of it."""


@dataclass(frozen=True)
class Spoken:
    """A recording as sums over its tokens."""

    counts: np.ndarray
    """(anchors - 1, size of the table): how much of each token is between one anchor and the next."""
    seconds: np.ndarray
    """(anchors - 1,): how long that takes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokens", type=Path, help="token table")
    parser.add_argument("target", type=Path, help="token table to write, with durations")
    parser.add_argument("--cuts", type=Path, nargs="+", required=True, help="manifests of recordings with tokens")
    parser.add_argument("--phones", type=Path, nargs="+", required=True, help="times of their phones")
    options = parser.parse_args()
    time_tokens(options.tokens, options.target, options.cuts, options.phones)


def time_tokens(tokens: Path, target: Path, manifests: Iterable[Path], phones: Iterable[Path]) -> None:
    table = TokenTable.read(tokens)
    times = {key: words for path in phones for key, words in read_times(path).items()}
    recordings = [
        sums(table.ids(stored_tokens(cut)), anchors, len(table))
        for path in manifests
        for cut in read_cuts(path)
        if (anchors := cut_anchors(cut, times))
    ]
    durations = typical_durations(recordings)
    TokenTable(table.tokens, tuple(float(f"{seconds:.4g}") for seconds in durations)).write(target)
    far, farther = (1000 * displacement(recordings, layout) for layout in (durations, np.ones(len(table))))
    print(
        f"{target}: durations from {len(recordings)} recordings; "
        f"phones begin {far:.0f} ms from where they are laid out, with equal durations {farther:.0f} ms"
    )


def sums(ids: Sequence[int], anchors: Anchors, size: int) -> Spoken:
    """Which tokens are spoken between the anchors of a text."""
    starts = np.arange(len(ids))
    begins, ends = anchors.positions[:-1, None], anchors.positions[1:, None]
    share = (np.minimum(ends, starts + 1) - np.maximum(begins, starts)).clip(0)  # (anchors - 1, S)
    return Spoken(share @ np.eye(size)[list(ids)], np.diff(anchors.seconds))


def typical_durations(recordings: Sequence[Spoken]) -> np.ndarray:
    """The durations of all tokens; what is not in the recordings gets the median of what is."""
    counts, paces = np.concatenate([one.counts for one in recordings]), np.ones(len(recordings))
    for _ in range(ROUNDS):
        seconds = np.concatenate([one.seconds / pace for one, pace in zip(recordings, paces, strict=True)])
        durations = non_negative_least_squares(counts, seconds)
        paces = np.array([one.seconds.sum() / (one.counts @ durations).sum() for one in recordings])
        paces /= paces.mean()
    durations = durations.clip(LEAST_SECONDS)
    seen = counts.sum(axis=0) > 0
    return np.where(seen, durations, np.median(durations[seen]))


def non_negative_least_squares(counts: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Argmin |counts · w - seconds|² over w >= 0, by coordinate descent."""
    gram, target = counts.T @ counts, counts.T @ seconds
    weights = np.zeros(len(target))
    seen = np.flatnonzero(gram.diagonal())
    for _ in range(500):
        for i in seen:
            weights[i] = max(0.0, weights[i] + (target[i] - gram[i] @ weights) / gram[i, i])
    return weights


def displacement(recordings: Iterable[Spoken], durations: np.ndarray) -> float:
    """How far anchors are from where the durations have them, in seconds, root mean square."""
    errors = []
    for one in recordings:
        laid_out = (one.counts @ durations).cumsum()
        errors.append(one.seconds.cumsum() - laid_out / laid_out[-1] * one.seconds.sum())
    return float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))


if __name__ == "__main__":
    main()
