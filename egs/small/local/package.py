# SPDX-License-Identifier: Apache-2.0
"""A trained model -> a folder to ship, weights in a byte each and what it is to be spoken with; or a vocoder, in half.

usage: python local/package.py RUN FOLDER [NUM_STEPS GUIDANCE_SCALE T_SHIFT TEMPERATURE]
"""

import sys
from dataclasses import replace
from pathlib import Path

from zipvoice.config.synthesis import SamplingConfig
from zipvoice.pretrained import load_pretrained, save_pretrained
from zipvoice.vocoder.vocos import load_vocos, save_vocos
from zipvoice.weights import pack_int8


def main(run: Path, folder: Path, sampling: SamplingConfig | None) -> None:
    if (run / "model.json").is_file():
        pretrained = load_pretrained(run)
        weights = pack_int8(pretrained.model.state_dict())
        save_pretrained(folder, weights, replace(pretrained.file, sampling=sampling), pretrained.table)
    else:
        save_vocos(load_vocos(run).half(), folder)
    megabytes = (folder / "model.safetensors").stat().st_size / 1e6
    print(f"{folder}: {megabytes:.1f} MB of weights")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 7):
        sys.exit(__doc__)
    given = sys.argv[3:]
    sampling = SamplingConfig(int(given[0]), *map(float, given[1:])) if given else None
    main(Path(sys.argv[1]), Path(sys.argv[2]), sampling)
