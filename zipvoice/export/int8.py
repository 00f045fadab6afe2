# SPDX-License-Identifier: Apache-2.0
"""Weights in 8 bits, a scale for each column: matrix products of a graph, and those after a Swoosh frame by frame.

The weights have 7 of the bits: processors without VNNI add two products in 16 bits, which 8 of them overflow.
Shapes: N frames of all utterances, I and O channels in and out.
"""

import logging
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zipvoice.export.folding import folded

LARGEST_CODE, LARGEST_FRAME_CODE = 63, 255
"""Of the weights, which have a sign, and of a frame, which has none."""
QUANTIZED = ["MatMul", "Gemm"]
EXACT = re.compile(r"/network/(in|out)_proj/|/(time|guidance_scale|step)_embed/")
"""Products that stay in float32, by their names: few of the weights, at the ends of the network, that make most of the
rounding of all."""


class FrameProduct(nn.Module):
    """The product of frames (N, I), whose values are above zero, with a weight (O, I): (N, O), in 8 bits.

    Each frame is rounded to 255 steps of its own: values in a few frames are a hundred times those in most. What is
    multiplied are whole numbers, so that no frame has to be brought to one size before. Traced only, no gradients.
    """

    codes: Tensor
    scale: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        scale = weight.abs().amax(dim=1).clamp(min=1e-12) / LARGEST_CODE
        self.register_buffer("codes", (weight / scale[:, None]).round().T.to(torch.int8))
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        step = x.amax(dim=-1, keepdim=True) * (1 / LARGEST_FRAME_CODE)
        largest = step.amax()  # one number for all: ONNX Runtime multiplies by it and the columns' scale in the product
        product = _IntegerProduct.apply(_Codes.apply(x, step.squeeze(1)), self.codes)
        return product.float() * (largest * self.scale) * (step / largest)


class _Codes(torch.autograd.Function):
    """Frames (N, I) in steps (N), as unsigned numbers of 8 bits."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor) -> Tensor:
        return (x / step[:, None]).round().to(torch.uint8)

    @staticmethod
    def symbolic(g: Any, x: Any, step: Any) -> Any:
        return g.op("QuantizeLinear", x, step, axis_i=0)


class _IntegerProduct(torch.autograd.Function):
    """Codes of frames (N, I) by those of weights (I, O), in 32 bits."""

    @staticmethod
    def forward(ctx: Any, frames: Tensor, weights: Tensor) -> Tensor:
        return frames.int() @ weights.int()

    @staticmethod
    def symbolic(g: Any, frames: Any, weights: Any) -> Any:
        return g.op("MatMulInteger", frames, weights)


def quantize(path: Path) -> None:
    """Weights of the other matrix products of a file in 8 bits; what they multiply is quantised as it comes."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = folded(path.read_bytes(), path)  # or the file would keep weights in float32 that others are made of
    onnx.save(model, str(path))
    products = [node.name for node in model.graph.node if node.op_type in QUANTIZED]
    with tempfile.TemporaryDirectory() as folder:
        quantized = Path(folder) / "int8.onnx"
        with _quiet():  # it recommends a step before it, which changes nothing here
            quantize_dynamic(
                path,
                quantized,
                op_types_to_quantize=QUANTIZED,
                weight_type=QuantType.QInt8,
                per_channel=True,
                reduce_range=True,
                nodes_to_exclude=[name for name in products if EXACT.search(name)],
            )
        path.write_bytes(quantized.read_bytes())


@contextmanager
def _quiet() -> Iterator[None]:
    """Without warnings on the root logger, which is where the quantiser writes."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
