# SPDX-License-Identifier: Apache-2.0
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from zipvoice.audio.files import Audio
from zipvoice.audio.mel import FLOOR, features, log_mel, mel_filterbank, num_frames
from zipvoice.vocoder.log_mel import LogMel

REFERENCE = load_file(Path(__file__).parent / "data/audio/features.safetensors")
MODULE = LogMel()


def torch_log_mel(samples):
    return MODULE(torch.from_numpy(samples)).numpy()


both = pytest.mark.parametrize("log_mel", [log_mel, torch_log_mel], ids=["numpy", "torch"])


@both
@pytest.mark.parametrize("name", ["vowel", "noise", "short"])
def test_reference_features(log_mel, name):
    np.testing.assert_allclose(log_mel(REFERENCE[f"{name}.wave"]), REFERENCE[f"{name}.features"], atol=1e-4, rtol=0)


@both
def test_a_sine_has_its_published_values(log_mel):
    """Around its frequency; bins far from it hold nothing but the rounding of a processor's Fourier transform."""
    mel = log_mel((0.5 * np.sin(2 * math.pi * 440 * np.arange(24000) / 24000)).astype(np.float32))
    assert mel.shape == (94, 100) and mel.dtype == np.float32
    for place, value in {(0, 14): 4.0145, (10, 14): 1.2720, (50, 15): 3.9778}.items():
        assert mel[place] == pytest.approx(value, abs=1e-3)
    assert mel[10].argmax() == 16 and (mel[5:-5, 30:] < -5).all()


@both
def test_silence_is_the_floor(log_mel):
    np.testing.assert_allclose(log_mel(np.zeros(1000, np.float32)), np.full((4, 100), math.log(FLOOR)), rtol=1e-6)


@both
def test_twice_the_wave_is_log_two_more(log_mel):
    wave = REFERENCE["noise.wave"]
    np.testing.assert_allclose(log_mel(2 * wave), log_mel(wave) + math.log(2), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("samples", "frames"), [(513, 2), (639, 2), (640, 3), (896, 4), (5247, 20), (240000, 938)])
def test_reference_frame_counts(samples, frames):
    assert num_frames(samples) == frames


@settings(max_examples=40)
@given(st.integers(513, 20000), st.lists(st.integers(1, 3), max_size=2))
def test_any_leading_shape_gives_the_features_of_each_wave_in_both_forms(num_samples, shape):
    waves = np.random.default_rng(num_samples).standard_normal((*shape, num_samples), np.float32)
    mel = log_mel(waves)
    assert mel.shape == (*shape, math.floor(num_samples / 256 + 0.5), 100)
    one_by_one = np.stack([log_mel(wave) for wave in waves.reshape(-1, num_samples)])
    np.testing.assert_allclose(mel.reshape(one_by_one.shape), one_by_one, atol=1e-4, rtol=0)
    # As magnitudes: the logarithm of a bin that nearly cancels out magnifies the rounding of its terms.
    np.testing.assert_allclose(np.exp(mel), np.exp(torch_log_mel(waves)), rtol=1e-4, atol=1e-5)


@both
@pytest.mark.parametrize("num_samples", [0, 1, 512])
def test_too_short_a_clip_is_refused(log_mel, num_samples):
    with pytest.raises(ValueError, match=f"more than 512 samples, got {num_samples}"):
        log_mel(np.zeros((1, num_samples), np.float32))


def test_neighbouring_filters_add_up_to_one():
    filters = mel_filterbank()
    highest = 2595 * math.log10(1 + 12000 / 700)
    first_peak, last_peak = (700 * (10 ** (highest * k / 101 / 2595) - 1) for k in (1, 100))
    hertz = np.linspace(0, 12000, 513)
    between = (hertz >= first_peak) & (hertz <= last_peak)
    np.testing.assert_allclose(filters[between].sum(axis=1), 1, rtol=1e-6)
    assert filters.shape == (513, 100) and (filters >= 0).all() and (filters > 0).any(axis=0).all()


def test_the_gradient_is_that_of_finite_differences():
    log_mel = LogMel().double()
    wave = torch.from_numpy(REFERENCE["short.wave"][:600]).double()
    slope, step = torch.randn(600, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), 1e-7
    _, gradient = torch.autograd.functional.vjp(lambda x: log_mel(x).sum(), wave)
    difference = (log_mel(wave + step * slope).sum() - log_mel(wave - step * slope).sum()) / (2 * step)
    torch.testing.assert_close(gradient @ slope, difference, rtol=1e-4, atol=0)


@pytest.mark.filterwarnings("ignore")  # a trace warns of the check of the length
def test_its_trace_gives_the_same_features_at_any_length():
    trace = torch.jit.trace(MODULE, torch.zeros(1, 2000))
    wave = torch.from_numpy(REFERENCE["vowel.wave"][None])
    torch.testing.assert_close(trace(wave), MODULE(wave))


@pytest.mark.parametrize(("model_channels", "channels"), [(1, 1), (1, 2), (1, 3), (2, 2)])
def test_reference_channels(model_channels, channels):
    audio = Audio(REFERENCE["channels.wave"][:channels], 24000)
    expected = REFERENCE[f"channels.extractor{model_channels}.input{channels}"]
    np.testing.assert_allclose(features(audio, model_channels), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("model_channels", "channels", "rate", "message"),
    [
        (2, 1, 24000, "takes audio of 2 channels, got 1"),
        (2, 3, 24000, "takes audio of 2 channels, got 3"),
        (1, 4, 24000, "takes audio of 1, 2, 3 channels, got 4"),
        (3, 3, 24000, "one or two channels, not 3"),
        (1, 1, 16000, "24000 Hz, got 16000 Hz; resample"),
    ],
)
def test_recordings_that_do_not_fit_the_model_are_refused(model_channels, channels, rate, message):
    with pytest.raises(ValueError, match=message):
        features(Audio(np.zeros((channels, 5000), np.float32), rate), model_channels)
