# SPDX-License-Identifier: Apache-2.0
"""List what the teacher is to say: transcripts of training recordings, and example sentences of WordNet.

WordNet is in package managers (apt-get install wordnet-base); its examples stand in quotation marks in data.noun,
data.verb, data.adj and data.adv. Kept are those of four words and more, of nothing but letters and common marks, that
are not held out.

usage: python local/list_texts.py WORDNET TEXTS.txt --held-out LIST.tsv... --transcripts LIST.tsv...
"""

import argparse
import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from list_corpora import letters, readable

from zipvoice.files import write_text

NUM_WORDS = range(4, 17)
USUAL = re.compile(r"[A-Z][A-Za-z ,.'?!;:-]*")
PARTS = ("noun", "verb", "adj", "adv")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wordnet", type=Path, help="folder of WordNet's data.noun and so on")
    parser.add_argument("target", type=Path, help="file to write, a text a line")
    parser.add_argument("--held-out", type=Path, nargs="+", required=True, help="lists whose texts are left out")
    parser.add_argument("--transcripts", type=Path, nargs="+", required=True, help="lists whose texts are added")
    options = parser.parse_args()
    held_out = set(map(letters, texts(options.held_out)))
    found: dict[str, str] = {}
    for text in [*texts(options.transcripts), *examples(options.wordnet)]:
        line = readable(text)
        if usable(line) and letters(line) not in held_out:
            found.setdefault(letters(line), line)
    write_text(options.target, "".join(f"{line}\n" for line in found.values()))
    print(f"{options.target}: {len(found)} texts")


def texts(lists: Iterable[Path]) -> Iterator[str]:
    for path in lists:
        with path.open(encoding="utf-8", newline="") as file:
            yield from (row["text"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def examples(folder: Path) -> Iterator[str]:
    """WordNet's example sentences, with a capital first."""
    for part in PARTS:
        for line in (folder / f"data.{part}").read_text(encoding="latin-1").splitlines():
            if not line.startswith("  "):  # the licence
                for example in re.findall(r'"([^"]+)"', line.partition("|")[2]):
                    yield example[0].upper() + example[1:]


def usable(text: str) -> bool:
    return len(text.split()) in NUM_WORDS and USUAL.fullmatch(text) is not None and not re.search("[A-Z]{2}", text)


if __name__ == "__main__":
    main()
