# SPDX-License-Identifier: Apache-2.0
"""The training loop, and everything it needs to stop and to continue as if it had not stopped."""

import logging
import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import nn
from torch.optim import Optimizer
from tqdm import tqdm

from zipvoice.config.training import LoopConfig
from zipvoice.seeds import batch_number, seed_of
from zipvoice.training import checkpoint
from zipvoice.training.averaging import RunningAverage
from zipvoice.training.distributed import ALONE, World, stop_on_signal
from zipvoice.training.losses import Loss, Objective, pooled, weighted
from zipvoice.training.lr_scheduler import Schedule
from zipvoice.training.observation.bad_batches import AnyBatch, BadBatches, memory_explained
from zipvoice.training.observation.logger import MetricLogger
from zipvoice.training.observation.monitor import Monitor, RunningLoss
from zipvoice.training.precision import Precision, all_finite
from zipvoice.weights import Weights, write_weights

logger = logging.getLogger(__name__)

StopReason = Literal["finished", "out of time", "interrupted"]
STOP_REASONS: tuple[StopReason | None, ...] = (None, "finished", "out of time", "interrupted")
"""By increasing priority, where processes have different ones."""


class Batches(Protocol):
    """Training batches without end, epoch after epoch, from a position that can be saved."""

    @property
    def epoch(self) -> int: ...
    def __next__(self) -> Any: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


@runtime_checkable
class HasSchedules(Protocol):
    """A model whose regularisation depends on the progress of training."""

    def set_batch_count(self, count: float) -> None: ...
    def training_state(self) -> dict[str, float]: ...
    def load_training_state(self, state: Mapping[str, float]) -> None: ...


class Trainer:
    """Minimises an objective over batches, with everything that must survive a restart in its checkpoints.

    A run that was stopped and started again gives the same weights, bit for bit on a CPU, as one that was not. Batches
    are numbered through the run, over steps, processes and the batches that a step accumulates, and the number seeds
    what is drawn at random for a batch. So two processes compute what one does that accumulates the same two batches.

        trainer = Trainer(config, model, objective, optimizer, schedule, batches)
        trainer.run()

    `zipvoice.training.run` puts together the trainers of the toolkit's own models.

    Args:
        config: of the run.
        model: to be trained, on its device.
        objective: what is minimised.
        optimizer: of the model's parameters.
        schedule: learning rate by step and epoch.
        batches: training data of this process.
        valid_batches: validation data of this process, the same batches each time they are iterated over.
        accumulate: batches that this process accumulates for one update.
        average: of the weights, updated after each step by the first process.
        world: the training processes.

    Attributes:
        metrics: where losses are recorded, by the first process; None records nothing.
        show: is called with the model and the step after each step, to record samples.
        saved: is called after each checkpoint is written.
        plain: makes the weights of a model that can be loaded of those of the objective's result.
    """

    def __init__(
        self,
        config: LoopConfig,
        model: nn.Module,
        objective: Objective[Any, Any],
        optimizer: Optimizer,
        schedule: Schedule,
        batches: Batches,
        valid_batches: Iterable[Any] = (),
        *,
        accumulate: int = 1,
        average: RunningAverage | None = None,
        world: World = ALONE,
    ) -> None:
        self.config = config
        self.model: Any = model
        self.objective = objective
        self.optimizer = optimizer
        self.schedule = schedule
        self.batches = batches
        self.valid_batches = valid_batches
        self.accumulate = accumulate
        self.average = average
        self.world = world
        self.metrics: MetricLogger | None = None
        self.show: Callable[[Any, int], None] | None = None
        self.saved: Callable[[], None] | None = None
        self.plain: Callable[[Mapping[str, Any]], Weights] = dict
        self.device = next(model.parameters()).device
        self.generator = torch.Generator(self.device)
        self.precision = Precision(config.precision, self.device.type)
        self.params = [param for group in optimizer.param_groups for param in group["params"]]
        self.bad_batches = BadBatches(Path(config.exp_dir) / "bad_batches", config.max_bad_batches, world)
        self.monitor = Monitor(config, model, optimizer)
        self.recent = RunningLoss()
        self.best_valid_loss: float | None = None
        self.step = 0
        self.saved_step: int | None = None
        self.saved_at = time.monotonic()

    def run(self) -> StopReason:
        """Train until the configured end, the time limit or an interrupt; the state is saved in each case."""
        started = self.saved_at = time.monotonic()
        if advice := self.precision.advice():
            logger.info("%s", advice)
        self.world.share_weights(list(self.model.state_dict().values()))
        with stop_on_signal() as interrupted, self._progress_bar() as progress:
            if self.best_valid_loss is None:
                self.validate()
            self.monitor.start()
            first, began = self.step + 1, time.monotonic()
            while not (reason := self._stop_reason(started, interrupted())):
                loss = self.train_step(self.next_batches())
                self.log(loss, progress)
                if self.step == first:
                    self._announce(time.monotonic() - began)
                if self.step % self.config.valid_every == 0:
                    self.validate()
                if self.show:
                    self.show(self.model, self.step)
                if self.step % self.config.save_every == 0 or self._time_to_save():
                    self.save()
            if self.saved_step != self.step:
                self.save()
        more = "" if reason == "finished" else "; start the same run again to continue"
        logger.info("%s after %d steps and %d epochs%s", reason, self.step, self.batches.epoch, more)
        return reason

    def next_batches(self) -> list[AnyBatch]:
        """The batches of the next step of this process."""
        with self.monitor.waiting():
            batches = [next(self.batches) for _ in range(self.accumulate)]
        self.monitor.took(batches)
        return batches

    def train_step(self, batches: Sequence[AnyBatch]) -> Loss:
        """One update of the weights, by the pooled loss of these batches and those of all other processes.

        Where that or a gradient is not finite the update is skipped, on all processes; the step counts all the same.
        """
        self.prepare_step()
        losses: list[Loss] = []
        for batch in batches:
            losses.append(self._differentiate(batch, losses))
        loss = pooled(losses, self.world)
        self.step += 1
        if self._gradients_are_good(loss, losses, batches):
            self.optimizer.step()
            self.objective.after_step(self.model)
            self.monitor.stepped(self.step, self.batches.epoch, loss.num_frames)
        self.optimizer.zero_grad(set_to_none=True)
        if self.average:
            self.average.update(self.model.state_dict(), self.step)
        return loss

    def prepare_step(self) -> None:
        """Bring model and learning rates to the values of the next step."""
        self.model.train()
        if isinstance(self.model, HasSchedules):
            self.model.set_batch_count(self.schedule.batch_count(self.step))
        lr = self.schedule.learning_rate(self.step + 1, self.batches.epoch)
        for optimizer in (self.optimizer, *self.objective.optimizers):
            for group in optimizer.param_groups:
                group["lr"] = lr * group.get("lr_scale", 1.0)

    def seed(self, number: int) -> None:
        """Seed all randomness of batch `number` of the next step, by the run's seed and the place in the run."""
        place = batch_number(self.step, number, self.accumulate, self.world.rank, self.world.size)
        torch.manual_seed(seed_of(self.config.seed, place, "model"))
        self.generator.manual_seed(seed_of(self.config.seed, place, "objective"))

    @torch.no_grad()
    def validate(self) -> None:
        """Record the loss on the validation batches, with the same noise, times and masks each time."""
        self.model.eval()
        total = RunningLoss(memory=None)
        for number, batch in enumerate(self.valid_batches):
            place = batch_number(number, 0, 1, self.world.rank, self.world.size)
            self.generator.manual_seed(seed_of(self.config.seed, "validation", place))
            with memory_explained(self.config, self.step, self.world.rank, batch):
                total.add(self.objective.validate(self.model, batch.to(self.device), self.generator))
        total.add_others(self.world)
        means = total.means()
        if not means:
            return  # there is no validation data
        better = means["loss"] < (math.inf if self.best_valid_loss is None else self.best_valid_loss)
        self.best_valid_loss = means["loss"] if better else self.best_valid_loss
        logger.info("step %d: validation %s", self.step, ", ".join(f"{name} {x:.5f}" for name, x in means.items()))
        if self.metrics:
            self.metrics.scalars("valid", self.step, _finite(means))
            if better:
                weights = self.plain(self.objective.result(self.model))
                write_weights(weights, Path(self.config.exp_dir) / "best-valid-loss.safetensors")

    def log(self, loss: Loss, progress: "tqdm[Any]") -> None:
        """Add the loss to the running means, and record them every `log_every` steps."""
        self.recent.add(loss)
        means = self.recent.means()
        progress.update()
        progress.set_postfix(loss=f"{means['loss']:.4f}", refresh=False)
        if self.metrics and self.step % self.config.log_every == 0:
            report = self.monitor.report(self.step)
            values = {
                **{name: value.item() for name, value in {"loss": loss.value, **loss.parts}.items()},
                **{f"mean_{name}": value for name, value in means.items()},
                **report.steering(),
                "grad_scale": self.precision.scale,
                "skipped": self.bad_batches.total,
                "epoch": self.batches.epoch,
            }
            self.metrics.scalars("train", self.step, _finite(values))
            for kind, scalars in report.scalars().items():
                self.metrics.scalars(kind, self.step, scalars)
            shown = ", ".join(f"mean {name} {mean:.5f}" for name, mean in means.items())
            logger.info("step %d: loss %.5f, %s, %s", self.step, values["loss"], shown, report)

    def _announce(self, seconds: float) -> None:
        """Tell whoever reads the log without a progress bar that training has begun, and when it will tell more."""
        every = self.config.log_every
        upcoming = (self.step // every + 1) * every
        logger.info(
            "step %d took %.1f s; the log goes on at step %d, and every %d", self.step, seconds, upcoming, every
        )

    def save(self) -> None:
        """Write a checkpoint and delete those that are not needed any longer."""
        state = self.state_dict()
        if self.world.is_first:
            checkpoint.save(self.config.exp_dir, self.step, state)
            checkpoint.prune(self.config.exp_dir, self.config.keep_last, self.config.save_every)
            if self.saved:
                self.saved()
        self.saved_at, self.saved_step = time.monotonic(), self.step

    def state_dict(self) -> dict[str, Any]:
        """Everything that must survive a restart, to be called on all processes at once."""
        own = self.model.training_state() if isinstance(self.model, HasSchedules) else {}
        return {
            "step": self.step,
            "average_period": self.average.period if self.average else None,
            "model": self.model.state_dict(),
            "model_avg": self.average.state_dict() if self.average else None,
            "model_training": self.world.gathered(own),  # the only part that differs by rank
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
        settings = [group.get("clipping_scale") for group in self.optimizer.param_groups]
        self.step = self.saved_step = state["step"]
        self.model.load_state_dict(state["model"])
        if self.average:
            self.average.load_state_dict(state["model_avg"])
        if isinstance(self.model, HasSchedules):
            by_rank = state["model_training"]
            self.model.load_training_state(by_rank[self.world.rank % len(by_rank)])
        self.optimizer.load_state_dict(state["optimizer"])
        for group, scale in zip(self.optimizer.param_groups, settings, strict=True):
            if scale is not None:  # a setting, which may have changed, not part of the state
                group["clipping_scale"] = scale
        self.precision.load_state_dict(state["precision"])
        self.objective.load_state_dict(state["objective"])
        self.batches.load_state_dict(state["data"])
        self.recent.load_state_dict(state["recent"])
        self.bad_batches.load_state_dict(state["bad_batches"])
        self.best_valid_loss = state["best_valid_loss"]

    # ---------------------------------------------------------------- details of a step

    def _differentiate(self, batch: AnyBatch, before: Sequence[Loss]) -> Loss:
        """The loss of a batch, whose gradient is added to that of the batches before it in the same step."""
        self.seed(len(before))
        with memory_explained(self.config, self.step + 1, self.world.rank, batch):
            with self.precision.autocast():
                loss = self.objective(self.model, batch.to(self.device), self.generator)
            (weighted(loss, (*before, loss)[0]) * self.precision.scale).backward()
        return replace(loss, value=loss.value.detach())

    def _gradients_are_good(self, loss: Loss, losses: Sequence[Loss], batches: Sequence[AnyBatch]) -> bool:
        """Pool the gradients and tell whether all of them are finite; report the batches if not."""
        if not math.isfinite(loss.value):
            bad = [batch for batch, own in zip(batches, losses, strict=True) if not math.isfinite(own.value)]
            self.bad_batches.skipped(self.step, "the loss is not finite", bad)
            return False
        share = float(losses[0].weight / loss.weight)
        self.world.sum_gradients(self.params, share / self.precision.scale)
        finite = all_finite(self.params)
        self.precision.adapt(finite, self.step)
        if finite:
            self.bad_batches.updated()
        elif self.precision.is_scaled:
            self.bad_batches.check_scale(self.step, self.precision.scale, batches)
        else:
            self.bad_batches.skipped(self.step, "a gradient is not finite", batches)
        return finite

    # ---------------------------------------------------------------- when to stop and to save

    def _stop_reason(self, started: float, interrupted: bool) -> StopReason | None:
        """Why to stop now, the same on all processes."""
        limit = self.config.max_seconds
        own: StopReason | None = None
        if self.config.is_finished(self.step, self.batches.epoch):
            own = "finished"
        elif interrupted:
            own = "interrupted"
        elif limit is not None and time.monotonic() - started >= limit:
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


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    """Those that logs can hold."""
    return {name: value for name, value in values.items() if math.isfinite(value)}
