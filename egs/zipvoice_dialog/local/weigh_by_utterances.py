# SPDX-License-Identifier: Apache-2.0
"""Weigh the training manifests of a run file by the number of their utterances, so that all come to an end together.

A manifest that is read several times in an epoch counts as often. The numbers are in the summaries that
`zipvoice prepare` writes beside the manifests.

usage: python local/weigh_by_utterances.py conf/opendialog.json data/opendialog.json
"""

import sys
from dataclasses import replace
from pathlib import Path

from zipvoice.config.data import ManifestConfig
from zipvoice.config.strict_json import read_json, write_json
from zipvoice.config.training import RunConfig
from zipvoice.data.prepare import Prepared


def main(run_file: str, weighed: str) -> None:
    run = read_json(RunConfig, run_file)
    train = tuple(replace(manifest, weight=utterances_in_epoch(manifest)) for manifest in run.data.train)
    write_json(replace(run, data=replace(run.data, train=train)), weighed)
    print(f"{weighed}: " + ", ".join(f"{manifest.path} weighs {manifest.weight:.0f}" for manifest in train))


def utterances_in_epoch(manifest: ManifestConfig) -> float:
    summary = Path(manifest.path.removesuffix(".jsonl.gz") + ".json")
    return float(read_json(Prepared, summary).utterances * manifest.repeat)


if __name__ == "__main__":
    main(*sys.argv[1:])
