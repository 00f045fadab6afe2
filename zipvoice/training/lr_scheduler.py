# SPDX-License-Identifier: Apache-2.0
"""Learning rates and the progress of the model's own schedules: pure functions of steps and epochs."""

import math
from dataclasses import dataclass
from typing import Protocol

from zipvoice.config.training import OptimizerConfig, RunConfig
from zipvoice.config.vocoder import VocoderRunConfig

FINE_TUNING_OFFSET = 100_000  # adjusted batches after which every warm-up behaviour of the model is over


def eden(
    batch: int,
    epoch: float,
    base_lr: float,
    lr_batches: float,
    lr_epochs: float,
    warmup_batches: float = 500.0,
    warmup_start: float = 0.5,
) -> float:
    """Learning rate that decays with the power -1/2 of batches and of epochs, after a linear warm-up.

    Args:
        batch: batches seen, the current one included.
        epoch: epochs completed, or hours of audio seen divided by the number of GPUs' worth of them, in the unit of
            `lr_epochs`.
        base_lr: the rate before decay.
        lr_batches: batches after which the decay sets in.
        lr_epochs: epochs, or hours, after which the second decay sets in.
        warmup_batches: length of the warm-up; 0 for none.
        warmup_start: fraction of the rate the warm-up starts at.
    """
    batch_decay = ((batch / lr_batches) ** 2 + 1) ** -0.25
    epoch_decay = ((epoch / lr_epochs) ** 2 + 1) ** -0.25
    warm = warmup_start + (1 - warmup_start) * batch / warmup_batches if batch < warmup_batches else 1.0
    return base_lr * batch_decay * epoch_decay * warm


def hours_seen(step: int, batch_seconds: float, batches_per_step: int = 1) -> float:
    """Hours of audio in `step` steps of `batches_per_step` batches, all processes together, of `batch_seconds` each."""
    return step * batch_seconds * batches_per_step / 3600


def adjusted_batch_count(
    step: int, batch_seconds: float, batches_per_step: int = 1, ref_seconds: float = 50.0, offset: float = 0.0
) -> float:
    """Progress for the schedules inside the model: batches of `ref_seconds` that hold the audio seen so far.

    `offset` is `FINE_TUNING_OFFSET` when training does not start from scratch.
    """
    return step * batch_seconds * batches_per_step / ref_seconds + offset


def cosine(step: int, num_steps: int, warmup_steps: int = 0) -> float:
    """Fraction of the highest learning rate after `step` steps: a linear rise, then half a cosine from 1 to 0."""
    rise = (step + 1) / warmup_steps if step < warmup_steps else 1.0
    return rise * (1 + math.cos(math.pi * min(step / num_steps, 1.0))) / 2


# ---------------------------------------------------------------- schedules of runs


class Schedule(Protocol):
    """What the trainer needs of a schedule."""

    def learning_rate(self, step: int, epoch: float) -> float:
        """The learning rate of step `step` (from 1), after `epoch` epochs."""
        ...

    def batch_count(self, step: int) -> float:
        """Progress after `step` steps, for a model with schedules of its own."""
        ...


@dataclass(frozen=True)
class EdenSchedule:
    """Eden or a fixed rate, and the progress of the model's own schedules, as a run describes them."""

    config: RunConfig
    world_size: int = 1

    def learning_rate(self, step: int, epoch: float) -> float:
        return learning_rate(self.config.optim, step, epoch, hours_seen(step, *self._batch))

    def batch_count(self, step: int) -> float:
        offset = FINE_TUNING_OFFSET if self.config.is_fine_tuning else 0
        return adjusted_batch_count(step, *self._batch, self.config.ref_duration, offset)

    @property
    def _batch(self) -> tuple[float, int]:
        """Seconds of a batch, and batches of a step."""
        return self.config.data.max_duration, self.world_size * self.config.accumulate


@dataclass(frozen=True)
class CosineSchedule:
    """Half a cosine over the whole run, after a linear rise."""

    config: VocoderRunConfig

    def learning_rate(self, step: int, epoch: float) -> float:
        return self.config.lr * cosine(step - 1, self.config.num_steps, self.config.warmup_steps)

    def batch_count(self, step: int) -> float:
        return float(step)


def learning_rate(config: OptimizerConfig, step: int, epoch: float, hours: float) -> float:
    """The learning rate of step `step` (from 1), after `epoch` epochs and `hours` hours of audio."""
    if config.schedule == "fixed":
        return config.base_lr
    if config.lr_hours is None:
        return eden(step, epoch, config.base_lr, config.lr_batches, config.lr_epochs)
    return eden(step, hours, config.base_lr, config.lr_batches, config.lr_hours)
