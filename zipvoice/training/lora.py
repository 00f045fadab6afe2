# SPDX-License-Identifier: Apache-2.0
"""Low-rank adapters (LoRA, Hu et al., 2022), by the library peft: added to a model, saved, and merged into it.

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
from torch.func import functional_call
from torch.nn.utils import parametrize

from zipvoice.config.model_file import ModelFile
from zipvoice.config.strict_json import loads, read_json
from zipvoice.config.training import LoraConfig, MergeOptions, RunConfig
from zipvoice.data.vocabulary import check_extends
from zipvoice.files import write_text
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.pretrained import load_pretrained, save_pretrained
from zipvoice.text.token_table import TokenTable
from zipvoice.weights import Weights, load_strictly, read_notes, read_weights, sum_of, write_weights

WEIGHTS_FILE, SETTINGS_FILE = "adapter_model.safetensors", "adapter_config.json"
"""The files of an adapter, by peft's names."""
MODEL_FILES = ("model.json", "tokens.txt")
"""What is beside them: all of a model directory but the weights."""
ADAPTER = "default"
"""The name that peft gives an adapter that has none."""
PREFIX = "base_model.model."
"""What peft puts before the names of weights in an adapter's file."""
A_SUFFIX, B_SUFFIX = ".lora_A.weight", ".lora_B.weight"
"""What it puts behind them."""
BASE = "base"
"""What an adapter's file calls the sum of the weights that it was trained on."""
KNOWN_ROWS = "embed.parametrizations.weight.0.known"
ADDED_ROWS = "embed.parametrizations.weight.original"

# ---------------------------------------------------------------- into a model


def adapt(model: ZipVoice, layers: Iterable[str], config: LoraConfig, num_known: int) -> None:
    """Add adapters to linear layers of a model, in place; only they and the embeddings of new tokens are trained.

        adapt(model, adaptable(model), LoraConfig(rank=16), num_known=model.vocabulary.size)

    Args:
        model: with its initial weights.
        layers: names of the layers, among the `adaptable` ones.
        config: with a rank above 0.
        num_known: tokens with a smaller id keep their embeddings.

    Raises:
        ImportError: peft is missing.
    """
    peft = _require_peft()
    settings = peft.LoraConfig(**_peft_settings(config, layers))
    settings._register_custom_module({nn.Linear: _adapted_linear(peft.tuners.lora.Linear)})
    peft.inject_adapter_in_model(settings, model).train(model.training)  # new modules begin in training mode
    if num_known < model.vocabulary.size:
        known = model.embed.weight.detach()[:num_known].clone()
        parametrize.register_parametrization(model.embed, "weight", AddedRows(known))
        model.embed.parametrizations.weight.original.requires_grad_(True)  # type: ignore[union-attr]


def _adapted_linear(base: type[Any]) -> type[nn.Module]:
    """Peft's linear layer, with the weight W + scaling · B A where peft adds scaling · B A x to its output.

    So neither a fused function that is given the weight instead of calling the layer, nor the hooks on its output that
    shape gradients in training, miss the adapter. The price is a gradient of the size of W on the way to those of A and
    B, as when W itself is trained.
    """

    class AdaptedLinear(base):
        @property
        def weight(self) -> Tensor:
            """(out, in). In training, dropout hides some inputs from the adapter, the same ones in all frames."""
            a, b = self.lora_A[ADAPTER].weight, self.lora_B[ADAPTER].weight
            seen = self.lora_dropout[ADAPTER](a.new_ones(1, a.shape[1]))
            return self.base_layer.weight + self.scaling[ADAPTER] * (b @ (a * seen))

        def forward(self, x: Tensor) -> Tensor:
            """The layer itself, with its hooks, at another weight."""
            return functional_call(self.base_layer, {"weight": self.weight}, (x,))

    return AdaptedLinear


def adaptable(model: nn.Module) -> list[str]:
    """Names of the layers that can be adapted: all linear ones but those that depend on the number of channels."""
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
    """The settings of adapters by peft's names. Layers are a pattern: peft takes a list for suffixes."""
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


def adapter_of(weights: Mapping[str, Tensor]) -> Weights:
    """What is trained of an adapted model, under the names that it has in an adapter's file."""
    trained = {name: value for name, value in weights.items() if ".lora_" in name or name == ADDED_ROWS}
    return {PREFIX + name.replace(f".{ADAPTER}", ""): value for name, value in trained.items()}


def merged(weights: Mapping[str, Tensor], config: LoraConfig) -> Weights:
    """The weights of an adapted model as those of the plain model that computes the same; others as they are."""
    return with_adapter(base_of(weights), adapter_of(weights), config.alpha / max(config.rank, 1))


def base_of(weights: Mapping[str, Tensor]) -> Weights:
    """The weights of the plain model that an adapted one started from."""
    return {
        "embed.weight" if name == KNOWN_ROWS else name.replace(".base_layer.", "."): value
        for name, value in weights.items()
        if ".lora_" not in name and name != ADDED_ROWS
    }


def with_adapter(weights: Mapping[str, Tensor], adapter: Mapping[str, Tensor], scaling: float) -> Weights:
    """Merge an adapter into the weights of the model it belongs to: W + scaling · B A, and the rows of new tokens.

    Raises ValueError for an adapter whose names or shapes do not fit the model, or that lacks one of two matrices.
    """
    check_adapter(weights, adapter)
    merged = dict(weights)
    for name, value in adapter.items():
        if name == PREFIX + ADDED_ROWS:
            merged["embed.weight"] = torch.cat([weights["embed.weight"], value])
        elif name.endswith(B_SUFFIX):
            layer = name.removeprefix(PREFIX).removesuffix(B_SUFFIX)
            a = adapter[PREFIX + layer + A_SUFFIX]
            merged[f"{layer}.weight"] = weights[f"{layer}.weight"] + scaling * (value @ a)
    return merged


def check_adapter(weights: Mapping[str, Tensor], adapter: Mapping[str, Tensor], rank: int | None = None) -> None:
    """Raise ValueError unless an adapter's names and shapes fit the weights, and its matrices have the `rank`."""
    for name, value in sorted(adapter.items(), key=lambda item: item[0].endswith(A_SUFFIX)):
        layer = name.removeprefix(PREFIX).removesuffix(A_SUFFIX).removesuffix(B_SUFFIX)
        is_a = name.endswith(A_SUFFIX)
        if name == PREFIX + ADDED_ROWS:
            fitting: tuple[int | None, ...] = (None, weights["embed.weight"].shape[1])
        elif name not in (PREFIX + layer + A_SUFFIX, PREFIX + layer + B_SUFFIX) or f"{layer}.weight" not in weights:
            raise ValueError(
                f"the adapter has {name}, which does not belong to a layer of the model: names are like "
                f"{PREFIX}LAYER{B_SUFFIX}"
            )
        else:
            other = PREFIX + layer + (B_SUFFIX if is_a else A_SUFFIX)
            if other not in adapter:
                raise ValueError(f"the adapter has {name} without {other}: a part of it is lost; copy it again")
            known = rank or (adapter[other].shape[0 if not is_a else -1])
            size = weights[f"{layer}.weight"].shape
            fitting = (known, size[1]) if is_a else (size[0], known)
        if len(value.shape) != 2 or any(want not in (None, n) for want, n in zip(fitting, value.shape, strict=True)):
            wanted = " by ".join("any" if n is None else str(n) for n in fitting)
            raise ValueError(f"the adapter's {name} has the shape {tuple(value.shape)}, and must be {wanted}")


def save_adapter(exp_dir: str | os.PathLike[str], weights: Mapping[str, Tensor], config: RunConfig) -> Path:
    """Write what an adapted model has beyond the one it started from, in peft's form, to `adapter` in the run's folder.

    Returns that path. The weights' file tells the sum of those it started from. The run's model.json and tokens.txt are
    copied there too, so that the folder is complete.
    """
    directory, adapter = Path(exp_dir) / "adapter", adapter_of(weights)
    layers = {name.removeprefix(PREFIX).split(".lora_")[0] for name in adapter if ".lora_" in name}
    settings = {"peft_type": "LORA", "base_model_name_or_path": config.init_from, **_peft_settings(config.lora, layers)}
    for name in MODEL_FILES:
        write_text(directory / name, (Path(exp_dir) / name).read_text(encoding="utf-8"))
    write_text(directory / SETTINGS_FILE, json.dumps(settings, indent=2) + "\n")
    write_weights(adapter, directory / WEIGHTS_FILE, {BASE: sum_of(base_of(weights))})
    return directory


def merge(options: MergeOptions) -> Path:
    """Write the model directory that an adapter makes of the model it was trained on; returns its path.

        merge(MergeOptions(adapter="exp/finetune/adapter", output_dir="my_voice"))

    Raises ValueError or FileNotFoundError for a folder that holds no adapter, and for a model that it does not fit or
    was not trained on.
    """
    folder = Path(options.adapter)
    if not (folder / SETTINGS_FILE).is_file():
        raise FileNotFoundError(f"{folder} holds no adapter: it has no {SETTINGS_FILE}")
    settings = _settings(folder / SETTINGS_FILE)
    base = options.base or settings["base_model_name_or_path"]
    if Path(options.output_dir).resolve() in (folder.resolve(), Path(str(base)).resolve()):
        raise ValueError(f"{options.output_dir} would be replaced, which is read; choose another output_dir")
    if (Path(options.output_dir) / "run.json").is_file():
        raise ValueError(
            f"{options.output_dir} is the folder of a training run, whose model would be replaced; choose "
            "another output_dir"
        )
    try:
        source = load_pretrained(base)
    except (ValueError, OSError) as error:
        if options.base is not None:
            raise
        raise ValueError(f"{error}. So the adapter calls its model; --base tells where that is") from error
    file, table = read_json(ModelFile, folder / "model.json"), TokenTable.read(folder / "tokens.txt")
    check_extends(table, source.table, base)
    adapter = _read_adapter(folder, source.model.state_dict(), settings)
    trained_on = read_notes(folder / WEIGHTS_FILE).get(BASE)  # which adapters did not tell at first
    if not options.any_base and trained_on not in (None, sum_of(source.model.state_dict())):
        raise ValueError(
            f"{base} has other weights than the model that the adapter was trained on: --base tells where that is, and "
            "--any-base merges it all the same"
        )
    weights = with_adapter(source.model.state_dict(), adapter, settings["lora_alpha"] / settings["r"])
    load_strictly(ZipVoice(file.model, table.vocabulary, file.variant or source.variant), weights, f"the model {base}")
    save_pretrained(options.output_dir, weights, file, table)
    return Path(options.output_dir)


def _settings(path: Path) -> dict[str, Any]:
    """The settings of an adapter that say what it is. Raises ValueError for a file without them."""
    try:
        settings = loads(path.read_text(encoding="utf-8"))
        rank, alpha, base = (settings[name] for name in ("r", "lora_alpha", "base_model_name_or_path"))
        if type(rank) is not int or rank < 1 or type(alpha) not in (int, float) or not isinstance(base, str | None):
            raise ValueError(f"r is {rank!r}, lora_alpha {alpha!r}, base_model_name_or_path {base!r}")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} does not describe an adapter: {error}") from None
    return settings


def _read_adapter(folder: Path, weights: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Weights:
    """The weights of an adapter, all of those that its settings name, as they fit the model."""
    adapter, path = read_weights(folder / WEIGHTS_FILE), folder / WEIGHTS_FILE
    try:
        check_adapter(weights, adapter, settings["r"])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    pattern = settings.get("target_modules")
    named = {name.removeprefix(PREFIX).removesuffix(B_SUFFIX) for name in adapter if name.endswith(B_SUFFIX)}
    wanted = {name.removesuffix(".weight") for name in weights} if isinstance(pattern, str) else set()
    listed = {_unescaped(part) for part in str(pattern).split("|")}
    lost = sorted(name for name in wanted if name not in named and name in listed)
    if lost or not named:
        raise ValueError(
            f"{path} lacks the layer {lost[0] if lost else ''!r}, which {SETTINGS_FILE} names; copy it again"
        )
    return adapter


def _unescaped(pattern: str) -> str:
    return re.sub(r"\\(.)", r"\1", pattern)


def _require_peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise ImportError(f'adapters need peft ({error}): pip install "zipvoice-tts[training]"') from None
    return peft
