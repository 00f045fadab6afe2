# SPDX-License-Identifier: Apache-2.0
"""Graphs without weights: what a network does, once for all networks of its sizes; the weights stay in their own file.

So PyTorch and ONNX Runtime speak from the same model.safetensors, and a newly trained model needs no new graph. The
file is one line of JSON, the header, and an ONNX model whose parameters are empty, compressed together.
`zipvoice.export.weightless` writes it.
"""

import dataclasses
import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from zipvoice import builtin
from zipvoice.config.model import ModelConfig, Variant, Vocabulary
from zipvoice.config.model_file import ModelFile
from zipvoice.config.strict_json import from_dict
from zipvoice.config.vocoder import VocosConfig
from zipvoice.pretrained import ModelDirectory, infer_variant
from zipvoice.runtime.base import Floats
from zipvoice.vocoder.vocos_files import read_config
from zipvoice.weight_names import plain_names

GRAPH_FORMAT = "1"
"""Of graphs: their arguments and what they give. Another number is another contract."""
SUFFIX = ".graph.gz"
LARGEST_CODE = 63
"""Of a weight in 8 bits."""
ADDED_LATER = (("step_embed_dim", None),)
"""Settings that networks had before they could be stated; so graphs from then still fit."""


@dataclass(frozen=True)
class Parameter:
    """What a graph reads from the weight file."""

    name: str
    shape: tuple[int, ...]
    form: str = ""
    """As it is there, or what it is `rounded` to: codes or scale."""

    @property
    def in_graph(self) -> str:
        """The name that the graph has for it."""
        return f"{self.name}:{self.form}" if self.form else self.name


@dataclass(frozen=True)
class Header:
    """What is known of a graph before a runtime reads it."""

    graph: str
    """condition, velocity or vocoder."""
    format: str
    """`GRAPH_FORMAT` when it was written."""
    network: str
    """`network_key` of the networks that it fits."""
    parameters: tuple[Parameter, ...]
    """Under the names that they have in the weight file."""
    precision: str = "float32"
    """Of its matrix products: float32 or int8."""


@dataclass(frozen=True)
class WeightlessGraph:
    """A graph and where it came from."""

    path: Path
    header: Header
    model: bytes
    """The ONNX model."""


def weightless_file(name: str, precision: str = "float32") -> str:
    """The file of a weightless graph in a folder."""
    return f"{name}{SUFFIX}" if precision == "float32" else f"{name}.{precision}{SUFFIX}"


def pack(header: Header, model: bytes) -> bytes:
    """The content of a file; the same for the same arguments, at any time."""
    line = json.dumps(dataclasses.asdict(header), separators=(",", ":")).encode()
    return gzip.compress(line + b"\n" + model, compresslevel=9, mtime=0)


def read(path: Path, name: str) -> WeightlessGraph:
    """A graph from its file. Raises ValueError for a damaged file, another graph and another format."""
    try:
        line, _, model = gzip.decompress(path.read_bytes()).partition(b"\n")
        header = from_dict(Header, json.loads(line))
    except (gzip.BadGzipFile, EOFError, zlib.error, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} cannot be read as a graph, it is damaged or not one: {reason}") from None
    check_kind(path, name, header.graph, header.format)
    return WeightlessGraph(path, header, model)


def check_kind(path: Path, name: str, found: str, graph_format: str | None) -> None:
    """Raise ValueError unless a file holds the graph of a name, in this version's format."""
    if found != name:
        raise ValueError(f"{path} holds the {found} graph in place of the {name} graph")
    if graph_format != GRAPH_FORMAT:
        raise ValueError(f"{path} has format {graph_format}, this version reads {GRAPH_FORMAT}: export the model again")


def check_marks(path: Path, name: str, marks: Mapping[str, str]) -> None:
    """Raise ValueError unless a graph with weights, by what is written in its file, is the one of a name."""
    if "zipvoice.graph" not in marks:
        raise ValueError(f"{path} is a graph of another program; zipvoice export writes those that can be used here")
    check_kind(path, name, marks["zipvoice.graph"], marks.get("zipvoice.format"))


def network_key(file: ModelFile, variant: Variant, vocabulary: Vocabulary) -> str:
    """The same for networks that differ in their weights only: sizes, variant, and what they know of tokens."""
    return _digest(variant, file.model, vocabulary)


def vocoder_key(config: VocosConfig) -> str:
    """The same for vocoders that differ in their weights only."""
    return _digest("vocos", config)


def _digest(kind: str, *parts: ModelConfig | Vocabulary | VocosConfig) -> str:
    settings = map(dataclasses.asdict, parts)
    known = [{name: value for name, value in each.items() if (name, value) not in ADDED_LATER} for each in settings]
    text = json.dumps([kind, *known], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# ---------------------------------------------------------------- finding


def find_graphs(
    directory: ModelDirectory, variant: Variant, precision: str = "float32"
) -> tuple[WeightlessGraph, WeightlessGraph] | None:
    """Condition and velocity graph for a model: its own, else those for models of the released sizes.

    The precision is that of the velocity.
    """
    key = network_key(directory.file, variant, directory.table.vocabulary)
    for folder in (directory.path, builtin.folder(builtin.GRAPHS) / variant):
        found = _fitting_graph(folder, "condition", key), _fitting_graph(folder, "velocity", key, precision)
        if found[0] is not None and found[1] is not None:
            return found[0], found[1]
    return None


def find_vocoder_graph(folder: Path) -> WeightlessGraph | None:
    """The graph for a vocoder: its own, else that for Vocos of the published sizes; none for other layouts."""
    try:
        key = vocoder_key(read_config(folder))
    except (FileNotFoundError, ValueError):
        return None
    folders = (folder, builtin.folder(builtin.GRAPHS) / "vocos")
    return next(filter(None, (_fitting_graph(path, "vocoder", key) for path in folders)), None)


def _fitting_graph(folder: Path, name: str, key: str, precision: str = "float32") -> WeightlessGraph | None:
    """The graph of a folder, if there is one for these networks."""
    path = folder / weightless_file(name, precision)
    graph = read(path, name) if path.is_file() else None
    return graph if graph is not None and graph.header.network == key else None


def variant_of(directory: ModelDirectory, names: Container[str]) -> Variant:
    """The variant that model.json tells, else that of the weights, by their names."""
    return directory.file.variant or infer_variant(names)


# ---------------------------------------------------------------- weights


def names_of(path: Path) -> list[str]:
    """The plain names of the weights of a safetensors file. Raises ValueError for a damaged one."""
    try:
        with safetensors.safe_open(path, "numpy") as file:
            return list(plain_names(dict.fromkeys(file.keys()), str(path)))
    except (safetensors.SafetensorError, OSError) as error:
        raise _damaged(path, error) from None


def _damaged(path: str | os.PathLike[str], error: Exception) -> ValueError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ValueError(f"{path} is damaged or no safetensors file; download it again ({reason})")


def read_floats(path: str | os.PathLike[str]) -> dict[str, Floats]:
    """The float32 weights of a safetensors file, by plain names as `zipvoice.weights.read_weights` has them.

    Those that `zipvoice.weights.pack_int8` has packed are unpacked. Raises FileNotFoundError, or ValueError that names
    the file and the reason.
    """
    try:
        stored = safetensors.numpy.load_file(path)
    except FileNotFoundError:
        raise
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from None
    stored = plain_names(stored, str(path))
    scales = {f"{name}_scale" for name, value in stored.items() if value.dtype == np.int8}
    return {name: _floats(value, stored.get(f"{name}_scale")) for name, value in stored.items() if name not in scales}


def _floats(value: NDArray[Any], scale: NDArray[Any] | None) -> Floats:
    floats: Floats = np.asarray(value, np.float32, order="C")
    if value.dtype == np.int8 and scale is not None:
        floats *= scale.astype(np.float32).reshape(-1, *[1] * (value.ndim - 1))
    return floats


def fitting(graph: WeightlessGraph, weights: Mapping[str, Floats], origin: str) -> dict[str, NDArray[Any]]:
    """The weights that a graph asks for. Raises ValueError naming the first few that are missing or of other shapes."""
    parameters = graph.header.parameters
    differences = [
        f"{p.name} is missing"
        if p.name not in weights
        else f"{p.name} has shape {weights[p.name].shape}, not {p.shape}"
        for p in parameters
        if p.name not in weights or weights[p.name].shape != p.shape
    ]
    if differences:
        more = f"; and {len(differences) - 4} more differences" if len(differences) > 4 else ""
        raise ValueError(f"{origin} does not fit the graph {graph.path}: {'; '.join(differences[:4])}{more}")
    in_bytes = {p.name: rounded(weights[p.name]) for p in parameters if p.form == "codes"}
    return {p.in_graph: in_bytes[p.name][p.form == "scale"] if p.form else weights[p.name] for p in parameters}


def rounded(weight: Floats) -> tuple[NDArray[np.int8], Floats]:
    """A weight (O, I) in whole numbers (I, O), and the step of each column (O).

    They have 7 of the 8 bits: processors without VNNI add two products in 16 bits, which all 8 overflow.
    """
    scale: Floats = np.maximum(np.abs(weight).max(axis=1), np.float32(1e-12)) / np.float32(LARGEST_CODE)
    return np.ascontiguousarray(np.round(weight / scale[:, None]).T.astype(np.int8)), scale
