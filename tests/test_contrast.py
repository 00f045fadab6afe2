# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
from tiny_models import FAST, make_synthesizer, resolved, tone

from zipvoice.audio.contrast import MOST, NUM_SMOOTHINGS, contrast_of, with_contrast
from zipvoice.audio.mel import FLOOR, NUM_MELS
from zipvoice.config.synthesis import SamplingConfig, SynthesisOptions


def ripple(height: float, order: int) -> tuple[np.ndarray, float]:
    """Frames (T, F) alike, a cosine over bands, and the share of it that bends: 1:2:1 averaging keeps its shape."""
    wave = np.cos(np.pi * order * (np.arange(NUM_MELS) + 0.5) / NUM_MELS)
    kept = (0.5 + 0.5 * np.cos(np.pi * order / NUM_MELS)) ** NUM_SMOOTHINGS
    return np.tile(height * wave, (8, 1)).astype(np.float32), float(1 - kept)


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


def test_each_channel_has_its_own_contrast():
    (flat, _), (rippled, _) = ripple(0.1, 40), ripple(0.9, 40)
    least = contrast_of(rippled)
    both = with_contrast(np.concatenate([flat, rippled], axis=1), least)
    assert np.array_equal(both, np.concatenate([with_contrast(flat, least), rippled], axis=1))
    assert not np.allclose(both[:, :NUM_MELS], flat)


def test_speech_made_at_once_and_step_by_step_has_the_contrast_of_its_options(tmp_path):
    synthesizer = make_synthesizer(tmp_path)
    synthesizer.feature = replace(synthesizer.feature, scale=10.0)  # its random weights say far too much otherwise
    voice = synthesizer.prompt(tone(0.6), "a low tone")
    plain = resolved(FAST)
    (chunk,) = synthesizer.plan("one two three.", voice, plain)
    (mel,) = synthesizer.mels([chunk], plain)
    asked = replace(plain, contrast=1.3 * contrast_of(mel))
    expected = with_contrast(mel, asked.contrast)
    assert not np.allclose(mel, expected, atol=1e-3)
    (at_once,) = synthesizer.mels([chunk], asked)
    np.testing.assert_allclose(at_once, expected, atol=1e-5)
    (trajectory,) = synthesizer.begin([chunk], [asked.sampling])
    while trajectory.num_steps_left:
        synthesizer.advance([trajectory])
    np.testing.assert_allclose(synthesizer.mel(trajectory), expected, atol=1e-4)


def test_raw_speech_has_the_contrast_that_the_network_gives_it():
    sampling = SamplingConfig(16, 1.0, contrast=0.7)
    assert SynthesisOptions().resolved("zipvoice", sampling).contrast == 0.7
    assert SynthesisOptions(raw=True).resolved("zipvoice", sampling).contrast == 0
    assert SynthesisOptions(raw=True, contrast=0.5).resolved("zipvoice", sampling).contrast == 0.5
