# SPDX-License-Identifier: Apache-2.0
"""List LibriTTS, or LibriTTS-R, for `zipvoice prepare`.

The corpus is as its archives unpack: PART/SPEAKER/CHAPTER/SPEAKER_CHAPTER.trans.tsv has lines of an utterance's name,
its original and its normalised text, and the recording is {name}.wav beside it. The normalised text is listed.

Written are libritts_dev-clean.tsv and libritts_train-all-shuf.tsv, which has the training parts in random order.

usage: python local/prepare_libritts.py download/LibriTTS data/lists
"""

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

from zipvoice.files import write_text

TRAIN = ("train-clean-100", "train-clean-360", "train-other-500")
DEV = "dev-clean"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="folder of the parts")
    parser.add_argument("lists", type=Path, help="folder to write the lists into")
    parser.add_argument("--train-parts", nargs="+", default=TRAIN, help="parts to train on")
    options = parser.parse_args()
    prepare(options.corpus, options.lists, options.train_parts)


def prepare(corpus: Path, lists: Path, train_parts: tuple[str, ...] = TRAIN) -> None:
    """Write both lists. Raises ValueError for a missing part, and for a transcript that is not as described above."""
    train = [row for part in train_parts for row in utterances(corpus / part)]
    random.Random(0).shuffle(train)
    for name, rows in (("train-all-shuf", train), (DEV, list(utterances(corpus / DEV)))):
        path = lists / f"libritts_{name}.tsv"
        write_text(path, "".join("\t".join(row) + "\n" for row in (("id", "text", "audio", "speaker"), *rows)))
        print(f"{path}: {len(rows)} utterances")


def utterances(part: Path) -> Iterator[tuple[str, str, str, str]]:
    """Name, normalised text, recording and speaker of each utterance of a part."""
    # Some copies of the archives have files that macOS made.
    transcripts = [path for path in sorted(part.rglob("*.trans.tsv")) if not path.name.startswith("._")]
    if not transcripts:
        raise ValueError(f"there is no transcript in {part}; LibriTTS unpacks to PART/SPEAKER/CHAPTER/*.trans.tsv")
    for transcript in transcripts:
        for number, line in enumerate(transcript.read_text(encoding="utf-8").splitlines(), start=1):
            columns = line.split("\t")
            if len(columns) != 3:
                raise ValueError(f"{transcript}:{number}: {len(columns)} columns; expected name, text, normalised text")
            name, _, text = columns
            yield name, " ".join(text.split()), str(transcript.with_name(f"{name}.wav")), name.split("_")[0]


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        raise SystemExit(str(error)) from None
