# SPDX-License-Identifier: Apache-2.0
"""How much fine detail a spectrogram has: what a model smooths away, which opinion scores hardly see.

Legend: T frames, F mel bins.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zipvoice.audio.files import Audio, resample
from zipvoice.audio.mel import SAMPLING_RATE, log_mel
from zipvoice.evaluation.level import evened

VOICED_SHARE = 0.6
"""The louder frames, by the lower half of their bins, pass for voiced."""
FEWEST_FRAMES = 3


@dataclass(frozen=True)
class Detail:
    """Standard deviations of second differences of log-mel in voiced frames, in nats.

    Real recordings have about 0.72 and 0.95; blurred speech has less, noisy speech more.
    """

    in_time: float
    """Over frames."""
    in_frequency: float
    """Over mel bins."""


def detail(audio: Audio) -> Detail:
    """The detail of a recording (channels, N), at any level and rate. Raises ValueError for silence."""
    return mel_detail(log_mel(resample(evened(audio.mono()), SAMPLING_RATE).samples[0]))


def mel_detail(mel: NDArray[np.float32]) -> Detail:
    """The detail of log-mel frames (T, F). Raises ValueError for fewer than three voiced frames.

    Example:
        >>> frames, bins = np.ogrid[:50, :100]
        >>> mel_detail(0.1 * frames + 0.2 * bins)  # a plane bends nowhere
        Detail(in_time=0.0, in_frequency=0.0)
    """
    loudness = mel[:, : mel.shape[1] // 2].mean(axis=1)  # (T,)
    voiced = loudness > np.quantile(loudness, 1 - VOICED_SHARE) if len(mel) else np.zeros(0, bool)
    if np.count_nonzero(voiced[1:-1]) < FEWEST_FRAMES:
        raise ValueError(f"only {np.count_nonzero(voiced)} of {len(mel)} frames are voiced, too few to tell blur")
    return Detail(
        float(np.diff(mel, 2, axis=0)[voiced[1:-1]].std()),
        float(np.diff(mel[voiced], 2, axis=1).std()),
    )
