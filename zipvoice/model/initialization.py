# SPDX-License-Identifier: Apache-2.0
"""Initial values that differ from PyTorch's."""

import torch
from torch import nn


def scaled_linear(in_dim: int, out_dim: int, scale: float, bias: bool = True) -> nn.Linear:
    """A linear layer with small initial values: PyTorch's weight times `scale`, the bias from U(-0.1, 0.1) times it."""
    linear = nn.Linear(in_dim, out_dim, bias=bias)
    with torch.no_grad():
        linear.weight.mul_(scale)
        if bias:
            linear.bias.uniform_(-0.1 * scale, 0.1 * scale)
    return linear
