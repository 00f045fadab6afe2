# SPDX-License-Identifier: Apache-2.0
"""Low-rank adapters (LoRA, Hu et al., 2022), by the library peft: into a model, out of it, and merged for good.

An adapted linear layer has the weight W + (alpha / rank) · B A, of which A and B are trained. A starts random and B at
zero, so that an adapted model begins as the model it was. Shapes: W (out, in), B (out, rank), A (rank, in).
"""

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from zipvoice.config.model_file import ModelFile
from zipvoice.config.strict_json import read_json
from zipvoice.config.training import LoraConfig, MergeOptions, RunConfig
from zipvoice.data.vocabulary import check_extends
from zipvoice.files import write_text
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.pretrained import load_pretrained, save_pretrained
from zipvoice.text.token_table import TokenTable
from zipvoice.training.parameter_selection import select
from zipvoice.weights import Weights, load_strictly, read_weights, write_weights

WEIGHTS_FILE, SETTINGS_FILE = "adapter_model.safetensors", "adapter_config.json"
"""The files of an adapter, by peft's names."""
MODEL_FILES = ("model.json", "tokens.txt")
"""What is beside them: all of a model directory but the weights."""
PREFIX = "base_model.model."
"""What peft puts before the names of weights in an adapter's file."""
KNOWN_ROWS = "embed.parametrizations.weight.0.known"
ADDED_ROWS = "embed.parametrizations.weight.original"

# ---------------------------------------------------------------- into a model


def adapt(model: ZipVoice, config: LoraConfig, num_known: int) -> None:
    """Put adapters into a model, in place, and train nothing else but the embeddings of new tokens.

    Args:
        model: with its initial weights.
        config: with a rank above 0.
        num_known: tokens with a smaller id keep their embeddings.

    Raises:
        ValueError: a target has no linear layers.
        ImportError: peft is missing.
    """
    peft = _require_peft()
    from zipvoice.training.adapted_linear import AdaptedLinear

    layers = adaptable(model)
    targets = [layer for pattern in config.targets for layer in select(layers, pattern, "with linear layers to adapt")]
    settings = peft.LoraConfig(**_peft_settings(config, targets))
    settings._register_custom_module({nn.Linear: AdaptedLinear})
    peft.inject_adapter_in_model(settings, model).train(model.training)  # new modules begin in training mode
    if num_known < model.vocabulary.size:
        known = model.embed.weight.detach()[:num_known].clone()
        parametrize.register_parametrization(model.embed, "weight", AddedRows(known))
        model.embed.parametrizations.weight.original.requires_grad_(True)  # type: ignore[union-attr]


def adaptable(model: nn.Module) -> list[str]:
    """The layers that can be adapted: all linear ones but those that choose between one and two channels by type."""
    return [name for name, part in model.named_modules() if isinstance(part, nn.Linear) and ".encoders." in name]


class AddedRows(nn.Module):
    """Makes only the rows behind `known` (n, D) of a matrix a parameter."""

    known: Tensor

    def __init__(self, known: Tensor) -> None:
        super().__init__()
        self.register_buffer("known", known)

    def forward(self, added: Tensor) -> Tensor:
        return torch.cat([self.known, added])

    def right_inverse(self, matrix: Tensor) -> Tensor:
        return matrix[len(self.known) :]


def _peft_settings(config: LoraConfig, layers: Iterable[str]) -> dict[str, object]:
    """What peft wants to know of adapters, by its names. A pattern means what it says, where a list means endings."""
    return {
        "r": config.rank,
        "lora_alpha": config.alpha,
        "lora_dropout": config.dropout,
        "target_modules": "|".join(map(re.escape, sorted(set(layers)))),
    }


# ---------------------------------------------------------------- out of it


def is_adapted(weights: Mapping[str, Tensor]) -> bool:
    """Whether these are the weights of a model with adapters."""
    return any(".lora_" in name for name in weights)


def merged(weights: Mapping[str, Tensor], config: LoraConfig) -> Weights:
    """The weights of an adapted model as those of the plain model that does the same; others as they are."""
    plain = {}
    for name, value in weights.items():
        if name.endswith(".base_layer.weight"):
            layer = name.removesuffix(".base_layer.weight")
            a, b = (weights[f"{layer}.lora_{matrix}.default.weight"] for matrix in "AB")
            plain[f"{layer}.weight"] = value + config.alpha / config.rank * (b @ a)
        elif name == ADDED_ROWS:
            plain["embed.weight"] = torch.cat([weights[KNOWN_ROWS], value])
        elif ".lora_" not in name and name != KNOWN_ROWS:
            plain[name.replace(".base_layer.", ".")] = value
    return plain


def save_adapter(exp_dir: str | os.PathLike[str], weights: Mapping[str, Tensor], config: RunConfig) -> Path:
    """Write what an adapted model has beyond the one it started from, in peft's form, to `adapter` in the run's folder.

    Returns that path. The run's model.json and tokens.txt are put there too, so that the folder can be passed on.
    """
    directory = Path(exp_dir) / "adapter"
    adapter = {PREFIX + name.replace(".default", ""): value for name, value in weights.items() if ".lora_" in name}
    layers = {name.removeprefix(PREFIX).split(".lora_")[0] for name in adapter}
    if ADDED_ROWS in weights:
        adapter[PREFIX + ADDED_ROWS] = weights[ADDED_ROWS]
    settings = {"peft_type": "LORA", "base_model_name_or_path": config.init_from, **_peft_settings(config.lora, layers)}
    for name in MODEL_FILES:
        write_text(directory / name, (Path(exp_dir) / name).read_text(encoding="utf-8"))
    write_text(directory / SETTINGS_FILE, json.dumps(settings, indent=2) + "\n")
    write_weights(adapter, directory / WEIGHTS_FILE)
    return directory


def merge(options: MergeOptions) -> Path:
    """Write the model directory that an adapter makes of the model it was trained on; returns its path.

    Raises ValueError or FileNotFoundError for a folder that holds no adapter, or a model that it does not fit.
    """
    peft = _require_peft()
    adapter = Path(options.adapter)
    if not (adapter / SETTINGS_FILE).is_file():
        raise FileNotFoundError(f"{adapter} holds no adapter: it has no {SETTINGS_FILE}")
    base = options.base or json.loads((adapter / SETTINGS_FILE).read_text(encoding="utf-8"))["base_model_name_or_path"]
    source = load_pretrained(base)
    file, table = read_json(ModelFile, adapter / "model.json"), TokenTable.read(adapter / "tokens.txt")
    check_extends(table, source.table, base)
    weights = dict(source.model.state_dict())
    if (added := read_weights(adapter / WEIGHTS_FILE).get(PREFIX + ADDED_ROWS)) is not None:
        weights["embed.weight"] = torch.cat([weights["embed.weight"], added])
    model = ZipVoice(file.model, table.vocabulary, file.variant or source.variant)
    load_strictly(model, weights, f"the model {base}")
    plain = peft.PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    save_pretrained(options.output_dir, plain.state_dict(), file, table)
    return Path(options.output_dir)


def _require_peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise ImportError(f'adapters need peft ({error}): pip install "zipvoice-tts[training]"') from None
    return peft
