# SPDX-License-Identifier: Apache-2.0
"""Linear layers in bfloat16 for speaking on a CPU that multiplies it (AMX, AVX512-BF16). Not for training."""

import torch
from torch import Tensor, nn

HAS_BF16: bool = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
"""Whether oneDNN has such products here, fast or emulated."""


class Bf16Linear(nn.Linear):
    """A linear layer with the weights of another one in the order that the product wants them in.

    W x + b for x (..., C) of any dtype, in bfloat16, summed up in float32. `weight` and `bias` are for code that looks
    at them; it has no parameters.
    """

    def __init__(self, layer: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self._packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach().bfloat16(), None)
        bias = None if layer.bias is None else layer.bias.detach().bfloat16()
        self.register_buffer("_bias", bias, persistent=False)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """(D, C), bfloat16."""
        weight: Tensor = self._packed.to_dense()
        return weight

    @property
    def bias(self) -> Tensor | None:  # type: ignore[override]
        """(D,), bfloat16, or None."""
        return self._buffers["_bias"]

    def forward(self, x: Tensor) -> Tensor:
        x = x.bfloat16()
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, self.bias, "none", [], "")
        return product
