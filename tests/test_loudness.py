# SPDX-License-Identifier: Apache-2.0
import json
import math
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from zipvoice.audio.files import Audio
from zipvoice.audio.loudness import normalize_rms, rms

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


@pytest.mark.parametrize("target", [-0.1, math.nan, math.inf])
def test_impossible_targets_are_refused(target):
    with pytest.raises(ValueError, match="target_rms"):
        normalize_rms(Audio(np.ones((1, 10), np.float32), 24000), target)
