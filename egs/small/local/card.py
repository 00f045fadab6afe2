# SPDX-License-Identifier: Apache-2.0
"""The figures of the models of the package, written into their card from the files of `zipvoice evaluate --save`.

The part of the card between the two marks is written anew; all else stays.

usage: python local/card.py SCORES CARD
"""

import sys
from pathlib import Path

from zipvoice.evaluation.report import judged_by, table
from zipvoice.evaluation.run import read_results
from zipvoice.files import write_text

START, END = "<!-- figures -->\n", "<!-- end of figures -->\n"
ORDER = ("recordings", "griffin-lim", "vocos_small", "zipvoice_small", "zipvoice_small_distill")
KINDS = {"heart": ", 20 of CMU ARCTIC, 20 Harvard sentences (IEEE, 1969), 20 as in a dialogue"}
VOICE = """English sentences that no model has heard{kinds}, in the voice `{name}` of the package{real}. In brackets the
interval of 95 %, by drawing recordings."""
REAL = "; real recordings of the same sentences by the same\nreader; copies of these by the vocoders"
READERS = """Such sentences in the voices of readers, most of whom no model has heard, some with the accent of Mandarin
natives; the real recordings are others of the same readers."""


def main(scores: Path, card: Path) -> None:
    parts = [part(folder) for folder in sorted(scores.iterdir(), key=lambda path: (path.name == "voices", path.name))]
    before, _, rest = card.read_text(encoding="utf-8").partition(START)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{card} has no part between {START.strip()} and {END.strip()}")
    write_text(card, before + START + "\n" + "\n".join(parts) + "\n" + END + after)


def part(folder: Path) -> str:
    """What a folder of scores says: a sentence, a table, the models that judged."""
    names = {path.stem for path in folder.glob("*.jsonl")}
    ordered = [name for name in ORDER if name in names] + sorted(names - set(ORDER))
    found = {name: read_results(folder / f"{name}.jsonl") for name in ordered}
    real = REAL if "recordings" in names else ""
    about = (
        READERS
        if folder.name == "voices"
        else VOICE.format(name=folder.name, real=real, kinds=KINDS.get(folder.name, ""))
    )
    return f"{about}\n\n{table(found)}\nJudged by\n\n{judged_by(found)}"


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
