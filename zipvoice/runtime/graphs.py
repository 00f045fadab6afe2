# SPDX-License-Identifier: Apache-2.0
"""Models and vocoders that are graphs, whatever library computes these.

A graph of `zipvoice export` holds its weights. A weightless one takes them from the model's weight file; see
`zipvoice.runtime.weightless`. Shapes as in `zipvoice.runtime.base`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from zipvoice.audio.mel import inverse_transform
from zipvoice.config.model import Variant
from zipvoice.model.arrays import Array
from zipvoice.model.condition import Condition, padding_mask
from zipvoice.model.guidance import guided_velocity
from zipvoice.pretrained import ModelDirectory, pytorch_arrays, weights_path
from zipvoice.runtime.base import ComputedBy, Floats, Integers, ModelDescription
from zipvoice.runtime.weightless import (
    WeightlessGraph,
    find_graphs,
    find_vocoder_graph,
    names_of,
    read_floats,
    variant_of,
)
from zipvoice.vocoder.vocos_files import WEIGHT_FILES, first_file

SUFFIXES = {"onnx": (".onnx",), "openvino": (".xml", ".onnx"), "auto": (".onnx", ".xml")}
"""Of the files with graphs that a runtime reads, the preferred one first."""
SAFETENSORS = "model.safetensors"


class Graph(Protocol):
    """A graph that is ready to run. Several threads may use it at once."""

    inputs: frozenset[str]
    """The names of what it takes."""
    precision: str
    """Of its arithmetic."""

    def __call__(self, inputs: Mapping[str, Array]) -> Floats:
        """What it gives for arrays by name."""


class Engine(Protocol):
    """A library that computes graphs, with its settings."""

    name: str
    """As `zipvoice.load` takes it."""
    device: str
    num_threads: int
    evaluations_at_once: int
    """These two as those of `zipvoice.runtime.base.AcousticModel`."""

    def open(self, path: Path, name: str) -> Graph:
        """A graph with weights; `name` is condition, velocity or vocoder, another graph in its place is refused.

        Raises ValueError for a file that it does not read, or another graph.
        """

    def fill(self, graph: WeightlessGraph, weights: Mapping[str, Floats], origin: str) -> Graph:
        """A weightless graph with weights. Raises ValueError naming their origin where they do not fit."""


# ---------------------------------------------------------------- files


def graph_file(name: str, suffix: str = ".onnx") -> str:
    """The file of a graph with weights in a model directory."""
    return f"{name}{suffix}"


def has_graphs(directory: Path, *names: str, suffix: str = ".onnx") -> bool:
    """Whether a directory holds graphs with weights: condition and velocity of a model, vocoder of a vocoder."""
    return all((directory / graph_file(name, suffix)).is_file() for name in names)


def _find(directory: Path, name: str, engine: Engine) -> Path:
    """The file of a graph that an engine reads. Raises FileNotFoundError with the command that writes one."""
    paths = [directory / graph_file(name, suffix) for suffix in SUFFIXES[engine.name]]
    for path in paths:
        if path.is_file():
            return path
    more = " --vocoder vocos_small writes one, griffin-lim needs none" if name == "vocoder" else " writes graphs"
    raise FileNotFoundError(f"there is no {paths[-1]}: zipvoice export MODEL --output-dir DIR{more}")


def can_be_filled(directory: ModelDirectory, variant: Variant | None, precision: str = "float32") -> bool:
    """Whether a directory has safetensors weights, and there are graphs for them."""
    path = directory.path / SAFETENSORS
    if not path.is_file():
        return False
    return find_graphs(directory, variant or variant_of(directory, names_of(path)), precision) is not None


# ---------------------------------------------------------------- model and vocoder


class GraphModel:
    """Two graphs as an acoustic model; see `zipvoice.runtime.base.AcousticModel`.

    Args:
        condition: the condition graph.
        velocity: the velocity graph.
        description: what they are.
        engine: what computes them.

    Example:
        >>> model = load_model(read_directory("exp/graphs"), OnnxEngine())
    """

    def __init__(self, condition: Graph, velocity: Graph, description: ModelDescription, engine: Engine) -> None:
        self._condition, self._velocity = condition, VelocityGraph(velocity)
        self.description = description
        self.computed_by = ComputedBy(engine.name, engine.device, velocity.precision)
        self.num_threads, self.evaluations_at_once = engine.num_threads, engine.evaluations_at_once

    def condition(self, tokens: Integers, num_tokens: Integers, num_frames: Integers, speech: Floats) -> Condition:
        inputs = {"tokens": tokens, "num_tokens": num_tokens, "num_frames": num_frames}
        text = self._condition({name: np.asarray(value, np.int64) for name, value in inputs.items()})
        return Condition(text, speech, padding_mask(num_frames, speech.shape[1]))

    def velocity(
        self,
        t: float | Array,
        x: Array,
        condition: Condition,
        guidance_scale: float | Array,
        t_next: float | Array | None = None,
    ) -> Array:
        end = {} if t_next is None else {"t_next": t_next}
        return guided_velocity(self._velocity, guidance_scale)(t, x, condition, **end)

    def array(self, values: NDArray[Any]) -> Array:
        return values

    def numpy(self, array: Array) -> Floats:
        floats: Floats = np.asarray(array, np.float32)
        return floats


class VelocityGraph:
    """The velocity of a graph, as the model's own; with a guidance scale where it is distilled, and with its step."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.is_distilled = "guidance_scale" in graph.inputs

    def __call__(
        self,
        t: float | Array,
        x: Array,
        condition: Condition,
        guidance_scale: float | Array | None = None,
        t_next: float | Array | None = None,
    ) -> Array:
        mask = condition.padding_mask
        inputs = {
            "t": _per_utterance(t, len(x)),
            "x": np.asarray(x, np.float32),
            "text": np.asarray(condition.text, np.float32),
            "speech": np.asarray(condition.speech, np.float32),
            "padding_mask": np.zeros(x.shape[:2], bool) if mask is None else mask,
        }
        if guidance_scale is not None:
            inputs["guidance_scale"] = _per_utterance(guidance_scale, len(x))
        if "t_next" in self._graph.inputs:
            inputs["t_next"] = _per_utterance(t if t_next is None else t_next, len(x))
        return self._graph(inputs)


def _per_utterance(value: float | Array, count: int) -> Floats:
    """One number for all, or one for each with trailing axes of size one, as (B)."""
    numbers: Floats = np.broadcast_to(np.asarray(value, np.float32).reshape(-1), count)
    return numbers


class GraphVocoder:
    """A graph as a vocoder; see `zipvoice.runtime.base.Vocoder`."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def __call__(self, log_mel: Floats) -> Floats:
        return self._graph({"log_mel": np.asarray(log_mel, np.float32)})


# ---------------------------------------------------------------- loading


def load_model(
    directory: ModelDirectory,
    engine: Engine,
    weights: str | os.PathLike[str] | None = None,
    variant: Variant | None = None,
    precision: str | None = None,
) -> GraphModel:
    """The graphs of a directory with weights, else weightless ones filled with the weights that it has.

    The precision, float32 or int8, is by default that of graphs with weights, and float32 for others.

    Raises ValueError for what graphs cannot do, FileNotFoundError where there is no graph for the model.
    """
    if any(
        has_graphs(directory.path, name, suffix=suffix)
        for name in ("condition", "velocity")
        for suffix in SUFFIXES[engine.name]
    ):
        return _with_weights(directory, engine, weights, variant, precision)
    return _weightless(directory, engine, weights, variant, precision or "float32")


def _with_weights(
    directory: ModelDirectory, engine: Engine, weights: object, variant: Variant | None, precision: str | None
) -> GraphModel:
    if weights is not None or variant not in (None, directory.file.variant):
        raise ValueError(
            "graphs hold their weights and variant; export others with zipvoice export MODEL --weights FILE"
        )
    condition, velocity = (engine.open(_find(directory.path, name, engine), name) for name in ("condition", "velocity"))
    if precision not in (None, velocity.precision):
        option = "with --int8" if precision == "int8" else "without --int8"
        raise ValueError(
            f"the graphs of {directory.path} are in {velocity.precision}, not in {precision}: "
            f"take dtype {velocity.precision}, or export the model {option}"
        )
    if directory.file.variant is None:
        raise ValueError(f"{directory.path / 'model.json'} does not tell the variant: export the model again")
    description = ModelDescription.of(directory.file, directory.file.variant, directory.table.vocabulary)
    return GraphModel(condition, velocity, description, engine)


def _weightless(
    directory: ModelDirectory,
    engine: Engine,
    weights: str | os.PathLike[str] | None,
    variant: Variant | None,
    precision: str,
) -> GraphModel:
    path = weights_path(directory.path, weights)
    floats = _weights(path)
    variant = variant or variant_of(directory, floats)
    graphs = find_graphs(directory, variant, precision)
    if graphs is None:
        kind, option = ("graph in 8 bits", " --int8") if precision == "int8" else ("graph", "")
        raise FileNotFoundError(
            f"there is no {kind} for {directory.path}: zipvoice export {directory.path} --output-dir DIR{option} "
            "writes some, where PyTorch is installed; or install that here: pip install 'zipvoice-tts[torch]'"
        )
    condition, velocity = (engine.fill(graph, floats, str(path)) for graph in graphs)
    description = ModelDescription.of(directory.file, variant, directory.table.vocabulary)
    return GraphModel(condition, velocity, description, engine)


def _weights(path: Path) -> dict[str, Floats]:
    if path.suffix == ".safetensors":
        return read_floats(path)
    try:
        return pytorch_arrays(path)
    except ImportError:
        raise ImportError(
            f"only PyTorch reads {path}: pip install 'zipvoice-tts[torch]', or make graphs of it where PyTorch is "
            "installed, zipvoice export MODEL --output-dir DIR, and speak with --model DIR"
        ) from None


def load_vocoder(folder: str | os.PathLike[str], engine: Engine) -> GraphVocoder:
    """The vocoder graph of a folder, or one that takes the weights of a folder."""
    graph = find_vocoder_graph(Path(folder))
    if graph is None:
        return GraphVocoder(engine.open(_find(Path(folder), "vocoder", engine), "vocoder"))
    path = first_file(folder, *WEIGHT_FILES)
    floats = {**_weights(path), **inverse_transform()}
    return GraphVocoder(engine.fill(graph, floats, str(path)))
