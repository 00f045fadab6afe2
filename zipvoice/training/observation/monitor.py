# SPDX-License-Identifier: Apache-2.0
"""Metrics of a training run: losses, speed, memory, gradients, sizes of weights and updates, remaining time.

Nothing here changes the run. A block is a stack of layers or a projection, such as `fm_decoder.encoders.0` or `embed`.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from zipvoice import heap
from zipvoice.audio.mel import HOP, SAMPLING_RATE
from zipvoice.config.training import LoopConfig
from zipvoice.training.distributed import World
from zipvoice.training.losses import Loss
from zipvoice.training.observation.bad_batches import AnyBatch
from zipvoice.training.optimizer import ScaledAdam


@dataclass(frozen=True)
class Scales:
    """Root mean squares over the elements of one block, after one step."""

    weight: float
    """Of its weights."""
    gradient: float
    """Of their gradients, before clipping."""
    update: float
    """Of what the step added to the weights, relative to the weights."""


@dataclass(frozen=True)
class Report:
    """How training went between two reports, validation and saving apart."""

    frames_per_second: float
    """Real frames of all processes, padding apart."""
    seconds_per_step: float
    waiting: float
    """Share of the time in which the next batch was waited for; what comes near 1 needs more loader processes."""
    padding: float
    """Share of padding in the batches of this process, which is computed for nothing."""
    grad_norm: float | None
    """Of the last step, relative to the sizes of the weights; None where it is not measured: in the first step, and by
    an optimizer that does not clip by it."""
    clipped: float
    """Share of the steps whose gradients were clipped."""
    lr: float
    """Learning rate of the last step."""
    peak_bytes: int
    """Most memory in use so far: resident of this process, or allocated by PyTorch on its GPU."""
    seconds_left: float | None
    """Until the run ends, None as long as the length of an epoch is not known."""
    blocks: Mapping[str, Scales]
    """By block, after the last step that is a multiple of `log_every`."""

    @property
    def audio_per_time(self) -> float:
        """Hours of audio per hour."""
        return self.frames_per_second * HOP / SAMPLING_RATE

    def steering(self) -> dict[str, float]:
        """Learning rate and gradient norm of the last step."""
        return {"lr": self.lr} | ({} if self.grad_norm is None else {"grad_norm": self.grad_norm})

    def scalars(self) -> dict[str, dict[str, float]]:
        """The values by kind and name, as `MetricLogger` records them."""
        speed = {
            "audio_hours_per_hour": self.audio_per_time,
            "frames_per_second": self.frames_per_second,
            "seconds_per_step": self.seconds_per_step,
            "waiting": self.waiting,
            "padding": self.padding,
            "clipped": self.clipped,
            "peak_gib": self.peak_bytes / 2**30,
        }
        if self.seconds_left is not None:
            speed["hours_left"] = self.seconds_left / 3600
        kinds = {
            "speed": speed,
            "weight_rms": {name: scales.weight for name, scales in self.blocks.items()},
            "gradient_rms": {name: scales.gradient for name, scales in self.blocks.items()},
            "relative_update": {name: scales.update for name, scales in self.blocks.items()},
        }
        return {kind: values for kind, values in kinds.items() if values}

    def __str__(self) -> str:
        """The end of a line in the log."""
        left = "time left unknown" if self.seconds_left is None else f"{duration(self.seconds_left)} left"
        gradient = "" if self.grad_norm is None else f"gradient {self.grad_norm:.2e} ({self.clipped:.0%} clipped), "
        return (
            f"rate {self.lr:.2e}, {gradient}"
            f"{self.audio_per_time:.3g} h of audio per hour, {self.waiting:.0%} waiting for data, "
            f"{self.padding:.0%} padding, {self.peak_bytes / 2**30:.1f} GiB, {left}"
        )


class Monitor:
    """Measures a run: `waiting` around taking a batch, `stepped` after each update, `report` every so many steps.

    Args:
        config: of the run.
        model: that is trained.
        optimizer: that trains it.
        clock: seconds from an arbitrary beginning.
    """

    def __init__(
        self,
        config: LoopConfig,
        model: nn.Module,
        optimizer: Optimizer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._model = model
        self._optimizer = optimizer
        self._clock = clock
        self._blocks: dict[str, Scales] = {}
        self._epoch: int | None = None
        self._steps_per_epoch: float | None = None
        self.start()

    def start(self) -> None:
        """Begin the measurement; call it when training starts."""
        self._started = self._clock()
        self._num_steps = 0
        self._step_began: float | None = None
        self._begin_interval()

    def _begin_interval(self) -> None:
        self._steps = self._clipped = self._frames = 0
        self._seconds = self._seconds_waited = self._audio = self._padded_audio = 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Context of waiting for the next batch; a step begins with it."""
        now = self._clock()
        if self._step_began is None:
            self._step_began = now
        yield
        self._seconds_waited += self._clock() - now

    def took(self, batches: Sequence[AnyBatch]) -> None:
        """Record the batches of a step."""
        self._audio += sum(sum(batch.seconds) for batch in batches)
        self._padded_audio += sum(len(batch.seconds) * max(batch.seconds) for batch in batches)

    def stepped(self, step: int, epoch: int, num_frames: int) -> None:
        """Record that step `step` (from 1) has updated the weights. Gradients must still be there.

        Args:
            step: steps taken in the whole run.
            epoch: complete passes over the data in the whole run, the last batch included.
            num_frames: real frames of all processes in the step.
        """
        if step % self._config.log_every == 0:
            self._blocks = block_scales(self._model, self._optimizer)
        self._end_step()
        self._steps += 1
        self._num_steps += 1
        self._frames += num_frames
        self._clipped += any(factor < 1 for _, factor in clipping(self._optimizer))
        if self._epoch is not None and epoch > self._epoch:
            self._steps_per_epoch = step / epoch
        self._epoch = epoch

    def _end_step(self) -> None:
        if self._step_began is not None:
            self._seconds += self._clock() - self._step_began
        self._step_began = None

    def report(self, step: int) -> Report:
        """What happened since the last report, after `step` steps."""
        self._end_step()  # where the last update was skipped
        seconds, steps = max(self._seconds, 1e-9), max(self._steps, 1)
        report = Report(
            frames_per_second=self._frames / seconds,
            seconds_per_step=self._seconds / steps,
            waiting=self._seconds_waited / seconds,
            padding=1 - self._audio / self._padded_audio if self._padded_audio else 0.0,
            grad_norm=max((norm for norm, _ in clipping(self._optimizer) if norm), default=None),
            clipped=self._clipped / steps,
            lr=self._optimizer.param_groups[0]["lr"],
            peak_bytes=peak_bytes(next(self._model.parameters()).device),
            seconds_left=self._seconds_left(step),
            blocks=self._blocks,
        )
        self._begin_interval()
        return report

    def _seconds_left(self, step: int) -> float | None:
        elapsed = self._clock() - self._started
        per_step = elapsed / max(self._num_steps, 1)  # with validation and saving
        return seconds_left(self._config, step, self._steps_per_epoch, per_step, elapsed)


def clipping(optimizer: Optimizer) -> list[tuple[float, float]]:
    """Gradient norm and clipping factor of the last step by group, of an optimizer that clips."""
    return optimizer.clipping() if isinstance(optimizer, ScaledAdam) else []


def seconds_left(
    config: LoopConfig, step: int, steps_per_epoch: float | None, seconds_per_step: float, elapsed: float
) -> float | None:
    """Seconds until the first limit of a run is reached, None if none can be told.

    Args:
        config: has the limits.
        step: steps taken.
        steps_per_epoch: None as long as it is not known, which matters without `num_steps`.
        seconds_per_step: of the mean step, validation and saving included.
        elapsed: seconds since the run was started for the last time.
    """
    last_step = config.last_step(steps_per_epoch)
    limits = [] if last_step is None else [(last_step - step) * seconds_per_step]
    if config.max_seconds is not None:
        limits.append(config.max_seconds - elapsed)
    return max(0.0, min(limits)) if limits else None


@torch.no_grad()
def block_scales(model: nn.Module, optimizer: Optimizer) -> dict[str, Scales]:
    """The scales of each block of a model right after a step of its optimizer, parameters without gradient left out.

    Costs a pass over weights, gradients and updates, and one transfer to the CPU.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.grad is not None and "delta" in optimizer.state[p]]
    if not named:
        return {}
    params: list[Tensor] = [p for _, p in named]
    grads: list[Tensor] = [p.grad for p in params if p.grad is not None]
    updates = [optimizer.state[p]["delta"] for p in params]
    norms = torch.stack([torch.stack(torch._foreach_norm(items)).float() for items in (params, grads, updates)])
    squares = norms.double().square().T.tolist()  # (parameters, 3)
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0, 0.0])
    for (name, p), three in zip(named, squares, strict=True):
        block = block_of(name)
        sums[block] = [a + b for a, b in zip(sums[block], [*three, p.numel()], strict=True)]
    return {
        block: Scales(math.sqrt(weight / n), math.sqrt(gradient / n), math.sqrt(update / max(weight, 1e-30)))
        for block, (weight, gradient, update, n) in sums.items()
    }


def block_of(parameter: str) -> str:
    """The block that a parameter lies in: `fm_decoder.encoders.0.layers.1.norm.bias` in `fm_decoder.encoders.0`."""
    modules = parameter.split(".")[:-1]
    return ".".join(modules[: 3 if "encoders" in modules[:2] else 2])


def peak_bytes(device: torch.device) -> int:
    """Most memory that PyTorch had allocated on a GPU, or that this process had resident (0 where nothing tells)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return heap.peak_bytes() or 0


def reset_peak(device: torch.device) -> None:
    """Let `peak_bytes` count from now on, on a GPU and under Linux."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        heap.reset_peak()


def duration(seconds: float) -> str:
    """A duration in its two largest units: `3 d 4 h`, `4 h 12 min`, `12 min 5 s`, `5 s`."""
    total = round(seconds)
    sizes = {"d": total // 86400, "h": total // 3600 % 24, "min": total // 60 % 60, "s": total % 60}
    parts = [f"{count} {unit}" for unit, count in sizes.items()]
    first = next((i for i, count in enumerate(sizes.values()) if count), len(parts) - 1)
    return " ".join(parts[first : first + 2])


class RunningLoss:
    """Means of a loss and its parts over the frames of recent batches; older ones fade over `memory` batches.

    A value that is not finite counts as 0, as in the reference. With `memory` None nothing fades, and such a value
    makes the mean one too.
    """

    def __init__(self, memory: int | None = 200) -> None:
        self.keep = 1.0 if memory is None else 1 - 1 / memory
        self.sums: dict[str, float] = defaultdict(float)
        self.frames: dict[str, float] = defaultdict(float)

    def add(self, loss: Loss) -> None:
        """Take in the loss of one batch."""
        for name, value in {"loss": loss.value, **loss.parts}.items():
            amount = value.item() * loss.num_frames
            counts = math.isfinite(amount) or self.keep == 1.0
            self.sums[name] = self.sums[name] * self.keep + (amount if counts else 0.0)
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
