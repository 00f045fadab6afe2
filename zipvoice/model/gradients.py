# SPDX-License-Identifier: Apache-2.0
"""Functions that leave a tensor as it is and change the gradient that flows back through it.

They keep activations and parameters in a useful range during training (Yao et al., "Zipformer", 2024, section 3.4 and
appendix A). Statistics are computed in float32. The channels are the last axis; N counts all other positions.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

TINY = 1e-20
MEAN_ABS_TO_RMS = math.sqrt(math.pi / 2)  # of a normal distribution
LOGIT_TO_MEAN = 0.8139535143  # mean / deviation ≈ 0.81 · ½ logit of the proportion that is positive


def limit(x: Tensor, minimum: float, maximum: float) -> Tensor:
    """Turn round the gradient of values outside the limits that would drive them further out."""
    return _Limit.apply(x, minimum, maximum)


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


def balance(x: Tensor, target: Balance, grad_scale: float, channels: slice | None = None) -> Tensor:
    """Push the statistics of channels of x (…, C) into a range: g ← g + |g| h.

    h is the gradient, scaled to a root-mean-square value of `grad_scale` in each channel, of the distance of the
    statistics from the range.
    """
    return _Balance.apply(x, target, grad_scale, channels)


def whiten(
    x: Tensor, num_groups: int, limit: float, grad_scale: float, channels: slice | None, report: Callable[[bool], None]
) -> Tensor:
    """Push groups of channels of x (…, C) towards covariances with equal eigenvalues.

    Where `whitening_metric` exceeds the limit, add its gradient, scaled to a norm of `grad_scale` times that of the
    incoming gradient. `report` is told whether it did.
    """
    return _Whiten.apply(x, num_groups, limit, grad_scale, channels, report)


def whitening_metric(x: Tensor, num_groups: int) -> tuple[Tensor, Callable[[], Tensor]]:
    """How far groups of channels are from white, and a multiple of the gradient of that.

    With covariance S_g of each group and D the mean of all their diagonal entries: the mean over channels k of
    Σ_l S_g[k, l]², divided by D². It is 1 if all S_g are the same multiple of the identity, else larger.

    Args:
        x: (N, C).
        num_groups: number of groups of neighbouring channels.

    Returns:
        The metric, and a function that computes its gradient (N, C) up to a positive factor.
    """
    groups = x.unflatten(1, (num_groups, -1)).transpose(0, 1)  # (G, N, C / G)
    groups = groups - groups.mean(dim=1, keepdim=True)
    covariance = groups.transpose(1, 2) @ groups  # (G, C / G, C / G)
    diagonal = covariance.diagonal(dim1=1, dim2=2)
    mean_diagonal = diagonal.mean()
    metric = covariance.square().sum() / diagonal.numel() / (mean_diagonal.square() + TINY)

    def gradient() -> Tensor:
        to_white = covariance - torch.diag_embed((metric * mean_diagonal).expand_as(diagonal))
        return (groups @ to_white).transpose(0, 1).flatten(1)

    return metric, gradient


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
        part = _part(grad, ctx.channels)
        correction = _balancing_gradient(_part(x, ctx.channels), ctx.target, ctx.grad_scale)
        return _replaced(grad, ctx.channels, part.addcmul(part.abs(), correction)), None, None, None


class _Whiten(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        num_groups: int,
        limit: float,
        grad_scale: float,
        channels: slice | None,
        report: Callable[[bool], None],
    ) -> Tensor:
        ctx.save_for_backward(x)
        ctx.num_groups, ctx.limit, ctx.grad_scale = num_groups, limit, grad_scale
        ctx.channels, ctx.report = channels, report
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        with torch.autocast(x.device.type, enabled=False):
            metric, gradient = whitening_metric(_part(x, ctx.channels).flatten(0, -2), ctx.num_groups)
            exceeded = bool(metric >= ctx.limit)
            correction = gradient() if exceeded else None
        ctx.report(exceeded)
        if correction is not None:
            part = _part(grad, ctx.channels)
            scale = ctx.grad_scale * part.norm() / (correction.norm() + TINY)
            grad = _replaced(grad, ctx.channels, part.addcmul(correction.view_as(part), scale))
        return grad, None, None, None, None, None


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


def _part(x: Tensor, channels: slice | None) -> Tensor:
    return (x if channels is None else x[..., channels]).float()


def _replaced(grad: Tensor, channels: slice | None, part: Tensor) -> Tensor:
    """`grad` with some of its channels replaced."""
    if channels is None:
        return part.to(grad.dtype)
    grad = grad.clone()
    grad[..., channels] = part
    return grad
