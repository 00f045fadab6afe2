# SPDX-License-Identifier: Apache-2.0
"""Swoosh with dropout of channels.

In training value and derivative come from one exponential, and the derivative is kept instead of the input. For
speaking the constants go into the layers around. Shapes: B batch, T frames, C channels.
"""

from functools import lru_cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from zipvoice.model.activations import SLOPE, Swoosh, swoosh_l
from zipvoice.model.kernels.blocks import by_hand
from zipvoice.model.kernels.fusion import fusible, is_fused

TINY = torch.finfo(torch.float32).tiny
LOG_1P = (
    0.999999971, -0.499995015, 0.333192713, -0.248443699, 0.191114311,
    -0.136747697, 0.078361668, -0.0295885074, 0.0052534578,
)  # fmt: skip
"""log(1 + s) / s as a polynomial in s from 0 to 1, the lowest power first; log(1 + s) to 2.1e-8."""


def activate(swoosh: Swoosh, x: Tensor, channel_mask: Tensor | None = None) -> Tensor:
    """swoosh(x) · channel_mask.

    Args:
        swoosh: the activation.
        x: (B, T, C).
        channel_mask: (B, 1, C), for dropout of channels.

    Returns:
        (B, T, C), in the dtype of x.
    """
    trained = swoosh.offset != 0  # else it is folded, for speaking
    if not torch.is_grad_enabled() and not (trained and by_hand(x)):
        return swoosh(x) if channel_mask is None else swoosh(x) * channel_mask
    scale = torch.ones(1, 1, x.shape[2], device=x.device) if channel_mask is None else channel_mask
    # Without a gradient the same on a CPU, for the sake of the same rounding.
    return _Activation.apply(swoosh, x, scale) if torch.is_grad_enabled() else _with_slope(swoosh, x, scale)[0]


@torch.no_grad()
def folded(swoosh: Swoosh, before: nn.Module, after: nn.Module) -> Swoosh:
    """What is left of an activation whose constants have gone into the biases of the layers before and after it.

    With z = x - shift, Swoosh is log(1 + exp(z)) - 0.08 z - (offset + 0.08 shift). It saves two passes over memory, and
    is not for networks that are trained or saved.
    """
    assert isinstance(before.bias, Tensor) and isinstance(after.bias, Tensor) and isinstance(after.weight, Tensor)
    before.bias -= swoosh.shift
    after.bias -= after.weight.sum(dim=1) * (swoosh.offset + SLOPE * swoosh.shift)
    return Swoosh(shift=0.0, offset=0.0)


class _Activation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, swoosh: Swoosh, x: Tensor, scale: Tensor) -> Tensor:
        y, slope = _with_slope(swoosh, x, scale)
        ctx.save_for_backward(slope)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (slope,) = ctx.saved_tensors
        return None, grad * slope, None


def _with_slope(swoosh: Swoosh, x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    form = _in_one_pass if is_fused() else _by_k2 if _k2_is_faster(x) else with_slope
    y, slope = form(swoosh, x, scale)
    return y.to(x.dtype), slope.to(x.dtype)


def _k2_is_faster(x: Tensor) -> bool:
    """True on a GPU, where k2 has one kernel for what PyTorch needs eight for, if k2 imports."""
    return x.is_cuda and torch.is_grad_enabled() and _k2() is not None


@lru_cache(maxsize=1)
def _k2() -> Any:
    """The k2 package, or None; it does not import beside a PyTorch that it was not built for."""
    try:
        return import_module("k2")
    except (ImportError, OSError, RuntimeError):
        return None


def _by_k2(swoosh: Swoosh, x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """`with_slope` by the fused kernels of k2."""
    forward_and_slope = _k2().swoosh_l_forward_and_deriv if swoosh == swoosh_l else _k2().swoosh_r_forward_and_deriv
    y, slope = forward_and_slope(x.float())
    return y * scale, slope * scale


@fusible
def _in_one_pass(swoosh: Swoosh, x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """`with_slope` by more operations, but fewer of the slow ones, which are what counts in compiled code."""
    x = x.float()
    z = x - swoosh.shift
    small = (-z.abs()).exp()
    larger = 1 / (1 + small)  # of σ(z) and σ(-z)
    log = torch.full_like(small, LOG_1P[-1])
    for coefficient in LOG_1P[-2::-1]:
        log = log * small + coefficient
    value = z.clamp(min=0) + log * small - SLOPE * x - swoosh.offset
    slope = torch.where(z >= 0, larger, small * larger) - SLOPE
    return value * scale, slope * scale


def with_slope(swoosh: Swoosh, x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """The value and the derivative σ(x - shift) - 0.08, both times a scale.

    From the one logistic function σ(-z), z = x - shift: log(1 + exp(z)) = -log σ(-z) and σ(z) = 1 - σ(-z).
    """
    minus_z = swoosh.shift - x.float()
    logistic = minus_z.sigmoid()
    slope = torch.addcmul((1 - SLOPE) * scale, logistic, -scale)
    log = torch.minimum(logistic.clamp_(min=TINY).log_(), minus_z)  # which it is where exp(z) overflows
    value = log.sub_(minus_z, alpha=SLOPE).add_(SLOPE * swoosh.shift + swoosh.offset)
    return value * -scale, slope
