# SPDX-License-Identifier: Apache-2.0
"""MeanFlow: a student that predicts the mean velocity of a whole step, for speech in one step or two.

Geng et al., "Mean flows for one-step generative modeling" (2025), with time from noise (t = 0) to speech (t = 1), and
with the velocity of a teacher under guidance. Shapes: B batch, T frames, C mel bins.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from zipvoice.data.collate import Batch
from zipvoice.model.guidance import guided_velocity
from zipvoice.model.kernels.fusion import unfused
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.training.losses import Loss, Objective
from zipvoice.training.objectives import (
    BASE_MASK,
    ConditionMask,
    batch_loss,
    condition,
    draw_guidance,
    interpolate,
    lengths_of,
    mean_over,
    normal,
    padding_of,
    uniform,
)

MeanVelocity = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(t, x, t') to the mean velocity (B, T, C) from t to t', on the way that leads through x (B, T, C) at t."""


@dataclass(frozen=True)
class MeanFlowDraws:
    """Everything random in the loss of one batch."""

    noise: Tensor
    """x_0 (B, T, C)."""
    mask: Tensor
    """(B, T), True at the frames to be generated."""
    guidance_scale: Tensor  # (B, 1, 1)
    t: Tensor
    """(B, 1, 1), where a step begins."""
    t_next: Tensor
    """(B, 1, 1), where it ends; the same where the velocity itself is to be learnt."""


def mean_flow_target(u: MeanVelocity, v: Tensor, t: Tensor, x: Tensor, t_next: Tensor) -> Tensor:
    """What the mean velocity u must be for its own derivative along the flow: v + (t' - t) du/dt.

    From (t' - t) u = ∫ v over [t, t'], differentiated by t (Geng et al., 2025, equation 6, with time reversed). The
    derivative du/dt = v ∂u/∂x + ∂u/∂t is exact, by forward-mode differentiation, in float32 whatever the precision of
    the run: PyTorch lacks some of it in half precision.

    Args:
        u: the mean velocity.
        v: the velocity (B, T, C) at t and x.
        t: (B, 1, 1).
        x: (B, T, C).
        t_next: t' (B, 1, 1).

    Example:
        >>> mean_flow_target(lambda t, x, t_next: t + t_next, 2 * t, t, x, t_next)  # of v = 2 t: t + t_next
    """
    v, in_float32 = v.to(x.dtype), torch.autocast(x.device.type, enabled=False)
    with torch.no_grad(), in_float32, unfused(), forward_ad.dual_level():
        moving = u(forward_ad.make_dual(t, torch.ones_like(t)), forward_ad.make_dual(x, v), t_next)
        change = forward_ad.unpack_dual(moving).tangent
    return v if change is None else v + (t_next - t) * change


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Context in which a model is in evaluation mode."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


class MeanFlow(Objective[ZipVoice, Batch]):
    """The mean velocity of a teacher's flow under guidance, over steps of any length.

    The student starts as the teacher, and learns guidance too. Its derivative along the flow is that of the student in
    evaluation mode. Texts are encoded once for both: token embedding and text encoder are the teacher's.

    Args:
        teacher: a base model or a distilled one; it is copied, and used in evaluation mode without gradients.
        instant_ratio: probability that a step of an utterance has no length, so that the velocity itself is learnt.
        mask: which frames are to be generated.
    """

    def __init__(self, teacher: ZipVoice, instant_ratio: float = 0.5, mask: ConditionMask | None = None) -> None:
        self.teacher = copy.deepcopy(teacher).eval().requires_grad_(False)
        self.instant_ratio = instant_ratio
        self.mask = mask or ConditionMask(BASE_MASK, "span")

    def __call__(self, model: ZipVoice, batch: Batch, generator: torch.Generator) -> Loss:
        return self.loss(model, batch, self.draw(batch, generator))

    validate = __call__

    def draw(self, batch: Batch, generator: torch.Generator) -> MeanFlowDraws:
        """Draw noise, masks, guidance scales, and the two times of a step for each utterance."""
        size, features = len(batch.ids), batch.features
        noise = normal(features, generator)
        mask = self.mask.draw(lengths_of(batch), features.shape[1], generator)
        guidance_scale = draw_guidance(self.teacher, batch, generator)
        one, other, chance = uniform(3 * size, features, generator).view(3, size, 1, 1)
        t = torch.minimum(one, other)
        t_next = torch.where(chance < self.instant_ratio, t, torch.maximum(one, other))
        return MeanFlowDraws(noise, mask, guidance_scale, t, t_next)

    def loss(self, model: ZipVoice, batch: Batch, draws: MeanFlowDraws) -> Loss:
        """The loss for given draws."""
        x_t = interpolate(draws.noise, batch.features, draws.t)
        with torch.no_grad():
            known = condition(self.teacher, batch, draws.mask)
            v = guided_velocity(self.teacher, draws.guidance_scale)(draws.t, x_t, known)

        def u(t: Tensor, x: Tensor, t_next: Tensor) -> Tensor:
            mean: Tensor = model(t, x, known, draws.guidance_scale, t_next)
            return mean

        with evaluating(model):
            target = mean_flow_target(u, v, draws.t, x_t, draws.t_next)
        frames = draws.mask & ~padding_of(batch)
        value = mean_over((u(draws.t, x_t, draws.t_next) - target).square(), frames)
        return batch_loss(value, batch, frames)
