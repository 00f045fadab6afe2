# SPDX-License-Identifier: Apache-2.0
"""The networks in the form that graphs are traced from: the same numbers, no branch that depends on a size.

A traced graph holds what was done at one length. So nothing here asks for a length in Python: offsets are made of sums,
groups of frames are filled up without asking whether they need to be, and relative scores are shifted by one reshape.
What evaluation does not need (schedules, dropout, gradients, blocks that fit into a processor's cache) is left out, and
the constants of Swoosh are folded into the biases of the layers around it. The model itself is left as it is.

Shapes: B batch, S tokens, T frames, D width, H heads, F mel bins, C mel bins of all channels.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from zipvoice.export.int8 import in_bytes
from zipvoice.export.layers import TracedSwooshR, traced
from zipvoice.model.activations import SwooshR
from zipvoice.model.decoder import VelocityDecoder
from zipvoice.model.duration import upsample
from zipvoice.model.zipformer import Zipformer
from zipvoice.model.zipvoice import ZipVoice


class TracedVelocity(nn.Module):
    """The velocity of any variant, of (t, x, text, speech, padding_mask), if distilled the guidance scale, and t_next.

    t, guidance_scale and t_next: (B); x and speech: (B, T, C); text: (B, T, F); padding_mask: (B, T), True at padding.
    Gives (B, T, C). With `int8` the products of all stacks are in 8 bits: see `zipvoice.export.int8`.
    """

    def __init__(self, model: ZipVoice, channels: int = 1, int8: bool = False) -> None:
        super().__init__()
        decoder = _plain_copy(model.fm_decoder)
        assert isinstance(decoder, VelocityDecoder)
        self.decoder = decoder
        if int8:
            in_bytes(decoder.encoders)
        self.network = TracedZipformer(decoder, (2 * channels + 1) * model.config.feat_dim)

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
        self.stacks = nn.ModuleList(map(traced, network.encoders))

    def forward(self, x: Tensor, padding_mask: Tensor, time: Tensor | None = None) -> Tensor:
        x = self.in_proj(x)
        for stack in self.stacks:
            x = stack(x, padding_mask, time)
        return self.out_proj(x)


def _count(x: Tensor) -> Tensor:
    """1 … N along the second axis of x (B, N), int64."""
    return torch.ones_like(x, dtype=torch.int64).cumsum(dim=1)


def _plain_copy(network: nn.Module) -> nn.Module:
    """A copy whose parameters may be changed, without gradients, with Swoosh layers in their traced form."""
    network = copy.deepcopy(network).float().cpu().eval().requires_grad_(False)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, SwooshR):
                setattr(module, name, TracedSwooshR())
    return network
