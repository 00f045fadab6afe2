# SPDX-License-Identifier: Apache-2.0
"""Losses of several batches as one."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from zipvoice.training.distributed import World
from zipvoice.training.objectives import Loss


def pooled(losses: Sequence[Loss], world: World) -> Loss:
    """The loss of one update: a mean over the frames of all its batches, those of other processes included.

    L = Σ n_i L_i / N, N = Σ n_i, where n_i is the number of frames that the mean L_i is over (its weight). This is the
    loss of one batch that holds them all; the mean of the L_i is not, because a batch of few frames would count as much
    as one of many. N is known at the end only, so gradients are collected of the sum of n_i / n_1 L_i (see `weighted`)
    and multiplied by n_1 / N at last, n_1 being the weight of the first batch of each process. With one batch of one
    process both factors are exactly 1.
    """
    names = list(losses[0].parts)
    own = [0.0] * (3 + len(names))
    for loss in losses:
        weight = float(loss.weight)
        values = [weight * tensor.item() for tensor in (loss.value, *loss.parts.values())]
        own = [a + b for a, b in zip(own, [loss.num_frames, weight, *values], strict=True)]
    num_frames, weight, *sums = world.total(own)
    value, *parts = (torch.tensor(total / weight, dtype=torch.float64) for total in sums)
    return Loss(value, int(num_frames), dict(zip(names, parts, strict=True)), weight)


def weighted(loss: Loss, first: Loss) -> Tensor:
    """What is differentiated of a batch, relative to the first one of its process and update: n_i / n_1 L_i."""
    return loss.value * (loss.weight / first.weight)


class RunningLoss:
    """Means of a loss and its parts over the frames of recent batches; older ones fade over `memory` batches.

    A value that is not finite is left out. With `memory` None nothing fades.
    """

    def __init__(self, memory: int | None = 200) -> None:
        self.keep = 1.0 if memory is None else 1 - 1 / memory
        self.sums: dict[str, float] = defaultdict(float)
        self.frames: dict[str, float] = defaultdict(float)

    def add(self, loss: Loss) -> None:
        """Take in the loss of one batch."""
        for name, value in {"loss": loss.value, **loss.parts}.items():
            amount = value.item() * loss.num_frames
            self.sums[name] = self.sums[name] * self.keep + (amount if math.isfinite(amount) else 0.0)
            self.frames[name] = self.frames[name] * self.keep + loss.num_frames

    def means(self) -> dict[str, float]:
        """The mean of the loss and of each part."""
        return {name: total / self.frames[name] for name, total in self.sums.items()}

    def state_dict(self) -> dict[str, dict[str, float]]:
        return {"sums": dict(self.sums), "frames": dict(self.frames)}

    def load_state_dict(self, state: Mapping[str, Mapping[str, float]]) -> None:
        self.sums.update(state["sums"])
        self.frames.update(state["frames"])

    def add_others(self, world: World) -> None:
        """Take in what other processes have added to theirs."""
        for rank, state in enumerate(world.gathered(self.state_dict())):
            for name in state["sums"] if rank != world.rank else ():
                self.sums[name] += state["sums"][name]
                self.frames[name] += state["frames"][name]
