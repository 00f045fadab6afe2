# SPDX-License-Identifier: Apache-2.0
"""The features of `zipvoice.audio.mel` in PyTorch: differentiable, on any device, and part of Vocos's weights.

Shapes: N samples, T frames, F = 100 mel bands.
"""

import torch
from torch import Tensor, nn

from zipvoice.audio.mel import FLOOR, HOP, N_FFT, check_length, mel_filterbank, num_frames


class LogMel(nn.Module):
    """Natural logarithm of mel magnitudes of sound at 24 kHz: (..., N) -> (..., T, F), T = N / 256 rounded half up.

    N must exceed 512. The buffers have the names they have within published Vocos weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.spectrogram = Spectrogram()
        self.mel_scale = MelScale()

    def forward(self, samples: Tensor) -> Tensor:
        mel = self.mel_scale(self.spectrogram(samples))[..., : num_frames(samples.shape[-1]), :]
        return mel.clamp(min=FLOOR).log()


class Spectrogram(nn.Module):
    """Magnitudes of the short-time Fourier transform: (..., N) -> (..., 1 + N // HOP, N_FFT // 2 + 1)."""

    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(N_FFT))

    def forward(self, samples: Tensor) -> Tensor:
        num_samples = samples.shape[-1]
        check_length(num_samples)
        flat = samples.reshape(-1, num_samples)
        magnitude = torch.stft(flat, N_FFT, HOP, window=self.window, return_complex=True).abs()
        return magnitude.mT.reshape(*samples.shape[:-1], 1 + num_samples // HOP, N_FFT // 2 + 1)


class MelScale(nn.Module):
    """Linear frequencies to mel bands: (..., N_FFT // 2 + 1) -> (..., NUM_MELS)."""

    fb: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("fb", torch.from_numpy(mel_filterbank().copy()))

    def forward(self, magnitude: Tensor) -> Tensor:
        return magnitude @ self.fb
