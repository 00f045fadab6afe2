# SPDX-License-Identifier: Apache-2.0
"""When the tokens of recordings are spoken, from the times of their phones: recordings from which an aligner learns.

The lines of TIMES.jsonl are those of timed_speech.py. Left out are recordings without times of phones (align_phones.py)
and those whose phones do not fit their tokens.

usage: python local/recorded_times.py TIMED.txt LIST.tsv PHONES.jsonl TIMES.jsonl
"""

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from anchors import Anchors, find_anchors, read_times, typical

from zipvoice.audio.files import read
from zipvoice.config.text import TokenizerConfig
from zipvoice.files import write_text
from zipvoice.text.token_table import TokenTable
from zipvoice.text.tokenizers import build_tokenizer


def main(timed: Path, source: Path, phones: Path, target: Path) -> None:
    table, times, lines = TokenTable.read(timed), read_times(phones), []
    tokenizer = build_tokenizer(TokenizerConfig(type="espeak", language="en-us"), ())
    with source.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if row["id"] in times]
    for row in rows:
        audio = (source.parent / row["audio"]).resolve()
        tokens = tokenizer.tokens(row["text"])
        if anchors := find_anchors(tokens, times[row["id"]], read(audio).seconds):
            made = {"id": row["id"], "audio": str(audio), "text": row["text"], "tokens": spans(table, tokens, anchors)}
            lines.append(json.dumps(made, ensure_ascii=False) + "\n")
    write_text(target, "".join(lines))
    print(f"{target}: {len(lines)} recordings of {len(rows)}")


def spans(table: TokenTable, tokens: Sequence[str], anchors: Anchors) -> list[tuple[str, float, float]]:
    """Start and end of each token: the time between two anchors is shared out by the typical durations."""
    ends = np.concatenate([[0.0], typical(table, tokens).cumsum()])
    laid_out = np.interp(anchors.positions, np.arange(len(ends)), ends)
    edges = np.interp(ends, laid_out, anchors.seconds).round(4).tolist()
    return list(zip(tokens, edges, edges[1:], strict=False))


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
