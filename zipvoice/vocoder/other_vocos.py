# SPDX-License-Identifier: Apache-2.0
"""Vocos with a backbone or a head that this toolkit has not, such as a cosine transform, by the package `vocos`.

Shapes: B batch, T frames, F mel bands, N samples.
"""

import os
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor, nn

from zipvoice.audio.mel import HOP, check_mel
from zipvoice.vocoder.log_mel import LogMel
from zipvoice.vocoder.vocos import load_vocos
from zipvoice.vocoder.vocos_files import (
    CLASS_PATHS,
    CONFIG_FILES,
    FEATURES,
    WEIGHT_FILES,
    first_file,
    read_yaml,
    require,
)
from zipvoice.weights import check_sizes, load_strictly, read_weights

MODULES = {"backbone": "vocos.models", "head": "vocos.heads"}
"""Where classes may come from: a class path is the text of a file that a stranger may have written."""


class OtherVocos(nn.Module):
    """Log-mel (B, F, T) -> wave (B, (T - 1) · 256) at 24 kHz in [-1, 1]; T is at least 2."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.feature_extractor = nn.ModuleDict({"mel_spec": LogMel()})  # the features it was trained on
        self.backbone = backbone
        self.head = head

    def forward(self, mel: Tensor) -> Tensor:
        check_mel(mel.shape)
        samples: Tensor = self.head(self.backbone(mel))
        num_samples = (mel.shape[2] - 1) * HOP
        start = (samples.shape[1] - num_samples) // 2  # other heads give as much more on either side
        return samples[:, start : start + num_samples].clamp(-1, 1)


def load_any_vocos(directory: str | os.PathLike[str]) -> nn.Module:
    """Vocos of any layout from a folder, on the CPU in evaluation mode; ours and the published one by `load_vocos`.

    Raises:
        ImportError: it takes the package vocos, which is missing.
        FileNotFoundError, ValueError: as `load_vocos`.
    """
    path = first_file(directory, *CONFIG_FILES)
    sections = _sections(path)
    if sections is None:
        return load_vocos(directory)
    weights_path = first_file(directory, *WEIGHT_FILES)
    state = read_weights(weights_path)
    try:
        require(sections["feature_extractor"].get("init_args", {}), FEATURES, "feature_extractor")
        for part in MODULES:
            check_sizes(sections[part].get("init_args", {}), state, str(weights_path))
        vocos = OtherVocos(*(_made(part, sections[part]) for part in MODULES))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from None
    load_strictly(vocos, state, str(weights_path))
    return vocos.eval()


def _sections(path: Path) -> dict[str, Any] | None:
    """The parts of a config.yaml if it has our features, but another backbone or head."""
    try:
        data = read_yaml(path)
        kinds = {part: data[part]["class_path"] for part in CLASS_PATHS}
    except (yaml.YAMLError, ValueError, KeyError, TypeError):
        return None
    features = "feature_extractor"
    return data if kinds != CLASS_PATHS and kinds[features] == CLASS_PATHS[features] else None


def _made(part: str, section: dict[str, Any]) -> nn.Module:
    path = str(section["class_path"])
    module, _, name = path.rpartition(".")
    try:
        kind = getattr(import_module(module), name, None) if module == MODULES[part] else None
    except ImportError:
        raise ImportError(f"{path} needs the package vocos: pip install 'zipvoice-tts[vocos]'") from None
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise ValueError(f"{part} is a {path}, which is no class of {MODULES[part]}")
    made: nn.Module = kind(**section.get("init_args", {}))
    return made
