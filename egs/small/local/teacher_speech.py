# SPDX-License-Identifier: Apache-2.0
"""Have the teacher say pairs of texts, where and when a model of TIMED.txt lays them out.

Half of the pairs are said in one breath, every token as long as the model gives it. In the others the first text is
said as the teacher would, as a voice prompt is, followed by 0.2 s of digital zeros; the second is said as the model
lays it out at the pace of the first. Written are LIST.tsv (columns id, text, audio, speaker) and its recordings beside
it in a folder of the same name, those that are there already being reused. Texts of LIST_OF_TEXTS.txt, one a line, are
drawn at random, and so are paces.

usage: python local/teacher_speech.py TIMED.txt TEXTS.txt LIST.tsv NUMBER [SEED]
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from anchors import typical
from teacher import Teacher, load_teacher
from trim_and_level import levelled, trimmed

from zipvoice.audio.files import Audio, write
from zipvoice.audio.mel import SAMPLING_RATE
from zipvoice.config.text import TokenizerConfig
from zipvoice.files import write_text
from zipvoice.text.token_table import TokenTable
from zipvoice.text.tokenizers import build_tokenizer

PACES = (0.66, 0.9)
"""Seconds of speech for each second of typical durations; the recordings that these come from are read slowly."""
SPEEDS = (0.85, 1.25)
"""Of what is said as the teacher would."""
SILENCE = SAMPLING_RATE // 5
SPEECH_SHARE = (0.3, 0.75)
"""How much of a pair the second text is."""
MOST_SECONDS = 12.0
SPEAKER = "heart"


@dataclass(frozen=True)
class Text:
    """What is said."""

    text: str
    tokens: list[str]
    seconds: np.ndarray
    """Typical durations of the tokens (S,)."""


def main(tokens: Path, texts: Path, target: Path, number: int, seed: int = 1) -> None:
    table, teacher, rng = TokenTable.read(tokens), load_teacher(), Random(f"{seed} {target.stem}")
    tokenizer = build_tokenizer(TokenizerConfig(type="espeak", language="en-us"), ())
    lines = texts.read_text(encoding="utf-8").splitlines()
    rows, seconds = ["id\ttext\taudio\tspeaker\n"], 0.0
    while len(rows) <= number:
        pair = fitting(rng, lines, tokenizer.tokens, table)
        name = f"{target.stem}_{len(rows):05d}"
        path = Path(target.stem) / f"{name}.flac"
        sound = said(teacher, rng, *pair)
        if sound is None:
            continue
        if not (target.parent / path).exists():
            write(target.parent / path, levelled(sound))
        seconds += sound.num_samples / SAMPLING_RATE
        rows.append(f"{name}\t{' '.join(one.text for one in pair)}\t{path}\t{SPEAKER}\n")
    write_text(target, "".join(rows))
    print(f"{target}: {number} pairs, {seconds / 3600:.2f} hours")


def fitting(
    rng: Random, lines: Sequence[str], tokens: Callable[[str], list[str]], table: TokenTable
) -> tuple[Text, Text]:
    """Two texts of fitting lengths that espeak reads alike alone and together."""
    while True:
        first, second = (read(rng.choice(lines), tokens, table) for _ in range(2))
        share = second.seconds.sum() / (first.seconds.sum() + second.seconds.sum())
        if not SPEECH_SHARE[0] <= share <= SPEECH_SHARE[1] or first.text == second.text:
            continue
        if tokens(f"{first.text} {second.text}") == first.tokens + second.tokens:
            return first, second


def read(text: str, tokens: Callable[[str], list[str]], table: TokenTable) -> Text:
    made = tokens(text)
    return Text(text, made, typical(table, made))


def said(teacher: Teacher, rng: Random, first: Text, second: Text) -> Audio | None:
    """The sound of a pair, None if it does not come out at a good pace."""
    if rng.random() < 0.5:
        pace = rng.uniform(*PACES)
        tokens, seconds = first.tokens + second.tokens, np.concatenate([first.seconds, second.seconds])
        samples = teacher.forced(tokens, pace * seconds)
    else:
        prompt = trimmed(audio(teacher.natural(first.tokens, rng.uniform(*SPEEDS)))).samples[0]
        pace = (len(prompt) + SILENCE) / SAMPLING_RATE / first.seconds.sum()
        if not PACES[0] <= pace <= PACES[1]:
            return None
        speech = teacher.forced(second.tokens, pace * second.seconds)
        samples = np.concatenate([prompt, np.zeros(SILENCE, np.float32), speech])
    return audio(samples) if len(samples) <= MOST_SECONDS * SAMPLING_RATE else None


def audio(samples: np.ndarray) -> Audio:
    return Audio(np.ascontiguousarray(samples, np.float32)[None], SAMPLING_RATE)


if __name__ == "__main__":
    if len(sys.argv) not in (5, 6):
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:4]), *map(int, sys.argv[4:]))
