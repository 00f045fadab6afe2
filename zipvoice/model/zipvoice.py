# SPDX-License-Identifier: Apache-2.0
"""ZipVoice: a text encoder and a velocity decoder.

Zhu et al., "ZipVoice: Fast and high-quality zero-shot text-to-speech with flow matching", 2025.
Shapes: B batch, S tokens, T frames, F mel bins, C mel bins of all channels.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from zipvoice.config.model import ModelConfig, Variant, Vocabulary
from zipvoice.model.condition import Condition, pad_tokens, padding_mask
from zipvoice.model.decoder import VelocityDecoder
from zipvoice.model.duration import check_frames, timed_alignment, uniform_alignment, upsample
from zipvoice.model.scheduled_float import Progress
from zipvoice.model.training_hooks import attach_training_hooks
from zipvoice.model.zipformer import Widths, Zipformer


class ZipVoice(nn.Module):
    """The four released models; `variant` says which.

    `zipvoice_distill` takes the guidance scale as an input, the dialogue models mark speaker turns, and
    `zipvoice_dialog_stereo` has a second pair of projections for two channels. Called with a time, a state and a
    condition, a model is a velocity (see `zipvoice.model.solver`).
    """

    def __init__(self, config: ModelConfig, vocabulary: Vocabulary, variant: Variant = "zipvoice") -> None:
        super().__init__()
        self.config = config
        self.vocabulary = vocabulary
        self.variant = variant
        self.progress = Progress()
        if config.step_embed_dim is not None and variant != "zipvoice_distill":
            raise ValueError(f"step_embed_dim is for a distilled model, which {variant} is not; leave it out")
        self.fm_decoder = _decoder(config, variant, self.progress)
        self.text_encoder = _text_encoder(config, self.progress)
        self.embed = nn.Embedding(vocabulary.size, config.text_embed_dim)
        durations = None if vocabulary.durations is None else torch.tensor(vocabulary.durations)
        self.durations: Tensor | None
        self.register_buffer("durations", durations, persistent=False)  # the token table keeps them
        self.spk_embed: nn.Embedding | None = None
        if "dialog" in variant:
            if vocabulary.spk_a_id is None or vocabulary.spk_b_id is None:
                raise ValueError(f"{variant} marks speaker turns; its vocabulary must have the tokens [S1] and [S2]")
            self.spk_embed = nn.Embedding(2, config.feat_dim)
            nn.init.normal_(self.spk_embed.weight, std=0.1)
        self._whiteners = {
            f"{name}.{place}": whitener
            for name, network in [("fm_decoder", self.fm_decoder), ("text_encoder", self.text_encoder)]
            for place, whitener in attach_training_hooks(network, self.progress).items()
        }

    @property
    def is_distilled(self) -> bool:
        """Whether the guidance scale is an input."""
        return self.fm_decoder.guidance_scale_embed is not None

    @property
    def predicts_means(self) -> bool:
        """Whether the end of a step is an input, and the mean velocity until then the output."""
        return self.fm_decoder.step_embed is not None

    def forward(
        self,
        t: float | Tensor,
        x: Tensor,
        condition: Condition,
        guidance_scale: float | Tensor | None = None,
        t_next: float | Tensor | None = None,
    ) -> Tensor:
        """The velocity at time t, or its mean from there to `t_next`.

        Args:
            t: time in [0, 1], one number for all or per utterance (B,) or (B, 1, 1).
            x: state (B, T, C).
            condition: what is known.
            guidance_scale: of a distilled model, one number for all or per utterance.
            t_next: of a model that predicts means, the end of the step, as `t`; by default there is no step, and the
                mean is the velocity.

        Returns:
            (B, T, C).
        """
        x = torch.cat([x, condition.text, condition.speech], dim=-1)
        scale, end = (None if value is None else _per_utterance(value, x) for value in (guidance_scale, t_next))
        return self.fm_decoder(x, _per_utterance(t, x), condition.padding_mask, scale, end)

    def set_batch_count(self, count: float) -> None:
        """Say how far training has come: batches so far, adjusted to the reference batch size."""
        self.progress.batch_count = count

    def training_state(self) -> dict[str, float]:
        """Probabilities of whitening, which adapt themselves in training, for checkpoints."""
        return {name: whitener.probability for name, whitener in self._whiteners.items()}

    def load_training_state(self, state: Mapping[str, float]) -> None:
        """Take over what `training_state` gave. Raises ValueError when it is of another model."""
        if state.keys() != self._whiteners.keys():
            different = sorted(state.keys() ^ self._whiteners.keys())
            raise ValueError(f"the training state is of another model; it differs in {', '.join(different[:3])}, …")
        for name, whitener in self._whiteners.items():
            whitener.probability = state[name]

    def encode_text(self, tokens: Tensor, num_tokens: Tensor) -> Tensor:
        """Token ids (B, S), of which num_tokens (B) are real, to vectors (B, S, F)."""
        mask = padding_mask(num_tokens, tokens.shape[1])
        text = self.text_encoder(self.embed(tokens), padding_mask=mask)
        return text if self.spk_embed is None else text + self._speaker_vectors(self.spk_embed, tokens).to(text.dtype)

    def _speaker_vectors(self, spk_embed: nn.Embedding, tokens: Tensor) -> Tensor:
        """(B, S, F), chosen by the parity of the number of turn tags so far; zero at padding."""
        tags = torch.tensor([self.vocabulary.spk_a_id, self.vocabulary.spk_b_id], device=tokens.device)
        turns = torch.isin(tokens, tags).cumsum(dim=1)
        return spk_embed(turns % 2) * (tokens != self.vocabulary.pad_id)[:, :, None]

    def condition_text(self, tokens: Sequence[Sequence[int]], num_frames: Sequence[int]) -> Tensor:
        """Text spread over the frames of utterances of known length.

        Args:
            tokens: B lists of token ids.
            num_frames: B numbers of frames.

        Returns:
            (B, T, F), T the largest number of frames.

        Raises:
            ValueError: a text is empty or has more tokens than frames.
        """
        check_frames([len(ids) for ids in tokens], num_frames)
        arrays = (*pad_tokens(tokens, self.vocabulary.pad_id), np.array(num_frames))
        device = self.embed.weight.device
        ids, num_tokens, lengths = (torch.from_numpy(array).to(device, non_blocking=True) for array in arrays)
        return self.frame_text(ids, num_tokens, lengths, max(num_frames))

    def frame_text(self, tokens: Tensor, num_tokens: Tensor, num_frames: Tensor, longest: int) -> Tensor:
        """Text spread over the frames, of tensors alone, so that it can be traced: (B, T, F), T = longest.

        Args:
            tokens: token ids (B, S + 1), padded by `pad_tokens`.
            num_tokens: of each text (B), at most as many as frames, see `check_frames`.
            num_frames: of each utterance (B).
            longest: the largest number of frames.
        """
        return upsample(self.encode_text(tokens, num_tokens), self.alignment(tokens, num_tokens, num_frames, longest))

    def alignment(self, tokens: Tensor, num_tokens: Tensor, num_frames: Tensor, longest: int) -> Tensor:
        """Which text position each frame takes, (B, T); arguments as of `frame_text`.

        All tokens of a text get the same number of frames, unless the vocabulary tells how long each typically is.
        """
        if self.durations is None:
            return uniform_alignment(num_tokens, num_frames, longest)
        return timed_alignment(self.durations[tokens], num_tokens, num_frames, longest)


def _per_utterance(value: float | Tensor, x: Tensor) -> Tensor:
    """A number, or one per utterance or frame with trailing axes of size one, as (B, 1) or (B, T)."""
    if isinstance(value, Tensor) and value.dim() > 0:
        return value.reshape(x.shape[0], -1)
    if isinstance(value, Tensor):
        return value.expand(x.shape[0], 1)
    return torch.full((x.shape[0], 1), value, device=x.device)


def _decoder(config: ModelConfig, variant: Variant, progress: Progress) -> VelocityDecoder:
    channels = (2, 1) if variant == "zipvoice_dialog_stereo" else (1,)
    return VelocityDecoder(
        in_dims=[(2 * c + 1) * config.feat_dim for c in channels],
        out_dims=[c * config.feat_dim for c in channels],
        widths=_widths(config, config.fm_decoder_dim, config.fm_decoder_feedforward_dim, config.fm_decoder_num_heads),
        downsampling_factors=config.fm_decoder_downsampling_factor,
        num_layers=config.fm_decoder_num_layers,
        kernels=config.fm_decoder_cnn_module_kernel,
        progress=progress,
        time_embed_dim=config.time_embed_dim,
        use_guidance=variant == "zipvoice_distill",
        step_embed_dim=config.step_embed_dim,
    )


def _text_encoder(config: ModelConfig, progress: Progress) -> Zipformer:
    return Zipformer(
        in_dims=[config.text_embed_dim],
        out_dims=[config.feat_dim],
        widths=_widths(
            config, config.text_encoder_dim, config.text_encoder_feedforward_dim, config.text_encoder_num_heads
        ),
        downsampling_factors=[1],
        num_layers=[config.text_encoder_num_layers],
        kernels=[config.text_encoder_cnn_module_kernel],
        progress=progress,
    )


def _widths(config: ModelConfig, dim: int, feedforward_dim: int, num_heads: int) -> Widths:
    return Widths(
        dim=dim,
        feedforward_dim=feedforward_dim,
        num_heads=num_heads,
        query_head_dim=config.query_head_dim,
        pos_head_dim=config.pos_head_dim,
        value_head_dim=config.value_head_dim,
        pos_dim=config.pos_dim,
    )
