# SPDX-License-Identifier: Apache-2.0
"""The losses of a vocoder and its discriminators.

Shapes: B batch, N samples, K frequencies, T frames.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zipvoice.vocoder.discriminators import DiscriminatorOutput, magnitudes


def discriminator_loss(real: Sequence[DiscriminatorOutput], fake: Sequence[DiscriminatorOutput]) -> Tensor:
    """The hinge loss of discriminators, mean over them: E max(0, 1 - D(x)) + E max(0, 1 + D(x̂))."""
    losses = [F.relu(1 - r.scores).mean() + F.relu(1 + f.scores).mean() for r, f in zip(real, fake, strict=True)]
    return torch.stack(losses).mean()


def adversarial_loss(fake: Sequence[DiscriminatorOutput], weights: Sequence[float]) -> Tensor:
    """The hinge loss of the vocoder, a weighted sum over discriminators: E max(0, 1 - D(x̂))."""
    losses = [weight * F.relu(1 - f.scores).mean() for f, weight in zip(fake, weights, strict=True)]
    return torch.stack(losses).sum()


def feature_loss(
    real: Sequence[DiscriminatorOutput], fake: Sequence[DiscriminatorOutput], weights: Sequence[float]
) -> Tensor:
    """Mean absolute difference of activations, summed over layers, a weighted sum over discriminators."""
    losses = [
        weight * F.l1_loss(a.float(), b.float())
        for r, f, weight in zip(real, fake, weights, strict=True)
        for a, b in zip(f.features, r.features, strict=True)
    ]
    return torch.stack(losses).sum()


class SpectralLoss(nn.Module):
    """The multi-resolution spectral loss of Parallel WaveGAN (Yamamoto et al. 2020, arXiv:1910.11480).

    Of two batches of waves (B, N), the mean over windows of spectral convergence, ‖S - Ŝ‖ / ‖S‖ of the magnitudes S,
    and mean absolute log-magnitude difference. Short windows tie the phases of harmonics to each other, which mel
    features leave open.
    """

    def __init__(self, windows: Sequence[int]) -> None:
        super().__init__()
        for size in windows:
            self.register_buffer(f"window_{size}", torch.hann_window(size))

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        losses = []
        for window in self.buffers():
            f, r = magnitudes(fake, window), magnitudes(real, window)  # (B, K, T)
            losses.append((r - f).norm() / r.norm() + F.l1_loss(f.log(), r.log()))
        return torch.stack(losses).mean()
