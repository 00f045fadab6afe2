# SPDX-License-Identifier: Apache-2.0
"""Backward distillation: a student of few steps learns at the states that its own steps lead to.

After Kohler et al., "Imagine Flash: Accelerating Emu diffusion models with backward distillation" (2024). Shapes:
B batch, T frames, C mel bins.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zipvoice.data.collate import Batch
from zipvoice.model.guidance import guided_velocity
from zipvoice.model.solver import euler, solve
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.training.losses import Loss, Objective
from zipvoice.training.mean_flow import evaluating
from zipvoice.training.objectives import (
    ConditionMask,
    Distillation,
    batch_loss,
    condition,
    lengths_of,
    mean_over,
    normal,
    padding_of,
    uniform,
)

TEACHER_STEPS = 3
"""Of the teacher's solver, of second order, in each step of the student's."""
FORWARD_RATIO = 0.2
"""Probability that a batch is for `Distillation`, lest the student forget other steps than its own."""


@dataclass(frozen=True)
class BackwardDraws:
    """Everything random in the loss of one batch."""

    noise: Tensor
    """x_0 (B, T, C), of a temperature for each utterance."""
    mask: Tensor
    """(B, T), True at the frames to be generated."""
    guidance_scale: Tensor  # (B, 1, 1)
    index: int
    """Of the student's step that is to be learnt."""


class BackwardDistillation(Objective[ZipVoice, Batch]):
    """The teacher's mean velocity under guidance over each step of the student, from where the student gets by itself.

    `Distillation` shows a student states between noise and recordings. When it speaks it meets others: noise of the
    temperature that it is sampled with, and what its own long steps have made of that. Here it goes its own way to
    the beginning of a step, in evaluation mode and without gradients, and its velocity there is compared with what
    carries the teacher's solver over the step. Texts are encoded once for both: token embedding and text encoder are
    the teacher's.

    Args:
        teacher: a base model; it is copied, and used in evaluation mode without gradients.
        times: between which the student steps when it speaks, from 0 to 1.
        temperature: least and greatest standard deviation of the noise.
        guidance_scale: least and greatest.
        mask: which frames are to be generated.

    Example:
        >>> objective = BackwardDistillation(teacher, time_grid(3, t_shift=0.5), temperature=(0.1, 0.4))
        >>> objective(student, batch, torch.Generator()).value
    """

    def __init__(
        self,
        teacher: ZipVoice,
        times: Sequence[float],
        temperature: tuple[float, float] = (1.0, 1.0),
        guidance_scale: tuple[float, float] = (0.0, 2.0),
        mask: ConditionMask | None = None,
    ) -> None:
        self.forward = Distillation(teacher, mask=mask, shared_text=True)
        self.times = list(times)
        self.temperature, self.guidance_scale = temperature, guidance_scale

    def __call__(self, model: ZipVoice, batch: Batch, generator: torch.Generator) -> Loss:
        if uniform(1, torch.empty(0), generator) < FORWARD_RATIO:
            return replace(self.forward(model, batch, generator), parts={})
        return self.loss(model, batch, self.draw(batch, generator))

    validate = __call__

    def draw(self, batch: Batch, generator: torch.Generator) -> BackwardDraws:
        """Draw noise, masks and guidance scales of the utterances, and one step for the whole batch."""
        features, size = batch.features, len(batch.ids)
        temperature, guidance_scale = (
            (least + (greatest - least) * uniform(size, features, generator))[:, None, None]
            for least, greatest in (self.temperature, self.guidance_scale)
        )
        return BackwardDraws(
            noise=temperature * normal(features, generator),
            mask=self.forward.mask.draw(lengths_of(batch), features.shape[1], generator),
            guidance_scale=guidance_scale,
            index=int(torch.randint(len(self.times) - 1, (), generator=generator, device=generator.device)),
        )

    def loss(self, model: ZipVoice, batch: Batch, draws: BackwardDraws) -> Loss:
        """The loss for given draws."""
        teacher = self.forward.teacher
        student = guided_velocity(model, draws.guidance_scale)
        t, t_next = self.times[draws.index : draws.index + 2]
        with torch.no_grad():
            known = condition(teacher, batch, draws.mask)
            with evaluating(model):
                x_t = euler(student, draws.noise, known, self.times[: draws.index + 1])
            fine = [t + (t_next - t) * step / TEACHER_STEPS for step in range(TEACHER_STEPS + 1)]
            landed = solve(guided_velocity(teacher, draws.guidance_scale), x_t, known, fine, "adams-bashforth")
        target = (landed - x_t) / (t_next - t)
        frames = draws.mask & ~padding_of(batch)
        return batch_loss(mean_over((student(t, x_t, known) - target).square(), frames), batch, frames)
