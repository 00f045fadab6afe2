# SPDX-License-Identifier: Apache-2.0
"""The objectives of the four models: flow matching of one and of two channels, and distillation.

Shapes: B batch, T frames, F mel bins of one channel, C mel bins of all channels.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from zipvoice.data.collate import Batch
from zipvoice.model.condition import Condition, padding_mask
from zipvoice.model.guidance import guided_velocity
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.training.averaging import RunningAverage
from zipvoice.training.losses import Loss, Objective

BASE_MASK = (0.7, 1.0)
DIALOG_MASK = (0.5, 1.0)
LONGEST_STEP = 0.3  # of the teacher, in units of time


# ---------------------------------------------------------------- pieces


@dataclass(frozen=True)
class Draws:
    """Everything random in the flow-matching loss of one batch."""

    noise: Tensor
    """x_0 (B, T, C), standard normal."""
    t: Tensor
    """(B, 1, 1) times in [0, 1)."""
    mask: Tensor
    """(B, T), True at the frames to be generated; they are removed from the speech condition."""
    keep_text: Tensor
    """(B, 1, 1), False where the text condition is dropped."""


@dataclass(frozen=True)
class ConditionMask:
    """Which frames are to be generated: a span anywhere (base model) or the end (dialogue) of each utterance."""

    fraction: tuple[float, float]
    """Least and greatest fraction of an utterance."""
    place: Literal["span", "suffix"]

    def draw(self, feature_lens: Tensor, num_frames: int, generator: torch.Generator) -> Tensor:
        """A random mask (B, num_frames) for utterances of the given lengths (B)."""
        least, greatest = self.fraction
        fraction = least + (greatest - least) * uniform(len(feature_lens), feature_lens, generator)
        start = uniform(len(feature_lens), feature_lens, generator) if self.place == "span" else None
        return self.mask(feature_lens, num_frames, fraction, start)

    def mask(self, feature_lens: Tensor, num_frames: int, fraction: Tensor, start: Tensor | None) -> Tensor:
        """The mask that covers `fraction` (B) of each utterance, `start` (B) saying where in what remains it begins."""
        size = (fraction * feature_lens).long()
        rest = feature_lens - size
        first = rest if start is None else (start * rest).long()
        frames = torch.arange(num_frames, device=feature_lens.device)
        return (frames >= first[:, None]) & (frames < (first + size)[:, None])  # (B, T)


def interpolate(x_0: Tensor, x_1: Tensor, t: float | Tensor) -> Tensor:
    """The state on the straight path from noise to speech: x_t = t x_1 + (1 - t) x_0."""
    return t * x_1 + (1 - t) * x_0


def condition(model: ZipVoice, batch: Batch, mask: Tensor, keep_text: Tensor | None = None) -> Condition:
    """The condition for a batch whose frames under `mask` (B, T) are to be generated.

    Args:
        model: encodes the texts.
        batch: supplies them, and the speech around the mask.
        mask: (B, T), True at the frames to be generated; they are zeros in the speech condition.
        keep_text: (B, 1, 1), False where the text condition is dropped; by default nowhere.
    """
    lengths = batch.feature_lens.tolist()
    text = model.condition_text(batch.tokens, lengths)
    text = text if keep_text is None else text * keep_text
    speech = batch.features.masked_fill(mask[:, :, None], 0.0)
    is_padded = min(lengths) < batch.features.shape[1]
    return Condition(text, speech, padding_of(batch) if is_padded else None)


def lengths_of(batch: Batch) -> Tensor:
    """Frames of each utterance (B), where the features are."""
    return batch.feature_lens.to(batch.features.device, non_blocking=True)


def padding_of(batch: Batch) -> Tensor:
    """(B, T), True at the frames beyond the end of each utterance."""
    return padding_mask(lengths_of(batch), batch.features.shape[1])


def mean_over(values: Tensor, frames: Tensor) -> Tensor:
    """The mean of `values` (B, T) or (B, T, C) over the `frames` (B, T) that are True; 0 where none is."""
    # Sums rather than boolean indexing, whose size a GPU would have to tell the CPU first.
    weight = (frames if values.dim() == 2 else frames[:, :, None]).expand_as(values)
    return (values * weight).sum() / weight.sum().clamp(min=1)


def batch_loss(value: Tensor, batch: Batch, frames: Tensor, parts: Mapping[str, Tensor] | None = None) -> Loss:
    """The loss whose value is a mean over `frames` (B, T)."""
    return Loss(value, int(batch.feature_lens.sum()), parts or {}, frames.sum().clamp(min=1))


def uniform(size: int, like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(size, generator=generator, device=generator.device).to(like.device)


def normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=generator.device).to(like.device)


# ---------------------------------------------------------------- flow matching


@dataclass(frozen=True)
class Prediction:
    """The model's prediction for given draws."""

    x_t: Tensor
    """(B, T, C) the state on the path from noise to speech."""
    v: Tensor
    """(B, T, C) the predicted velocity there."""
    frames: Tensor
    """(B, T), True at the frames that count: to be generated and not padding."""
    error: Tensor
    """Scalar, the flow-matching loss."""


def predict(model: ZipVoice, batch: Batch, draws: Draws) -> Prediction:
    """Predict the velocity at x_t and compare it with x_1 - x_0."""
    x_1, x_0, t = batch.features, draws.noise, draws.t
    x_t = interpolate(x_0, x_1, t)
    v = model(t, x_t, condition(model, batch, draws.mask, draws.keep_text))
    frames = draws.mask & ~padding_of(batch)
    return Prediction(x_t, v, frames, mean_over((v - (x_1 - x_0)).square(), frames))


class FlowMatching(Objective[ZipVoice, Batch]):
    """Conditional flow matching, (v(x_t, t) - (x_1 - x_0))² over the frames to be generated.

    After Zhu et al., "ZipVoice: Fast and high-quality zero-shot text-to-speech with flow matching" (2025).

    Args:
        mask: which frames are to be generated.
        condition_drop_ratio: probability that the text condition of an utterance is dropped, for classifier-free
            guidance.
        time_power: times are drawn as u to this power, u uniform; above 1 more of them are close to noise.
    """

    def __init__(self, mask: ConditionMask, condition_drop_ratio: float = 0.2, time_power: float = 1.0) -> None:
        self.mask = mask
        self.condition_drop_ratio = condition_drop_ratio
        self.time_power = time_power

    def __call__(self, model: ZipVoice, batch: Batch, generator: torch.Generator) -> Loss:
        return self.loss(model, batch, self.draw(batch, generator))

    def validate(self, model: ZipVoice, batch: Batch, generator: torch.Generator) -> Loss:
        return self.loss(model, batch, _validation_draws(self.draw(batch, generator)))

    def draw(self, batch: Batch, generator: torch.Generator) -> Draws:
        """Draw noise, times, mask and dropped texts of a batch."""
        lengths, num_frames = lengths_of(batch), batch.features.shape[1]
        return Draws(
            noise=normal(batch.features, generator),
            t=uniform(len(lengths), batch.features, generator)[:, None, None] ** self.time_power,
            mask=self.mask.draw(lengths, num_frames, generator),
            keep_text=(uniform(len(lengths), lengths, generator) > self.condition_drop_ratio)[:, None, None],
        )

    def loss(self, model: ZipVoice, batch: Batch, draws: Draws) -> Loss:
        """The loss for given draws."""
        prediction = predict(model, batch, draws)
        return batch_loss(prediction.error, batch, prediction.frames)


def validation_times(batch_size: int) -> Tensor:
    """Evenly spaced times 0, 1/B, 2/B, … below 1, shape (B, 1, 1)."""
    return (torch.arange(batch_size) / batch_size)[:, None, None]


def _validation_draws(draws: Draws) -> Draws:
    times = validation_times(len(draws.t)).to(draws.t.device)
    return replace(draws, t=times, keep_text=torch.ones_like(draws.keep_text))


# ---------------------------------------------------------------- two channels


class StereoFlowMatching(Objective[ZipVoice, Batch]):
    """Flow matching on one and on two channels in alternate steps, with a penalty on overlapping speech.

    Batches hold the left, the right and the mixed channel side by side, (B, T, 3 F). Validation uses two channels.
    After Zhu et al., "ZipVoice-Dialog: Non-autoregressive spoken dialogue generation with flow matching" (2025).

    Args:
        mask: which frames are to be generated.
        condition_drop_ratio: probability that the text condition of an utterance is dropped.
        exclusive_weight: weight of the speaker-exclusive penalty, which two channels only have.
    """

    def __init__(self, mask: ConditionMask, condition_drop_ratio: float = 0.2, exclusive_weight: float = 1.0) -> None:
        self.flow = FlowMatching(mask, condition_drop_ratio)
        self.exclusive_weight = exclusive_weight
        self.num_steps = 0

    def __call__(self, model: ZipVoice, batch: Batch, generator: torch.Generator) -> Loss:
        if self.num_steps % 2 == 0:
            return self.flow(model, channels(batch, slice(2, 3)), generator)
        batch = channels(batch, slice(0, 2))
        return self.loss(model, batch, self.flow.draw(batch, generator))

    def validate(self, model: ZipVoice, batch: Batch, generator: torch.Generator) -> Loss:
        batch = channels(batch, slice(0, 2))
        return self.loss(model, batch, _validation_draws(self.flow.draw(batch, generator)))

    def loss(self, model: ZipVoice, batch: Batch, draws: Draws) -> Loss:
        """The loss of a two-channel batch (B, T, 2 F) for given draws."""
        prediction = predict(model, batch, draws)
        x_1_hat = prediction.x_t + (1 - draws.t) * prediction.v
        penalty = mean_over(both_speaking(x_1_hat, speech_threshold(batch.features)), prediction.frames)
        value = prediction.error + self.exclusive_weight * penalty
        parts = {"flow_matching": prediction.error.detach(), "speaker_exclusive": penalty.detach()}
        return batch_loss(value, batch, prediction.frames, parts)

    def after_step(self, model: ZipVoice) -> None:
        self.num_steps += 1

    def state_dict(self) -> dict[str, Tensor]:
        return {"num_steps": torch.tensor(self.num_steps)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.num_steps = int(state["num_steps"])


def speech_threshold(x_1: Tensor) -> Tensor:
    """The median frame energy of both channels of (B, T, 2 F), above which a channel counts as speaking, (B, 1).

    Padding is included, as in the training of the released model.
    """
    left, right = _energies(x_1)
    return torch.cat([left, right], dim=1).quantile(0.5, dim=1, keepdim=True)


def both_speaking(x_1: Tensor, threshold: Tensor) -> Tensor:
    """Product of how far each channel of (B, T, 2 F) is above the threshold (B, 1), (B, T); 0 unless both are."""
    left, right = (energy - threshold for energy in _energies(x_1))
    return left.relu() * right.relu()


def _energies(x: Tensor) -> tuple[Tensor, Tensor]:
    left, right = x.chunk(2, dim=2)
    return left.mean(dim=2), right.mean(dim=2)


def channels(batch: Batch, which: slice) -> Batch:
    """Some of the three channels (left, right, mixture) that lie side by side in a stereo batch."""
    return replace(batch, features=torch.cat(batch.features.chunk(3, dim=2)[which], dim=2))


# ---------------------------------------------------------------- distillation


@dataclass(frozen=True)
class DistillationDraws:
    """Everything random in the distillation loss of one batch."""

    noise: Tensor
    """x_0 (B, T, C)."""
    mask: Tensor
    """(B, T), True at the frames to be generated."""
    guidance_scale: Tensor  # (B, 1, 1)
    t: float
    """Start of the student's step."""
    delta_1: float
    delta_2: float
    """Lengths of the teacher's two steps."""


def draw_guidance(teacher: ZipVoice, batch: Batch, generator: torch.Generator) -> Tensor:
    """A guidance scale for each utterance (B, 1, 1): 0 to 2 of a base model, 1 to 3 of a distilled one."""
    return 2 * uniform(len(batch.ids), batch.features, generator)[:, None, None] + teacher.is_distilled


class Distillation(Objective[ZipVoice, Batch]):
    """Distillation of guidance and of two steps of the teacher into one step of the student.

    The student's velocity at t is compared with the teacher's mean velocity over [t, t + δ_1 + δ_2]. In the first stage
    the teacher is a base model under classifier-free guidance; in the second a distilled model that is the exponential
    moving average of the student. Comparing velocities is the same as comparing end points divided by the step length,
    but does not amplify rounding errors in short steps.

    Args:
        teacher: is copied, and used in evaluation mode without gradients.
        ema_decay: of the exponential moving average in the second stage; None for the first stage.
        mask: which frames are to be generated.
        shared_text: whether the student's token embedding and text encoder are frozen copies of the teacher's. Then
            texts are encoded once for both, in evaluation mode; the student of the released models encoded them again,
            in training mode.
    """

    def __init__(
        self,
        teacher: ZipVoice,
        ema_decay: float | None = None,
        mask: ConditionMask | None = None,
        shared_text: bool = False,
    ) -> None:
        if teacher.is_distilled != (ema_decay is not None):
            raise ValueError("the teacher is a base model in the first stage and a distilled model in the second")
        self.teacher = copy.deepcopy(teacher).eval().requires_grad_(False)
        self.average = None if ema_decay is None else RunningAverage(self.teacher.state_dict(), decay=ema_decay)
        self.mask = mask or ConditionMask(BASE_MASK, "span")
        self.shared_text = shared_text

    def __call__(self, model: ZipVoice, batch: Batch, generator: torch.Generator) -> Loss:
        return self.loss(model, batch, self.draw(batch, generator))

    validate = __call__

    def draw(self, batch: Batch, generator: torch.Generator) -> DistillationDraws:
        """Draw noise, mask and guidance scales, and one pair of steps for the whole batch."""
        noise = normal(batch.features, generator)
        mask = self.mask.draw(lengths_of(batch), batch.features.shape[1], generator)
        guidance_scale = draw_guidance(self.teacher, batch, generator)
        u, u_1, u_2 = uniform(3, torch.empty(0), generator).tolist()
        delta_1 = u_1 * min(LONGEST_STEP, 1 - u)
        delta_2 = u_2 * min(LONGEST_STEP, 1 - u - delta_1)
        return DistillationDraws(noise, mask, guidance_scale, u, delta_1, delta_2)

    def loss(self, model: ZipVoice, batch: Batch, draws: DistillationDraws) -> Loss:
        """The loss for given draws."""
        x_1, x_0, w = batch.features, draws.noise, draws.guidance_scale
        x_t = interpolate(x_0, x_1, draws.t)
        with torch.no_grad():
            known = condition(self.teacher, batch, draws.mask)
            v_teacher = self.teacher_velocity(x_t, known, draws)
        if not self.shared_text:
            known = condition(model, batch, draws.mask)
        v_student = guided_velocity(model, w)(draws.t, x_t, known)
        frames = draws.mask & ~padding_of(batch)
        value = mean_over((v_student - v_teacher).square(), frames)
        ref_loss = mean_over((v_student.detach() - (x_1 - x_0)).square(), frames)
        return batch_loss(value, batch, frames, {"ref_loss": ref_loss})

    def teacher_velocity(self, x_t: Tensor, known: Condition, draws: DistillationDraws) -> Tensor:
        """The mean velocity (B, T, C) of the teacher's two Euler steps from x_t."""
        velocity = guided_velocity(self.teacher, draws.guidance_scale)
        v_1 = velocity(draws.t, x_t, known)
        v_2 = velocity(draws.t + draws.delta_1, x_t + draws.delta_1 * v_1, known)
        share = draws.delta_1 / max(draws.delta_1 + draws.delta_2, 1e-9)
        return share * v_1 + (1 - share) * v_2

    def after_step(self, model: ZipVoice) -> None:
        if self.average:
            self.average.update(model.state_dict(), step=1)

    def state_dict(self) -> dict[str, Tensor]:
        return self.average.state_dict() if self.average else {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        if self.average:
            self.average.load_state_dict(state)
