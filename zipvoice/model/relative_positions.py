# SPDX-License-Identifier: Apache-2.0
"""Compact relative positions and the attention weights that they enter (Yao et al., 2024, section 3.2).

Shapes: B batch, H heads, T frames, n target frames, d query width, p position-query width.
"""

import math

import torch
from torch import Tensor

from zipvoice.model.kernels.blocks import by_hand
from zipvoice.model.kernels.fusion import fusible

MASKED_SCORE = -1000.0


def relative_positions(num_frames: int, dim: int, device: torch.device | None = None) -> Tensor:
    """Fourier features of the offsets -(T - 1) … T - 1, compressed so that near offsets are told apart best.

    Args:
        num_frames: T.
        dim: number of features, even; the last one is constant.
        device: where the result lives.

    Returns:
        (2 T - 1, dim), float32.
    """
    return offset_features(torch.arange(1 - num_frames, num_frames, device=device, dtype=torch.float32), dim)


def offset_features(offset: Tensor, dim: int) -> Tensor:
    """The features (N, dim) of offsets (N,)."""
    compression = math.sqrt(dim)
    compressed = compression * offset.sign() * ((offset.abs() + compression).log() - math.log(compression))
    angle = (compressed * (2 * math.pi / dim)).atan()
    angles = angle[:, None] * torch.arange(1, dim // 2 + 1, device=offset.device)
    features = torch.stack([angles.cos(), angles.sin()], dim=-1).flatten(1)
    return torch.cat([features[:, :-1], torch.ones_like(features[:, :1])], dim=1)


def plain_weights(
    query: Tensor, key: Tensor, position: Tensor, table: Tensor, padding_mask: Tensor | None = None
) -> Tensor:
    """Softmax over source frames j of q_i · k_j + p_i · R_(j - i).

    Args:
        query: (B, H, T, d).
        key: (B, H, T, d).
        position: position queries (B, H, T, p).
        table: R, one row per offset -(T - 1) … T - 1 (1, H, 2 T - 1, p).
        padding_mask: (B, T), True at source frames to be ignored.

    Returns:
        (B, H, T, T); rows sum to one.
    """
    return masked_softmax(query @ key.transpose(-1, -2), position @ table.transpose(-1, -2), padding_mask)


def relative_shift(by_offset: Tensor) -> Tensor:
    """Scores by offset (B, H, n, T + n - 1) as a view by source frame (B, H, n, T): y[i, j] = x[i, j - i + n - 1]."""
    rows, width = by_offset.shape[-2:]
    if rows == 1:
        return by_offset
    steps = by_offset.flatten(-2)[..., rows - 1 : rows - 1 + rows * (width - 1)]
    return steps.unflatten(-1, (rows, width - 1))[..., : width - rows + 1]


@fusible
def masked_softmax(content: Tensor, by_offset: Tensor, padding_mask: Tensor | None) -> Tensor:
    """Softmax over source frames of scores by content (B, H, n, T) and by offset (B, H, n, T + n - 1)."""
    scores = content + relative_shift(by_offset)
    if padding_mask is not None:
        scores = torch.minimum(scores, score_limit(padding_mask, scores.dtype))  # masked_fill_ takes ten times as long
    precision = None if by_hand(scores) else torch.float32  # which a CPU computes in without being asked
    return scores.softmax(dim=-1, dtype=precision).to(scores.dtype)


def score_limit(padding_mask: Tensor, dtype: torch.dtype) -> Tensor:
    """The highest score that a source frame may have, (B, 1, 1, T), of a mask (B, T)."""
    return torch.where(padding_mask, MASKED_SCORE, float("inf")).to(dtype)[:, None, None, :]
