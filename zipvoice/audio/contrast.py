# SPDX-License-Identifier: Apache-2.0
"""Formants and harmonics of over-smoothed log-mel features made as distinct as those of speech.

A model that has heard little of a voice draws its spectra blurred, which sounds dull. A global variance (Toda and
Tokuda 2007) that is right already says nothing about it: what lacks is the part that bends fast over mel bands.

Shapes: T frames, C mel bands of all channels, F of one.
"""

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from zipvoice.audio.mel import FLOOR, NUM_MELS

NUM_SMOOTHINGS = 10
"""Times that a band and its neighbours are averaged, 1:2:1; together about a Gaussian of 2.2 bands."""
QUIET_SHARE = 0.4
"""The quieter frames, by the lower half of their bands, say nothing about contrast."""
MOST = 2.0
"""What is bent is at most doubled: more than that would be noise."""

Floats = NDArray[np.float32]


def contrast_of(log_mel: Floats) -> float:
    """Root mean square in nats, in the louder frames, of one channel (T, F) less what is smooth over its bands.

    Real speech has 0.5 to 0.7.
    """
    return _louder_rms(log_mel, log_mel @ _bending())


def with_contrast(log_mel: Floats, least: float) -> Floats:
    """Log-mel features (T, C) with at least so much contrast in each channel; those that have it stay as they are.

    Example:
        >>> flat = np.zeros((20, 100), np.float32)
        >>> np.array_equal(with_contrast(flat, 0.7), flat)  # there is nothing to enlarge
        True
    """
    if least == 0:
        return log_mel
    channels = np.split(log_mel, log_mel.shape[1] // NUM_MELS, axis=1)
    return np.concatenate([_sharpened(channel, least) for channel in channels], axis=1)


def _sharpened(log_mel: Floats, least: float) -> Floats:
    bending = log_mel @ _bending()
    own = _louder_rms(log_mel, bending)
    if own >= least or own == 0:
        return log_mel
    more = np.float32(min(least / own, MOST) - 1)
    return np.maximum(log_mel + more * bending, np.float32(np.log(FLOOR)))


def _louder_rms(log_mel: Floats, values: Floats) -> float:
    """Root mean square of values (T, F) in the louder frames of a channel (T, F)."""
    loudness = log_mel[:, : NUM_MELS // 2].mean(axis=1)
    quieter = math.ceil(QUIET_SHARE * (len(loudness) - 1))
    least = np.partition(loudness, quieter)[quieter]  # np.quantile first imports masked arrays, for 16 ms
    return float(np.sqrt(np.mean(np.square(values[loudness >= least]))))


@cache
def _bending() -> Floats:
    """The matrix (F, F) that a row of bands is multiplied with to leave what is not smooth; edges are repeated."""
    average = np.zeros((NUM_MELS, NUM_MELS))
    for band in range(NUM_MELS):
        for other, weight in ((band - 1, 0.25), (band, 0.5), (band + 1, 0.25)):
            average[np.clip(other, 0, NUM_MELS - 1), band] += weight
    return (np.eye(NUM_MELS) - np.linalg.matrix_power(average, NUM_SMOOTHINGS)).astype(np.float32)
