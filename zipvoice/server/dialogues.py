# SPDX-License-Identifier: Apache-2.0
"""Turns of a dialogue: one after the other by a model of one voice, or as one text by a model of two."""

from collections.abc import AsyncIterator

import numpy as np

from zipvoice.audio.files import Audio
from zipvoice.server.errors import invalid
from zipvoice.server.schemas import Dialogue
from zipvoice.server.speaker import Speaker
from zipvoice.server.speech_job import SpeechJob
from zipvoice.synthesis.prompt import Prompt
from zipvoice.synthesis.turns import TURN_SECONDS
from zipvoice.text.token_table import SPEAKER_TAGS

IN_FLIGHT = 2
"""Turns of a dialogue, or items of a batch, that are spoken at the same time."""


async def one_by_one(
    body: Dialogue, voices: list[Prompt], speaker: Speaker, key: str, jobs: list[SpeechJob]
) -> AsyncIterator[Audio]:
    """The parts of all turns and the pauses between them; `jobs` gets the jobs, the next one while one is heard."""
    pause = TURN_SECONDS if body.pause_between_turns is None else body.pause_between_turns
    for number in range(len(body.turns)):
        for turn, voice in list(zip(body.turns, voices, strict=True))[len(jobs) : number + IN_FLIGHT]:
            asked = turn.text, voice, body, key
            jobs.append(await speaker.submit_later(*asked) if jobs else speaker.submit(*asked))
        async for part in jobs[number]:
            yield part
        if number < len(body.turns) - 1:
            silence = np.zeros((part.num_channels, round(pause * part.sampling_rate)), np.float32)
            yield Audio(silence, part.sampling_rate)


def in_one(body: Dialogue, voices: list[Prompt], speaker: Speaker, key: str) -> SpeechJob:
    """The whole as a model of two voices speaks it. Raises ApiError for a third voice."""
    names = list(dict.fromkeys(turn.voice for turn in body.turns))
    if len(names) > len(SPEAKER_TAGS):
        raise invalid(f"this model speaks dialogues of two voices, not of {len(names)}", "turns", "too_many_voices")
    for number, turn in enumerate(body.turns):
        if any(tag in turn.text for tag in SPEAKER_TAGS):
            raise invalid("a turn is what one speaker says, without tags", f"turns.{number}.text")
    by_name = {turn.voice: voice for turn, voice in zip(body.turns, voices, strict=True)}
    first, second = by_name[names[0]], by_name[names[-1]]
    try:
        prompt = speaker.synthesizer.dialog_of(first, second)
    except ValueError as error:
        raise invalid(str(error), "turns", "unusable_voice") from None
    text = " ".join(f"{SPEAKER_TAGS[names.index(turn.voice)]} {turn.text}" for turn in body.turns)
    return speaker.submit(text, prompt, body, key)
