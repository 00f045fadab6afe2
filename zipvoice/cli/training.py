# SPDX-License-Identifier: Apache-2.0
"""Commands that make models."""

from zipvoice.cli.parsing import note, parse
from zipvoice.config import AverageOptions, PrepareOptions, RunConfig, read_json


def train(arguments: list[str]) -> None:
    config, rest = _run_file(arguments)
    run = parse(RunConfig, "train CONFIG.json", rest, default=config)
    from zipvoice.training.run import train as run_training

    run_training(run)


def prepare(arguments: list[str]) -> None:
    options = parse(PrepareOptions, "prepare", arguments)
    from zipvoice.training.prepare import prepare as prepare_corpus

    made = prepare_corpus(options)
    skipped = f", {made.skipped} rows left out" if made.skipped else ""
    minutes, longest = 60 * made.hours, made.seconds_99
    note(f"{made.manifest}: {made.utterances} utterances{skipped}, {minutes:.1f} minutes, 99 % up to {longest:.1f} s")


def average(arguments: list[str]) -> None:
    options = parse(AverageOptions, "average", arguments)
    from zipvoice.training.averaging import average as average_checkpoints

    note(f"wrote {average_checkpoints(options)}")


def _run_file(arguments: list[str]) -> tuple[RunConfig, list[str]]:
    """The run that the leading file describes, and the overrides that follow it."""
    if arguments and not arguments[0].startswith("-"):
        return read_json(RunConfig, arguments[0]), arguments[1:]
    return RunConfig(), arguments
