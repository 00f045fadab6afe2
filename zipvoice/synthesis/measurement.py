# SPDX-License-Identifier: Apache-2.0
"""How fast a model speaks on this machine, and how near that is to what its matrix products take.

Times are of the wall clock, the least of some repetitions after one that warms up. Shapes: T frames, C mel bins of all
channels.
"""

import math
import platform
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zipvoice import heap
from zipvoice.model.condition import Condition
from zipvoice.pretrained import WEIGHT_FILES, ModelDirectory, pytorch_arrays, read_directory
from zipvoice.runtime.select import installed
from zipvoice.synthesis.sampling import initial_noise
from zipvoice.synthesis.synthesizer import Synthesizer, load
from zipvoice.synthesis.voices import default

TEXT = "The museum opens at nine, but the garden behind it never closes. Come and see the roses while they last."
DTYPES_OF_GRAPHS = {"onnx": ("float32", "int8"), "openvino": ("float32", "bfloat16")}
NOT_PER_FRAME = ("time_emb", "linear_pos")
"""In the names of weights that are multiplied once for an utterance."""


@dataclass(frozen=True)
class Measurement:
    """A row of the table."""

    runtime: str
    dtype: str
    threads: int
    frames: int
    """Of the sentence, with its prompt."""
    seconds_per_evaluation: float
    """Of the network at these frames, without guidance's second half."""
    products_seconds: float | None
    """The matrix products of such an evaluation with the weights, by NumPy in float32; None without weights."""
    real_time_factor: float
    """Time for a sentence by its length."""
    first_audio_seconds: float
    """From the text to the first sound of a stream."""
    peak_memory_mb: float | None
    """Of the process, libraries included; None where the system does not tell."""


def combinations(runtimes: Sequence[str], dtypes: Sequence[str]) -> list[tuple[str, str]]:
    """What can be measured: each runtime, by default all that are installed, with each dtype that it has.

    Raises:
        ValueError: there is none.

    Example:
        >>> combinations(["onnx", "torch"], ["float32", "bfloat16"])
        [('onnx', 'float32'), ('torch', 'float32'), ('torch', 'bfloat16')]
    """
    pairs = [
        (runtime, dtype)
        for runtime in runtimes or installed()
        for dtype in dtypes
        if dtype in ("auto", *DTYPES_OF_GRAPHS.get(runtime, (dtype,)))
    ]
    if not pairs:
        told = "; ".join(f"{runtime}: {', '.join(has)}" for runtime, has in DTYPES_OF_GRAPHS.items())
        raise ValueError(f"graphs have no {', '.join(dtypes)} ({told}); --runtime torch computes in it")
    return pairs


def measure(
    source: str,
    runtime: str,
    dtype: str = "float32",
    device: str | None = None,
    text: str | None = None,
    repetitions: int = 3,
) -> Measurement:
    """How fast a model speaks a text in the voice of the package.

    Args:
        source: as `zipvoice.load` takes it, and likewise runtime, dtype and device.
        runtime: what computes.
        dtype: of its arithmetic.
        device: that it computes on.
        text: what it says, by default `TEXT`.
        repetitions: of which the fastest counts, after one that warms up.

    Raises:
        ValueError: no repetition, or a text that cannot be spoken.
    """
    if repetitions < 1:
        raise ValueError(f"repetitions must be at least 1, not {repetitions}")
    synthesizer, text = load(source, runtime=runtime, dtype=dtype, device=device), text or TEXT
    voice = default()
    length = synthesizer.synthesize(text, voice).seconds
    spoken = fastest(lambda: synthesizer.synthesize(text, voice), repetitions)
    first = fastest(lambda: next(synthesizer.stream(text, voice)), repetitions)
    evaluate, frames = _evaluation(synthesizer, text)
    shapes = product_shapes(read_directory(source), frames)
    peak = heap.peak_bytes()
    return Measurement(
        runtime,
        synthesizer.model.computed_by.dtype,
        synthesizer.model.num_threads,
        frames,
        fastest(evaluate, repetitions),
        fastest(_products(shapes), repetitions) if shapes else None,
        spoken / length,
        first,
        None if peak is None else peak / 2**20,
    )


def fastest(action: Callable[[], object], repetitions: int) -> float:
    """Seconds that an action takes at best, after one call that warms up.

    Example:
        >>> fastest(lambda: sum(range(1000)), 3)  # seconds
    """

    def seconds() -> float:
        started = time.perf_counter()
        action()
        return time.perf_counter() - started

    seconds()
    return min(seconds() for _ in range(repetitions))


def _evaluation(synthesizer: Synthesizer, text: str) -> tuple[Callable[[], object], int]:
    """One evaluation of the network in the middle of a text's first chunk, and its frames."""
    options, model = synthesizer.resolved(), synthesizer.model
    chunk = next(chunk for chunk in synthesizer.plan(text, default(), options) if chunk.ids)
    (trajectory,) = synthesizer.begin([chunk], [options.sampling])
    x = model.array(initial_noise(chunk)[None])
    condition = Condition(trajectory.condition.text[None], trajectory.condition.speech[None])
    scale = options.guidance_scale if model.description.variant == "zipvoice_distill" else 0.0
    return lambda: model.numpy(model.velocity(0.25, x, condition, scale)), chunk.total_frames


# ---------------------------------------------------------------- products, memory, hardware


def product_shapes(directory: ModelDirectory, frames: int) -> list[tuple[int, int, int]]:
    """Rows, inputs and outputs of each product of frames with a weight in one evaluation, in no order.

    Each stack has its frames, down-sampled. Empty for a directory without weights, which holds graphs only.
    """
    factors = directory.file.model.fm_decoder_downsampling_factor
    shapes = []
    for name, shape in _weight_shapes(directory.path).items():
        if len(shape) == 2 and name.startswith("fm_decoder.") and not any(part in name for part in NOT_PER_FRAME):
            stack = re.match(r"fm_decoder\.encoders\.(\d+)\.", name)
            factor = factors[int(stack[1])] if stack else 1
            shapes.append((math.ceil(frames / factor), shape[1], shape[0]))
    return shapes


def _weight_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    path = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    if path is None:
        return {}
    if path.suffix != ".safetensors":
        return {name: value.shape for name, value in pytorch_arrays(path).items()}
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def _products(shapes: list[tuple[int, int, int]]) -> Callable[[], object]:
    """All products one after another, of arrays that are made beforehand."""
    generator = np.random.default_rng(0)
    sizes = {size for rows, inputs, outputs in shapes for size in ((rows, inputs), (inputs, outputs))}
    arrays = {size: generator.standard_normal(size, np.float32) for size in sizes}

    def multiply() -> None:
        for rows, inputs, outputs in shapes:
            np.matmul(arrays[rows, inputs], arrays[inputs, outputs])

    return multiply


def processor() -> str:
    """What the processor calls itself."""
    information = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*: (.+)", information.read_text(), re.M) if information.is_file() else None
    return named[1] if named else platform.processor() or platform.machine()
