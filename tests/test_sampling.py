# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
import torch
from reference_models import arguments, reference, reference_tests, runtime_model

from zipvoice.config.synthesis import SamplingConfig
from zipvoice.model.condition import Condition, padding_mask
from zipvoice.model.duration import predicted_frames
from zipvoice.model.guidance import guided_velocity
from zipvoice.model.solver import euler, time_grid
from zipvoice.synthesis.sampling import advance, begin, begins_unguided, evaluations, sample, share_steps
from zipvoice.synthesis.synthesizer import load

NOISE = np.random.default_rng(0).standard_normal((20, 20), np.float32)
ONES = np.ones((8, 20), np.float32)
NOISE_100 = np.random.default_rng(1).standard_normal((20, 100), np.float32)
ONES_100 = np.ones((8, 100), np.float32)


@pytest.mark.parametrize(("case", "name"), reference_tests("sample"))
def test_sample_equals_reference(case, name):
    given, expected = arguments(case, name)
    options, prompt_frames = given["args"], given["prompt_features_lens"]
    pairs = zip(prompt_frames, given["prompt_tokens"], given["tokens"], strict=True)
    frames = [predicted_frames(n, len(before), len(after), options["speed"]) for n, before, after in pairs]
    frames = given["features_lens"] if options["duration"] == "real" else frames
    features = sample(
        runtime_model(case),
        given["tokens"],
        given["prompt_tokens"],
        [prompt[:n].numpy() for prompt, n in zip(given["prompt_features"], prompt_frames, strict=True)],
        frames,
        list(given["noise"].numpy()),
        SamplingConfig(options["num_step"], options["guidance_scale"], options["t_shift"]),
    )
    assert frames == expected["features_lens"].tolist()
    tolerance = max(1e-4, 10 * given["sensitivity"])
    for item, reference_item in zip(features, expected["features"], strict=True):
        np.testing.assert_allclose(item, reference_item[: len(item)], atol=tolerance, rtol=0)


@pytest.mark.parametrize(("case", "name"), reference_tests("intermediate"))
def test_part_of_the_way_equals_reference(case, name):
    given, expected = arguments(case, name)
    model, frames = reference(case).model, given["features_lens"]
    mask = padding_mask(torch.tensor(frames), max(frames))
    speech = given["features"].masked_fill(given["speech_condition_mask"][:, :, None], 0.0)
    with torch.no_grad():
        condition = Condition(model.condition_text(given["tokens"], frames), speech, mask)
        velocity = guided_velocity(model, given["guidance_scale"])
        times = time_grid(given["num_step"], t_start=given["t_start"], t_end=given["t_end"])
        x = euler(velocity, given["x_start"], condition, times)
    for index, length in enumerate(frames):
        torch.testing.assert_close(x[index, :length], expected["x_end"][index, :length], atol=1e-4, rtol=0)


def test_temperature_scales_the_noise():
    def features(noise, temperature):
        options = SamplingConfig(2, 0.0, temperature=temperature)
        return sample(runtime_model("zipvoice_u5"), [[1, 2, 3]], [[4, 5]], [ONES], [12], [noise], options)[0]

    assert np.array_equal(features(NOISE, 0.5), features(0.5 * NOISE, 1.0))
    assert np.array_equal(features(NOISE, 0.0), features(-NOISE, 0.0))
    assert not np.array_equal(features(NOISE, 0.0), features(NOISE, 1.0))


@pytest.mark.parametrize(
    ("tokens", "prompt_tokens", "num_frames", "num_steps", "message"),
    [
        ([[]], [[1]], [12], 1, "text 0 of the batch"),
        ([[1]], [[]], [12], 1, "prompt transcript 0 of the batch"),
        ([[1] * 5], [[1, 2, 3, 4]], [0], 1, "8 frames"),
        ([[1]], [[1]], [12], 0, "num_steps"),
        ([[1], [2]], [[1]], [12], 1, "zip"),
    ],
)
def test_impossible_input(tokens, prompt_tokens, num_frames, num_steps, message):
    with pytest.raises(ValueError, match=message):
        sample(
            runtime_model("zipvoice_u5"),
            tokens,
            prompt_tokens,
            [ONES],
            num_frames,
            [NOISE],
            SamplingConfig(num_steps, 0.0),
        )


class Counted:
    """A model that counts the rows that its network evaluates."""

    def __init__(self, model):
        self.model, self.scales = model, []

    def __getattr__(self, name):
        return getattr(self.model, name)

    def velocity(self, t, x, condition, guidance_scale):
        self.scales.append(guidance_scale)
        return self.model.velocity(t, x, condition, guidance_scale)


class Rows(Counted):
    """A model that counts the utterances of its evaluations, both halves of guidance."""

    count = 0

    def velocity(self, t, x, condition, guidance_scale):
        self.count += len(x) * (1 if guidance_scale == 0 else 2)
        return self.model.velocity(t, x, condition, guidance_scale)


def given(sampling, model=None):
    return (model or runtime_model("zipvoice_u5"), [[1, 2, 3]], [[4, 5]], [ONES], [12], [NOISE], sampling)


@pytest.mark.parametrize("solver", ["euler", "midpoint", "heun", "adams-bashforth"])
def test_step_by_step_is_the_same_as_at_once(solver):
    sampling = SamplingConfig(3, 1.0, solver=solver, time_grid=(0.0, 0.1, 0.4, 1.0), guidance_interval=(0.05, 0.5))
    (expected,) = sample(*given(sampling))
    *rest, _ = given(sampling)
    (trajectory,) = begin(*rest, [sampling])
    (other,) = begin(*rest, [SamplingConfig(2, 0.5, solver=solver, guidance_interval=(0.05, 0.5))])
    advance(rest[0], [trajectory])
    advance(rest[0], [trajectory, other])
    advance(rest[0], [other, trajectory])
    assert trajectory.num_steps_left == 0
    np.testing.assert_allclose(trajectory.speech(rest[0]), expected, atol=1e-5)


def test_guidance_is_evaluated_in_its_interval_only():
    model = Counted(runtime_model("zipvoice_u5"))
    sample(*given(SamplingConfig(4, 2.0, t_shift=1.0, guidance_interval=(0.25, 0.5)), model))
    assert model.scales == [0.0, 2.0, 2.0, 0.0]
    always = SamplingConfig(4, 2.0, guidance_interval=(0.0, 1.0))
    assert np.array_equal(sample(*given(always))[0], sample(*given(SamplingConfig(4, 2.0)))[0])


def test_the_grid_of_equal_steps_is_euler_to_the_bit():
    grid = SamplingConfig(4, 1.0, time_grid=(0.0, 0.25, 0.5, 0.75, 1.0))
    assert np.array_equal(sample(*given(grid))[0], sample(*given(SamplingConfig(4, 1.0, t_shift=1.0)))[0])


REUSED = SamplingConfig(6, 1.0, solver="adams-bashforth", guidance_every=2)


def test_reused_guidance_step_by_step_is_the_same_as_at_once():
    (expected,) = sample(*given(REUSED))
    *rest, _ = given(REUSED)
    (trajectory,), (other,) = begin(*rest, [REUSED]), begin(*rest, [REUSED])
    for _ in range(6):
        advance(rest[0], [trajectory])
        advance(rest[0], [other])
    np.testing.assert_allclose(trajectory.speech(rest[0]), expected, atol=1e-6)
    assert not np.allclose(expected, sample(*given(replace(REUSED, guidance_every=1)))[0], atol=1e-3)


def test_utterances_that_reuse_guidance_step_together_whenever_they_came():
    """Of unequal length and strength, at steps with and without an unconditional half, each as if it were alone."""
    slower = replace(REUSED, num_steps=7, guidance_scale=2.0, temperature=0.5)
    inputs = [([[9, 8, 7]], [[4, 5]], [ONES], [12], [NOISE]), ([[3, 4]], [[6, 7]], [ONES], [8], [NOISE[:-4]])]
    model = Rows(runtime_model("zipvoice_u5"))
    alone = [sample(model, *one, sampling)[0] for one, sampling in zip(inputs, (REUSED, slower), strict=True)]
    num_alone, model.count = model.count, 0
    (first,), (second,) = begin(model, *inputs[0], [REUSED]), begin(model, *inputs[1], [slower])
    assert share_steps(REUSED, slower)
    together = 0
    advance(model, [first])
    while waiting := [each for each in (second, first) if each.num_steps_left]:
        group = [each for each in waiting if each.reuses_guidance == waiting[0].reuses_guidance]
        together += len(group) == 2
        advance(model, group)
    assert together >= 3
    for trajectory, expected in zip((first, second), alone, strict=True):
        np.testing.assert_allclose(trajectory.speech(model), expected, atol=1e-5)
    assert model.count == num_alone  # nothing is evaluated twice for the sake of the other
    assert not share_steps(*[replace(REUSED, solver="heun")] * 2)  # evaluated twice in a step


@pytest.mark.parametrize(("interval", "expected"), [(None, False), ((0.0, 0.5), False), ((0.1, 0.5), True)])
def test_it_is_known_before_the_first_step_whether_it_has_guidance(interval, expected):
    *rest, sampling = given(replace(REUSED, guidance_interval=interval))
    (trajectory,) = begin(*rest, [sampling])
    assert begins_unguided(sampling) is trajectory.reuses_guidance is expected
    assert not begins_unguided(replace(sampling, guidance_every=1))


def test_reused_guidance_is_the_same_in_both_runtimes():
    utterances = ([[9, 8, 7], [3, 4]], [[4, 5], [6, 7]], [ONES_100, ONES_100], [12, 7], [NOISE_100, NOISE_100])
    graph, network = (
        sample(load("zipvoice_small", runtime=name).model, *utterances, REUSED) for name in ("onnx", "torch")
    )
    for one, other in zip(graph, network, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (SamplingConfig(16, 1.0), 32),
        (SamplingConfig(16, 0.0), 16),
        (SamplingConfig(4, 1.0, solver="heun"), 16),
        (SamplingConfig(4, 1.0, t_shift=1.0, guidance_interval=(0.25, 0.5)), 6),
        (SamplingConfig(8, 1.0, t_shift=1.0, guidance_every=2), 13),  # 8, and at 0, 1/8, 3/8, 5/8, 7/8
    ],
)
def test_evaluations_are_counted(sampling, expected):
    model = Rows(runtime_model("zipvoice_u5"))
    sample(*given(sampling, model))
    assert model.count == expected == evaluations(sampling, is_distilled=False)


def test_a_distilled_model_is_evaluated_once_a_time():
    assert evaluations(SamplingConfig(4, 1.0), is_distilled=True) == 4
    assert evaluations(SamplingConfig(4, 1.0, solver="midpoint"), is_distilled=True) == 8
