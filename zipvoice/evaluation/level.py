# SPDX-License-Identifier: Apache-2.0
"""How loud a recording is before it is judged: silence is refused, levels are evened."""

import numpy as np

from zipvoice.audio.files import Audio

SILENT = 1e-4
"""No recorded sound stays below it: about three steps of 16 bits."""
JUDGED_RMS = 10 ** (-26 / 20)
"""The level, -26 dBFS, at which voices are compared: that of many a recording, at which the encoder parts them best."""


def require_sound(audio: Audio) -> Audio:
    """The recording (channels, N) itself. Raises ValueError for one that is silent: a model scores silence too.

    So it does for samples that are not finite.
    """
    if not np.isfinite(audio.samples).all():
        raise ValueError("the recording has samples that are not finite; write it anew from its source")
    centred = audio.samples - audio.samples.mean(axis=1, keepdims=True) if audio.num_samples else audio.samples
    if np.abs(centred).max(initial=0.0) < SILENT:
        raise ValueError(f"the recording of {audio.seconds:.2f} s is silent; there is nothing to hear")
    return audio


def evened(audio: Audio) -> Audio:
    """The recording (channels, N) at -26 dBFS, made louder or softer as needed. Raises ValueError for silence."""
    rms = float(np.sqrt(np.square(audio.samples, dtype=np.float64).mean())) if audio.num_samples else 0.0
    if rms == 0.0:
        raise ValueError(f"the recording of {audio.seconds:.2f} s is silent; there is nothing to hear")
    return Audio((audio.samples * np.float64(JUDGED_RMS / rms)).astype(np.float32), audio.sampling_rate)
