# SPDX-License-Identifier: Apache-2.0
"""The Swoosh activations of Zipformer (Yao et al., 2024, section 3.5), alone and in front of a linear layer.

In training the usual graph would keep the activation, its logarithm and a dropout mask of full size; here only the
input is kept, and the rest computed again in the backward pass. Shapes: B batch, T frames, C hidden channels, D width.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zipvoice.model.blocks import row_blocks
from zipvoice.model.linear import linear

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


def swoosh_linear(swoosh: Swoosh, x: Tensor, layer: nn.Linear, channel_mask: Tensor | None = None) -> Tensor:
    """layer(swoosh(x) · channel_mask), without keeping the activation.

    Args:
        swoosh: the activation.
        x: (B, T, C).
        layer: from C to D.
        channel_mask: (B, 1, C), for dropout of channels.

    Returns:
        (B, T, D).
    """
    if torch.is_grad_enabled():
        return _SwooshLinear.apply(swoosh, x, layer.weight, layer.bias, channel_mask)
    return _swoosh_linear(swoosh, x, layer.weight, layer.bias, channel_mask)


def _swoosh_linear(
    swoosh: Swoosh, x: Tensor, weight: Tensor, bias: Tensor | None, channel_mask: Tensor | None
) -> Tensor:
    blocks = row_blocks(x.shape[1], ROWS_PER_THREAD, x)
    parts = [linear(_masked(swoosh(x[:, rows]), channel_mask).to(x.dtype), weight, bias) for rows in blocks]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _masked(x: Tensor, channel_mask: Tensor | None) -> Tensor:
    return x if channel_mask is None else x.mul_(channel_mask)


class _SwooshLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, swoosh: Swoosh, x: Tensor, weight: Tensor, bias: Tensor | None, channel_mask: Tensor | None
    ) -> Tensor:
        ctx.swoosh = swoosh
        ctx.save_for_backward(x, weight, channel_mask)
        return _swoosh_linear(swoosh, x, weight, bias, channel_mask)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, channel_mask = ctx.saved_tensors
        grad_x = grad @ weight.to(grad.dtype)
        active = torch.empty_like(grad_x)
        for rows in row_blocks(x.shape[1], ROWS_PER_THREAD, x):
            active[:, rows] = _masked(ctx.swoosh(x[:, rows]), channel_mask)
            grad_x[:, rows] *= _masked(ctx.swoosh.derivative(x[:, rows]), channel_mask)
        rows_grad = grad.flatten(0, 1)
        _, _, needs_weight, needs_bias, _ = ctx.needs_input_grad
        grad_weight = (rows_grad.t() @ active.flatten(0, 1)).to(weight.dtype) if needs_weight else None
        grad_bias = rows_grad.sum(dim=0, dtype=weight.dtype) if needs_bias else None
        return None, grad_x.to(x.dtype), grad_weight, grad_bias, None
