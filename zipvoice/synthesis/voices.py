# SPDX-License-Identifier: Apache-2.0
"""Voices saved under a name, as files of one folder."""

import os
import re
from pathlib import Path

from zipvoice.config import suggestion
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


def names() -> list[str]:
    """The saved voices."""
    return sorted(path.stem for path in folder().glob(f"*{SUFFIX}") if not path.name.startswith("."))


def save(name: str, prompt: Prompt) -> Path:
    """Save a voice; one of the same name is replaced. Raises ValueError for a name that is no file name."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name for a voice; use letters, digits, dots, dashes and underscores")
    path = folder() / f"{name}{SUFFIX}"
    prompt.save(path)
    return path


def load(name: str) -> Prompt:
    """A saved voice. Raises ValueError naming the known ones."""
    return Prompt.load(_existing(name))


def remove(name: str) -> None:
    """Forget a voice. Raises ValueError naming the known ones."""
    _existing(name).unlink()


def _existing(name: str) -> Path:
    known = names()
    if name not in known:
        hint = suggestion(name, known) if known else "; none is saved yet, `zipvoice voice save` does it"
        raise ValueError(f"there is no voice {name!r}{hint}")
    return folder() / f"{name}{SUFFIX}"


def find_prompt(
    synthesizer: Synthesizer, voice: str, text: str | None, *, target_rms: float = 0.1, raw: bool = False
) -> Prompt:
    """A voice as people name it: a recording with its transcript, a voice file, or the name of a saved voice.

    Raises ValueError or FileNotFoundError that says what is missing.
    """
    if text is not None:
        return synthesizer.prompt(voice, text, target_rms=target_rms, raw=raw)
    if Path(voice).suffix == SUFFIX:
        return Prompt.load(voice)
    if voice in names():
        return load(voice)
    if Path(voice).exists() or Path(voice).suffix:
        raise ValueError(f"say what {voice} says with --voice-text: the model needs the words of a recording")
    return load(voice)
