# SPDX-License-Identifier: Apache-2.0
"""Averages of weights, while a model is trained and between two checkpoints of a run."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from zipvoice.config.strict_json import read_json
from zipvoice.config.training import AverageOptions, RunConfig
from zipvoice.training.checkpoint import averaged_weights, checkpoint_path, load, steps_saved
from zipvoice.weights import write_weights

Weights = Mapping[str, Tensor]

logger = logging.getLogger(__name__)


class RunningAverage:
    """A running average of weights: the plain mean over a run, or an exponential moving average.

    The mean is over the weights at the multiples of `period` since the start of training. It costs nothing between the
    multiples, and the difference of two of them gives the mean over any part of the run (see `between`).

        average = RunningAverage(on_cpu(model.state_dict()), period=200)
        average.update(model.state_dict(), step)

    Args:
        average: the initial weights; these tensors are updated in place. Those that are not floating-point are
            overwritten by the newest ones.
        period: steps between updates.
        decay: of an exponential moving average; None for the mean.
        warmup: at first the decay is step / (warmup + step) only, so that the initial weights are soon forgotten.
    """

    def __init__(self, average: Weights, period: int = 1, decay: float | None = None, warmup: int = 0) -> None:
        if period < 1:
            raise ValueError(f"average_period must be at least 1, not {period}")
        self.average = dict(average)
        self.period = period
        self.decay = decay
        self.warmup = warmup

    @torch.no_grad()
    def update(self, weights: Weights, step: int) -> None:
        """Take in the weights after `step` (from 1) optimizer steps; does nothing between multiples of the period."""
        if step % self.period != 0:
            return
        share = self.period / step if self.decay is None else 1 - min(self.decay, step / (self.warmup + step))
        for name, average in self.average.items():
            if average.is_floating_point():
                average.lerp_(weights[name].to(average), share)
            else:
                average.copy_(weights[name])

    def state_dict(self) -> dict[str, Tensor]:
        """The average itself."""
        return self.average

    @torch.no_grad()
    def load_state_dict(self, state: Weights) -> None:
        """Take over a saved average; raises ValueError when it is of another model."""
        if state.keys() != self.average.keys():
            raise ValueError(f"the saved average has other weights: {sorted(state.keys() ^ self.average.keys())[:5]}")
        for name, average in self.average.items():
            average.copy_(state[name])


def on_cpu(weights: Weights) -> dict[str, Tensor]:
    """Copies on the CPU, floating-point ones in float64, in which a mean over a long run keeps its digits."""
    types = {name: torch.float64 if tensor.is_floating_point() else tensor.dtype for name, tensor in weights.items()}
    return {name: tensor.detach().to("cpu", types[name], copy=True) for name, tensor in weights.items()}


def between(start: Weights, end: Weights, start_step: int, end_step: int, period: int) -> dict[str, Tensor]:
    """The mean weights over the steps after `start_step` up to `end_step`, from the running averages at both.

    With n multiples of the period summed up in each average, (n_e avg_e - n_s avg_s) / (n_e - n_s). Tensors that are
    not floating-point are those of the end. Raises ValueError when no multiple of the period lies in between.
    """
    num_start, num_end = start_step // period, end_step // period
    if num_end <= num_start:
        raise ValueError(
            f"no weights were averaged between steps {start_step} and {end_step}: "
            f"the average takes in every {period}th step; use checkpoints further apart"
        )
    weight = num_end / (num_end - num_start)
    mean = {}
    for name, tensor in end.items():
        if tensor.is_floating_point():
            mixed = torch.lerp(start[name].double(), tensor.double(), weight)
            mean[name] = mixed.to(tensor.dtype)
        else:
            mean[name] = tensor.clone()
    return mean


def average(options: AverageOptions) -> Path:
    """Write the mean weights between two checkpoints as model.safetensors into the folder of the run.

        average(AverageOptions("exp/zipvoice", num=4))

    Returns its path. Raises ValueError when there are too few checkpoints or they are too close together.
    """
    exp_dir, saved = Path(options.exp_dir), steps_saved(options.exp_dir)
    if not exp_dir.is_dir():
        raise ValueError(f"there is no folder {exp_dir}; name that of a run (exp_dir)")
    if options.num < 1:
        raise ValueError(f"num must be at least 1, not {options.num}")
    if options.step is not None and options.step not in saved:
        raise ValueError(f"{exp_dir} has no checkpoint of step {options.step}; it has those of {saved or 'no step'}")
    usable = [step for step in saved if options.step is None or step <= options.step]
    if len(usable) <= options.num:
        raise ValueError(
            f"averaging over {options.num} intervals needs {options.num + 1} checkpoints; {exp_dir} has {len(usable)}"
        )
    start_path, end_path = (checkpoint_path(exp_dir, step) for step in (usable[-1 - options.num], usable[-1]))
    start, end = load(start_path), load(end_path)
    averages = averaged_weights(start, start_path), averaged_weights(end, end_path)
    return _write(exp_dir, between(*averages, start["step"], end["step"], end["average_period"]))


def publish(exp_dir: str | os.PathLike[str], every: int = 1) -> Path:
    """Write the result of a run as model.safetensors: the mean weights over the last interval between checkpoints.

    The interval begins at a checkpoint at a multiple of `every`, so that the result does not depend on interrupts. An
    interval that is too short for an average is extended by the one before it; without an earlier checkpoint, the
    result is the last weights themselves.
    """
    *earlier, last = steps_saved(exp_dir)
    end = load(checkpoint_path(exp_dir, last))
    period = end["average_period"]
    starts = [step for step in earlier if step // period < last // period and step % every == 0]
    if not starts:
        logger.info("the run is too short to average over; its last weights are the model")
        return _write(exp_dir, end["model"])
    start = load(checkpoint_path(exp_dir, starts[-1]))
    return _write(exp_dir, between(start["model_avg"], end["model_avg"], starts[-1], last, period))


def _write(exp_dir: str | os.PathLike[str], weights: Weights) -> Path:
    """Write model.safetensors, which is a plain model also where adapters were trained; they are written beside it."""
    from zipvoice.training.lora import is_adapted, merged, save_adapter  # only needed where adapters were trained

    path = Path(exp_dir) / "model.safetensors"
    weights = {name: w.float() if w.is_floating_point() else w for name, w in weights.items()}
    if is_adapted(weights):
        config = read_json(RunConfig, path.with_name("run.json"))
        save_adapter(exp_dir, weights, config)
        weights = merged(weights, config.lora)
    write_weights(weights, path)
    return path
