# SPDX-License-Identifier: Apache-2.0
"""Softmax of content and relative-position scores, in blocks of target frames, and its gradient.

Shapes: B batch, H heads, T frames, n target frames of a block, d query width, p position-query width.
"""

from typing import Any

import torch
from torch import Tensor

from zipvoice.model.kernels.blocks import row_blocks
from zipvoice.model.kernels.fusion import fusible
from zipvoice.model.relative_positions import plain_weights, relative_shift, score_limit

SCORE_LIMIT = 25.0
ROWS_PER_THREAD = 256
WIDE = 64


Factors = tuple[Tensor, Tensor]
"""Gradient of averaged values and the values themselves, (B, h, T, v) each."""


class Attention:
    """Attention weights that several modules average values with.

    A gradient of size T² from each of them would take longer to store and to add than to compute. They leave its two
    factors instead, which the weights multiply block by block in their own backward pass.
    """

    def __init__(self, weights: Tensor, link: Tensor | None = None, factors: list[Factors] | None = None) -> None:
        self.weights = weights
        """(B, H, T, T); rows sum to one."""
        self._link = link
        self._factors = factors

    def average(self, value: Tensor) -> Tensor:
        """Values (B, h, T, v) of the first h heads averaged over the source frames, (B, h, T, v)."""
        if self._link is None or not torch.is_grad_enabled():
            return _average(self.weights[:, : value.shape[1]], value)
        return _Average.apply(value, self._link, self.weights, self._factors)

    def uniform(self) -> "Attention":
        """One head with the same weight for all source frames that are not masked in the first head."""
        allowed = (self.weights[:, :1].detach() > 0).to(self.weights.dtype)
        return Attention(allowed / allowed.sum(dim=-1, keepdim=True))


def attention_weights(
    query: Tensor,
    key: Tensor,
    position: Tensor,
    table: Tensor,
    padding_mask: Tensor | None = None,
    penalty: float = 0.0,
) -> Attention:
    """Softmax over source frames j of q_i · k_j + p_i · R_(j - i).

    Args:
        query: (B, H, T, d).
        key: (B, H, T, d).
        position: position queries (B, H, T, p).
        table: R, one row per offset -(T - 1) … T - 1 (1, H, 2 T - 1, p).
        padding_mask: (B, T), True at source frames to be ignored.
        penalty: weight of a loss Σ relu(|score| - 25), which exists only as a gradient.
    """
    if not torch.is_grad_enabled():  # all below is written for being without gradients
        return Attention(_attention_weights(query, key, position, table, padding_mask))
    factors: list[Factors] = []
    weights, link = _AttentionWeights.apply(query, key, position, table, padding_mask, penalty, factors)
    return Attention(weights, link, factors)


def _attention_weights(
    query: Tensor, key: Tensor, position: Tensor, table: Tensor, padding_mask: Tensor | None
) -> Tensor:
    blocks = row_blocks(query.shape[2], ROWS_PER_THREAD, query)
    if len(blocks) == 1:
        return plain_weights(query, key, position, table, padding_mask)
    scores = query.new_empty(*query.shape[:3], key.shape[2])
    for rows in blocks:
        content, by_offset = _scores(query, key, position, table, rows)
        torch.add(content, relative_shift(by_offset), out=scores[:, :, rows])
    if padding_mask is not None:
        torch.minimum(scores, score_limit(padding_mask, scores.dtype), out=scores)
    return torch.softmax(scores, dim=-1, out=scores)


def _scores(query: Tensor, key: Tensor, position: Tensor, table: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
    """Scores of the target frames `rows`: by content (B, H, n, T), and by offset (B, H, n, T + n - 1)."""
    by_offset = position[:, :, rows] @ table[:, :, _offsets(rows, key.shape[2])].transpose(-1, -2)
    return query[:, :, rows] @ key.transpose(-1, -2), by_offset


def _offsets(rows: slice, num_frames: int) -> slice:
    """The rows of the table of offsets that these target frames need: from the last one to the first one's."""
    return slice(num_frames - rows.stop, 2 * num_frames - 1 - rows.start)


def shifted_back(scores: Tensor) -> Tensor:
    """The reverse of `relative_shift`, with zeros where it leaves something out."""
    rows, frames = scores.shape[-2:]
    by_offset = scores.new_zeros(*scores.shape[:-1], frames + rows - 1)
    relative_shift(by_offset).copy_(scores)
    return by_offset


def _average(weights: Tensor, value: Tensor) -> Tensor:
    """(B, h, T, T) and (B, h, T, v) to (B, h, T, v); in one piece, narrow heads take half of the time."""
    return weights @ value.contiguous()


def _average_gradient(weights: Tensor, grad: Tensor) -> Tensor:
    """The gradient of the value, (B, h, T, v); turned round where heads are narrow, which is up to twice as fast."""
    if grad.shape[-1] >= WIDE:
        return weights.transpose(-1, -2) @ grad
    return (grad.transpose(-1, -2) @ weights).transpose(-1, -2)


class _Average(torch.autograd.Function):
    """`link` has no value; it makes the weights wait for this backward pass before theirs."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, link: Tensor, weights: Tensor, factors: list[Factors]) -> Tensor:
        ctx.save_for_backward(value, weights)
        ctx.factors = factors
        return _average(weights[:, : value.shape[1]], value)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        value, weights = ctx.saved_tensors
        ctx.factors.append((grad, value))
        return _average_gradient(weights[:, : value.shape[1]], grad), grad.new_zeros(()), None, None


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
        factors: list[Factors],
    ) -> tuple[Tensor, Tensor]:
        with torch.autocast(query.device.type, enabled=False):  # all are of one precision, in which softmax works best
            weights = _attention_weights(query, key, position, table, padding_mask)
        ctx.save_for_backward(query, key, position, table, weights)
        ctx.penalty, ctx.factors = penalty, factors
        ctx.mark_non_differentiable(weights)
        ctx.set_materialize_grads(False)
        return weights, query.new_zeros(())

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *_: Tensor | None) -> tuple[Tensor | None, ...]:
        query, key, position, table, weights = ctx.saved_tensors
        factors = _joined(ctx.factors)
        grad_query, grad_position = torch.empty_like(query), torch.empty_like(position)
        grad_key, grad_table = torch.zeros_like(key, dtype=torch.float32), torch.zeros_like(table, dtype=torch.float32)
        for rows in row_blocks(query.shape[2], ROWS_PER_THREAD, query):
            grad_weights = _product(factors, rows)
            assert grad_weights.shape[1] == weights.shape[1], "no module averaged values with all heads"
            grad_scores = softmax_gradient(grad_weights, weights[:, :, rows])  # zero where the weights are
            if ctx.penalty:
                content, by_offset = _scores(query, key, position, table, rows)
                scores = content + relative_shift(by_offset)
                grad_scores += penalty_gradient(scores, SCORE_LIMIT, ctx.penalty)
            grad_query[:, :, rows] = grad_scores @ key
            grad_key += grad_scores.transpose(-1, -2) @ query[:, :, rows]

            offsets, by_offset = _offsets(rows, key.shape[2]), shifted_back(grad_scores)
            # Both turned round, which is five times as fast where the heads are narrow.
            part = table[:, :, offsets].transpose(-1, -2) @ by_offset.transpose(-1, -2)
            grad_position[:, :, rows] = part.transpose(-1, -2)
            part = position[:, :, rows].transpose(-1, -2) @ by_offset
            grad_table[:, :, offsets] += part.sum(dim=0, keepdim=True).transpose(-1, -2)
        return grad_query, grad_key.to(key.dtype), grad_position, grad_table.to(table.dtype), None, None, None


def _joined(factors: list[Factors]) -> list[Factors]:
    """Factors of the same heads side by side, those of most heads first; the list is left empty."""
    by_heads: dict[int, list[Factors]] = {}
    while factors:
        grad, value = factors.pop()
        by_heads.setdefault(value.shape[1], []).append((grad, value))
    return [
        (torch.cat([grad for grad, _ in same], dim=-1), torch.cat([value for _, value in same], dim=-1))
        for _, same in sorted(by_heads.items(), reverse=True)
    ]


def _product(factors: list[Factors], rows: slice) -> Tensor:
    """Gradient of the weights (B, H, n, T) of the target frames `rows`."""
    total, *others = (grad[:, :, rows] @ value.transpose(-1, -2) for grad, value in factors)
    for part in others:
        total[:, : part.shape[1]] += part
    return total


@fusible
def penalty_gradient(scores: Tensor, limit: float, penalty: float) -> Tensor:
    """The gradient of penalty · Σ relu(|score| - limit)."""
    return penalty * scores.sign() * (scores.abs() > limit)


@fusible
def softmax_gradient(grad: Tensor, weights: Tensor) -> Tensor:
    """What the gradient g of weights y is for their scores: y ⊙ (g - Σ g ⊙ y), computed in float32."""
    gradient: Tensor = torch._softmax_backward_data(grad, weights, -1, weights.dtype)
    return gradient
