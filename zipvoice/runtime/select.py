# SPDX-License-Identifier: Apache-2.0
"""Which runtime computes. None is imported before it is chosen."""

import os
import platform
import shutil
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from zipvoice import builtin
from zipvoice.audio.griffin_lim import griffin_lim
from zipvoice.config.model import Variant
from zipvoice.config.strict_json import suggestion
from zipvoice.pretrained import ModelDirectory, find_vocoder, has_weights, vocoder_folder
from zipvoice.runtime.base import DTYPES, AcousticModel, Vocoder
from zipvoice.runtime.graphs import SUFFIXES, can_be_filled, has_graphs
from zipvoice.runtime.released_onnx import released_graphs
from zipvoice.runtime.weightless import find_vocoder_graph

RUNTIMES = {
    "torch": ("the PyTorch runtime", "torch", "torch>=2.6"),
    "onnx": ("the ONNX runtime", "onnxruntime", "onnxruntime"),
    "openvino": ("the OpenVINO runtime", "openvino", "zipvoice-tts[openvino]"),
}
"""By name: what it is, the library that it needs, and what pip installs for it."""
GRIFFIN_LIM = "griffin-lim"
DRIVERS = ("/proc/driver/nvidia", "/dev/kfd")
"""Where Linux shows that it drives GPUs of NVIDIA and AMD."""


def load_model(
    directory: ModelDirectory,
    runtime: str = "auto",
    *,
    device: str | None = None,
    dtype: str | None = None,
    weights: str | os.PathLike[str] | None = None,
    variant: Variant | None = None,
) -> AcousticModel:
    """The acoustic model of a directory, computed by a runtime.

    "auto" takes the best that is installed: PyTorch on an accelerator, for half precision and where there is no graph,
    else graphs, which start sooner and take less memory; OpenVINO where graphs are for that alone. `device` is by
    default the best there is, `dtype` the arithmetic of the model, "auto" what the device computes fastest with the
    runtime: by default float32, and for OpenVINO what the processor is made for. The other arguments are those of
    `zipvoice.pretrained.load_network`. Raises ImportError
    with the install command where the runtime's library is missing, ValueError for names that are not known.

    Example:
        >>> model = load_model(read_directory("zipvoice_small"), "torch", device="cpu")
    """
    if dtype not in (None, *DTYPES):
        raise ValueError(f"dtype {dtype!r} is not known{suggestion(dtype, DTYPES)}")
    if runtime == "auto":
        runtime = _best(directory, device, None if dtype == "auto" else dtype, weights, variant)
    if runtime != "torch" and dtype == "auto":
        dtype = None  # OpenVINO chooses itself; with ONNX Runtime 8 bits are faster, but worse in guided speech
    module = _module(runtime)
    model: AcousticModel = module.load_model(directory, device=device, dtype=dtype, weights=weights, variant=variant)
    return model


def _best(directory: ModelDirectory, device: str | None, dtype: str | None, weights: object, variant: Any) -> str:
    names = "condition", "velocity"
    if has_graphs(directory.path, *names, suffix=".xml") and not has_graphs(directory.path, *names):
        return "openvino"
    if dtype == "int8" and weights is None and _for_graphs(device) and _has_int8(directory, variant):
        return "onnx"
    if dtype not in (None, "float32"):
        return "torch"
    if not _has_pytorch():
        return "onnx"  # which says what else can be done where it cannot
    return "onnx" if weights is None and _for_graphs(device) and _has_graphs(directory, variant) else "torch"


def load_vocoder(source: str | os.PathLike[str], runtime: str = "auto", *, device: str | None = None) -> Vocoder:
    """Griffin-Lim or the package's own Vocos by name, else Vocos from a folder; only Vocos needs a runtime.

    "auto" takes PyTorch on an accelerator and where there is no graph, else the graph.

    Example:
        >>> samples = load_vocoder("griffin-lim")(log_mel)  # (B, F, T) -> (B, N)
    """
    if source == GRIFFIN_LIM:
        return griffin_lim
    check_vocoder(source)
    folder = vocoder_folder(source)
    if runtime == "auto":
        has_graph = has_graphs(folder, "vocoder") or find_vocoder_graph(folder) is not None
        if not has_graph and has_graphs(folder, "vocoder", suffix=".xml"):
            runtime = "openvino"
        else:
            runtime = "onnx" if has_graph and _for_graphs(device) else "torch"
    vocoder: Vocoder = _module(runtime).load_vocoder(folder, device=device)
    return vocoder


def check_vocoder(source: str | os.PathLike[str]) -> None:
    """Raise ValueError unless a vocoder is known by its name or has a folder."""
    if source != GRIFFIN_LIM and not vocoder_folder(source).is_dir():
        raise ValueError(f"there is no vocoder {source}{suggestion(str(source), (GRIFFIN_LIM, builtin.VOCODER), True)}")


def default_vocoder(model: str | os.PathLike[str], directory: ModelDirectory, runtime: str) -> str | Path:
    """What speaks for a model unless another is named, as `load_vocoder` takes it.

    Its own graph, else what its model.json names, else `find_vocoder`.
    """
    remembered = directory.file.vocoder
    if str(model) in builtin.MODELS or runtime not in SUFFIXES:
        return remembered or find_vocoder(model)
    name = "vocoder" if runtime == "auto" or remembered else "velocity"
    has_own = any(has_graphs(directory.path, name, suffix=suffix) for suffix in SUFFIXES[runtime])
    return directory.path if has_own else remembered or find_vocoder(model)


def _has_graphs(directory: ModelDirectory, variant: Variant | None) -> bool:
    """Whether the ONNX runtime can compute a model: it has graphs, or its weights can be put into some."""
    if has_graphs(directory.path, "condition", "velocity"):
        return True
    if can_be_filled(directory, variant):
        return True
    return released_graphs(directory.path) is not None and not (has_weights(directory.path) and _has_pytorch())


def _has_int8(directory: ModelDirectory, variant: Variant | None) -> bool:
    """Whether the ONNX runtime can compute a model in 8 bits, or is the one to say why not."""
    if has_graphs(directory.path, "condition", "velocity"):  # of which precision, their files tell
        return not (has_weights(directory.path) and _has_pytorch())
    return can_be_filled(directory, variant, "int8")


def _for_graphs(device: str | None) -> bool:
    """Whether graphs suit a device: a CPU, or no device is named and none is seen that only PyTorch uses."""
    return device == "cpu" or not _has_pytorch() or (device is None and not _sees_accelerator())


def _has_pytorch() -> bool:
    try:
        return find_spec("torch") is not None
    except ImportError:  # from finders that refuse it
        return False


def _sees_accelerator() -> bool:
    """Whether this computer has a GPU that PyTorch may use, without loading PyTorch where there is none."""
    apple = sys.platform == "darwin" and platform.machine() == "arm64"
    if not (apple or shutil.which("nvidia-smi") or any(map(os.path.exists, DRIVERS))):
        return False
    return best_device() != "cpu"


def best_device() -> str:
    """See `zipvoice.runtime.torch.best_device`."""
    name: str = import_module("zipvoice.runtime.torch").best_device()
    return name


def installed() -> list[str]:
    """The runtimes whose libraries are installed."""
    return [name for name, (_, library, _) in RUNTIMES.items() if find_spec(library) is not None]


def _module(runtime: str) -> Any:
    if runtime not in RUNTIMES:
        raise ValueError(f"there is no runtime {runtime!r}{suggestion(runtime, RUNTIMES)}")
    name, library, requirement = RUNTIMES[runtime]
    try:
        import_module(library)
    except ImportError:
        raise ImportError(f"{name} needs {library}: pip install '{requirement}'") from None
    return import_module(f"zipvoice.runtime.{runtime}")
