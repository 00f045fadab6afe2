# SPDX-License-Identifier: Apache-2.0
"""A trained model or vocoder -> a folder to ship: weights in half precision, and what the model is to be spoken with.

usage: python local/package.py RUN FOLDER [NUM_STEPS GUIDANCE_SCALE T_SHIFT]
"""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from zipvoice.audio.vocos import load_vocos, save_vocos
from zipvoice.config import SamplingConfig
from zipvoice.pretrained import load_pretrained, save_pretrained


def main(run: Path, folder: Path, sampling: SamplingConfig | None) -> None:
    if (run / "model.json").is_file():
        pretrained = load_pretrained(run)
        weights = halved(pretrained.model.state_dict())
        save_pretrained(folder, weights, replace(pretrained.file, sampling=sampling, even_pace=True), pretrained.table)
    else:
        save_vocos(load_vocos(run).half(), folder)
    megabytes = (folder / "model.safetensors").stat().st_size / 1e6
    print(f"{folder}: {megabytes:.1f} MB of weights")


def halved(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights in float16, which no weight is too large for."""
    half = {name: value.to(torch.float16) for name, value in weights.items()}
    if broken := [name for name, value in half.items() if not value.isfinite().all()]:
        raise ValueError(f"half precision does not hold {', '.join(broken)}")
    return half


if __name__ == "__main__":
    if len(sys.argv) not in (3, 6):
        sys.exit(__doc__)
    given = sys.argv[3:]
    sampling = SamplingConfig(int(given[0]), float(given[1]), float(given[2])) if given else None
    main(Path(sys.argv[1]), Path(sys.argv[2]), sampling)
