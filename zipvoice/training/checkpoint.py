# SPDX-License-Identifier: Apache-2.0
"""The state of a training run on disk: checkpoint-{step}.pt, whole or not at all."""

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zipvoice.files import whole_file
from zipvoice.weight_names import plain_names
from zipvoice.weights import read_torch_file

NAME = re.compile(r"checkpoint-(\d+)\.pt")

logger = logging.getLogger(__name__)


def checkpoint_path(exp_dir: str | os.PathLike[str], step: int) -> Path:
    """Where the state after `step` steps is kept."""
    return Path(exp_dir) / f"checkpoint-{step}.pt"


def steps_saved(exp_dir: str | os.PathLike[str]) -> list[int]:
    """The steps that have a checkpoint, in ascending order."""
    matches = (NAME.fullmatch(path.name) for path in Path(exp_dir).glob("checkpoint-*.pt"))
    return sorted(int(match[1]) for match in matches if match)


def save(exp_dir: str | os.PathLike[str], step: int, state: Mapping[str, Any]) -> Path:
    """Write the state of a run: a mapping of plain containers, numbers, strings and tensors.

    Raises OSError that names the last good checkpoint if it cannot be written, for instance to a full disk; no partial
    file is left behind.
    """
    path = checkpoint_path(exp_dir, step)
    try:
        # Through an open file, so that the operating system's error arrives rather than one of the archive's writer.
        with whole_file(path) as temporary, temporary.open("wb") as file:
            torch.save(dict(state), file)
    except (OSError, RuntimeError) as error:
        earlier = [saved for saved in steps_saved(exp_dir) if saved != step]
        kept = f"; the last good one is {checkpoint_path(exp_dir, earlier[-1]).name}" if earlier else ""
        raise OSError(
            f"could not write {path}: {_reason(error)}{kept}. Free some space and start the run again"
        ) from error
    return path


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The state that `save` wrote, or that the reference implementation wrote, on the CPU.

    Prefixes of weight names that training programs add are removed, the reference's name of the number of steps
    is understood, and so is the form that vocoder runs had before they shared the trainer. Raises ValueError that names
    the file and the reason for anything else.
    """
    state = read_torch_file(path)
    if not isinstance(state, dict) or not isinstance(state.get("model"), dict):
        raise ValueError(f"{path} is not a training checkpoint: it has no weights under the key 'model'")
    for key in ("model", "model_avg"):
        if isinstance(state.get(key), dict):
            state[key] = plain_names(state[key], str(path))
    if "step" not in state and "batch_idx_train" in state:
        state["step"] = state["batch_idx_train"]
    return _from_vocoder_trainer(state) if "opponent" in state else state


def _from_vocoder_trainer(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state of a vocoder run of version 0.1, whose trainer was one of its own."""
    networks = {name.replace("judges.", "discriminators.", 1): x for name, x in state["discriminators"].items()}
    return {
        **{name: state[name] for name in ("step", "model", "optimizer", "recent")},
        "average_period": None,
        "model_avg": None,
        "model_training": [{}],
        "precision": {"scale": 1.0, "num_good": 0},
        "objective": {
            "num_steps": state["step"],
            "average": state["average"],
            "discriminators": networks,
            "optimizer_d": state["opponent"],
        },
        "data": {"num_batches": state["step"]},
        "bad_batches": {"total": 0, "in_a_row": 0},
        "best_valid_loss": None,
    }


def to_resume(exp_dir: str | os.PathLike[str], resume: str) -> tuple[Path, dict[str, Any]] | None:
    """The checkpoint that a run goes on from, and its state; None if it is to begin.

    Args:
        exp_dir: folder of the run.
        resume: auto, never, or the path of a checkpoint; see `RunConfig`.

    Raises:
        ValueError: the folder holds checkpoints although it should not, or later ones than the one that is given.
    """
    if resume == "auto":
        return newest(exp_dir)
    steps = steps_saved(exp_dir)
    if resume == "never":
        if steps:
            raise ValueError(
                f"{exp_dir} holds checkpoints up to step {steps[-1]}; choose another exp_dir, or continue (resume auto)"
            )
        return None
    if Path(resume).is_dir():
        found = steps_saved(resume)
        hint = f", such as {checkpoint_path(resume, found[-1])}" if found else "; this one has none"
        raise ValueError(
            f"resume is auto, never or a checkpoint, and {resume} is a folder; name a checkpoint in it{hint}"
        )
    state = load(resume)
    if steps and steps[-1] > state["step"]:
        raise ValueError(
            f"{exp_dir} holds checkpoints up to step {steps[-1]}, later than {resume}; move the later ones away, or "
            "choose another exp_dir"
        )
    return Path(resume), state


def newest(exp_dir: str | os.PathLike[str]) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint of a run that is whole, and its state; None if there is none at all.

    Damaged ones that are newer are put aside, under another name, with a warning. Raises ValueError if all are damaged.
    """
    steps = steps_saved(exp_dir)
    for step in reversed(steps):
        path = checkpoint_path(exp_dir, step)
        try:
            return path, load(path)
        except ValueError as error:
            aside = path.with_name(path.name + ".damaged")
            logger.warning("%s is put aside as %s, and the one before it is used: %s", path, aside.name, error)
            os.replace(path, aside)
    if steps:
        raise ValueError(f"all checkpoints in {exp_dir} are damaged; to begin again, choose another exp_dir")
    return None


def prune(exp_dir: str | os.PathLike[str], keep: int, every: int = 1) -> None:
    """Delete all checkpoints but the newest `keep` of those at multiples of `every`, and the newest of all.

    Averages are made of the former. Others come from interrupts or the clock, and serve until there is a newer one.
    """
    *others, last = steps_saved(exp_dir)
    regular = [step for step in (*others, last) if step % every == 0]
    for step in {*others} - {*regular[-keep:]}:
        checkpoint_path(exp_dir, step).unlink()


def averaged_weights(state: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """The running average of a loaded checkpoint. Raises ValueError when it has none."""
    average = state.get("model_avg")
    if not isinstance(average, dict) or not {"step", "average_period"} <= state.keys():
        raise ValueError(f"{path} has no running average to work with: it needs model_avg, step and average_period")
    return average


def _reason(error: BaseException) -> str:
    """The first system error behind `error`, which the archive's writer may have covered with one of its own."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    return str(cause.strerror or cause) if isinstance(cause, OSError) else str(error)
