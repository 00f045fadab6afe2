# SPDX-License-Identifier: Apache-2.0
"""The content of model.json."""

from dataclasses import dataclass, field

from zipvoice.config.model import FeatureConfig, ModelConfig, Variant
from zipvoice.config.synthesis import PUBLISHED_SAMPLING, SamplingConfig
from zipvoice.config.text import TokenizerConfig


@dataclass(frozen=True)
class ModelFile:
    """The content of model.json. Released files have the keys `model` and `feature` only."""

    model: ModelConfig = field(default_factory=ModelConfig)
    """Sizes of the networks."""
    feature: FeatureConfig = field(default_factory=FeatureConfig)
    """Acoustic features."""
    variant: Variant | None = None
    """Which of the four models; inferred from the weights when absent."""
    tokenizer: TokenizerConfig | None = None
    """The tokenizer the model was trained with; when absent, that of the released model of the same variant."""
    sampling: SamplingConfig | None = None
    """How it is best sampled; when absent, as the released model of the same variant."""
    vocoder: str | None = None
    """What speaks for it: griffin-lim, vocos_small or a directory; when absent, the published Vocos."""
    fast: SamplingConfig | None = None
    """How it is sampled for fast speech, as zipvoice search-steps may have found it."""

    def sampling_of(self, variant: Variant) -> SamplingConfig:
        """How the model, of a variant that files may leave out, is best sampled."""
        return self.sampling or PUBLISHED_SAMPLING[variant]
