# SPDX-License-Identifier: Apache-2.0
"""Classifier-free guidance (Ho and Salimans, 2022) with ZipVoice's time-dependent unconditional branch.

NumPy arrays and PyTorch tensors alike. Shapes: B batch, T frames, C mel bins of all channels.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from zipvoice.config.synthesis import SamplingConfig
from zipvoice.model.arrays import Array, cast, namespace
from zipvoice.model.condition import Condition
from zipvoice.model.solver import Velocity

ScaledVelocity: TypeAlias = Callable[..., Array]
"""A velocity with the guidance scale as fourth argument: of a runtime, or `guided_velocity` of a network. One that is a
mean takes the end of the step too, as `t_next`."""


def classifier_free_guidance(velocity: Velocity, scale: float | Array) -> Velocity:
    """Classifier-free guidance: v = (1 + w) v_conditional - w v_unconditional, both in one batch.

    Up to t = 0.5 the unconditional half keeps the known speech and w is doubled; after it neither text nor speech is
    given. With a scale of zero, a plain number, nothing is evaluated twice.

    Args:
        velocity: conditional velocity.
        scale: guidance scale w, one number or one per utterance (B, 1, 1).

    Returns:
        The velocity under guidance; its time is one number or one per utterance (B, 1, 1).

    Example:
        >>> guided = classifier_free_guidance(lambda t, x, condition: condition.text, scale=1.5)
        >>> guided(0.2, x, condition)  # 4 text - 3 · 0
    """
    if isinstance(scale, int | float) and scale == 0:
        return velocity

    def guided(t: float | Array, x: Array, condition: Condition) -> Array:
        xp, early = namespace(x), t <= 0.5
        early = early if isinstance(early, bool) else cast(early, x)  # a factor of 1 or 0
        w = scale * (1 + early)
        both = xp.concatenate([t, t]) if getattr(t, "ndim", 0) else t
        v = velocity(both, xp.concatenate([x, x]), _with_unconditional(condition, early))
        return (1 + w) * v[len(x) :] - w * v[: len(x)]

    return guided


def guided_velocity(model: Any, scale: float | Array) -> Velocity:
    """The velocity of a model under guidance: a distilled model takes the scale as an input, the others are wrapped.

    Args:
        model: a velocity that may say `is_distilled`, and then takes the `guidance_scale`.
        scale: one number or one per utterance (B, 1, 1).
    """
    if getattr(model, "is_distilled", False):
        return partial(model, guidance_scale=scale)
    return classifier_free_guidance(model, scale)


def scale_at(t: float | Array, scale: float | Array, interval: tuple[float, float] | None) -> float | Array:
    """The guidance scale at a time: zero outside an interval of times, ends included (Kynkäänniemi et al., 2024).

    Where time and scale are plain numbers so is the zero, with which nothing is evaluated twice.

    Args:
        t: one number or one per utterance (B, 1, 1).
        scale: likewise.
        interval: first and last time with guidance; None for all times.

    Example:
        >>> scale_at(0.9, 1.0, (0.0, 0.5))
        0.0
    """
    if interval is None:
        return scale
    inside = (interval[0] <= t) & (t <= interval[1])
    if isinstance(inside, bool):
        return scale if inside else 0.0
    return scale * cast(inside, t)


def under_guidance(velocity: ScaledVelocity, scale: float | Array, sampling: SamplingConfig) -> Velocity:
    """The velocity with the guidance of a sampling, in its interval and as often as it is evaluated.

    Args:
        velocity: takes the guidance scale; with a scale of zero it is the conditional velocity.
        scale: one number or one per utterance (B, 1, 1), for that of the sampling.
        sampling: where `guidance_every` is above 1 the velocity is for one solution from its first step to its last,
            at times and a scale that are plain numbers.
    """
    if sampling.guidance_every > 1:
        return _ReusedGuidance(velocity, sampling)
    interval = sampling.guidance_interval
    return lambda t, x, condition, **end: velocity(t, x, condition, scale_at(t, scale, interval), **end)


class _ReusedGuidance:
    """v + w (v - u), as `classifier_free_guidance`, with u evaluated at every k-th time only.

    At the times between, v - u is what it was. u is evaluated at the first two times, since v - u differs much between
    noise and the next state, and after t = 0.5, where its condition changes.
    """

    def __init__(self, velocity: ScaledVelocity, sampling: SamplingConfig) -> None:
        self._velocity, self._sampling = velocity, sampling
        self._difference: Array = 0.0
        self._num_evaluated, self._age = 0, 0
        self._was_early = True

    def __call__(self, t: float, x: Array, condition: Condition) -> Array:
        scale = scale_at(t, self._sampling.guidance_scale, self._sampling.guidance_interval)
        if scale == 0:
            return self._velocity(t, x, condition, 0.0)
        early = t <= 0.5
        self._age += 1
        is_due = self._num_evaluated < 2 or self._age >= self._sampling.guidance_every or early != self._was_early
        if is_due:
            xp = namespace(x)
            both = self._velocity(t, xp.concatenate([x, x]), _with_unconditional(condition, early), 0.0)
            v = both[len(x) :]
            self._difference, self._age, self._was_early = v - both[: len(x)], 0, early
            self._num_evaluated += 1
        else:
            v = self._velocity(t, x, condition, 0.0)
        return v + scale * (1 + early) * self._difference


def _with_unconditional(condition: Condition, keep_speech: bool | Array) -> Condition:
    """The unconditional batch, then the conditional one; `keep_speech` is a factor, one or per utterance (B, 1, 1)."""
    text, speech, mask = condition.text, condition.speech, condition.padding_mask
    xp = namespace(text)
    return Condition(
        text=xp.concatenate([xp.zeros_like(text), text]),
        speech=xp.concatenate([keep_speech * speech, speech]),
        padding_mask=None if mask is None else xp.concatenate([mask, mask]),
    )
