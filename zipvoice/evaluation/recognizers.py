# SPDX-License-Identifier: Apache-2.0
"""The recognisers that word errors are counted with, each by the library that carries it."""

from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from zipvoice.audio.files import Audio, resample
from zipvoice.evaluation.level import require_sound
from zipvoice.evaluation.provenance import JudgedBy, sha256_of
from zipvoice.evaluation.whisper import Whisper

RATE = 16000
INSTALL = "pip install 'zipvoice-tts[benchmarks]'"
WEIGHTS = ("model.safetensors", "pytorch_model.bin", "model.pt", "model.onnx")


class Recognizer(Protocol):
    """Writes down what it hears."""

    by: JudgedBy

    def hear(self, audio: Audio) -> str:
        """The text of a recording (channels, N). Raises ValueError for silence."""
        ...


class Remembering:
    """A recogniser that several judges ask for the same recording, one after the other."""

    def __init__(self, recognizer: Recognizer) -> None:
        self._recognizer = recognizer
        self._last: tuple[Audio, str] | None = None
        self.by = recognizer.by

    def hear(self, audio: Audio) -> str:
        if self._last is None or self._last[0] is not audio:
            self._last = audio, self._recognizer.hear(audio)
        return self._last[1]


class FasterWhisper:
    """Whisper by faster-whisper: beam 5, temperature 0."""

    def __init__(self, model: str | None = None, language: str = "en", device: str = "cpu") -> None:
        self._whisper, self._language = Whisper(model, device), language
        how = f"faster-whisper {version('faster-whisper')}, {self._whisper.compute_type}, beam 5{_told(language)}"
        self.by = JudgedBy(self._whisper.name, self._whisper.sha256, how)

    def hear(self, audio: Audio) -> str:
        return self._whisper.transcribe(audio, self._language).text


class TransformersRecognizer:
    """A model of the transformers library: Whisper (greedy, the first 30 s), WhisperD (pieces of 30 s) or HuBERT."""

    def __init__(
        self,
        folder: Path,
        device: str = "cpu",
        *,
        language: str | None = None,
        chunked: bool = False,
        fourier: bool = False,
    ) -> None:
        """Load the model of a folder.

        `language` is that of a Whisper. `chunked` lets it hear recordings beyond 30 s in pieces, else it hears the
        first 30 s. `fourier` resamples through the spectrum of the whole recording, as the Seed-TTS evaluation does.
        Raises ImportError with the install line, and FileNotFoundError without the folder.
        """
        weights = weights_of(folder)
        try:
            import torch
            import transformers
        except ImportError as error:
            raise ImportError(f"{folder.name} needs transformers ({error}): {INSTALL}") from None
        dtype = torch.float16 if device != "cpu" else torch.float32
        make: Any = transformers.pipeline
        self._pipeline: Any = make(
            "automatic-speech-recognition",
            model=str(folder),
            device=device,
            dtype=dtype if chunked else torch.float32,
            **({"chunk_length_s": 30} if chunked else {}),
        )
        if chunked:  # it writes who speaks as [S1], and Whispers are kept from brackets
            self._pipeline.model.generation_config.suppress_tokens = None
        self._first_seconds = 30 if language and not chunked else None
        # The published figures are of a greedy search; the pipeline of transformers 5 has five beams unless told.
        asked = {"language": language, "task": "transcribe", "num_beams": 1}
        self._settings = {"generate_kwargs": asked} if language else {}
        self._fourier = fourier
        how = f"transformers {version('transformers')}, greedy{_told(language)}"
        self.by = JudgedBy(folder.name, sha256_of(weights), how)

    def hear(self, audio: Audio) -> str:
        wave = at_16k(audio, self._fourier)
        if self._first_seconds:
            wave = wave[: self._first_seconds * RATE]
        heard = self._pipeline({"raw": wave, "sampling_rate": RATE}, **self._settings)
        return str(heard["text"])


def _told(language: str | None) -> str:
    """What results say of the language that a recogniser is told to hear, other than English."""
    return f", {language}" if language not in (None, "en") else ""


def at_16k(audio: Audio, fourier: bool = False) -> NDArray[np.float32]:
    """One channel of a recording (channels, N) at 16 kHz, (N,). Raises ValueError for silence."""
    mono = require_sound(audio).mono()
    if not fourier or mono.sampling_rate == RATE:
        return resample(mono, RATE).samples[0]
    from scipy.signal import resample as by_spectrum

    wave = by_spectrum(mono.samples[0], int(mono.num_samples * RATE / mono.sampling_rate))
    return np.asarray(wave, np.float32)


def weights_of(folder: Path) -> Path:
    """The file of weights in the folder of a model. Raises FileNotFoundError that names the download."""
    found = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if found is None:
        raise FileNotFoundError(
            f"{folder} has none of {', '.join(WEIGHTS)}; download it: hf download k2-fsa/TTS_eval_models "
            f"--local-dir {folder.parent.parent}"
        )
    return found
