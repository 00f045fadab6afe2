# SPDX-License-Identifier: Apache-2.0
"""Move a distilled model as its teacher has moved: distilled + (teacher now - teacher then).

A base model that was trained on has a distilled one of before it. The difference that the training made to the teacher
serves the pupil, too (task arithmetic, Ilharco et al., 2023): without a step of distillation it speaks like the new
teacher, and distillation may start from there. What is not distilled, the text encoder, is the teacher's.

usage: python local/move_distilled.py THEN NOW DISTILLED TARGET, model directories or names of models
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from zipvoice.pretrained import load_pretrained, save_pretrained


def main(then: str, now: str, distilled: str, target: Path) -> None:
    before, after, pupil = map(load_pretrained, (then, now, distilled))
    if not before.table == after.table == pupil.table:
        raise ValueError(f"{then}, {now} and {distilled} have different token tables: they are not of one family")
    weights = moved(*(one.model.state_dict() for one in (before, after, pupil)))
    save_pretrained(target, weights, pupil.file, pupil.table)


def moved(before: Mapping[str, Tensor], after: Mapping[str, Tensor], pupil: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the pupil, moved; those that its teacher lacks stay."""
    return {
        name: weight
        if name not in after
        else weight + (after[name] - before[name])
        if name.startswith("fm_decoder.") and weight.is_floating_point()
        else after[name]
        for name, weight in pupil.items()
    }


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*sys.argv[1:4], Path(sys.argv[4]))
