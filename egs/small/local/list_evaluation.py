# SPDX-License-Identifier: Apache-2.0
"""What the small models are scored on: two lists for `zipvoice batch` and real recordings of what they ask for.

voice.tsv asks for sentences that no model has heard, in the package's voice; the recordings are hers of the
same sentences. voices.tsv asks for such sentences in the voices of many readers; the recordings are others of the same
readers, which say something else: they show how alike a voice is to itself. copies.tsv lists the recordings of
voice.tsv for the vocoders to copy.

usage: python local/list_evaluation.py CORPORA DATA RESULTS
"""

import csv
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from list_corpora import heldout_readers, letters, written

from zipvoice.audio.files import read, resample, write
from zipvoice.audio.mel import SAMPLING_RATE
from zipvoice.files import write_text

VOICE = "arctic_a0009_1592748391"
"""The recording that is the voice of the package."""
SENTENCES = 40
PER_READER = 2
PROMPT_SECONDS = (3.0, 8.0)
CORPORA = ("kathleen", "ljspeech", "librispeech", "librispeech_other", "speechocean_adult")


@dataclass(frozen=True)
class Recording:
    """A line of a corpus."""

    name: str
    reader: str
    seconds: float
    text: str
    path: Path


@dataclass(frozen=True)
class Task:
    """A sentence to be spoken like a prompt, and a real recording to compare it with."""

    name: str
    prompt: Recording
    text: str
    real: Path


def main(corpora: Path, data: Path, results: Path) -> None:
    readers = defaultdict(list)
    for corpus in CORPORA:
        for recording in recordings(corpora / corpus):
            readers[recording.reader].append(recording)
    heldout = sentences(data / "p_heldout.tsv")
    voice = next(item for items in readers.values() for item in items if item.name == VOICE)
    one = [Task(name, voice, text, path) for name, text, path in heldout[:SENTENCES]]
    texts = iter(text for _, text, _ in heldout[SENTENCES:])
    many = [task for items in readers.values() for task in of_reader(items, texts)]
    for name, tasks in (("voice", one), ("voices", many)):
        lines = (f"{t.name}\t{t.prompt.text}\t{t.prompt.path.resolve()}\t{t.text}\n" for t in tasks)
        write_text(data / f"{name}.tsv", "".join(lines))
    write_text(data / "copies.tsv", "".join(f"{t.name}\t{t.text}\t{t.real.resolve()}\n" for t in one))
    for task in many:
        sound = resample(read(task.real).mono(), SAMPLING_RATE)
        write(results / "voices" / "recordings" / f"{task.name}.flac", sound)


def recordings(corpus: Path) -> Iterator[Recording]:
    """The recordings of a corpus; of the many readers of speechocean762 only those who are held out."""
    with (corpus / "utterances.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    speakers = {row["speaker"] for row in rows}
    asked = heldout_readers(speakers) if corpus.name == "speechocean_adult" else speakers
    for row in rows:
        if row["speaker"] in asked:
            seconds, text = float(row["seconds"]), written(row["text"])
            yield Recording(row["id"], row["speaker"], seconds, text, corpus / row["audio"])


def sentences(path: Path) -> list[tuple[str, str, Path]]:
    """Name, text and recording of the held-out sentences, each sentence once."""
    found: dict[str, tuple[str, str, Path]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            found.setdefault(letters(row["text"]), (row["id"], row["text"], path.parent / row["audio"]))
    return list(found.values())


def of_reader(items: list[Recording], texts: Iterator[str]) -> Iterator[Task]:
    """Tasks in a reader's voice, with prompts of a good length, none of which is compared with itself."""
    least, most = PROMPT_SECONDS
    fit = [item for item in items if least <= item.seconds <= most]
    for number, (prompt, real) in enumerate(zip(fit[:PER_READER], fit[PER_READER : 2 * PER_READER], strict=False)):
        yield Task(f"{prompt.reader}_{number}", prompt, next(texts), real.path)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
