# SPDX-License-Identifier: Apache-2.0
"""The Swoosh activations of Zipformer (Yao et al., 2024, section 3.5)."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.08


@dataclass(frozen=True)
class Swoosh:
    """log(1 + exp(x - shift)) - 0.08 x - offset, in float32."""

    shift: float
    offset: float

    def __call__(self, x: Tensor) -> Tensor:
        y = F.softplus(x - self.shift if self.shift else x).sub_(x, alpha=SLOPE)
        return y.sub_(self.offset) if self.offset else y


swoosh_l = Swoosh(shift=4.0, offset=0.035)
swoosh_r = Swoosh(shift=1.0, offset=0.313261687)


class SwooshR(nn.Module):
    """`swoosh_r` as a layer."""

    def forward(self, x: Tensor) -> Tensor:
        return swoosh_r(x.float())
