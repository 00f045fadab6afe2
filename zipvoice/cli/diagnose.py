# SPDX-License-Identifier: Apache-2.0
"""The command that looks into a training run."""

import json
import math
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import tyro

from zipvoice.cli.parsing import EXIT_ERROR, TOKENIZER, parse
from zipvoice.config.strict_json import read_json, write_json
from zipvoice.config.training import RunConfig

if TYPE_CHECKING:
    from zipvoice.data.collate import Batch
    from zipvoice.training.trainer import Trainer


@dataclass(frozen=True)
class Diagnose:
    """Look into a training run, at its newest checkpoint if it has one; nothing is trained or written.

    statistics: what passes through each module, its gradients, and all weights, as a table.
    finite: the first place where a value is infinite or not a number.
    memory: whole training steps, for the largest batches that fit and those of the run that do not.

    Any setting of the run can be given too. Exit status: 0 all is well, 1 something is not, 2 wrong usage.
    """

    what: tyro.conf.Positional[Literal["statistics", "finite", "memory"]]
    """What to look for; the JSON file of the run follows."""
    num_batches: int = 6
    """Batches of training data to look at. For memory, which tries the hardest of them only, give it some hundred."""
    modules: str = ""
    """Show statistics of modules and parameters with this in their names only, such as encoders.0 or norm."""
    memory: float | None = None
    """GiB that training may use, when memory is looked into: by default all that a GPU has, or 80 % of what the machine
    has left."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Write the settings of the run with the largest data.max_duration that fits to this file."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the largest data.max_duration that fits as JSON (max_duration, and fits for that of the run); trials go to
    standard error."""
    run: Annotated[RunConfig, tyro.conf.arg(name="")] = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        if self.memory is not None and not self.memory > 0:
            raise ValueError(f"--memory must be above 0, not {self.memory:g}")
        if self.num_batches < 1:
            raise ValueError(f"--num-batches must be at least 1, not {self.num_batches}")


def diagnose(arguments: list[str]) -> int:
    what, path, rest = arguments[:1], arguments[1:2], arguments[2:]
    named = bool(path) and not path[0].startswith("-")
    default = Diagnose(tyro.MISSING, run=read_json(RunConfig, path[0]) if named else RunConfig())
    command = parse(Diagnose, "diagnose", what + (rest if named else path + rest), default, TOKENIZER, of_run=True)
    from zipvoice.training.run import at_next_step

    look = {"statistics": _statistics, "finite": _finite, "memory": _memory}[command.what]
    return look(at_next_step(command.run), command)


def _statistics(trainer: "Trainer", command: Diagnose) -> int:
    from zipvoice.training.observation.diagnostics import diagnose, table

    batches = _batches(trainer, command)
    found = diagnose(trainer.model, trainer.objective, batches, trainer.generator, trainer.precision)
    chosen = [item for item in found if command.modules in item.name]
    if not chosen:
        outermost = dict.fromkeys(item.name.split(".")[0] for item in found)
        raise ValueError(f"no module has {command.modules!r} in its name (--modules); there are {', '.join(outermost)}")
    sys.stdout.write(table(chosen) + "\n")
    return 0


def _finite(trainer: "Trainer", command: Diagnose) -> int:
    from zipvoice.training.observation.diagnostics import first_non_finite

    batches = _batches(trainer, command)
    fault = first_non_finite(trainer.model, trainer.objective, batches, trainer.generator, trainer.precision)
    sys.stdout.write(f"{fault or f'all values are finite in {command.num_batches} batches'}\n")
    return EXIT_ERROR if fault else 0


def _memory(trainer: "Trainer", command: Diagnose) -> int:
    from zipvoice.training.observation.memory import Trials, hardest, largest_duration, longest_permitted, scan

    config, limit = cast(RunConfig, trainer.config), _limit(trainer, command)
    say = sys.stderr.write if command.json else sys.stdout.write
    attempt = Trials(
        trainer.model,
        trainer.objective,
        trainer.generator,
        trainer.precision,
        limit,
        tell=lambda trial: say(f"{trial}\n"),
    )
    found = largest_duration(config, attempt, limit)
    fits = found is not None and found >= config.data.max_duration
    if fits or limit == math.inf:  # else the machine would be out of memory
        batches = hardest(_batches(trainer, command))
        batches["the longest permitted utterances"] = longest_permitted(config)
        fits = not any(trial.error for trial in scan(attempt, batches))
    _report(found, fits, command, say)
    return 0 if fits else EXIT_ERROR


def _limit(trainer: "Trainer", command: Diagnose) -> float:
    from zipvoice.training.observation.memory import memory_limit

    return memory_limit(trainer.device) if command.memory is None else command.memory * 2**30


def _report(found: float | None, fits: bool, command: Diagnose, say: Callable[[str], object]) -> None:
    """Say, print and write the largest batches that fit."""
    data, path = command.run.data, command.output
    if command.json:
        sys.stdout.write(json.dumps({"max_duration": found, "fits": fits}) + "\n")
    if found is None:
        say(f"not even one utterance of {data.max_len:g} s fits. {RunConfig.memory_advice}\n")
        return
    say(f"the run's data.max_duration, {data.max_duration:g} s, {'fits' if fits else 'does not fit'}\n")
    remedy = f"with --data.max-duration {found:g}"
    if path is not None:
        write_json(replace(command.run, data=replace(data, max_duration=found)), path)
        remedy = f"zipvoice train {shlex.quote(str(path))}"
    say(f"the largest data.max_duration that fits: {found:g} s ({remedy})\n")


def _batches(trainer: "Trainer", command: Diagnose) -> Iterator["Batch"]:
    return (next(trainer.batches) for _ in range(command.num_batches))
