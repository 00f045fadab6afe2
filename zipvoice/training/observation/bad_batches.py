# SPDX-License-Identifier: Apache-2.0
"""Bad batches: those without a finite loss or gradient, which are reported and kept, and those beyond the memory."""

import gc
import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from zipvoice.audio.mel import HOP, SAMPLING_RATE, num_frames
from zipvoice.config.training import LoopConfig, RunConfig
from zipvoice.data.collate import Batch
from zipvoice.files import write_text
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.training.distributed import World
from zipvoice.training.losses import Objective
from zipvoice.training.observation.monitor import peak_bytes
from zipvoice.training.optimizer import ScaledAdam, parameter_groups
from zipvoice.training.precision import Precision
from zipvoice.weights import write_weights

MOST_KEPT = 20
"""Batches kept in a folder; the first ones are the most informative, and many would fill a disk."""
SMALL_SCALE, HOPELESS_SCALE = 0.01, 1e-5
TOKENS_PER_SECOND = 25
"""Phonemes of very fast speech, for a batch that tests the memory."""
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "ALLOC_FAILED")

logger = logging.getLogger(__name__)


class AnyBatch(Protocol):
    """A dataclass of tensors and lists."""

    @property
    def ids(self) -> list[str]:
        """Names of the utterances."""
        ...

    @property
    def seconds(self) -> list[float]:
        """Their lengths."""
        ...

    def to(self, device: Any) -> Any:
        """The batch on a device."""
        ...


class BadBatches:
    """Counts the updates that were skipped, and keeps the batches that caused them.

    Args:
        folder: where batches are kept: tensors in step-{step}-{rank}-{number}.safetensors, the rest in a .json.
        limit: how many updates in a row may not be skipped.
        world: the training processes; each keeps its own batches, the first one reports those of all.
    """

    def __init__(self, folder: str | os.PathLike[str], limit: int, world: World) -> None:
        self.folder = Path(folder)
        self.limit = limit
        self.world = world
        self.total = 0
        self.in_a_row = 0
        self.has_warned = False

    def skipped(self, step: int, reason: str, batches: Sequence[AnyBatch]) -> None:
        """Report that update `step` was skipped, on all processes at once, each with the batches of its own to blame.

        Raises ValueError when there are too many in a row.
        """
        self.total += 1
        self.in_a_row += 1
        self.keep(step, reason, batches)
        ids = ", ".join(self._of_all(batches))
        logger.warning("step %d is skipped: %s, on the utterances %s", step, reason, ids)
        if self.in_a_row >= self.limit:
            raise ValueError(
                f"{self.in_a_row} updates in a row were skipped (max_bad_batches); at step {step} {reason}, on the "
                f"utterances {ids}. The batches are in {self.folder}. If nothing is wrong with their audio and texts "
                "the model has diverged: lower the learning rate (optim.base_lr, or lr of a vocoder) and continue from "
                "an earlier checkpoint (resume)"
            )

    def updated(self) -> None:
        """Note that an update was made, which ends a row of skipped ones."""
        self.in_a_row = 0

    def check_scale(self, step: int, scale: float, batches: Sequence[AnyBatch]) -> None:
        """Warn of a small scale of fp16 gradients. Raises ValueError for one so small that training cannot go on."""
        if scale >= SMALL_SCALE:
            return
        problem = f"gradients overflow in fp16 at step {step} although the loss is multiplied by {scale:.1e} only"
        if not self.has_warned or scale < HOPELESS_SCALE:
            self.keep(step, problem, batches)
        if scale < HOPELESS_SCALE:
            raise ValueError(f"{problem}; set precision to bf16 or fp32, or lower optim.base_lr")
        if not self.has_warned:
            logger.warning("%s; a batch of this kind is kept in %s", problem, self.folder)
        self.has_warned = True

    def keep(self, step: int, reason: str, batches: Sequence[AnyBatch]) -> None:
        """Write batches of this process to the folder, up to `MOST_KEPT` in all."""
        for number, batch in enumerate(batches):
            if len(list(self.folder.glob("*.safetensors"))) < MOST_KEPT:
                stem = f"step-{step}-{self.world.rank}-{number}"
                write_text(self.folder / f"{stem}.json", description(batch, reason))
                tensors = {name: value.cpu() for name, value in vars(batch).items() if isinstance(value, Tensor)}
                write_weights(tensors, self.folder / f"{stem}.safetensors")

    def state_dict(self) -> dict[str, int]:
        return {"total": self.total, "in_a_row": self.in_a_row}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.total, self.in_a_row = state["total"], state["in_a_row"]

    def _of_all(self, batches: Sequence[AnyBatch]) -> list[str]:
        ids = self.world.gathered([name for batch in batches for name in batch.ids])
        return [name for part in ids for name in part]


def description(batch: AnyBatch, reason: str) -> str:
    """A batch without its tensors, and why it is described, as JSON."""
    entries = {name: value for name, value in vars(batch).items() if not isinstance(value, Tensor)}
    return json.dumps({"reason": reason, "seconds": batch.seconds, **entries}, ensure_ascii=False) + "\n"


# ---------------------------------------------------------------- memory


@contextmanager
def memory_explained(config: LoopConfig, step: int, rank: int, batch: AnyBatch) -> Iterator[None]:
    """Turn a lack of memory during the computation on a batch into a ValueError that says what to do.

    The batch is described in {exp_dir}/out-of-memory-{step}-{rank}.json; other errors pass.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        path = Path(config.exp_dir) / f"out-of-memory-{step}-{rank}.json"
        write_text(path, description(batch, str(error)))
        num, longest = len(batch.ids), max(batch.seconds)
        size = f"{num} utterances of up to {longest} s, {num * longest:.0f} s with padding"
        raise ValueError(
            f"out of memory at step {step}, on {size}: {', '.join(batch.ids)}. {config.memory_advice}. "
            f"The batch is described in {path}"
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that a device or the machine has no memory left."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in OUT_OF_MEMORY)


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
    """Most memory in use, weights, gradients and optimizer included; without a GPU, since the process began."""
    error: str | None
    """PyTorch's message if the memory did not suffice."""

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


def scan(
    model: ZipVoice,
    objective: Objective[ZipVoice, Batch],
    batches: Mapping[str, Batch],
    generator: torch.Generator,
    precision: Precision | None = None,
    tell: Callable[[Trial], object] | None = None,
) -> list[Trial]:
    """Try whole training steps, optimizer included, on batches by what makes them large, the largest one first.

    Each batch is used twice, as an objective may alternate between two losses. The learning rate is zero.

    Args:
        model: on its device.
        objective: of the run.
        batches: such as those of `hardest` and `longest_permitted`.
        generator: of the objective.
        precision: of the run.
        tell: is called with each trial as soon as it is over.
    """
    optimizer = ScaledAdam(parameter_groups(model, lr=0.0), lr=0.0, clipping_scale=2.0)
    precision = precision or Precision("fp32", "cpu")
    trials = []
    for reason, batch in sorted(batches.items(), key=lambda item: -item[1].features.numel()):
        trials.append(_trial(reason, model, objective, batch, generator, precision, optimizer))
        if tell:
            tell(trials[-1])
    return trials


def _trial(
    reason: str,
    model: ZipVoice,
    objective: Objective[ZipVoice, Batch],
    batch: Batch,
    generator: torch.Generator,
    precision: Precision,
    optimizer: ScaledAdam,
) -> Trial:
    device, error = next(model.parameters()).device, None
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    try:
        for _ in range(2):
            training_loss(model, objective, batch, generator, precision).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            objective.after_step(model)
    except (MemoryError, RuntimeError) as exception:
        if not is_out_of_memory(exception):
            raise
        error = _sentence(exception)
    peak = peak_bytes(device)
    if error is not None:
        _free_memory(optimizer)
    seconds = HOP / SAMPLING_RATE
    size, frames = batch.features.shape[:2]
    return Trial(reason, size, frames * seconds, size * frames * seconds, tuple(batch.ids), peak, error)


def _free_memory(optimizer: ScaledAdam) -> None:
    """Free what a failed step holds, so that the next trial has the memory to itself."""
    optimizer.zero_grad(set_to_none=True)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


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
