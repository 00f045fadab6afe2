# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
from tiny_models import FAST, make_synthesizer, resolved, tone

from zipvoice.audio.mel import FLOOR, NUM_MELS
from zipvoice.audio.postfilter import (
    FEW_FRAMES,
    FIRST_CRISP_BAND,
    MOST,
    NUM_SMOOTHINGS,
    NUM_SPECTRUM_SMOOTHINGS,
    NUM_TIME_SMOOTHINGS,
    contrast_of,
    postfiltered,
    time_contrast_of,
    with_contrast,
    with_spectrum_of,
    with_time_contrast,
)
from zipvoice.config.synthesis import SamplingConfig, SynthesisOptions


def cosine(order: int, length: int) -> np.ndarray:
    """Averaged 1:2:1 with the edges repeated it keeps its shape, and of its height what `kept` tells."""
    return np.cos(np.pi * order * (np.arange(length) + 0.5) / length).astype(np.float32)


def kept(order: int, length: int, times: int) -> float:
    return float((0.5 + 0.5 * np.cos(np.pi * order / length)) ** times)


def ripple(height: float, order: int) -> tuple[np.ndarray, float]:
    """Frames (T, F) alike, a cosine over bands, and the share of it that bends."""
    return np.tile(np.float32(height) * cosine(order, NUM_MELS), (8, 1)), 1 - kept(order, NUM_MELS, NUM_SMOOTHINGS)


def flutter(height: float, order: int, frames: int = 20) -> tuple[np.ndarray, float]:
    """Bands alike above 1.6 kHz, a cosine over time, and the share of it that bends; as still as loud below."""
    mel = np.tile(np.float32(height) * cosine(order, frames)[:, None], (1, NUM_MELS))
    mel[:, :FIRST_CRISP_BAND] = 0
    return mel, 1 - kept(order, frames, NUM_TIME_SMOOTHINGS)


@pytest.mark.parametrize("order", [2, 10, 40, 99])
def test_the_contrast_of_a_ripple(order):
    mel, bends = ripple(0.8, order)
    assert contrast_of(mel) == pytest.approx(0.8 * bends / np.sqrt(2), rel=1e-4)


@pytest.mark.parametrize("order", [20, 40])
def test_what_bends_is_enlarged_to_the_least_contrast(order):
    mel, bends = ripple(0.8, order)
    own = contrast_of(mel)
    raised = with_contrast(mel + 3, 1.5 * own)
    np.testing.assert_allclose(raised, 3 + mel * (1 + 0.5 * bends), atol=1e-5)


def test_more_than_enough_contrast_is_left_and_too_little_at_most_doubled():
    mel, bends = ripple(0.8, 40)
    assert np.array_equal(with_contrast(mel, 0.99 * contrast_of(mel)), mel)
    assert np.array_equal(with_contrast(mel, 0.0), mel)
    np.testing.assert_allclose(with_contrast(mel, 100.0), mel * (1 + (MOST - 1) * bends), atol=1e-5)


def test_quieter_frames_say_nothing_about_contrast():
    mel, _ = ripple(0.8, 40)
    quiet = np.random.default_rng(0).standard_normal((4, NUM_MELS)).astype(np.float32) - 8
    assert contrast_of(np.concatenate([mel, quiet])) == pytest.approx(contrast_of(mel), rel=1e-6)


@pytest.mark.parametrize("order", [4, 10, 19])
def test_what_bends_over_time_is_enlarged_above_the_harmonics(order):
    mel, bends = flutter(0.8, order)
    mel[:, 50:] += 0.1 * cosine(10, 50)  # no matter of this contrast
    louder = mel[:, : NUM_MELS // 2].mean(axis=1)
    fast = (np.float32(0.8) * bends * cosine(order, 20))[louder >= np.sort(louder)[8]]  # of 20 frames the 8th is left
    own = time_contrast_of(mel)
    assert own == pytest.approx(np.sqrt(np.mean(np.square(fast))), rel=1e-4)
    raised = with_time_contrast(mel, 1.5 * own)
    expected = mel + 0.5 * bends * flutter(0.8, order)[0]
    np.testing.assert_allclose(raised, expected, atol=1e-5)
    assert np.array_equal(with_time_contrast(mel, own), mel)
    assert np.array_equal(with_time_contrast(mel, 0.0), mel)
    np.testing.assert_allclose(with_time_contrast(mel, 100.0), 2 * expected - mel, atol=1e-5)  # at most doubled


def test_below_the_first_crisp_band_nothing_is_measured_or_enlarged():
    mel, _ = flutter(0.8, 10)
    still = mel.copy()
    mel[:, :FIRST_CRISP_BAND] += cosine(19, 20)[:, None]
    raised = with_time_contrast(mel, 1.0)
    assert np.array_equal(raised[:, :FIRST_CRISP_BAND], mel[:, :FIRST_CRISP_BAND])
    assert not np.allclose(raised[:, FIRST_CRISP_BAND], mel[:, FIRST_CRISP_BAND])
    assert time_contrast_of(still[:, ::-1]) < time_contrast_of(still)


@pytest.mark.parametrize(("frames", "share"), [(50, 1.0), (50, 0.3), (400, 1.0)])
def test_an_average_spectrum_is_drawn_to_that_of_the_prompt(frames, share):
    order = 12
    own = np.tile(np.linspace(-3, -1, NUM_MELS, dtype=np.float32), (frames, 1))
    prompt = np.tile(own[0] + 0.7 * cosine(order, NUM_MELS) + 2, (30, 1))  # louder, which is none of its matters
    drawn = share * frames / (frames + FEW_FRAMES) * kept(order, NUM_MELS, NUM_SPECTRUM_SMOOTHINGS)
    expected = own + drawn * 0.7 * cosine(order, NUM_MELS)
    np.testing.assert_allclose(with_spectrum_of(own, prompt, share), expected, atol=1e-5)
    assert np.array_equal(with_spectrum_of(own, prompt, 0.0), own)


def test_quieter_frames_say_nothing_about_an_average_spectrum():
    rng = np.random.default_rng(0)
    own, prompt = (rng.standard_normal((50, NUM_MELS)).astype(np.float32) for _ in range(2))
    pause = np.float32(-9) + np.tile(cosine(3, NUM_MELS), (20, 1))
    own[:20], prompt[:20] = pause, pause
    louder = with_spectrum_of(own, prompt, 1.0)
    own[:20] = prompt[:20] = pause[:, ::-1]
    np.testing.assert_allclose(with_spectrum_of(own, prompt, 1.0)[20:], louder[20:], atol=1e-6)
    expected = prompt[20:].mean(axis=0) - own[20:].mean(axis=0)
    expected -= expected.mean()
    for _ in range(NUM_SPECTRUM_SMOOTHINGS):
        expected = np.convolve(np.pad(expected, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
    np.testing.assert_allclose((louder - own)[30], expected * 30 / (30 + FEW_FRAMES), atol=1e-5)


def test_what_was_chosen_by_ear_stays():
    """Other values would give other sounds for the same seed; egs/small/README.md tells how they were found."""
    smoothings = (NUM_SMOOTHINGS, NUM_TIME_SMOOTHINGS, NUM_SPECTRUM_SMOOTHINGS)
    assert (*smoothings, FIRST_CRISP_BAND, FEW_FRAMES, MOST) == (10, 2, 2, 40, 50, 2.0)


@pytest.mark.parametrize(("frames", "louder"), [(1, 1), (2, 1), (5, 3), (6, 4), (7, 4), (11, 7)])
def test_two_frames_in_five_are_the_quieter_ones(frames, louder):
    mel, bends = ripple(1.0, 40)
    heights = np.arange(1, frames + 1, dtype=np.float32)  # the louder, the higher
    mel = heights[:, None] * (mel[:1] + 20)
    found = np.sqrt(np.mean(np.square(heights[-louder:]))) * bends / np.sqrt(2)
    assert contrast_of(mel) == pytest.approx(found, rel=1e-4)
    shuffled = np.random.default_rng(frames).permutation(mel)
    assert contrast_of(shuffled) == pytest.approx(found, rel=1e-4)


def test_nothing_gets_quieter_than_silence():
    mel, _ = ripple(3.0, 40)
    raised = with_contrast(mel + np.float32(np.log(FLOOR)), 100.0)
    assert raised.min() == np.float32(np.log(FLOOR))
    flat = np.full_like(mel, np.log(FLOOR))
    assert with_spectrum_of(flat, mel, 1.0).min() == np.float32(np.log(FLOOR))
    mel, _ = flutter(3.0, 19)
    assert with_time_contrast(mel + np.float32(np.log(FLOOR)), 100.0).min() == np.float32(np.log(FLOOR))


def test_each_channel_has_its_own_contrast_and_spectrum():
    (flat, _), (rippled, _) = ripple(0.1, 40), ripple(0.9, 40)
    least = contrast_of(rippled)
    both = with_contrast(np.concatenate([flat, rippled], axis=1), least)
    assert np.array_equal(both, np.concatenate([with_contrast(flat, least), rippled], axis=1))
    assert not np.allclose(both[:, :NUM_MELS], flat)
    stereo = np.concatenate([flat, rippled], axis=1)
    drawn = with_spectrum_of(stereo, np.concatenate([rippled, rippled], axis=1), 1.0)
    np.testing.assert_allclose(drawn[:, :NUM_MELS], with_spectrum_of(flat, rippled, 1.0), atol=1e-7)
    np.testing.assert_allclose(drawn[:, NUM_MELS:], rippled, atol=1e-6)


def test_the_spectrum_is_matched_before_contrast_is_measured():
    rng = np.random.default_rng(0)
    own, prompt = (rng.standard_normal((40, NUM_MELS)).astype(np.float32) for _ in range(2))
    own *= 0.2
    matched = with_spectrum_of(own, prompt, 0.9)
    expected = with_time_contrast(with_contrast(matched, 0.5), 0.3)
    assert np.array_equal(postfiltered(own, prompt, 0.9, 0.5, 0.3), expected)
    assert not np.allclose(with_spectrum_of(with_time_contrast(with_contrast(own, 0.5), 0.3), prompt, 0.9), expected)


def test_speech_made_at_once_and_step_by_step_is_filtered_by_its_options(tmp_path):
    synthesizer = make_synthesizer(tmp_path)
    synthesizer.feature = replace(synthesizer.feature, scale=10.0)  # its random weights say far too much otherwise
    voice = synthesizer.prompt(tone(0.6), "a low tone")
    plain = resolved(FAST)
    (chunk,) = synthesizer.plan("one two three.", voice, plain)
    (mel,) = synthesizer.mels([chunk], plain)
    contrasts = {"contrast": 1.3 * contrast_of(mel), "time_contrast": 1.3 * time_contrast_of(mel)}
    asked = replace(plain, match_spectrum=0.8, **contrasts)
    expected = postfiltered(mel, voice.features, 0.8, **contrasts)
    assert not np.allclose(mel, expected, atol=1e-3)
    (at_once,) = synthesizer.mels([chunk], asked)
    np.testing.assert_allclose(at_once, expected, atol=1e-5)
    (trajectory,) = synthesizer.begin([chunk], [asked.sampling])
    while trajectory.num_steps_left:
        synthesizer.advance([trajectory])
    np.testing.assert_allclose(synthesizer.mel(chunk, trajectory), expected, atol=1e-4)


def test_raw_speech_is_left_as_the_network_made_it():
    usual = SamplingConfig(16, 1.0, contrast=0.7, time_contrast=0.3, match_spectrum=0.9)
    assert SynthesisOptions().resolved("zipvoice", usual).sampling == usual
    assert SynthesisOptions(raw=True).resolved("zipvoice", usual).sampling == SamplingConfig(16, 1.0)
    assert SynthesisOptions(raw=True, match_spectrum=0.5).resolved("zipvoice", usual).sampling.match_spectrum == 0.5
