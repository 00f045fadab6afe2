# SPDX-License-Identifier: Apache-2.0
"""Recordings played slower and faster, as recordings of speakers that do not exist.

Played so, a voice is lower or higher in pitch and in all that a throat and a mouth give it: another voice, which says
the same words well. A model that is to follow any voice needs to have heard many.

For data/p_NAME.tsv and data/phones_NAME.jsonl there are then data/p_NAME_FACTOR.tsv, its recordings in data/audio and
data/phones_NAME_FACTOR.jsonl. What is there already is reused.

usage: python local/other_speakers.py DATA FACTOR NAME... [--num-jobs 2]
"""

import argparse
import csv
import json
from collections.abc import Sequence
from functools import partial
from multiprocessing import Pool
from pathlib import Path

from zipvoice.audio.files import Audio, read, resample, write
from zipvoice.audio.mel import SAMPLING_RATE
from zipvoice.files import write_text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the lists")
    parser.add_argument("factor", help="how much faster, as in 1.15")
    parser.add_argument("names", nargs="+", help="names of the lists")
    parser.add_argument("--num-jobs", type=int, default=2, help="recordings worked on at the same time")
    options = parser.parse_args()
    for name in options.names:
        make_list(options.data, name, options.factor, options.num_jobs)


def make_list(data: Path, name: str, factor: str, num_jobs: int) -> None:
    with (data / f"p_{name}.tsv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    other = [renamed(header, row, factor) for row in rows]
    audio = header.index("audio")
    files = [(data / row[audio], data / new[audio]) for row, new in zip(rows, other, strict=True)]
    with Pool(num_jobs) as pool:
        pool.starmap(partial(play, factor=float(factor)), files, chunksize=16)
    target = data / f"p_{name}_{factor}.tsv"
    write_text(target, "".join("\t".join(row) + "\n" for row in [header, *other]))
    lines = (data / f"phones_{name}.jsonl").read_text(encoding="utf-8").splitlines()
    write_text(data / f"phones_{name}_{factor}.jsonl", "".join(f"{played(line, factor)}\n" for line in lines))
    print(f"{target}: {len(other)} utterances")


def other_name(name: str, factor: str) -> str:
    """The name of an utterance or a speaker, played faster."""
    return f"{name}@{factor}"


def renamed(header: Sequence[str], row: Sequence[str], factor: str) -> list[str]:
    """The row of the list, of another speaker."""
    new = dict(zip(header, row, strict=True))
    new["id"], new["speaker"] = other_name(new["id"], factor), other_name(new["speaker"], factor)
    return [*{**new, "audio": f"audio/{new['id']}.flac"}.values()]


def play(source: Path, target: Path, factor: float) -> None:
    """Write the recording as it sounds when it is played faster by a factor."""
    if not target.exists():
        audio = read(source)
        write(target, resample(Audio(audio.samples, round(SAMPLING_RATE * factor)), SAMPLING_RATE))


def played(line: str, factor: str) -> str:
    """The times of phones, played faster."""
    row = json.loads(line)
    for _, phones in row["words"]:
        phones[:] = [[phone, start / float(factor), end / float(factor)] for phone, start, end in phones]
    return json.dumps({**row, "id": other_name(row["id"], factor)})


if __name__ == "__main__":
    main()
