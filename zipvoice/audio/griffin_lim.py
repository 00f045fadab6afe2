# SPDX-License-Identifier: Apache-2.0
"""A vocoder without weights: fast Griffin-Lim (Perraudin, Balazs and Søndergaard 2013) from log-mel features.

Shapes: B batch, N samples, T frames, F mel bands, K = N_FFT // 2 + 1 frequencies.
"""

import numpy as np
from numpy.typing import NDArray

from zipvoice.audio.mel import FLOOR, HOP, N_FFT, check_mel, mel_filterbank, stft, window

NUM_ITERATIONS = 60
NUM_FIXED = 20
"""Iterations before the magnitudes may move within their mel bands.

On five recordings, moving them lowered the mean log-mel distance from 0.084 to 0.038; fixing them first lowered the
error of the linear spectrum from 0.157 to 0.149. All 60 iterations take a tenth of real time on one CPU core.
"""
NUM_SPREADING = 20
"""Updates that spread mel bands over linear frequencies; their log-mel error is then below 0.001."""
MOMENTUM = np.float32(0.99)
"""The acceleration α of the paper."""
LOUDEST = 10.0
"""Log-mel values above this are cut: a full-scale sine has about 6, and an untrained model may say anything."""
TINY = np.float32(1e-10)

Floats = NDArray[np.float32]


def griffin_lim(log_mel: Floats) -> Floats:
    """Log-mel (B, F, T) -> wave (B, (T - 1) · 256) at 24 kHz in [-1, 1]. Raises ValueError unless T is at least 2.

    Two projections alternate: onto spectra of real waves, and onto spectra whose magnitudes have the given mel bands.
    The first phase is drawn from a fixed seed, so that the same mel gives the same wave.

    Example:
        >>> griffin_lim(np.zeros((1, 100, 94), np.float32)).shape
        (1, 23808)
    """
    check_mel(log_mel.shape)
    mel = np.exp(np.minimum(log_mel, LOUDEST, dtype=np.float32)).clip(min=FLOOR).transpose(0, 2, 1)  # (B, T, F)
    num_frames, num_frequencies = mel.shape[1], N_FFT // 2 + 1
    envelope = _overlap_add(np.tile(window() ** 2, (num_frames, 1)))
    magnitude = _with_bands(np.ones((len(mel), num_frames, num_frequencies), np.float32), mel, NUM_SPREADING)
    spectrum = magnitude * _first_phase(num_frames, num_frequencies)
    previous = np.zeros_like(spectrum)
    for iteration in range(NUM_ITERATIONS):
        consistent = stft(_istft(spectrum, envelope), "constant")
        accelerated = consistent + MOMENTUM * (consistent - previous)
        previous = consistent
        if iteration >= NUM_FIXED:
            magnitude = _with_bands(np.abs(consistent).clip(min=TINY), mel, 1)
        spectrum = accelerated * (magnitude / np.abs(accelerated).clip(min=TINY))
    return _istft(spectrum, envelope).clip(-1, 1)


def _with_bands(magnitude: Floats, mel: Floats, num_updates: int) -> Floats:
    """Magnitudes (B, T, K) moved towards the mel bands (B, T, F).

    Multiplicative updates of non-negative least Kullback-Leibler divergence (Lee and Seung 2001): what is positive
    stays positive, and within a band the shape stays.
    """
    filters = mel_filterbank()  # (K, F)
    weight = filters.sum(axis=1).clip(min=TINY)
    for _ in range(num_updates):
        ratio = mel / (magnitude @ filters).clip(min=TINY)
        magnitude = magnitude * (ratio @ filters.T) / weight
    return magnitude


def _istft(spectrum: NDArray[np.complex64], envelope: Floats) -> Floats:
    """Waves (B, (T - 1) · HOP) whose spectra (B, T, K) are nearest: windowed frames added up, over the `envelope`."""
    frames = np.fft.irfft(spectrum).astype(np.float32, copy=False)  # (B, T, N_FFT)
    return _overlap_add(frames * window()) / envelope


def _overlap_add(frames: Floats) -> Floats:
    """Frames (..., T, N_FFT), each HOP after the last, added up from the middle of the first to that of the last."""
    *batch, num_frames, _ = frames.shape
    overlap = N_FFT // HOP
    frames = frames.reshape(*batch, num_frames, overlap, HOP)
    total = np.zeros((*batch, num_frames + overlap - 1, HOP), np.float32)
    for shift in range(overlap):
        total[..., shift : shift + num_frames, :] += frames[..., shift, :]
    return total.reshape(*batch, -1)[..., N_FFT // 2 : -N_FFT // 2]


def _first_phase(num_frames: int, num_frequencies: int) -> NDArray[np.complex64]:
    """Unit complex numbers (T, K), uniform on the circle; those of fewer frames are the beginning of those of more."""
    bits = np.random.RandomState(0).randint(1 << 32, size=(num_frames, num_frequencies), dtype=np.uint32)
    turns = (bits & 0xFFFFFF) / np.float32(1 << 24)  # as torch.rand draws them
    return np.exp(2j * np.pi * turns).astype(np.complex64)
