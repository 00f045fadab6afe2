# SPDX-License-Identifier: Apache-2.0
"""Paraformer (Gao et al. 2022), which hears Chinese, by FunASR or by its ONNX form; the characters are simplified."""

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zipvoice.audio.files import Audio
from zipvoice.evaluation.provenance import JudgedBy, sha256_of
from zipvoice.evaluation.recognizers import at_16k, weights_of

INSTALL = (
    "pip install 'zipvoice-tts[benchmarks]' funasr, and torchaudio of the build (CPU or CUDA) that PyTorch has; for "
    "model.onnx, pip install --no-deps funasr-onnx and pip install kaldi-native-fbank sentencepiece jieba"
)

Hear = Callable[[NDArray[np.float32]], str]
"""Samples at 16 kHz (N,) -> what is heard."""


class Paraformer:
    """Paraformer of a folder: model.onnx if it has one, which computes on the CPU, else model.pt."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        """Load the model.

        Raises ImportError with the install lines, FileNotFoundError without the folder, and ValueError for weights of
        another network.
        """
        weights = weights_of(folder)
        package = "funasr-onnx" if weights.suffix == ".onnx" else "funasr"
        with redirect_stdout(sys.stderr):  # the packages print where --json has its place
            self._simplified, load = _packages(package)
            self._hear = (_by_onnx if weights.suffix == ".onnx" else _by_torch)(load, folder, device)
        self.by = JudgedBy(folder.name, sha256_of(weights), f"{package} {version(package)}")

    def hear(self, audio: Audio) -> str:
        wave = at_16k(audio)
        with redirect_stdout(sys.stderr):
            return str(self._simplified(self._hear(wave), "zh-cn"))


def _packages(name: str) -> tuple[Any, Any]:
    """What simplifies characters, and what loads a model. Raises ImportError with the install lines."""
    try:
        from zhconv import convert

        if name == "funasr":
            from funasr import AutoModel as Model
        else:
            from funasr_onnx import Paraformer as Model
    except (ImportError, OSError) as error:
        raise ImportError(f"Paraformer needs its packages ({error}): {INSTALL}") from None
    return convert, Model


def _by_onnx(load: Any, folder: Path, device: str) -> Hear:
    graph = load(str(folder))

    def hear(wave: NDArray[np.float32]) -> str:
        found = graph(wave)  # nothing where no character was heard
        text = found[0]["preds"] if found else ""
        return text if isinstance(text, str) else str(text[0])

    return hear


def _by_torch(load: Any, folder: Path, device: str) -> Hear:
    import torch

    model = load(
        model=str(folder),
        device=device,
        ncpu=torch.get_num_threads(),  # it sets the number of threads of the whole process
        trust_remote_code=False,  # whatever the folder asks for
        ignore_init_mismatch=False,
        disable_update=True,
        disable_pbar=True,
        log_level="WARNING",
    )
    stored = torch.load(folder / "model.pt", map_location="cpu", weights_only=True, mmap=True)
    for inside in ("state_dict", "model_state_dict", "model"):
        stored = stored.get(inside, stored)
    if missing := set(model.model.state_dict()) - set(stored):  # it would leave them random
        raise ValueError(f"{folder / 'model.pt'} lacks {len(missing)} weights of its network, such as {min(missing)}")

    def hear(wave: NDArray[np.float32]) -> str:
        found = model.generate(input=wave, batch_size_s=300)  # nothing where no character was heard
        return str(found[0]["text"]) if found else ""

    return hear
