# SPDX-License-Identifier: Apache-2.0
"""The level of a recording: quiet prompts are raised, and what is generated from them is lowered again."""

import numpy as np

from zipvoice.audio.files import Audio

SILENT_RMS = 1e-6
"""-120 dBFS, a thirtieth of a 16-bit step: below this there is no recording to raise."""


def rms(audio: Audio) -> float:
    """Root mean square over all channels and samples. Raises ValueError for no samples, silence, NaN or infinity."""
    if audio.num_samples == 0:
        raise ValueError("the recording has no samples")
    level = float(np.sqrt(np.mean(np.square(audio.samples, dtype=np.float64))))
    if not SILENT_RMS <= level < float("inf"):
        what = "is silent" if level < SILENT_RMS else "holds NaN or infinite samples"
        raise ValueError(f"the recording {what}; use another one")
    return level


def normalize_rms(audio: Audio, target_rms: float) -> tuple[Audio, float]:
    """The recording raised to `target_rms`, and the gain (at least 1) that raised it.

    Louder recordings are left as they are; a target of 0 leaves all. Speech generated from the result is divided by the
    gain, to be as loud as the recording was. Raises ValueError as `rms` does, and for a negative target.
    """
    if not 0 <= target_rms < float("inf"):
        raise ValueError(f"target_rms must be 0 or positive, got {target_rms}")
    gain = max(1.0, target_rms / rms(audio))
    return Audio(audio.samples * gain, audio.sampling_rate), gain
