# SPDX-License-Identifier: Apache-2.0
"""Whether training fits into the memory: whole steps in trial, on the hardest batches and on larger and larger ones."""

import gc
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from zipvoice.audio.mel import HOP, SAMPLING_RATE, num_frames
from zipvoice.config.training import RunConfig
from zipvoice.data.collate import Batch
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.training.losses import Objective
from zipvoice.training.observation.bad_batches import is_out_of_memory
from zipvoice.training.observation.monitor import peak_bytes, reset_peak
from zipvoice.training.optimizer import ScaledAdam, parameter_groups
from zipvoice.training.precision import Precision

TOKENS_PER_SECOND = 25
"""Phonemes of very fast speech, for a batch that tests the memory."""
SHARE = 0.8
"""Of the memory that a machine has left, so that trials of a little too much do not exhaust it."""
OVERRUN = 1.1
"""A trial is not made where more than so many times the limit is foreseen."""
MOST_TIMES = 10
"""Larger batches than so many times those of the run are not tried."""


@dataclass(frozen=True)
class Trial:
    """A training step on one batch, to see whether it fits."""

    reason: str
    """What makes the batch large."""
    num_utterances: int
    seconds: float
    """Of its longest utterance."""
    padded_seconds: float
    """Of the whole batch, padding included."""
    ids: tuple[str, ...]
    """Its utterances."""
    peak_bytes: int
    """Most memory in use, weights, gradients and optimizer included; of the whole process without a GPU, and since it
    began where the system is not Linux."""
    error: str | None
    """What was lacking if the memory did not suffice."""

    def __str__(self) -> str:
        outcome = f"peak {self.peak_bytes / 2**30:.2f} GiB" if self.error is None else f"OUT OF MEMORY: {self.error}"
        utterances = "1 utterance" if self.num_utterances == 1 else f"{self.num_utterances} utterances"
        size = f"{utterances} up to {self.seconds:.1f} s, {self.padded_seconds:.0f} s with padding"
        which = "" if self.error is None else f" (utterances {', '.join(self.ids)})"
        return f"{self.reason}: {size}: {outcome}{which}"


def training_loss(
    model: ZipVoice,
    objective: Objective[ZipVoice, Batch],
    batch: Batch,
    generator: torch.Generator,
    precision: Precision,
) -> Tensor:
    """The loss of a batch in training mode, times the scale of the precision."""
    device = next(model.parameters()).device
    model.train()
    with precision.autocast():
        return objective(model, batch.to(device), generator).value * precision.scale


class Trials:
    """Whole training steps on batches, optimizer included. The learning rate is zero.

    Each batch is used twice, as an objective may alternate between two losses.

    Args:
        model: on its device.
        objective: of the run.
        generator: of the objective.
        precision: of the run.
        limit: bytes that may be in use; a batch that needs more does not fit.
        tell: is called with each trial as soon as it is over.
    """

    def __init__(
        self,
        model: ZipVoice,
        objective: Objective[ZipVoice, Batch],
        generator: torch.Generator,
        precision: Precision | None = None,
        limit: float = math.inf,
        tell: Callable[[Trial], object] = lambda trial: None,
    ) -> None:
        self.model, self.objective, self.generator = model, objective, generator
        self.precision = precision or Precision("fp32", "cpu")
        self.limit, self.tell = limit, tell
        self.device = next(model.parameters()).device
        self._optimizer = ScaledAdam(parameter_groups(model, lr=0.0), lr=0.0, clipping_scale=2.0)

    def __call__(self, reason: str, batch: Batch) -> Trial:
        """The trial of a batch, and why it is made."""
        reset_peak(self.device)
        error = self._lack(batch)
        peak = peak_bytes(self.device)
        if error is None and peak > self.limit:
            error = f"{peak / 2**30:.2f} GiB, and {self.limit / 2**30:.2f} may be in use"
        if error is not None:
            self._free_memory()
        seconds = HOP / SAMPLING_RATE
        size, frames = batch.features.shape[:2]
        trial = Trial(reason, size, frames * seconds, size * frames * seconds, tuple(batch.ids), peak, error)
        self.tell(trial)
        return trial

    def _lack(self, batch: Batch) -> str | None:
        """The steps; gives PyTorch's message if it lacked memory."""
        try:
            for _ in range(2):
                training_loss(self.model, self.objective, batch, self.generator, self.precision).backward()
                self._optimizer.step()
                self._optimizer.zero_grad(set_to_none=True)
                self.objective.after_step(self.model)
        except (MemoryError, RuntimeError) as exception:
            if not is_out_of_memory(exception):
                raise
            return _sentence(exception)
        return None

    def _free_memory(self) -> None:
        """Free what a failed step holds, so that the next trial has the memory to itself."""
        self._optimizer.zero_grad(set_to_none=True)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def scan(attempt: Callable[[str, Batch], Trial], batches: Mapping[str, Batch]) -> list[Trial]:
    """Try batches by what makes them large, such as those of `hardest` and `longest_permitted`, the largest one first.

    Example:
        >>> scan(Trials(model, objective, generator), hardest(batches))
    """
    ordered = sorted(batches.items(), key=lambda item: -item[1].features.numel())
    return [attempt(reason, batch) for reason, batch in ordered]


def _sentence(exception: BaseException) -> str:
    """The first sentence of PyTorch's long message."""
    return re.split(r"(?<=[a-zA-Z0-9])\. ", str(exception).strip(), maxsplit=1)[0]


def hardest(batches: Iterable[Batch]) -> dict[str, Batch]:
    """The batches that need most memory, by what makes them large; each batch is named once."""
    measures: dict[str, Callable[[Batch], int]] = {
        "the largest batch": lambda batch: batch.features.numel(),
        "the longest utterance": lambda batch: batch.features.shape[1],
        "the largest attention": lambda batch: batch.features.shape[0] * batch.features.shape[1] ** 2,
        "the most utterances": lambda batch: batch.features.shape[0],
        "the most tokens": lambda batch: len(batch.tokens) * max(map(len, batch.tokens)) ** 2,
    }
    worst: dict[str, Batch] = {}
    for batch in batches:
        for reason, measure in measures.items():
            if reason not in worst or measure(batch) > measure(worst[reason]):
                worst[reason] = batch
    once = {id(batch): reason for reason, batch in reversed(worst.items())}
    return {reason: batch for reason, batch in worst.items() if once[id(batch)] == reason}


def longest_permitted(config: RunConfig) -> Batch:
    """A batch of noise that is filled with the longest utterances that the settings permit, in very fast speech."""
    data = config.data
    size = max(1, int(data.max_duration / data.max_len))
    frames, width = num_frames(round(data.max_len * SAMPLING_RATE)), config.model.feat_dim * (3 if data.stereo else 1)
    features = torch.randn(size, frames, width, generator=torch.Generator().manual_seed(0))
    tokens = [[1] * min(frames, int(TOKENS_PER_SECOND * data.max_len))] * size
    return Batch(features, torch.full((size,), frames), tokens, ["noise"] * size, [""] * size)


# ---------------------------------------------------------------- the largest batch that fits


def largest_duration(
    config: RunConfig, attempt: Callable[[str, Batch], Trial], limit: float = math.inf
) -> float | None:
    """The largest `data.max_duration`, a multiple of `data.max_len`, with which training fits into the memory.

    Tried with batches of `longest_permitted`, which need more memory than others of as many seconds.

    Args:
        config: of the run.
        attempt: makes a trial of a batch, of which it is told what it is.
        limit: bytes that may be in use.

    Returns:
        Seconds, None if not even one utterance of `data.max_len` fits.
    """
    longest = config.data.max_len
    most = max(1, int(MOST_TIMES * config.data.max_duration / longest))

    def peak_of(count: int) -> int | None:
        seconds = longest if count else longest / 20  # in no time, with all that a step needs whatever its batch
        permitted = replace(config.data, min_len=0.0, max_len=seconds, max_duration=max(1, count) * seconds)
        trial = attempt(f"trial of {permitted.max_duration:g} s", longest_permitted(replace(config, data=permitted)))
        return None if trial.error else trial.peak_bytes

    count = largest_fitting(peak_of, most, limit)
    return count * longest if count else None


def largest_fitting(peak_of: Callable[[int], int | None], most: int, limit: float = math.inf) -> int:
    """The largest number of equal things that fit, 0 if none does.

    Args:
        peak_of: the peak in bytes for a number of things, None where they do not fit; is asked for few of them.
        most: no more are tried.
        limit: the most bytes that there may be.

    Example:
        >>> largest_fitting(lambda count: 100 + 10 * count, most=50, limit=165)
        6
    """
    known: list[tuple[int, int]] = []
    count, too_many = 0, most + 1
    while count < too_many:
        peak = peak_of(count)
        if peak is None or peak > limit:
            too_many = count
        else:
            known.append((count, peak))
        count = _next(known, too_many, too_many <= most, limit)
    return known[-1][0] if known else 0


def _next(known: Sequence[tuple[int, int]], too_many: int, failed: bool, limit: float) -> int:
    """The number to try next: the double, or half-way to what failed; less where the last two peaks foresee less.

    `too_many` or more where nothing is left to try.
    """
    if len(known) < 2:
        return too_many if failed else len(known)
    (fewer, lower), (fitting, peak) = known[-2:]
    slope = (peak - lower) / (fitting - fewer)
    if peak + slope > OVERRUN * limit:
        return too_many
    further = (fitting + too_many) // 2 if failed else min(2 * fitting, too_many - 1)
    foreseen = fitting + (limit - peak) / slope if slope > 0 else math.inf
    return max(fitting + 1, int(min(further, foreseen)))


def memory_limit(device: torch.device) -> float:
    """Bytes that a training process may use on a device: all that a GPU has, or a share of what the machine has left.

    Raises ValueError where the system does not tell.
    """
    if device.type != "cpu":
        return math.inf
    available = available_bytes()
    if available is None:
        raise ValueError("this system does not tell how much memory is left: say how much training may use (--memory)")
    return SHARE * available


def available_bytes() -> int | None:
    """What this process may have in memory, what it has included: all that is free. None where Linux does not tell."""
    try:
        status, machine = (_kilobytes(Path(path)) for path in ("/proc/self/status", "/proc/meminfo"))
        own = status["VmRSS"]
        free = [machine["MemAvailable"], *_free_in_container()]
    except (OSError, KeyError):
        return None
    return 1024 * (own + min(free))


def _kilobytes(path: Path) -> dict[str, int]:
    """What a file of Linux tells in kB, by name."""
    lines = [line.split() for line in path.read_text().splitlines()]
    return {line[0].rstrip(":"): int(line[1]) for line in lines if line[-1:] == ["kB"]}


def _free_in_container(group: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """Kilobytes that a container's limit leaves, if it has one."""
    try:
        most, used = ((group / f"memory.{name}").read_text() for name in ("max", "current"))
        return [(int(most) - int(used)) // 1024]
    except (OSError, ValueError):  # there is none, or it is "max"
        return []
