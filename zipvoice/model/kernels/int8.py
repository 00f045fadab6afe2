# SPDX-License-Identifier: Apache-2.0
"""Linear layers in 8-bit arithmetic for speaking on a CPU.

Weights are rounded once, with a scale for each output, inputs at each call, with a scale for each frame. Not
for training.
"""

import warnings

import torch
from torch import Tensor, nn

INT8_MAX = 127
LEAST_SIZE = 1e-20
"""Of a frame or a row of weights, so that zeros can be divided by it."""
HAS_VNNI: bool = getattr(torch.cpu, "_is_vnni_supported", bool)()
"""Without it, sums of two products are held in 16 bits, for which inputs must have 7."""


class Int8Linear(nn.Linear):
    """A linear layer with the rounded weights of another one: W x + b for each frame x of (..., C), float32.

    `weight` and `bias` are what it computes with, for code that looks at them; it has no parameters.
    """

    def __init__(self, layer: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        weight = layer.weight.detach().float().cpu()
        scales = weight.abs().amax(dim=1).clamp(min=LEAST_SIZE).double() / INT8_MAX
        zeros = torch.zeros_like(scales, dtype=torch.long)
        with warnings.catch_warnings():  # of torch 2.13: such tensors will go one day, and there is nothing as fast yet
            warnings.simplefilter("ignore", UserWarning)
            rounded = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
        self._packed = torch.ops.quantized.linear_prepack(rounded, None)
        bias = torch.zeros(layer.out_features) if layer.bias is None else layer.bias.detach().float().cpu()
        self.register_buffer("_bias", bias.clone(), persistent=False)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """(D, C), float32, rounded."""
        rounded, _ = torch.ops.quantized.linear_unpack(self._packed)
        weight: Tensor = rounded.dequantize()
        return weight

    @property
    def bias(self) -> Tensor:  # type: ignore[override]
        """(D,), zero where the layer had none."""
        bias = self._buffers["_bias"]
        assert bias is not None
        return bias

    def forward(self, x: Tensor) -> Tensor:
        size = x.abs().amax(dim=-1, keepdim=True).clamp_(min=LEAST_SIZE)
        product = torch.ops.quantized.linear_dynamic(x / size, self._packed, not HAS_VNNI)
        return torch.addcmul(self.bias, product, size)


def round_layers(stacks: nn.Module) -> None:
    """Replace the linear layers of a network's Zipformer layers, but for those of positions, which are few products.

    Example:
        >>> round_layers(network.fm_decoder.encoders)
    """
    for name, module in list(stacks.named_modules()):
        for child, layer in list(module.named_children()):
            if type(layer).__base__ is nn.Linear and ".layers." in f".{name}." and child != "linear_pos":
                setattr(module, child, Int8Linear(layer))
