# SPDX-License-Identifier: Apache-2.0
"""Log-mel features as Vocos defines them.

Shapes: N samples, T frames, F = 100 mel bands.
"""

import torch
from torch import Tensor, nn

from zipvoice.audio.files import Audio
from zipvoice.config.model import FeatureConfig

SAMPLING_RATE = FeatureConfig.sampling_rate
N_FFT = 1024
"""Samples of a window and of its Fourier transform."""
HOP = 256
"""Samples from one frame to the next."""
NUM_MELS = 100
FLOOR = 1e-7
"""Smallest mel magnitude; its logarithm is -16.118."""


class Spectrogram(nn.Module):
    """Magnitudes of the short-time Fourier transform: (..., N) -> (..., 1 + N // HOP, N_FFT // 2 + 1).

    Periodic Hann window, frames centred at multiples of HOP, the edges reflected.
    """

    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(N_FFT))

    def forward(self, samples: Tensor) -> Tensor:
        num_samples = samples.shape[-1]
        if num_samples <= N_FFT // 2:
            raise ValueError(f"features need more than {N_FFT // 2} samples, got {num_samples}; use a longer recording")
        flat = samples.reshape(-1, num_samples)
        magnitude = torch.stft(flat, N_FFT, HOP, window=self.window, return_complex=True).abs()
        return magnitude.mT.reshape(*samples.shape[:-1], 1 + num_samples // HOP, N_FFT // 2 + 1)


class MelScale(nn.Module):
    """Linear frequencies to mel bands: (..., N_FFT // 2 + 1) -> (..., NUM_MELS)."""

    fb: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("fb", mel_filterbank())

    def forward(self, magnitude: Tensor) -> Tensor:
        return magnitude @ self.fb


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


def num_frames(num_samples: int) -> int:
    """Frames of a clip: num_samples / HOP, rounded half up."""
    return (num_samples + HOP // 2) // HOP


def check_mel(mel: Tensor) -> None:
    """Raise ValueError unless `mel` is what a vocoder takes: (B, F, T) with T at least 2."""
    if mel.ndim != 3 or mel.shape[1] != NUM_MELS or mel.shape[2] < 2:
        raise ValueError(f"a vocoder takes log-mel (B, {NUM_MELS}, T) with T at least 2, got {tuple(mel.shape)}")


def mel_filterbank() -> Tensor:
    """Triangular filters (N_FFT // 2 + 1, NUM_MELS) with peak 1, evenly spaced from 0 to 12 kHz on the HTK mel scale.

    The HTK scale is mel(f) = 2595 log10(1 + f / 700).
    """
    nyquist = SAMPLING_RATE / 2
    highest_mel = 2595 * torch.log10(torch.tensor(1 + nyquist / 700, dtype=torch.float64))
    corners = 700 * (10 ** (torch.linspace(0, 1, NUM_MELS + 2, dtype=torch.float64) * highest_mel / 2595) - 1)
    low, peak, high = corners[:-2], corners[1:-1], corners[2:]
    hertz = torch.linspace(0, nyquist, N_FFT // 2 + 1, dtype=torch.float64)[:, None]
    rising, falling = (hertz - low) / (peak - low), (high - hertz) / (high - peak)
    return torch.minimum(rising, falling).clamp(min=0).float()


def features(log_mel: LogMel, audio: Audio, num_channels: int = 1) -> Tensor:
    """The features of a recording for a model of one or two channels, channels side by side: (T, F · channels).

    A one-channel model takes one channel, the average of two, or three side by side, (T, 3F): the left, right and mixed
    channels that a stereo model is trained on. A two-channel model takes exactly two. Anything else is a ValueError.
    """
    accepted = {1: (1, 2, 3), 2: (2,)}
    if num_channels not in accepted:
        raise ValueError(f"a model has one or two channels, not {num_channels}")
    if audio.num_channels not in accepted[num_channels]:
        known = ", ".join(map(str, accepted[num_channels]))
        raise ValueError(
            f"a model of {num_channels} channels takes audio of {known} channels, got {audio.num_channels}"
        )
    if audio.sampling_rate != SAMPLING_RATE:
        raise ValueError(f"features need {SAMPLING_RATE} Hz, got {audio.sampling_rate} Hz; resample first")
    if num_channels == 1 and audio.num_channels == 2:
        audio = audio.mono()
    return torch.cat(log_mel(audio.samples).unbind(), dim=-1)  # (channels, T, F) -> (T, F · channels)
