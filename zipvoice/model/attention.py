# SPDX-License-Identifier: Apache-2.0
"""Attention with compact relative positions (Yao et al., 2024, section 3.2).

The weights are computed once per layer and used by three modules. Shapes: B batch, H heads, T frames, D width.
"""

from torch import Tensor, nn

from zipvoice.model.kernels.fusion import fusible
from zipvoice.model.kernels.linear import Linear
from zipvoice.model.kernels.relative_attention import Attention, attention_weights
from zipvoice.model.scheduled_float import Progress, ScheduledFloat

SCORE_PENALTY = 1e-4
SCORE_PENALTY_RATE = ScheduledFloat((0, 0.1))
POSITION_SKIP = ScheduledFloat((0, 0.5), (4000, 0.0))


class AttentionWeights(nn.Module):
    """Attention weights of target frames i: softmax over source frames j of q_i · k_j + p_i · R_(j - i)."""

    def __init__(
        self, dim: int, num_heads: int, query_head_dim: int, pos_head_dim: int, pos_dim: int, progress: Progress
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.widths = [num_heads * query_head_dim, num_heads * query_head_dim, num_heads * pos_head_dim]
        self.progress = progress
        self.in_proj = Linear(dim, sum(self.widths), scale=query_head_dim**-0.25)
        self.linear_pos = Linear(pos_dim, num_heads * pos_head_dim, scale=0.05, bias=False)

    def forward(self, x: Tensor, positions: Tensor, padding_mask: Tensor | None) -> Attention:
        """From x (B, T, D) and positions (2 T - 1, pos_dim)."""
        query, key, position = (_heads(part, self.num_heads) for part in self.in_proj(x).split(self.widths, dim=-1))
        table = _heads(self.linear_pos(positions)[None], self.num_heads)  # (1, H, 2 T - 1, pos_head_dim)
        if self.training and POSITION_SKIP.happens(self.progress):
            table = 0.0 * table  # still part of the graph: every parameter has a gradient at every step
        penalized = self.training and SCORE_PENALTY_RATE.happens(self.progress)
        return attention_weights(query, key, position, table, padding_mask, SCORE_PENALTY if penalized else 0.0)


def _heads(x: Tensor, num_heads: int) -> Tensor:
    """(B, T, H d) to (B, H, T, d), in one piece: many products follow, and each would copy it."""
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2).contiguous()


class SelfAttention(nn.Module):
    """Averages values with given attention weights."""

    def __init__(self, dim: int, num_heads: int, value_head_dim: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.in_proj = Linear(dim, num_heads * value_head_dim)
        self.out_proj = Linear(num_heads * value_head_dim, dim, scale=0.05)

    def forward(self, x: Tensor, attention: Attention) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        value = self.in_proj(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, H, T, value_head_dim)
        return self.out_proj(attention.average(value).transpose(1, 2).flatten(2))


class NonlinAttention(nn.Module):
    """Averages gated values with the weights of one head, then gates them again."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = 3 * dim // 4
        self.in_proj = Linear(dim, 3 * hidden)
        self.out_proj = Linear(hidden, dim, scale=0.05)

    def forward(self, x: Tensor, attention: Attention) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        gate, value, second_gate = self.in_proj(x).chunk(3, dim=-1)
        value = attention.average(_gated(value, gate)[:, None])[:, 0]
        return self.out_proj(value * second_gate)


@fusible
def _gated(value: Tensor, gate: Tensor) -> Tensor:
    return value * gate.tanh()
