# SPDX-License-Identifier: Apache-2.0
"""The ordinary differential equation from noise (t = 0) to speech (t = 1) and its integration.

A velocity is any callable `(t, x, condition) -> v`: the model itself, the model with guidance, an exported graph. With
x_t = t x_1 + (1 - t) x_0 it predicts x_1 - x_0. NumPy arrays and PyTorch tensors alike. Shapes: B batch, T frames,
C mel bins of all channels.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from zipvoice.model.arrays import Array
from zipvoice.model.condition import Condition

Velocity: TypeAlias = Callable[[float | Array, Array, Condition], Array]


def time_grid(num_steps: int, t_shift: float = 1.0, t_start: float = 0.0, t_end: float = 1.0) -> list[float]:
    """The `num_steps` + 1 times between which Euler's method steps, as float32 values.

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


def euler(velocity: Velocity, x: Array, condition: Condition, times: Sequence[float]) -> Array:
    """Integrate `velocity` from `x` (B, T, C) at times[0] to times[-1]: x ← x + (t' - t) v(t, x) at each step.

    The times are plain numbers, so that no step waits for an accelerator.

    Example:
        >>> speech = euler(guided_velocity(model, 1.0), noise, condition, time_grid(16, t_shift=0.5))
    """
    for t, t_next in pairwise(times):
        x = euler_step(velocity, x, condition, t, t_next)
    return x


def euler_step(velocity: Velocity, x: Array, condition: Condition, t: float | Array, t_next: float | Array) -> Array:
    """The state at `t_next`, (B, T, C): x + (t' - t) v(t, x); times are one number for all or per utterance (B, 1, 1).

    Example:
        >>> x = euler_step(velocity, x, condition, 0.0, 0.25)
    """
    return x + (t_next - t) * velocity(t, x, condition)
