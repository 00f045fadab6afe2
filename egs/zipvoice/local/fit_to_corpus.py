# SPDX-License-Identifier: Apache-2.0
"""Fit a run file to the size of the corpus that it trains on.

The learning rate decays over 1000 * hours ** 0.3 hours of audio, and utterances longer than 99 % of the others are left
out of training. Both figures of the corpus are in the summary that `zipvoice prepare` writes beside the manifest.

usage: python local/fit_to_corpus.py conf/custom.json data/fbank/custom_cuts_train.json data/custom.json
"""

import sys
from dataclasses import replace

from zipvoice.config.strict_json import read_json, write_json
from zipvoice.config.training import RunConfig
from zipvoice.data.prepare import Prepared


def main(run_file: str, summary: str, fitted: str) -> None:
    corpus = read_json(Prepared, summary)
    run = fit(read_json(RunConfig, run_file), corpus.hours, corpus.seconds_99)
    write_json(run, fitted)
    print(f"{fitted}: lr_hours {run.optim.lr_hours:.0f}, max_len {run.data.max_len:g}")


def fit(run: RunConfig, hours: float, seconds_99: float) -> RunConfig:
    """The run with `lr_hours` and `max_len` for a corpus of that size."""
    optim = replace(run.optim, lr_hours=float(round(1000 * hours**0.3)))
    max_len = round(seconds_99 + 0.01, 2)  # it was rounded, and must not leave out the utterance that it was taken from
    return replace(run, optim=optim, data=replace(run.data, max_len=max_len))


if __name__ == "__main__":
    main(*sys.argv[1:])
