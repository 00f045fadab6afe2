# SPDX-License-Identifier: Apache-2.0
"""The Swoosh activations of Zipformer (Yao et al., 2024, section 3.5), with dropout of channels.

In training the usual graph would keep the logarithm and a masked copy of it; here only the input is kept, and the
derivative computed in the backward pass. Shapes: B batch, T frames, C channels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zipvoice.model.blocks import row_blocks
from zipvoice.model.fusion import fusible, is_fused

SLOPE = 0.08
ROWS_PER_THREAD = 312


@dataclass(frozen=True)
class Swoosh:
    """log(1 + exp(x - shift)) - 0.08 x - offset, in float32."""

    shift: float
    offset: float

    def __call__(self, x: Tensor) -> Tensor:
        x = x.float()
        return F.softplus(x - self.shift).sub_(x, alpha=SLOPE).sub_(self.offset)

    def derivative(self, x: Tensor) -> Tensor:
        """sigmoid(x - shift) - 0.08, in float32."""
        return (x.float() - self.shift).sigmoid_().sub_(SLOPE)


swoosh_l = Swoosh(shift=4.0, offset=0.035)
swoosh_r = Swoosh(shift=1.0, offset=0.313261687)


class SwooshR(nn.Module):
    """`swoosh_r` as a layer."""

    def forward(self, x: Tensor) -> Tensor:
        return swoosh_r(x)


def activate(swoosh: Swoosh, x: Tensor, channel_mask: Tensor | None = None) -> Tensor:
    """swoosh(x) · channel_mask.

    Args:
        swoosh: the activation.
        x: (B, T, C).
        channel_mask: (B, 1, C), for dropout of channels.

    Returns:
        (B, T, C), in the dtype of x.
    """
    if torch.is_grad_enabled():
        return _Activation.apply(swoosh, x, channel_mask)
    return _by_blocks(_value, swoosh, x, channel_mask)


class _Activation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, swoosh: Swoosh, x: Tensor, channel_mask: Tensor | None) -> Tensor:
        ctx.swoosh = swoosh
        ctx.save_for_backward(x, channel_mask)
        return _by_blocks(_value, swoosh, x, channel_mask)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, channel_mask = ctx.saved_tensors
        return None, _by_blocks(_gradient, ctx.swoosh, x, channel_mask, grad), None


@fusible
def _value(swoosh: Swoosh, x: Tensor, channel_mask: Tensor | None) -> Tensor:
    y = swoosh(x)
    return (y if channel_mask is None else y.mul_(channel_mask)).to(x.dtype)


@fusible
def _gradient(swoosh: Swoosh, x: Tensor, channel_mask: Tensor | None, grad: Tensor) -> Tensor:
    slope = swoosh.derivative(x)
    return (slope if channel_mask is None else slope.mul_(channel_mask)).mul_(grad).to(x.dtype)


def _by_blocks(
    function: Callable[..., Tensor], swoosh: Swoosh, x: Tensor, channel_mask: Tensor | None, *others: Tensor
) -> Tensor:
    """A function of x and others of its shape (B, T, C), in blocks of rows unless it is one pass anyhow."""
    blocks = [slice(None)] if is_fused() else row_blocks(x.shape[1], ROWS_PER_THREAD, x)
    if len(blocks) == 1:
        return function(swoosh, x, channel_mask, *others)
    y = torch.empty_like(x)
    for rows in blocks:
        y[:, rows] = function(swoosh, x[:, rows], channel_mask, *(other[:, rows] for other in others))
    return y
