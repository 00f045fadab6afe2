# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest

from zipvoice.audio.files import read
from zipvoice.audio.first_phase import first_phase
from zipvoice.audio.griffin_lim import LOUDEST, _stft, griffin_lim
from zipvoice.audio.mel import N_FFT, frames_of, log_mel, stft, window

RECORDING = Path(__file__).parent / "data/audio/recording.ogg"


@pytest.fixture(scope="module")
def mel():
    """The features (1, F, T) of one second of speech."""
    return log_mel(read(RECORDING).samples[:, :24000]).transpose(0, 2, 1)


def test_the_copy_of_a_recording_has_its_features(mel):
    copy = log_mel(griffin_lim(mel)).transpose(0, 2, 1)
    error = np.abs(copy - mel[..., : copy.shape[-1]])
    assert error.mean() < 0.08  # 0.7 dB; the start alone has 0.48, one iteration 0.17


def test_louder_features_give_the_same_wave_louder(mel):
    """Beyond full scale too: clipped here, loud voices would be distorted before they are levelled."""
    loud, usual = griffin_lim(mel + np.float32(np.log(16))), griffin_lim(mel)
    assert np.abs(loud).max() > 1.5
    np.testing.assert_allclose(loud, 16 * usual, atol=2e-3, rtol=0)


def test_the_loudest_sound_there_can_be_keeps_its_level():
    """A tone of full scale, whose strongest band has half the sum of the window, e ** 5.5."""
    tone = np.sin(2 * np.pi * 1000 / 24000 * np.arange(24000), dtype=np.float32)[None]
    features = log_mel(tone).transpose(0, 2, 1)
    assert features.max() > 5.4
    copy = griffin_lim(features)[0, 4000:20000]
    assert np.sqrt(np.square(copy).mean()) == pytest.approx(0.5**0.5, rel=0.05)


def test_the_same_mel_gives_the_same_wave_in_any_company(mel):
    before = np.random.get_state()[1].copy()
    alone = griffin_lim(mel)
    pair = griffin_lim(np.concatenate([mel[..., ::-1], mel]))
    assert np.array_equal(np.random.get_state()[1], before)
    np.testing.assert_allclose(pair[1:], alone, atol=1e-4, rtol=0)


def turned(phase):
    """Angles within half a turn."""
    return np.angle(np.exp(1j * phase))


def test_the_phase_of_a_tone_turns_with_it():
    """At 20.3 bins it gains 20.3 quarter turns a frame, on both sides of its peak."""
    tone = np.sin(2 * np.pi * 20.3 / N_FFT * np.arange(24000), dtype=np.float32)[None]
    level = np.log(np.abs(stft(tone, "constant")).clip(min=1e-7))
    gained = np.diff(first_phase(level)[0, 4:-4, 19:23], axis=0)
    np.testing.assert_allclose(turned(gained - np.pi / 2 * 20.3), 0, atol=0.1)


def test_the_phase_of_a_click_tells_when_it_is():
    """Of an impulse d samples behind the middle of a frame it falls by 2π d / 1024 from bin to bin."""
    for d in (-100, 0, 60):
        sound = np.zeros((1, 12800), np.float32)
        sound[0, 5120 + d] = 1
        frames = stft(sound, "constant")
        level = np.log(np.abs(frames).clip(min=1e-7)) - 1e-3 * np.abs(np.arange(513) - 80)  # one peak, no ties
        across = np.diff(first_phase(level.astype(np.float32))[0, 20, 20:140])
        middle = turned(across - np.pi)  # the origin of a frame's phases is its beginning
        np.testing.assert_allclose(middle, -2 * np.pi * d / N_FFT, atol=0.12)


def test_the_phases_beyond_the_guided_ones_begin_alike():
    level = np.zeros((2, 9, 513), np.float32)
    np.testing.assert_array_equal(first_phase(level)[:, :5, 160:], first_phase(level[:1, :5])[:, :, 160:].repeat(2, 0))


def test_single_precision_gives_the_spectrum():
    sound = np.random.default_rng(0).standard_normal((1, 4096), np.float32)
    exact = np.fft.rfft(frames_of(sound, "constant").astype(np.float64) * window())
    np.testing.assert_allclose(_stft(sound), exact, atol=1e-3)


@pytest.mark.parametrize("num_frames", [2, 3, 5, 40])
def test_the_length_is_that_of_vocos(mel, num_frames):
    wave = griffin_lim(mel[..., :num_frames])
    assert wave.dtype == np.float32 and wave.shape == (1, (num_frames - 1) * 256)
    assert np.isfinite(wave).all()


def test_ten_times_the_mel_is_ten_times_the_wave(mel):
    np.testing.assert_allclose(griffin_lim(mel - np.log(10)) * 10, griffin_lim(mel), atol=2e-2, rtol=0)


def test_what_no_sound_can_be_is_as_the_loudest():
    wave = griffin_lim(np.full((1, 100, 9), 1000.0, np.float32))
    assert np.isfinite(wave).all() and np.array_equal(wave, griffin_lim(np.full((1, 100, 9), LOUDEST, np.float32)))


def test_silence_stays_silent():
    assert np.abs(griffin_lim(np.full((1, 100, 20), -23.026, np.float32))).max() < 1e-6


@pytest.mark.parametrize("shape", [(100, 9), (1, 9, 100), (1, 100, 1)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"log-mel \(B, 100, T\) with T at least 2"):
        griffin_lim(np.zeros(shape, np.float32))
