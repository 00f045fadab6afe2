# SPDX-License-Identifier: Apache-2.0
"""The command that measures how fast a model speaks here."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from zipvoice import builtin
from zipvoice.cli.parsing import note, parse
from zipvoice.cores import num_cores

if TYPE_CHECKING:
    from zipvoice.synthesis.measurement import Measurement


@dataclass(frozen=True)
class Bench:
    """Measure how fast a model speaks on this machine, with each runtime and dtype in a process of its own.

    Beside an evaluation of the network stand its matrix products alone, by NumPy in float32. Times are the best of
    some repetitions, after one that warms up. The cores that it may use are what `taskset` says and OMP_NUM_THREADS.
    """

    model: tyro.conf.Positional[str] = builtin.MODELS[0]
    """A model directory, or the name of a model, as for say."""
    runtime: tuple[str, ...] = ()
    """What computes: torch, onnx, openvino; by default all that are installed."""
    dtype: tuple[str, ...] = ("float32",)
    """Arithmetic of the model: float32, bfloat16, float16, int8, or auto, which the row tells; onnx has float32 and
    int8, openvino float32 and bfloat16."""
    device: str | None = None
    """cpu, cuda, cuda:1, mps; by default the best there is."""
    text: str | None = None
    """A sentence to speak, in a language of the model; by default an English one."""
    repetitions: int = 3
    """Of which the fastest counts."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print a list of rows as JSON instead of a table."""


def bench(arguments: list[str]) -> None:
    command = parse(Bench, "bench", arguments)
    from zipvoice.synthesis.measurement import Measurement, combinations, measure, processor

    pairs = combinations(command.runtime, command.dtype)
    if len(pairs) == 1:
        given = (command.device, command.text, command.repetitions)
        rows = [measure(command.model, *pairs[0], *given)]
    else:
        rows = [Measurement(**_in_its_own_process(command, *pair)) for pair in pairs]
    if command.json:
        sys.stdout.write(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
        return
    note(f"{command.model} on {processor()}, {num_cores()} of {os.cpu_count()} cores")
    sys.stdout.write(table(rows))


def _in_its_own_process(command: Bench, runtime: str, dtype: str) -> dict[str, Any]:
    """A row, measured where nothing else has taken memory. Raises ValueError if that fails, with what it says."""
    note(f"measuring {runtime} in {dtype} ...")
    given = {"--device": command.device, "--text": command.text, "--repetitions": str(command.repetitions)}
    options = [word for name, value in given.items() if value is not None for word in (name, value)]
    line = [command.model, "--runtime", runtime, "--dtype", dtype, *options, "--json"]
    done = subprocess.run([sys.executable, "-m", "zipvoice", "bench", *line], capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"{runtime} in {dtype}: {done.stderr.strip().removeprefix('zipvoice: ')}")
    (row,) = json.loads(done.stdout)
    return dict(row)


def table(rows: Iterable["Measurement"]) -> str:
    """Measurements in columns, with their names above."""
    from zipvoice.synthesis.measurement import Measurement

    names = [each.name for each in fields(Measurement)]
    cells = [names, *([_shown(value) for value in asdict(row).values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) + "\n" for row in cells
    )


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return (
        f"{value:.3g}"
        if isinstance(value, float) and value < 100
        else str(round(value) if isinstance(value, float) else value)
    )
