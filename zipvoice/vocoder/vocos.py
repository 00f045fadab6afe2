# SPDX-License-Identifier: Apache-2.0
"""Vocos (Siuzdak 2023, arXiv:2306.00814): log-mel to wave through one inverse Fourier transform, and its files.

Module and parameter names are those of the published weights `charactr/vocos-mel-24khz`.
Shapes: B batch, T frames, F mel bands, D width, N samples.
"""

import os
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zipvoice.audio.mel import HOP, N_FFT, NUM_MELS, check_mel
from zipvoice.config.strict_json import to_dict, write_json
from zipvoice.config.vocoder import VocosConfig
from zipvoice.vocoder.log_mel import LogMel
from zipvoice.vocoder.vocos_files import CONFIG_FILES, WEIGHT_FILES, first_file, read_config
from zipvoice.weights import check_sizes, load_strictly, read_weights, write_weights

KERNEL = 7
"""Frames seen by one convolution."""
LARGEST_MAGNITUDE = 100.0
"""Bound on the predicted spectrum, against overflow of the exponential."""


class Vocos(nn.Module):
    """Log-mel (B, F, T) -> wave (B, (T - 1) · 256) at 24 kHz in [-1, 1]. T is at least 2."""

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        self.config = config
        self.feature_extractor = nn.ModuleDict({"mel_spec": LogMel()})  # the features it was trained on
        self.backbone = Backbone(config)
        self.head = ISTFTHead(config.dim)

    def forward(self, mel: Tensor) -> Tensor:
        return self.wave(mel).clamp(-1, 1)

    def wave(self, mel: Tensor) -> Tensor:
        """The wave without clipping, which training needs for its gradient."""
        check_mel(mel.shape)
        return self.head(self.backbone(mel))


class Backbone(nn.Module):
    """ConvNeXt blocks at the frame rate: (B, F, T) -> (B, T, D)."""

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        self.embed = nn.Conv1d(NUM_MELS, config.dim, KERNEL, padding=KERNEL // 2)
        self.norm = nn.LayerNorm(config.dim, eps=1e-6)
        self.convnext = nn.ModuleList(ConvNeXtBlock(config) for _ in range(config.num_layers))
        self.final_layer_norm = nn.LayerNorm(config.dim, eps=1e-6)
        self.apply(_initialise)

    def forward(self, mel: Tensor) -> Tensor:
        x = self.norm(self.embed(mel).transpose(1, 2))  # (B, T, D)
        for block in self.convnext:
            x = block(x)
        return self.final_layer_norm(x)


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution over time, then a feed-forward network per frame (Liu et al. 2022): (B, T, D) -> same."""

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(config.dim, config.dim, KERNEL, padding=KERNEL // 2, groups=config.dim)
        self.norm = nn.LayerNorm(config.dim, eps=1e-6)
        self.pwconv1 = nn.Linear(config.dim, config.intermediate_dim)
        self.pwconv2 = nn.Linear(config.intermediate_dim, config.dim)
        self.gamma = nn.Parameter(torch.full((config.dim,), 1 / config.num_layers))

    def forward(self, x: Tensor) -> Tensor:
        y = self.dwconv(x.transpose(1, 2)).transpose(1, 2)
        y = self.pwconv2(F.gelu(self.pwconv1(self.norm(y))))
        return x + self.gamma * y


class ISTFTHead(nn.Module):
    """Log-magnitude and phase of each bin, then the inverse transform: (B, T, D) -> (B, (T - 1) · HOP)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.out = nn.Linear(dim, N_FFT + 2)
        self.istft = ISTFT()
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        log_magnitude, phase = self.out(x).transpose(1, 2).chunk(2, dim=1)  # each (B, N_FFT // 2 + 1, T)
        magnitude = log_magnitude.exp().clamp(max=LARGEST_MAGNITUDE)
        return self.istft(torch.complex(magnitude * phase.cos(), magnitude * phase.sin()))


class ISTFT(nn.Module):
    """Inverse of the centred short-time Fourier transform: (B, N_FFT // 2 + 1, T) -> (B, (T - 1) · HOP)."""

    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(N_FFT))

    def forward(self, spectrum: Tensor) -> Tensor:
        return torch.istft(spectrum, N_FFT, HOP, window=self.window)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv1d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)  # type: ignore[arg-type]


# ---------------------------------------------------------------- files


def load_vocos(directory: str | os.PathLike[str]) -> Vocos:
    """A vocoder from a folder, as `save_vocos` writes it or in the published form.

    The former is config.json with model.safetensors, the latter config.yaml with model.safetensors or
    pytorch_model.bin. The result is in evaluation mode on the CPU. Raises FileNotFoundError, or ValueError that names
    the file and what is wrong with it: another architecture, other features than ours, weights that are broken or do
    not fit.
    """
    config = read_config(directory)
    weights_path = first_file(directory, *WEIGHT_FILES)
    state = read_weights(weights_path)
    check_sizes(to_dict(config), state, str(weights_path))
    vocos = Vocos(config)
    load_strictly(vocos, state, str(weights_path))
    return vocos.eval()


def save_vocos(vocos: Vocos, directory: str | os.PathLike[str]) -> None:
    """Write config.json and model.safetensors into a folder, which `load_vocos` then reads."""
    write_json(vocos.config, Path(directory) / CONFIG_FILES[0])
    write_weights(vocos.state_dict(), Path(directory) / WEIGHT_FILES[0])
