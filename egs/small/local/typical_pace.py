# SPDX-License-Identifier: Apache-2.0
"""Stretch and squeeze the features of recordings until each token is spoken where a model lays it out.

A model of TIMED.txt (token_durations.py) shares the frames of an utterance out in proportion to the typical durations
of its tokens. In a recording at that pace each token then lies beside its own sound, from which a small model learns
sooner what sounds like what. Lengths stay. PHONES.jsonl has the times of phones, as align_phones.py writes them. Left
out are recordings without them, and those whose phones are not what espeak reads in the text.

usage: python local/typical_pace.py TIMED.txt PHONES.jsonl CUTS.jsonl.gz TARGET.jsonl.gz
"""

import sys
from collections import Counter
from pathlib import Path

from anchors import cut_anchors, read_times, stored, typical, warp

from zipvoice.audio.mel import NUM_MELS
from zipvoice.data.cuts import feature_writer, load_features, read_cuts, stored_tokens, write_cuts
from zipvoice.text.token_table import TokenTable


def main(tokens: Path, phones: Path, source: Path, target: Path) -> None:
    table, times, made, left_out = TokenTable.read(tokens), read_times(phones), [], Counter[str]()
    with feature_writer(Path(str(target.absolute()).removesuffix(".jsonl.gz") + ".lca"), "lilcom_chunky") as store:
        for cut in read_cuts(source):
            if cut.id not in times:
                left_out["without times of phones"] += 1
            elif anchors := cut_anchors(cut, times):
                features, durations = load_features(cut, NUM_MELS), typical(table, stored_tokens(cut))
                made.append(stored(store, cut, warp(features, anchors, durations, len(features))))
            else:
                left_out["whose phones do not fit the tokens"] += 1
    write_cuts(target, made)
    counts = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items())) or "none"
    print(f"{target}: {len(made)} recordings; left out: {counts}")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
