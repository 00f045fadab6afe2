# SPDX-License-Identifier: Apache-2.0
"""The training loop, and everything it needs to stop and go on as if it had not stopped."""

import hashlib
import logging
import math
import os
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, Literal, Protocol

import torch
from tqdm import tqdm

from zipvoice.config import OptimizerConfig, RunConfig
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.training import checkpoint
from zipvoice.training.averaging import RunningAverage
from zipvoice.training.data import Batch
from zipvoice.training.objectives import Loss, Objective
from zipvoice.training.optimizer import ScaledAdam, parameter_groups
from zipvoice.training.schedules import FINE_TUNING_OFFSET, adjusted_batch_count, eden, hours_seen
from zipvoice.training.tracking import Tracker
from zipvoice.weights import write_weights

logger = logging.getLogger(__name__)

StopReason = Literal["finished", "out of time", "interrupted"]


class Batches(Protocol):
    """Training batches for ever, epoch after epoch, from a position that can be saved."""

    epoch: int

    def __next__(self) -> Batch: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Trainer:
    """Minimises an objective over batches, with everything that must survive a restart in its checkpoints.

    A run that was stopped and started again gives the same weights, bit for bit on a CPU, as one that was not.

    Args:
        config: of the run.
        model: to be trained, on its device.
        objective: what is minimised.
        batches: training data.
        valid_batches: the same batches each time they are iterated over.
        tracker: where losses are recorded.
        show: called with the model and the step every `sample_every` steps, to record samples of what it can do.
        world_size: number of training processes, of which this is number `rank`.
    """

    def __init__(
        self,
        config: RunConfig,
        model: ZipVoice,
        objective: Objective,
        batches: Batches,
        valid_batches: Iterable[Batch],
        tracker: Tracker,
        show: Callable[[ZipVoice, int], None] | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.config = config
        self.model = model
        self.objective = objective
        self.batches = batches
        self.valid_batches = valid_batches
        self.tracker = tracker
        self.show = show
        self.rank = rank
        self.world_size = world_size
        self.device = next(model.parameters()).device
        self.generator = torch.Generator(self.device)
        groups = parameter_groups(model, config.optim.base_lr)
        self.optimizer = ScaledAdam(groups, lr=config.optim.base_lr, clipping_scale=config.optim.clipping_scale)
        self.average = RunningAverage(model.state_dict(), config.average_period)
        self.recent = RunningLoss()
        self.best_valid_loss: float | None = None
        self.step = 0

    def run(self) -> StopReason:
        """Train until the configured end, the time limit or an interrupt; the state is saved in each case."""
        started = time.monotonic()
        with stop_on_signal() as interrupted, self._progress_bar() as progress:
            if self.best_valid_loss is None:
                self.validate()
            while not (reason := self._stop_reason(started, interrupted())):
                batch = next(self.batches).to(self.device)
                loss = self.train_step(batch)
                self.log(loss, progress)
                if self.step % self.config.valid_every == 0:
                    self.validate()
                if self.show and self.config.sample_every and self.step % self.config.sample_every == 0:
                    self.show(self.model, self.step)
                if self.step % self.config.save_every == 0:
                    self.save()
            if self.step not in checkpoint.steps_saved(self.config.exp_dir):
                self.save()
        more = "" if reason == "finished" else "; start the same run again to continue"
        logger.info("%s after %d steps and %d epochs%s", reason, self.step, self.batches.epoch, more)
        return reason

    def train_step(self, batch: Batch) -> Loss:
        """One update of the weights."""
        self._seed(self.step)
        self.model.train()
        self.model.set_batch_count(self._batch_count(self.step))
        with self._autocast():
            loss = self.objective(self.model, batch, self.generator)
        self._check_finite(loss, batch)
        loss.value.backward()
        self.step += 1
        self._set_learning_rate()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.objective.after_step(self.model)
        self.average.update(self.model.state_dict(), self.step)
        return loss

    @torch.no_grad()
    def validate(self) -> None:
        """Record the loss on the validation batches, with the same noise, times and masks each time."""
        self.model.eval()
        self.generator.manual_seed(seed_of(self.config.seed, self.rank, "validation"))
        total = RunningLoss(memory=None)
        for batch in self.valid_batches:
            total.add(self.objective.validate(self.model, batch.to(self.device), self.generator))
        means = total.means()
        if not means:
            return  # there is no validation data
        self.tracker.scalars("valid", self.step, means)
        logger.info("step %d: validation loss %.5f", self.step, means["loss"])
        if self.best_valid_loss is None or means["loss"] < self.best_valid_loss:
            self.best_valid_loss = means["loss"]
            write_weights(self.model.state_dict(), Path(self.config.exp_dir) / "best-valid-loss.safetensors")

    def log(self, loss: Loss, progress: "tqdm[Any]") -> None:
        """Take the loss into the running means, and record them now and then."""
        self.recent.add(loss)
        lr = self.optimizer.param_groups[0]["lr"]
        progress.update()
        progress.set_postfix(loss=f"{self.recent.means()['loss']:.4f}", lr=f"{lr:.2e}", refresh=False)
        if self.step % self.config.log_every == 0:
            norm, factor = self.optimizer.clipping()[0]
            current = {name: value.item() for name, value in {"loss": loss.value, **loss.parts}.items()}
            mean = {f"mean_{name}": value for name, value in self.recent.means().items()}
            steering = {"lr": lr, "grad_norm": norm, "clip_factor": factor, "epoch": self.batches.epoch}
            self.tracker.scalars("train", self.step, current | mean | steering)
            logger.info("step %d: loss %.5f, mean %.5f, rate %.2e", self.step, current["loss"], mean["mean_loss"], lr)

    def save(self) -> None:
        """Write a checkpoint and delete the oldest ones beyond the number to keep."""
        checkpoint.save(self.config.exp_dir, self.step, self.state_dict())
        checkpoint.prune(self.config.exp_dir, self.config.keep_last)

    def state_dict(self) -> dict[str, Any]:
        """Everything that must survive a restart."""
        return {
            "step": self.step,
            "average_period": self.config.average_period,
            "model": self.model.state_dict(),
            "model_avg": self.average.state_dict(),
            "model_training": self.model.training_state(),
            "optimizer": self.optimizer.state_dict(),
            "objective": self.objective.state_dict(),
            "data": self.batches.state_dict(),
            "recent": self.recent.state_dict(),
            "best_valid_loss": self.best_valid_loss,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["model_avg"])
        self.model.load_training_state(state["model_training"])
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:  # a setting, which may have changed, not part of the state
            group["clipping_scale"] = self.config.optim.clipping_scale
        self.objective.load_state_dict(state["objective"])
        self.batches.load_state_dict(state["data"])
        self.recent.load_state_dict(state["recent"])
        self.best_valid_loss = state["best_valid_loss"]

    def _seed(self, step: int) -> None:
        """Make all randomness of a step a function of the run's seed, the rank and the step."""
        torch.manual_seed(seed_of(self.config.seed, self.rank, step, "model"))
        self.generator.manual_seed(seed_of(self.config.seed, self.rank, step, "objective"))

    def _batch_count(self, step: int) -> float:
        fine_tuning = self.config.init_from is not None or self.config.objective.teacher is not None
        offset = FINE_TUNING_OFFSET if fine_tuning else 0
        seconds = self.config.data.max_duration
        return adjusted_batch_count(step, seconds, self.world_size, self.config.ref_duration, offset)

    def _set_learning_rate(self) -> None:
        hours = hours_seen(self.step, self.config.data.max_duration, self.world_size)
        lr = learning_rate(self.config.optim, self.step, self.batches.epoch, hours)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["lr_scale"]

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.config.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def _check_finite(self, loss: Loss, batch: Batch) -> None:
        value = loss.value.item()
        if not math.isfinite(value):
            raise ValueError(
                f"the loss is {value} at step {self.step + 1}, on the utterances {', '.join(batch.ids)}; "
                "look at their audio and features, or lower optim.base_lr"
            )

    def _stop_reason(self, started: float, interrupted: bool) -> StopReason | None:
        config = self.config
        if self.batches.epoch >= config.num_epochs if config.num_steps is None else self.step >= config.num_steps:
            return "finished"
        if interrupted:
            return "interrupted"
        if config.max_seconds is not None and time.monotonic() - started >= config.max_seconds:
            return "out of time"
        return None

    def _progress_bar(self) -> "tqdm[Any]":
        """A bar on a terminal, nothing elsewhere."""
        return tqdm(total=self.config.num_steps, initial=self.step, unit="step", file=sys.stderr, disable=None)


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


def learning_rate(config: OptimizerConfig, step: int, epoch: float, hours: float) -> float:
    """The learning rate of step `step` (from 1), after `epoch` epochs and `hours` hours of audio."""
    if config.schedule == "fixed":
        return config.base_lr
    if config.lr_hours is None:
        return eden(step, epoch, config.base_lr, config.lr_batches, config.lr_epochs)
    return eden(step, hours, config.base_lr, config.lr_batches, config.lr_hours)


def seed_of(*parts: int | str) -> int:
    """A seed that depends on all parts and is unrelated for different ones."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1  # seeds are below 2 ** 63


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether SIGINT or SIGTERM has arrived; a second one acts as usual."""
    received: list[int] = []
    process = os.getpid()
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # Python delivers signals to the main thread only
        return

    def note(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:
            return  # loader processes inherit the handler, and are stopped by this one in the end
        received.append(number)
        restore()
        logger.warning("stopping after this step; press Ctrl-C again to stop at once, without saving")

    def restore() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    usual = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        restore()
