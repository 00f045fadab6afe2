# SPDX-License-Identifier: Apache-2.0
"""A model directory <-> objects: reading, checking and writing weights, and weight surgery.

A model directory holds `model.safetensors` or `model.pt`, `model.json` and `tokens.txt`. PyTorch is imported by those
functions alone that make networks of weights or weights of others.
"""

import os
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from zipvoice import builtin
from zipvoice.config.model import Variant
from zipvoice.config.model_file import ModelFile
from zipvoice.config.strict_json import read_json, suggestion, to_dict, write_json
from zipvoice.config.text import TokenizerConfig
from zipvoice.hub import download
from zipvoice.text.token_table import TokenTable
from zipvoice.text.tokenizers import Tokenizer, build_tokenizer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from zipvoice.model.zipvoice import ZipVoice
    from zipvoice.weights import Weights

RELEASED: tuple[Variant, ...] = ("zipvoice", "zipvoice_distill", "zipvoice_dialog", "zipvoice_dialog_stereo")
HUB_MODELS = "k2-fsa/ZipVoice"
HUB_VOCODER = "charactr/vocos-mel-24khz"
WEIGHT_FILES = ("model.safetensors", "model.pt")


@dataclass(frozen=True)
class ModelDirectory:
    """What a model directory holds beside the weights."""

    path: Path
    file: ModelFile
    table: TokenTable

    def tokenizer(
        self, variant: Variant, given: TokenizerConfig | None = None, skip_unknown: bool = False
    ) -> TokenizerConfig:
        """The tokenizer for a model of this directory: the given one, else that of model.json, else the published."""
        config = given or self.file.tokenizer or published_tokenizer(variant)
        return replace(config, skip_unknown=skip_unknown or config.skip_unknown)

    def write_description(self, output: Path, variant: Variant) -> None:
        """Write all but the weights into another model directory, with variant and tokenizer filled in."""
        write_json(replace(self.file, variant=variant, tokenizer=self.tokenizer(variant)), output / "model.json")
        self.table.write(output / "tokens.txt")


@dataclass(frozen=True)
class Pretrained:
    """All that a model directory holds."""

    model: "ZipVoice"
    file: ModelFile
    """With the variant and the tokenizer filled in."""
    table: TokenTable
    tokenizer: Tokenizer

    @property
    def variant(self) -> Variant:
        return self.model.variant


# ---------------------------------------------------------------- directories


def read_directory(source: str | os.PathLike[str], revision: str | None = None) -> ModelDirectory:
    """The model of a directory, or by name one that comes with the package or a released one (downloaded once).

    `revision` pins a branch, tag or commit of the hub's repository. Raises ValueError or FileNotFoundError that names
    the file and the reason.

    Example:
        >>> read_directory("zipvoice_small").table.vocabulary.size
    """
    path = find_model(source, revision)
    file = read_json(ModelFile, _existing(path / "model.json"))
    return ModelDirectory(path, file, TokenTable.read(_existing(path / "tokens.txt")))


def load_network(
    directory: ModelDirectory, weights: str | os.PathLike[str] | None = None, variant: Variant | None = None
) -> "ZipVoice":
    """The network of a model directory with its weights, on the CPU in evaluation mode.

    `weights` names another weight file than the usual two, relative to the directory. The variant is the given one,
    else that of model.json, else inferred from the weights. Loading is strict. Raises ValueError or FileNotFoundError
    that names the file and the reason.
    """
    from zipvoice.model.zipvoice import ZipVoice
    from zipvoice.weights import check_sizes, load_strictly, read_weights

    path = weights_path(directory.path, weights)
    state = read_weights(path)
    check_sizes(to_dict(directory.file.model), state, str(path))
    variant = variant or directory.file.variant or infer_variant(state)
    network = ZipVoice(directory.file.model, directory.table.vocabulary, variant)
    load_strictly(network, state, str(path))
    return network.eval()


def load_pretrained(
    source: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    variant: Variant | None = None,
    tokenizer: TokenizerConfig | None = None,
    revision: str | None = None,
) -> Pretrained:
    """All of a model directory, with its network; see `read_directory` and `load_network`.

    Example:
        >>> load_pretrained("zipvoice_small").model(t, x, condition)  # the velocity (B, T, C)
    """
    directory = read_directory(source, revision)
    network = load_network(directory, weights, variant)
    tokenizer = directory.tokenizer(network.variant, tokenizer)
    file = replace(directory.file, variant=network.variant, tokenizer=tokenizer)
    return Pretrained(network, file, directory.table, build_tokenizer(tokenizer, directory.table.tags))


def save_pretrained(
    directory: str | os.PathLike[str], weights: Mapping[str, "Tensor"], file: ModelFile, table: TokenTable
) -> None:
    """Write a model directory that `load_pretrained` reads; each file whole or not at all, the weights last.

    Raises as `check_no_graphs` does.
    """
    from zipvoice.weights import write_weights

    directory = Path(directory)
    check_no_graphs(directory)
    write_json(file, directory / "model.json")
    table.write(directory / "tokens.txt")
    write_weights(weights, directory / "model.safetensors")


def published_tokenizer(variant: Variant) -> TokenizerConfig:
    """The tokenizer of the released model of a variant; their model.json does not say."""
    return TokenizerConfig(type="dialog" if "dialog" in variant else "emilia")


def find_model(source: str | os.PathLike[str], revision: str | None = None) -> Path:
    """The directory itself, that of a model of the package, or that of a released one in the hub's cache.

    Raises ValueError for a source that is neither, and for a revision of anything but a released model.
    """
    directory = Path(source)
    is_released = str(source) in RELEASED
    is_name = is_released or str(source) in builtin.MODELS  # so may be a folder of something else, say of its speech
    is_own = directory.is_dir() and (not is_name or (directory / "model.json").is_file())
    if (is_own or str(source) in builtin.MODELS) and revision is not None:
        what = "a directory" if is_own else "a model of the package"
        raise ValueError(f"{source} is {what}, which has no revisions; leave out --revision ({revision})")
    if is_own:
        return directory
    if str(source) in builtin.MODELS:
        return builtin.folder(str(source))
    if is_released:
        return download(HUB_MODELS, str(source), ("model.json", "tokens.txt"), WEIGHT_FILES, revision)
    if directory.exists():
        raise ValueError(f"{source} is a file; give the directory that holds model.json, tokens.txt and the weights")
    raise ValueError(
        f"there is no directory {source}, and no model of that name{suggestion(str(source), builtin.MODELS + RELEASED)}"
    )


def find_vocoder(model: str | os.PathLike[str]) -> str | Path:
    """The vocoder that speaks for a model unless another is named, as `load_vocoder` takes it.

    Models of the package need no download; for all others it is the published Vocos, downloaded once.
    """
    if str(model) in builtin.MODELS:
        return builtin.MODELS_VOCODER
    return download(HUB_VOCODER, "", ("config.yaml",), ("model.safetensors", "pytorch_model.bin"))


def vocoder_folder(source: str | os.PathLike[str]) -> Path:
    """Where a vocoder is: that of the package by its name, else the folder itself."""
    return builtin.folder(builtin.VOCODER) if source == builtin.VOCODER else Path(source)


def pytorch_arrays(path: Path) -> dict[str, "NDArray[np.float32]"]:
    """The weights of a file that only PyTorch reads, as NumPy arrays. Raises ImportError where it is not installed."""
    from zipvoice.weights import read_weights

    return {name: value.float().numpy() for name, value in read_weights(path).items()}


def has_weights(directory: Path) -> bool:
    """Whether a model directory holds weights, which make a network."""
    return any((directory / name).is_file() for name in WEIGHT_FILES)


def check_no_graphs(directory: Path, name: str = "velocity") -> None:
    """Raise ValueError if a directory for weights holds the graph that would speak in their place."""
    if found := [path for suffix in (".onnx", ".xml") if (path := directory / f"{name}{suffix}").is_file()]:
        raise ValueError(
            f"{found[0]} would speak in place of the weights that are to be written; choose another folder"
        )


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"{path.parent} is not a model directory: it has no {path.name}")
    return path


def weights_path(directory: Path, name: str | os.PathLike[str] | None = None) -> Path:
    """The weight file of a model directory, by default the first of the usual two. Raises FileNotFoundError."""
    names = WEIGHT_FILES if name is None else (name,)
    for candidate in names:
        if (directory / candidate).is_file():
            return directory / candidate
    hint = _hint_of_others(directory) if name is None else ""
    raise FileNotFoundError(f"{directory} has no {' or '.join(map(str, names))}{hint}")


def _hint_of_others(directory: Path) -> str:
    if any(directory.glob("velocity.*")):
        return (
            "; it has graphs, which speak on a CPU: leave out --runtime torch, --device and --dtype. "
            "Training and export start from the model that they were made of"
        )
    if (directory / "adapter_config.json").is_file():
        return f"; it is an adapter: `zipvoice merge --adapter {directory} --output-dir MODEL` makes a model of it"
    steps = [path.stem.removeprefix("checkpoint-") for path in directory.glob("checkpoint-*.pt")]
    if len(steps) == 1:
        run = f"zipvoice train {directory / 'run.json'} --num-steps {steps[0]}"
        return f"; it has a checkpoint: `{run}` ends the run there and makes the weights from it"
    return (
        f"; it has checkpoints: `zipvoice average --exp-dir {directory}` makes the weights from them" if steps else ""
    )


GUIDANCE_EMBED, STEP_EMBED = "fm_decoder.guidance_scale_embed.weight", "fm_decoder.step_embed.weight"


def infer_variant(state: Container[str]) -> Variant:
    """Which of the four models these weights are, by the parameters that only one of them has."""
    if GUIDANCE_EMBED in state:
        return "zipvoice_distill"
    if "fm_decoder.in_proj.0.weight" in state:
        return "zipvoice_dialog_stereo"
    return "zipvoice_dialog" if "spk_embed.weight" in state else "zipvoice"


# ---------------------------------------------------------------- surgery: weights of one model -> weights of the next


def distilled_from_base(base: Mapping[str, "Tensor"], fresh: Mapping[str, "Tensor"]) -> "Weights":
    """A base model's weights, and a freshly initialised distilled model's embeddings of guidance scale and step."""
    _require_variant(base, "zipvoice", "distillation")
    new = {name: fresh[name] for name in (GUIDANCE_EMBED, STEP_EMBED) if name in fresh}
    return _fitted({**base, **new}, fresh, "the base model")


def dialog_from_base(base: Mapping[str, "Tensor"], fresh: Mapping[str, "Tensor"]) -> "Weights":
    """A base model's weights, and what a freshly initialised dialogue model has beyond them.

    New are the speaker-turn embedding and the last rows of the token embedding (the tags that the longer token table
    adds at its end).
    """
    import torch

    _require_variant(base, "zipvoice", "a dialogue model")
    known, wanted = base["embed.weight"], fresh["embed.weight"]
    if len(known) > len(wanted):
        raise ValueError(f"the base model knows {len(known)} tokens, more than the {len(wanted)} of the dialogue model")
    new = {"embed.weight": torch.cat([known, wanted[len(known) :]]), "spk_embed.weight": fresh["spk_embed.weight"]}
    return _fitted({**base, **new}, fresh, "the base model")


def stereo_from_dialog(dialog: Mapping[str, "Tensor"], fresh: Mapping[str, "Tensor"]) -> "Weights":
    """A dialogue model's weights with its projections doubled: stream 0 for two channels, stream 1 as before."""
    import torch

    _require_variant(dialog, "zipvoice_dialog", "a stereo model")
    w_in, b_in = dialog["fm_decoder.in_proj.weight"], dialog["fm_decoder.in_proj.bias"]
    w_out, b_out = dialog["fm_decoder.out_proj.weight"], dialog["fm_decoder.out_proj.bias"]
    w_x, w_text, w_speech = w_in.chunk(3, dim=1)
    doubled = {
        "fm_decoder.in_proj.0.weight": torch.cat([w_x / 2, w_x / 2, w_text, w_speech / 2, w_speech / 2], dim=1),
        "fm_decoder.in_proj.0.bias": b_in,
        "fm_decoder.in_proj.1.weight": w_in,
        "fm_decoder.in_proj.1.bias": b_in.clone(),
        "fm_decoder.out_proj.0.weight": torch.cat([w_out, w_out]),
        "fm_decoder.out_proj.0.bias": torch.cat([b_out, b_out]),
        "fm_decoder.out_proj.1.weight": w_out,
        "fm_decoder.out_proj.1.bias": b_out,
    }
    single = ("fm_decoder.in_proj.", "fm_decoder.out_proj.")
    weights = {name: value for name, value in dialog.items() if not name.startswith(single)} | doubled
    return _fitted(weights, fresh, "the dialogue model")


def _require_variant(weights: Mapping[str, "Tensor"], variant: Variant, goal: str) -> None:
    found = infer_variant(weights)
    if found != variant or "embed.weight" not in weights or "fm_decoder.in_proj.weight" not in weights:
        what = f"those of a {found} model" if "embed.weight" in weights else "not those of a ZipVoice model"
        raise ValueError(f"{goal} starts from the weights of a {variant} model; these are {what}")


def _fitted(weights: Mapping[str, "Tensor"], fresh: Mapping[str, "Tensor"], origin: str) -> "Weights":
    """`weights` in the order of `fresh`, once they are known to fit."""
    from zipvoice.weights import check_fit, shapes

    check_fit(weights, shapes(fresh), origin)
    return {name: weights[name] for name in fresh}
