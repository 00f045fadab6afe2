# SPDX-License-Identifier: Apache-2.0
"""Balancer: keeps the sign and size of activations in a range through their gradients (Yao et al., 2024, appendix A).

Tensors pass unchanged; the gradient that flows back through them is modified. Statistics are computed in float32. The
channels are the last axis; N counts all other positions.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zipvoice.model.scheduled_float import Progress, ScheduledFloat

TINY = 1e-20
MEAN_ABS_TO_RMS = math.sqrt(math.pi / 2)  # of a normal distribution
LOGIT_TO_MEAN = 0.8139535143  # mean / deviation ≈ 0.81 · ½ logit of the proportion that is positive
BALANCE_GRAD_SCALE = 0.04
BALANCE_RATE = ScheduledFloat((0, 0.5), (8000, 0.125))


@dataclass(frozen=True)
class Balance:
    """The range of channel statistics that `balance` aims at."""

    min_positive: float
    """Smallest proportion of positive values."""
    max_positive: float
    """Largest proportion of positive values."""
    min_abs: float
    """Smallest mean absolute value."""
    max_abs: float
    """Largest mean absolute value."""


@dataclass
class Balancer:
    """A forward hook that balances a module's output, or a pre-hook its input, at a scheduled rate in training."""

    progress: Progress
    min_positive: float | ScheduledFloat
    max_positive: float | ScheduledFloat
    min_abs: float | ScheduledFloat
    max_abs: float | ScheduledFloat
    probability: ScheduledFloat = BALANCE_RATE
    channels: slice | None = None

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], *output: Tensor) -> Tensor | None:
        x = (*inputs, *output)[-1]
        if not (module.training and x.requires_grad and self.probability.happens(self.progress)):
            return None
        return balance(x, self.target(), BALANCE_GRAD_SCALE, self.channels)

    def target(self) -> Balance:
        """The range at this point of training."""
        limits = (self.min_positive, self.max_positive, self.min_abs, self.max_abs)
        return Balance(*(limit(self.progress) if isinstance(limit, ScheduledFloat) else limit for limit in limits))


def limit(x: Tensor, minimum: float, maximum: float) -> Tensor:
    """Leave x as it is; reverse its gradient where a value outside the limits would be driven further out."""
    return _Limit.apply(x, minimum, maximum)


def balance(x: Tensor, target: Balance, grad_scale: float, channels: slice | None = None) -> Tensor:
    """Push the statistics of channels of x (…, C) into a range: g ← g + |g| h.

    h is the gradient, scaled to a root-mean-square value of `grad_scale` in each channel, of the distance of the
    statistics from the range.
    """
    return _Balance.apply(x, target, grad_scale, channels)


class _Limit(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, minimum: float, maximum: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.limits = minimum, maximum
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        minimum, maximum = ctx.limits
        outwards = ((grad > 0) & (x < minimum)) | ((grad < 0) & (x > maximum))
        return torch.where(outwards, -grad, grad), None, None


class _Balance(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, target: Balance, grad_scale: float, channels: slice | None) -> Tensor:
        ctx.save_for_backward(x)
        ctx.target, ctx.grad_scale, ctx.channels = target, grad_scale, channels
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        part = selected(grad, ctx.channels)
        correction = _balancing_gradient(selected(x, ctx.channels), ctx.target, ctx.grad_scale)
        return with_selected(grad, ctx.channels, part.addcmul(part.abs(), correction)), None, None, None


def _balancing_gradient(x: Tensor, target: Balance, grad_scale: float) -> Tensor:
    """The scaled gradient h of the distance of each channel's statistics from the target.

    With mean μ, deviation s and root-mean-square r of a channel the distance is
    |μ/s - clamp(μ/s, φ(min_positive), φ(max_positive))| + |ln(clamp(r, ρ(min_abs), ρ(max_abs)) / r)|,
    whose gradient is linear in x: h = a + b (x - μ).
    """
    axes = tuple(range(x.dim() - 1))
    mean, mean_square = x.mean(axes), x.square().mean(axes)
    variance = mean_square - mean.square()
    deviation, rms = variance.clamp(min=TINY).sqrt(), mean_square.clamp(min=TINY).sqrt()

    ratio = mean / deviation
    ratio_sign = _side(ratio, _mean_per_deviation(target.min_positive), _mean_per_deviation(target.max_positive))
    rms_sign = _side(rms, MEAN_ABS_TO_RMS * target.min_abs, MEAN_ABS_TO_RMS * target.max_abs)
    a = ratio_sign / deviation + rms_sign * (mean_square > TINY) * mean / rms.square()
    b = -ratio_sign * (variance > TINY) * mean / deviation**3 + rms_sign * (mean_square > TINY) / rms.square()

    scale = grad_scale / (a.square() + b.square() * variance.clamp(min=0)).sqrt().clamp(min=TINY)
    return torch.addcmul((a - b * mean) * scale, x, b * scale)


def _side(value: Tensor, low: float, high: float) -> Tensor:
    """-1 below the range, 1 above it, 0 inside."""
    return (value > high).float() - (value < low).float()


def _mean_per_deviation(positive: float) -> float:
    """φ: about the mean / deviation of a distribution of which a proportion is positive."""
    z = 2 * positive - 1
    return LOGIT_TO_MEAN * 0.5 * (math.log(1 + z + 1e-10) - math.log(1 - z + 1e-10))


def selected(x: Tensor, channels: slice | None) -> Tensor:
    """Some channels of x (…, C), in float32; all where `channels` is None."""
    return (x if channels is None else x[..., channels]).float()


def with_selected(grad: Tensor, channels: slice | None, part: Tensor) -> Tensor:
    """The gradient (…, C) with the selected channels replaced by `part`."""
    if channels is None:
        return part.to(grad.dtype)
    grad = grad.clone()
    grad[..., channels] = part
    return grad
