# SPDX-License-Identifier: Apache-2.0
"""Who speaks when in a dialogue of two, by pyannote (Bredin 2023)."""

import os
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol

from zipvoice.audio.files import Audio
from zipvoice.evaluation.provenance import JudgedBy, sha256_of

CONFIG = "speaker_similarity/pyannote/pyannote_diarization_config.yaml"
NETWORKS = ("segmentation", "embedding")
"""The parameters of the pipeline that name files of weights."""
INSTALL = "pip install 'pyannote.audio>=4', and torchaudio of the build (CPU or CUDA) that PyTorch has"

Spans = Sequence[tuple[float, float]]
"""(start, end) of what one speaker says, in seconds."""


class Diarizer(Protocol):
    """Tells the two speakers of a dialogue apart."""

    by: JudgedBy

    def __call__(self, audio: Audio) -> Sequence[Spans]:
        """What each of two speakers says in a recording (1, N); one who is not heard says nothing."""
        ...


class PyannoteDiarizer:
    """The pipeline that a copy of k2-fsa/TTS_eval_models configures."""

    def __init__(self, models: Path, device: str = "cpu") -> None:
        """Load the pipeline and the weights that its configuration names.

        Raises ImportError with the install line, FileNotFoundError for what is missing, and ValueError for weights that
        could run code.
        """
        path = models / CONFIG
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: no such file; download it: hf download k2-fsa/TTS_eval_models --local-dir {models}"
            )
        os.environ.setdefault("PYANNOTE_METRICS_ENABLED", "false")  # it would report its use over the network
        try:
            with warnings.catch_warnings():  # that it cannot decode files, which it is not asked to
                warnings.simplefilter("ignore")
                import torch
                from pyannote.audio import Pipeline
                from pyannote.audio.core.plda import PLDA
        except (ImportError, OSError) as error:
            raise ImportError(f"cpSIM needs pyannote ({error}): {INSTALL}") from None
        # Version 4 loads a PLDA for every clustering, by default from a place that asks who one is; only one uses it.
        config = _config(path, models, PLDA.__new__(PLDA))
        weights = [Path(config["pipeline"]["params"][name]) for name in NETWORKS]
        for file in weights:
            _require_plain(file)
        self._pipeline: Any = Pipeline.from_pretrained(config).to(torch.device(device))
        self.by = JudgedBy("pyannote", sha256_of(path, *weights), f"pyannote.audio {version('pyannote.audio')}")

    def __call__(self, audio: Audio) -> Sequence[Spans]:
        import torch

        heard = {"waveform": torch.from_numpy(audio.samples), "sample_rate": audio.sampling_rate}
        found = self._pipeline(heard, num_speakers=2)
        spans: dict[str, list[tuple[float, float]]] = {}
        for segment, _, speaker in found.speaker_diarization.itertracks(yield_label=True):
            spans.setdefault(speaker, []).append((segment.start, segment.end))
        return [*(spans[speaker] for speaker in sorted(spans)), [], []][:2]


def _config(path: Path, models: Path, plda: Any) -> dict[str, Any]:
    """A configuration with whole paths of its weights, which it may name from any folder around it."""
    import yaml

    config: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    given: Mapping[str, Any] = config["pipeline"]["params"]
    networks = {name: str(_found(str(given[name]), path, models)) for name in NETWORKS}
    plda = str(_found(str(given["plda"]), path, models)) if "plda" in given else plda
    config["pipeline"]["params"] = {**given, **networks, "plda": plda}
    return config


def _found(name: str, path: Path, models: Path) -> Path:
    name = name.removeprefix("$model/")
    folder = path.parent
    places = (folder / name, folder.parent / name, models / name, folder / Path(name).name)
    found = next((place for place in places if place.exists()), None)
    if found is None:
        raise FileNotFoundError(f"{path} names {name}, which is not in {folder}")
    return found / "pytorch_model.bin" if (found / "pytorch_model.bin").is_file() else found


def _require_plain(path: Path) -> None:
    """Raise ValueError for a file that holds more than weights and settings: pyannote would run what it holds."""
    import torch
    from pyannote.audio.core.task import Problem, Resolution, Specifications

    with torch.serialization.safe_globals([torch.torch_version.TorchVersion, Problem, Resolution, Specifications]):
        try:
            torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except UnpicklingError as error:
            raise ValueError(f"{path} holds more than weights, which could be code: {error}") from None
