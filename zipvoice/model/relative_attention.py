# SPDX-License-Identifier: Apache-2.0
"""Softmax of content and relative-position scores, in blocks of target frames, and its gradient.

Shapes: B batch, H heads, T frames, n target frames of a block, d query width, p position-query width.
"""

from typing import Any

import torch
from torch import Tensor

from zipvoice.model.blocks import row_blocks

MASKED_SCORE = -1000.0
SCORE_LIMIT = 25.0
ROWS_PER_THREAD = 64


def attention_weights(
    query: Tensor,
    key: Tensor,
    position: Tensor,
    table: Tensor,
    padding_mask: Tensor | None = None,
    penalty: float = 0.0,
) -> Tensor:
    """Softmax over source frames j of q_i · k_j + p_i · R_(j - i).

    Args:
        query: (B, H, T, d).
        key: (B, H, T, d).
        position: position queries (B, H, T, p).
        table: R, one row per offset -(T - 1) … T - 1 (1, H, 2 T - 1, p).
        padding_mask: (B, T), True at source frames that nobody listens to.
        penalty: weight of a loss Σ relu(|score| - 25), which exists only as a gradient.

    Returns:
        (B, H, T, T); rows sum to one.
    """
    if torch.is_grad_enabled():  # all below is written for being without gradients
        return _AttentionWeights.apply(query, key, position, table, padding_mask, penalty)
    return _attention_weights(query, key, position, table, padding_mask)


def _attention_weights(
    query: Tensor, key: Tensor, position: Tensor, table: Tensor, padding_mask: Tensor | None
) -> Tensor:
    blocks = row_blocks(query.shape[2], ROWS_PER_THREAD, query)
    if len(blocks) == 1:
        return _weights(_scores(query, key, position, table, blocks[0]), padding_mask)
    weights = query.new_empty(*query.shape[:3], key.shape[2])
    for rows in blocks:
        weights[:, :, rows] = _weights(_scores(query, key, position, table, rows), padding_mask)
    return weights


def _scores(query: Tensor, key: Tensor, position: Tensor, table: Tensor, rows: slice) -> Tensor:
    """Scores (B, H, n, T) of the target frames `rows`."""
    by_offset = position[:, :, rows] @ table[:, :, _offsets(rows, key.shape[2])].transpose(-1, -2)
    content = query[:, :, rows] @ key.transpose(-1, -2)
    return content.add_(relative_shift(by_offset))


def _offsets(rows: slice, num_frames: int) -> slice:
    """The rows of the table of offsets that these target frames need: from the last one to the first one's."""
    return slice(num_frames - rows.stop, 2 * num_frames - 1 - rows.start)


def relative_shift(by_offset: Tensor) -> Tensor:
    """Scores by offset (B, H, n, T + n - 1) as a view by source frame (B, H, n, T): y[i, j] = x[i, j - i + n - 1]."""
    rows, width = by_offset.shape[-2:]
    if rows == 1:
        return by_offset
    steps = by_offset.flatten(-2)[..., rows - 1 : rows - 1 + rows * (width - 1)]
    return steps.unflatten(-1, (rows, width - 1))[..., : width - rows + 1]


def _weights(scores: Tensor, padding_mask: Tensor | None) -> Tensor:
    if padding_mask is not None:
        scores = scores.masked_fill_(padding_mask[:, None, None, :], MASKED_SCORE)
    return scores.softmax(dim=-1, dtype=torch.float32).to(scores.dtype)


class _AttentionWeights(torch.autograd.Function):
    """Keeps nothing of size T² but the weights."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        position: Tensor,
        table: Tensor,
        padding_mask: Tensor | None,
        penalty: float,
    ) -> Tensor:
        weights = _attention_weights(query, key, position, table, padding_mask)
        ctx.save_for_backward(query, key, position, table, padding_mask, weights)
        ctx.penalty = penalty
        return weights

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, position, table, padding_mask, weights = ctx.saved_tensors
        grad_query, grad_position = torch.empty_like(query), torch.empty_like(position)
        grad_key, grad_table = torch.zeros_like(key, dtype=torch.float32), torch.zeros_like(table, dtype=torch.float32)
        for rows in row_blocks(query.shape[2], ROWS_PER_THREAD, query):
            grad_scores = softmax_gradient(grad[:, :, rows], weights[:, :, rows])
            if padding_mask is not None:
                grad_scores.masked_fill_(padding_mask[:, None, None, :], 0.0)
            if ctx.penalty:
                scores = _scores(query, key, position, table, rows)
                grad_scores += penalty_gradient(scores, SCORE_LIMIT, ctx.penalty)
            grad_query[:, :, rows] = grad_scores @ key
            grad_key += grad_scores.transpose(-1, -2) @ query[:, :, rows]

            offsets = _offsets(rows, key.shape[2])
            by_offset = grad_scores.new_zeros(*grad_scores.shape[:3], offsets.stop - offsets.start)
            relative_shift(by_offset).copy_(grad_scores)
            grad_position[:, :, rows] = by_offset @ table[:, :, offsets]
            part = by_offset.transpose(-1, -2) @ position[:, :, rows]
            grad_table[:, :, offsets] += part.sum(dim=0, keepdim=True)
        return grad_query, grad_key.to(key.dtype), grad_position, grad_table.to(table.dtype), None, None


def penalty_gradient(scores: Tensor, limit: float, penalty: float) -> Tensor:
    """The gradient of penalty · Σ relu(|score| - limit)."""
    return penalty * scores.sign() * (scores.abs() > limit)


def softmax_gradient(grad: Tensor, weights: Tensor) -> Tensor:
    """What the gradient g of weights y is for their scores: y ⊙ (g - Σ g ⊙ y), in float32."""
    product = grad.float() * weights
    return product.sub_(weights * product.sum(dim=-1, keepdim=True)).to(grad.dtype)
