# SPDX-License-Identifier: Apache-2.0
"""A voice to speak in: a recording and its transcript, made ready once and used as often as wanted."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from zipvoice.audio.files import Audio
from zipvoice.audio.loudness import normalize_rms, rms
from zipvoice.audio.mel import HOP, NUM_MELS, SAMPLING_RATE
from zipvoice.audio.silence import remove_silence
from zipvoice.config.strict_json import from_dict, to_dict
from zipvoice.config.text import TokenizerConfig
from zipvoice.files import sort_metadata, whole_file

FORMAT = "zipvoice-voice-1"
TRAIL_MS = 200
"""Silence behind a recording, which keeps its last word out of the new speech."""
SHORTEST_SECONDS = 0.1
SHORT_SECONDS = 1.0
"""What is shorter makes a voice, of which little is known."""
QUIET_RMS = 0.01
"""-40 dBFS. The words of quieter recordings are close to what counts as silence: they are raised before trimming."""
CLIPPED = 0.001
"""Share of samples at full scale from which on a recording counts as clipped."""
CHARACTERS_PER_SECOND = (5.0, 30.0)
"""What people read aloud, slow to fast; a Chinese character counts as three letters."""


@dataclass(frozen=True, eq=False)
class Prompt:
    """What a model hears of a voice."""

    features: NDArray[np.float32]
    """Log-mel features (T, C) of the recording at the normalised level, unscaled; C is 100, or 200 in stereo."""
    tokens: tuple[str, ...]
    """Tokens of the transcript."""
    text: str
    """The transcript."""
    gain: float
    """What the recording was multiplied by; speech made from it is divided by this."""
    tokenizer: TokenizerConfig
    """What made the tokens; a model with another tokenizer makes its own from the transcript."""

    def __repr__(self) -> str:
        return f"Prompt({self.seconds:.2f} s, {shorten(self.text, 60, placeholder=' …')!r})"

    @property
    def num_frames(self) -> int:
        return self.features.shape[0]

    @property
    def seconds(self) -> float:
        return self.num_frames * HOP / SAMPLING_RATE

    def save(self, path: str | os.PathLike[str], about: Mapping[str, str] | None = None) -> None:
        """Write a voice file: safetensors with features, tokens and transcript; whole or not at all, always alike.

        `about` is kept in the file's metadata beside them; `load` passes over it.
        """
        path = Path(path)
        if path.suffix != ".safetensors":
            raise ValueError(f"{path}: a voice file has the suffix .safetensors")
        description = {
            "text": self.text,
            "tokens": list(self.tokens),
            "gain": self.gain,
            "tokenizer": to_dict(self.tokenizer),
        }
        metadata = {"format": FORMAT, "voice": json.dumps(description, ensure_ascii=False), **(about or {})}
        data = safetensors.numpy.save({"features": np.ascontiguousarray(self.features)}, metadata)
        with whole_file(path) as temporary:
            temporary.write_bytes(data)
            sort_metadata(temporary)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Prompt":
        """Read what `save` wrote. Raises FileNotFoundError, or ValueError naming the file and what is wrong with it."""
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path}: no such voice file")
        try:
            with safetensors.safe_open(path, "numpy") as file:
                metadata, names = file.metadata() or {}, list(file.keys())
                features = file.get_tensor("features") if names == ["features"] else None
        except (safetensors.SafetensorError, OSError) as error:
            raise ValueError(f"{path} is damaged or no voice file ({error}); save the voice again") from None
        version = metadata.get("format", "")
        if version != FORMAT and version.startswith(FORMAT.rstrip("1")):
            raise ValueError(
                f"{path} is a voice file of another version ({version}, not {FORMAT}); save the voice again"
            )
        if version != FORMAT or features is None:
            raise ValueError(f"{path} is no voice file; `zipvoice voice save` makes one from a recording")
        try:
            return _described(features, json.loads(metadata["voice"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is a damaged voice file ({error}); save the voice again") from None


@dataclass(frozen=True)
class _Description:
    """What a voice file says beside the features."""

    text: str
    tokens: tuple[str, ...]
    gain: float
    tokenizer: TokenizerConfig


def _described(features: NDArray[np.float32], data: object) -> Prompt:
    said = from_dict(_Description, data)
    is_mel = features.ndim == 2 and len(features) > 0 and features.shape[1] in (NUM_MELS, 2 * NUM_MELS)
    if not is_mel or features.dtype != np.float32 or not np.isfinite(features).all():
        raise ValueError("its features are not finite float32 numbers (T, C)")
    if not 0 < said.gain < math.inf or not said.tokens:
        raise ValueError("its gain is not positive, or it has no tokens")
    return Prompt(features, said.tokens, said.text, said.gain, said.tokenizer)


# ---------------------------------------------------------------- recordings


def trimmed(recording: Audio) -> Audio:
    """The recording with edges and long pauses shortened and 0.2 s of silence behind it.

    Levels count from -40 dBFS for quieter recordings, so that none is taken for silence as a whole. Raises ValueError
    for no samples, silence, NaN or infinity.

    Example:
        >>> trimmed(read("me.wav")).seconds
    """
    if 0 < recording.seconds < SHORTEST_SECONDS:
        raise ValueError(
            f"it lasts {recording.seconds:.2f} s; a voice needs at least {SHORTEST_SECONDS:g} s, best 3 to 10"
        )
    raised, gain = normalize_rms(recording, QUIET_RMS)
    kept = remove_silence(raised, TRAIL_MS)
    return Audio(kept.samples / gain, kept.sampling_rate)


def recording_complaints(recording: Audio, text: str, long_seconds: float) -> list[str]:
    """Why a recording may make a poor voice, in numbers; none for a good one. Twice `long_seconds` is far too long."""
    complaints = []
    if recording.seconds > long_seconds:
        much = "far " if recording.seconds > 2 * long_seconds else ""
        complaints.append(
            f"lasts {recording.seconds:.1f} s, which is {much}too long: speech gets slower to make and worse beyond "
            f"{long_seconds:g} s; use a part of it"
        )
    if recording.seconds < SHORT_SECONDS:
        complaints.append(f"lasts {recording.seconds:.1f} s, which is too short to know a voice by; 3 to 10 s are best")
    if (level := rms(recording)) < QUIET_RMS:
        complaints.append(f"is quiet, {20 * math.log10(level):.0f} dBFS; noise in it is raised along with the voice")
    share = float(np.mean(np.abs(recording.samples) > 0.999))
    if share > CLIPPED:
        complaints.append(
            f"is clipped: {100 * share:.1f} % of the samples are at full scale; record it at a lower level"
        )
    return complaints + _rate_complaints(recording.seconds, text)


def _rate_complaints(seconds: float, text: str) -> list[str]:
    """The complaint that a transcript is probably of something else."""
    rate = sum(3 if "\u3400" <= c <= "\u9fff" else 1 for c in text if c.isalnum() or c.isspace()) / seconds
    slowest, fastest = CHARACTERS_PER_SECOND
    if slowest <= rate <= fastest:
        return []
    return [
        f"and its transcript do not seem to belong together: {rate:.1f} letters per second, where speech has "
        f"{slowest:g} to {fastest:g}; check that the text is what the recording says, all of it and no more"
    ]
