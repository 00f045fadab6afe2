# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
import torch

from zipvoice.audio.files import read
from zipvoice.audio.griffin_lim import _first_phase, griffin_lim
from zipvoice.audio.mel import log_mel

RECORDING = Path(__file__).parent / "data/audio/recording.ogg"


@pytest.fixture(scope="module")
def mel():
    """The features (1, F, T) of one second of speech."""
    return log_mel(read(RECORDING).samples[:, :24000]).transpose(0, 2, 1)


def test_the_copy_of_a_recording_has_its_features(mel):
    copy = log_mel(griffin_lim(mel)).transpose(0, 2, 1)
    error = np.abs(copy - mel[..., : copy.shape[-1]])
    assert error.mean() < 0.06  # 0.5 dB; plain fast Griffin-Lim with fixed magnitudes has 0.09


def test_the_same_mel_gives_the_same_wave_in_any_company(mel):
    before = np.random.get_state()[1].copy()
    alone = griffin_lim(mel)
    pair = griffin_lim(np.concatenate([mel[..., ::-1], mel]))
    assert np.array_equal(np.random.get_state()[1], before)
    np.testing.assert_allclose(pair[1:], alone, atol=1e-4, rtol=0)


def test_the_first_phase_is_that_of_torch():
    """Which drew it before: the sound of a mel stays what it was."""
    turns = torch.rand(9, 513, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(_first_phase(9, 513), torch.polar(torch.ones(9, 513), 2 * torch.pi * turns), atol=1e-6)


@pytest.mark.parametrize("num_frames", [2, 3, 5, 40])
def test_the_length_is_that_of_vocos(mel, num_frames):
    wave = griffin_lim(mel[..., :num_frames])
    assert wave.dtype == np.float32 and wave.shape == (1, (num_frames - 1) * 256)
    assert np.isfinite(wave).all() and np.abs(wave).max() <= 1


def test_ten_times_the_mel_is_ten_times_the_wave(mel):
    np.testing.assert_allclose(griffin_lim(mel - np.log(10)) * 10, griffin_lim(mel), atol=2e-2, rtol=0)


def test_silence_stays_silent():
    assert np.abs(griffin_lim(np.full((1, 100, 20), -23.026, np.float32))).max() < 1e-6


@pytest.mark.parametrize("shape", [(100, 9), (1, 9, 100), (1, 100, 1)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"log-mel \(B, 100, T\) with T at least 2"):
        griffin_lim(np.zeros(shape, np.float32))
