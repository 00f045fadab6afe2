# SPDX-License-Identifier: Apache-2.0
"""Dialogues by a model of one voice: turn by turn, each in the voice of its speaker."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from zipvoice import builtin
from zipvoice.audio.files import Audio
from zipvoice.config.synthesis import ResolvedOptions, SynthesisOptions, changed
from zipvoice.synthesis.chunk_planner import SpeechChunk, Text, whole_text
from zipvoice.synthesis.prompt import Prompt
from zipvoice.synthesis.voices import Voice, find_prompt

if TYPE_CHECKING:
    from zipvoice.synthesis.synthesizer import Synthesizer

TURN_SECONDS = 0.3
"""Silence between two turns."""
Voices = Voice | Sequence[Voice]
"""Of a dialogue: a voice of both speakers, or a list with one for each."""
_TAG = re.compile(r"(?<!\\)\[S(\d+)\]:?")


@dataclass(frozen=True)
class Turn:
    """What one speaker says before another does."""

    speaker: int
    """From 0: the number in the tag, less one."""
    text: str


def turns_of(text: Text) -> list[Turn]:
    """The turns of a dialogue; those of one speaker in a row are one.

    Raises ValueError for words before the first tag, and for turns without words.

    Example:
        >>> turns_of("[S1] Hello. [S2] Hi! [S2] How are you?")
        [Turn(speaker=0, text='Hello.'), Turn(speaker=1, text='Hi! How are you?')]
    """
    before, *parts = _TAG.split(whole_text(text))
    if before.strip() or not parts:
        raise ValueError(f"a dialogue begins with [S1], not with {before.strip()[:40]!r}")
    pairs = list(zip(map(int, parts[::2]), (said.strip() for said in parts[1::2]), strict=True))
    for number, (speaker, said) in enumerate(pairs, start=1):
        if not said:
            raise ValueError(f"turn {number} of the dialogue, of [S{speaker}], says nothing")
    return [
        Turn(speaker - 1, " ".join(said for _, said in turn)) for speaker, turn in groupby(pairs, lambda pair: pair[0])
    ]


def spoken_turns(
    synthesizer: "Synthesizer",
    text: Text,
    voices: Voices = None,
    options: SynthesisOptions | None = None,
    *,
    name: str = "",
    **changes: Any,
) -> Iterator[Audio]:
    """A dialogue in parts, with 0.3 s between turns; arguments and errors are those of `turn_voices`, `plan_turns`.

    Example:
        >>> joined(spoken_turns(zipvoice.load(), "[S1] Hello. [S2] Hi!", ["heart", ("bob.wav", "What bob.wav says.")]))
    """
    resolved = synthesizer.resolved(changed(options, changes))
    prompts = turn_voices(synthesizer, voices, target_rms=resolved.target_rms, raw=resolved.raw)
    plan = plan_turns(synthesizer, text, prompts, resolved, name)
    return synthesizer.spoken(plan, resolved, one_by_one=False)


def turn_voices(synthesizer: "Synthesizer", voices: Voices, **settings: Any) -> list[Prompt]:
    """The voices of the speakers in order, as people name them; by default two of the package.

    Raises ValueError for anything but a list, and as `find_prompt` does.
    """
    if voices is not None and not isinstance(voices, list | tuple):
        raise ValueError("this model has one voice: give a list with the voice of each speaker, [S1] first")
    return [find_prompt(synthesizer, voice, **settings) for voice in voices or builtin.DIALOGUE_VOICES]


def plan_turns(
    synthesizer: "Synthesizer", text: Text, voices: Sequence[Prompt], options: ResolvedOptions, name: str = ""
) -> Iterator[SpeechChunk]:
    """The chunks of a dialogue, those of `[S1]` in the first voice.

    Args:
        synthesizer: of a model of one voice.
        text: with tags, `[S1] … [S2] …`.
        voices: of all speakers, in order.
        options: without a duration.
        name: of the utterance.

    Raises:
        ValueError: the text has other tags, or something that cannot be spoken; or a duration is asked for.
    """
    if options.duration is not None:
        raise ValueError("a dialogue of a model of one voice takes the time of its turns; leave out --duration")
    turns = turns_of(text)
    for turn in turns:
        if not 0 <= turn.speaker < len(voices):
            raise ValueError(f"the dialogue has turns of [S{turn.speaker + 1}], but there are {len(voices)} voices")
    return _planned(synthesizer, turns, voices, options, name)


def _planned(
    synthesizer: "Synthesizer", turns: Sequence[Turn], voices: Sequence[Prompt], options: ResolvedOptions, name: str
) -> Iterator[SpeechChunk]:
    for number, turn in enumerate(turns, start=1):
        chunks = list(synthesizer.plan(turn.text, voices[turn.speaker], options, f"{name} turn {number}".strip()))
        yield from chunks[:-1]
        yield replace(chunks[-1], pause=chunks[-1].pause or (TURN_SECONDS if number < len(turns) else 0.0))
