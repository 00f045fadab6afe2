# SPDX-License-Identifier: Apache-2.0
"""A sentence of the teacher's, as it would say it by itself: the recording behind a voice of the package.

usage: python local/teacher_voice.py OUTPUT TEXT [SEED]
"""

import sys
from pathlib import Path

import numpy as np

from zipvoice.audio.files import Audio, write

SAMPLING_RATE = 24_000


def main(output: Path, text: str, seed: int = 1) -> None:
    from hibari import Hibari

    samples = np.asarray(Hibari()(text, seed=seed), np.float32)
    write(output, Audio(samples[None], SAMPLING_RATE))


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:]))
