# SPDX-License-Identifier: Apache-2.0
"""The ordinary differential equation from noise (t = 0) to speech (t = 1) and its integration.

A velocity is any callable `(t, x, condition) -> v`: the model itself, the model with guidance, an exported graph. With
x_t = t x_1 + (1 - t) x_0 it predicts x_1 - x_0. NumPy arrays and PyTorch tensors alike. Shapes: B batch, T frames,
C mel bins of all channels.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from zipvoice.config.synthesis import SamplingConfig, SolverName
from zipvoice.model.arrays import Array, namespace
from zipvoice.model.condition import Condition

Velocity: TypeAlias = Callable[[float | Array, Array, Condition], Array]


def time_grid(num_steps: int, t_shift: float = 1.0, t_start: float = 0.0, t_end: float = 1.0) -> list[float]:
    """The `num_steps` + 1 times between which a solver steps, as float32 values.

    Equal steps τ are warped by t = s τ / (1 + (s - 1) τ); a shift s below 1 packs them near the noise.

    Raises:
        ValueError: no step at all, or a shift that is not positive.

    Example:
        >>> time_grid(4)
        [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, not {num_steps}")
    if not t_shift > 0:
        raise ValueError(f"t_shift must be positive, not {t_shift}")
    tau = _linspace(t_start, t_end, num_steps)  # in float32: whether t > 0.5 in guidance hangs on its last bit
    shift = np.float32(t_shift)
    return (shift * tau / (1 + np.float32(t_shift - 1) * tau)).tolist()


def _linspace(start: float, end: float, num_steps: int) -> np.ndarray:
    """As torch.linspace: the first half from the start, the second from the end, each rounded to float32 once."""
    first, last, index = np.float32(start), np.float32(end), np.arange(num_steps + 1)
    step = np.float64((last - first) / np.float32(num_steps))
    return np.where(index < (num_steps + 1) // 2, first + step * index, last - step * index[::-1]).astype(np.float32)


def times_of(sampling: SamplingConfig) -> list[float]:
    """The times between which a solver steps: the explicit grid of the sampling, else `time_grid`.

    Example:
        >>> times_of(SamplingConfig(2, 1.0, time_grid=(0.0, 0.25, 1.0)))
        [0.0, 0.25, 1.0]
    """
    return list(sampling.time_grid or time_grid(sampling.num_steps, sampling.t_shift))


class Past(NamedTuple):
    """The evaluation at the beginning of the step before."""

    t: float | Array
    """Minus infinity where there was none."""
    velocity: Array

    @classmethod
    def none(cls, x: Array) -> "Past":
        """Before the first step from the state x."""
        return cls(-math.inf, namespace(x).zeros_like(x))


class Step(Protocol):
    """One step of a solver; see `SOLVERS`."""

    def __call__(
        self, velocity: Velocity, x: Array, condition: Condition, t: float | Array, t_next: float | Array, past: Past
    ) -> tuple[Array, Array]:
        """The state at `t_next` and the velocity at `t`, (B, T, C) each.

        Times, those of `past` too, are one number for all or per utterance (B, 1, 1).
        """


def solve(
    velocity: Velocity, x: Array, condition: Condition, times: Sequence[float], solver: SolverName = "euler"
) -> Array:
    """Integrate `velocity` from `x` (B, T, C) at times[0] to times[-1] with one of the `SOLVERS`.

    The times are plain numbers, so that no step waits for an accelerator.

    Example:
        >>> times = time_grid(8, t_shift=0.5)
        >>> speech = solve(guided_velocity(model, 1.0), noise, condition, times, "adams-bashforth")
    """
    step, past = SOLVERS[solver], Past.none(x)
    for t, t_next in pairwise(times):
        x, v = step(velocity, x, condition, t, t_next, past)
        past = Past(t, v)
    return x


def euler(velocity: Velocity, x: Array, condition: Condition, times: Sequence[float]) -> Array:
    """Integrate `velocity` by Euler's method; see `solve`.

    Example:
        >>> speech = euler(guided_velocity(model, 1.0), noise, condition, time_grid(16, t_shift=0.5))
    """
    return solve(velocity, x, condition, times, "euler")


def _euler(
    velocity: Velocity, x: Array, condition: Condition, t: float | Array, t_next: float | Array, past: Past
) -> tuple[Array, Array]:
    v = velocity(t, x, condition)
    return x + (t_next - t) * v, v


def _midpoint(
    velocity: Velocity, x: Array, condition: Condition, t: float | Array, t_next: float | Array, past: Past
) -> tuple[Array, Array]:
    h = t_next - t
    v = velocity(t, x, condition)
    return x + h * velocity(t + h / 2, x + h / 2 * v, condition), v


def _heun(
    velocity: Velocity, x: Array, condition: Condition, t: float | Array, t_next: float | Array, past: Past
) -> tuple[Array, Array]:
    h = t_next - t
    v = velocity(t, x, condition)
    return x + h / 2 * (v + velocity(t_next, x + h * v, condition)), v


def _adams_bashforth(
    velocity: Velocity, x: Array, condition: Condition, t: float | Array, t_next: float | Array, past: Past
) -> tuple[Array, Array]:
    h = t_next - t
    v = velocity(t, x, condition)
    slope = h / (2 * (t - past.t))  # 0 in the first step, which is Euler's
    return x + h * (v + slope * (v - past.velocity)), v


def _mean_flow(
    velocity: Any, x: Array, condition: Condition, t: float | Array, t_next: float | Array, past: Past
) -> tuple[Array, Array]:
    u = velocity(t, x, condition, t_next=t_next)
    return x + (t_next - t) * u, u


SOLVERS: dict[SolverName, Step] = {
    "euler": _euler,
    "midpoint": _midpoint,
    "heun": _heun,
    "adams-bashforth": _adams_bashforth,
    "mean-flow": _mean_flow,
}
"""By name.

- euler: x' = x + h v(t, x), of first order, one evaluation a step.
- midpoint: x' = x + h v(t + h/2, x + h/2 v), of second order, two evaluations.
- heun: x' = x + h/2 (v(t, x) + v(t', x + h v)), of second order, two evaluations.
- adams-bashforth: the integral of the line through this velocity and that of the step before (Hairer, Nørsett and
  Wanner, 1993, III.5), of second order on uneven grids too, one evaluation.
- mean-flow: x' = x + h u(t, x, t'), one evaluation, for a model that predicts the mean velocity u of a step and is
  told its end as `t_next`: as exact as the model, however long the step (Geng et al., 2025, equation 12).
"""
