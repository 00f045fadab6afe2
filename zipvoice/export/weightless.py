# SPDX-License-Identifier: Apache-2.0
"""Graphs without weights, for ONNX Runtime to fill: see `zipvoice.runtime.weightless`. Needs the package onnx."""

import copy
import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zipvoice.audio.mel import inverse_transform
from zipvoice.config.model_file import ModelFile
from zipvoice.export.folding import folded
from zipvoice.export.onnx import (
    Source,
    compared,
    condition_source,
    require_onnx,
    trace,
    velocity_source,
    vocoder_source,
)
from zipvoice.files import whole_file
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.runtime.onnx import OnnxEngine
from zipvoice.runtime.weightless import (
    GRAPH_FORMAT,
    Header,
    Parameter,
    WeightlessGraph,
    network_key,
    pack,
    rounded,
    vocoder_key,
    weightless_file,
)
from zipvoice.vocoder.vocos import Vocos

logger = logging.getLogger(__name__)


def write_model_graphs(
    network: ZipVoice, file: ModelFile, output: Path, precisions: Sequence[str] = ("float32", "int8")
) -> None:
    """Write the condition graph and, for each precision, the velocity graph of a network's sizes.

    Its weights are what they are compared with it by.

    Raises ValueError where a graph differs from the network, ImportError where onnx is missing.
    """
    key = network_key(file, network.variant, network.vocabulary)
    _write(condition_source, network, {}, key, output)
    for precision in precisions:
        _write(partial(velocity_source, int8=precision == "int8"), network, {}, key, output)


def write_vocoder_graph(vocos: Vocos, output: Path) -> None:
    """Write the graph of a vocoder's sizes; see `write_model_graphs`."""
    _write(vocoder_source, vocos, inverse_transform(), vocoder_key(vocos.config), output)


def _write(
    source_of: Callable[[Any], Source], network: nn.Module, constants: Mapping[str, Any], key: str, output: Path
) -> None:
    require_onnx()
    source = source_of(network)
    logger.info("tracing %s, %s", source.name, source.precision)
    model, parameters = _traced(source_of, network, constants)
    target = output / weightless_file(source.name, source.precision)
    header = Header(source.name, GRAPH_FORMAT, key, parameters, source.precision)
    weights = {name: value.float().numpy() for name, value in network.state_dict().items()}
    graph = WeightlessGraph(target, header, model)
    session = OnnxEngine(num_threads=1).fill(graph, {**weights, **constants}, "the network").session
    compared(source, lambda inputs: session.run(None, inputs))
    with whole_file(target) as path:
        path.write_bytes(pack(header, model))


def _traced(
    source_of: Callable[[Any], Source], network: nn.Module, constants: Mapping[str, Any]
) -> tuple[bytes, tuple[Parameter, ...]]:
    """The ONNX model without weights, and what it asks for.

    Parameters are found by their values, which are random, for tracing renames them.
    """
    import onnx

    network = _randomised(network)
    known = _parameters({name: value.numpy() for name, value in network.state_dict().items()} | dict(constants))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "traced.onnx"
        trace(source_of(network), path, fold=False)
        model = onnx.load(str(path))
        found = {tensor.name: known[onnx.numpy_helper.to_array(tensor).tobytes()] for tensor in model.graph.initializer}
        weights = [_empty(tensor) for tensor in model.graph.initializer]
        model = _simplified(model, weights, path)
    renamed = {name: parameter.in_graph for name, parameter in found.items()}
    parameters = tuple(found[tensor.name] for tensor in weights)
    for tensor in weights:
        tensor.name = renamed[tensor.name]
    renamed |= {value.name: value.name for value in (*model.graph.input, *model.graph.output)}
    _shorten(model.graph, renamed)
    model.graph.initializer.extend(weights)
    return model.SerializeToString(deterministic=True), parameters


def _parameters(values: Mapping[str, NDArray[Any]]) -> dict[bytes, Parameter]:
    """What a graph may ask for, by its values: a weight, or what it is rounded to."""
    known: dict[bytes, Parameter] = {}
    for name, value in values.items():
        forms = {"": value}
        if value.ndim == 2 and value.dtype == np.float32:
            forms["codes"], forms["scale"] = rounded(value)
        known |= {
            np.ascontiguousarray(each).tobytes(): Parameter(name, value.shape, form) for form, each in forms.items()
        }
    return known


@torch.no_grad()
def _randomised(network: nn.Module) -> nn.Module:
    network = copy.deepcopy(network).float().cpu().eval()
    generator = torch.Generator().manual_seed(0)
    state: Mapping[str, Tensor] = network.state_dict()
    for value in state.values():
        value.copy_(0.1 * torch.randn(value.shape, generator=generator))
    return network


def _empty(tensor: Any) -> Any:
    """Name, type and shape of a tensor, whose values are said to be elsewhere."""
    import onnx

    empty = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    empty.data_location = onnx.TensorProto.EXTERNAL
    empty.external_data.add(key="location", value="weights")
    return empty


def _simplified(model: Any, weights: Sequence[Any], path: Path) -> Any:
    """The model without weights, and without what does not depend on them: half of the nodes, half the time to load."""
    import onnx

    del model.graph.initializer[:]
    inputs = list(model.graph.input)
    values = [onnx.helper.make_tensor_value_info(w.name, w.data_type, list(w.dims)) for w in weights]
    model.graph.input.extend(values)  # as arguments, they are left as they are
    model = folded(model.SerializeToString(), path)
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    return model


def _shorten(graph: Any, renamed: dict[str, str]) -> None:
    """Number the values of a graph that nobody asks for by name, and leave out what is for reading only."""
    del graph.value_info[:]
    for tensor in graph.initializer:
        tensor.name = renamed.setdefault(tensor.name, str(len(renamed)))
    for node in graph.node:
        node.ClearField("name")
        node.ClearField("doc_string")
        for values in (node.input, node.output):
            for i, name in enumerate(values):
                values[i] = renamed.setdefault(name, str(len(renamed))) if name else ""
