# SPDX-License-Identifier: Apache-2.0
"""A picture of a sound and its words."""

import os
from collections.abc import Sequence
from pathlib import Path

from zipvoice.audio.files import Audio, resample
from zipvoice.audio.mel import HOP, SAMPLING_RATE, log_mel
from zipvoice.audio.words import Word
from zipvoice.files import whole_file

INCHES_PER_SECOND = 1.6


def draw_words(path: str | os.PathLike[str], audio: Audio, words: Sequence[Word]) -> None:
    """Write a picture (PNG, SVG, PDF by the suffix) of the log-mel features, and of each word where it is spoken.

    Raises ImportError, with the install line, without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("pictures need matplotlib: pip install 'zipvoice-tts[evaluation]'") from None
    mel = log_mel(resample(audio.mono(), SAMPLING_RATE).samples[0])
    figure = Figure(figsize=(max(4.0, INCHES_PER_SECOND * audio.seconds), 3.6), layout="constrained")
    axes = figure.subplots()
    half = 0.5 * HOP / SAMPLING_RATE
    end = (2 * len(mel) - 1) * half
    axes.imshow(mel.T, origin="lower", aspect="auto", cmap="magma", extent=(-half, end, 0, mel.shape[1]))
    for word in words:
        axes.axvspan(word.start, word.end, facecolor="none", edgecolor="white", linewidth=0.8)
        axes.text((word.start + word.end) / 2, mel.shape[1] + 2, word.word, ha="center", va="bottom", rotation=45)
    axes.set_xlim(0, audio.seconds)
    axes.set_xlabel("seconds")
    axes.set_ylabel("mel band")
    with whole_file(path) as temporary:
        figure.savefig(temporary, format=Path(path).suffix.lstrip(".") or None)
