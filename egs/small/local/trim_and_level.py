# SPDX-License-Identifier: Apache-2.0
"""Trim the recordings of some lists to the speech in them, and make them all equally loud.

For data/NAME.tsv there are then data/p_NAME.tsv and its recordings in data/audio. What is there already is reused.

usage: python local/trim_and_level.py data/NAME.tsv...
"""

import csv
import sys
from pathlib import Path

import numpy as np

from zipvoice.audio.files import Audio, read, resample, write
from zipvoice.audio.loudness import rms
from zipvoice.audio.mel import SAMPLING_RATE
from zipvoice.config.synthesis import SynthesisOptions
from zipvoice.files import write_text

WINDOW = SAMPLING_RATE // 100
"""Samples of which a level is measured: 10 ms."""
LOUD = 0.95
"""Of all windows this share is quieter than speech at its loudest."""
QUIETEST_DB = -32.0
"""Below that, up to this is still speech."""
MARGIN = SAMPLING_RATE // 25
"""Samples that stay on either side, for the soft beginning and end of words: 40 ms."""
LEVEL = SynthesisOptions.target_rms
"""As of a voice prompt."""
PEAK = 0.99


def main(path: Path) -> None:
    """Write the list and the recordings. Raises ValueError, with its name, for a recording that cannot be used."""
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    for row in rows:
        name, source = row[header.index("id")], row[header.index("audio")]
        audio = f"audio/{name}.flac"
        if not (path.parent / audio).exists():
            write(path.parent / audio, processed(path.parent / source))
        row[header.index("audio")] = audio
    target = path.with_name(f"p_{path.name}")
    write_text(target, "".join("\t".join(row) + "\n" for row in [header, *rows]))
    print(f"{target}: {len(rows)} utterances")


def processed(path: Path) -> Audio:
    try:
        return levelled(trimmed(resample(read(path).mono(), SAMPLING_RATE)))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def trimmed(audio: Audio) -> Audio:
    """One channel at 24 kHz from the first to the last window with speech, and the margins."""
    num_windows = audio.num_samples // WINDOW
    if num_windows == 0:
        raise ValueError("the recording is shorter than 10 ms")
    windows = audio.samples[0, : num_windows * WINDOW].reshape(num_windows, WINDOW)
    level = np.sqrt(np.square(windows).mean(axis=1))
    speech = np.flatnonzero(level >= np.quantile(level, LOUD) * 10 ** (QUIETEST_DB / 20)).tolist()
    start, end = speech[0] * WINDOW - MARGIN, (speech[-1] + 1) * WINDOW + MARGIN
    return Audio(audio.samples[:, max(0, start) : end], audio.sampling_rate)


def levelled(audio: Audio) -> Audio:
    """The recording at the common level, but for peaks that would not fit."""
    return Audio((audio.samples * (LEVEL / rms(audio))).clip(-PEAK, PEAK), audio.sampling_rate)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    try:
        for argument in sys.argv[1:]:
            main(Path(argument))
    except ValueError as error:
        sys.exit(str(error))
