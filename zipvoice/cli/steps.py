# SPDX-License-Identifier: Apache-2.0
"""The command that finds the steps of fast speech."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from zipvoice.cli.parsing import note, parse
from zipvoice.config.synthesis import SolverName, SynthesisOptions

TEXTS = (
    "The birch canoe slid on the smooth planks.",
    "A large size in stockings is hard to sell.",
    "Nobody expected the train to arrive before seven, and so the platform was empty.",
)
"""Of the Harvard sentences (IEEE, 1969) two, and a longer one."""


@dataclass(frozen=True)
class SearchSteps:
    """Find the times at which a model, in a few steps, comes nearest to its exact flow; --fast speaks with them.

    The exact flow takes 128 fine steps from the same noise; nearness is a distance of spectrograms in dB. What is found
    goes into the model.json of the directory once the search is over; the usual settings stay as they are.
    """

    model: tyro.conf.Positional[Path]
    """A model directory."""
    num_steps: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 4
    """Steps of the grid to find."""
    solver: SolverName = "euler"
    """How a step is taken."""
    guidance_interval: tuple[float, float] | None = None
    """First and last time with guidance; by default at all times."""
    guidance_every: int = 1
    """Evaluate the unconditional half of guidance at every 2nd, 3rd ... time only."""
    text: tuple[str, ...] = TEXTS
    """Sentences to speak, in a language of the model."""
    voice: Annotated[tuple[str, ...], tyro.conf.arg(aliases=["-v"])] = ()
    """Voice files or names of voices, each of which speaks all sentences; by default heart."""
    runtime: str = "auto"
    """What computes; see `zipvoice say --help`."""
    device: str | None = None
    """cpu, cuda, cuda:1, mps; by default the best there is."""
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Tell what is found and write nothing."""
    quiet: Annotated[bool, tyro.conf.arg(aliases=["-q"]), tyro.conf.FlagCreatePairsOff] = False
    """No progress on stderr."""


def search_steps(arguments: list[str]) -> None:
    command = parse(SearchSteps, "search-steps", arguments)
    from zipvoice.config.model_file import ModelFile
    from zipvoice.config.strict_json import read_json, write_json
    from zipvoice.synthesis.step_search import Flow, Trial, check_num_steps, search_grid
    from zipvoice.synthesis.synthesizer import load

    check_num_steps(command.num_steps)
    path = command.model / "model.json"
    if not path.is_file() and not command.dry_run:
        raise FileNotFoundError(
            f"{command.model} is not a model directory: it has no model.json; --dry-run takes names of models too"
        )
    synthesizer = load(str(command.model), vocoder="griffin-lim", runtime=command.runtime, device=command.device)
    wanted = {name: getattr(command, name) for name in ("num_steps", "solver", "guidance_interval", "guidance_every")}
    synthesizer.resolved(SynthesisOptions(**wanted))  # refuses what the model cannot do, before the work
    flow = Flow(synthesizer, command.text, command.voice or (None,))
    usual, trials = flow.distance(flow.sampling), 0

    def tell(trial: Trial) -> None:
        nonlocal trials
        trials += 1
        if not command.quiet:
            note(f"{trials:4}  {trial.distance:6.3f} dB  {times(trial.sampling.time_grid)}")

    found = search_grid(flow.distance, replace(flow.sampling, time_grid=None, **wanted), tell)
    sys.stdout.write(
        f"{found.distance:.3f} dB from the exact flow in {command.num_steps} steps of {command.solver}: "
        f"{times(found.sampling.time_grid)}\n{usual:.3f} dB in the usual {flow.sampling.num_steps} of "
        f"{flow.sampling.solver}\n"
    )
    if not command.dry_run:
        write_json(replace(read_json(ModelFile, path), fast=found.sampling), path)
        note(f"wrote {path}; zipvoice say --model {command.model} --fast speaks with it")


def times(grid: tuple[float, ...] | None) -> str:
    """A grid as --time-grid takes it."""
    return " ".join(f"{t:g}" for t in grid or ())
