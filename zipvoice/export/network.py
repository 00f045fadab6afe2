# SPDX-License-Identifier: Apache-2.0
"""The networks in the form that graphs are traced from: the same numbers, no branch that depends on a size.

A traced graph holds what was done at one length. So nothing here asks for a length in Python: offsets are made of sums,
groups of frames are filled up without asking whether they need to be, and relative scores are shifted by one reshape.
What evaluation does not need (schedules, dropout, gradients, blocks that fit into a processor's cache) is left out, and
the constants of Swoosh are folded into the biases of the layers around it. The model itself is left as it is.

Shapes: B batch, S tokens, T frames, D width, H heads, F mel bins, C mel bins of all channels.
"""

import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zipvoice.export.int8 import FrameProduct
from zipvoice.model.activations import SLOPE, Swoosh, SwooshR, swoosh_l, swoosh_r
from zipvoice.model.attention import AttentionWeights, NonlinAttention, SelfAttention
from zipvoice.model.decoder import VelocityDecoder
from zipvoice.model.duration import upsample
from zipvoice.model.layers import BiasNorm, Bypass, Convolution, FeedForward
from zipvoice.model.relative_positions import offset_features
from zipvoice.model.zipformer import Downsample, DownsampledStack, EncoderLayer, Stack, Zipformer
from zipvoice.model.zipvoice import ZipVoice

EXP_LIMIT = 60.0
"""exp(60) is far from overflow, and log(1 + exp(z)) is z long before."""
MASKED_SCORE = -1e6
"""What the attention scores of padded frames are lowered by: softmax makes zero of it, whatever they were."""


class TracedVelocity(nn.Module):
    """The velocity of any variant, of (t, x, text, speech, padding_mask), if distilled the guidance scale, and t_next.

    t, guidance_scale and t_next: (B); x and speech: (B, T, C); text: (B, T, F); padding_mask: (B, T), True at padding.
    Gives (B, T, C). `by_frame` is for graphs whose products are quantised: frames get one size where they enter the
    products after a Swoosh, whose values in a few frames are a hundred times those in most.
    """

    def __init__(self, model: ZipVoice, channels: int = 1, by_frame: bool = False) -> None:
        super().__init__()
        decoder = _plain_copy(model.fm_decoder)
        assert isinstance(decoder, VelocityDecoder)
        self.decoder = decoder
        self.network = TracedZipformer(decoder, (2 * channels + 1) * model.config.feat_dim)
        for part in self.network.modules():
            if isinstance(part, TracedFeedForward | TracedConvolution):
                part.by_frame = by_frame

    def forward(
        self,
        t: Tensor,
        x: Tensor,
        text: Tensor,
        speech: Tensor,
        padding_mask: Tensor,
        guidance_scale: Tensor | None = None,
        t_next: Tensor | None = None,
    ) -> Tensor:
        scale, end = (None if value is None else value[:, None] for value in (guidance_scale, t_next))
        time = self.decoder.embedding(t[:, None], scale, end)  # (B, 1, E)
        return self.network(torch.cat([x, text, speech], dim=-1), padding_mask, time)


class TracedTextEncoder(nn.Module):
    """Token ids (B, S) and numbers of tokens (B) -> encoded text (B, S, F), the vectors of speakers included."""

    def __init__(self, model: ZipVoice) -> None:
        super().__init__()
        self.embed, self.spk_embed = model.embed, model.spk_embed
        self.vocabulary = model.vocabulary
        self.network = TracedZipformer(_plain_copy(model.text_encoder), model.config.text_embed_dim)

    def forward(self, tokens: Tensor, num_tokens: Tensor) -> Tensor:
        padding_mask = _count(tokens) > num_tokens[:, None]
        text = self.network(self.embed(tokens), padding_mask)
        return text if self.spk_embed is None else text + self._speaker_vectors(self.spk_embed, tokens)

    def _speaker_vectors(self, spk_embed: nn.Embedding, tokens: Tensor) -> Tensor:
        """(B, S, F), chosen by the parity of the number of turn tags so far; zero at padding."""
        first, second = self.vocabulary.spk_a_id, self.vocabulary.spk_b_id
        assert first is not None and second is not None
        is_tag = tokens.eq(first).logical_or(tokens.eq(second))
        vectors = spk_embed(is_tag.long().cumsum(dim=1) % 2)
        return vectors * tokens.ne(self.vocabulary.pad_id)[:, :, None].to(vectors.dtype)


class TracedTextCondition(nn.Module):
    """Token ids (B, S + 1), numbers of tokens and of frames (B) -> encoded text spread over the frames (B, T, F)."""

    def __init__(self, model: ZipVoice) -> None:
        super().__init__()
        self.encoder, self.durations, self.alignment = TracedTextEncoder(model), model.durations, model.alignment

    def forward(self, tokens: Tensor, num_tokens: Tensor, num_frames: Tensor) -> Tensor:
        longest: Any = num_frames.max()  # a tensor, so that the graph holds for every length
        return upsample(self.encoder(tokens, num_tokens), self.alignment(tokens, num_tokens, num_frames, longest))


class TracedZipformer(nn.Module):
    """A Zipformer whose input has a given width."""

    def __init__(self, network: nn.Module, in_dim: int) -> None:
        super().__init__()
        assert isinstance(network, Zipformer)
        self.in_proj, self.out_proj = network._stream(in_dim)
        self.stacks = nn.ModuleList(map(_traced, network.encoders))

    def forward(self, x: Tensor, padding_mask: Tensor, time: Tensor | None = None) -> Tensor:
        x = self.in_proj(x)
        for stack in self.stacks:
            x = stack(x, padding_mask, time)
        return self.out_proj(x)


class TracedStack(nn.Module):
    """As `Stack`: x (B, T, D), padding_mask (B, T), time (B, 1, E) or None."""

    def __init__(self, stack: Stack) -> None:
        super().__init__()
        self.pos_dim, self.time_emb = stack.pos_dim, stack.time_emb
        self.layers = nn.ModuleList(map(_traced, stack.layers))

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
        self.downsample, self.out_combiner = _traced(stack.downsample), _traced(stack.out_combiner)
        self.encoder = _traced(stack.encoder)

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
        self.self_attn_weights = _traced(layer.self_attn_weights)
        self.self_attn1, self.self_attn2 = _traced(layer.self_attn1), _traced(layer.self_attn2)
        self.nonlin_attention = _traced(layer.nonlin_attention)
        self.feed_forward1, self.feed_forward2 = _traced(layer.feed_forward1), _traced(layer.feed_forward2)
        self.feed_forward3 = _traced(layer.feed_forward3)
        self.conv_module1, self.conv_module2 = _traced(layer.conv_module1), _traced(layer.conv_module2)
        self.norm, self.bypass, self.bypass_mid = map(_traced, (layer.norm, layer.bypass, layer.bypass_mid))

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


def _count(x: Tensor) -> Tensor:
    """1 … N along the second axis of x (B, N), int64."""
    return torch.ones_like(x, dtype=torch.int64).cumsum(dim=1)


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

    by_frame = False

    def __init__(self, module: FeedForward) -> None:
        super().__init__()
        self.in_proj, self.out_proj = module.in_proj, module.out_proj

    def forward(self, x: Tensor) -> Tensor:
        z = F.linear(x, self.in_proj.weight, _before_swoosh(swoosh_l, self.in_proj))
        return _after_swoosh(swoosh_l, z, self.out_proj, self.by_frame)


class TracedConvolution(nn.Module):
    """As `Convolution`."""

    by_frame = False

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
        return _after_swoosh(swoosh_r, z.permute(0, 2, 3, 1).flatten(0, 2), self.out_proj, self.by_frame)


def _parts(layer: nn.Module, x: Tensor, count: int) -> list[Tensor]:
    """The output of a linear layer in equal parts, each by a product of its own, which copies nothing."""
    assert isinstance(layer.weight, Tensor) and isinstance(layer.bias, Tensor)
    return list(map(partial(F.linear, x), layer.weight.chunk(count), layer.bias.chunk(count)))


def _before_swoosh(swoosh: Swoosh, layer: nn.Module) -> Tensor:
    """The bias of a layer before a Swoosh, with the shift in it."""
    assert isinstance(layer.bias, Tensor)
    return layer.bias - swoosh.shift


def _after_swoosh(swoosh: Swoosh, z: Tensor, after: nn.Module, by_frame: bool) -> Tensor:
    """A linear layer of the Swoosh of z plus its shift; the constants of Swoosh go into the bias, once."""
    assert isinstance(after.bias, Tensor) and isinstance(after.weight, Tensor)
    bias = after.bias - after.weight.sum(dim=1) * (swoosh.offset + SLOPE * swoosh.shift)
    x = _folded_swoosh(z)  # all of it is above 0.27
    return FrameProduct(after.weight)(x) + bias if by_frame else F.linear(x, after.weight, bias)


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


def _traced(module: nn.Module) -> nn.Module:
    return FORMS[type(module)](module)


def _plain_copy(network: nn.Module) -> nn.Module:
    """A copy whose parameters may be changed, without gradients, with Swoosh layers in their traced form."""
    network = copy.deepcopy(network).float().cpu().eval().requires_grad_(False)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, SwooshR):
                setattr(module, name, TracedSwooshR())
    return network
