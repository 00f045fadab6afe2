# SPDX-License-Identifier: Apache-2.0
"""The training loop, and everything it needs to stop and go on as if it had not stopped."""

import logging
import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from tqdm import tqdm

from zipvoice.config.training import OptimizerConfig, RunConfig
from zipvoice.data.collate import Batch
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.seeds import batch_number, seed_of
from zipvoice.training import checkpoint
from zipvoice.training.averaging import RunningAverage
from zipvoice.training.bad_batches import BadBatches, memory_explained
from zipvoice.training.distributed import ALONE, World
from zipvoice.training.logger import Tracker
from zipvoice.training.lora import merged
from zipvoice.training.losses import RunningLoss, pooled, weighted
from zipvoice.training.lr_scheduler import FINE_TUNING_OFFSET, adjusted_batch_count, eden, hours_seen
from zipvoice.training.monitor import Watch
from zipvoice.training.objectives import Loss, Objective
from zipvoice.training.optimizer import ScaledAdam, parameter_groups
from zipvoice.training.precision import Precision, all_finite
from zipvoice.training.signals import stop_on_signal
from zipvoice.weights import write_weights

logger = logging.getLogger(__name__)

StopReason = Literal["finished", "out of time", "interrupted"]
STOP_REASONS: tuple[StopReason | None, ...] = (None, "finished", "out of time", "interrupted")
"""By increasing weight, where processes have different ones."""


class Batches(Protocol):
    """Training batches for ever, epoch after epoch, from a position that can be saved."""

    epoch: int

    def __next__(self) -> Batch: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Trainer:
    """Minimises an objective over batches, with everything that must survive a restart in its checkpoints.

    A run that was stopped and started again gives the same weights, bit for bit on a CPU, as one that was not. Batches
    are numbered through the run, over steps, processes and the batches that a step adds up, and the number decides what
    is drawn at random for a batch. So two processes compute what one does that adds up the same two batches.

    Args:
        config: of the run.
        model: to be trained, on its device.
        objective: what is minimised.
        batches: training data of this process.
        valid_batches: validation data of this process, the same batches each time they are iterated over.
        tracker: where losses are recorded, by the first process.
        show: called with the model and the step every `sample_every` steps, to record samples of what it can do.
        world: the training processes.
    """

    def __init__(
        self,
        config: RunConfig,
        model: ZipVoice,
        objective: Objective,
        batches: Batches,
        valid_batches: Iterable[Batch],
        tracker: Tracker | None,
        show: Callable[[ZipVoice, int], None] | None = None,
        world: World = ALONE,
    ) -> None:
        self.config = config
        self.model = model
        self.objective = objective
        self.batches = batches
        self.valid_batches = valid_batches
        self.tracker = tracker
        self.show = show
        self.world = world
        self.device = next(model.parameters()).device
        self.generator = torch.Generator(self.device)
        self.precision = Precision(config.precision, self.device.type)
        self.params = [param for param in model.parameters() if param.requires_grad]
        groups = parameter_groups(model, config.optim.base_lr)
        self.optimizer = ScaledAdam(groups, lr=config.optim.base_lr, clipping_scale=config.optim.clipping_scale)
        self.average = RunningAverage(model.state_dict(), config.average_period) if world.is_first else None
        self.bad_batches = BadBatches(Path(config.exp_dir) / "bad_batches", config.max_bad_batches, world)
        self.watch = Watch(config, model, self.optimizer)
        self.recent = RunningLoss()
        self.best_valid_loss: float | None = None
        self.step = 0
        self.saved_step: int | None = None
        self.saved_at = time.monotonic()

    def run(self) -> StopReason:
        """Train until the configured end, the time limit or an interrupt; the state is saved in each case."""
        started = self.saved_at = time.monotonic()
        self.world.share_weights(list(self.model.state_dict().values()))
        with stop_on_signal() as interrupted, self._progress_bar() as progress:
            if self.best_valid_loss is None:
                self.validate()
            self.watch.start()
            while not (reason := self._stop_reason(started, interrupted())):
                loss = self.train_step(self.next_batches())
                self.log(loss, progress)
                if self.step % self.config.valid_every == 0:
                    self.validate()
                if self.show and self.config.sample_every and self.step % self.config.sample_every == 0:
                    self.show(self.model, self.step)
                if self.step % self.config.save_every == 0 or self._time_to_save():
                    self.save()
            if self.saved_step != self.step:
                self.save()
        more = "" if reason == "finished" else "; start the same run again to continue"
        logger.info("%s after %d steps and %d epochs%s", reason, self.step, self.batches.epoch, more)
        return reason

    def next_batches(self) -> list[Batch]:
        """The batches of the next step of this process."""
        with self.watch.waiting():
            return [next(self.batches) for _ in range(self.config.accumulate)]

    def train_step(self, batches: Sequence[Batch]) -> Loss:
        """One update of the weights, by the pooled loss of these batches and those of all other processes.

        Where that or a gradient is not finite the update is skipped, on all processes; the step counts all the same.
        """
        self.model.train()
        self.model.set_batch_count(self.batch_count(self.step))
        losses: list[Loss] = []
        for batch in batches:
            losses.append(self._differentiate(batch, losses))
        loss = pooled(losses, self.world)
        self.step += 1
        self._set_learning_rate()
        if self._gradients_are_good(loss, losses, batches):
            self.optimizer.step()
            self.objective.after_step(self.model)
            self.watch.stepped(self.step, self.batches.epoch, loss.num_frames)
        self.optimizer.zero_grad(set_to_none=True)
        if self.average:
            self.average.update(self.model.state_dict(), self.step)
        return loss

    @torch.no_grad()
    def validate(self) -> None:
        """Record the loss on the validation batches, with the same noise, times and masks each time."""
        self.model.eval()
        total = RunningLoss(memory=None)
        for number, batch in enumerate(self.valid_batches):
            number_of_all = number * self.world.size + self.world.rank
            self.generator.manual_seed(seed_of(self.config.seed, "validation", number_of_all))
            with memory_explained(self.config.exp_dir, self.step, self.world.rank, batch):
                total.add(self.objective.validate(self.model, batch.to(self.device), self.generator))
        total.add_others(self.world)
        means = total.means()
        if not means:
            return  # there is no validation data
        better = self.best_valid_loss is None or means["loss"] < self.best_valid_loss
        self.best_valid_loss = means["loss"] if better else self.best_valid_loss
        logger.info("step %d: validation loss %.5f", self.step, means["loss"])
        if self.tracker:
            self.tracker.scalars("valid", self.step, means)
            if better:
                weights = merged(self.model.state_dict(), self.config.lora)
                write_weights(weights, Path(self.config.exp_dir) / "best-valid-loss.safetensors")

    def log(self, loss: Loss, progress: "tqdm[Any]") -> None:
        """Take the loss into the running means, and record them now and then."""
        self.recent.add(loss)
        means = self.recent.means()
        progress.update()
        progress.set_postfix(loss=f"{means['loss']:.4f}", refresh=False)
        if self.tracker and self.step % self.config.log_every == 0:
            report = self.watch.report(self.step)
            current = {name: value.item() for name, value in {"loss": loss.value, **loss.parts}.items()}
            steering = {
                "lr": report.lr,
                "grad_norm": report.grad_norm,
                "grad_scale": self.precision.scale,
                "skipped": self.bad_batches.total,
                "epoch": self.batches.epoch,
            }
            values = current | {f"mean_{name}": value for name, value in means.items()} | steering
            self.tracker.scalars("train", self.step, {k: v for k, v in values.items() if math.isfinite(v)})
            for kind, scalars in report.scalars().items():
                self.tracker.scalars(kind, self.step, scalars)
            logger.info("step %d: loss %.5f, mean %.5f, %s", self.step, current["loss"], means["loss"], report)

    def save(self) -> None:
        """Write a checkpoint and delete those that are not needed any longer."""
        state = self.state_dict()
        if self.world.is_first:
            checkpoint.save(self.config.exp_dir, self.step, state)
            checkpoint.prune(self.config.exp_dir, self.config.keep_last, self.config.save_every)
        self.saved_at, self.saved_step = time.monotonic(), self.step

    def state_dict(self) -> dict[str, Any]:
        """Everything that must survive a restart, to be asked for on all processes at once."""
        return {
            "step": self.step,
            "average_period": self.config.average_period,
            "model": self.model.state_dict(),
            "model_avg": self.average.state_dict() if self.average else None,
            "model_training": self.world.gathered(self.model.training_state()),  # the only part that differs by rank
            "optimizer": self.optimizer.state_dict(),
            "precision": self.precision.state_dict(),
            "objective": self.objective.state_dict(),
            "data": self.batches.state_dict(),
            "recent": self.recent.state_dict(),
            "bad_batches": self.bad_batches.state_dict(),
            "best_valid_loss": self.best_valid_loss,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave, on as many processes or on others."""
        self.step = self.saved_step = state["step"]
        self.model.load_state_dict(state["model"])
        if self.average:
            self.average.load_state_dict(state["model_avg"])
        steering = state["model_training"]
        self.model.load_training_state(steering[self.world.rank % len(steering)])
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:  # a setting, which may have changed, not part of the state
            group["clipping_scale"] = self.config.optim.clipping_scale
        self.precision.load_state_dict(state["precision"])
        self.objective.load_state_dict(state["objective"])
        self.batches.load_state_dict(state["data"])
        self.recent.load_state_dict(state["recent"])
        self.bad_batches.load_state_dict(state["bad_batches"])
        self.best_valid_loss = state["best_valid_loss"]

    # ---------------------------------------------------------------- details of a step

    def _differentiate(self, batch: Batch, before: Sequence[Loss]) -> Loss:
        """The loss of a batch, whose gradient is added to that of the batches before it in the same step."""
        self.seed(len(before))
        with memory_explained(self.config.exp_dir, self.step + 1, self.world.rank, batch):
            with self.precision.autocast():
                loss = self.objective(self.model, batch.to(self.device), self.generator)
            (weighted(loss, (*before, loss)[0]) * self.precision.scale).backward()
        return replace(loss, value=loss.value.detach())

    def _gradients_are_good(self, loss: Loss, losses: Sequence[Loss], batches: Sequence[Batch]) -> bool:
        """Pool the gradients and tell whether all of them are finite; take note if not."""
        if not math.isfinite(loss.value):
            bad = [batch for batch, own in zip(batches, losses, strict=True) if not math.isfinite(own.value)]
            self.bad_batches.skipped(self.step, "the loss is not finite", bad)
            return False
        share = float(losses[0].weight / loss.weight)
        self.world.sum_gradients(self.params, share / self.precision.scale)
        finite = all_finite(self.params)
        self.precision.adapt(finite, self.step)
        if finite:
            self.bad_batches.went_well()
        elif self.precision.is_scaled:
            self.bad_batches.check_scale(self.step, self.precision.scale, batches)
        else:
            self.bad_batches.skipped(self.step, "a gradient is not finite", batches)
        return finite

    def seed(self, number: int) -> None:
        """Make all randomness of a batch a function of the run's seed and of its number in the run."""
        world = self.world
        number_of_all = batch_number(self.step, number, self.config.accumulate, world.rank, world.size)
        torch.manual_seed(seed_of(self.config.seed, number_of_all, "model"))
        self.generator.manual_seed(seed_of(self.config.seed, number_of_all, "objective"))

    @property
    def _batches_per_step(self) -> int:
        return self.world.size * self.config.accumulate

    def batch_count(self, step: int) -> float:
        fine_tuning = self.config.init_from is not None or self.config.objective.teacher is not None
        offset = FINE_TUNING_OFFSET if fine_tuning else 0
        seconds = self.config.data.max_duration
        return adjusted_batch_count(step, seconds, self._batches_per_step, self.config.ref_duration, offset)

    def _set_learning_rate(self) -> None:
        hours = hours_seen(self.step, self.config.data.max_duration, self._batches_per_step)
        lr = learning_rate(self.config.optim, self.step, self.batches.epoch, hours)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["lr_scale"]

    # ---------------------------------------------------------------- when to stop and to save

    def _stop_reason(self, started: float, interrupted: bool) -> StopReason | None:
        """Why to stop now, the same on all processes."""
        config = self.config
        own: StopReason | None = None
        if self.batches.epoch >= config.num_epochs if config.num_steps is None else self.step >= config.num_steps:
            own = "finished"
        elif interrupted:
            own = "interrupted"
        elif config.max_seconds is not None and time.monotonic() - started >= config.max_seconds:
            own = "out of time"
        return STOP_REASONS[int(self.world.highest(STOP_REASONS.index(own)))]

    def _time_to_save(self) -> bool:
        """Whether the last checkpoint is older than it may be, the same on all processes."""
        limit = self.config.save_every_seconds
        return limit is not None and self.world.highest(time.monotonic() - self.saved_at) >= limit

    def _progress_bar(self) -> "tqdm[Any]":
        """A bar on a terminal, nothing elsewhere."""
        total, hidden = self.config.num_steps, None if self.world.is_first else True
        return tqdm(total=total, initial=self.step, unit="step", file=sys.stderr, disable=hidden)


def learning_rate(config: OptimizerConfig, step: int, epoch: float, hours: float) -> float:
    """The learning rate of step `step` (from 1), after `epoch` epochs and `hours` hours of audio."""
    if config.schedule == "fixed":
        return config.base_lr
    if config.lr_hours is None:
        return eden(step, epoch, config.base_lr, config.lr_batches, config.lr_epochs)
    return eden(step, hours, config.base_lr, config.lr_batches, config.lr_hours)
