# SPDX-License-Identifier: Apache-2.0
"""List OpenDialog, English and Chinese, for `zipvoice prepare`.

The corpus is as published and unpacked: manifest.en.jsonl and manifest.zh.jsonl with id, text and path of a dialogue in
each line, the recordings, at the path from the corpus folder, below audio/.

Written for each language are opendialog_EN-dev.tsv, the first dialogues by the names of their recordings, and
opendialog_EN-train.tsv, the others. Dialogues whose text does not begin with [S1] are left out and counted.

usage: python local/prepare_opendialog.py download/OpenDialog data/lists
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from zipvoice.files import write_text

NUM_DEV = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="folder of the manifests")
    parser.add_argument("lists", type=Path, help="folder to write the lists into")
    parser.add_argument("--num-dev", type=int, default=NUM_DEV, help="dialogues of each language for validation")
    options = parser.parse_args()
    for language in ("en", "zh"):
        prepare(options.corpus / f"manifest.{language}.jsonl", options.lists, language.upper(), options.num_dev)


def prepare(manifest: Path, lists: Path, language: str, num_dev: int = NUM_DEV) -> None:
    """Write both lists of a language. Raises ValueError if there is nothing to train on, or for a broken line."""
    every = sorted(dialogues(manifest), key=lambda row: row[2].stem)
    rows = [row for row in every if row[1].startswith("[S1]")]
    left_out = f"left out: {len(every) - len(rows)} that do not begin with [S1]"
    if len(rows) <= num_dev:
        raise ValueError(f"{manifest} has {len(rows)} usable dialogues, {num_dev} are for validation; {left_out}")
    for subset, part in (("dev", rows[:num_dev]), ("train", rows[num_dev:])):
        path = lists / f"opendialog_{language}-{subset}.tsv"
        write_text(path, "".join(f"{key}\t{text}\t{audio}\n" for key, text, audio in part))
        print(f"{path}: {len(part)} dialogues")
    print(f"{manifest}: {left_out}")


def dialogues(manifest: Path) -> Iterator[tuple[str, str, Path]]:
    """Name, text and recording of each dialogue."""
    if not manifest.is_file():
        raise ValueError(f"there is no {manifest}; OpenDialog has manifest.en.jsonl and manifest.zh.jsonl")
    with manifest.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                dialogue = json.loads(line)
                if missing := {"id", "text", "path"} - set(dialogue):
                    raise ValueError(f"{', '.join(sorted(missing))} missing")
            except ValueError as error:
                raise ValueError(f"{manifest}:{number}: {error}") from None
            yield dialogue["id"], " ".join(dialogue["text"].split()), manifest.parent / dialogue["path"]


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        raise SystemExit(str(error)) from None
