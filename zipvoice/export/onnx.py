# SPDX-License-Identifier: Apache-2.0
"""Graphs for ONNX Runtime: a model directory in, one with graphs out, each compared with the network it came from.

The older of PyTorch's two exporters traces them, in seconds where the other takes minutes. Needs the package onnx.
Shapes: B batch, S tokens, T frames, F mel bins, C mel bins of all channels, N samples.
"""

import hashlib
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

import zipvoice
from zipvoice.config.export import ExportOptions
from zipvoice.export.folder import TITLE, check_folder, clear
from zipvoice.export.folding import OPSET, folded
from zipvoice.export.network import TracedTextCondition, TracedVelocity
from zipvoice.export.vocoder import TracedVocos
from zipvoice.files import whole_file, write_text
from zipvoice.model.condition import Condition
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.pretrained import load_network, read_directory, vocoder_folder
from zipvoice.runtime.graphs import SUFFIXES, graph_file
from zipvoice.runtime.onnx import OnnxEngine
from zipvoice.runtime.weightless import GRAPH_FORMAT
from zipvoice.vocoder.vocos import Vocos, load_vocos

if TYPE_CHECKING:
    from numpy.typing import NDArray

TRACED_FRAMES = 11
PARITY_FRAMES = (2, 3, 5, 37, 300)
"""Lengths at which each graph is compared with its network."""
MOST_DIFFERENT = {"float32": 1e-3, "int8": 0.1}
"""A graph that differs by more from its network, relative to its values, is not written."""
LIBRARIES = ("torch", "onnx", "onnxruntime")
"""Whose versions the card tells."""

logger = logging.getLogger(__name__)
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Source:
    """One network to be exported."""

    name: str
    """Of the graph: condition, velocity or vocoder."""
    traced: nn.Module
    reference: Callable[..., Tensor | tuple[Tensor, ...]]
    """The network itself, of the same arguments in the same order."""
    example: Callable[[int], Tensors]
    """Arguments by name for a number of frames, two utterances of different lengths."""
    outputs: tuple[str, ...]
    axes: Mapping[str, Mapping[int, str]]
    """Names of the axes of arguments and output whose sizes vary."""
    int8: bool = False
    """Weights of matrix products in 8 bits."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What else the file says of itself."""

    @property
    def precision(self) -> str:
        return "int8" if self.int8 else "float32"


@dataclass(frozen=True)
class ExportedGraph:
    """What is known of a written graph."""

    file: str
    precision: str
    megabytes: float
    sha256: str
    difference: float
    """Norm of the difference from the network relative to the norm of its values, the worst over `PARITY_FRAMES`."""


def export_onnx(options: ExportOptions) -> list[ExportedGraph]:
    """Write the graphs of a model, with model.json, tokens.txt and a card that tells hashes, versions and differences.

    Raises ValueError where the model cannot be read, a graph differs from it or another card would be replaced,
    ImportError with the install command where onnx is missing.

    Example:
        >>> export_onnx(ExportOptions("zipvoice_small", "exp/graphs", int8=True))
    """
    return export_graphs(options, lambda source, output: [write_graph(source, output)])


def export_graphs(
    options: ExportOptions,
    write: Callable[[Source, Path], Sequence[ExportedGraph]],
    libraries: Sequence[str] = LIBRARIES,
    suffixes: Sequence[str] = SUFFIXES["onnx"],
) -> list[ExportedGraph]:
    """Write a model directory of graphs, each by `write` as files with the suffixes, and versions of libraries.

    See `export_onnx`.
    """
    require_onnx()
    output = Path(options.output_dir)
    names = ("condition", "velocity") if options.vocoder is None else ("condition", "velocity", "vocoder")
    check_folder(output, [graph_file(name, suffix) for name in names for suffix in suffixes])
    directory = read_directory(options.model)
    network = load_network(directory, options.weights)
    sources = [condition_source(network), velocity_source(network, options.int8)]
    if options.vocoder is not None:
        sources.append(vocoder_source(load_vocos(vocoder_folder(options.vocoder))))
    exported = [graph for source in sources for graph in write(source, output)]
    clear(output, [graph.file for graph in exported])
    directory.write_description(output, network.variant)
    write_text(output / "README.md", card(options.model, exported, libraries))
    return exported


def require_onnx() -> None:
    """Raise ImportError with the install command unless onnx is there."""
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise ImportError("export needs onnx: pip install onnx") from None


# ---------------------------------------------------------------- what is exported


def condition_source(model: ZipVoice) -> Source:
    def example(frames: int) -> Tensors:
        num_tokens = torch.tensor([max(1, frames // 2), max(1, frames // 3)])
        tokens = torch.randint(model.vocabulary.size, (2, int(num_tokens.max()) + 1), generator=generator(frames))
        tokens[torch.arange(tokens.shape[1]) >= num_tokens[:, None]] = model.vocabulary.pad_id
        return {"tokens": tokens, "num_tokens": num_tokens, "num_frames": torch.tensor([frames, max(1, frames - 2)])}

    def reference(tokens: Tensor, num_tokens: Tensor, num_frames: Tensor) -> Tensor:
        return model.frame_text(tokens, num_tokens, num_frames, int(num_frames.max()))

    axes = {"tokens": {0: "B", 1: "S"}, "num_tokens": {0: "B"}, "num_frames": {0: "B"}, "text": {0: "B", 1: "T"}}
    return Source("condition", TracedTextCondition(model), reference, example, ("text",), axes)


def velocity_source(model: ZipVoice, int8: bool = False) -> Source:
    channels = 2 if model.variant == "zipvoice_dialog_stereo" else 1

    def example(frames: int) -> Tensors:
        random = generator(frames)
        x, speech = torch.randn(2, 2, frames, channels * model.config.feat_dim, generator=random)
        text = torch.randn(2, frames, model.config.feat_dim, generator=random)
        mask = torch.arange(frames) >= torch.tensor([[frames], [max(1, frames - 2)]])
        inputs = {"t": torch.rand(2, generator=random), "x": x, "text": 0.3 * text, "speech": 0.3 * speech}
        inputs["padding_mask"] = mask
        inputs |= {"guidance_scale": torch.tensor([1.0, 3.0])} if model.is_distilled else {}
        return inputs | ({"t_next": torch.ones(2)} if model.predicts_means else {})

    def reference(t: Tensor, x: Tensor, text: Tensor, speech: Tensor, mask: Tensor, *more: Tensor) -> Tensor:
        return model(t, x, Condition(text, speech, mask), *more)

    axes: dict[str, dict[int, str]] = {name: {0: "B", 1: "T"} for name in ("x", "text", "speech", "padding_mask")}
    axes |= {"t": {0: "B"}, "guidance_scale": {0: "B"}, "t_next": {0: "B"}, "velocity": {0: "B", 1: "T"}}
    return Source("velocity", TracedVelocity(model, channels, int8), reference, example, ("velocity",), axes, int8)


def vocoder_source(vocos: Vocos) -> Source:

    def example(frames: int) -> Tensors:
        return {"log_mel": torch.randn(2, 100, frames, generator=generator(frames)) - 3}

    axes = {"log_mel": {0: "B", 2: "T"}, "samples": {0: "B", 1: "N"}}
    return Source("vocoder", TracedVocos(vocos), vocos, example, ("samples",), axes)


def generator(frames: int) -> torch.Generator:
    """Of the examples of a length."""
    return torch.Generator().manual_seed(frames)


# ---------------------------------------------------------------- tracing, comparing, writing


def write_graph(source: Source, output: Path) -> ExportedGraph:
    """Write a graph into a folder, once it is compared with its network. Raises ValueError if it differs from it."""
    import onnx

    target = output / graph_file(source.name)
    with whole_file(target) as path:
        logger.info("tracing %s", source.name)
        trace(source, path)
        if source.int8:
            onnx.save(folded(path.read_bytes(), path), str(path))  # parts and sums of whole numbers, which torch leaves
        _mark(path, marks(source) | dict(source.metadata))
        session = OnnxEngine(num_threads=1).open(path, source.name).session
        difference = compared(source, lambda inputs: session.run(None, inputs))
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    return ExportedGraph(target.name, source.precision, target.stat().st_size / 1e6, digest, difference)


def marks(source: Source) -> dict[str, str]:
    """What a file says of its graph, so that another one in its place is noticed."""
    return {
        "zipvoice.graph": source.name,
        "zipvoice.format": GRAPH_FORMAT,
        "zipvoice.precision": source.precision,
    }


@torch.no_grad()
def trace(source: Source, path: Path, fold: bool = True) -> None:
    """Write a graph; unless `fold`, parameters stay as they are and what is computed of them is part of the graph."""
    example = source.example(TRACED_FRAMES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the age of this exporter, and sizes that it cannot infer
        torch.onnx.export(
            source.traced.eval(),
            tuple(example.values()),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            do_constant_folding=fold,
            input_names=list(example),
            output_names=list(source.outputs),
            dynamic_axes={
                name: dict(axes) for name, axes in source.axes.items() if name in {*example, *source.outputs}
            },
        )


def _mark(path: Path, metadata: dict[str, str]) -> None:
    """Write into the file what it says of itself, and leave out what runtimes infer.

    These are the sizes of inner values, and names of operators, which those of their values tell.
    """
    import onnx

    graph = onnx.load(str(path))
    del graph.graph.value_info[:]
    for node in graph.graph.node:
        node.ClearField("name")
    onnx.helper.set_model_props(graph, metadata)
    onnx.checker.check_model(graph)
    onnx.save(graph, str(path))


@torch.no_grad()
def compared(source: Source, graph: Callable[[dict[str, Any]], Sequence[Any]]) -> float:
    """How far a graph's values are from those of the network, relative to their norm, the worst over `PARITY_FRAMES`.

    Raises ValueError if that is more than its precision explains.
    """
    worst = 0.0
    for frames in PARITY_FRAMES:
        example = source.example(frames)
        values = source.reference(*example.values())
        wanted = _flat(values if isinstance(values, tuple) else (values,))
        found = _flat(graph({name: value.numpy() for name, value in example.items()}))
        worst = float(np.maximum(worst, np.linalg.norm(found - wanted) / np.linalg.norm(wanted)))  # keeps NaN
    if not worst <= MOST_DIFFERENT[source.precision]:
        raise ValueError(f"the {source.name} graph differs from the network by {worst:.2g} of its values")
    return worst


def _flat(values: Sequence[Any]) -> "NDArray[np.float32]":
    return np.concatenate([np.ravel(value) for value in values])


def card(model: str, graphs: Sequence[ExportedGraph], libraries: Sequence[str] = LIBRARIES) -> str:
    """What README.md says of a folder of graphs."""
    rows = "\n".join(
        f"| {g.file} | {g.precision} | {g.megabytes:.1f} | {g.difference:.1e} | `{g.sha256}` |" for g in graphs
    )
    installed = {name: metadata.version(name) for name in libraries}
    versions = ", ".join(
        f"{name} {version}" for name, version in {"zipvoice": zipvoice.__version__, **installed}.items()
    )
    return f"""{TITLE}{Path(model).name}

Written by `zipvoice export`; {versions}, opset {OPSET}.

| file | precision | MB | difference | SHA-256 |
| --- | --- | --- | --- | --- |
{rows}

The difference is that from the network it was made of, relative to its values, the worst of
{len(PARITY_FRAMES)} lengths from {PARITY_FRAMES[0]} to {PARITY_FRAMES[-1]} frames.
"""
