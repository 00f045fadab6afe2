# SPDX-License-Identifier: Apache-2.0
"""What the small models are scored on: lists for `zipvoice batch` and real recordings of what they ask for.

voice_NAME.jsonl asks for sentences that no model has heard, in a voice of the package. copies.tsv lists Kathleen's
recordings of the same sentences, for the vocoders to copy. voices.tsv asks for such sentences in the voices of many
readers; the recordings are others of the same readers, which say something else: they show how alike a voice is to
itself.

The voice of the teacher, who can say anything, is asked for other sentences, of three kinds.

usage: python local/list_evaluation.py SENTENCES OF_THREE_KINDS CORPORA DATA RESULTS
"""

import csv
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from list_corpora import heldout_readers, letters, written

from zipvoice.audio.files import read, resample, write
from zipvoice.audio.mel import SAMPLING_RATE
from zipvoice.builtin import voices
from zipvoice.files import write_text

PER_READER = 2
PROMPT_SECONDS = (3.0, 8.0)
KATHLEEN = "kathleen"
HEART = "heart"
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


def main(sentences: Path, of_three_kinds: Path, corpora: Path, data: Path, results: Path) -> None:
    texts = sentences.read_text(encoding="utf-8").splitlines()
    readers = defaultdict(list)
    for corpus in CORPORA:
        for recording in recordings(corpora / corpus):
            readers[recording.reader].append(recording)
    named = numbered(texts)
    for voice in voices():
        asked_of = numbered(of_three_kinds.read_text(encoding="utf-8").splitlines()) if voice == HEART else named
        lines = (json.dumps({"id": name, "text": text, "voice": voice}) + "\n" for name, text in asked_of.items())
        write_text(data / f"voice_{voice}.jsonl", "".join(lines))
    real = {letters(item.text): item for items in readers.values() for item in items if item.reader == KATHLEEN}
    lines = (f"{name}\t{text}\t{real[letters(text)].path.resolve()}\n" for name, text in named.items())
    write_text(data / "copies.tsv", "".join(lines))
    asked = cycle(texts)
    many = [task for items in readers.values() for task in of_reader(items, asked)]
    lines = (f"{t.name}\t{t.prompt.text}\t{t.prompt.path.resolve()}\t{t.text}\n" for t in many)
    write_text(data / "voices.tsv", "".join(lines))
    for task in many:
        sound = resample(read(task.real).mono(), SAMPLING_RATE)
        write(results / "voices" / "recordings" / f"{task.name}.flac", sound)


def numbered(texts: Sequence[str]) -> dict[str, str]:
    """Sentences by names."""
    return {f"s{number:02}": text for number, text in enumerate(texts, start=1)}


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


def of_reader(items: list[Recording], texts: Iterator[str]) -> Iterator[Task]:
    """Tasks in a reader's voice, with prompts of a good length, none of which is compared with itself."""
    least, most = PROMPT_SECONDS
    fit = [item for item in items if least <= item.seconds <= most]
    for number, (prompt, real) in enumerate(zip(fit[:PER_READER], fit[PER_READER : 2 * PER_READER], strict=False)):
        yield Task(f"{prompt.reader}_{number}", prompt, next(texts), real.path)


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
