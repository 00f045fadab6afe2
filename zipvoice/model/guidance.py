# SPDX-License-Identifier: Apache-2.0
"""Classifier-free guidance (Ho and Salimans, 2022) with ZipVoice's time-dependent unconditional branch.

NumPy arrays and PyTorch tensors alike. Shapes: B batch, T frames, C mel bins of all channels.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

from zipvoice.config.synthesis import SamplingConfig
from zipvoice.model.arrays import Array, cast, namespace, padded
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
        early = _early(t, x)
        w = scale * (1 + early)
        v, u = _halves(velocity, t, x, condition, early)
        return (1 + w) * v - w * u

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
        return ReusedGuidance(velocity, sampling)
    interval = sampling.guidance_interval
    return lambda t, x, condition, **end: velocity(t, x, condition, scale_at(t, scale, interval), **end)


class ReusedGuidance:
    """v + w (v - u), as `classifier_free_guidance`, with u evaluated at every k-th time only.

    At the times between, v - u is what it was. u is evaluated at the first two times, since v - u differs much between
    noise and the next state, and after t = 0.5, where its condition changes.

    Args:
        velocity: the conditional one at a guidance scale of zero.
        sampling: says k, the scale and its interval.
    """

    def __init__(self, velocity: ScaledVelocity, sampling: SamplingConfig) -> None:
        self._velocity, self._sampling = velocity, sampling
        self._difference: Array = 0.0
        self._num_evaluated, self._age = 0, 0
        self._was_early = True

    def __call__(self, t: float, x: Array, condition: Condition) -> Array:
        v, difference = self._evaluated(t, x, condition, self.is_due(t))
        return v + self._change(t, difference)

    def is_due(self, t: float) -> bool:
        """Whether u is evaluated, where t is the next time."""
        if self._weight(t) == 0:
            return False
        is_old = self._age + 1 >= self._sampling.guidance_every
        return self._num_evaluated < 2 or is_old or (t <= 0.5) != self._was_early

    def side_by_side(
        self, others: Sequence["ReusedGuidance"], times: Sequence[float], lengths: Sequence[int]
    ) -> Velocity:
        """The velocity of one step of utterances that each have a time and a guidance of their own, this one's first.

        Args:
            others: u is due in all of them, or in none.
            times: the next of each.
            lengths: frames of each, of which v - u is kept.
        """

        def velocity(t: float | Array, x: Array, condition: Condition) -> Array:
            v, difference = self._evaluated(t, x, condition, self.is_due(times[0]))
            rows = []
            for row, (one, time, length) in enumerate(zip((self, *others), times, lengths, strict=True)):
                own = slice(row, row + 1), slice(length)
                change = one._change(time, None if difference is None else difference[own])
                rows.append((v[own] + change)[0])
            return padded(rows, x.shape[1])

        return velocity

    def _evaluated(self, t: float | Array, x: Array, condition: Condition, is_due: bool) -> tuple[Array, Array | None]:
        """v, and v - u where that is due."""
        if not is_due:
            return self._conditional(t, x, condition), None
        v, u = _halves(self._conditional, t, x, condition, _early(t, x))
        return v, v - u

    def _conditional(self, t: float | Array, x: Array, condition: Condition) -> Array:
        return self._velocity(t, x, condition, 0.0)

    def _weight(self, t: float) -> float:
        return scale_at(t, self._sampling.guidance_scale, self._sampling.guidance_interval) * (1 + (t <= 0.5))

    def _change(self, t: float, difference: Array | None) -> Array:
        """What is added to v at the next time: w (v - u), of this difference or the one of before."""
        weight = self._weight(t)
        if difference is not None:
            self._difference, self._age, self._was_early = difference, 0, t <= 0.5
            self._num_evaluated += 1
        elif weight:
            self._age += 1
        return weight * self._difference


def _halves(
    velocity: Velocity, t: float | Array, x: Array, condition: Condition, early: bool | Array
) -> tuple[Array, Array]:
    """The conditional and the unconditional velocity, in one batch."""
    xp = namespace(x)
    both = xp.concatenate([t, t]) if getattr(t, "ndim", 0) else t
    v = velocity(both, xp.concatenate([x, x]), _with_unconditional(condition, early))
    return v[len(x) :], v[: len(x)]


def _early(t: float | Array, x: Array) -> bool | Array:
    """Whether the unconditional half keeps the known speech, as a factor of 1 or 0 where times are arrays."""
    early = t <= 0.5
    return early if isinstance(early, bool) else cast(early, x)


def _with_unconditional(condition: Condition, keep_speech: bool | Array) -> Condition:
    """The unconditional batch, then the conditional one; `keep_speech` is a factor, one or per utterance (B, 1, 1)."""
    text, speech, mask = condition.text, condition.speech, condition.padding_mask
    xp = namespace(text)
    return Condition(
        text=xp.concatenate([xp.zeros_like(text), text]),
        speech=xp.concatenate([keep_speech * speech, speech]),
        padding_mask=None if mask is None else xp.concatenate([mask, mask]),
    )
