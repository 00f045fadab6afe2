# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from reference_models import arguments, reference, reference_tests

from zipvoice.config.model import Vocabulary
from zipvoice.model.condition import Condition, padding_mask
from zipvoice.model.guidance import guided_velocity
from zipvoice.model.sampling import num_generated_frames, sample
from zipvoice.model.solver import euler, time_grid


@pytest.mark.parametrize(("case", "name"), reference_tests("sample"))
def test_sample_equals_reference(case, name):
    given, expected = arguments(case, name)
    options = given["args"]
    features = sample(
        reference(case).model,
        given["tokens"],
        given["prompt_tokens"],
        given["prompt_features"],
        given["prompt_features_lens"],
        num_steps=options["num_step"],
        guidance_scale=options["guidance_scale"],
        t_shift=options["t_shift"],
        speed=options["speed"],
        num_frames=given["features_lens"] if options["duration"] == "real" else None,
        noise=given["noise"],
    )
    assert [len(item) for item in features] == expected["features_lens"].tolist()
    tolerance = max(1e-4, 10 * given["sensitivity"])
    for item, reference_item in zip(features, expected["features"], strict=True):
        torch.testing.assert_close(item, reference_item[: len(item)], atol=tolerance, rtol=0)


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


def test_noise_comes_from_the_generator():
    model = reference("zipvoice_u5").model
    prompt = torch.randn(1, 8, 20, generator=torch.Generator().manual_seed(0))

    def features(seed):
        generator = torch.Generator().manual_seed(seed)
        inputs = ([[1, 2, 3]], [[4, 5]], prompt, [8])
        return sample(model, *inputs, num_steps=1, guidance_scale=0.0, generator=generator)[0]

    assert torch.equal(features(1), features(1))
    assert not torch.equal(features(1), features(2))


def test_temperature_scales_the_noise():
    model = reference("zipvoice_u5").model
    noise = torch.randn(1, 20, 20, generator=torch.Generator().manual_seed(0))

    def features(noise, temperature):
        inputs = ([[1, 2, 3]], [[4, 5]], torch.ones(1, 8, 20), [8])
        options = {"num_steps": 2, "guidance_scale": 0.0, "num_frames": [12]}
        return sample(model, *inputs, noise=noise, temperature=temperature, **options)[0]

    assert torch.equal(features(noise, 0.5), features(0.5 * noise, 1.0))
    assert torch.equal(features(noise, 0.0), features(-noise, 0.0))
    assert not torch.equal(features(noise, 0.0), features(noise, 1.0))


@pytest.mark.parametrize(
    ("tokens", "prompt_tokens", "prompt_frames", "options", "message"),
    [
        ([[]], [[1]], [8], {"num_frames": [4]}, "text 0 of the batch"),
        ([[1]], [[]], [8], {}, "prompt transcript 0 of the batch"),
        ([[1]], [[1]], [0], {}, "prompt has 0 frames"),
        ([[1]], [[]], [8], {"num_frames": [4]}, "prompt transcript 0 of the batch"),
        ([[1] * 5], [[1, 2, 3, 4]], [8], {"num_frames": [0]}, "8 frames"),
        ([[1]], [[1]], [9], {"num_frames": [4]}, "do not fit features of 8 frames"),
        ([[1]], [[1]], [8], {"speed": 0.0}, "speed"),
        ([[1]], [[1]], [8], {"num_steps": 0}, "num_steps"),
        ([[1], [2]], [[1]], [8], {}, "2 texts, 1 prompt transcripts"),
    ],
)
def test_impossible_input(tokens, prompt_tokens, prompt_frames, options, message):
    options = {"num_steps": 1, "guidance_scale": 0.0} | options
    with pytest.raises(ValueError, match=message):
        sample(reference("zipvoice_u5").model, tokens, prompt_tokens, torch.zeros(1, 8, 20), prompt_frames, **options)


def test_slower_speech_has_more_frames():
    assert num_generated_frames(Vocabulary(2), [[1] * 20], [[1] * 10], [50]) == [100]
    assert num_generated_frames(Vocabulary(2), [[1] * 20], [[1] * 10], [50], speed=0.5) == [200]
    timed = Vocabulary(3, durations=(1.0, 0.5, 2.0))
    assert num_generated_frames(timed, [[1] * 20], [[2] * 10], [50]) == [25], "half of the typical durations"
