# SPDX-License-Identifier: Apache-2.0
"""Join sentences of two speakers into conversations of four turns, each speaker on a channel of their own.

Written are TARGET-mono.tsv and TARGET-stereo.tsv with recordings: the same conversations on one and on two channels.
Turn k of conversation i is sentence i + k * step of its speaker's list, which is read round and round. Neighbouring
sentences are thus always `step` apart, and no answer given at one step is given at another (if the steps differ by less
than the shorter list is long, and the longer list is a multiple of it).

usage: python local/join_dialogues.py FIRST.tsv SECOND.tsv TARGET --steps 1 5 --number 24
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zipvoice.audio.files import Audio, read, resample, write
from zipvoice.audio.loudness import rms
from zipvoice.config.synthesis import SynthesisOptions
from zipvoice.files import write_text
from zipvoice.text.punctuation import add_punctuation

RATE = 24000
NUM_TURNS = 4
LEVEL = SynthesisOptions.target_rms  # of every turn, as of a voice prompt
SILENCE = 1e-4  # level of the noise, -80 dBFS, of a microphone in front of a listener


@dataclass(frozen=True)
class Sentence:
    """What one speaker says."""

    name: str
    text: str
    audio: Audio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path, help="list of id, text and audio file: what [S1] says, on the left channel")
    parser.add_argument("second", type=Path, help="the same of [S2], on the right channel")
    parser.add_argument("target", type=Path, help="lists to write, without -mono.tsv and -stereo.tsv")
    parser.add_argument(
        "--steps", type=int, nargs="+", required=True, help="distances of one turn's sentence to the next"
    )
    parser.add_argument("--number", type=int, required=True, help="conversations for each of the steps")
    options = parser.parse_args()
    join(options.first, options.second, options.target, options.steps, options.number)


def join(first: Path, second: Path, target: Path, steps: Sequence[int], number: int) -> None:
    """Write `number` conversations for each of the steps, on one and on two channels."""
    speakers = read_sentences(first), read_sentences(second)
    dialogues = [turns(speakers, i, step) for step in steps for i in range(number)]
    for kind, joined in (("mono", one_channel), ("stereo", two_channels)):
        folder = target.with_name(f"{target.name}-{kind}")
        write_dialogues(folder, [(name(dialogue), text(dialogue), joined(dialogue)) for dialogue in dialogues])


def read_sentences(path: Path) -> list[Sentence]:
    """The sentences of a list, all equally loud."""
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    return [Sentence(key, words, levelled(read(path.parent / audio))) for key, words, audio in lines]


def levelled(audio: Audio) -> Audio:
    mono = resample(audio.mono(), RATE)
    return Audio(mono.samples * (LEVEL / rms(mono)), RATE)


# ---------------------------------------------------------------- one dialogue


def turns(speakers: tuple[list[Sentence], list[Sentence]], index: int, step: int) -> list[Sentence]:
    """The turns of a conversation, of the two speakers by turns."""
    lists = [speakers[k % 2] for k in range(NUM_TURNS)]
    return [sentences[(index + k * step) % len(sentences)] for k, sentences in enumerate(lists)]


def name(dialogue: list[Sentence]) -> str:
    return "+".join(turn.name for turn in dialogue)


def text(dialogue: list[Sentence]) -> str:
    return "".join(f"[S{k % 2 + 1}]{add_punctuation(turn.text)}" for k, turn in enumerate(dialogue))


def one_channel(dialogue: list[Sentence]) -> Audio:
    return Audio(np.concatenate([turn.audio.samples for turn in dialogue], axis=1), RATE)


def two_channels(dialogue: list[Sentence]) -> Audio:
    """Each speaker's channel has nothing but faint noise while the other one speaks."""
    noise = np.random.default_rng(0)
    pairs = []
    for k, turn in enumerate(dialogue):
        speech = turn.audio.samples
        silence = SILENCE * noise.standard_normal(speech.shape, np.float32)
        pairs.append(np.concatenate([speech, silence] if k % 2 == 0 else [silence, speech]))
    return Audio(np.concatenate(pairs, axis=1), RATE)


# ---------------------------------------------------------------- all of them


def write_dialogues(folder: Path, dialogues: list[tuple[str, str, Audio]]) -> None:
    """Write the recordings into a folder, and the list of (name, text, recording) beside it."""
    lines = []
    for key, words, audio in dialogues:
        path = folder / f"{key}.flac"
        write(path, audio)
        lines.append(f"{key}\t{words}\t{path.relative_to(folder.parent)}\n")
    write_text(folder.with_name(f"{folder.name}.tsv"), "".join(lines))


if __name__ == "__main__":
    main()
