# SPDX-License-Identifier: Apache-2.0
import json
import math
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny_models import silence

from zipvoice.audio.files import Audio
from zipvoice.audio.loudness import _filters, _weighted, at_loudness, levelled, loudness, normalize_rms, rms

DATA = Path(__file__).parent / "data/audio"
WAVES = load_file(DATA / "waves.safetensors")
RECORDS = [record for record in json.loads((DATA / "waves.json").read_text())["rms_norm"] if record["measured_rms"]]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["name"])
def test_reference_levels(record):
    audio = Audio(WAVES[f"{record['name']}.wave"], 24000)
    raised, gain = normalize_rms(audio, record["target_rms"])
    assert rms(audio) == pytest.approx(record["measured_rms"], abs=1e-6)
    assert gain == pytest.approx(max(1, record["target_rms"] / record["measured_rms"]), rel=1e-6)
    np.testing.assert_allclose(raised.samples, WAVES[f"{record['name']}.result"], atol=1e-6, rtol=0)


def test_a_quiet_recording_reaches_the_target_and_the_gain_undoes_it():
    audio = Audio(0.01 * np.random.default_rng(0).standard_normal((2, 5000), np.float32), 24000)
    raised, gain = normalize_rms(audio, 0.1)
    assert rms(raised) == pytest.approx(0.1, rel=1e-6)
    np.testing.assert_allclose(raised.samples / gain, audio.samples, rtol=1e-6)


@pytest.mark.parametrize("target", [0.0, 0.1, 0.5])
def test_louder_recordings_are_left_alone(target):
    audio = Audio(np.full((1, 100), 0.5, np.float32), 24000)
    raised, gain = normalize_rms(audio, target)
    assert gain == 1 and np.array_equal(raised.samples, audio.samples)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((1, 100), np.float32), "silent"),
        (np.full((1, 100), 1e-9, np.float32), "silent"),
        (np.float32([[0.5, math.nan]]), "NaN"),
        (np.float32([[0.5, math.inf]]), "NaN or infinite"),
        (np.zeros((1, 0), np.float32), "no samples"),
    ],
)
def test_recordings_without_a_level_are_refused(samples, message):
    with pytest.raises(ValueError, match=message):
        normalize_rms(Audio(samples, 24000), 0.1)


@pytest.mark.parametrize(("level", "is_heard"), [(1.01e-6, True), (0.99e-6, False)])
def test_a_recording_has_a_level_above_minus_120_decibels(level, is_heard):
    audio = Audio(np.full((1, 100), level, np.float32), 24000)
    if is_heard:
        assert rms(audio) == pytest.approx(level)
    else:
        with pytest.raises(ValueError, match="silent"):
            rms(audio)


@pytest.mark.parametrize(("level", "is_heard"), [(10.1, True), (9.9, False)])
def test_speech_at_the_level_of_its_recording_is_above_ten_steps_of_16_bits(level, is_heard):
    speech = Audio(np.float32([[0.0, -level / 32768 * 4, 0.0]]), 24000)
    if is_heard:
        assert levelled(speech, None, 4.0).samples.min() == pytest.approx(-level / 32768)
    else:
        with pytest.raises(ValueError, match="next to silent, below -70 dBFS"):
            levelled(speech, None, 4.0)
    assert levelled(Audio(np.float32([[8.0, -8.0]]), 24000), None, 4.0).samples.tolist() == [[1.0, -1.0]]


@pytest.mark.parametrize("target", [-0.1, math.nan, math.inf])
def test_impossible_targets_are_refused(target):
    with pytest.raises(ValueError, match="target_rms"):
        normalize_rms(Audio(np.ones((1, 10), np.float32), 24000), target)


# ---------------------------------------------------------------- loudness


def sine(level_dbfs, seconds=5.0, rate=48000, hertz=997, channels=1):
    wave = 10 ** (level_dbfs / 20) * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return Audio(np.tile(wave.astype(np.float32), (channels, 1)), rate)


@pytest.mark.parametrize("rate", [48000, 44100, 24000, 16000])
def test_a_full_scale_sine_has_the_loudness_of_the_standard(rate):
    assert loudness(sine(0.0, rate=rate)) == pytest.approx(-3.01, abs=0.05)  # BS.1770-4, annex 1
    assert loudness(sine(-23.0, rate=rate, hertz=1000, channels=2)) == pytest.approx(-23.0, abs=0.1)  # EBU Tech 3341, 1


def test_blocks_begin_every_tenth_of_a_second():
    """Of 0.4 s of sound that begin at 0.2 s, blocks of 0.4 s hold 2, 3, 4, 3, 2 and 1 fourths."""
    burst = sine(-10.0, 1.0).samples
    burst[:, : 48000 // 5] = burst[:, 3 * 48000 // 5 :] = 0
    mean = (2 + 3 + 4 + 3 + 2 + 1) / 4 / 6
    assert loudness(Audio(burst, 48000)) == pytest.approx(-13.01 + 10 * math.log10(mean), abs=0.05)


def test_quiet_parts_and_silence_do_not_count():
    parts = [sine(level, seconds, channels=2).samples for level, seconds in ((-36, 3), (-23, 9), (-36, 3))]
    assert loudness(Audio(np.concatenate(parts, axis=1), 48000)) == pytest.approx(-23.0, abs=0.2)  # EBU Tech 3341, 3
    silence = np.zeros((2, 480000), np.float32)
    padded = np.concatenate([silence, *parts, silence], axis=1)
    assert loudness(Audio(padded, 48000)) == pytest.approx(-23.0, abs=0.2), "nor does it bring quiet parts in"
    assert loudness(Audio(silence, 48000)) == -math.inf


@pytest.mark.parametrize(("level", "found"), [(-66.8, -69.81), (-67.2, -math.inf)])
def test_what_is_below_minus_70_lufs_is_silence(level, found):
    assert loudness(sine(level)) == pytest.approx(found, abs=0.05)


def test_low_and_high_sounds_weigh_as_the_filters_say():
    middle = loudness(sine(-20, hertz=997))
    assert loudness(sine(-20, hertz=25)) < middle - 10
    assert loudness(sine(-20, hertz=10000)) == pytest.approx(middle + 3.3, abs=0.2)


@pytest.mark.parametrize("seconds", [0.02, 0.4, 1.0])
def test_the_filters_know_nothing_of_what_comes_later(seconds):
    """They run on spectra; the same ones run from sample to sample."""
    signal = pytest.importorskip("scipy.signal")
    audio = Audio(np.concatenate([silence(0.2).samples, sine(-3, seconds, 24000, 30).samples], axis=1), 24000)
    expected = audio.samples.astype(np.float64)
    for b, a in _filters(audio):
        expected = signal.lfilter(b, a, expected)
    np.testing.assert_allclose(_weighted(audio), expected, atol=1e-4)


@pytest.mark.parametrize("seconds", [0.05, 0.3, 0.4, 0.45, 3.0])
def test_sounds_of_any_length_are_brought_to_a_loudness(seconds):
    assert loudness(at_loudness(sine(-50, seconds, 24000), -20.0)) == pytest.approx(-20, abs=1e-3)


def test_peaks_limit_the_loudness():
    clicks = np.zeros((1, 24000), np.float32)
    clicks[:, ::2400] = 0.1
    raised = at_loudness(Audio(clicks, 24000), -5.0)
    assert np.abs(raised.samples).max() == pytest.approx(0.99)


def test_silence_has_no_loudness_to_be_brought_to():
    with pytest.raises(ValueError, match="nothing but silence"):
        levelled(Audio(np.zeros((1, 24000), np.float32), 24000), -20.0, 1.0)
