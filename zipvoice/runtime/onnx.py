# SPDX-License-Identifier: Apache-2.0
"""The ONNX Runtime: graphs on a CPU, without PyTorch.

A graph of `zipvoice export` holds its weights. A weightless one takes them from the model's weight file; see
`zipvoice.runtime.weightless`. Shapes as in `zipvoice.runtime.base`.
"""

import ctypes
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zipvoice.audio.mel import inverse_transform
from zipvoice.config.model import Variant
from zipvoice.model.arrays import Array
from zipvoice.model.condition import Condition, padding_mask
from zipvoice.model.guidance import guided_velocity
from zipvoice.pretrained import ModelDirectory, pytorch_arrays, weights_path
from zipvoice.runtime.base import ComputedBy, Floats, Integers, ModelDescription
from zipvoice.runtime.released_onnx import ReleasedOnnxModel, released_graphs, variant_of_release
from zipvoice.runtime.weightless import (
    WeightlessGraph,
    check_kind,
    find_graphs,
    find_vocoder_graph,
    fitting,
    names_of,
    read_floats,
    variant_of,
)
from zipvoice.vocoder.vocos_files import WEIGHT_FILES, first_file

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, SessionOptions

PROVIDER = "CPUExecutionProvider"
SAFETENSORS = "model.safetensors"


def graph_file(name: str) -> str:
    """The file of a graph with weights in a model directory."""
    return f"{name}.onnx"


def has_graphs(directory: Path, *names: str) -> bool:
    """Whether a directory holds graphs with weights: condition and velocity of a model, vocoder of a vocoder."""
    return all((directory / graph_file(name)).is_file() for name in names)


# ---------------------------------------------------------------- sessions


def open_graph(path: Path, name: str, num_threads: int | None = None) -> "InferenceSession":
    """A graph with weights that is ready to run.

    Args:
        path: of the file.
        name: condition, velocity or vocoder; another graph in its place is refused.
        num_threads: by default as many as there are cores to run on.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that ONNX Runtime does not read, or another graph.
    """
    if not path.is_file():
        more = " --vocoder vocos_small writes one, griffin-lim needs none" if name == "vocoder" else " writes graphs"
        raise FileNotFoundError(f"there is no {path}: zipvoice export MODEL --output-dir DIR{more}")
    session = _session(str(path), path, _options(num_threads))
    told = session.get_modelmeta().custom_metadata_map
    if "zipvoice.graph" not in told:
        raise ValueError(f"{path} is a graph of another program; zipvoice export writes those that can be used here")
    check_kind(path, name, told["zipvoice.graph"], told.get("zipvoice.format"))
    return session


def fill_graph(
    graph: WeightlessGraph, weights: Mapping[str, Floats], origin: str, num_threads: int | None = None
) -> "InferenceSession":
    """A weightless graph with weights, ready to run. Raises ValueError naming their origin where they do not fit."""
    from onnxruntime import OrtValue

    options = _options(num_threads)
    wanted = fitting(graph, weights, origin)
    options.add_external_initializers(list(wanted), [OrtValue.ortvalue_from_numpy(value) for value in wanted.values()])
    return _session(graph.model, graph.path, options)


def _options(num_threads: int | None) -> "SessionOptions":
    from onnxruntime import SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = num_threads or available_threads()
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # it takes memory in one block, for all layers, where a few buffers would do
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads leave the cores to others
    return options


def run(session: "InferenceSession", inputs: dict[str, Array]) -> Floats:
    """What a graph gives. Its arena, without which long texts take half as long again, is emptied after each run."""
    from onnxruntime import RunOptions

    options = RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    values: Floats = session.run(None, inputs, options)[0]
    return values


def available_threads() -> int:
    """Threads that it computes with: the cores that this process may run on, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _session(model: str | bytes, path: Path, options: "SessionOptions") -> "InferenceSession":
    from onnxruntime import InferenceSession

    try:
        return InferenceSession(model, options, providers=[PROVIDER])
    except Exception as error:  # its errors have no class in common but this
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} cannot be read as a graph, it is damaged or not one: {reason}") from None


# ---------------------------------------------------------------- model and vocoder


class OnnxModel:
    """Two graphs as an acoustic model; see `zipvoice.runtime.base.AcousticModel`.

    Args:
        condition: the session of the condition graph.
        velocity: that of the velocity graph.
        description: what they are.

    Example:
        >>> model = load_model(read_directory("exp/graphs"))
    """

    computed_by = ComputedBy("onnx", PROVIDER)

    def __init__(
        self, condition: "InferenceSession", velocity: "InferenceSession", description: ModelDescription
    ) -> None:
        self._condition, self._velocity = condition, VelocityGraph(velocity)
        self.description = description

    def condition(self, tokens: Integers, num_tokens: Integers, num_frames: Integers, speech: Floats) -> Condition:
        inputs = {"tokens": tokens, "num_tokens": num_tokens, "num_frames": num_frames}
        text = run(self._condition, {name: np.asarray(value, np.int64) for name, value in inputs.items()})
        return Condition(text, speech, padding_mask(num_frames, speech.shape[1]))

    def velocity(self, t: float | Array, x: Array, condition: Condition, guidance_scale: float | Array) -> Array:
        return guided_velocity(self._velocity, guidance_scale)(t, x, condition)

    def array(self, values: NDArray[Any]) -> Array:
        return values

    def numpy(self, array: Array) -> Floats:
        floats: Floats = np.asarray(array, np.float32)
        return floats


class VelocityGraph:
    """The velocity of a graph, as the model's own; with a guidance scale where it is distilled."""

    def __init__(self, session: "InferenceSession") -> None:
        self._session = session
        self.is_distilled = "guidance_scale" in {argument.name for argument in self._session.get_inputs()}

    def __call__(
        self, t: float | Array, x: Array, condition: Condition, guidance_scale: float | Array | None = None
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
        return run(self._session, inputs)


def _per_utterance(value: float | Array, count: int) -> Floats:
    """One number for all, or one for each with trailing axes of size one, as (B)."""
    numbers: Floats = np.broadcast_to(np.asarray(value, np.float32).reshape(-1), count)
    return numbers


class OnnxVocoder:
    """A graph as a vocoder; see `zipvoice.runtime.base.Vocoder`."""

    def __init__(self, session: "InferenceSession") -> None:
        self._session = session

    def __call__(self, log_mel: Floats) -> Floats:
        return run(self._session, {"log_mel": np.asarray(log_mel, np.float32)})


# ---------------------------------------------------------------- loading


def load_model(
    directory: ModelDirectory,
    *,
    device: str | None = None,
    dtype: str = "float32",
    weights: str | os.PathLike[str] | None = None,
    variant: Variant | None = None,
    num_threads: int | None = None,
) -> OnnxModel | ReleasedOnnxModel:
    """See `zipvoice.runtime.select.load_model`; for graphs with weights, these and the variant are what was exported.

    Raises ValueError for what graphs cannot do, FileNotFoundError where there is no graph for the model.
    """
    if device not in (None, "cpu"):
        raise ValueError(f"the ONNX runtime computes on the CPU: --device cpu, or --runtime torch for {device}")
    if dtype != "float32":
        raise ValueError(f"the arithmetic of graphs is chosen when they are exported (--int8), not by dtype {dtype}")
    try:
        if has_graphs(directory.path, "velocity") or has_graphs(directory.path, "condition"):
            return _with_weights(directory, weights, variant, num_threads)
        if weights is None and (paths := released_graphs(directory.path)) and not can_be_filled(directory, variant):
            return _released(directory, paths, variant, num_threads)
        return _weightless(directory, weights, variant, num_threads)
    finally:
        _give_back_memory()


def _give_back_memory() -> None:
    """Return what loading has freed to the system, where glibc would keep it: 20 MB for the models of the package."""
    with suppress(OSError, TypeError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _with_weights(
    directory: ModelDirectory, weights: object, variant: Variant | None, num_threads: int | None
) -> OnnxModel:
    if weights is not None or variant not in (None, directory.file.variant):
        raise ValueError(
            "graphs hold their weights and variant; export others with zipvoice export MODEL --weights FILE"
        )
    condition, velocity = (
        open_graph(directory.path / graph_file(name), name, num_threads) for name in ("condition", "velocity")
    )
    if directory.file.variant is None:
        raise ValueError(f"{directory.path / 'model.json'} does not tell the variant: export the model again")
    description = ModelDescription.of(directory.file, directory.file.variant, directory.table.vocabulary)
    return OnnxModel(condition, velocity, description)


def _weightless(
    directory: ModelDirectory, weights: str | os.PathLike[str] | None, variant: Variant | None, num_threads: int | None
) -> OnnxModel:
    path = weights_path(directory.path, weights)
    floats = _weights(path)
    variant = variant or variant_of(directory, floats)
    graphs = find_graphs(directory, variant)
    if graphs is None:
        raise FileNotFoundError(
            f"there is no graph for {directory.path}: zipvoice export {directory.path} --output-dir DIR writes some, "
            "where PyTorch is installed; or install that here: pip install 'zipvoice-tts[torch]'"
        )
    condition, velocity = (fill_graph(graph, floats, str(path), num_threads) for graph in graphs)
    return OnnxModel(condition, velocity, ModelDescription.of(directory.file, variant, directory.table.vocabulary))


def can_be_filled(directory: ModelDirectory, variant: Variant | None) -> bool:
    """Whether a directory has safetensors weights, and there are graphs for them."""
    path = directory.path / SAFETENSORS
    return path.is_file() and find_graphs(directory, variant or variant_of(directory, names_of(path))) is not None


def _released(
    directory: ModelDirectory, paths: tuple[Path, Path], variant: Variant | None, num_threads: int | None
) -> ReleasedOnnxModel:
    variant = variant_of_release(directory, variant)
    text, velocity = (_session(str(path), path, _options(num_threads)) for path in paths)
    description = ModelDescription.of(directory.file, variant, directory.table.vocabulary)
    return ReleasedOnnxModel(text, velocity, description, directory.path)


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


def load_vocoder(
    folder: str | os.PathLike[str], *, device: str | None = None, num_threads: int | None = None
) -> OnnxVocoder:
    """The vocoder graph of a folder, or one that takes the weights of a folder."""
    graph = find_vocoder_graph(Path(folder))
    if graph is None:
        return OnnxVocoder(open_graph(Path(folder) / graph_file("vocoder"), "vocoder", num_threads))
    path = first_file(folder, *WEIGHT_FILES)
    floats = {**_weights(path), **inverse_transform()}
    return OnnxVocoder(fill_graph(graph, floats, str(path), num_threads))
