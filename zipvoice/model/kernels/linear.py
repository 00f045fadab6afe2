# SPDX-License-Identifier: Apache-2.0
"""Linear layers with the faster matrix product of two on a CPU, and their initial values.

Shapes: C input channels, D output channels.
"""

from collections.abc import Callable, Collection
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zipvoice.model.kernels.blocks import by_hand

HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
MKL_IS_FASTER = torch.backends.mkl.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX2"
"""Measured: by a tenth on processors with AVX2; on those with AVX-512 oneDNN is, by as much."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """X Wᵀ + b in the weight's precision, in float32 by the faster library; oneDNN also spares a copy of the bias."""
    autocast = torch.is_autocast_enabled(x.device.type)
    if not autocast:
        x = x.to(weight.dtype)  # from what computes in float32 within a network of half precision
    if MKL_IS_FASTER or not (HAS_ONEDNN and by_hand(x)) or autocast or x.dtype != torch.float32:
        return F.linear(x, weight, bias)
    return _Linear.apply(x, weight, bias) if torch.is_grad_enabled() else _by_onednn(x, weight, bias)


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _by_onednn(x, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        grad_x = _by_onednn(grad, weight.t(), None) if needs_x else None
        grad, x = grad.reshape(-1, grad.shape[-1]), x.reshape(-1, x.shape[-1])  # (N, D), (N, C)
        grad_weight = _weight_gradient(grad, x) if needs_weight else None
        return grad_x, grad_weight, grad.sum(dim=0) if needs_bias else None


def _weight_gradient(grad: Tensor, x: Tensor) -> Tensor:
    """(D, C), from (N, D) and (N, C); oneDNN is faster only where C is larger."""
    return _by_onednn(grad.t(), x.t(), None) if grad.shape[1] < x.shape[1] else grad.t() @ x


class Linear(nn.Linear):
    """A linear layer.

    With a `scale` it starts small: PyTorch's initial weight times the scale, the bias from U(-0.1, 0.1) times it.
    """

    def __init__(self, in_dim: int, out_dim: int, bias: bool = True, scale: float | None = None) -> None:
        super().__init__(in_dim, out_dim, bias)
        if scale is not None:
            with torch.no_grad():
                self.weight.mul_(scale)
                if self.bias is not None:
                    self.bias.uniform_(-0.1 * scale, 0.1 * scale)

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


def replace_linear(network: nn.Module, form: Callable[[nn.Linear], nn.Linear], but: Collection[str] = ()) -> None:
    """Give the linear layers of all Zipformer layers another form; those outside of them are few products.

    Args:
        network: a Zipformer, or what contains some.
        form: makes the new layer from the old one.
        but: names of layers that stay.

    Example:
        >>> replace_linear(network.fm_decoder, Int8Linear, but=["linear_pos"])
    """
    for name, module in list(network.named_modules()):
        for child, layer in list(module.named_children()):
            if type(layer) is Linear and ".layers." in f".{name}." and child not in but:
                setattr(module, child, form(layer))
