# SPDX-License-Identifier: Apache-2.0
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from zipvoice.audio.files import Audio
from zipvoice.audio.mel import FLOOR, LogMel, features, mel_filterbank, num_frames

REFERENCE = load_file(Path(__file__).parent / "data/audio/features.safetensors")
LOG_MEL = LogMel()


@pytest.mark.parametrize("name", ["vowel", "noise", "short"])
def test_reference_features(name):
    mel = LOG_MEL(REFERENCE[f"{name}.wave"])
    torch.testing.assert_close(mel, REFERENCE[f"{name}.features"], atol=2e-4, rtol=0)


def test_a_sine_has_its_published_values():
    sine = 0.5 * torch.sin(2 * math.pi * 440 * torch.arange(24000, dtype=torch.float64) / 24000).float()
    mel = LOG_MEL(sine)
    assert mel.shape == (94, 100) and mel.dtype == torch.float32
    expected = {(0, 14): 4.0145, (10, 0): -5.7997, (10, 14): 1.2720, (10, 50): -8.3536, (50, 15): 3.9778}
    for place, value in expected.items():
        assert mel[place].item() == pytest.approx(value, abs=2e-3)
    assert mel[10].argmax() == 16 and mel.mean().item() == pytest.approx(-7.1355, abs=2e-3)


def test_silence_is_the_floor():
    torch.testing.assert_close(LOG_MEL(torch.zeros(1000)), torch.full((4, 100), math.log(FLOOR)))


def test_twice_the_wave_is_log_two_more():
    wave = REFERENCE["noise.wave"]
    torch.testing.assert_close(LOG_MEL(2 * wave), LOG_MEL(wave) + math.log(2), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("samples", "frames"), [(513, 2), (639, 2), (640, 3), (896, 4), (5247, 20), (240000, 938)])
def test_reference_frame_counts(samples, frames):
    assert num_frames(samples) == frames


@settings(max_examples=40, deadline=None)
@given(st.integers(513, 20000), st.lists(st.integers(1, 3), max_size=2))
def test_any_leading_shape_gives_the_features_of_each_wave(num_samples, shape):
    waves = torch.randn(*shape, num_samples, generator=torch.Generator().manual_seed(num_samples))
    mel = LOG_MEL(waves)
    assert mel.shape == (*shape, math.floor(num_samples / 256 + 0.5), 100)
    one_by_one = torch.stack([LOG_MEL(wave) for wave in waves.reshape(-1, num_samples)])
    torch.testing.assert_close(mel.reshape(one_by_one.shape), one_by_one, atol=1e-4, rtol=0)


@pytest.mark.parametrize("num_samples", [0, 1, 512])
def test_too_short_a_clip_is_refused(num_samples):
    with pytest.raises(ValueError, match=f"more than 512 samples, got {num_samples}"):
        LOG_MEL(torch.zeros(1, num_samples))


def test_neighbouring_filters_add_up_to_one():
    filters = mel_filterbank()
    highest = 2595 * math.log10(1 + 12000 / 700)
    first_peak, last_peak = (700 * (10 ** (highest * k / 101 / 2595) - 1) for k in (1, 100))
    hertz = torch.linspace(0, 12000, 513)
    between = (hertz >= first_peak) & (hertz <= last_peak)
    torch.testing.assert_close(filters[between].sum(dim=1), torch.ones(int(between.sum())))
    assert filters.shape == (513, 100) and (filters >= 0).all() and (filters > 0).any(dim=0).all()


def test_the_gradient_is_that_of_finite_differences():
    log_mel = LogMel().double()
    wave = REFERENCE["short.wave"][:600].double()
    slope, step = torch.randn(600, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), 1e-7
    _, gradient = torch.autograd.functional.vjp(lambda x: log_mel(x).sum(), wave)
    difference = (log_mel(wave + step * slope).sum() - log_mel(wave - step * slope).sum()) / (2 * step)
    torch.testing.assert_close(gradient @ slope, difference, rtol=1e-4, atol=0)


@pytest.mark.filterwarnings("ignore")  # a trace warns of the check of the length
def test_its_trace_gives_the_same_features_at_any_length():
    trace = torch.jit.trace(LOG_MEL, torch.zeros(1, 2000))
    wave = REFERENCE["vowel.wave"][None]
    torch.testing.assert_close(trace(wave), LOG_MEL(wave))


@pytest.mark.parametrize(("model_channels", "channels"), [(1, 1), (1, 2), (1, 3), (2, 2)])
def test_reference_channels(model_channels, channels):
    audio = Audio(REFERENCE["channels.wave"][:channels], 24000)
    expected = REFERENCE[f"channels.extractor{model_channels}.input{channels}"]
    torch.testing.assert_close(features(LOG_MEL, audio, model_channels), expected, atol=2e-4, rtol=0)


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
        features(LOG_MEL, Audio(torch.zeros(channels, 5000), rate), model_channels)
