# SPDX-License-Identifier: Apache-2.0
"""The files of a Vocos folder, ours and the published ones, read without PyTorch."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import yaml

from zipvoice.audio.mel import HOP, N_FFT, NUM_MELS, SAMPLING_RATE
from zipvoice.config.strict_json import from_dict, read_json, suggestion
from zipvoice.config.vocoder import VocosConfig

CONFIG_FILES = ("config.json", "config.yaml")
"""Ours holds a VocosConfig, the published one describes every part. Looked for in this order."""
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
"""Looked for in this order."""


def read_config(directory: str | os.PathLike[str]) -> VocosConfig:
    """The sizes of the network of a folder. Raises FileNotFoundError, or ValueError as `load_vocos` does."""
    path = first_file(directory, *CONFIG_FILES)
    return read_json(VocosConfig, path) if path.suffix == ".json" else _published(path)


def first_file(directory: str | os.PathLike[str], *names: str) -> Path:
    """The first of some files that a vocoder folder has."""
    for name in names:
        if (path := Path(directory) / name).is_file():
            return path
    raise FileNotFoundError(
        f"no {' or '.join(names)} in {directory}; a vocoder folder holds {' or '.join(CONFIG_FILES)} and the weights, "
        "as the hub repository charactr/vocos-mel-24khz does"
    )


# ---------------------------------------------------------------- the published config.yaml

CLASS_PATHS = {
    "feature_extractor": "vocos.feature_extractors.MelSpectrogramFeatures",
    "backbone": "vocos.models.VocosBackbone",
    "head": "vocos.heads.ISTFTHead",
}
TRANSFORM = {"n_fft": N_FFT, "hop_length": HOP, "padding": "center"}
"""Settings that features and head share, by their published names."""
FEATURES = {"sample_rate": SAMPLING_RATE, "n_mels": NUM_MELS, **TRANSFORM}
"""Settings of our features."""


def _published(path: Path) -> VocosConfig:
    """The sizes of the network; other classes or features are refused, for they would turn our features into noise."""
    try:
        data = read_yaml(path)
        extractor, backbone, head = (_init_args(data, part) for part in CLASS_PATHS)
        sizes = {field.name for field in dataclasses.fields(VocosConfig)} & backbone.keys()
        config = from_dict(VocosConfig, {name: backbone.pop(name) for name in sizes}, "backbone")
        require(extractor, FEATURES, "feature_extractor")
        require(backbone, {"input_channels": NUM_MELS}, "backbone")
        require(head, {"dim": config.dim, **TRANSFORM}, "head")
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None
    return config


def read_yaml(path: Path) -> Any:
    """The content of a YAML file. Raises ValueError or yaml.YAMLError for what is none, or refers to parts of itself.

    A few aliases of aliases stand for more than memory holds.
    """
    text = path.read_text(encoding="utf-8")
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise ValueError("it has aliases (*name), which no published vocoder has; write the values out")
        return yaml.safe_load(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _init_args(data: Any, part: str) -> dict[str, Any]:
    """The arguments of one part of the vocoder, whose class must be the published one."""
    section = data.get(part) if isinstance(data, dict) else None
    if not isinstance(section, dict) or not isinstance(section.get("init_args"), dict):
        raise ValueError(f"the section {part!r} with class_path and init_args is missing")
    if section.get("class_path") != CLASS_PATHS[part]:
        raise ValueError(f"{part} is a {section.get('class_path')}; only {CLASS_PATHS[part]} is known")
    return dict(section["init_args"])


def require(arguments: dict[str, Any], expected: dict[str, Any], part: str) -> None:
    """Raise ValueError unless the arguments of a part are the expected ones."""
    for name in {**expected, **arguments}:
        if name not in expected:
            raise ValueError(f"{part} has the unknown argument {name!r}{suggestion(name, expected)}")
        if arguments.get(name) != expected[name]:
            raise ValueError(f"{name} of {part} is {arguments.get(name)}, but must be {expected[name]}")
