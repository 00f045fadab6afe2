# SPDX-License-Identifier: Apache-2.0
"""Commands that make models."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated

import tyro

from zipvoice.cli.parsing import EXIT_INTERRUPTED, SOURCE_FIRST, TOKENIZER, chooses_tokenizer, note, parse, without_flag
from zipvoice.config.data import ManifestConfig, PrepareOptions
from zipvoice.config.strict_json import read_json
from zipvoice.config.text import TokenizerConfig
from zipvoice.config.training import FINE_TUNING, AverageOptions, MergeOptions, RunConfig

if TYPE_CHECKING:
    from zipvoice.training.trainer import StopReason


def train(arguments: list[str]) -> int:
    config, rest = _run_file(arguments)
    run = parse(RunConfig, "train CONFIG.json", rest, default=config, spelled=TOKENIZER, of_run=True)
    from zipvoice.training.run import train as run_training

    return exit_status(run_training(run))


@dataclass(frozen=True)
class FineTune:
    """Fine-tune a model on other data: another voice, another style of speech, another language.

    Any setting of a training run can be given too. The folder of the run becomes a model directory.
    """

    base: tyro.conf.Positional[str]
    """The model: the name of a released one, which is downloaded once, or a model directory."""
    train: tuple[str, ...]
    """Manifests of the data, as `zipvoice prepare` writes them."""
    dev: tuple[str, ...] = ()
    """Manifests of validation data. Samples of what the model makes of it are recorded in TensorBoard."""
    replay: tuple[str, ...] = ()
    """Manifests of data that the model was trained on before, so that it does not forget what it learned there."""
    replay_share: float = 0.2
    """Share of the replayed data among all utterances."""
    run: Annotated[RunConfig, tyro.conf.arg(name="")] = field(default_factory=lambda: FINE_TUNING)


def finetune(arguments: list[str]) -> int:
    command = parse(FineTune, "finetune", arguments, spelled=TOKENIZER, of_run=True)
    if command.run.init_from is not None:
        raise ValueError(f"fine-tuning starts from {command.base}: leave out --init-from {command.run.init_from}")
    from zipvoice.training.run import train as run_training

    replayed = [ManifestConfig(path, replay=command.replay_share / len(command.replay)) for path in command.replay]
    manifests = {"train": (*map(ManifestConfig, command.train), *replayed), "dev": (*map(ManifestConfig, command.dev),)}
    run = replace(command.run, init_from=command.base, data=replace(command.run.data, **manifests))
    if not command.dev and run.sample_every == FINE_TUNING.sample_every:
        run = replace(run, sample_every=0)
    return exit_status(run_training(run))


@dataclass(frozen=True)
class Prepare:
    """Make training data: a manifest of recordings and what they say, with tokens and features where they are wanted.

    A list has a line for each utterance: id, text and audio file with tabs between them, then, optionally, start and
    end in seconds; or the same as JSON, or with the names of the columns in its first line.
    """

    options: Annotated[PrepareOptions, tyro.conf.arg(name="")]


def prepare(arguments: list[str]) -> None:
    reading = Prepare(PrepareOptions(tyro.MISSING, tokenizer=TokenizerConfig()))
    command = parse(Prepare, "prepare", without_flag(arguments, "--source"), reading, TOKENIZER, SOURCE_FIRST)
    options = command.options if chooses_tokenizer(arguments) else replace(command.options, tokenizer=None)
    from zipvoice.data.prepare import prepare as prepare_corpus

    made = prepare_corpus(options)
    skipped = f", {made.skipped} rows left out" if made.skipped else ""
    minutes, longest = 60 * made.hours, made.seconds_99
    note(f"{made.manifest}: {made.utterances} utterances{skipped}, {minutes:.1f} minutes, 99 % up to {longest:.1f} s")


def average(arguments: list[str]) -> None:
    options = parse(AverageOptions, "average", arguments)
    from zipvoice.training.averaging import average as average_checkpoints

    note(f"wrote {average_checkpoints(options)}")


def merge(arguments: list[str]) -> None:
    options = parse(MergeOptions, "merge", arguments)
    from zipvoice.training.lora import merge as merge_adapter

    note(f"wrote {merge_adapter(options)}")


def exit_status(reason: "StopReason") -> int:
    """The exit status of a training run that ended for a reason."""
    return EXIT_INTERRUPTED if reason == "interrupted" else 0


def _run_file(arguments: list[str]) -> tuple[RunConfig, list[str]]:
    """The run that the leading file describes, and the overrides that follow it."""
    if arguments and not arguments[0].startswith("-"):
        return read_json(RunConfig, arguments[0]), arguments[1:]
    return RunConfig(), arguments
