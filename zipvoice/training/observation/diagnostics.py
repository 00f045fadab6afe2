# SPDX-License-Identifier: Apache-2.0
"""Diagnostics of a model in training: statistics of its activations and gradients, and the first non-finite value.

Both take a model, an objective and batches, as a trainer does, and leave the weights as they are. Randomness comes from
PyTorch's default generators and the generator that is passed in.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from zipvoice.data.collate import Batch
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.training.losses import Objective
from zipvoice.training.observation.memory import training_loss
from zipvoice.training.precision import Precision

FP32 = Precision("fp32", "cpu")

See = Callable[[Any, str, Tensor], None]
"""Is called with "input", "output" or "gradient" (of the loss with respect to an output), the module and the values."""

PERCENTILES = (1, 10, 50, 90, 99)
SAMPLED = 2_000
"""Values of each tensor that percentiles are estimated from."""


@contextmanager
def observed(model: nn.Module, see: See) -> Iterator[None]:
    """Call `see` for every floating-point tensor that enters or leaves a module, in order, and for their gradients."""

    def before(name: str, args: Any) -> None:
        for tensor in _tensors(args):
            see("input", name, tensor.detach())

    def after(name: str, output: Any) -> None:
        for tensor in _tensors(output):
            see("output", name, tensor.detach())
            if tensor.requires_grad:
                tensor.register_hook(lambda gradient: see("gradient", name, gradient.detach()))

    hooks = []
    for path, module in model.named_modules():
        name = path or "the model"
        hooks.append(module.register_forward_pre_hook(lambda _, args, name=name: before(name, args)))
        hooks.append(module.register_forward_hook(lambda _, __, output, name=name: after(name, output)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _tensors(item: Any) -> Iterator[Tensor]:
    """The floating-point tensors in arguments or results."""
    if isinstance(item, Tensor):
        if item.is_floating_point() and item.numel():
            yield item
    elif isinstance(item, tuple | list):
        for part in item:
            yield from _tensors(part)
    elif dataclasses.is_dataclass(item) and not isinstance(item, type):
        for field in dataclasses.fields(item):
            yield from _tensors(getattr(item, field.name))


# ---------------------------------------------------------------- statistics


@dataclass(frozen=True)
class Statistics:
    """Statistics of the values at one place, over all batches, padding included."""

    name: str
    """Of the module or parameter."""
    what: Literal["output", "gradient", "weight", "weight gradient"]
    count: int
    """Number of values."""
    mean: float
    abs_mean: float
    rms: float
    minimum: float
    percentiles: tuple[float, ...]
    """At `PERCENTILES`, estimated from a sample."""
    maximum: float
    positive: float
    """Share of values above 0."""
    norm: float
    """Mean Euclidean norm of the vectors along the last axis."""


def diagnose(
    model: ZipVoice,
    objective: Objective[ZipVoice, Batch],
    batches: Iterable[Batch],
    generator: torch.Generator,
    precision: Precision = FP32,
) -> list[Statistics]:
    """Statistics of module outputs and their gradients, in the order of the forward pass, then those of parameters.

    Raises ValueError without batches.
    """
    gathered: dict[tuple[Any, str], _Gathered] = {}

    def see(what: Any, name: str, tensor: Tensor) -> None:
        if what != "input":
            scale = precision.scale if "gradient" in what else 1.0
            gathered.setdefault((what, name), _Gathered()).add(tensor.float() / scale)

    with observed(model, see):
        for batch in batches:
            training_loss(model, objective, batch, generator, precision).backward()
            objective.after_step(model)
            for name, p in model.named_parameters():
                if p.grad is not None:
                    see("weight gradient", name, p.grad)
            model.zero_grad(set_to_none=True)
    if not gathered:
        raise ValueError("there are no batches to diagnose: the training data is empty, or num_batches is 0")
    for name, p in model.named_parameters():
        see("weight", name, p.detach())
    places = list(dict.fromkeys(name for what, name in gathered if what in ("output", "gradient")))
    places += [name for name, _ in model.named_parameters()]
    kinds = ("output", "gradient", "weight", "weight gradient")
    return [
        gathered[what, name].statistics(name, what) for name in places for what in kinds if (what, name) in gathered
    ]


class _Gathered:
    """Sums over the values of many tensors."""

    def __init__(self) -> None:
        self.count = self.vectors = 0
        self.sums = torch.zeros(5, dtype=torch.float64)  # value, absolute value, square, positive, norm of vector
        self.minimum, self.maximum = torch.tensor(torch.inf), torch.tensor(-torch.inf)
        self.sample: list[Tensor] = []
        self.generator = torch.Generator().manual_seed(0)

    def add(self, x: Tensor) -> None:
        norms = torch.linalg.vector_norm(x, dim=-1) if x.dim() else x.abs()
        sums = [x.sum(), x.abs().sum(), x.square().sum(), (x > 0).sum(), norms.sum()]
        self.sums += torch.stack([s.double() for s in sums]).cpu()
        self.count += x.numel()
        self.vectors += norms.numel()
        self.minimum = torch.minimum(self.minimum, x.min().cpu())
        self.maximum = torch.maximum(self.maximum, x.max().cpu())
        # At random places: evenly spaced ones could all lie in the same few channels.
        places = torch.randint(x.numel(), (min(SAMPLED, x.numel()),), generator=self.generator).to(x.device)
        self.sample.append(x.reshape(-1)[places].cpu())

    def statistics(self, name: str, what: Any) -> Statistics:
        mean, abs_mean, square, positive, _ = (self.sums / self.count).tolist()
        shares = torch.tensor(PERCENTILES) / 100
        return Statistics(
            name=name,
            what=what,
            count=self.count,
            mean=mean,
            abs_mean=abs_mean,
            rms=square**0.5,
            minimum=float(self.minimum),
            percentiles=tuple(torch.quantile(torch.cat(self.sample), shares).tolist()),
            maximum=float(self.maximum),
            positive=positive,
            norm=float(self.sums[4]) / self.vectors,
        )


def table(statistics: Iterable[Statistics]) -> str:
    """Statistics as text for a terminal, a line each."""
    header = ["", "", "mean", "|mean|", "rms", "min", *(f"{p} %" for p in PERCENTILES), "max", "> 0", "norm"]
    rows = [header]
    for s in statistics:
        numbers = [s.mean, s.abs_mean, s.rms, s.minimum, *s.percentiles, s.maximum]
        rows.append([s.name, s.what, *(f"{x:.2g}" for x in numbers), f"{s.positive:.0%}", f"{s.norm:.2g}"])
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    aligned = (
        [
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    )
    return "\n".join("  ".join(row).rstrip() for row in aligned)


# ---------------------------------------------------------------- non-finite values


@dataclass(frozen=True)
class NonFinite:
    """The first place where a value was infinite or not a number."""

    what: Literal["features", "weight", "input", "output", "loss", "gradient", "weight gradient"]
    name: str
    """Of the module or parameter."""
    num_values: int
    """How many values are not finite there, of `size`."""
    size: int
    before: str
    """The last place where all values were finite, if there was one."""
    ids: tuple[str, ...]
    """The utterances of the batch; for features only those with such values."""

    def __str__(self) -> str:
        shown = ", ".join(self.ids[:10]) + (f" and {len(self.ids) - 10} more" if len(self.ids) > 10 else "")
        last = f"; the last finite values were {self.before}" if self.before else ""
        which = f", on the utterances {shown}" if self.ids else ""
        return f"{self.num_values} of {self.size} values are not finite in {_place(self.what, self.name)}{which}{last}"


def _place(what: str, name: str) -> str:
    """Where values were seen, in words."""
    whole = {"features": "the features", "loss": "the loss", "gradient": f"the gradient at the output of {name}"}
    return whole.get(what, f"the {what} of {name}")


def first_non_finite(
    model: ZipVoice,
    objective: Objective[ZipVoice, Batch],
    batches: Iterable[Batch],
    generator: torch.Generator,
    precision: Precision = FP32,
) -> NonFinite | None:
    """Where the first value that is not finite appears in forward and backward passes, None if it does nowhere.

    Looks at the weights, then for each batch at the features, at what enters and leaves each module in the order of
    the forward pass, at the loss, at the gradients in the order of the backward pass, and at those of the parameters.
    """
    for name, p in model.named_parameters():
        if fault := _fault("weight", name, p.detach(), "", ()):
            return fault
    for batch in batches:
        fault = _bad_features(batch) or _fault_in_passes(model, objective, batch, generator, precision)
        model.zero_grad(set_to_none=True)
        if fault:
            return fault
        objective.after_step(model)
    return None


def _fault(what: Any, name: str, tensor: Tensor, before: str, ids: Iterable[str]) -> NonFinite | None:
    bad = tensor.numel() - int(tensor.isfinite().sum())
    return NonFinite(what, name, bad, tensor.numel(), before, tuple(ids)) if bad else None


def _bad_features(batch: Batch) -> NonFinite | None:
    bad = [name for name, item in zip(batch.ids, batch.features, strict=True) if not item.isfinite().all()]
    return _fault("features", "", batch.features, "", bad)


def _fault_in_passes(
    model: ZipVoice,
    objective: Objective[ZipVoice, Batch],
    batch: Batch,
    generator: torch.Generator,
    precision: Precision,
) -> NonFinite | None:
    fault: NonFinite | None = None
    before = ""

    def see(what: Any, name: str, tensor: Tensor) -> None:
        nonlocal fault, before
        if fault is None and (fault := _fault(what, name, tensor, before, batch.ids)) is None and what != "input":
            before = _place(what, name)

    with observed(model, see):
        loss = training_loss(model, objective, batch, generator, precision)
        see("loss", "", loss.detach())
        if fault is None:
            loss.backward()
    for name, p in model.named_parameters():
        if p.grad is not None:
            see("weight gradient", name, p.grad)
    return fault
