# SPDX-License-Identifier: Apache-2.0
"""EfficientNetV2 (Tan and Le 2021), as UTMOSv2 looks at spectrograms with it, from weights under the names of timm.

The names tell the kinds of blocks and their shapes the widths; only the strides are written down here.

Legend: B batch, C channels, H height, W width.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDES = (1, 2, 2, 2, 1, 2)
"""Of the first block of each stage."""
CONVOLUTIONS = ("conv", "conv_exp", "conv_pw", "conv_dw", "conv_pwl")
"""Names of convolutions in the order in which a block has them; each has its norm, bn1, bn2 or bn3."""
SPATIAL = ("conv", "conv_exp", "conv_dw")
NARROWING = "conv_pwl"
"""Comes behind the gate, and without activation."""
EPSILON = 1e-3
"""Of batch norms, as in TensorFlow."""

State = dict[str, Tensor]


class EfficientNet(nn.Module):
    """Pictures (B, 3, H, W) to features (B, C, H / 32, W / 32)."""

    def __init__(self, state: State) -> None:
        """The network of a state, with its weights. Raises RuntimeError where they do not fit."""
        super().__init__()
        self.conv_stem, self.bn1 = _convolution(state, "conv_stem", stride=2), _norm(state, "bn1")
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                Block(below(state, f"blocks.{stage}.{number}"), stride if number == 0 else 1)
                for number in range(_count(state, f"blocks.{stage}"))
            )
            for stage, stride in enumerate(STRIDES)
        )
        self.conv_head, self.bn2 = _convolution(state, "conv_head"), _norm(state, "bn2")
        self.load_state_dict(state)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.bn1(self.conv_stem(x)))
        stages: Any = self.blocks
        for stage in stages:
            for block in stage:
                x = block(x)
        return F.silu(self.bn2(self.conv_head(x)))


class Block(nn.Module):
    """A residual block of one of the three kinds: plain, widened by its kernel, widened before its kernel."""

    def __init__(self, state: State, stride: int) -> None:
        super().__init__()
        self._names = [name for name in CONVOLUTIONS if f"{name}.weight" in state]
        for number, name in enumerate(self._names, start=1):
            setattr(self, name, _convolution(state, name, stride if name in SPATIAL else 1))
            setattr(self, f"bn{number}", _norm(state, f"bn{number}"))
        self.se = Gate(below(state, "se")) if "se.conv_reduce.weight" in state else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for number, name in enumerate(self._names, start=1):
            convolution, norm = getattr(self, name), getattr(self, f"bn{number}")
            y = norm(convolution(self.se(y))) if name == NARROWING else F.silu(norm(convolution(y)))
        return x + y if x.shape == y.shape else y


class Gate(nn.Module):
    """Squeeze and excitation: channels are weighted by what all of the picture says."""

    def __init__(self, state: State) -> None:
        super().__init__()
        self.conv_reduce, self.conv_expand = (_convolution(state, f"conv_{way}") for way in ("reduce", "expand"))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=(2, 3), keepdim=True)
        return x * torch.sigmoid(self.conv_expand(F.silu(self.conv_reduce(mean))))


class SameConv2d(nn.Conv2d):
    """Pads as TensorFlow does: more behind than before, where the stride leaves an odd number."""

    def forward(self, x: Tensor) -> Tensor:
        edges = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            edges += [missing // 2, missing - missing // 2]
        return super().forward(F.pad(x, edges))


def below(state: State, root: str) -> State:
    """The weights whose names begin with a root, without it."""
    return {name.removeprefix(f"{root}."): weight for name, weight in state.items() if name.startswith(f"{root}.")}


def _convolution(state: State, name: str, stride: int = 1) -> nn.Conv2d:
    out, of_group, height, width = state[f"{name}.weight"].shape
    groups = out if name == "conv_dw" else 1
    bias = f"{name}.bias" in state
    return SameConv2d(of_group * groups, out, (height, width), stride, groups=groups, bias=bias)


def _norm(state: State, name: str) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(len(state[f"{name}.weight"]), eps=EPSILON)


def _count(state: State, root: str) -> int:
    return len({name.split(".")[0] for name in below(state, root)})
