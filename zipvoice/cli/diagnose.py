# SPDX-License-Identifier: Apache-2.0
"""The command that looks into a training run."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal, cast

import tyro

from zipvoice.cli.parsing import EXIT_ERROR, TOKENIZER, parse
from zipvoice.config.strict_json import read_json
from zipvoice.config.training import RunConfig

if TYPE_CHECKING:
    from zipvoice.data.collate import Batch
    from zipvoice.training.trainer import Trainer


@dataclass(frozen=True)
class Diagnose:
    """Look into a training run, at its newest checkpoint if it has one; nothing is trained or written.

    statistics: what passes through each module, its gradients, and all weights, as a table.
    finite: the first place where a value is infinite or not a number.
    memory: whole training steps on the batches that need most memory; those that do not fit are named.

    Any setting of the run can be given too. Exit status: 0 all is well, 1 something is not, 2 wrong usage.
    """

    what: tyro.conf.Positional[Literal["statistics", "finite", "memory"]]
    """What to look for; the JSON file of the run follows."""
    num_batches: int = 6
    """Batches of training data to look at. For memory, which tries the hardest of them only, give it some hundred."""
    modules: str = ""
    """Show statistics of modules and parameters with this in their names only, such as encoders.0 or norm."""
    run: Annotated[RunConfig, tyro.conf.arg(name="")] = field(default_factory=RunConfig)


def diagnose(arguments: list[str]) -> int:
    what, path, rest = arguments[:1], arguments[1:2], arguments[2:]
    named = bool(path) and not path[0].startswith("-")
    default = Diagnose(tyro.MISSING, run=read_json(RunConfig, path[0]) if named else RunConfig())
    command = parse(Diagnose, "diagnose", what + (rest if named else path + rest), default, TOKENIZER)
    from zipvoice.training.run import at_next_step

    look = {"statistics": _statistics, "finite": _finite, "memory": _memory}[command.what]
    return look(at_next_step(command.run), command)


def _statistics(trainer: "Trainer", command: Diagnose) -> int:
    from zipvoice.training.observation.diagnostics import diagnose, table

    batches = _batches(trainer, command)
    found = diagnose(trainer.model, trainer.objective, batches, trainer.generator, trainer.precision)
    sys.stdout.write(table(item for item in found if command.modules in item.name) + "\n")
    return 0


def _finite(trainer: "Trainer", command: Diagnose) -> int:
    from zipvoice.training.observation.diagnostics import first_non_finite

    batches = _batches(trainer, command)
    fault = first_non_finite(trainer.model, trainer.objective, batches, trainer.generator, trainer.precision)
    sys.stdout.write(f"{fault or f'all values are finite in {command.num_batches} batches'}\n")
    return EXIT_ERROR if fault else 0


def _memory(trainer: "Trainer", command: Diagnose) -> int:
    from zipvoice.training.observation.bad_batches import hardest, longest_permitted, scan

    batches = hardest(_batches(trainer, command))
    batches["the longest permitted utterances"] = longest_permitted(cast(RunConfig, trainer.config))
    trials = scan(
        trainer.model,
        trainer.objective,
        batches,
        trainer.generator,
        trainer.precision,
        tell=lambda trial: sys.stdout.write(f"{trial}\n"),
    )
    return EXIT_ERROR if any(trial.error for trial in trials) else 0


def _batches(trainer: "Trainer", command: Diagnose) -> Iterator["Batch"]:
    return (next(trainer.batches) for _ in range(command.num_batches))
