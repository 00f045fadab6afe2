# SPDX-License-Identifier: Apache-2.0
"""Which runtime computes. None is imported before it is chosen."""

import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from zipvoice import builtin
from zipvoice.audio.griffin_lim import griffin_lim
from zipvoice.config.model import Variant
from zipvoice.config.strict_json import suggestion
from zipvoice.pretrained import ModelDirectory, find_vocoder, has_weights, vocoder_folder
from zipvoice.runtime.base import AcousticModel, Vocoder
from zipvoice.runtime.onnx import has_graphs

RUNTIMES = {
    "torch": ("the PyTorch runtime", "torch", "torch>=2.6"),
    "onnx": ("the ONNX runtime", "onnxruntime", "onnxruntime"),
}
"""By name: what it is, the library that it needs, and what pip installs for it."""
GRIFFIN_LIM = "griffin-lim"


def load_model(
    directory: ModelDirectory,
    runtime: str = "auto",
    *,
    device: str | None = None,
    dtype: str = "float32",
    weights: str | os.PathLike[str] | None = None,
    variant: Variant | None = None,
) -> AcousticModel:
    """The acoustic model of a directory, computed by a runtime; "auto" takes the best that is installed.

    `device` is by default the best there is, `dtype` the arithmetic of the model. The other arguments are those of
    `zipvoice.pretrained.load_network`. Raises ImportError with the install command where the runtime's library is
    missing, ValueError for names that are not known.

    Example:
        >>> model = load_model(read_directory("zipvoice_small"), "torch", device="cpu")
    """
    module = _module(_best(directory) if runtime == "auto" else runtime)
    model: AcousticModel = module.load_model(directory, device=device, dtype=dtype, weights=weights, variant=variant)
    return model


def load_vocoder(source: str | os.PathLike[str], runtime: str = "auto", *, device: str | None = None) -> Vocoder:
    """Griffin-Lim or the package's own Vocos by name, else Vocos from a folder; only Vocos needs a runtime.

    "auto" takes a folder's graph, if it has one, and else PyTorch.

    Example:
        >>> samples = load_vocoder("griffin-lim")(log_mel)  # (B, F, T) -> (B, N)
    """
    if source == GRIFFIN_LIM:
        return griffin_lim
    folder = vocoder_folder(source)
    if runtime == "auto":
        runtime = "onnx" if has_graphs(folder, "vocoder") else "torch"
    vocoder: Vocoder = _module(runtime).load_vocoder(folder, device=device)
    return vocoder


def default_vocoder(model: str | os.PathLike[str], directory: ModelDirectory, runtime: str) -> str | Path:
    """What speaks for a model unless another is named, as `load_vocoder` takes it: its graph, else `find_vocoder`."""
    has_own = runtime == "onnx" or (runtime == "auto" and has_graphs(directory.path, "vocoder"))
    return directory.path if has_own and str(model) not in builtin.MODELS else find_vocoder(model)


def _best(directory: ModelDirectory) -> str:
    """PyTorch where there are weights and it is installed, since it has every option; else graphs, if there are any."""
    if not has_graphs(directory.path, "condition", "velocity") or (has_weights(directory.path) and find_spec("torch")):
        return "torch"
    return "onnx"


def _module(runtime: str) -> Any:
    if runtime not in RUNTIMES:
        raise ValueError(f"there is no runtime {runtime!r}{suggestion(runtime, RUNTIMES)}")
    name, library, requirement = RUNTIMES[runtime]
    try:
        import_module(library)
    except ImportError:
        raise ImportError(f"{name} needs {library}: pip install '{requirement}'") from None
    return import_module(f"zipvoice.runtime.{runtime}")
