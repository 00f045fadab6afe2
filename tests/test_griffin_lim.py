# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
import torch

from zipvoice.audio.files import read
from zipvoice.audio.griffin_lim import GriffinLim
from zipvoice.audio.mel import LogMel

RECORDING = Path(__file__).parent / "data/audio/recording.ogg"


@pytest.fixture(scope="module")
def mel():
    """The features (1, F, T) of one second of speech."""
    return LogMel()(read(RECORDING).samples[:, :24000]).transpose(1, 2)


def test_the_copy_of_a_recording_has_its_features(mel):
    copy = LogMel()(GriffinLim()(mel)).transpose(1, 2)
    error = (copy - mel[..., : copy.shape[-1]]).abs()
    assert error.mean() < 0.06  # 0.5 dB; plain fast Griffin-Lim with fixed magnitudes has 0.09


def test_the_same_mel_gives_the_same_wave_in_any_company(mel):
    vocoder = GriffinLim()
    torch.manual_seed(1)
    alone = vocoder(mel)
    state = torch.get_rng_state()
    pair = vocoder(torch.cat([mel.flip(-1), mel]))
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(pair[1:], alone, atol=1e-4, rtol=0)


@pytest.mark.parametrize("num_frames", [2, 3, 5, 40])
def test_the_length_is_that_of_vocos(mel, num_frames):
    wave = GriffinLim()(mel[..., :num_frames])
    assert wave.shape == (1, (num_frames - 1) * 256) and wave.isfinite().all() and wave.abs().max() <= 1


def test_ten_times_the_mel_is_ten_times_the_wave(mel):
    louder = mel + torch.tensor(0.1).log()
    torch.testing.assert_close(GriffinLim()(louder) * 10, GriffinLim()(mel), atol=2e-2, rtol=0)


def test_silence_stays_silent():
    assert GriffinLim()(torch.full((1, 100, 20), -23.026)).abs().max() < 1e-6


@pytest.mark.parametrize("shape", [(100, 9), (1, 9, 100), (1, 100, 1)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"log-mel \(B, 100, T\) with T at least 2"):
        GriffinLim()(torch.zeros(shape))
