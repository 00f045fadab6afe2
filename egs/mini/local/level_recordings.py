# SPDX-License-Identifier: Apache-2.0
"""Bring the recordings of some lists to the level that voice prompts are brought to, and list the characters.

A model that hears few recordings must hear them as it will hear prompts.

usage: python local/level_recordings.py OUTPUT_DIR LIST.tsv...
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from zipvoice.audio.files import read, resample, write
from zipvoice.audio.loudness import normalize_rms
from zipvoice.config.synthesis import SynthesisOptions
from zipvoice.files import write_text
from zipvoice.text.vocabularies import corpus_table

RATE = 24000


def main(output: Path, lists: Sequence[Path]) -> None:
    for path in lists:
        write_text(output / path.name, "".join(levelled(line, path.parent, output) for line in read_lines(path)))
    texts = [line.split("\t")[1] for path in lists for line in read_lines(path)]
    corpus_table(map(list, texts)).write(output / "tokens.txt")


def read_lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def levelled(line: str, source: Path, output: Path) -> str:
    """Write the recording of a line of a list at the new level; returns the line of the new list."""
    name, text, path = line.split("\t")
    target = output / "audio" / f"{name}.flac"
    if not target.exists():
        recording = resample(read(source / path).mono(), RATE)
        write(target, normalize_rms(recording, SynthesisOptions.target_rms)[0])
    return f"{name}\t{text}\taudio/{name}.flac\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
