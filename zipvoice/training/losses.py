# SPDX-License-Identifier: Apache-2.0
"""What the trainer needs of an objective, and the loss of several batches as one.

Shapes: B batch, T frames, C channels of a frame.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from zipvoice.training.distributed import World

ModelT = TypeVar("ModelT", bound=nn.Module)
BatchT = TypeVar("BatchT")


@dataclass(frozen=True)
class Loss:
    """The value of an objective on one batch."""

    value: Tensor
    """The scalar to differentiate, a mean over frames and channels."""
    num_frames: int
    """Real frames of the batch, the weight of the value in what is logged."""
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    """Scalars to be logged beside the value, detached."""
    weight: Tensor | float = 1.0
    """Frames that the value is a mean over, its weight among the batches of one update."""


class Objective(Generic[ModelT, BatchT]):
    """What training minimises, called as `objective(model, batch, generator) -> Loss`.

    Randomness comes from the generator or from the model's own layers. `__call__` and `validate` are all it needs:

        class PredictZero(Objective[nn.Linear, Batch]):
            def __call__(self, model, batch, generator):
                return Loss(model(batch.features).square().mean(), num_frames=int(batch.feature_lens.sum()))

            validate = __call__

    Attributes:
        optimizers: of networks that the objective trains beside the model; the trainer sets their learning rates.
    """

    optimizers: Sequence[Optimizer] = ()

    def __call__(self, model: ModelT, batch: BatchT, generator: torch.Generator) -> Loss:
        """The loss of a batch, to be differentiated."""
        raise NotImplementedError

    def validate(self, model: ModelT, batch: BatchT, generator: torch.Generator) -> Loss:
        """The same with as little randomness as possible, for flow matching at fixed times, for learning curves."""
        raise NotImplementedError

    def after_step(self, model: ModelT) -> None:
        """Called after each update of the model."""

    def result(self, model: ModelT) -> Mapping[str, Tensor]:
        """The weights that validation evaluates."""
        return model.state_dict()

    def state_dict(self) -> dict[str, Any]:
        """What must survive a restart."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""


def pooled(losses: Sequence[Loss], world: World) -> Loss:
    """The loss of one update: a mean over the frames of all its batches, those of other processes included.

    L = Σ n_i L_i / N, N = Σ n_i, where n_i is the number of frames that the mean L_i is over (its weight). This is the
    loss of one batch that holds them all; the mean of the L_i is not, because a batch of few frames would count as much
    as one of many. N is known at the end only, so gradients are collected of the sum of n_i / n_1 L_i (see `weighted`)
    and finally multiplied by n_1 / N, n_1 being the weight of the first batch of each process. With one batch of one
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
