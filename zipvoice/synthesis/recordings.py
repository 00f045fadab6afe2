# SPDX-License-Identifier: Apache-2.0
"""Recordings of voices as people have them, made fit for a model: the part that is meant, mended, not too long."""

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import shorten

import numpy as np
from numpy.typing import NDArray

from zipvoice.audio.files import Audio, read
from zipvoice.audio.loudness import rms

Recording = str | os.PathLike[str] | Audio

INAUDIBLE_RMS = 1e-4
"""-80 dBFS, three 16-bit steps: what is stored of a voice at this level is noise."""
OFFSET = 0.02
"""Share of the level from which on a constant offset is taken away; sound alone has less of one."""
SHORTEST_SECONDS = 2.0
"""Of what a cut leaves."""
PAUSE_SECONDS = 0.15
STEP_SECONDS = 0.01
SILENT = 0.05
"""Level of a step, in relation to loud ones, up to which it is part of a pause."""
SURE_SECONDS = 0.6
"""How far the end of a clause may be from its pause, judged by the letters before it."""
FAR_TOO_LONG = 1.5
"""Times what suits the model, from which on a recording is cut also where no clause is sure to end."""
COSTS = {"sentence": 0.0, "clause": 0.2, "word": 0.6}
"""Seconds of distance that an end is worth."""


def opened(recording: Recording, start: float | None = None, end: float | None = None, raw: bool = False) -> Audio:
    """The part that is meant of a recording, as it is if `raw`, else mended. Raises ValueError naming the recording."""
    check_recording(recording)
    audio = recording if isinstance(recording, Audio) else read(recording)
    try:
        chosen = audio if start is None and end is None else part(audio, start, end)
    except ValueError as error:
        raise ValueError(f"{name_of(recording)}: {error}") from None
    return chosen if raw else mended(chosen)


def check_recording(recording: object) -> None:
    """Raise ValueError for what is neither a file nor a sound, such as samples without their rate."""
    if not isinstance(recording, Audio | str | os.PathLike):
        raise ValueError(
            "a recording is a file or a sound, zipvoice.Audio(samples, sampling_rate) with float32 samples "
            f"(channels, N), not a {type(recording).__name__}"
        )


def name_of(recording: Recording) -> str:
    """What messages call it."""
    return "the recording" if isinstance(recording, Audio) else str(recording)


def part(audio: Audio, start: float | None, end: float | None) -> Audio:
    """The sound between two times in seconds. Raises ValueError where there is none."""
    first, last = start or 0.0, audio.seconds if end is None else end
    if not 0 <= first < last or first >= audio.seconds:
        raise ValueError(f"there is nothing from {first:g} to {last:g} s: the recording lasts {audio.seconds:.2f} s")
    rate = audio.sampling_rate
    samples = audio.samples[:, round(first * rate) : round(min(last, audio.seconds) * rate)]
    return Audio(np.ascontiguousarray(samples), rate)


def mended(audio: Audio) -> Audio:
    """The sound without a constant offset, and lowered if it exceeds full scale."""
    samples = audio.samples
    if audio.num_samples == 0 or not np.isfinite(samples).all():
        return audio  # refused later, in words
    offset = samples.mean(axis=1, keepdims=True, dtype=np.float64)
    offset[np.abs(offset) <= OFFSET * samples.std(axis=1, keepdims=True, dtype=np.float64)] = 0
    if offset.any():
        samples = (samples - offset).astype(np.float32)
    peak = float(np.abs(samples).max())
    return (
        audio
        if samples is audio.samples and peak <= 1
        else Audio(samples / np.float32(max(1, peak)), audio.sampling_rate)
    )


def audible(audio: Audio) -> Audio:
    """The sound itself. Raises ValueError if it is so quiet that no voice can be heard in it."""
    if (level := rms(audio)) < INAUDIBLE_RMS:
        raise ValueError(f"it is next to silent, {20 * math.log10(level):.0f} dBFS; use a louder recording")
    return audio


# ---------------------------------------------------------------- cutting


@dataclass(frozen=True, eq=False)
class Cut:
    """The beginning of a recording and what is said in it."""

    audio: Audio
    text: str

    @property
    def note(self) -> str:
        return (
            f"is long: its first {self.audio.seconds:.1f} s are used, up to the pause behind "
            f"{shorten(self.text[-40:], 40, placeholder='…')!r}; --voice-start and --voice-end choose another part, "
            "whose words are the transcript then"
        )


def cut_at_pause(audio: Audio, text: str, longest: float) -> Cut | None:
    """The beginning of a recording of at most `longest` seconds, up to a pause where a clause of the transcript ends.

    A pause belongs to the end of a clause if as much of the speech as of the letters is before it. None if the
    recording is short enough, or if no pause is sure to be an end; far too long a recording is cut at the likeliest.
    """
    if audio.seconds <= longest:
        return None
    pauses = _Pauses.of(audio)
    ends = list(_ends(text))
    found = [
        (abs(share * pauses.total - before) + COSTS[kind], kind, place, index)
        for place, before in zip(pauses.places, pauses.spoken_before, strict=True)
        if SHORTEST_SECONDS <= place - pauses.first_sound <= longest
        for index, share, kind in ends
    ]
    cost, kind, place, index = min(found, default=(float("inf"), "", 0.0, 0))
    is_sure = kind != "word" and cost - COSTS.get(kind, 0) <= SURE_SECONDS
    if not found or not (is_sure or audio.seconds > FAR_TOO_LONG * longest):
        return None
    return Cut(part(audio, None, place), text[:index].strip())


@dataclass(frozen=True, eq=False)
class _Pauses:
    places: list[float]
    """Seconds, in the middle of each pause."""
    spoken_before: list[float]
    """Seconds of speech before it."""
    total: float
    """Seconds of speech."""
    first_sound: float

    @classmethod
    def of(cls, audio: Audio) -> "_Pauses":
        step = round(STEP_SECONDS * audio.sampling_rate)
        whole = audio.num_samples // step * step
        level = np.sqrt(np.square(audio.samples[:, :whole]).mean(axis=0).reshape(-1, step).mean(axis=1))
        sounding = level > SILENT * np.quantile(level, 0.9)
        before = np.concatenate([[0], sounding.cumsum()]) * STEP_SECONDS
        runs = [(start, end) for start, end in _silent_runs(sounding) if (end - start) * STEP_SECONDS >= PAUSE_SECONDS]
        first = float(sounding.argmax()) * STEP_SECONDS
        places = [(start + end) / 2 * STEP_SECONDS for start, end in runs]
        return cls(places, [float(before[start]) for start, _ in runs], float(before[-1]), first)


def _silent_runs(sounding: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[1], sounding.astype(np.int8), [1]])))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


_END = re.compile(
    r"(?P<sentence>[.!?…][\"'”’)]*(?=\s)|[。！？])|(?P<clause>[,;:–—][\"'”’)]*(?=\s)|[，；：、])|(?P<word>\s+)"
)


def _ends(text: str) -> Iterator[tuple[int, float, str]]:
    """Where sentences, clauses and words end, the share of letters before, and which of the three."""
    weights = np.array([(3 if "\u3400" <= c <= "\u9fff" else 1) if c.isalnum() else 0 for c in text] or [0])
    before = np.concatenate([[0], weights.cumsum()])
    for match in _END.finditer(text):
        if match.lastgroup and 0 < before[match.end()] < before[-1]:
            yield match.end(), float(before[match.end()] / before[-1]), match.lastgroup
