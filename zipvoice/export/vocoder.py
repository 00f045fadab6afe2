# SPDX-License-Identifier: Apache-2.0
"""Vocos in the form that graphs are traced from, its inverse Fourier transform as a convolution.

Graphs have no inverse short-time transform that all runtimes know. Its frames are sums of cosines and sines, and
overlapping them is what a transposed convolution does. Shapes: B batch, T frames, F mel bands, N samples.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zipvoice.audio.mel import HOP, N_FFT, inverse_transform
from zipvoice.vocoder.vocos import LARGEST_MAGNITUDE, Vocos


class TracedSpectrum(nn.Module):
    """Log-mel (B, F, T) to magnitude, cosine and sine of the phase, each (B, N_FFT / 2 + 1, T)."""

    def __init__(self, vocos: Vocos) -> None:
        super().__init__()
        self.backbone, self.out = vocos.backbone, vocos.head.out

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        log_magnitude, phase = self.out(self.backbone(mel)).transpose(1, 2).chunk(2, dim=1)
        return log_magnitude.exp().clamp(max=LARGEST_MAGNITUDE), phase.cos(), phase.sin()


class TracedVocos(nn.Module):
    """Log-mel (B, F, T), T at least 2, to wave (B, (T - 1) · 256) in [-1, 1]."""

    basis: Tensor
    window_square: Tensor

    def __init__(self, vocos: Vocos) -> None:
        super().__init__()
        self.spectrum = TracedSpectrum(vocos)
        for name, values in inverse_transform().items():
            self.register_parameter(name, nn.Parameter(torch.from_numpy(values), requires_grad=False))

    def forward(self, mel: Tensor) -> Tensor:
        magnitude, real, imaginary = self.spectrum(mel)
        spectrum = torch.cat([magnitude * real, magnitude * imaginary], dim=1)
        wave = F.conv_transpose1d(spectrum, self.basis, stride=HOP)
        weight = F.conv_transpose1d(torch.ones_like(mel[:1, :1]), self.window_square, stride=HOP)
        inside = slice(N_FFT // 2, -(N_FFT // 2))
        return (wave[:, 0, inside] / weight[:, 0, inside]).clamp(-1, 1)
