# SPDX-License-Identifier: Apache-2.0
"""Number formats of training, and the scale that keeps small gradients from vanishing in half precision."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor

FIRST_SCALE = 65536.0
GROWTH_INTERVAL = 2000  # good steps in a row after which the scale is doubled
RESCUE_INTERVAL = 100  # a small scale is doubled every so many steps,
RESCUED_SOON, RESCUED_LATER = 1024.0, 4096.0  # below the first; below the second every fourth time


class Precision:
    """How the model computes in training.

    Weights and gradients are float32 throughout. For fp16 the loss is multiplied by `scale` before it is differentiated
    and the gradients are divided by it, whose exponents half precision could not hold otherwise; in the other formats
    the scale stays 1. It follows the rules of `torch.amp.GradScaler`, except that a small one grows faster, and is a
    plain number because all processes must keep the same.
    """

    def __init__(self, name: Literal["fp32", "bf16", "fp16"], device_type: str) -> None:
        self.name = name
        self.device_type = device_type
        self.scale = FIRST_SCALE if name == "fp16" else 1.0
        self.num_good = 0

    @property
    def is_scaled(self) -> bool:
        """Whether infinite gradients are to be expected now and then, and mean that the scale was too large."""
        return self.name == "fp16"

    def autocast(self) -> AbstractContextManager[Any]:
        """What the loss is computed in."""
        if self.name == "fp32":
            return nullcontext()
        dtype = torch.float16 if self.name == "fp16" else torch.bfloat16
        return torch.autocast(self.device_type, dtype=dtype)

    def advice(self) -> str | None:
        """What to change where another format is much faster on this processor."""
        if self.device_type != "cpu":
            return None
        has_amx = getattr(torch.cpu, "_is_amx_tile_supported", bool)()
        if self.name == "bf16" and not has_amx:
            return "this processor has no AMX, without which bf16 is slow; precision fp32 takes less time"
        if self.name == "fp32" and has_amx:
            return "this processor has AMX; with precision bf16 a step of a large model takes about 60 % of the time"
        return None

    def adapt(self, finite: bool, step: int) -> None:
        """Choose the scale of the next step after `step` steps, the last of which had finite gradients or had not."""
        if not self.is_scaled:
            return
        self.num_good = self.num_good + 1 if finite else 0
        if not finite:
            self.scale *= 0.5
        elif self.num_good == GROWTH_INTERVAL:
            self.scale, self.num_good = self.scale * 2, 0
        limit = RESCUED_LATER if step % (4 * RESCUE_INTERVAL) == 0 else RESCUED_SOON
        if step % RESCUE_INTERVAL == 0 and self.scale < limit:
            self.scale *= 2

    def state_dict(self) -> dict[str, float]:
        return {"scale": self.scale, "num_good": self.num_good}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restore the scale, unless the run goes on in another format than before."""
        if self.is_scaled and state["scale"] != 1.0:
            self.scale, self.num_good = state["scale"], int(state["num_good"])


def all_finite(params: Iterable[Tensor]) -> bool:
    """Whether no gradient is infinite or undefined."""
    norms = torch._foreach_norm([param.grad for param in params if param.grad is not None])
    return bool(torch.stack(norms).isfinite().all())
