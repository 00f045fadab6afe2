# SPDX-License-Identifier: Apache-2.0
"""The ONNX Runtime: graphs that `zipvoice export` wrote, on a CPU, without PyTorch.

Shapes as in `zipvoice.runtime.base`.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zipvoice.config.model import Variant
from zipvoice.model.arrays import Array
from zipvoice.model.condition import Condition, padding_mask
from zipvoice.model.guidance import guided_velocity
from zipvoice.pretrained import ModelDirectory
from zipvoice.runtime.base import Floats, Integers, ModelDescription

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

FORMAT = "1"
"""Of the graphs: their arguments and what they give. Another number is another contract."""


def graph_file(name: str) -> str:
    """The file of a graph in a model directory."""
    return f"{name}.onnx"


def has_graphs(directory: Path, *names: str) -> bool:
    """Whether a model directory holds graphs: condition and velocity of a model, vocoder of a vocoder."""
    return all((directory / graph_file(name)).is_file() for name in names)


def open_graph(path: Path, name: str, num_threads: int | None = None) -> "InferenceSession":
    """A graph that is ready to run.

    Args:
        path: of the file.
        name: condition, velocity or vocoder; another graph in its place is refused.
        num_threads: by default as many as there are cores to run on.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that ONNX Runtime does not read, or another graph.
    """
    from onnxruntime import InferenceSession, SessionOptions

    if not path.is_file():
        more = " --vocoder vocos_small writes one, griffin-lim needs none" if name == "vocoder" else " writes graphs"
        raise FileNotFoundError(f"there is no {path}: zipvoice export MODEL --output-dir DIR{more}")
    options = SessionOptions()
    options.intra_op_num_threads = num_threads or _num_cores()
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False  # it keeps the memory of the longest text that was ever spoken
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads leave the cores to others
    try:
        session = InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no class in common but this
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} cannot be read as a graph, it is damaged or not one: {reason}") from None
    _check(session, path, name)
    return session


def _num_cores() -> int:
    """Cores that this process may run on, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check(session: "InferenceSession", path: Path, name: str) -> None:
    told = session.get_modelmeta().custom_metadata_map
    if "zipvoice.graph" not in told:
        raise ValueError(f"{path} is a graph of another program; zipvoice export writes those that can be used here")
    if told["zipvoice.graph"] != name:
        raise ValueError(f"{path} holds the {told['zipvoice.graph']} graph in place of the {name} graph")
    if told.get("zipvoice.format") != FORMAT:
        raise ValueError(
            f"{path} has format {told.get('zipvoice.format')}, this version reads {FORMAT}: export the model again"
        )


class OnnxModel:
    """Two graphs as an acoustic model; see `zipvoice.runtime.base.AcousticModel`.

    Args:
        directory: with condition.onnx, velocity.onnx and a model.json that tells the variant.
        num_threads: by default as many as there are cores to run on.

    Example:
        >>> model = OnnxModel(read_directory("exp/graphs"))
    """

    def __init__(self, directory: ModelDirectory, num_threads: int | None = None) -> None:
        self._condition = open_graph(directory.path / graph_file("condition"), "condition", num_threads)
        self._velocity = VelocityGraph(directory.path / graph_file("velocity"), num_threads)
        if directory.file.variant is None:
            raise ValueError(f"{directory.path / 'model.json'} does not tell the variant: export the model again")
        self.description = ModelDescription.of(directory.file, directory.file.variant, directory.table.vocabulary)

    def condition(self, tokens: Integers, num_tokens: Integers, num_frames: Integers, speech: Floats) -> Condition:
        inputs = {"tokens": tokens, "num_tokens": num_tokens, "num_frames": num_frames}
        (text,) = self._condition.run(None, {name: np.asarray(value, np.int64) for name, value in inputs.items()})
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

    def __init__(self, path: Path, num_threads: int | None = None) -> None:
        self._session = open_graph(path, "velocity", num_threads)
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
        return self._session.run(None, inputs)[0]


def _per_utterance(value: float | Array, count: int) -> Floats:
    """One number for all, or one for each with trailing axes of size one, as (B)."""
    numbers: Floats = np.broadcast_to(np.asarray(value, np.float32).reshape(-1), count)
    return numbers


class OnnxVocoder:
    """A graph as a vocoder; see `zipvoice.runtime.base.Vocoder`."""

    def __init__(self, path: Path, num_threads: int | None = None) -> None:
        self._session = open_graph(path, "vocoder", num_threads)

    def __call__(self, log_mel: Floats) -> Floats:
        samples: Floats = self._session.run(None, {"log_mel": np.asarray(log_mel, np.float32)})[0]
        return samples


def load_model(
    directory: ModelDirectory,
    *,
    device: str | None = None,
    dtype: str = "float32",
    weights: str | os.PathLike[str] | None = None,
    variant: Variant | None = None,
) -> OnnxModel:
    """See `zipvoice.runtime.select.load_model`; weights and variant are what was exported."""
    if device not in (None, "cpu"):
        raise ValueError(f"the ONNX runtime computes on the CPU, not on {device}; --runtime torch does")
    if dtype != "float32":
        raise ValueError(f"the arithmetic of graphs is chosen when they are exported (--int8), not by dtype {dtype}")
    if weights is not None or variant not in (None, directory.file.variant):
        raise ValueError(
            "graphs hold their weights and variant; export others with zipvoice export MODEL --weights FILE"
        )
    return OnnxModel(directory)


def load_vocoder(folder: str | os.PathLike[str], *, device: str | None = None) -> OnnxVocoder:
    """The vocoder graph of a folder."""
    return OnnxVocoder(Path(folder) / graph_file("vocoder"))
