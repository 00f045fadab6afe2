# SPDX-License-Identifier: Apache-2.0
"""ScaledAdam: Adam whose step is proportional to the size of each parameter, with that size learned as well.

After Yao et al., "Zipformer: A faster and better encoder for automatic speech recognition" (ICLR 2024), section 3.5.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import compress
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from zipvoice.model.kernels.fusion import fusible, is_fused

ELEMENTS_IN_CACHE = 2**20
ELEMENTS_ALONE = 2**15  # of a parameter that pays a call of its own for compiled code
EARLY_CLIPPING_UPDATES = (10, 20, 40)  # steps at which a first, generous threshold is set
ADAPTER_SIZE = 1.0
"""Smallest size assumed for the matrices of adapters (param_min_rms), larger than they get: so they take Adam steps of
the plain learning rate. One of the two starts at zero, and steps in proportion to its size would not lead away: in 30
steps on other speech the validation loss of a small model went from 2.184 to 1.236 with a rate of 0.001, and to 2.183
with a rate of 0.01 and the usual smallest size."""


class ScaledAdam(Optimizer):
    """Adam with updates scaled by each parameter's root mean square, learned sizes and median-based gradient clipping.

    Parameters with one element ("scalars") take plain Adam steps at a tenth of the rate and are clamped. Gradients are
    never changed; a missing one counts as zero. All parameters are updated by the same few list operations, which a
    GPU runs as fused kernels; what is one number per parameter is kept on the CPU and costs one transfer per step.

    Args:
        params: parameters, or groups of them with their own `lr`, as for every torch optimizer.
        lr: relative change of a parameter per step, roughly.
        clipping_scale: gradients are clipped to this multiple of the median gradient norm; None does not clip.
        betas: decay of the averaged update and of the averaged squared gradient.
        scalar_lr_scale: rate of scalars, and of the learned sizes, relative to `lr`.
        eps: added to the root of the averaged squared gradient.
        param_min_rms: smallest size assumed for a parameter; smaller ones are not rescaled.
        param_max_rms: largest size a parameter is allowed to grow to.
        scalar_max: largest absolute value of a scalar.
        size_update_period: steps between updates of the sizes.
        clipping_update_period: steps between updates of the clipping threshold.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 0.03,
        clipping_scale: float | None = None,
        betas: tuple[float, float] = (0.9, 0.98),
        scalar_lr_scale: float = 0.1,
        eps: float = 1e-8,
        param_min_rms: float = 1e-5,
        param_max_rms: float = 3.0,
        scalar_max: float = 10.0,
        size_update_period: int = 4,
        clipping_update_period: int = 100,
    ) -> None:
        defaults = {
            "lr": lr,
            "clipping_scale": clipping_scale,
            "betas": betas,
            "scalar_lr_scale": scalar_lr_scale,
            "eps": eps,
            "param_min_rms": param_min_rms,
            "param_max_rms": param_max_rms,
            "scalar_max": scalar_max,
            "size_update_period": size_update_period,
            "clipping_update_period": clipping_update_period,
        }
        super().__init__(params, defaults)
        # One record per group beside the records of the parameters; string keys travel through state_dict as they are.
        for number, group in enumerate(self.param_groups):
            self.state[_record(number)] = _initial_record(group)  # type: ignore[index]

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every parameter."""
        assert closure is None, "ScaledAdam evaluates no closure"
        for number, group in enumerate(self.param_groups):
            self._update_group(group, self.state[_record(number)])  # type: ignore[index]

    def clipping(self) -> list[tuple[float, float]]:
        """Gradient norm and clipping factor of the last step, per group, for logs."""
        records = [self.state[_record(number)] for number in range(len(self.param_groups))]  # type: ignore[index]
        return [(record["norm"], record["factor"]) for record in records]

    def _update_group(self, group: dict[str, Any], record: dict[str, Any]) -> None:
        params, grads = _flat(group["params"])
        states = [self._parameter_state(p) for p in group["params"]]
        if record["step"] == 0:
            record["param_rms"] = _rms(params, record)
        norms, dots = _norms_and_dots(params, grads)
        record["norm"], record["factor"] = _clip(group, record, norms)
        if record["factor"] == 0.0:  # infinite or undefined gradients: multiplying would leave NaN
            grads, dots = [torch.zeros_like(g) for g in grads], torch.zeros_like(dots)
        growth = _size_growth(group, record, params, dots)
        _adam(group, record, params, grads, states, growth)
        _clamp_([p for p in params if p.numel() == 1], group["scalar_max"])
        record["step"] += 1

    def _parameter_state(self, param: Tensor) -> dict[str, Tensor]:
        state = self.state[param]
        if not state:
            state["exp_avg_sq"] = torch.zeros_like(param, memory_format=torch.contiguous_format)
            state["delta"] = torch.zeros_like(param, memory_format=torch.contiguous_format)
        return state


def parameter_groups(model: nn.Module, lr: float, lr_scales: Mapping[str, float] | None = None) -> list[dict[str, Any]]:
    """The trainable parameters of a model, grouped by learning rate and adapters apart, for an optimizer.

    Args:
        model: parameters that do not require gradients are left out.
        lr: learning rate.
        lr_scales: factors by module name ("" is the whole model); the rate of a parameter is multiplied by those of all
            modules it lies in.

    Returns:
        Groups `{"lr", "lr_scale", "params", "names"}` in order of first appearance; those of adapters have a
        `param_min_rms` too. Raises ValueError when nothing is left to train.
    """
    groups: dict[tuple[float, bool], dict[str, Any]] = {}
    for name, param in model.named_parameters():
        if not param.requires_grad:
            continue
        parts = name.split(".")
        prefixes = [".".join(parts[:depth]) for depth in range(len(parts))]
        scale = math.prod((lr_scales or {}).get(prefix, 1.0) for prefix in prefixes)
        is_adapter = ".lora_" in name
        new: dict[str, Any] = {"lr": lr * scale, "lr_scale": scale, "params": [], "names": []}
        group = groups.setdefault((scale, is_adapter), new | ({"param_min_rms": ADAPTER_SIZE} if is_adapter else {}))
        group["params"].append(param)
        group["names"].append(name)
    if not groups:
        raise ValueError("no parameter is left to train: all parts of the model are frozen")
    return list(groups.values())


def _record(number: int) -> str:
    return f"group {number}"


def _initial_record(group: dict[str, Any]) -> dict[str, Any]:
    """The state of a group that is not per element: all on the CPU, one entry per parameter where it is a vector."""
    num_params = len(group["params"])
    return {
        "step": 0,
        "num_elements": torch.tensor([p.numel() for p in group["params"]]),
        "param_rms": torch.zeros(num_params),
        "scale_grads": torch.zeros(group["size_update_period"], num_params),
        "scale_exp_avg_sq": torch.zeros(num_params),
        "norms": torch.zeros(group["clipping_update_period"]),
        "threshold": None,
        "norm": 0.0,
        "factor": 1.0,
    }


def _flat(params: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Parameters and gradients as vectors; those of the parameters share their memory."""
    grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in params]
    return [p.view(-1) for p in params], [g.reshape(-1) for g in grads]


def _to_cpu(scalars: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(scalars)).float().cpu()


def _rms(params: list[Tensor], record: dict[str, Any]) -> Tensor:
    return _to_cpu(torch._foreach_norm(params)) / record["num_elements"].sqrt()


def _norms_and_dots(params: list[Tensor], grads: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Norm of the gradient g and Σ p g of each parameter."""
    if params[0].device.type != "cpu":
        return _norms_and_dots_by_lists(params, grads)
    # One parameter after the other, so that the second sum finds its gradient in the cache.
    sums = [(torch.dot(g, g), torch.dot(p, g)) for p, g in zip(params, grads, strict=True)]
    squares, dots = zip(*sums, strict=True)
    return _to_cpu(squares).sqrt(), _to_cpu(dots)


def _norms_and_dots_by_lists(params: list[Tensor], grads: list[Tensor]) -> tuple[Tensor, Tensor]:
    """By sums of positive and of negative products: norms of a list take few kernels, sums one for each parameter."""
    products = torch._foreach_mul(params, grads)
    positive, negative = torch._foreach_clamp_min(products, 0.0), torch._foreach_clamp_max(products, 0.0)
    dots = torch._foreach_sub(torch._foreach_norm(positive, 1), torch._foreach_norm(negative, 1))
    return _to_cpu(torch._foreach_norm(grads)), _to_cpu(dots)


def _clamp_(params: list[Tensor], limit: float) -> None:
    if params:
        torch._foreach_clamp_min_(params, -limit)
        torch._foreach_clamp_max_(params, limit)


def _for_scalars(value: float, others: Tensor, record: dict[str, Any]) -> Tensor:
    """`value` where a parameter has one element, `others` elsewhere, shape (parameters,)."""
    return others.where(record["num_elements"] > 1, torch.tensor(value))


def _clip(group: dict[str, Any], record: dict[str, Any], norms: Tensor) -> tuple[float, float]:
    """Gradient norm relative to the sizes of the parameters, and the factor that limits it."""
    k, scale, period = record["step"], group["clipping_scale"], group["clipping_update_period"]
    if scale is None or k == 0:
        return 0.0, 1.0
    weights = _for_scalars(group["scalar_lr_scale"], record["param_rms"], record)
    norm = float(torch.linalg.vector_norm(norms * weights))
    record["norms"][k % period] = norm
    early = k in EARLY_CLIPPING_UPDATES and k < period
    if early or k % period == 0:
        seen = record["norms"][1 : k + 1] if early else record["norms"]  # the first step has no norm
        record["threshold"] = (2 if early else 1) * scale * _median(seen)
    if not math.isfinite(norm):
        return norm, 0.0
    if record["threshold"] is None:
        return norm, 1.0
    return norm, min(1.0, record["threshold"] / (norm + 1e-20))


def _median(norms: Tensor) -> float:
    """The median gradient norm, of an even number the upper one."""
    median = float(norms.sort().values[min(len(norms) - 1, len(norms) // 4 * 2)])
    if not math.isfinite(median):
        raise ValueError("too many gradients are infinite or undefined: the median of the recent norms is not finite")
    return median


def _size_growth(group: dict[str, Any], record: dict[str, Any], params: list[Tensor], dots: Tensor) -> list[float]:
    """Relative change of the size of each parameter, by Adam on the logarithm of the size; 0 between its updates."""
    k, period = record["step"], group["size_update_period"]
    gradients = record["scale_grads"]
    gradients[k % period] = record["factor"] * dots
    if k % period != period - 1:
        return [0.0] * len(params)

    rms = record["param_rms"] = _rms(params, record)
    decay = group["betas"][1] ** period
    squares = record["scale_exp_avg_sq"]
    squares.mul_(decay).add_(gradients.square().mean(dim=0), alpha=1 - decay)
    rate = group["lr"] * group["scalar_lr_scale"] * math.sqrt(1 - decay ** ((k + 1) // period))
    growth = -rate * gradients.sum(dim=0) / (squares.sqrt() + group["eps"])
    growth = growth.where(rms >= group["param_min_rms"], torch.tensor(0.0)).clamp(-0.1, 0.1)
    growth = torch.minimum(growth, (group["param_max_rms"] - rms) / rms)
    return _for_scalars(0.0, growth, record).tolist()


def _adam(
    group: dict[str, Any],
    record: dict[str, Any],
    params: list[Tensor],
    grads: list[Tensor],
    states: list[dict[str, Tensor]],
    growth: list[float],
) -> None:
    """Move the parameters: delta <- beta_1 delta + (1 - beta_1) (growth p - rate g / root of the averaged g^2)."""
    beta_1, beta_2 = group["betas"]
    bias = 1 - beta_2 ** (record["step"] + 1)
    correction = math.sqrt(bias) if bias < 0.99 else 1.0
    sizes = record["param_rms"].clamp(min=group["param_min_rms"])
    rates = group["lr"] * _for_scalars(group["scalar_lr_scale"], sizes, record)
    factors = -(1 - beta_1) * record["factor"] * correction * rates
    growths = (1 - beta_1) * torch.tensor(growth)
    square_factor, eps = (1 - beta_2) * record["factor"] ** 2, group["eps"] * correction
    squares = [state["exp_avg_sq"].view(-1) for state in states]
    deltas = [state["delta"].view(-1) for state in states]

    # Large parameters one by one in compiled code, all others together by list operations.
    alone = [is_fused() and p.device.type == "cpu" and p.numel() >= ELEMENTS_ALONE for p in params]
    same = torch.tensor([beta_1, beta_2, square_factor, eps])
    columns = params, grads, squares, deltas, factors, growths
    for p, grad, square, delta, factor, change in zip(*(compress(x, alone) for x in columns), strict=True):
        _move_(p, grad, square, delta, factor, change, same)
    together = [not by_itself for by_itself in alone]
    params, grads, squares, deltas = (list(compress(x, together)) for x in (params, grads, squares, deltas))
    rates, changes = (list(compress(x.tolist(), together)) for x in (factors, growths))
    for part in _parts(params):
        torch._foreach_mul_(squares[part], beta_2)
        torch._foreach_addcmul_(squares[part], grads[part], grads[part], square_factor)
        roots = torch._foreach_sqrt(squares[part])
        torch._foreach_add_(roots, eps)
        torch._foreach_mul_(deltas[part], beta_1)
        torch._foreach_addcdiv_(deltas[part], grads[part], roots, rates[part])
        if any(changes[part]):
            torch._foreach_add_(deltas[part], torch._foreach_mul(params[part], changes[part]))
        torch._foreach_add_(params[part], deltas[part])


@fusible
def _move_(
    p: Tensor, grad: Tensor, square: Tensor, delta: Tensor, factor: Tensor, growth: Tensor, same: Tensor
) -> None:
    """One parameter's share of `_adam`, in one pass over memory."""
    beta_1, beta_2, square_factor, eps = same.unbind()
    square.copy_(beta_2 * square + square_factor * grad * grad)
    delta.copy_(beta_1 * delta + factor * grad / (square.sqrt() + eps) + growth * p)
    p.add_(delta)


def _parts(params: list[Tensor]) -> Iterator[slice]:
    """All parameters at once on a GPU; on a CPU as many as stay in its cache from one operation to the next."""
    start, size = 0, 0
    for end, param in enumerate(params):
        if param.device.type == "cpu" and size + param.numel() > ELEMENTS_IN_CACHE and end > start:
            yield slice(start, end)
            start, size = end, 0
        size += param.numel()
    if params:
        yield slice(start, len(params))
