# SPDX-License-Identifier: Apache-2.0
"""Linear layers in 8-bit arithmetic for speaking on a CPU.

Weights are rounded once, with a scale for each output, inputs at each call, with a scale for each frame. Not
for training.
"""

from functools import lru_cache

import torch
from torch import Tensor, nn

INT8_MAX = 127
LEAST_SIZE = 1e-20
"""Of a frame or a row of weights, so that zeros can be divided by it."""
HAS_VNNI: bool = getattr(torch.cpu, "_is_vnni_supported", bool)()
"""Whether the processor multiplies numbers of 8 bits as such."""
FRAMES = 1024
"""The order of weights is chosen for so many; the results are those of any order."""


class Int8Linear(nn.Linear):
    """A linear layer with the rounded weights of another one: W x + b for each frame x of (..., C), float32.

    `weight` and `bias` are what it computes with, for code that looks at them; it has no parameters.

    Args:
        layer: the other layer.
        positive: no input is below zero, so that all steps are for those above.
    """

    def __init__(self, layer: nn.Linear, positive: bool = False) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.positive = positive
        weight = layer.weight.detach().float().cpu()
        self._scales = weight.abs().amax(dim=1).clamp(min=LEAST_SIZE) / INT8_MAX
        self._zeros = torch.zeros(self.out_features, dtype=torch.int32)
        self._packed = _packed((weight / self._scales[:, None]).round().to(torch.int8))
        bias = torch.zeros(layer.out_features) if layer.bias is None else layer.bias.detach().float().cpu()
        self.register_buffer("_bias", bias.clone(), persistent=False)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """(D, C), float32, rounded."""
        one_by_one = torch.eye(self.in_features, dtype=torch.uint8)
        return _product(one_by_one, 0, self._packed, self._scales, self._zeros).t()

    @property
    def bias(self) -> Tensor:  # type: ignore[override]
        """(D,), zero where the layer had none."""
        bias = self._buffers["_bias"]
        assert bias is not None
        return bias

    def forward(self, x: Tensor) -> Tensor:
        steps = most_steps()
        zero, steps = (0, steps) if self.positive else (steps // 2 + 1, steps // 2)
        size = (x if self.positive else x.abs()).amax(dim=-1, keepdim=True).clamp_(min=LEAST_SIZE)
        half_more = torch.tensor(zero + 0.5)  # since what follows rounds down
        rounded = torch.addcmul(half_more, x, steps / size).to(torch.uint8)
        return torch.addcmul(self.bias, _product(rounded, zero, self._packed, self._scales, self._zeros), size / steps)


@lru_cache(maxsize=1)
def most_steps() -> int:
    """The largest of the inputs, which are unsigned, as processors want them: 255 or 127.

    Without VNNI, or where oneDNN is told not to use it, sums of two products are held in 16 bits. Tried rather than
    asked for.
    """
    weight = _packed(torch.full((16, 64), INT8_MAX, dtype=torch.int8))
    x = torch.full((1, 64), 255, dtype=torch.uint8)
    product = _product(x, 0, weight, torch.ones(16), torch.zeros(16, dtype=torch.int32))
    return 255 if product[0, 0] == 64 * 255 * INT8_MAX else 127


def _packed(weight: Tensor) -> Tensor:
    packed: Tensor = torch.ops.onednn.qlinear_prepack(weight, [FRAMES, weight.shape[1]])
    return packed


def _product(x: Tensor, zero: int, packed: Tensor, scales: Tensor, zeros: Tensor) -> Tensor:
    """W (x - zero), float32, of x (..., C)."""
    product: Tensor = torch.ops.onednn.qlinear_pointwise(
        x, 1.0, zero, packed, scales, zeros, None, 1.0, 0, torch.float32, "none", [], ""
    )
    return product
