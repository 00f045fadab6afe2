# SPDX-License-Identifier: Apache-2.0
"""Phases that follow from magnitudes, from where Griffin-Lim needs few iterations.

Shapes: B batch, T frames, F mel bands, K = N_FFT // 2 + 1 frequencies, G lowest of them, R = B G.
"""

import numpy as np
from numpy.typing import NDArray

from zipvoice.audio.mel import HOP, N_FFT

NUM_GUIDED = 160
"""Frequencies, up to 3.7 kHz, of which mel bands tell single harmonics. The others have random phases, which DistillMOS
prefers (3.87 to 3.75 for copies of nine recordings)."""
ASPECT = np.float32(0.25645 * N_FFT / HOP)
"""γ / (a M): frames by bins of the Gaussian nearest to the Hann window, which has γ = 0.25645 M² (section IV)."""

QUARTER_TURN = np.float32(np.pi / 2)

Floats = NDArray[np.float32]


def first_phase(log_magnitude: Floats) -> Floats:
    """Phases (B, T, K) of log magnitudes (B, T, K) in radians, the same for the same magnitudes in any company.

    Under a Gaussian window the phase has the derivatives of the log magnitude (Průša, Balazs and Søndergaard 2017,
    "A noniterative method for reconstruction of phase from STFT magnitude", eq. 4). They are summed over time along the
    peaks of the spectrum, and over frequency from each peak to the valleys beside it.

    Example:
        >>> first_phase(np.zeros((1, 94, 513), np.float32)).shape
        (1, 94, 513)
    """
    num_frames, num_frequencies = log_magnitude.shape[1:]
    random = np.random.RandomState(0).uniform(0, 2 * np.pi, (num_frames, num_frequencies - NUM_GUIDED))
    phase = np.empty_like(log_magnitude)
    phase[..., NUM_GUIDED:] = random  # of fewer frames, the beginning of those of more
    phase[..., :NUM_GUIDED] = _guided(log_magnitude[..., : NUM_GUIDED + 1])[..., :-1]
    return phase


def _guided(level: Floats) -> Floats:
    """Phases (B, T, G) from log magnitudes (B, T, G)."""
    bins = np.arange(level.shape[-1], dtype=np.float32)
    per_frame = np.gradient(level, axis=2) / ASPECT + QUARTER_TURN * (bins % 4)  # 2π a k / M, but for whole turns
    per_bin = -ASPECT * np.gradient(level, axis=1)
    per_frame[:, 1:] += per_frame[:, :-1]
    per_frame[:, 1:] /= 2  # trapezoids
    across = (np.cumsum(per_bin, axis=2) - per_bin / 2).astype(np.float32, copy=False)
    peak = _peaks(level)
    across -= np.take_along_axis(across, peak, axis=2)
    phase = _along_peaks(per_frame, peak, across)
    return phase - 2 * QUARTER_TURN * (bins % 2)  # from the middle of the window to its beginning


def _along_peaks(per_frame: Floats, peak: NDArray[np.int64], across: Floats) -> Floats:
    """The running sum over time: each frame goes on from what the frame before has at its peaks."""
    batch, num_frames, num_bins = across.shape
    rows = num_bins * np.arange(batch)[:, None, None]
    steps, peaks, offsets = (  # (T, R)
        np.ascontiguousarray(each.swapaxes(0, 1)).reshape(num_frames, -1) for each in (per_frame, peak + rows, across)
    )
    phase = np.zeros_like(offsets)
    for frame in range(num_frames):
        phase[frame] = (phase[frame - 1] + steps[frame]).take(peaks[frame]) + offsets[frame]
    return phase.reshape(num_frames, batch, num_bins).swapaxes(0, 1)


def _peaks(level: Floats) -> NDArray[np.int64]:
    """The bin of the peak on whose slope each bin of (B, T, G) lies."""
    bins = np.arange(level.shape[-1])
    rises = np.diff(level, axis=-1, prepend=-np.inf, append=-np.inf) > 0  # from the bin before
    is_peak = rises[..., :-1] & ~rises[..., 1:]
    below = np.maximum.accumulate(np.where(is_peak, bins, 0), axis=-1)
    above = np.minimum.accumulate(np.where(is_peak, bins, len(bins) - 1)[..., ::-1], axis=-1)[..., ::-1]
    return np.where(rises[..., :-1], above, below)
