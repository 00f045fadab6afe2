# SPDX-License-Identifier: Apache-2.0
"""Add the characters of some texts, and the speaker tags, to the end of a token table.

What the table has keeps its ids, so that a model can be trained on from one that knows the shorter table.

usage: python local/add_tokens.py TABLE.txt LONGER_TABLE.txt LIST.tsv...
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from zipvoice.text.token_table import SPEAKER_TAGS, TokenTable


def main(table: Path, longer_table: Path, lists: Iterable[Path]) -> None:
    lines = [line for path in lists for line in path.read_text(encoding="utf-8").splitlines()]
    characters = sorted({character for line in lines for character in line.split("\t")[1]})
    TokenTable.read(table).extended([*characters, *SPEAKER_TAGS]).write(longer_table)


if __name__ == "__main__":
    source, target, *texts = map(Path, sys.argv[1:])
    main(source, target, texts)
