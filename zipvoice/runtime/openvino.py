# SPDX-License-Identifier: Apache-2.0
"""OpenVINO: graphs on a CPU, in bfloat16 where the processor has it. Needs the packages openvino and onnx."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zipvoice.config.model import Variant
from zipvoice.cores import num_cores
from zipvoice.model.arrays import Array
from zipvoice.pretrained import ModelDirectory
from zipvoice.runtime import graphs, signal_stack
from zipvoice.runtime.base import Floats
from zipvoice.runtime.graphs import GraphModel, GraphVocoder
from zipvoice.runtime.weightless import WeightlessGraph, check_marks, fitting

if TYPE_CHECKING:
    import openvino

DEVICE = "CPU"
DTYPES = {"float32": "f32", "bfloat16": "bf16"}
MARKS = "zipvoice"
"""Under which OpenVINO's own files have what `zipvoice.export` writes into them."""


class OpenVinoEngine:
    """OpenVINO on the CPU.

    Args:
        dtype: float32 or bfloat16, by default what the processor is made for.
        num_threads: by default as many as there are cores to run on.

    Raises ValueError for bfloat16 on a processor without it, and for other names.
    """

    name = "openvino"
    device = DEVICE
    evaluations_at_once = 1

    def __init__(self, dtype: str | None = None, num_threads: int | None = None) -> None:
        from openvino import Core

        self._core = Core()
        with signal_stack.kept():
            native = _dtypes_of(self._core)
        self.dtype = dtype or native[0]
        if self.dtype not in native:
            raise ValueError(f"OpenVINO computes in {' or '.join(native)} on this processor, not in {self.dtype}")
        self.num_threads = num_threads or num_cores()
        self._settings = {
            "INFERENCE_PRECISION_HINT": DTYPES[self.dtype],
            "INFERENCE_NUM_THREADS": self.num_threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # other processes want the cores too
            "CPU_RUNTIME_CACHE_CAPACITY": 0,  # it keeps something for each new length, 8 MB and more, and saves no time
        }

    def open(self, path: Path, name: str) -> "OpenVinoGraph":
        model = self._read(path, path)
        check_marks(path, name, _marks(model))
        return self._compiled(model)

    def fill(self, graph: WeightlessGraph, weights: Mapping[str, Floats], origin: str) -> "OpenVinoGraph":
        from openvino import opset13

        wanted = fitting(graph, weights, origin)
        model = self._read(_with_arguments(graph.model), graph.path)
        for argument in model.get_parameters():
            if (name := argument.output(0).any_name) in wanted:
                argument.output(0).replace(opset13.constant(wanted[name], shared_memory=True).output(0))
                model.remove_parameter(argument)
        model.validate_nodes_and_infer_types()
        return self._compiled(model)

    def _read(self, model: str | bytes | Path, path: Path) -> "openvino.Model":
        try:
            return self._core.read_model(model)
        except RuntimeError as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
            raise ValueError(f"{path} cannot be read as a graph, it is damaged or not one: {reason}") from None

    def _compiled(self, model: "openvino.Model") -> "OpenVinoGraph":
        with signal_stack.kept():
            return OpenVinoGraph(self._core.compile_model(model, DEVICE, self._settings), self.dtype)


class OpenVinoGraph:
    """A compiled model; see `zipvoice.runtime.graphs.Graph`."""

    def __init__(self, compiled: "openvino.CompiledModel", precision: str) -> None:
        self._compiled, self.precision = compiled, precision
        self.inputs = frozenset(argument.any_name for argument in compiled.inputs)

    def __call__(self, inputs: Mapping[str, Array]) -> Floats:
        values: Floats = self._compiled.create_infer_request().infer(dict(inputs))[0]
        return values


def _marks(model: "openvino.Model") -> dict[str, str]:
    """What the file of a graph says of it."""
    told = model.get_rt_info()
    for part in (MARKS, "framework"):
        if part in told:
            return {name: value.astype(str) for name, value in told[part].items()}
    return {}


def _with_arguments(graph: bytes) -> bytes:
    """A graph whose weights, which are said to be elsewhere, have become arguments."""
    import onnx

    model = onnx.load_from_string(graph)
    weights = [tensor for tensor in model.graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL]
    for weight in weights:
        model.graph.input.append(onnx.helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims))
        model.graph.initializer.remove(weight)
    content: bytes = model.SerializeToString()
    return content


def _dtypes_of(core: Any) -> list[str]:
    """What the processor computes in, the fastest first."""
    has_bfloat16 = "BF16" in core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")
    return ["bfloat16", "float32"] if has_bfloat16 else ["float32"]


def load_model(
    directory: ModelDirectory,
    *,
    device: str | None = None,
    dtype: str | None = None,
    weights: str | os.PathLike[str] | None = None,
    variant: Variant | None = None,
    num_threads: int | None = None,
) -> GraphModel:
    """See `zipvoice.runtime.select.load_model`; for graphs with weights, these and the variant are what was exported.

    Raises ValueError for what graphs cannot do, FileNotFoundError where there is no graph for the model.
    """
    if device not in (None, "cpu"):
        raise ValueError(f"OpenVINO computes on the CPU here: --device cpu, or --runtime torch for {device}")
    return graphs.load_model(directory, OpenVinoEngine(dtype, num_threads), weights, variant)


def load_vocoder(
    folder: str | os.PathLike[str], *, device: str | None = None, num_threads: int | None = None
) -> GraphVocoder:
    """The vocoder graph of a folder, or one that takes the weights of a folder; in float32."""
    return graphs.load_vocoder(folder, OpenVinoEngine("float32", num_threads))
