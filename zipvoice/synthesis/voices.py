# SPDX-License-Identifier: Apache-2.0
"""Voices known by a name: those saved as files of one folder, and the one that comes with the package."""

import os
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zipvoice import builtin
from zipvoice.audio.files import Audio
from zipvoice.audio.griffin_lim import griffin_lim
from zipvoice.audio.mel import NUM_MELS, SAMPLING_RATE
from zipvoice.config.strict_json import suggestion
from zipvoice.synthesis.prompt import Prompt
from zipvoice.synthesis.recordings import Recording, check_recording

if TYPE_CHECKING:
    from zipvoice.synthesis.synthesizer import Synthesizer

Voice = Prompt | Recording | tuple[Recording, str] | None
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


def voices() -> list[str]:
    """The names of all voices, that of the package first.

    Example:
        >>> zipvoice.voices()
        ['heart', 'kathleen', 'libri26', 'lj']
    """
    return list(known())


def check_name(name: str, replace: bool = False) -> None:
    """Raise ValueError for a name that is no file name, or that, unless it is to be replaced, a voice has already."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name for a voice; use letters, digits, dots, dashes and underscores")
    if Path(name).suffix == SUFFIX:
        raise ValueError(f"{name!r} is no name for a voice, but that of a voice file; leave out {SUFFIX}")
    if replace:
        return
    if name in saved():
        raise ValueError(f"there is a voice {name!r} already; --force replaces it")
    if name in builtin.voices():
        raise ValueError(f"the voice {name!r} comes with the package; --force lets yours take its place")


def save(name: str, prompt: Prompt, *, replace: bool = False) -> Path:
    """Save a voice. Raises ValueError as `check_name` does.

    Example:
        >>> save("anna", synthesizer.prompt("anna.wav", "What anna.wav says."))
    """
    check_name(name, replace)
    path = folder() / f"{name}{SUFFIX}"
    prompt.save(path)
    return path


def load(name: str) -> Prompt:
    """The voice of a name. Raises ValueError naming the known ones."""
    return Prompt.load(_one_of(known(), name))


def default() -> Prompt:
    """The voice that speaks unless another is named."""
    return load(builtin.VOICE)


def by_name(voice: str | os.PathLike[str]) -> Prompt:
    """A voice that needs no transcript: a voice file, or the name of a voice."""
    return Prompt.load(voice) if Path(voice).suffix == SUFFIX else load(str(voice))


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


@dataclass(frozen=True)
class KnownVoice:
    """What is told about a voice."""

    name: str
    seconds: float
    """Of the recording, as a model hears it."""
    text: str
    """What the recording says."""
    saved: str | None
    """When it was saved, as an ISO 8601 time; None for a voice of the package."""


def describe() -> tuple[list[KnownVoice], list[str]]:
    """All voices, those of the package first, and what is wrong with the files of others."""
    own, described, faults = saved(), [], []
    for name, path in known().items():
        try:
            described.append(_described(name, path, name in own))
        except (ValueError, OSError) as error:
            faults.append(str(error))
    return described, faults


def heard(prompt: Prompt) -> Audio:
    """What a model hears of a voice, as sound, each channel by itself."""
    channels = np.split(prompt.features.T, prompt.features.shape[1] // NUM_MELS)  # (F, T) each
    samples = np.concatenate([griffin_lim(channel[None]) for channel in channels])  # (channels, N)
    return Audio((samples / max(1.0, np.abs(samples).max())).astype(np.float32), SAMPLING_RATE)


def _described(name: str, path: Path, is_saved: bool) -> KnownVoice:
    prompt = Prompt.load(path)
    when = datetime.fromtimestamp(path.stat().st_mtime).astimezone().isoformat(timespec="seconds")
    return KnownVoice(name, prompt.seconds, prompt.text, when if is_saved else None)


# ---------------------------------------------------------------- as people name them


def find_prompt(synthesizer: "Synthesizer", voice: Voice, text: str | None = None, **settings: Any) -> Prompt:
    """A voice as people name it; by default the package's.

    Args:
        synthesizer: makes a voice of a recording.
        voice: a voice made before, a voice file, the name of a voice, a recording (a file or a sound), or a recording
            and what it says as a pair.
        text: what the recording says; without it a recogniser hears it, see `Synthesizer.prompt`.
        settings: for a recording, see `Synthesizer.prompt`.

    Raises:
        ValueError or FileNotFoundError that says what is missing.

    Example:
        >>> prompt = find_prompt(synthesizer, ("anna.wav", "What anna.wav says."))
    """
    if isinstance(voice, tuple):
        voice, text = voice
    if text is None and any(settings.get(name) is not None for name in ("start", "end")):
        raise ValueError("--voice-start and --voice-end choose a part of a recording; give its words with --voice-text")
    if voice is None:
        if text is not None:
            raise ValueError(
                "--voice-text (voice_text) goes with the recording it is the transcript of; give that with --voice"
            )
        return default()
    if isinstance(voice, Prompt):
        return voice
    check_recording(voice)
    if text is not None and not isinstance(voice, Audio) and _is_voice(voice):
        raise ValueError(f"the voice {str(voice)!r} knows what its recording says; leave out --voice-text (voice_text)")
    if isinstance(voice, Audio) or text is not None:
        return synthesizer.prompt(voice, text, **settings)
    if str(voice) in known() or _is_voice(voice) or not (Path(voice).exists() or Path(voice).suffix):
        return by_name(voice)
    if not Path(voice).exists():
        raise FileNotFoundError(f"{voice}: no such recording or voice file")
    return synthesizer.prompt(voice, **settings)


def _is_voice(voice: str | os.PathLike[str]) -> bool:
    """Whether it is a voice file or the name of a voice, and no recording."""
    return Path(voice).suffix == SUFFIX or (str(voice) in known() and not Path(voice).exists())
