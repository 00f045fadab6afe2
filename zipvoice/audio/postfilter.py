# SPDX-License-Identifier: Apache-2.0
"""What a model that has heard little leaves out of its log-mel features, put back before they are vocoded.

Such a model draws spectra blurred, which sounds dull, and in the colours of the voices it knows best instead of the
prompt's. A global variance (Toda and Tokuda 2007) that is right already says nothing about the first: what lacks is the
part that bends fast over mel bands, and over time.

Shapes: T frames, P of a prompt, C mel bands of all channels, F of one. Channels are filtered each by itself.
"""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from zipvoice.audio.mel import FLOOR, NUM_MELS

NUM_SMOOTHINGS = 10
"""Times that a band and its neighbours are averaged, 1:2:1; together about a Gaussian of 2.2 bands."""
NUM_TIME_SMOOTHINGS = 2
"""The same of frames; together about a Gaussian of 1 frame, 11 ms."""
NUM_SPECTRUM_SMOOTHINGS = 2
"""The same of the bands of an average spectrum."""
FIRST_CRISP_BAND = 40
"""From here on, 1.6 kHz, contrast over time is raised; below, where the harmonics are, it would roughen the voice."""
QUIET_SHARE = 0.4
"""The quieter frames, by the lower half of their bands, say nothing about a voice."""
MOST = 2.0
"""What is bent is at most doubled: more than that would be noise."""
FEW_FRAMES = 50
"""Louder frames whose average spectrum is as much that of their sounds as that of the voice."""

Floats = NDArray[np.float32]
Smoother = Callable[[Floats], Floats]


def postfiltered(
    log_mel: Floats, prompt: Floats, match_spectrum: float, contrast: float, time_contrast: float
) -> Floats:
    """All of it in order, of log-mel features (T, C) of speech in the voice of a prompt (P, C)."""
    matched = with_spectrum_of(log_mel, prompt, match_spectrum)
    return with_time_contrast(with_contrast(matched, contrast), time_contrast)


def contrast_of(log_mel: Floats) -> float:
    """Root mean square in nats, in the louder frames, of one channel (T, F) less what is smooth over its bands.

    Real speech has 0.5 to 0.7.
    """
    return _loud_rms(log_mel, _bent_over_bands(log_mel))


def time_contrast_of(log_mel: Floats) -> float:
    """The same over frames, of the bands above 1.6 kHz.

    Real speech has 0.2 to 0.25.
    """
    return _loud_rms(log_mel, _bent_over_time(log_mel), FIRST_CRISP_BAND)


def with_contrast(log_mel: Floats, least: float) -> Floats:
    """Log-mel features (T, C) with at least so much contrast in each channel; those that have it stay as they are.

    Example:
        >>> flat = np.zeros((20, 100), np.float32)
        >>> np.array_equal(with_contrast(flat, 0.7), flat)  # there is nothing to enlarge
        True
    """
    if least == 0:
        return log_mel
    return _by_channel(lambda one: _enlarged(one, _bent_over_bands(one), 0, least), log_mel)


def with_time_contrast(log_mel: Floats, least: float) -> Floats:
    """The same of the contrast over time; bands below 1.6 kHz stay as they are."""
    if least == 0:
        return log_mel
    return _by_channel(lambda one: _enlarged(one, _bent_over_time(one), FIRST_CRISP_BAND, least), log_mel)


def with_spectrum_of(log_mel: Floats, prompt: Floats, share: float) -> Floats:
    """Log-mel features (T, C) whose long-term average spectrum is drawn to that of the prompt (P, C); its level is not.

    A share of 1 takes all of the difference away from long speech. Of few frames the average says more about their
    sounds than about the voice, so that they are changed less: half as much where `FEW_FRAMES` are loud.

    Example:
        >>> bright = np.tile(np.linspace(-6, -2, 100, dtype=np.float32), (5000, 1))
        >>> dark = bright[:, ::-1]
        >>> np.abs(with_spectrum_of(bright, dark, 1.0) - dark).max() < 0.1
        True
    """
    if share == 0:
        return log_mel
    return _by_channel(lambda one, like: _recoloured(one, like, share), log_mel, prompt)


def _by_channel(change: Callable[..., Floats], log_mel: Floats, *others: Floats) -> Floats:
    num_channels = log_mel.shape[1] // NUM_MELS
    return np.concatenate(list(map(change, *(np.split(each, num_channels, axis=1) for each in (log_mel, *others)))), 1)


def _enlarged(log_mel: Floats, bent: Floats, first_band: int, least: float) -> Floats:
    own = _loud_rms(log_mel, bent, first_band)
    if own >= least or own == 0:
        return log_mel
    return _audible(log_mel + np.float32(min(least / own, MOST) - 1) * bent)


def _recoloured(log_mel: Floats, prompt: Floats, share: float) -> Floats:
    own, like = log_mel[_louder(log_mel)], prompt[_louder(prompt)]
    difference = like.mean(axis=0) - own.mean(axis=0)
    colour = _smooth(difference - difference.mean(), NUM_SPECTRUM_SMOOTHINGS)
    return _audible(log_mel + np.float32(share * len(own) / (len(own) + FEW_FRAMES)) * colour)


def _audible(log_mel: Floats) -> Floats:
    """Nothing quieter than silence."""
    return np.maximum(log_mel, np.float32(np.log(FLOOR)))


def _louder(log_mel: Floats) -> NDArray[np.bool_]:
    """Which frames of a channel (T, F) are not the quieter ones."""
    loudness = log_mel[:, : NUM_MELS // 2].mean(axis=1)
    quieter = math.ceil(QUIET_SHARE * (len(loudness) - 1))
    least = np.partition(loudness, quieter)[quieter]  # np.quantile first imports masked arrays, for 16 ms
    return np.asarray(loudness >= least)


def _loud_rms(log_mel: Floats, bent: Floats, first_band: int = 0) -> float:
    """Root mean square of what is bent (T, F) in the louder frames, from a band on."""
    return float(np.sqrt(np.mean(np.square(bent[_louder(log_mel), first_band:]))))


def _bent_over_bands(log_mel: Floats) -> Floats:
    """What is not smooth over bands."""
    return log_mel @ _bending()


def _bent_over_time(log_mel: Floats) -> Floats:
    """What is not smooth over frames, above the harmonics."""
    bent = log_mel - _smooth(log_mel, NUM_TIME_SMOOTHINGS)
    bent[:, :FIRST_CRISP_BAND] = 0
    return bent


def _smooth(values: Floats, times: int) -> Floats:
    """Rows averaged with their neighbours, 1:2:1; those at the edges are repeated."""
    for _ in range(times):
        before, after = np.concatenate([values[:1], values[:-1]]), np.concatenate([values[1:], values[-1:]])
        values = (before + 2 * values + after) / np.float32(4)
    return values


@cache
def _bending() -> Floats:
    """The matrix (F, F) that a row of bands is multiplied with to leave what is not smooth."""
    return np.eye(NUM_MELS, dtype=np.float32) - _smooth(np.eye(NUM_MELS, dtype=np.float32), NUM_SMOOTHINGS).T
