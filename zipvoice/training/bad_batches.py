# SPDX-License-Identifier: Apache-2.0
"""Batches that cannot be learnt from: reported with their utterances, kept for inspection, and not too many of them."""

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from zipvoice.audio.mel import HOP, SAMPLING_RATE
from zipvoice.data.collate import Batch
from zipvoice.files import write_text
from zipvoice.training.distributed import World
from zipvoice.weights import write_weights

MOST_KEPT = 20
"""Batches kept in a folder; the first ones tell most, and a disk is soon full."""
SMALL_SCALE, HOPELESS_SCALE = 0.01, 1e-5
EXHAUSTED = ("out of memory", "can't allocate memory", "ALLOC_FAILED")

logger = logging.getLogger(__name__)


class BadBatches:
    """Keeps count of the updates that were skipped, and the batches to blame.

    Args:
        folder: where batches are kept: tensors in step-{step}-{rank}-{number}.safetensors, the rest in a .json.
        limit: how many updates in a row may not be skipped.
        world: the training processes; each keeps its own batches, the first one tells of all.
    """

    def __init__(self, folder: str | os.PathLike[str], limit: int, world: World) -> None:
        self.folder = Path(folder)
        self.limit = limit
        self.world = world
        self.total = 0
        self.in_a_row = 0
        self.scale_is_known_to_be_small = False

    def skipped(self, step: int, reason: str, batches: Sequence[Batch]) -> None:
        """Note on all processes that update `step` was skipped because of these batches of this one, if any.

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
                "the model has diverged: lower optim.base_lr and go on from an earlier checkpoint (resume)"
            )

    def went_well(self) -> None:
        """Note that an update was made."""
        self.in_a_row = 0

    def check_scale(self, step: int, scale: float, batches: Sequence[Batch]) -> None:
        """Warn of a scale of fp16 gradients that has become small. Raises ValueError when nothing can help any more."""
        if scale >= SMALL_SCALE:
            return
        problem = f"gradients overflow in fp16 at step {step} although the loss is multiplied by {scale:.1e} only"
        if not self.scale_is_known_to_be_small or scale < HOPELESS_SCALE:
            self.keep(step, problem, batches)
        if scale < HOPELESS_SCALE:
            raise ValueError(f"{problem}; set precision to bf16 or fp32, or lower optim.base_lr")
        if not self.scale_is_known_to_be_small:
            logger.warning("%s; a batch of this kind is kept in %s", problem, self.folder)
        self.scale_is_known_to_be_small = True

    def keep(self, step: int, reason: str, batches: Sequence[Batch]) -> None:
        """Write batches of this process to the folder, as long as it does not hold many."""
        for number, batch in enumerate(batches):
            if len(list(self.folder.glob("*.safetensors"))) < MOST_KEPT:
                stem = f"step-{step}-{self.world.rank}-{number}"
                write_text(self.folder / f"{stem}.json", description(batch, reason))
                tensors = {"features": batch.features.cpu().contiguous(), "feature_lens": batch.feature_lens.cpu()}
                write_weights(tensors, self.folder / f"{stem}.safetensors")

    def state_dict(self) -> dict[str, int]:
        return {"total": self.total, "in_a_row": self.in_a_row}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.total, self.in_a_row = state["total"], state["in_a_row"]

    def _of_all(self, batches: Sequence[Batch]) -> list[str]:
        ids = self.world.gathered([name for batch in batches for name in batch.ids])
        return [name for part in ids for name in part]


def description(batch: Batch, reason: str) -> str:
    """A batch without its features, and why it is told of, as JSON."""
    entries = {
        "reason": reason,
        "ids": batch.ids,
        "seconds": seconds(batch),
        "texts": batch.texts,
        "tokens": batch.tokens,
    }
    return json.dumps(entries, ensure_ascii=False) + "\n"


def seconds(batch: Batch) -> list[float]:
    """The length of each utterance."""
    return [round(length * HOP / SAMPLING_RATE, 2) for length in batch.feature_lens.tolist()]


@contextmanager
def memory_explained(folder: str | os.PathLike[str], step: int, rank: int, batch: Batch) -> Iterator[None]:
    """Turn a lack of memory while a batch is worked on into a ValueError that says what to do.

    The batch is described in {folder}/out-of-memory-{step}-{rank}.json; other errors pass.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        path = Path(folder) / f"out-of-memory-{step}-{rank}.json"
        write_text(path, description(batch, str(error)))
        num, longest = len(batch.ids), max(seconds(batch))
        size = f"{num} utterances of up to {longest} s, {num * longest:.0f} s with padding"
        raise ValueError(
            f"out of memory at step {step}, on {size}: {', '.join(batch.ids)}. Lower data.max_duration and raise "
            "accumulate as much, which learns the same; lower data.max_len; or set activation_checkpointing. "
            f"The batch is described in {path}"
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that a device or the machine has no memory left."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in EXHAUSTED)
