# SPDX-License-Identifier: Apache-2.0
"""Copies of recordings by vocoders, recording -> mel -> vocoder -> copy, and how close they are.

usage: python local/copy_recordings.py RECORDINGS.tsv FOLDER VOCODER...

The list has the columns id, text and audio file; a vocoder is a folder or `griffin-lim`. FOLDER gets a folder of copies
for each vocoder, one of the recordings themselves, and list.tsv for `zipvoice evaluate`. Wide-band PESQ is measured
where the package pesq is installed.
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

from zipvoice.audio.files import Audio, read, resample
from zipvoice.audio.mel import SAMPLING_RATE, features
from zipvoice.evaluation.mel_distance import mel_distance
from zipvoice.files import write_text
from zipvoice.runtime.base import Vocoder
from zipvoice.runtime.select import load_vocoder

PESQ_RATE = 16_000


def recordings(path: Path, folder: Path) -> dict[str, Audio]:
    """The sound of each line of a list, which is written again as one for `zipvoice evaluate`."""
    rows = [line.split("\t")[:3] for line in path.read_text(encoding="utf-8").splitlines()]
    lines = [f"{name}\t{text}\t{(path.parent / audio).absolute()}\t{text}\n" for name, text, audio in rows]
    write_text(folder / "list.tsv", "".join(lines))
    return {name: resample(read(path.parent / audio).mono(), SAMPLING_RATE) for name, _, audio in rows}


def copy(vocoder: Vocoder, audio: Audio) -> Audio:
    """The recording through the vocoder, less the last fraction of a frame."""
    return Audio(vocoder(features(audio).T[None]), SAMPLING_RATE)


def distances(recording: Audio, copied: Audio) -> dict[str, float]:
    """Figures of one copy."""
    recording = Audio(recording.samples[:, : copied.num_samples], SAMPLING_RATE)
    figures = {"mel distance (dB)": mel_distance(recording, copied)}
    if pesq := _pesq():
        figures["PESQ"] = pesq(PESQ_RATE, _wave(recording), _wave(copied), "wb")
    return figures


def _pesq() -> Callable[..., float] | None:
    try:
        from pesq import pesq
    except ImportError:
        return None
    return pesq  # type: ignore[no-any-return]


def _wave(audio: Audio):  # noqa: ANN202
    return resample(audio, PESQ_RATE).samples[0]


def main(source: str, target: str, names: Sequence[str]) -> None:
    folder = Path(target)
    originals = recordings(Path(source), folder)
    for name, audio in originals.items():
        audio.save(folder / "recordings" / f"{name}.wav")
    for vocoder_name in names:
        vocoder, started = load_vocoder(vocoder_name), time.perf_counter()
        copies = {name: copy(vocoder, audio) for name, audio in originals.items()}
        elapsed = time.perf_counter() - started
        figures = [distances(originals[name], copied) for name, copied in copies.items()]
        means = {key: fmean(row[key] for row in figures) for key in figures[0]}
        means["real-time factor"] = elapsed / sum(audio.seconds for audio in copies.values())
        print(f"{vocoder_name}: " + ", ".join(f"{key} {value:.3f}" for key, value in means.items()), flush=True)
        for name, copied in copies.items():
            copied.save(folder / Path(vocoder_name).name / f"{name}.wav")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
