# SPDX-License-Identifier: Apache-2.0
"""The stacks and layers of a network in the form that graphs are traced from: see `zipvoice.export.network`.

Shapes: B batch, T frames, D width, H heads.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zipvoice.export.int8 import ByteLinear, ByteWeight, byte_product, byte_product_by_frame
from zipvoice.model.activations import SLOPE, Swoosh, swoosh_l, swoosh_r
from zipvoice.model.attention import AttentionWeights, NonlinAttention, SelfAttention
from zipvoice.model.layers import BiasNorm, Bypass, Convolution, FeedForward
from zipvoice.model.relative_positions import offset_features
from zipvoice.model.zipformer import Downsample, DownsampledStack, EncoderLayer, Stack

EXP_LIMIT = 60.0
"""exp(60) is far from overflow, and log(1 + exp(z)) is z long before."""
MASKED_SCORE = -1e6
"""What the attention scores of padded frames are lowered by: softmax makes zero of it, whatever they were."""


class TracedStack(nn.Module):
    """As `Stack`: x (B, T, D), padding_mask (B, T), time (B, 1, E) or None."""

    def __init__(self, stack: Stack) -> None:
        super().__init__()
        self.pos_dim, self.time_emb = stack.pos_dim, stack.time_emb
        self.layers = nn.ModuleList(map(traced, stack.layers))

    def forward(self, x: Tensor, padding_mask: Tensor, time: Tensor | None = None) -> Tensor:
        frames = Frames(padding_mask.shape[0], padding_mask.shape[1], padding_mask[:, :, None].to(x.dtype))
        positions = relative_positions(frames, self.pos_dim)
        if self.time_emb is not None:
            time = self.time_emb(time)
        x = x.flatten(0, 1)
        for layer in self.layers:
            x = layer(x, positions, time, frames)
        return frames.by_utterance(x)


class TracedDownsampledStack(nn.Module):
    """As `DownsampledStack`; frames are repeated and what is over is cut off."""

    def __init__(self, stack: DownsampledStack) -> None:
        super().__init__()
        self.factor = stack.factor
        self.downsample, self.out_combiner = traced(stack.downsample), traced(stack.out_combiner)
        self.encoder = traced(stack.encoder)

    def forward(self, x: Tensor, padding_mask: Tensor, time: Tensor | None = None) -> Tensor:
        inner = self.encoder(self.downsample(x), padding_mask[:, :: self.factor], time)
        batch, groups, dim = inner.shape
        repeated = inner[:, :, None].expand(-1, -1, self.factor, -1).reshape(batch, groups * self.factor, dim)
        return self.out_combiner(x, repeated[:, : x.shape[1]])


class TracedDownsample(nn.Module):
    """Fills up the last group by repeating the last frame as often as any length may need, and drops what is over."""

    def __init__(self, downsample: Downsample) -> None:
        super().__init__()
        self.factor, self.bias = downsample.factor, downsample.bias

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([x, x[:, -1:].expand(-1, self.factor - 1, -1)], dim=1)
        groups = x.shape[1] // self.factor
        x = x[:, : groups * self.factor].reshape(x.shape[0], groups, self.factor, x.shape[2])
        return (x * self.bias.softmax(dim=0)[:, None]).sum(dim=2)


@dataclass(frozen=True)
class Frames:
    """Sizes of a stack, whose frames are one list (B · T, D): products of two axes add their biases themselves."""

    batch: int
    count: int
    padding: Tensor
    """(B, T, 1), one at padding, else zero."""

    def by_utterance(self, x: Tensor) -> Tensor:
        """(B · T, D) to (B, T, D)."""
        return x.reshape(self.batch, self.count, -1)

    def added(self, x: Tensor, time: Tensor | None) -> Tensor:
        """Of x (B · T, D) and the time of each utterance (B, 1, D)."""
        return x if time is None else (self.by_utterance(x) + time).flatten(0, 1)


class TracedLayer(nn.Module):
    """As `EncoderLayer`, of all utterances' frames (B · T, D)."""

    def __init__(self, layer: EncoderLayer) -> None:
        super().__init__()
        self.self_attn_weights = traced(layer.self_attn_weights)
        self.self_attn1, self.self_attn2 = traced(layer.self_attn1), traced(layer.self_attn2)
        self.nonlin_attention = traced(layer.nonlin_attention)
        self.feed_forward1, self.feed_forward2 = traced(layer.feed_forward1), traced(layer.feed_forward2)
        self.feed_forward3 = traced(layer.feed_forward3)
        self.conv_module1, self.conv_module2 = traced(layer.conv_module1), traced(layer.conv_module2)
        self.norm, self.bypass, self.bypass_mid = map(traced, (layer.norm, layer.bypass, layer.bypass_mid))

    def forward(self, x: Tensor, positions: Tensor, time: Tensor | None, frames: Frames) -> Tensor:
        before, attention = x, self.self_attn_weights(x, positions, frames)
        x = frames.added(x, time)
        x = x + self.feed_forward1(x)
        x = x + self.nonlin_attention(x, attention, frames)
        x = x + self.self_attn1(x, attention, frames)
        x = frames.added(x, time)
        x = x + self.conv_module1(x, frames)
        x = x + self.feed_forward2(x)
        x = self.bypass_mid(before, x)
        x = x + self.self_attn2(x, attention, frames)
        x = frames.added(x, time)
        x = x + self.conv_module2(x, frames)
        x = x + self.feed_forward3(x)
        return self.bypass(before, self.norm(x))


class TracedAttentionWeights(nn.Module):
    """Attention weights (B, T, T) of each head, one after the other: those of all heads together fit into no cache."""

    def __init__(self, weights: AttentionWeights) -> None:
        super().__init__()
        self.num_heads, self.widths = weights.num_heads, weights.widths
        self.in_proj, self.linear_pos = weights.in_proj, weights.linear_pos

    def forward(self, x: Tensor, positions: Tensor, frames: Frames) -> list[Tensor]:
        parts = [width // self.num_heads for width in self.widths for _ in range(self.num_heads)]
        heads = frames.by_utterance(self.in_proj(x)).split(parts, dim=2)
        tables = self.linear_pos(positions).T.split(self.widths[2] // self.num_heads, dim=0)
        masked = MASKED_SCORE * frames.padding
        weights = []
        for h, table in enumerate(tables):
            query, key, position = heads[h :: self.num_heads]
            query = torch.cat([query, torch.ones_like(masked)], dim=-1)  # a channel more: one pass over the scores less
            key = torch.cat([key, masked], dim=-1)
            scores = query @ key.transpose(1, 2) + _shifted(position @ table, frames)
            weights.append(scores.softmax(dim=-1))
        return weights


def _shifted(by_offset: Tensor, frames: Frames) -> Tensor:
    """Scores by offset -T … T (B, T, 2 T + 1) by source frame (B, T, T): y[i, j] = x[i, j - i + T].

    Row i begins i (2 T + 1) + T - i = (2 i + 1) T numbers behind the first: in rows of T, it is each second one.
    """
    return by_offset.reshape(frames.batch, -1, frames.count)[:, 1::2]


def relative_positions(frames: Frames, dim: int) -> Tensor:
    """As the model's `relative_positions`, with rows for the offsets -T and T as well: (2 T + 1, dim)."""
    one = torch.ones_like(frames.padding[0, :, 0])
    count = torch.cat([one, one, one[:1]]).cumsum(dim=0)  # 1 … 2 T + 1
    return offset_features(count - one.sum() - 1, dim)


class TracedSelfAttention(nn.Module):
    """As `SelfAttention`, of weights (B, T, T) of each head."""

    def __init__(self, attention: SelfAttention) -> None:
        super().__init__()
        self.num_heads = attention.num_heads
        self.in_proj, self.out_proj = attention.in_proj, attention.out_proj

    def forward(self, x: Tensor, weights: list[Tensor], frames: Frames) -> Tensor:
        values = frames.by_utterance(self.in_proj(x)).split(self.in_proj.out_features // self.num_heads, dim=2)
        attended = [head @ value for head, value in zip(weights, values, strict=True)]
        return self.out_proj(torch.cat(attended, dim=-1).flatten(0, 1))


class TracedNonlinAttention(nn.Module):
    """As `NonlinAttention`, of the weights of the first head."""

    def __init__(self, attention: NonlinAttention) -> None:
        super().__init__()
        self.in_proj, self.out_proj = attention.in_proj, attention.out_proj

    def forward(self, x: Tensor, weights: list[Tensor], frames: Frames) -> Tensor:
        gate, value, second_gate = _parts(self.in_proj, x, 3)
        attended = weights[0] @ frames.by_utterance(value * gate.tanh())
        return self.out_proj(attended.flatten(0, 1) * second_gate)


class TracedFeedForward(nn.Module):
    """As `FeedForward`."""

    def __init__(self, module: FeedForward) -> None:
        super().__init__()
        self.in_proj, self.out_proj = module.in_proj, module.out_proj

    def forward(self, x: Tensor) -> Tensor:
        z = _product(x, self.in_proj.weight, _before_swoosh(swoosh_l, self.in_proj))
        return _after_swoosh(swoosh_l, z, self.out_proj)


class TracedConvolution(nn.Module):
    """As `Convolution`."""

    def __init__(self, module: Convolution) -> None:
        super().__init__()
        self.in_proj, self.depthwise_conv, self.out_proj = module.in_proj, module.depthwise_conv, module.out_proj

    def forward(self, x: Tensor, frames: Frames) -> Tensor:
        value, gate = _parts(self.in_proj, x, 2)
        x = frames.by_utterance(value * gate.sigmoid()) * (1.0 - frames.padding)
        conv = self.depthwise_conv
        around, bias = conv.weight.shape[-1] // 2, _before_swoosh(swoosh_r, conv)
        # of two dimensions, one of them of size 1: ONNX Runtime's convolution of one is four times as slow
        planes = x[:, None].permute(0, 3, 1, 2)
        z = F.conv2d(planes, conv.weight[:, :, None], bias, padding=(0, around), groups=conv.groups)
        return _after_swoosh(swoosh_r, z.permute(0, 2, 3, 1).flatten(0, 2), self.out_proj)


def _parts(layer: nn.Module, x: Tensor, count: int) -> list[Tensor]:
    """The output of a linear layer in equal parts, each by a product of its own, which copies nothing."""
    assert isinstance(layer, nn.Linear | ByteLinear) and layer.bias is not None
    weights: Sequence[Tensor | ByteWeight] = layer.weight.chunk(count)
    return [_product(x, weight, bias) for weight, bias in zip(weights, layer.bias.chunk(count), strict=True)]


def _product(x: Tensor, weight: Tensor | ByteWeight, bias: Tensor) -> Tensor:
    return byte_product(x, weight, bias) if isinstance(weight, ByteWeight) else F.linear(x, weight, bias)


def _before_swoosh(swoosh: Swoosh, layer: nn.Module) -> Tensor:
    """The bias of a layer before a Swoosh, with the shift in it."""
    assert isinstance(layer.bias, Tensor)
    return layer.bias - swoosh.shift


def _after_swoosh(swoosh: Swoosh, z: Tensor, after: nn.Module) -> Tensor:
    """A linear layer of the Swoosh of z plus its shift; the constants of Swoosh go into the bias, once."""
    assert isinstance(after, nn.Linear | ByteLinear)
    x, weight = _folded_swoosh(z), after.weight  # all of x is above 0.27
    constants = swoosh.offset + SLOPE * swoosh.shift
    if isinstance(weight, ByteWeight):
        return byte_product_by_frame(x, weight, after.bias - weight.sums() * constants)
    return F.linear(x, weight, after.bias - weight.sum(dim=1) * constants)


def _folded_swoosh(z: Tensor) -> Tensor:
    """log(1 + exp(z)) - 0.08 z.

    ONNX Runtime's Softplus takes nearly four times as long, and its logistic function is zero where the logarithm needs
    its tail.
    """
    return torch.maximum(z, (1.0 + z.clamp(max=EXP_LIMIT).exp()).log()) - SLOPE * z


class TracedSwooshR(nn.Module):
    """As `SwooshR`."""

    def forward(self, x: Tensor) -> Tensor:
        z = x - swoosh_r.shift
        return _folded_swoosh(z) - (swoosh_r.offset + SLOPE * swoosh_r.shift)


class TracedNorm(nn.Module):
    """As `BiasNorm`."""

    def __init__(self, norm: BiasNorm) -> None:
        super().__init__()
        self.bias, self.log_scale = norm.bias, norm.log_scale

    def forward(self, x: Tensor) -> Tensor:
        return x * ((x - self.bias).square().mean(dim=-1, keepdim=True).rsqrt() * self.log_scale.exp())


class TracedBypass(nn.Module):
    """As `Bypass`."""

    def __init__(self, bypass: Bypass) -> None:
        super().__init__()
        self.scale = bypass.bypass_scale

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        return before + (after - before) * self.scale


FORMS: dict[type[nn.Module], type[nn.Module]] = {
    AttentionWeights: TracedAttentionWeights,
    BiasNorm: TracedNorm,
    Bypass: TracedBypass,
    Convolution: TracedConvolution,
    Downsample: TracedDownsample,
    DownsampledStack: TracedDownsampledStack,
    EncoderLayer: TracedLayer,
    FeedForward: TracedFeedForward,
    NonlinAttention: TracedNonlinAttention,
    SelfAttention: TracedSelfAttention,
    Stack: TracedStack,
}
"""What each part of a network is traced as."""


def traced(module: nn.Module) -> nn.Module:
    """The form of a part of a network that graphs are traced from."""
    return FORMS[type(module)](module)
