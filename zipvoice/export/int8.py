# SPDX-License-Identifier: Apache-2.0
"""Matrix products in 8 bits, in the form that graphs are traced from.

Weights are whole numbers, of 7 of the bits, and a scale for each column: see `zipvoice.runtime.weightless.rounded`.
Traced only, no gradients. Shapes: N frames, I and O channels in and out.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zipvoice.runtime.weightless import rounded

LARGEST_FRAME_CODE = 255
"""Frames have no sign."""
MISCOUNTED = 17, 31
"""Numbers of columns, from the first to the last."""


@dataclass(frozen=True)
class ByteWeight:
    """A weight in whole numbers (I, O), which times the scale of their column (O) are about what it was."""

    codes: Tensor
    scale: Tensor

    def chunk(self, count: int) -> list["ByteWeight"]:
        """Equal parts of the columns."""
        return list(map(ByteWeight, self.codes.chunk(count, dim=1), self.scale.chunk(count)))

    def sums(self) -> Tensor:
        """Of each column (O)."""
        ones = torch.ones_like(self.codes[:, :1].T, dtype=torch.uint8)
        return _IntegerProduct.apply(ones, self.codes)[0].float() * self.scale


def byte_product(x: Tensor, weight: ByteWeight, bias: Tensor | None = None) -> Tensor:
    """Of x (..., I), rounded to 255 steps that are the same for all frames, with a weight: (..., O)."""
    frames, step, zero = _Rounded.apply(x)
    whole = _integer_product(frames, weight.codes, zero)
    y = whole.float() * (step * weight.scale)
    return y if bias is None else y + bias


def byte_product_by_frame(x: Tensor, weight: ByteWeight, bias: Tensor) -> Tensor:
    """As `byte_product`, of frames (N, I) whose values are above zero, each rounded to 255 steps of its own.

    Values in a few frames after a Swoosh are a hundred times those in most. What is multiplied are whole numbers, so
    that no frame has to be brought to one size before.
    """
    step = x.amax(dim=-1, keepdim=True) * (1 / LARGEST_FRAME_CODE)
    largest = step.amax()  # one number for all: ONNX Runtime multiplies by it and the columns' scale in the product
    whole = _integer_product(_Codes.apply(x, step.squeeze(1)), weight.codes)
    return whole.float() * (largest * weight.scale) * (step / largest) + bias


def _integer_product(frames: Tensor, codes: Tensor, *zero: Tensor) -> Tensor:
    """Codes of frames (..., I), less that of zero, by those of weights (I, O), in 32 bits.

    ONNX Runtime 1.23.2, the last for Python 3.10, gets some sums in 17 to 31 columns wrong on processors with AMX. So
    these columns become 32.
    """
    columns = codes.shape[1]
    if not MISCOUNTED[0] <= columns <= MISCOUNTED[1]:
        whole: Tensor = _IntegerProduct.apply(frames, codes, *zero)
        return whole
    padded: Tensor = _IntegerProduct.apply(frames, F.pad(codes, (0, MISCOUNTED[1] + 1 - columns)), *zero)
    return padded[..., :columns]


class ByteLinear(nn.Module):
    """A linear layer by `byte_product`, with the weight of another one."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.out_features, self.bias = layer.out_features, layer.bias
        codes, scale = map(torch.from_numpy, rounded(layer.weight.numpy()))
        self.codes, self.scale = (nn.Parameter(value, requires_grad=False) for value in (codes, scale))

    @property
    def weight(self) -> ByteWeight:
        return ByteWeight(self.codes, self.scale)

    def forward(self, x: Tensor) -> Tensor:
        return byte_product(x, self.weight, self.bias)


def in_bytes(stacks: nn.Module) -> None:
    """Replace the linear layers of a network's stacks by `ByteLinear`, in place.

    Those before and after all stacks stay as they are: few of the weights, and most of the rounding.
    """
    for module in list(stacks.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, nn.Linear):
                setattr(module, name, ByteLinear(layer))


class _Rounded(torch.autograd.Function):
    """Values (...) as unsigned numbers of 8 bits, the step between these and the number that stands for zero."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        least, most = x.amin().clamp(max=0.0), x.amax().clamp(min=0.0)
        step = (most - least) / LARGEST_FRAME_CODE
        zero = (-least / step).round()
        codes = ((x / step).round() + zero).clamp(0, LARGEST_FRAME_CODE)
        return codes.to(torch.uint8), step, zero.to(torch.uint8)

    @staticmethod
    def symbolic(g: Any, x: Any) -> Any:
        return g.op("DynamicQuantizeLinear", x, outputs=3)


class _Codes(torch.autograd.Function):
    """Frames (N, I) in steps (N), as unsigned numbers of 8 bits."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor) -> Tensor:
        return (x / step[:, None]).round().to(torch.uint8)

    @staticmethod
    def symbolic(g: Any, x: Any, step: Any) -> Any:
        return g.op("QuantizeLinear", x, step, axis_i=0)


class _IntegerProduct(torch.autograd.Function):
    """Codes of frames (..., I), less that of zero, by those of weights (I, O), in 32 bits."""

    @staticmethod
    def forward(ctx: Any, frames: Tensor, weights: Tensor, *zero: Tensor) -> Tensor:
        whole = frames.int()
        for code in zero:
            whole = whole - code.int()
        return whole @ weights.int()

    @staticmethod
    def symbolic(g: Any, frames: Any, weights: Any, *zero: Any) -> Any:
        return g.op("MatMulInteger", frames, weights, *zero)
