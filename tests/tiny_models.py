# SPDX-License-Identifier: Apache-2.0
"""Small random models that speak noise, for tests of everything around them."""

import math
from dataclasses import replace

import numpy as np
import torch

from zipvoice import Audio, Synthesizer
from zipvoice.config.model import FeatureConfig, ModelConfig
from zipvoice.config.model_file import ModelFile
from zipvoice.config.synthesis import PUBLISHED_SAMPLING, ResolvedOptions, SynthesisOptions
from zipvoice.config.text import TokenizerConfig
from zipvoice.files import write_text
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.pretrained import read_directory, save_pretrained
from zipvoice.runtime.select import load_model
from zipvoice.runtime.torch import TorchVocoder
from zipvoice.text.token_table import TokenTable
from zipvoice.vocoder.vocos import Vocos, VocosConfig
from zipvoice.weights import write_weights

RATE = 24000
TINY = ModelConfig(
    fm_decoder_downsampling_factor=(1, 2, 1),
    fm_decoder_num_layers=(1, 1, 1),
    fm_decoder_cnn_module_kernel=(7, 5, 7),
    fm_decoder_feedforward_dim=32,
    fm_decoder_dim=24,
    text_encoder_num_layers=1,
    text_encoder_feedforward_dim=24,
    text_encoder_dim=16,
    query_head_dim=4,
    value_head_dim=4,
    pos_head_dim=2,
    pos_dim=8,
    time_embed_dim=16,
    text_embed_dim=16,
)
FIVE_STACKS = replace(
    TINY,
    fm_decoder_downsampling_factor=(1, 2, 4, 2, 1),
    fm_decoder_num_layers=(1, 1, 1, 1, 1),
    fm_decoder_cnn_module_kernel=(7, 5, 3, 5, 7),
)
LETTERS = TokenTable(("_", *" .,!?;:'-abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", "[S1]", "[S2]"))
FAST = SynthesisOptions(num_steps=1, guidance_scale=0.0)


def make_model(directory, variant="zipvoice", config=TINY):
    """A model directory with random weights and a token for each ASCII letter and digit."""
    torch.manual_seed(0)
    model = ZipVoice(config, LETTERS.vocabulary, variant)
    file = ModelFile(config, FeatureConfig(), variant, TokenizerConfig("simple"))
    save_pretrained(directory, model.state_dict(), file, LETTERS)


def tiny_vocoder() -> Vocos:
    torch.manual_seed(1)
    return Vocos(VocosConfig(dim=16, intermediate_dim=32, num_layers=1))


def make_vocoder(directory):
    """A directory of `tiny_vocoder` in the published form."""
    transform = "n_fft: 1024, hop_length: 256, padding: center"
    write_text(
        directory / "config.yaml",
        f"""\
feature_extractor:
  class_path: vocos.feature_extractors.MelSpectrogramFeatures
  init_args: {{sample_rate: 24000, n_mels: 100, {transform}}}
backbone:
  class_path: vocos.models.VocosBackbone
  init_args: {{input_channels: 100, dim: 16, intermediate_dim: 32, num_layers: 1}}
head:
  class_path: vocos.heads.ISTFTHead
  init_args: {{dim: 16, {transform}}}
""",
    )
    write_weights(tiny_vocoder().state_dict(), directory / "model.safetensors")


def make_synthesizer(directory, variant="zipvoice", config=TINY, **options) -> Synthesizer:
    make_model(directory, variant, config)
    read = read_directory(directory)
    model = load_model(read, "torch", **{"device": "cpu", **options})
    vocoder = TorchVocoder(tiny_vocoder(), options.get("device", "cpu"))
    return Synthesizer(model, vocoder, read.tokenizer(variant), read.table)


def resolved(options, variant="zipvoice") -> ResolvedOptions:
    return options.resolved(variant, PUBLISHED_SAMPLING[variant])


def tone(seconds: float, level: float = 0.3, rate: int = RATE, channels: int = 1, hertz: float = 220) -> Audio:
    wave = level * np.sin(2 * math.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return Audio(np.tile(wave.astype(np.float32), (channels, 1)), rate)


def silence(seconds: float, channels: int = 1) -> Audio:
    return Audio(np.zeros((channels, round(seconds * RATE)), np.float32), RATE)


def sequence(*parts: Audio) -> Audio:
    return Audio(np.concatenate([part.samples for part in parts], axis=1), parts[0].sampling_rate)
