# SPDX-License-Identifier: Apache-2.0
"""A vocoder without weights: fast Griffin-Lim (Perraudin, Balazs and Søndergaard 2013) from log-mel features.

Shapes: B batch, T frames, F mel bands, K = N_FFT // 2 + 1 frequencies.
"""

import torch
from torch import Tensor, nn

from zipvoice.audio.mel import FLOOR, HOP, N_FFT, LogMel, check_mel

NUM_ITERATIONS = 60
NUM_FIXED = 20
"""Iterations before the magnitudes may move within their mel bands.

On five recordings, moving them lowered the mean log-mel distance from 0.084 to 0.038; fixing them first lowered the
error of the linear spectrum from 0.157 to 0.149. All 60 iterations take a tenth of real time on one CPU core.
"""
NUM_SPREADING = 20
"""Updates that spread mel bands over linear frequencies; their log-mel error is then below 0.001."""
MOMENTUM = 0.99
"""The acceleration α of the paper."""
LOUDEST = 10.0
"""Log-mel values above this are cut: a full-scale sine has about 6, and an untrained model may say anything."""
TINY = 1e-10


class GriffinLim(nn.Module):
    """Log-mel (B, F, T) -> wave (B, (T - 1) · 256) at 24 kHz in [-1, 1]. T is at least 2; not differentiable.

    Two projections alternate: onto spectra of real waves, and onto spectra whose magnitudes have the given mel bands.
    The first phase is drawn from a fixed seed, so that the same mel gives the same wave.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = LogMel()

    @torch.no_grad()
    def forward(self, mel: Tensor) -> Tensor:
        check_mel(mel)
        mel = mel.clamp(max=LOUDEST).exp().clamp(min=FLOOR)
        magnitude = self._with_bands(torch.ones_like(self._filters @ mel), mel, NUM_SPREADING)
        spectrum = magnitude * _first_phase(*magnitude.shape[1:]).to(mel.device)
        previous = torch.zeros_like(spectrum)
        for iteration in range(NUM_ITERATIONS):
            consistent = self._stft(self._istft(spectrum))
            accelerated = consistent + MOMENTUM * (consistent - previous)
            previous = consistent
            if iteration >= NUM_FIXED:
                magnitude = self._with_bands(consistent.abs().clamp(min=TINY), mel, 1)
            spectrum = magnitude * accelerated / accelerated.abs().clamp(min=TINY)
        return self._istft(spectrum).clamp(-1, 1)

    @property
    def _filters(self) -> Tensor:
        return self.features.mel_scale.fb  # (K, F)

    def _with_bands(self, magnitude: Tensor, mel: Tensor, num_updates: int) -> Tensor:
        """Magnitudes (B, K, T) moved towards the mel bands (B, F, T).

        Multiplicative updates of non-negative least Kullback-Leibler divergence (Lee and Seung 2001): what is positive
        stays positive, and within a band the shape stays.
        """
        weight = self._filters.sum(dim=1, keepdim=True).clamp(min=TINY)  # (K, 1)
        for _ in range(num_updates):
            ratio = mel / (self._filters.T @ magnitude).clamp(min=TINY)
            magnitude = magnitude * (self._filters @ ratio) / weight
        return magnitude

    def _stft(self, wave: Tensor) -> Tensor:
        window = self.features.spectrogram.window
        return torch.stft(wave, N_FFT, HOP, window=window, pad_mode="constant", return_complex=True)

    def _istft(self, spectrum: Tensor) -> Tensor:
        return torch.istft(spectrum, N_FFT, HOP, window=self.features.spectrogram.window)


def _first_phase(num_frequencies: int, num_frames: int) -> Tensor:
    """Unit complex numbers (K, T), uniform on the circle; those of fewer frames are the beginning of those of more."""
    turns = torch.rand(num_frames, num_frequencies, generator=torch.Generator().manual_seed(0)).T
    return torch.polar(torch.ones_like(turns), 2 * torch.pi * turns)
