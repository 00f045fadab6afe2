# SPDX-License-Identifier: Apache-2.0
"""Subtitles spoken in their times: SRT and WebVTT files, several voices, one timeline."""

import html
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from zipvoice.audio.files import Audio
from zipvoice.audio.mel import HOP, SAMPLING_RATE
from zipvoice.config.strict_json import suggestion
from zipvoice.config.synthesis import ResolvedOptions, SynthesisOptions
from zipvoice.synthesis.prompt import Prompt
from zipvoice.synthesis.synthesizer import Synthesizer

UNNATURAL = 0.25
"""Relative change of a cue's natural duration from which on it is reported."""


@dataclass(frozen=True)
class Cue:
    """A text and when it is to be spoken."""

    line: int
    """Of the file, where its times stand."""
    start: float
    """Seconds."""
    end: float
    """Seconds."""
    text: str
    speaker: str | None = None
    """Who speaks, where the file says so."""

    @property
    def seconds(self) -> float:
        return self.end - self.start


@dataclass(frozen=True)
class Fit:
    """How a cue was made to fit its time."""

    cue: Cue
    natural_seconds: float
    """What its text would have taken at the rate of the voice."""

    @property
    def stretch(self) -> float:
        """Time given over time wanted: above 1 it is spoken slower than natural."""
        return self.cue.seconds / self.natural_seconds

    @property
    def is_unnatural(self) -> bool:
        return abs(self.stretch - 1) > UNNATURAL


@dataclass(frozen=True, eq=False)
class Dub:
    """Subtitles as speech."""

    audio: Audio
    """From the start of the timeline to the end of the last cue."""
    fits: tuple[Fit, ...]


# ---------------------------------------------------------------- reading

_TIME = r"(?:(\d+):)?(\d{1,2}):(\d{2})[,.](\d{1,3})"
_TIMES = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?")
_VOICE_TAG = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]+)>")
_TAG = re.compile(r"</?(?:[a-zA-Z][^<>]*|[\d:.]+)>|\{\\[^}]*\}")
_SPEAKER = re.compile(r"([^:\n]{1,40}):\s+")


def read_subtitles(path: str | os.PathLike[str], speakers: Sequence[str] = ()) -> list[Cue]:
    """The cues of an SRT or WebVTT file, in the order of their times.

    A cue's speaker is that of a WebVTT `<v name>` tag, or a leading `name:` where the name is one of `speakers`; other
    tags are left out. Cues without words, such as [music], are kept out as well if nothing is left of them.

    Raises ValueError with the number of the bad line.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None
    try:
        cues = [cue for cue in _cues(lines, speakers) if cue.text]
    except ValueError as error:
        raise ValueError(f"{path}, {error}") from None
    if not cues:
        raise ValueError(f"{path} has no cues; an SRT or WebVTT file has lines like 00:00:01,000 --> 00:00:04,000")
    return sorted(cues, key=lambda cue: (cue.start, cue.line))


def _cues(lines: Sequence[str], speakers: Sequence[str]) -> Iterator[Cue]:
    for number, line in enumerate(lines, start=1):
        if "-->" not in line:
            continue
        match = _TIMES.fullmatch(line)
        if match is None:
            raise ValueError(
                f"line {number}: cannot read the times {line.strip()!r}; write 00:00:01,000 --> 00:00:04,000"
            )
        start, end = _seconds(*match.groups()[:4]), _seconds(*match.groups()[4:])
        if end <= start:
            raise ValueError(f"line {number}: the cue ends at {end:g} s, not after its start at {start:g} s")
        body = list(_body(lines[number:]))
        yield _cue(number, start, end, "\n".join(body), speakers)


def _body(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        if not line.strip() or "-->" in line:
            return
        yield line


def _seconds(hours: str | None, minutes: str, seconds: str, fraction: str) -> float:
    return 3600 * int(hours or 0) + 60 * int(minutes) + int(seconds) + int(fraction) / 10 ** len(fraction)


def _cue(line: int, start: float, end: float, body: str, speakers: Sequence[str]) -> Cue:
    voice = _VOICE_TAG.search(body)
    text = html.unescape(_TAG.sub("", _VOICE_TAG.sub("", body))).strip()
    speaker = voice[1].strip() if voice else None
    prefix = _SPEAKER.match(text)
    if speaker is None and prefix and prefix[1] in speakers:
        speaker, text = prefix[1], text[prefix.end() :].strip()
    return Cue(line, start, end, text, speaker)


# ---------------------------------------------------------------- speaking


def dub(
    synthesizer: Synthesizer,
    cues: Sequence[Cue],
    voices: Mapping[str | None, Prompt],
    options: SynthesisOptions | None = None,
) -> Dub:
    """Speak each cue from its start to its end, to the sample; cues that overlap are heard together.

    Args:
        synthesizer: of a one-voice model.
        cues: in any order.
        voices: by speaker; None is the voice of cues without one.
        options: the duration and speed in them do not matter.

    Raises:
        ValueError: a cue, named by its line, has a speaker without a voice, a text that cannot be spoken, or no time
            to speak it in.
    """
    options = replace(options or SynthesisOptions(), speed=1.0)
    for cue in cues:
        _check_speaker(cue, voices)
    timeline = np.zeros((synthesizer.num_channels, max(_sample(cue.end) for cue in cues)), np.float32)
    fits = []
    for cue in cues:
        audio, fit = _spoken(synthesizer, cue, voices[cue.speaker], options)
        timeline[:, _sample(cue.start) : _sample(cue.end)] += audio.samples
        fits.append(fit)
    return Dub(Audio(timeline.clip(-1, 1), SAMPLING_RATE), tuple(fits))


def _spoken(synthesizer: Synthesizer, cue: Cue, prompt: Prompt, options: SynthesisOptions) -> tuple[Audio, Fit]:
    name, seconds = f"cue at {cue.start:.3f} s", (_sample(cue.end) - _sample(cue.start)) / SAMPLING_RATE
    try:
        plan = synthesizer.planner.plan(cue.text, synthesizer.voice(prompt), _natural(synthesizer, options), name)
        natural = sum(chunk.num_frames * HOP / SAMPLING_RATE + chunk.pause for chunk in plan)
        audio = synthesizer.synthesize(cue.text, prompt, options, name=name, duration=seconds)
    except ValueError as error:
        raise ValueError(f"the cue at line {cue.line} ({cue.text[:40]!r}, {cue.seconds:g} s): {error}") from None
    return audio, Fit(cue, natural)


def _natural(synthesizer: Synthesizer, options: SynthesisOptions) -> ResolvedOptions:
    return synthesizer.resolved(replace(options, duration=None, short_text_floor=False))


def _check_speaker(cue: Cue, voices: Mapping[str | None, Prompt]) -> None:
    if cue.speaker in voices:
        return
    known = [name for name in voices if name is not None]
    if cue.speaker is None:
        raise ValueError(f"the cue at line {cue.line} names no speaker, and there is no voice for such cues")
    raise ValueError(f"the cue at line {cue.line} is {cue.speaker}'s, who has no voice{suggestion(cue.speaker, known)}")


def _sample(seconds: float) -> int:
    return round(seconds * SAMPLING_RATE)
