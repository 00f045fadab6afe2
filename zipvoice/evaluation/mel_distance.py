# SPDX-License-Identifier: Apache-2.0
"""How far apart two recordings of the same words are, however fast each was spoken.

Legend: N, M frames of the two recordings, F mel bins.
"""

import math

import numpy as np
from numpy.typing import NDArray

from zipvoice.audio.files import Audio, resample
from zipvoice.audio.mel import SAMPLING_RATE, log_mel

DB_PER_NAT = 20 / math.log(10)
RANGE_NATS = 60 / DB_PER_NAT
"""What lies more than 60 dB below a recording's loudest bin is inaudible in it and differs by accident."""


def mel_distance(first: Audio, second: Audio) -> float:
    """Mean log-spectral distance of two recordings in dB, along the best alignment of their frames.

    Zero for identical recordings. A difference in level counts. Channels are averaged, rates may differ.

    Example:
        >>> mel_distance(read("original.flac"), read("vocoded.wav"))  # dB
    """
    return DB_PER_NAT * warped_distance(_audible_mel(first), _audible_mel(second))


def warped_distance(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Mean root-mean-square difference between (N, F) and (M, F) frames under dynamic time warping.

    The symmetric form of Sakoe and Chiba (1978): a diagonal step counts twice, a horizontal or vertical one once, so
    that every path weighs N + M and the minimum needs no trace back. Repeating frames of either side is free.
    """
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1] or not len(first) or not len(second):
        raise ValueError(
            f"expected two (frames, bins) matrices of as many bins, found {(*first.shape,)} and {(*second.shape,)}"
        )
    wide = second.astype(np.float64)
    cost = np.stack([np.linalg.norm(frame - wide, axis=1) for frame in first])  # (N, M)
    return _cheapest_path(cost / math.sqrt(first.shape[1])) / sum(cost.shape)


def _cheapest_path(cost: NDArray[np.float64]) -> float:
    """The least weighted sum over monotonic paths through an (N, M) cost matrix, from corner to corner.

    D[i, j] = min(D[i-1, j-1] + 2 c[i, j], D[i-1, j] + c[i, j], D[i, j-1] + c[i, j]), one anti-diagonal i + j at a time.
    Slot i + 1 of a diagonal holds row i; slot 0 is the edge of the matrix, open only to the first step.
    """
    num_rows, num_columns = cost.shape
    before_last = np.full(num_rows + 1, math.inf)
    last = before_last.copy()
    before_last[0] = 0.0
    for diagonal in range(num_rows + num_columns - 1):
        rows = np.arange(max(0, diagonal - num_columns + 1), min(num_rows, diagonal + 1))
        here = cost[rows, diagonal - rows]
        reached = np.minimum(before_last[rows] + 2 * here, np.minimum(last[rows], last[rows + 1]) + here)
        before_last, last = last, np.full(num_rows + 1, math.inf)
        last[rows + 1] = reached
    return float(last[num_rows])


def _audible_mel(audio: Audio) -> NDArray[np.float32]:
    """Log-mel frames (T, F) of the mean of the channels, without what is inaudible."""
    mel = log_mel(resample(audio.mono(), SAMPLING_RATE).samples[0])
    return mel.clip(min=mel.max() - RANGE_NATS)
