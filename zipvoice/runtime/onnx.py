# SPDX-License-Identifier: Apache-2.0
"""The ONNX Runtime: graphs on a CPU, without PyTorch. Shapes as in `zipvoice.runtime.base`."""

import os
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zipvoice import heap
from zipvoice.config.model import Variant
from zipvoice.cores import num_cores
from zipvoice.model.arrays import Array
from zipvoice.pretrained import ModelDirectory
from zipvoice.runtime import graphs
from zipvoice.runtime.base import NARROW, Floats, ModelDescription
from zipvoice.runtime.graphs import GraphModel, GraphVocoder, can_be_filled, has_graphs
from zipvoice.runtime.released_onnx import ReleasedOnnxModel, released_graphs, variant_of_release
from zipvoice.runtime.weightless import WeightlessGraph, check_marks, fitting

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, SessionOptions

PROVIDER = "CPUExecutionProvider"
KEPT_SIZES = 8
"""Runs that an arena is not emptied after if their sizes come again: two for each of the utterances in turn."""


class OnnxEngine:
    """ONNX Runtime with a number of threads, by default as many as there are cores to run on."""

    name = "onnx"
    device = PROVIDER

    def __init__(self, num_threads: int | None = None) -> None:
        self.num_threads = num_threads or num_cores()
        # one for each core: more threads in one evaluation save it little of its time
        self.evaluations_at_once = max(1, num_cores() // (num_threads or 1))

    def open(self, path: Path, name: str) -> "OnnxGraph":
        session = _session(str(path), path, _options(self.num_threads))
        told = session.get_modelmeta().custom_metadata_map
        check_marks(path, name, told)
        return OnnxGraph(session, told.get("zipvoice.precision", "float32"))

    def fill(self, graph: WeightlessGraph, weights: Mapping[str, Floats], origin: str) -> "OnnxGraph":
        from onnxruntime import OrtValue

        options = _options(self.num_threads)
        wanted = fitting(graph, weights, origin)
        values = [OrtValue.ortvalue_from_numpy(value) for value in wanted.values()]
        options.add_external_initializers(list(wanted), values)
        return OnnxGraph(_session(graph.model, graph.path, options), graph.header.precision)


class OnnxGraph:
    """A session; see `zipvoice.runtime.graphs.Graph`.

    Its arena, without which long texts take half as long again, is emptied after a run of other sizes than the last
    few: several utterances may take turns.
    """

    def __init__(self, session: "InferenceSession", precision: str = "float32") -> None:
        self.session, self.precision = session, precision
        self.inputs = frozenset(argument.name for argument in session.get_inputs())
        self._sizes: deque[list[tuple[int, ...]]] = deque(maxlen=KEPT_SIZES)

    def __call__(self, inputs: Mapping[str, Array]) -> Floats:
        from onnxruntime import RunOptions

        options, sizes = RunOptions(), [np.shape(value) for value in inputs.values()]
        if self._sizes and sizes not in self._sizes:  # a first run leaves behind what the second needs
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._sizes.append(sizes)
        values: Floats = self.session.run(None, dict(inputs), options)[0]
        return values


@contextmanager
def _on_every_processor() -> Iterator[None]:
    """Lets a thread that is confined to one processor run on all that it can have.

    As it is imported, ONNX Runtime 1.32.0 tries AMX out by moving between two processors. Confined to one it does not,
    and does without: products in 8 bits then take three times as long.
    """
    confined = hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) == 1
    if not confined or "onnxruntime" in sys.modules:
        yield
        return
    allowed = os.sched_getaffinity(0)
    with suppress(OSError):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _options(num_threads: int) -> "SessionOptions":
    with _on_every_processor():
        from onnxruntime import SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = num_threads
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # it takes memory in one block, for all layers, where a few buffers would do
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads leave the cores to others
    return options


def _session(model: str | bytes, path: Path, options: "SessionOptions") -> "InferenceSession":
    from onnxruntime import InferenceSession

    try:
        return InferenceSession(model, options, providers=[PROVIDER])
    except Exception as error:  # its errors have no class in common but this
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} cannot be read as a graph, it is damaged or not one: {reason}") from None


# ---------------------------------------------------------------- loading


def load_model(
    directory: ModelDirectory,
    *,
    device: str | None = None,
    dtype: str | None = None,
    weights: str | os.PathLike[str] | None = None,
    variant: Variant | None = None,
    num_threads: int | None = None,
) -> GraphModel | ReleasedOnnxModel:
    """See `zipvoice.runtime.select.load_model`; for graphs with weights, these and the variant are what was exported.

    `num_threads` is by default one for narrow decoders and as many as there are cores for others.
    Raises ValueError for what graphs cannot do, FileNotFoundError where there is no graph for the model.
    """
    if device not in (None, "cpu"):
        raise ValueError(f"the ONNX runtime computes on the CPU: --device cpu, or --runtime torch for {device}")
    if dtype not in (None, "float32", "int8"):
        raise ValueError(f"graphs compute in float32 or int8, not in {dtype}; take --runtime torch for it")
    try:
        if weights is None and dtype != "int8" and (paths := _published(directory, variant)):
            return _released(directory, paths, variant, num_threads or num_cores())
        if num_threads is None and directory.file.model.fm_decoder_dim < NARROW:
            num_threads = 1
        return graphs.load_model(directory, OnnxEngine(num_threads), weights, variant, dtype)
    finally:
        heap.give_back()  # what loading has freed, 20 MB for the models of the package


def _published(directory: ModelDirectory, variant: Variant | None) -> tuple[Path, Path] | None:
    """The graphs of the model hub, where there are no others."""
    if has_graphs(directory.path, "velocity") or has_graphs(directory.path, "condition"):
        return None
    paths = released_graphs(directory.path)
    return paths if paths is not None and not can_be_filled(directory, variant) else None


def _released(
    directory: ModelDirectory, paths: tuple[Path, Path], variant: Variant | None, num_threads: int
) -> ReleasedOnnxModel:
    variant = variant_of_release(directory, variant)
    text, velocity = (_session(str(path), path, _options(num_threads)) for path in paths)
    description = ModelDescription.of(directory.file, variant, directory.table.vocabulary)
    return ReleasedOnnxModel(text, velocity, description, directory.path)


def load_vocoder(
    folder: str | os.PathLike[str], *, device: str | None = None, num_threads: int | None = None
) -> GraphVocoder:
    """The vocoder graph of a folder, or one that takes the weights of a folder."""
    return graphs.load_vocoder(folder, OnnxEngine(num_threads))
