# SPDX-License-Identifier: Apache-2.0
"""Bad batches: those without a finite loss or gradient, which are reported and kept, and those beyond the memory."""

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from zipvoice.config.training import LoopConfig
from zipvoice.files import write_text
from zipvoice.training.distributed import World
from zipvoice.weights import write_weights

MOST_KEPT = 20
"""Batches kept in a folder; the first ones are the most informative, and many would fill a disk."""
SMALL_SCALE, HOPELESS_SCALE = 0.01, 1e-5
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
