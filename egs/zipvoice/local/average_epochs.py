# SPDX-License-Identifier: Apache-2.0
"""Average the weights of a finished run over its last epochs, from the nearest checkpoint on.

usage: python local/average_epochs.py exp/zipvoice 4
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from zipvoice.config.strict_json import read_json
from zipvoice.config.training import AverageOptions, RunConfig
from zipvoice.training.averaging import average
from zipvoice.training.checkpoint import steps_saved


def main(exp_dir: str, epochs: int) -> None:
    run, steps = read_json(RunConfig, Path(exp_dir) / "run.json"), steps_saved(exp_dir)
    num = intervals(steps, epochs / run.num_epochs, run.save_every)
    path = average(AverageOptions(exp_dir, num=num))
    print(f"{path}: the mean weights of steps {steps[-1 - num]} to {steps[-1]}")


def intervals(steps: Sequence[int], share: float, save_every: int) -> int:
    """How many intervals between checkpoints, counted from the last one, are nearest to a share of all steps.

    Raises ValueError if the checkpoints do not reach back so far.
    """
    wanted = steps[-1] * (1 - share)
    start = min(range(len(steps)), key=lambda i: abs(steps[i] - wanted))
    if abs(steps[start] - wanted) > save_every or start == len(steps) - 1:
        raise ValueError(
            f"there is no checkpoint near step {wanted:.0f} to begin with, only of {', '.join(map(str, steps))}; "
            "train with a larger keep_last"
        )
    return len(steps) - 1 - start


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
