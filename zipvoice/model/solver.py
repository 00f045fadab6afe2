# SPDX-License-Identifier: Apache-2.0
"""The ordinary differential equation from noise (t = 0) to speech (t = 1) and its integration.

A velocity is any callable `(t, x, condition) -> v`: the model itself, the model with guidance, an exported graph. With
x_t = t x_1 + (1 - t) x_0 it predicts x_1 - x_0. Shapes: B batch, T frames, F mel bins, C mel bins of all channels.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from zipvoice.model.condition import Condition

Velocity = Callable[[float | Tensor, Tensor, Condition], Tensor]


def time_grid(num_steps: int, t_shift: float = 1.0, t_start: float = 0.0, t_end: float = 1.0) -> list[float]:
    """The `num_steps` + 1 times between which Euler's method steps, as float32 values.

    Equal steps τ are warped by t = s τ / (1 + (s - 1) τ); a shift s below 1 packs them near the noise.

    Raises:
        ValueError: no step at all, or a shift that is not positive.
    """
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, not {num_steps}")
    if not t_shift > 0:
        raise ValueError(f"t_shift must be positive, not {t_shift}")
    tau = torch.linspace(t_start, t_end, num_steps + 1)  # in float32: whether t > 0.5 in `guided` hangs on its last bit
    return (t_shift * tau / (1 + (t_shift - 1) * tau)).tolist()


def euler(velocity: Velocity, x: Tensor, condition: Condition, times: Sequence[float]) -> Tensor:
    """Integrate `velocity` from `x` (B, T, C) at times[0] to times[-1]: x ← x + (t' - t) v(t, x) at each step.

    The times are plain numbers, so that no step waits for an accelerator.
    """
    for t, t_next in pairwise(times):
        x = torch.add(x, velocity(t, x, condition), alpha=t_next - t)
    return x


def guided(velocity: Velocity, scale: float | Tensor) -> Velocity:
    """Classifier-free guidance: v = (1 + w) v_conditional - w v_unconditional, both in one batch.

    Up to t = 0.5 the unconditional half keeps the known speech and w is doubled; after it neither text nor speech is
    given. With a scale of zero nothing is evaluated twice.

    Args:
        velocity: conditional velocity.
        scale: guidance scale w, one number or one per utterance (B, 1, 1).
    """
    if not torch.as_tensor(scale).any():
        return velocity

    def guided_velocity(t: float | Tensor, x: Tensor, condition: Condition) -> Tensor:
        early = float(t) <= 0.5
        w = 2 * scale if early else scale
        v_unconditional, v_conditional = velocity(t, torch.cat([x, x]), _with_unconditional(condition, early)).chunk(2)
        return (1 + w) * v_conditional - w * v_unconditional

    return guided_velocity


def _with_unconditional(condition: Condition, keep_speech: bool) -> Condition:
    """The unconditional batch, then the conditional one."""
    text, speech, mask = condition.text, condition.speech, condition.padding_mask
    return Condition(
        text=torch.cat([torch.zeros_like(text), text]),
        speech=torch.cat([speech if keep_speech else torch.zeros_like(speech), speech]),
        padding_mask=None if mask is None else torch.cat([mask, mask]),
    )
