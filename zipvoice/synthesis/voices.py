# SPDX-License-Identifier: Apache-2.0
"""Voices known by a name: those saved as files of one folder, and the one that comes with the package."""

import os
import re
from pathlib import Path

from zipvoice import builtin
from zipvoice.config.strict_json import suggestion
from zipvoice.synthesis.prompt import Prompt
from zipvoice.synthesis.synthesizer import Synthesizer

SUFFIX = ".safetensors"
_NAME = re.compile(r"\w[\w.-]*")


def folder() -> Path:
    """Where voices are: ZIPVOICE_VOICES, else zipvoice/voices in the user's data folder."""
    if named := os.environ.get("ZIPVOICE_VOICES"):
        return Path(named)
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "zipvoice" / "voices"


def saved() -> dict[str, Path]:
    """The files of the saved voices by name."""
    return {path.stem: path for path in sorted(folder().glob(f"*{SUFFIX}")) if not path.name.startswith(".")}


def known() -> dict[str, Path]:
    """The files of all voices by name; a saved one goes before one of the package."""
    return {**builtin.voices(), **saved()}


def save(name: str, prompt: Prompt) -> Path:
    """Save a voice; one of the same name is replaced. Raises ValueError for a name that is no file name."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name for a voice; use letters, digits, dots, dashes and underscores")
    path = folder() / f"{name}{SUFFIX}"
    prompt.save(path)
    return path


def load(name: str) -> Prompt:
    """The voice of a name. Raises ValueError naming the known ones."""
    return Prompt.load(_one_of(known(), name))


def remove(name: str) -> None:
    """Forget a saved voice. Raises ValueError naming the saved ones."""
    if name in builtin.voices() and name not in saved():
        raise ValueError(f"the voice {name!r} comes with the package and stays")
    _one_of(saved(), name).unlink()


def _one_of(voices: dict[str, Path], name: str) -> Path:
    if name not in voices:
        hint = suggestion(name, voices) if voices else "; none is saved yet"
        raise ValueError(f"there is no voice {name!r}{hint}")
    return voices[name]


def find_prompt(
    synthesizer: Synthesizer, voice: str | None, text: str | None, *, target_rms: float = 0.1, raw: bool = False
) -> Prompt:
    """A voice as people name it: a recording with its transcript, a voice file, or a name; by default the package's.

    Raises ValueError or FileNotFoundError that says what is missing.
    """
    if voice is None:
        if text is not None:
            raise ValueError("--voice-text goes with the recording it is the transcript of; give that with --voice")
        return load(builtin.VOICE)
    if text is not None:
        return synthesizer.prompt(voice, text, target_rms=target_rms, raw=raw)
    if Path(voice).suffix == SUFFIX:
        return Prompt.load(voice)
    if voice in known():
        return load(voice)
    if Path(voice).exists() or Path(voice).suffix:
        raise ValueError(f"say what {voice} says with --voice-text: the model needs the words of a recording")
    return load(voice)
