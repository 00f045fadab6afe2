# SPDX-License-Identifier: Apache-2.0
"""The velocity decoder: a Zipformer that knows the time and, when distilled, the guidance scale.

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
    """A Zipformer with embeddings of time and, if `use_guidance`, guidance scale; the rest as in `Zipformer`."""

    def __init__(self, *, time_embed_dim: int, use_guidance: bool, **sizes: Any) -> None:
        super().__init__(time_embed_dim=time_embed_dim, **sizes)
        self.time_embed_dim = time_embed_dim
        self.time_embed = nn.Sequential(
            Linear(time_embed_dim, 2 * time_embed_dim), SwooshR(), Linear(2 * time_embed_dim, time_embed_dim)
        )
        self.guidance_scale_embed: nn.Linear | None = None
        if use_guidance:
            self.guidance_scale_embed = Linear(GUIDANCE_SINUSOID_DIM, time_embed_dim, scale=0.1, bias=False)

    def forward(  # type: ignore[override]
        self, x: Tensor, t: Tensor, padding_mask: Tensor | None = None, guidance_scale: Tensor | None = None
    ) -> Tensor:
        """From x (B, T, in_dim), t (B, 1) or (B, T), padding_mask (B, T) and guidance_scale (B, 1) to (B, T, out_dim).

        Raises:
            ValueError: a guidance scale for a network without such an input.
        """
        embedding = sinusoid(t, self.time_embed_dim)
        if guidance_scale is not None:
            if self.guidance_scale_embed is None:
                raise ValueError(
                    "only a distilled model takes a guidance scale; wrap the velocity in `guided_velocity` instead"
                )
            embedding = embedding + self.guidance_scale_embed(sinusoid(guidance_scale, GUIDANCE_SINUSOID_DIM))
        return super().forward(x, self.time_embed(embedding), padding_mask)


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
