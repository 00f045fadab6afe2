# SPDX-License-Identifier: Apache-2.0
import copy
import json

import pytest
import torch
from reference_models import CASES, FOLDER, arguments, reference, reference_tests

from zipvoice.config.model import ModelConfig, Vocabulary
from zipvoice.model.condition import Condition, pad_tokens, padding_mask
from zipvoice.model.duration import predicted_frames
from zipvoice.model.zipvoice import ZipVoice

TINY = ModelConfig(
    fm_decoder_downsampling_factor=(1, 2, 1),
    fm_decoder_num_layers=(1, 1, 1),
    fm_decoder_cnn_module_kernel=(3, 3, 3),
    fm_decoder_feedforward_dim=24,
    fm_decoder_dim=16,
    text_encoder_num_layers=1,
    text_encoder_feedforward_dim=24,
    text_encoder_cnn_module_kernel=3,
    text_encoder_dim=12,
    time_embed_dim=8,
    text_embed_dim=8,
    query_head_dim=4,
    value_head_dim=4,
    pos_dim=8,
    feat_dim=10,
)


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize(("case", "name"), reference_tests("velocity"))
def test_velocity_equals_reference(case, name, gradients):
    given, expected = arguments(case, name)
    condition = Condition(given["text_condition"], given["speech_condition"], given.get("padding_mask"))
    with torch.set_grad_enabled(gradients):
        velocity = reference(case).model(given["t"], given["xt"], condition, given.get("guidance_scale"))
    for index, frames in enumerate(given["lens"]):
        torch.testing.assert_close(velocity[index, :frames], expected["velocity"][index, :frames], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("case", "name"), reference_tests("text_embed"))
def test_encoded_text_equals_reference(case, name):
    given, expected = arguments(case, name)
    model = reference(case).model
    text = model.encode_text(*map(torch.from_numpy, pad_tokens(given["tokens"], model.vocabulary.pad_id)))
    for index, ids in enumerate(given["tokens"]):
        torch.testing.assert_close(
            text[index, : len(ids) + 1], expected["embed"][index, : len(ids) + 1], atol=1e-5, rtol=0
        )


@pytest.mark.parametrize(
    ("case", "name"), reference_tests("text_train") + reference_tests("text_predict") + reference_tests("text_real")
)
def test_text_condition_equals_reference(case, name):
    given, expected = arguments(case, name)
    tokens, frames = given["tokens"], given.get("features_lens")
    if "prompt_tokens" in given:
        prompt_frames = given["prompt_features_lens"]
        pairs = zip(prompt_frames, given["prompt_tokens"], tokens, strict=True)
        new = frames or [predicted_frames(n, len(before), len(after), given["speed"]) for n, before, after in pairs]
        tokens = [before + after for before, after in zip(given["prompt_tokens"], tokens, strict=True)]
        frames = [before + after for before, after in zip(prompt_frames, new, strict=True)]
    text = reference(case).model.condition_text(tokens, frames)
    torch.testing.assert_close(text, expected["text_condition"], atol=1e-5, rtol=0)
    assert torch.equal(padding_mask(torch.tensor(frames), max(frames)), expected["padding_mask"])


def test_full_size_parameters_are_the_released_ones():
    known = json.loads((FOLDER / "full_size_shapes.json").read_text())
    base = known["zipvoice"]["state_dict"]
    for variant, description in known.items():
        tokenizer = description["tokenizer"]
        vocabulary = Vocabulary(tokenizer["vocab_size"], 0, tokenizer.get("spk_a_id"), tokenizer.get("spk_b_id"))
        with torch.device("meta"):
            model = ZipVoice(ModelConfig(), vocabulary, variant)
        found = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
        if variant == "zipvoice":
            assert list(found.items()) == [(name, shape) for name, shape in base]
        changes = description.get("same_as_zipvoice_except", {"removed": [], "added": [], "changed": []})
        expected = {name: shape for name, shape in base if name not in changes["removed"]}
        assert found == expected | dict(changes["added"]) | dict(changes["changed"])
        assert sum(parameter.numel() for parameter in model.parameters()) == description["num_parameters"]


@pytest.mark.parametrize("case", CASES)
def test_batch_equals_one_by_one(case):
    """For lengths that are multiples of the largest downsampling factor."""
    model = reference(case).model
    size = model.config.feat_dim
    generator = torch.Generator().manual_seed(0)
    x, text, speech = torch.randn(3, 2, 24, size, generator=generator)
    frames = [24, 16]
    mask = padding_mask(torch.tensor(frames), 24)
    together = model(0.3, x, Condition(text, speech, mask))
    for index, length in enumerate(frames):
        part = slice(index, index + 1), slice(length)
        alone = model(0.3, x[part], Condition(text[part], speech[part]))
        torch.testing.assert_close(together[part], alone, atol=1e-5, rtol=0)


def test_initial_values():
    torch.manual_seed(0)
    model = ZipVoice(TINY, Vocabulary(30, 0, 28, 29), "zipvoice_dialog")
    weights = model.state_dict()
    assert set(weights["fm_decoder.encoders.1.downsample.bias"].tolist()) == {0.0}
    assert all((value == 0.5).all() for name, value in weights.items() if name.endswith("bypass_scale"))
    assert all(value == 1.0 for name, value in weights.items() if name.endswith("log_scale"))
    layer = "fm_decoder.encoders.0.layers.0."
    bounds = {"self_attn1.out_proj": 0.05, "feed_forward2.out_proj": 0.1, "self_attn_weights.in_proj": 4**-0.25}
    for name, scale in bounds.items():
        weight, bias = weights[layer + name + ".weight"], weights[layer + name + ".bias"]
        limit = scale / weight.shape[1] ** 0.5
        assert 0.8 * limit < weight.abs().max() <= limit * 1.0001
        assert bias.abs().max() <= 0.1 * scale
    assert weights["spk_embed.weight"].std().item() == pytest.approx(0.1, rel=0.5)


def test_layers_of_a_stack_start_equal():
    config = ModelConfig(**{**vars(TINY), "text_encoder_num_layers": 3})
    first, *others = ZipVoice(config, Vocabulary(30)).text_encoder.encoders[0].layers
    for other in others:
        assert all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_only_a_distilled_model_takes_a_guidance_scale():
    model = ZipVoice(TINY, Vocabulary(30))
    x = torch.zeros(1, 4, 10)
    with pytest.raises(ValueError, match="distilled"):
        model(0.5, x, Condition(x, x), 1.0)


def test_odd_positional_width():
    with pytest.raises(ValueError, match="even"):
        ZipVoice(ModelConfig(**{**vars(TINY), "pos_dim": 7}), Vocabulary(30))


def test_dialogue_needs_speaker_ids():
    with pytest.raises(ValueError, match="S1"):
        ZipVoice(TINY, Vocabulary(30), "zipvoice_dialog")


def test_unknown_width():
    model = ZipVoice(TINY, Vocabulary(30, 0, 28, 29), "zipvoice_dialog_stereo")
    x = torch.zeros(1, 4, 30)
    with pytest.raises(ValueError, match="50 or 30"):
        model(0.5, x, Condition(x, x))


def test_training_step_is_a_function_of_the_seed():
    model = ZipVoice(TINY, Vocabulary(30)).train()
    twin = copy.deepcopy(model)
    first, second = _gradients(model, seed=1), _gradients(twin, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert model.training_state() == twin.training_state()
    assert any(not torch.equal(a, b) for a, b in zip(first, _gradients(twin, seed=2), strict=True))


def test_half_precision_training_follows_full_precision():
    model = ZipVoice(TINY, Vocabulary(30)).train()
    full = torch.cat([gradient.flatten() for gradient in _gradients(model, seed=1)])
    with torch.autocast("cpu", torch.bfloat16):
        half = torch.cat([gradient.flatten() for gradient in _gradients(model, seed=1)])
    assert torch.nn.functional.cosine_similarity(full, half, dim=0) > 0.99


def test_training_state_survives_a_restart():
    model = ZipVoice(TINY, Vocabulary(30)).train()
    assert set(model.training_state().values()) == {0.25}
    for seed in range(8):
        _gradients(model, seed)
    state = model.training_state()
    assert set(state.values()) == {0.25, 0.025}
    resumed = ZipVoice(TINY, Vocabulary(30)).train()
    resumed.load_state_dict(model.state_dict())
    resumed.load_training_state(state)
    first, second = _gradients(model, seed=9), _gradients(resumed, seed=9)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    with pytest.raises(ValueError, match="another model"):
        resumed.load_training_state({"elsewhere": 0.25})


def test_without_a_batch_count_training_is_deterministic_and_unshaped():
    model = ZipVoice(TINY, Vocabulary(30))
    trained = _gradients(model.train(), seed=0, batch_count=None)
    evaluated = _gradients(model.eval(), seed=0, batch_count=None)
    for a, b in zip(trained, evaluated, strict=True):
        torch.testing.assert_close(a, b)


def _gradients(model, seed, batch_count=500.0):
    model.progress.batch_count = batch_count
    model.zero_grad()
    generator = torch.Generator().manual_seed(seed)
    x, speech = torch.randn(2, 3, 24, 10, generator=generator)
    torch.manual_seed(seed)
    text = model.condition_text([[1, 2, 3], [4, 5], [7] * 6], [24, 13, 9])
    velocity = model(torch.tensor([0.1, 0.4, 0.8]), x, Condition(text, speech, None))
    velocity.square().mean().backward()
    return [parameter.grad.clone() for parameter in model.parameters()]
