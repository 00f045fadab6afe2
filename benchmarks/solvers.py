# SPDX-License-Identifier: Apache-2.0
"""How far speech in few steps is from the exact flow, for the package's models: solvers, grids, evaluations.

python benchmarks/solvers.py [--models zipvoice_small zipvoice_small_distill] [--search]

Distances of spectrograms in dB to 128 fine steps of Euler's method from the same noise, mean of six sentences. --search
finds grids as `zipvoice search-steps` does, on its own sentences, and measures them on these.
"""

import argparse
import platform
import sys
from collections.abc import Iterator
from dataclasses import replace

from zipvoice.cli.steps import TEXTS, times
from zipvoice.config.synthesis import EPSS_GRIDS, EVALUATIONS, SamplingConfig, SolverName
from zipvoice.synthesis.sampling import evaluations
from zipvoice.synthesis.step_search import Flow, search_grid
from zipvoice.synthesis.synthesizer import load

SENTENCES = (
    "Good morning to you all.",
    "She had your dark suit in greasy wash water all year.",
    "The museum opens at nine, but the garden behind it never closes.",
    "Rice is often served in round bowls.",
    "If it rains tomorrow, we will stay at home and read the letters again.",
    "Four hours of steady work faced us.",
)
SOLVERS: tuple[SolverName, ...] = ("euler", "adams-bashforth", "midpoint", "heun")
STEPS = (2, 3, 4, 6, 8, 16)
HALF = (0.0, 0.5)


def main() -> None:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=["zipvoice_small", "zipvoice_small_distill"])
    parser.add_argument("--search", action="store_true")
    arguments = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    for model in arguments.models:
        measure(model, arguments.search)


def measure(name: str, search: bool) -> None:
    """One table."""
    synthesizer = load(name, runtime="onnx")
    is_distilled = synthesizer.model.description.variant == "zipvoice_distill"
    flow = Flow(synthesizer, SENTENCES)
    print(f"\n{name}\n\n| solver | steps | grid | guidance | evaluations | distance, dB |")
    print("| --- | ---: | --- | --- | ---: | ---: |")
    if fast := synthesizer.model.description.fast:
        row(flow, fast, is_distilled, "fast")
    for sampling in settings(flow.sampling, is_distilled):
        row(flow, sampling, is_distilled)
    if search:
        own = Flow(synthesizer, TEXTS)
        searched: list[tuple[int, SolverName]] = [(3, "euler"), *((n, "adams-bashforth") for n in (3, 4, 6))]
        for num_steps, solver in searched:
            wanted = replace(flow.sampling, num_steps=num_steps, solver=solver)
            row(flow, search_grid(own.distance, wanted, lambda trial: None).sampling, is_distilled, "found")


def settings(usual: SamplingConfig, is_distilled: bool) -> Iterator[SamplingConfig]:
    """The model's own sampling, and what is compared with it."""
    yield usual
    for solver in SOLVERS:
        for num_steps in STEPS:
            if num_steps * EVALUATIONS[solver] <= max(STEPS):
                yield replace(usual, num_steps=num_steps, solver=solver)
    for solver in SOLVERS[:2]:
        for num_steps, grid in EPSS_GRIDS.items():
            yield replace(usual, num_steps=num_steps, solver=solver, time_grid=grid)
        if not is_distilled:
            for num_steps in (4, 6, 8):
                yield replace(usual, num_steps=num_steps, solver=solver, guidance_interval=HALF)
            for every in (2, 3):
                yield replace(usual, num_steps=10, solver=solver, guidance_every=every)


def row(flow: Flow, sampling: SamplingConfig, is_distilled: bool, grid: str = "") -> None:
    """One line of a table, as soon as it is known."""
    interval, every = sampling.guidance_interval, sampling.guidance_every
    told = f"{grid} {times(sampling.time_grid)}".strip() if sampling.time_grid else f"shift {sampling.t_shift:g}"
    when = "always" if interval is None else f"t from {interval[0]:g} to {interval[1]:g}"
    when += f", every {every} steps" if every > 1 else ""
    distance = flow.distance(sampling)
    count = evaluations(sampling, is_distilled)
    sys.stdout.write(f"| {sampling.solver} | {sampling.num_steps} | {told} | {when} | {count} | {distance:.3f} |\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
