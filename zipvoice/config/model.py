# SPDX-License-Identifier: Apache-2.0
"""The network and its features: sizes, variants, what a model knows of its tokens."""

from dataclasses import dataclass, fields
from typing import Literal

from zipvoice.config.rules import is_above_zero, require

Variant = Literal["zipvoice", "zipvoice_distill", "zipvoice_dialog", "zipvoice_dialog_stereo"]


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of the two networks; the key `model` of a released model.json, with its names and values."""

    fm_decoder_downsampling_factor: tuple[int, ...] = (1, 2, 4, 2, 1)
    """Frame-rate divisor of each decoder stack."""
    fm_decoder_num_layers: tuple[int, ...] = (2, 2, 4, 4, 4)
    """Layers of each decoder stack."""
    fm_decoder_cnn_module_kernel: tuple[int, ...] = (31, 15, 7, 15, 31)
    """Odd convolution kernel of each decoder stack, in frames of that stack."""
    fm_decoder_feedforward_dim: int = 1536
    """Width of the middle feed-forward block of a decoder layer; the other two have 3/4 and 5/4 of it."""
    fm_decoder_num_heads: int = 4
    """Attention heads of the decoder."""
    fm_decoder_dim: int = 512
    """Width of the decoder."""
    text_encoder_num_layers: int = 4
    """Layers of the text encoder."""
    text_encoder_feedforward_dim: int = 512
    """Width of the middle feed-forward block of a text-encoder layer."""
    text_encoder_cnn_module_kernel: int = 9
    """Odd convolution kernel of the text encoder, in tokens."""
    text_encoder_num_heads: int = 4
    """Attention heads of the text encoder."""
    text_encoder_dim: int = 192
    """Width of the text encoder."""
    time_embed_dim: int = 192
    """Width of the time and guidance-scale embeddings."""
    text_embed_dim: int = 192
    """Width of the token embedding."""
    query_head_dim: int = 32
    """Query and key width of one attention head, in both networks."""
    value_head_dim: int = 12
    """Value width of one attention head, in both networks."""
    pos_head_dim: int = 4
    """Position-query width of one attention head, in both networks."""
    pos_dim: int = 48
    """Width of the relative positional table, even, in both networks."""
    feat_dim: int = 100
    """Mel bins of one channel."""
    step_embed_dim: int | None = None
    """Width of the embedding of a step's length in a model of mean velocities (objective.kind mean-flow); the released
    models predict velocities and have none."""

    def __post_init__(self) -> None:
        sizes = {f.name: getattr(self, f.name) for f in fields(self)}
        require(self, ((name, size >= 1, "at least 1") for name, size in sizes.items() if type(size) is int), "model.")


@dataclass(frozen=True)
class FeatureConfig:
    """The acoustic features a model works on; the key `feature` of model.json."""

    sampling_rate: int = 24000
    """Samples per second."""
    type: Literal["vocos"] = "vocos"
    """Vocos log-mel features, the only kind."""
    scale: float = 0.1
    """Log-mel values are multiplied by this before the model sees them."""

    def __post_init__(self) -> None:
        rules = (
            ("sampling_rate", self.sampling_rate == 24000, "24000, that of the features"),
            ("scale", is_above_zero(self.scale), "above 0"),
        )
        require(self, rules, "feature.")


@dataclass(frozen=True)
class Vocabulary:
    """What a model needs to know of its token table."""

    size: int
    """Number of tokens."""
    pad_id: int = 0
    """Id of the padding token `_`."""
    spk_a_id: int | None = None
    """Id of `[S1]`, dialogue models only."""
    spk_b_id: int | None = None
    """Id of `[S2]`, dialogue models only."""
    durations: tuple[float, ...] | None = None
    """How long each token is in speech, relative to the others, for models that lay out a text by it; the released ones
    give all tokens of a text the same number of frames."""
