# SPDX-License-Identifier: Apache-2.0
"""Subtitles spoken in their times: several voices, one timeline, which is given out as it is made."""

import math
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zipvoice.audio.files import Audio
from zipvoice.audio.mel import HOP, SAMPLING_RATE
from zipvoice.audio.words import Word
from zipvoice.config.strict_json import suggestion
from zipvoice.config.synthesis import SynthesisOptions
from zipvoice.synthesis.cues import Cue, next_start
from zipvoice.synthesis.cues import read_subtitles as read_subtitles
from zipvoice.synthesis.prompt import Prompt
from zipvoice.synthesis.synthesizer import Synthesizer, joined

Pace = Literal["natural", "stretch"]
"""natural: at the pace of the voice, faster where it must be; stretch: slower as well, so that each cue is filled."""

UNNATURAL = 0.25
"""Relative change of a cue's natural duration from which on it is reported."""
FASTEST = 1.5
"""How much faster than natural a cue is spoken before it takes time from the silence behind it."""
UTMOST = 2.5
"""How much faster it is spoken where there is not enough of that either; then it is heard together with the next."""
GAP_SECONDS = 0.1
"""Silence that stays before the next cue."""
SILENCE_SECONDS = 10.0
"""Silence given out at a time."""


@dataclass(frozen=True)
class Fit:
    """How a cue was made to fit its time."""

    cue: Cue
    natural_seconds: float
    """What its text takes at the pace of the voice."""
    seconds: float
    """What it is given."""
    is_exact: bool
    """Whether it lasts that long to the sample, rather than as long as it naturally does, silence at its edges cut."""

    @property
    def stretch(self) -> float:
        """Time given over time wanted: above 1 it is spoken slower than natural."""
        return self.seconds / self.natural_seconds

    @property
    def is_unnatural(self) -> bool:
        return abs(self.stretch - 1) > UNNATURAL

    @property
    def is_too_long(self) -> bool:
        """Whether it goes on after the end of its cue."""
        return self.seconds > self.cue.seconds + 1 / SAMPLING_RATE


@dataclass(frozen=True, eq=False)
class Dub:
    """Subtitles as speech."""

    audio: Audio
    """From the start of the timeline to the end of the last cue, or of what is said in it."""
    fits: tuple[Fit, ...]


def dub(
    synthesizer: Synthesizer,
    cues: Sequence[Cue],
    voices: Mapping[str | None, Prompt],
    options: SynthesisOptions | None = None,
    pace: Pace = "natural",
) -> Dub:
    """Speak each cue from its start; cues that overlap are heard together. See `plan_cues` and `dub_parts`.

    Example:
        >>> dub(synthesizer, read_subtitles("talk.srt"), {None: voice}).audio.save("talk.wav")
    """
    fits = plan_cues(synthesizer, cues, voices, options, pace)
    return Dub(joined(dub_parts(synthesizer, fits, voices, options)), tuple(fits))


# ---------------------------------------------------------------- planning


def plan_cues(
    synthesizer: Synthesizer,
    cues: Sequence[Cue],
    voices: Mapping[str | None, Prompt],
    options: SynthesisOptions | None = None,
    pace: Pace = "natural",
) -> list[Fit]:
    """How long each cue will last, in the order of their starts.

    A cue is spoken at the pace of its voice, and faster, up to 1.5 times, if it would not end in time. What does not
    fit then takes time from the silence before the next cue, and only where that is too short it is spoken faster yet.

    Args:
        synthesizer: of a one-voice model.
        cues: in any order.
        voices: by speaker; None is the voice of cues without one.
        options: the duration and speed in them do not matter.
        pace: "stretch" fills each cue, also where that is slower than natural.

    Raises:
        ValueError: cues, all of them named by their lines, have a speaker without a voice, or a text that cannot be
            spoken.
    """
    options = _common(options)
    starts = sorted(cue.start for cue in cues)
    fits, errors = [], []
    for cue in sorted(cues, key=lambda cue: (cue.start, cue.line)):
        room = max(cue.seconds, next_start(starts, cue.end) - cue.start - GAP_SECONDS)
        try:
            _check_speaker(cue, voices)
            fits.append(_fit(synthesizer, cue, voices[cue.speaker], options, room, pace))
        except ValueError as error:
            errors.append(str(error))
    if errors:
        raise ValueError("\n  ".join(errors))
    return fits


def _common(options: SynthesisOptions | None) -> SynthesisOptions:
    return replace(options or SynthesisOptions(), speed=1.0, duration=None)


def _fit(synthesizer: Synthesizer, cue: Cue, prompt: Prompt, options: SynthesisOptions, room: float, pace: Pace) -> Fit:
    try:
        natural = _planned(synthesizer, cue, prompt, replace(options, short_text_floor=False))
        relaxed = _planned(synthesizer, cue, prompt, options)
        if relaxed <= cue.seconds and pace == "natural":
            return Fit(cue, relaxed, relaxed, is_exact=False)
        given = cue.seconds if natural <= FASTEST * cue.seconds else max(min(natural / FASTEST, room), natural / UTMOST)
        return Fit(cue, natural, _spoken_at_least(synthesizer, cue, prompt, options, given), is_exact=True)
    except ValueError as error:
        raise ValueError(f"the cue at line {cue.line} ({cue.text[:40]!r}, {cue.seconds:g} s): {error}") from None


def _planned(synthesizer: Synthesizer, cue: Cue, prompt: Prompt, options: SynthesisOptions) -> float:
    plan = synthesizer.plan(cue.text, prompt, synthesizer.resolved(options), _name(cue))
    return sum(chunk.num_frames * HOP / SAMPLING_RATE + chunk.pause for chunk in plan)


def _spoken_at_least(
    synthesizer: Synthesizer, cue: Cue, prompt: Prompt, options: SynthesisOptions, seconds: float
) -> float:
    """The time, or more if a model cannot say so much in it."""
    for longer in (1.0, 1.5, 2.0, 3.0, 5.0):
        try:
            _planned(synthesizer, cue, prompt, replace(options, duration=longer * seconds))
            return longer * seconds
        except ValueError as error:
            reason = error
    raise reason


def _check_speaker(cue: Cue, voices: Mapping[str | None, Prompt]) -> None:
    if cue.speaker in voices:
        return
    known = [name for name in voices if name is not None]
    if cue.speaker is None:
        raise ValueError(f"the cue at line {cue.line} names no speaker, and there is no voice for such cues")
    meant = suggestion(cue.speaker, known) if known else ""
    name = shlex.quote(cue.speaker)
    raise ValueError(
        f"the cue at line {cue.line} is {cue.speaker}'s, who has no voice; give one with --speaker {name}=VOICE{meant}"
    )


# ---------------------------------------------------------------- speaking


def dub_parts(
    synthesizer: Synthesizer,
    fits: Iterable[Fit],
    voices: Mapping[str | None, Prompt],
    options: SynthesisOptions | None = None,
) -> Iterator[Audio]:
    """The timeline in parts, in memory that does not grow with its length; arguments as given to `plan_cues`.

    With `word_times` each part has the words that begin in it.
    """
    options = _common(options)
    pending, position, end = np.zeros((synthesizer.num_channels, 0), np.float32), 0, 0
    heard: list[Word] = []  # in what is pending, with times from the start of the timeline
    for fit in fits:
        start, end = _sample(fit.cue.start), max(end, _sample(fit.cue.end))
        begun, heard = _parted(heard, position, start)
        yield from _given_out(pending[:, : start - position], start - position, begun)
        pending, position = pending[:, start - position :], start
        duration = _sample(fit.seconds) / SAMPLING_RATE if fit.is_exact else None
        audio = synthesizer.synthesize(
            fit.cue.text, voices[fit.cue.speaker], options, name=_name(fit.cue), duration=duration
        )
        pending = _sum(pending, audio.samples)
        heard = sorted([*heard, *(word.moved(start / SAMPLING_RATE) for word in audio.words)], key=attrgetter("start"))
    words, _ = _parted(heard, position, position + pending.shape[1])
    yield from _given_out(pending, max(pending.shape[1], end - position), words)


def _parted(words: Sequence[Word], start: int, end: int) -> tuple[tuple[Word, ...], list[Word]]:
    """The words that begin before the sample `end`, with times from the sample `start`, and the others."""
    begun = [word for word in words if word.start < end / SAMPLING_RATE]
    return tuple(word.moved(-start / SAMPLING_RATE) for word in begun), list(words[len(begun) :])


def _given_out(samples: NDArray[np.float32], length: int, words: tuple[Word, ...]) -> Iterator[Audio]:
    """What is final, with its words, followed by silence up to a length."""
    if samples.shape[1]:
        yield Audio(samples.clip(-1, 1), SAMPLING_RATE, words)
    step = round(SILENCE_SECONDS * SAMPLING_RATE)
    for missing in range(length - samples.shape[1], 0, -step):
        yield Audio(np.zeros((len(samples), min(step, missing)), np.float32), SAMPLING_RATE)


def _sum(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    length = max(first.shape[1], second.shape[1])
    return sum(
        (np.pad(wave, ((0, 0), (0, length - wave.shape[1]))) for wave in (first, second)),
        np.zeros((len(first), length), np.float32),
    )


def _name(cue: Cue) -> str:
    return f"cue at {cue.start:.3f} s"


def _sample(seconds: float) -> int:
    return math.floor(seconds * SAMPLING_RATE + 0.5)
