# SPDX-License-Identifier: Apache-2.0
"""The level of sound: quiet prompts are raised, and speech is brought to a loudness, or back to their level."""

import math

import numpy as np
from numpy.typing import NDArray

from zipvoice.audio.files import Audio

INAUDIBLE_PEAK = 10 / 32768
"""-70 dBFS: ten steps of 16 bits."""
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


def levelled(speech: Audio, target: float | None, gain: float) -> Audio:
    """Speech at a loudness in LUFS; without one as loud as the recording that `gain` raised.

    Raises ValueError for speech that nobody would hear.
    """
    if target is not None:
        return at_loudness(speech, target)
    kept = (speech.samples / np.float32(gain)).clip(-1, 1)
    if np.abs(kept).max(initial=0) < INAUDIBLE_PEAK:
        raise ValueError(
            "the speech would be next to silent, below -70 dBFS, as the recording of the voice is; leave out "
            "keep_level (--keep-level), or use a louder recording"
        )
    return Audio(kept, speech.sampling_rate)


def at_loudness(audio: Audio, target: float) -> Audio:
    """The sound at a loudness in LUFS, or at the highest that its peaks allow.

    Raises ValueError for silence.

    Example:
        >>> loudness(at_loudness(audio, -20.0))
        -20.0
    """
    level = loudness(audio)
    if level == -math.inf:
        raise ValueError("the model spoke nothing but silence; try another seed, or another recording of the voice")
    peak = float(np.abs(audio.samples).max())
    gain = min(10 ** ((target - level) / 20), HIGHEST_PEAK / peak)
    return Audio(audio.samples * np.float32(gain), audio.sampling_rate)


# ---------------------------------------------------------------- loudness, ITU-R BS.1770-4

BLOCK_SECONDS = 0.4
STEP_SECONDS = 0.1
ABSOLUTE_GATE = -70.0
"""LUFS; blocks up to this are silence."""
RELATIVE_GATE = -10.0
"""LU; blocks so far below the mean of those that are not silent do not count."""
HIGHEST_PEAK = 0.99


def loudness(audio: Audio) -> float:
    """Integrated loudness in LUFS (ITU-R BS.1770-4, EBU R128); minus infinity for silence.

    All channels count alike. A sound shorter than a block of 0.4 s is one block.
    """
    energies = _block_energies(audio)
    loud = energies[_lufs(energies) > ABSOLUTE_GATE]
    if not len(loud):
        return -math.inf
    gate = _lufs(loud.mean()) + RELATIVE_GATE
    return float(_lufs(loud[_lufs(loud) > gate].mean()))


def _lufs(energy: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        return -0.691 + 10 * np.log10(energy)


def _block_energies(audio: Audio) -> NDArray[np.float64]:
    """The weighted energy of each block, summed over channels."""
    step, block = (round(seconds * audio.sampling_rate) for seconds in (STEP_SECONDS, BLOCK_SECONDS))
    energy = np.square(_weighted(audio)).sum(axis=0)
    if len(energy) <= block:
        return energy.mean(keepdims=True)
    total = np.concatenate([[0.0], energy.cumsum()])
    starts = np.arange(0, len(energy) - block + 1, step)
    return (total[starts + block] - total[starts]) / block


def _weighted(audio: Audio) -> NDArray[np.float64]:
    """The waves (channels, N) behind the K-weighting filters, whose responses multiply the spectrum."""
    length = audio.num_samples + audio.sampling_rate  # the second of silence holds what rings after the end
    turn = np.exp(-2j * np.pi * np.arange(length // 2 + 1) / length)
    response = np.prod([np.polyval(b[::-1], turn) / np.polyval(a[::-1], turn) for b, a in _filters(audio)], axis=0)
    spectrum = np.fft.rfft(audio.samples.astype(np.float64), length)
    return np.fft.irfft(spectrum * response, length)[:, : audio.num_samples]


def _filters(audio: Audio) -> list[tuple[list[float], list[float]]]:
    """Coefficients (b, a) of the head's shelf and of the high-pass, for any rate (Brecht De Man, 2018)."""
    gain, middle = 10 ** (3.999843853973347 / 20), 10 ** (0.4996667741545416 * 3.999843853973347 / 20)
    k, q = math.tan(math.pi * 1681.974450955533 / audio.sampling_rate), 0.7071752369554196
    norm = 1 + k / q + k * k
    shelf = [(gain + middle * k / q + k * k) / norm, 2 * (k * k - gain) / norm, (gain - middle * k / q + k * k) / norm]
    poles = [1.0, 2 * (k * k - 1) / norm, (1 - k / q + k * k) / norm]
    k, q = math.tan(math.pi * 38.13547087602444 / audio.sampling_rate), 0.5003270373238773
    norm = 1 + k / q + k * k
    return [(shelf, poles), ([1.0, -2.0, 1.0], [1.0, 2 * (k * k - 1) / norm, (1 - k / q + k * k) / norm])]
