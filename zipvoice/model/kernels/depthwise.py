# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolution over time with channels last, which PyTorch has no fast route for on a CPU.

Shapes: B batch, T frames, D width, K kernel.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from zipvoice.model.kernels.blocks import by_hand

FRAMES_PER_BLOCK = 64


def depthwise_convolution(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Each channel of x (B, T, D) with its own odd kernel (D, 1, K), zeros beyond the ends."""
    if not by_hand(x):
        padding = weight.shape[-1] // 2
        return F.conv1d(x.transpose(1, 2), weight, bias, padding=padding, groups=len(weight)).transpose(1, 2)
    return _Depthwise.apply(x, weight, bias) if torch.is_grad_enabled() else _convolved(x, weight, bias)


def _convolved(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """As an image of height one with channels last: over ten times as fast as conv1d."""
    image = x.transpose(1, 2)[:, :, None]  # (B, D, 1, T)
    padding = (0, weight.shape[-1] // 2)
    return F.conv2d(image, weight[:, :, None], bias, padding=padding, groups=len(weight))[:, :, 0].transpose(1, 2)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _convolved(x, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        grad_x = _convolved(grad, weight.flip(-1).to(grad.dtype), None)  # autocast may have made it half precision
        grad_weight = _weight_gradient(x.float(), grad.float(), weight.shape[-1])
        return grad_x, grad_weight.to(weight.dtype), grad.sum(dim=(0, 1), dtype=weight.dtype)


def _weight_gradient(x: Tensor, grad: Tensor, kernel: int) -> Tensor:
    """(D, 1, K): the products of the gradient with x shifted by each offset, summed over time block by block."""
    dim = grad.shape[2]
    x = F.pad(x, (0, 0, kernel // 2, kernel // 2))
    total = x.new_zeros(kernel, FRAMES_PER_BLOCK, dim)
    for padded, own in zip(x, grad, strict=True):
        for start, block in enumerate(own.split(FRAMES_PER_BLOCK)):
            part = total[:, : len(block)]
            shifted = padded[FRAMES_PER_BLOCK * start :].as_strided(part.shape, (dim, dim, 1))  # [k, t]: frame t + k
            part.addcmul_(shifted, block)
    return total.sum(dim=1).t()[:, None]
