# SPDX-License-Identifier: Apache-2.0
"""Write a token table: the one of the released models, or the tokens that the utterances of some manifests have.

usage: python local/token_table.py data/tokens_emilia.txt
       python local/token_table.py data/tokens_custom.txt data/fbank/custom_cuts_train.jsonl.gz...
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from zipvoice.data.cuts import read_cuts, stored_tokens
from zipvoice.text.vocabularies import corpus_table, emilia_table


def main(path: str, manifests: Sequence[str]) -> None:
    table = corpus_table(tokens_of(manifests)) if manifests else emilia_table()
    table.write(path)
    print(f"{path}: {len(table)} tokens")


def tokens_of(manifests: Iterable[str | Path]) -> Iterator[list[str]]:
    """The stored tokens of each utterance. Raises ValueError for one that has none."""
    for manifest in manifests:
        for cut in read_cuts(manifest):
            tokens = stored_tokens(cut)
            if not tokens:
                raise ValueError(f"{manifest}: the utterance {cut.id!r} has no tokens; prepare it with a tokenizer")
            yield tokens


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
