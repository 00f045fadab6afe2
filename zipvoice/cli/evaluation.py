# SPDX-License-Identifier: Apache-2.0
"""The command that scores speech."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from zipvoice.cli.parsing import parse


@dataclass(frozen=True)
class Evaluate:
    """Score folders of speech against the list they say: intelligibility, voice, quality. English only."""

    list: tyro.conf.Positional[Path]
    """The list that `zipvoice batch` spoke: TSV (name, transcript, recording, text) or JSON lines."""
    folders: tyro.conf.Positional[tuple[Path, ...]]
    """Folders with a recording {name}.wav (or .flac, .ogg, .opus, .mp3) of each line."""
    metrics: tuple[str, ...] = ("closed_set", "wer", "similarity", "dnsmos")
    """closed_set: share of recordings for which a recogniser picks the right one of twenty sentences; wer: word error
    rate of the same recogniser when told nothing; similarity: to the voice of the prompt; dnsmos: predicted opinion."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""


def evaluate(arguments: list[str]) -> None:
    command = parse(Evaluate, "evaluate", arguments)
    from zipvoice.evaluation.scores import Expected, score, table
    from zipvoice.utterances import read_list

    expected = []
    for number, utterance in read_list(command.list).items():
        if not isinstance(utterance.ref_audio, str):
            raise ValueError(f"{command.list}, line {number}: dialogues of two recordings cannot be scored yet")
        expected.append(Expected(utterance.id, utterance.text, Path(utterance.ref_audio)))
    scores = {str(folder): score(expected, folder, command.metrics) for folder in command.folders}
    shown = json.dumps({name: asdict(one) for name, one in scores.items()}) + "\n" if command.json else table(scores)
    sys.stdout.write(shown)
