# SPDX-License-Identifier: Apache-2.0
"""The discriminators of Vocos, which tell real waves from generated ones.

The multi-period discriminators are those of HiFi-GAN (Kong et al. 2020, arXiv:2010.05646), which see every p-th sample
side by side; the multi-resolution ones look at magnitude spectrograms (UnivNet, Jang et al. 2021, arXiv:2106.07889).
Shapes: B batch, N samples, P period, K frequencies, T frames.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from zipvoice.config.vocoder import DiscriminatorConfig

SLOPE = 0.1
"""Of the leaky ReLUs, for negative values."""
SMALLEST_POWER = 1e-10
"""Of one bin of a spectrogram; the logarithm and the square root have no finite gradient at 0."""


@dataclass(frozen=True)
class DiscriminatorOutput:
    """Output of one discriminator for a batch of waves."""

    scores: Tensor
    """Any shape; above 0 where a wave sounds real, below where it does not."""
    features: list[Tensor]
    """The activations of its layers."""


class Discriminators(nn.Module):
    """All discriminators of a run: waves (B, N) -> one output each.

    Attributes:
        weights: of each in the loss of the vocoder; those of one kind sum to the weight of the kind.
    """

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        periods = [PeriodDiscriminator(period, config.period_channels) for period in config.periods]
        windows = [SpectralDiscriminator(window, config.window_channels) for window in config.windows]
        self.discriminators = nn.ModuleList([*periods, *windows])
        self.weights = [
            *(config.period_weight / len(periods) for _ in periods),
            *(config.window_weight / len(windows) for _ in windows),
        ]

    def forward(self, wave: Tensor) -> list[DiscriminatorOutput]:
        return [discriminator(wave) for discriminator in self.discriminators]


class PeriodDiscriminator(nn.Module):
    """Convolutions over every P-th sample of a wave, for each of the P offsets."""

    def __init__(self, period: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.period = period
        strides = [3] * (len(channels) - 1) + [1]
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(before, after, (5, 1), (stride, 1), padding=(2, 0)))
            for (before, after), stride in zip(pairwise((1, *channels)), strides, strict=True)
        )
        self.score = weight_norm(nn.Conv2d(channels[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, wave: Tensor) -> DiscriminatorOutput:
        wave = F.pad(wave, (0, -wave.shape[1] % self.period))
        return _forward(wave.reshape(len(wave), 1, -1, self.period), self.layers, self.score)  # (B, 1, N / P, P)


class SpectralDiscriminator(nn.Module):
    """Convolutions over a magnitude spectrogram with a Hann window of `size` samples, overlapping by three quarters."""

    window: Tensor

    def __init__(self, size: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(size))
        shapes = [((7, 5), (2, 2)), ((5, 3), (2, 1)), ((5, 3), (2, 2)), ((3, 3), (2, 1)), ((3, 3), (2, 2))]
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(channels if number else 1, channels, kernel, stride, _same(kernel)))
            for number, (kernel, stride) in enumerate(shapes)
        )
        self.score = weight_norm(nn.Conv2d(channels, 1, (3, 3), padding=1))

    def forward(self, wave: Tensor) -> DiscriminatorOutput:
        return _forward(magnitudes(wave, self.window)[:, None], self.layers, self.score)  # (B, 1, K, T)


def magnitudes(wave: Tensor, window: Tensor) -> Tensor:
    """Magnitude spectrogram of waves (B, N) -> (B, K, T), with a quarter of the window from frame to frame."""
    size = len(window)
    spectrum = torch.stft(wave, size, size // 4, window=window, return_complex=True)
    return (spectrum.real.square() + spectrum.imag.square()).clamp(min=SMALLEST_POWER).sqrt()


def _forward(x: Tensor, layers: nn.ModuleList, score: nn.Module) -> DiscriminatorOutput:
    features = []
    for layer in layers:
        x = F.leaky_relu(layer(x), SLOPE)
        features.append(x)
    return DiscriminatorOutput(score(x).float(), features)


def _same(kernel: tuple[int, int]) -> tuple[int, int]:
    return kernel[0] // 2, kernel[1] // 2
