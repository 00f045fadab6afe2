# SPDX-License-Identifier: Apache-2.0
"""The velocity decoder: a Zipformer that knows the time and, depending on the model, guidance scale and step.

Shapes: B batch, T frames, E width of the time embedding.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zipvoice.model.activations import SwooshR
from zipvoice.model.kernels.linear import Linear
from zipvoice.model.zipformer import Zipformer

GUIDANCE_SINUSOID_DIM = 192


class VelocityDecoder(Zipformer):
    """A Zipformer with embeddings of time and, if `use_guidance`, guidance scale; the rest as in `Zipformer`.

    With a `step_embed_dim` it knows the end of the step too, and predicts the mean velocity until then.
    """

    def __init__(
        self, *, time_embed_dim: int, use_guidance: bool, step_embed_dim: int | None = None, **sizes: Any
    ) -> None:
        super().__init__(time_embed_dim=time_embed_dim, **sizes)
        self.time_embed_dim = time_embed_dim
        self.time_embed = nn.Sequential(
            Linear(time_embed_dim, 2 * time_embed_dim), SwooshR(), Linear(2 * time_embed_dim, time_embed_dim)
        )
        self.guidance_scale_embed: nn.Linear | None = None
        if use_guidance:
            self.guidance_scale_embed = Linear(GUIDANCE_SINUSOID_DIM, time_embed_dim, scale=0.1, bias=False)
        self.step_embed: nn.Linear | None = None
        if step_embed_dim is not None:
            self.step_embed = Linear(step_embed_dim, time_embed_dim, scale=0.1, bias=False)

    def forward(  # type: ignore[override]
        self,
        x: Tensor,
        t: Tensor,
        padding_mask: Tensor | None = None,
        guidance_scale: Tensor | None = None,
        t_next: Tensor | None = None,
    ) -> Tensor:
        """From x (B, T, in_dim), padding_mask (B, T) and the arguments of `embedding` to (B, T, out_dim)."""
        return super().forward(x, self.embedding(t, guidance_scale, t_next), padding_mask)

    def embedding(self, t: Tensor, guidance_scale: Tensor | None = None, t_next: Tensor | None = None) -> Tensor:
        """The embedding (B, 1, E) or (B, T, E) of t (B, 1) or (B, T), guidance_scale (B, 1) and t_next as t.

        A network that knows the step takes one of no length where there is no `t_next`.

        Raises:
            ValueError: a guidance scale or the end of a step for a network without such an input.
        """
        embedding = sinusoid(t, self.time_embed_dim)
        if guidance_scale is not None:
            if self.guidance_scale_embed is None:
                raise ValueError(
                    "only a distilled model takes a guidance scale; wrap the velocity in `guided_velocity` instead"
                )
            embedding = embedding + self.guidance_scale_embed(sinusoid(guidance_scale, GUIDANCE_SINUSOID_DIM))
        if self.step_embed is not None:
            step = (t if t_next is None else t_next) - t
            embedding = embedding + self.step_embed(sinusoid(step, self.step_embed.in_features))
        elif t_next is not None:
            raise ValueError("only a model of mean velocities takes the end of a step (objective.kind mean-flow)")
        time: Tensor = self.time_embed(embedding)
        return time


def sinusoid(t: Tensor, dim: int) -> Tensor:
    """Cosines, then sines, of t times geometrically falling frequencies.

    Args:
        t: any shape (…); not scaled.
        dim: width of the result; an odd one ends in a zero.

    Returns:
        (…, dim), float32.
    """
    half = dim // 2
    frequencies = torch.exp(-math.log(10000.0) * torch.arange(half, dtype=torch.float32, device=t.device) / half)
    angles = t.float()[..., None] * frequencies
    return F.pad(torch.cat([angles.cos(), angles.sin()], dim=-1), (0, dim % 2))
