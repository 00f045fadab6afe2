# SPDX-License-Identifier: Apache-2.0
"""Zipformer (Yao et al., "Zipformer: A faster and better encoder for automatic speech recognition", 2024).

A U-Net of stacks at different frame rates. Shapes: B batch, T frames, D width, E width of the time embedding.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zipvoice.model.activations import SwooshR
from zipvoice.model.attention import AttentionWeights, NonlinAttention, SelfAttention
from zipvoice.model.kernels.linear import Linear
from zipvoice.model.kernels.relative_attention import Attention
from zipvoice.model.layers import BiasNorm, Bypass, Convolution, FeedForward, kept
from zipvoice.model.relative_positions import relative_positions
from zipvoice.model.scheduled_float import Progress, ScheduledFloat

ATTENTION_SKIP = ScheduledFloat((0, 0.2), (4000, 0.05), (16000, 0.0))
CONVOLUTION_SKIP = ScheduledFloat((0, 0.2), (4000, 0.05), (16000, 0.0))
FEED_FORWARD_SKIP = ScheduledFloat((0, 0.1), (4000, 0.01), (50000, 0.0))
UNIFORM_ATTENTION = ScheduledFloat((0, 0.25), (4000, 0.025))
POSITION_DROPOUT = ScheduledFloat((0, 0.15))
LAYER_SKIP_WARMUP = 4000
LAYER_SKIP_START = 0.5
LAYER_SKIP_END = 0.035


@dataclass(frozen=True)
class Widths:
    """Sizes that all layers of a Zipformer share."""

    dim: int
    feedforward_dim: int
    num_heads: int
    query_head_dim: int
    pos_head_dim: int
    value_head_dim: int
    pos_dim: int

    def __post_init__(self) -> None:
        if self.pos_dim % 2 == 1:
            raise ValueError(f"pos_dim must be even, not {self.pos_dim}")


class EncoderLayer(nn.Module):
    """One Zipformer layer: attention, convolution and feed-forward modules, bypassed half-way and as a whole."""

    def __init__(self, widths: Widths, kernel: int, layer_skip: ScheduledFloat, progress: Progress) -> None:
        super().__init__()
        dim, hidden = widths.dim, widths.feedforward_dim
        self.progress = progress
        self.bypass = Bypass(dim, progress, skip_rate=layer_skip)
        self.bypass_mid = Bypass(dim, progress)
        self.self_attn_weights = AttentionWeights(
            dim, widths.num_heads, widths.query_head_dim, widths.pos_head_dim, widths.pos_dim, progress
        )
        self.self_attn1 = SelfAttention(dim, widths.num_heads, widths.value_head_dim)
        self.self_attn2 = SelfAttention(dim, widths.num_heads, widths.value_head_dim)
        self.feed_forward1 = FeedForward(dim, hidden * 3 // 4, progress)
        self.feed_forward2 = FeedForward(dim, hidden, progress)
        self.feed_forward3 = FeedForward(dim, hidden * 5 // 4, progress)
        self.nonlin_attention = NonlinAttention(dim)
        self.conv_module1 = Convolution(dim, kernel)
        self.conv_module2 = Convolution(dim, kernel)
        self.norm = BiasNorm(dim, progress)

    def forward(self, x: Tensor, positions: Tensor, time: Tensor | None, padding_mask: Tensor | None) -> Tensor:
        """One layer.

        Args:
            x: (B, T, D).
            positions: (2 T - 1, pos_dim) from `relative_positions`.
            time: (B, 1, D) or (B, T, D), added three times, or None.
            padding_mask: (B, T), True at padding, or None.

        Returns:
            (B, T, D).
        """
        before = x
        attention = self.self_attn_weights(x, positions, padding_mask)
        attended = self._kept(x, ATTENTION_SKIP)
        x = x if time is None else x + time
        x = _sum(x, self.feed_forward1(x))
        x = _sum(x, self.nonlin_attention(x, self._sometimes_uniform(attention)), attended)
        x = _sum(x, self.self_attn1(x, attention), attended)
        x = x if time is None else x + time
        x = _sum(x, self.conv_module1(x, padding_mask), self._kept(x, CONVOLUTION_SKIP))
        x = _sum(x, self.feed_forward2(x), self._kept(x, FEED_FORWARD_SKIP))
        x = self.bypass_mid(before, x)
        x = _sum(x, self.self_attn2(x, attention), attended)
        x = x if time is None else x + time
        x = _sum(x, self.conv_module2(x, padding_mask), self._kept(x, CONVOLUTION_SKIP))
        x = _sum(x, self.feed_forward3(x), self._kept(x, FEED_FORWARD_SKIP))
        return self.bypass(before, self.norm(x))

    def _kept(self, x: Tensor, skip_rate: ScheduledFloat) -> Tensor | None:
        """In training, zero for the utterances that skip a module this time, else one."""
        return kept(x, skip_rate(self.progress)) if self.training else None

    def _sometimes_uniform(self, attention: Attention) -> Attention:
        """In training, now and then the same attention to all frames that are not masked."""
        return attention.uniform() if self.training and UNIFORM_ATTENTION.happens(self.progress) else attention


def _sum(x: Tensor, change: Tensor, kept: Tensor | None = None) -> Tensor:
    """The sum x + change · kept in the dtype of x.

    Without gradients it takes the memory of the change, which nothing else uses.
    """
    if kept is not None:
        change = change * kept
    return x + change if torch.is_grad_enabled() else change.to(x.dtype).add_(x)


class Stack(nn.Module):
    """Layers at one frame rate."""

    def __init__(
        self,
        widths: Widths,
        kernel: int,
        layer_skips: Sequence[ScheduledFloat],
        time_embed_dim: int | None,
        progress: Progress,
    ) -> None:
        super().__init__()
        self.pos_dim = widths.pos_dim
        self.progress = progress
        self.time_emb = nn.Sequential(SwooshR(), Linear(time_embed_dim, widths.dim)) if time_embed_dim else None
        self.layers = nn.ModuleList(EncoderLayer(widths, kernel, skip, progress) for skip in layer_skips)
        for layer in self.layers[1:]:
            layer.load_state_dict(self.layers[0].state_dict())

    def forward(self, x: Tensor, time: Tensor | None, padding_mask: Tensor | None) -> Tensor:
        """From x (B, T, D), time (B, 1, E) or (B, T, E) and padding_mask (B, T) to (B, T, D)."""
        positions = relative_positions(x.shape[1], self.pos_dim, x.device).to(x.dtype)
        positions = F.dropout(positions, POSITION_DROPOUT(self.progress), self.training)
        if self.time_emb is not None:
            time = self.time_emb(time)
        for layer in self.layers:
            x = layer(x, positions, time, padding_mask)
        return x


class Downsample(nn.Module):
    """Weighted means of groups of frames."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.bias = nn.Parameter(torch.zeros(factor))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, ⌈T / factor⌉, D); the last frame fills up the last group."""
        missing = -x.shape[1] % self.factor
        x = torch.cat([x, x[:, -1:].expand(-1, missing, -1)], dim=1)
        return torch.einsum("btrd,r->btd", x.unflatten(1, (-1, self.factor)), self.bias.softmax(dim=0))


class DownsampledStack(nn.Module):
    """A stack at a lower frame rate, bypassed at the full rate."""

    def __init__(self, encoder: Stack, dim: int, factor: int, progress: Progress) -> None:
        super().__init__()
        self.factor = factor
        self.downsample = Downsample(factor)
        self.encoder = encoder
        self.out_combiner = Bypass(dim, progress)

    def forward(self, x: Tensor, time: Tensor | None, padding_mask: Tensor | None) -> Tensor:
        """As `Stack`."""
        if time is not None and time.shape[1] > 1:
            time = time[:, :: self.factor]
        mask = None if padding_mask is None else padding_mask[:, :: self.factor]
        inner = self.encoder(self.downsample(x), time, mask)
        return self.out_combiner(x, inner.repeat_interleave(self.factor, dim=1)[:, : x.shape[1]])


class Zipformer(nn.Module):
    """The whole network.

    Args:
        in_dims: width of the input, or several: each has its own input and output projection, chosen by the width.
        out_dims: as many widths of the output.
        widths: sizes of the layers.
        downsampling_factors: of each stack; the first and last are 1, each doubles up to the middle, then halves.
        num_layers: of each stack.
        kernels: odd convolution kernel of each stack, in its frames.
        progress: of training, for the schedules.
        time_embed_dim: width of the time embedding; None for a network without time.

    Raises:
        ValueError: sizes that do not fit together.
    """

    def __init__(
        self,
        in_dims: Sequence[int],
        out_dims: Sequence[int],
        widths: Widths,
        downsampling_factors: Sequence[int],
        num_layers: Sequence[int],
        kernels: Sequence[int],
        progress: Progress,
        time_embed_dim: int | None = None,
    ) -> None:
        super().__init__()
        _check_stacks(downsampling_factors, num_layers, kernels)
        self.in_proj = _projections([(in_dim, widths.dim) for in_dim in in_dims])
        self.out_proj = _projections([(widths.dim, out_dim) for out_dim in out_dims])
        self.encoders = nn.ModuleList()
        for index, (factor, layers, kernel) in enumerate(zip(downsampling_factors, num_layers, kernels, strict=True)):
            skips = layer_skips(index, len(num_layers), layers, factor)
            stack = Stack(widths, kernel, skips, time_embed_dim, progress)
            self.encoders.append(stack if factor == 1 else DownsampledStack(stack, widths.dim, factor, progress))

    def forward(self, x: Tensor, time: Tensor | None = None, padding_mask: Tensor | None = None) -> Tensor:
        """From x (B, T, in_dim), time (B, 1, E) or (B, T, E) and padding_mask (B, T) to (B, T, out_dim)."""
        in_proj, out_proj = self._stream(x.shape[-1])
        x = in_proj(x)
        for stack in self.encoders:
            x = stack(x, time, padding_mask)
        return out_proj(x)

    def _stream(self, in_dim: int) -> tuple[nn.Module, nn.Module]:
        """The input and output projections for inputs of a width."""
        if isinstance(self.in_proj, nn.Linear):
            return self.in_proj, self.out_proj
        known = [proj.in_features for proj in self.in_proj]
        if in_dim not in known:
            raise ValueError(f"the network takes inputs of width {' or '.join(map(str, known))}, not {in_dim}")
        stream = known.index(in_dim)
        return self.in_proj[stream], self.out_proj[stream]


def _projections(shapes: Sequence[tuple[int, int]]) -> Any:
    """One linear layer, or a list of several."""
    layers = [Linear(*shape) for shape in shapes]
    return layers[0] if len(layers) == 1 else nn.ModuleList(layers)


def _check_stacks(factors: Sequence[int], num_layers: Sequence[int], kernels: Sequence[int]) -> None:
    """Raise ValueError unless these describe the stacks of a U-Net."""
    if not len(factors) == len(num_layers) == len(kernels) > 0:
        raise ValueError(
            f"there are {len(factors)} downsampling factors, {len(num_layers)} numbers of layers and {len(kernels)} "
            "kernels; each stack needs one of each"
        )
    last = len(factors) - 1
    if last % 2 == 1 or list(factors) != [2 ** min(i, last - i) for i in range(len(factors))]:
        raise ValueError(
            f"downsampling factors {list(factors)}: they must start at 1, double up to the middle, then halve"
        )
    for kernel in kernels:
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"convolution kernels must be odd, not {kernel}")
    if min(num_layers) < 1:
        raise ValueError(f"numbers of layers {list(num_layers)}: each stack needs at least one layer")


def layer_skips(stack: int, num_stacks: int, num_layers: int, factor: int) -> list[ScheduledFloat]:
    """How often each layer of a stack is skipped: half of the time at first, later stacks and layers for longer."""
    start = LAYER_SKIP_WARMUP * (stack + 1) / (num_stacks + 1)
    span = LAYER_SKIP_WARMUP / (num_stacks + 1) / num_layers
    end_rate = LAYER_SKIP_END * math.sqrt(factor)
    return [
        ScheduledFloat((start + i * span, LAYER_SKIP_START), (start + (i + 1) * span, end_rate))
        for i in range(num_layers)
    ]
