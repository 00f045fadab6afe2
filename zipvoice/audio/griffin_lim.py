# SPDX-License-Identifier: Apache-2.0
"""A vocoder without weights: fast Griffin-Lim (Perraudin, Balazs and Søndergaard 2013) from log-mel features.

Shapes: B batch, N samples, T frames, F mel bands, K = N_FFT // 2 + 1 frequencies.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from zipvoice.audio.first_phase import first_phase
from zipvoice.audio.mel import FLOOR, HOP, N_FFT, check_mel, frames_of, mel_filterbank, window

NUM_ITERATIONS = 6
"""As good, from phases that follow from the magnitudes, as 60 from random ones; benchmarks/results/griffin-lim.md."""
NUM_FIXED = 1
"""Iterations before the magnitudes may move within their mel bands, which lowers the error of the mel."""
NUM_SPREADING = 2
"""Updates that bring interpolated magnitudes to their mel bands."""
MOMENTUM = np.float32(0.99)
"""The acceleration α of the paper."""
LOUDEST = 10.0
"""Log-mel values above this are cut: a full-scale sine has about 6, and an untrained model may say anything."""
TINY = np.float32(1e-10)

Floats = NDArray[np.float32]
Complex = NDArray[np.complex64]


def griffin_lim(log_mel: Floats) -> Floats:
    """Log-mel (B, F, T) -> wave (B, (T - 1) · 256) at 24 kHz. Raises ValueError unless T is at least 2.

    Samples of loud speech may be beyond ±1: whoever writes them lowers or clips them.

    Two projections alternate: onto spectra of real waves, and onto spectra whose magnitudes have the given mel bands.
    The same mel gives the same wave.

    Example:
        >>> griffin_lim(np.zeros((1, 100, 94), np.float32)).shape
        (1, 23808)
    """
    check_mel(log_mel.shape)
    level = np.clip(log_mel, np.log(FLOOR), LOUDEST, dtype=np.float32).transpose(0, 2, 1)  # (B, T, F)
    mel, interpolated = np.exp(level), _interpolated(level)
    envelope = _overlap_add(np.tile(window() ** 2, (mel.shape[1], 1)))
    magnitude = _with_bands(np.exp(interpolated), mel, NUM_SPREADING)
    phase = first_phase(interpolated)
    spectrum = np.empty(phase.shape, np.complex64)
    spectrum.real, spectrum.imag = magnitude * np.cos(phase), magnitude * np.sin(phase)
    previous = None
    for iteration in range(NUM_ITERATIONS):
        consistent = _stft(_istft(spectrum, envelope))
        if iteration >= NUM_FIXED:
            magnitude = _with_bands(np.abs(consistent), mel, 1)
        spectrum = _accelerated(consistent, previous)
        size = np.abs(spectrum)
        spectrum *= np.divide(magnitude, np.maximum(size, TINY, out=size), out=size)
        previous = consistent
    return _istft(spectrum, envelope)


def _accelerated(consistent: Complex, previous: Complex | None) -> Complex:
    """Further in the direction of the last iteration; in the memory of `previous`, which is of no more use."""
    if previous is None:
        return consistent.copy()
    np.subtract(consistent, previous, out=previous)
    previous *= MOMENTUM
    previous += consistent
    return previous


def _interpolated(level: Floats) -> Floats:
    """Log-mel (B, T, F) to log magnitudes (B, T, K), linear between the middles of the bands."""
    below, part, log_width = _between_bands()
    density = level - log_width
    lower = density[..., below]
    return lower + part * (density[..., below + 1] - lower)


@cache
def _between_bands() -> tuple[NDArray[np.int64], Floats, Floats]:
    """For each frequency (K,) the band below it and how far it is towards the next, and logarithms of widths (F,)."""
    filters, bins = mel_filterbank(), np.arange(N_FFT // 2 + 1)
    width = filters.sum(axis=0)
    middle = bins @ filters / width
    below = (np.searchsorted(middle, bins) - 1).clip(0, len(middle) - 2)
    part = ((bins - middle[below]) / (middle[below + 1] - middle[below])).clip(0, 1)
    return below, part.astype(np.float32), np.log(width)


def _with_bands(magnitude: Floats, mel: Floats, num_updates: int) -> Floats:
    """Magnitudes (B, T, K) moved towards the mel bands (B, T, F), in place.

    Multiplicative updates of non-negative least Kullback-Leibler divergence (Lee and Seung 2001): what is positive
    stays positive, and within a band the shape stays.
    """
    filters, spread = mel_filterbank(), _spreading()
    for _ in range(num_updates):
        magnitude *= (mel / (magnitude @ filters).clip(min=TINY)) @ spread
    return magnitude


@cache
def _spreading() -> Floats:
    """Of ratios of bands to those of frequencies (F, K), means by the filters."""
    filters = mel_filterbank()
    weights: Floats = filters.T / filters.sum(axis=1).clip(min=TINY)
    return weights


def _stft(samples: Floats) -> Complex:
    """Spectra (B, T, K) of waves (B, N), zero beyond their ends, in single precision.

    With the usual norm NumPy computes in double precision, five times as long.
    """
    return np.fft.rfft(frames_of(samples, "constant") * (window() * N_FFT), norm="forward").astype(
        np.complex64, copy=False
    )


def _istft(spectrum: Complex, envelope: Floats) -> Floats:
    """Waves (B, (T - 1) · HOP) whose spectra (B, T, K) are nearest: windowed frames added up, over the `envelope`."""
    frames = np.fft.irfft(spectrum).astype(np.float32, copy=False)  # (B, T, N_FFT)
    frames *= window()
    return _overlap_add(frames) / envelope


def _overlap_add(frames: Floats) -> Floats:
    """Frames (..., T, N_FFT), each HOP after the last, added up from the middle of the first to that of the last."""
    *batch, num_frames, _ = frames.shape
    overlap = N_FFT // HOP
    frames = frames.reshape(*batch, num_frames, overlap, HOP)
    total = np.zeros((*batch, num_frames + overlap - 1, HOP), np.float32)
    for shift in range(overlap):
        total[..., shift : shift + num_frames, :] += frames[..., shift, :]
    return total.reshape(*batch, -1)[..., N_FFT // 2 : -N_FFT // 2]
