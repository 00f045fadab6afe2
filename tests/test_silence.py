# SPDX-License-Identifier: Apache-2.0
import functools
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from zipvoice.audio.files import Audio
from zipvoice.audio.silence import _Clip, _trimmed, fade, remove_silence

DATA = Path(__file__).parent / "data/audio"
WAVES = load_file(DATA / "waves.safetensors")
RECORDS = json.loads((DATA / "waves.json").read_text())


def edges_trimmed(audio, trail_ms=0):
    """What the reference does with speech it has made: no pause is shortened."""
    return _trimmed(_Clip.of(audio), trail_ms)


def square_wave(*parts, rate=1000, loud=8000):
    """Alternating silence and a square wave, in milliseconds, beginning with silence."""
    levels = np.repeat([loud * (k % 2) for k in range(len(parts))], [part * rate // 1000 for part in parts])
    signs = 1 - 2 * (np.arange(len(levels)) % 2)
    return Audio((levels * signs / 32768).astype(np.float32)[None], rate)


@pytest.mark.parametrize(
    "record", [r for r in RECORDS["remove_silence"] if "quirk" not in r], ids=lambda record: record["name"]
)
def test_reference_silence_removal(record):
    audio = Audio(WAVES[f"{record['name']}.wave"], record["sampling_rate"])
    found = (edges_trimmed if record["only_edge"] else remove_silence)(audio, record["trail_sil"])
    expected = WAVES[f"{record['name']}.result"].astype(np.float32) / 32768
    tail = found.samples[:, expected.shape[1] :]  # the reference resamples its tail and may lose two samples of it
    assert found.sampling_rate == audio.sampling_rate and tail.shape[1] <= 2 and not tail.any()
    assert np.array_equal(found.samples[:, : expected.shape[1]], expected)


def by_the_book(levels):
    """The rule for pauses as it is specified, window by window, for a wave at 1000 Hz; all of it if nothing is left."""

    def silent(start):
        return int(math.sqrt(np.mean(np.square(levels[start : start + 1000], dtype=np.int64)))) <= 103

    length = len(levels)
    last = length - 1000
    starts = [s for s in sorted({*range(0, last + 1, 10), last}) if s >= 0 and silent(s)]
    ranges = []
    for start in starts:
        if ranges and start <= ranges[-1][1]:
            ranges[-1][1] = start + 1000
        else:
            ranges.append([start, start + 1000])
    bounds = [0, *(bound for silence in ranges for bound in silence), length]
    sounding = [[a - 1000, b + 1000] for a, b in zip(bounds[::2], bounds[1::2], strict=True) if a < b]
    for this, following in itertools.pairwise(sounding):
        if following[0] < this[1]:
            this[1] = following[0] = (this[1] + following[0]) // 2
    return np.concatenate([levels[max(a, 0) : min(b, length)] for a, b in sounding] or [levels])


@settings(max_examples=60)
@given(st.lists(st.integers(0, 400).map(lambda n: n * 9), min_size=2, max_size=7), st.sampled_from([110, 300, 8000]))
def test_pauses_are_shortened_as_specified(parts, loud):
    parts = [150, 1200, *parts, 1200, 150]  # edges that only lose 50 ms each
    if len(parts) % 2 == 0:
        parts.insert(1, 0)
    audio = square_wave(*parts, loud=loud)
    levels = (audio.samples[0] * 32768).astype(np.int64)
    expected = by_the_book(levels)
    trimmed = edges_trimmed(Audio((expected / 32768).astype(np.float32)[None], 1000))
    assert np.array_equal(remove_silence(audio).samples, trimmed.samples)


@pytest.mark.parametrize(("pause", "left"), [(900, 900), (1500, 1500), (2000, 2000), (2600, 2000), (9000, 2000)])
def test_only_pauses_of_over_two_seconds_are_shortened(pause, left):
    audio = square_wave(0, 500, pause, 500, rate=24000)
    assert remove_silence(audio).seconds == pytest.approx((1000 + left) / 1000, abs=0.011)
    assert edges_trimmed(audio).seconds == audio.seconds


def test_a_tenth_of_a_second_is_left_at_the_edges():
    trimmed = edges_trimmed(square_wave(730, 300, 460, rate=24000))
    assert np.array_equal(trimmed.samples, square_wave(100, 300, 100, rate=24000).samples)


@pytest.mark.parametrize(("level", "left"), [(103, 200), (104, 1100)])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_threshold_is_minus_fifty_decibels_in_the_mean_of_channels(level, left, channels):
    start, speech = square_wave(0, 1000, loud=level), square_wave(0, 100)
    samples = np.concatenate([start.samples, speech.samples], axis=1)
    assert edges_trimmed(Audio(np.repeat(samples, channels, axis=0), 1000)).num_samples == left


@pytest.mark.parametrize(("num_samples", "left"), [(24000, 24000), (24012, 24000), (24013, 24024)])
def test_the_length_is_rounded_to_milliseconds(num_samples, left):
    trimmed = edges_trimmed(Audio(np.full((1, num_samples), 0.5, np.float32), 24000)).samples[0]
    assert trimmed.tolist() == [0.5] * min(num_samples, left) + [0.0] * max(0, left - num_samples)


def test_a_tail_of_silence_is_appended():
    audio = square_wave(0, 500, rate=24000)
    padded = remove_silence(audio, trail_ms=200)
    assert padded.num_samples == audio.num_samples + 4800 and not padded.samples[:, -4800:].any()


def test_samples_become_sixteen_bits_towards_zero():
    values = np.float32([[2.0, 1.0, 0.500049, 3.9 / 32768, -3.9 / 32768, -1.0, -2.0] * 100])
    found = edges_trimmed(Audio(values, 1000))
    assert (found.samples[0, :7] * 32768).tolist() == [32767, 32767, 16385, 3, -3, -32768, -32768]


def test_silence_leaves_a_tenth_of_a_second_or_is_an_error():
    silence = square_wave(800, rate=24000)
    assert edges_trimmed(silence).seconds == 0.1
    with pytest.raises(ValueError, match="never exceeds -50 dBFS"):
        remove_silence(silence)


def test_clicks_too_short_to_count_as_sound_are_not_removed_with_the_pauses():
    audio = square_wave(900, 10, 900, loud=300)
    assert np.array_equal(remove_silence(audio).samples, square_wave(100, 10, 100, loud=300).samples)


@settings(max_examples=100)
@given(
    num_samples=st.integers(0, 60000),
    channels=st.integers(1, 3),
    rate=st.sampled_from([1000, 1999, 8000, 11025, 16000, 22050, 24000, 44100]),
    level=st.sampled_from([0.0, 1e-4, 0.003, 0.1, 10.0, math.nan]),
    only_edge=st.booleans(),
)
def test_any_recording_keeps_something_or_is_a_value_error(num_samples, channels, rate, level, only_edge):
    noise = np.random.default_rng(num_samples).standard_normal((channels, num_samples), np.float32)
    samples = np.float32(level) * noise
    samples[:, : num_samples // 3] *= 0.01
    try:
        found = (edges_trimmed if only_edge else remove_silence)(Audio(samples, rate))
    except ValueError as error:
        assert "use" in str(error)
        return
    assert found.num_channels == channels and found.sampling_rate == rate
    assert 0 < found.num_samples <= num_samples + rate / 2000


def cross_faded(chunks, seconds, rate):
    return functools.reduce(lambda joined, chunk: fade(joined, chunk, int(seconds * rate)), chunks)


@pytest.mark.parametrize("record", RECORDS["cross_fade"], ids=lambda record: record["name"])
def test_reference_cross_fades(record):
    name = record["name"]
    chunks = [WAVES[f"{name}.chunk{k}"] for k in range(record["num_chunks"])]
    found = cross_faded(chunks, record["fade_duration"], record["sample_rate"])
    np.testing.assert_allclose(found, WAVES[f"{name}.result"], atol=1e-6, rtol=0)


@settings(max_examples=50)
@given(st.lists(st.integers(0, 300), min_size=1, max_size=6), st.integers(0, 200))
def test_a_constant_stays_constant(lengths, milliseconds):
    chunks = [np.full((2, length), 0.25, np.float32) for length in lengths]
    expected = lengths[0]
    for length in lengths[1:]:
        expected += length - min(milliseconds, expected, length)
    np.testing.assert_allclose(cross_faded(chunks, milliseconds / 1000, 1000), np.full((2, expected), 0.25))
