# SPDX-License-Identifier: Apache-2.0
"""Log-mel features as Vocos defines them, in NumPy. `zipvoice.vocoder.log_mel` has them for training, in PyTorch.

Shapes: N samples, T frames, K = N_FFT // 2 + 1 frequencies, F = 100 mel bands. All arrays are float32.
"""

from collections.abc import Sequence
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

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


def log_mel(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Natural logarithm of mel magnitudes of sound at 24 kHz: (..., N) -> (..., T, F), T = N / 256 rounded half up.

    Raises ValueError unless N exceeds 512.

    Example:
        >>> log_mel(np.zeros((1, 24000), np.float32)).shape
        (1, 94, 100)
    """
    num_samples = samples.shape[-1]
    check_length(num_samples)
    magnitude = np.abs(stft(samples, "reflect")[..., : num_frames(num_samples), :])
    return np.log(np.maximum(magnitude @ mel_filterbank(), np.float32(FLOOR)))


def stft(samples: NDArray[np.float32], edges: Literal["reflect", "constant"]) -> NDArray[np.complex64]:
    """Short-time Fourier transform: (..., N) -> (..., 1 + N // HOP, K).

    Frames are centred at multiples of HOP; beyond its `edges` the sound is reflected, or constant zero.
    """
    return np.fft.rfft(frames_of(samples, edges) * window()).astype(np.complex64, copy=False)


def frames_of(samples: NDArray[np.float32], edges: Literal["reflect", "constant"]) -> NDArray[np.float32]:
    """What each frame of `stft` hears: (..., N) -> (..., 1 + N // HOP, N_FFT)."""
    padding = [(0, 0)] * (samples.ndim - 1) + [(N_FFT // 2, N_FFT // 2)]
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, padding, edges), N_FFT, axis=-1)
    return frames[..., ::HOP, :]


@cache
def window() -> NDArray[np.float32]:
    """The periodic Hann window (N_FFT,), in single precision throughout, as in the training of the models."""
    angle = np.arange(N_FFT, dtype=np.float32) * np.float32(2 * np.pi / N_FFT)
    return np.float32(0.5) - np.float32(0.5) * np.cos(angle)


@cache
def mel_filterbank() -> NDArray[np.float32]:
    """Triangular filters (K, F) with peak 1, evenly spaced from 0 to 12 kHz on the HTK mel scale.

    The HTK scale is mel(f) = 2595 log10(1 + f / 700).
    """
    nyquist = SAMPLING_RATE / 2
    highest_mel = 2595 * np.log10(1 + nyquist / 700)
    corners = 700 * (10 ** (np.linspace(0, 1, NUM_MELS + 2) * highest_mel / 2595) - 1)
    low, peak, high = corners[:-2], corners[1:-1], corners[2:]
    hertz = np.linspace(0, nyquist, N_FFT // 2 + 1)[:, None]
    rising, falling = (hertz - low) / (peak - low), (high - hertz) / (high - peak)
    return np.minimum(rising, falling).clip(min=0).astype(np.float32)


def inverse_transform() -> dict[str, NDArray[np.float32]]:
    """The inverse short-time transform as what a transposed convolution takes.

    `basis` (2 K, 1, N_FFT) has windowed cosines for real, then sines for imaginary parts, `window_square` (1, 1, N_FFT)
    what overlapping frames are divided by.
    """
    window = 0.5 - 0.5 * np.cos(2 * np.pi / N_FFT * np.arange(N_FFT))
    angles = 2 * np.pi / N_FFT * np.outer(np.arange(N_FFT // 2 + 1), np.arange(N_FFT))
    counts = np.full((len(angles), 1), 2.0)  # each bin stands for its mirror image as well
    counts[0], counts[-1] = 1.0, 1.0
    basis = np.concatenate([counts * np.cos(angles), -counts * np.sin(angles)]) * window / N_FFT
    return {
        "basis": basis[:, None].astype(np.float32),
        "window_square": np.square(window, dtype=np.float32)[None, None],
    }


def num_frames(num_samples: int) -> int:
    """Frames of a clip: num_samples / HOP, rounded half up."""
    return (num_samples + HOP // 2) // HOP


def check_length(num_samples: int) -> None:
    """Raise ValueError for a clip too short to be reflected at its edges."""
    if num_samples <= N_FFT // 2:
        raise ValueError(f"features need more than {N_FFT // 2} samples, got {num_samples}; use a longer recording")


def check_mel(shape: Sequence[int]) -> None:
    """Raise ValueError unless `shape` is of what a vocoder takes: (B, F, T) with T at least 2."""
    if len(shape) != 3 or shape[1] != NUM_MELS or shape[2] < 2:
        raise ValueError(f"a vocoder takes log-mel (B, {NUM_MELS}, T) with T at least 2, got {tuple(shape)}")


def features(audio: Audio, num_channels: int = 1) -> NDArray[np.float32]:
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
    return np.concatenate(log_mel(audio.samples), axis=-1)  # (channels, T, F) -> (T, F · channels)
