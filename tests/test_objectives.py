# SPDX-License-Identifier: Apache-2.0
import copy
import json
from dataclasses import asdict, replace
from inspect import signature
from pathlib import Path

import pytest
import torch
from reference_models import reference
from safetensors.torch import load_file

from zipvoice.config.training import ObjectiveConfig
from zipvoice.data.collate import Batch
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.training import objectives
from zipvoice.training.backward_distillation import BackwardDistillation
from zipvoice.training.mean_flow import MeanFlow
from zipvoice.training.objectives import (
    BASE_MASK,
    DIALOG_MASK,
    ConditionMask,
    Distillation,
    DistillationDraws,
    Draws,
    FlowMatching,
    StereoFlowMatching,
    both_speaking,
    condition,
    interpolate,
    mean_over,
    speech_threshold,
    validation_times,
)

DATA = Path(__file__).parent / "data"
REFERENCE = json.loads((DATA / "losses" / "losses.json").read_text())
VECTORS = load_file(DATA / "losses" / "losses.safetensors")


def cases(kind):
    return [pytest.param(case, id=case["name"]) for case in REFERENCE["tests"] if case["kind"] == kind]


def reference_model(name, scale=1.0):
    """A copy of a reference network, all its weights multiplied by `scale`."""
    model = copy.deepcopy(reference(name).model)
    model.load_state_dict({key: value * scale for key, value in reference(name).weights.items()})
    return model


def batch_of(case):
    names = [str(number) for number in range(len(case["tokens"]))]
    features = VECTORS[f"{case['name']}.features"]
    return Batch(features, torch.tensor(case["features_lens"]), case["tokens"], names, names)


def tensor(case, name):
    return VECTORS[f"{case['name']}.{name}"]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# ---------------------------------------------------------------- flow matching


def draws_of(case):
    ratio, uniform = case.get("condition_drop_ratio", 0.0), case.get("condition_drop_uniform_draws", [1.0, 1.0, 1.0])
    keep = torch.tensor(uniform)[:, None, None] > ratio
    return Draws(tensor(case, "noise"), tensor(case, "t"), tensor(case, "speech_condition_mask"), keep)


def objective_of(case):
    mask = ConditionMask(BASE_MASK, "span")
    if case["channels"] == 2:
        return StereoFlowMatching(mask, exclusive_weight=case["se_weight"])
    return FlowMatching(mask)


@pytest.mark.parametrize("case", cases("flow_matching"))
def test_flow_matching_follows_the_reference(case):
    model = reference_model(case["case"])
    loss = objective_of(case).loss(model, batch_of(case), draws_of(case))
    assert loss.value.item() == pytest.approx(case["loss"], rel=1e-4)
    assert loss.num_frames == sum(case["features_lens"])
    if "fm_part" in case:
        assert loss.parts["flow_matching"].item() == pytest.approx(case["fm_part"], rel=1e-4)
        penalty = loss.parts["speaker_exclusive"].item()
        assert penalty == pytest.approx(case["speaker_exclusive_part_unweighted"], rel=1e-4)
    if "grad_l2_norm" not in case:
        return
    loss.value.backward()
    for name, param in model.named_parameters():
        expected = case["grad_l2_norm"][name]
        if expected is None:
            assert param.grad is None or not param.grad.any(), name
        else:
            assert param.grad.norm().item() == pytest.approx(expected, rel=1e-3, abs=1e-5), name
        if (key := f"{case['name']}.grad.{name}") in VECTORS:
            torch.testing.assert_close(param.grad, VECTORS[key], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("case", REFERENCE["condition_masks"])
def test_condition_masks_follow_the_reference(case):
    lengths = torch.tensor(case["features_lens"])
    start = None if case["start_draws"] is None else torch.tensor(case["start_draws"])
    mask = ConditionMask(tuple(case["mask_percent"]), "span" if case["kind"] == "random_span" else "suffix")
    longest = max(case["max_len"], *case["features_lens"])
    computed = mask.mask(lengths, longest, torch.tensor(case["ratio_draws"]), start)
    assert torch.equal(computed, torch.tensor(case["mask"], dtype=torch.bool))


@pytest.mark.parametrize(("fraction", "place", "least"), [(BASE_MASK, "span", 0.7), (DIALOG_MASK, "suffix", 0.5)])
def test_drawn_masks_have_the_right_size_and_place(fraction, place, least):
    lengths = torch.arange(1, 200)
    mask = ConditionMask(fraction, place).draw(lengths, 210, generator())
    assert not (mask & (torch.arange(210) >= lengths[:, None])).any()
    share = mask.sum(1) / lengths
    assert (share <= fraction[1]).all()
    assert (share >= least - 1 / lengths).all()
    assert share[100:].min() < least + 0.05 and share[100:].max() > 0.95
    assert ((mask[:, 1:] != mask[:, :-1]).sum(1) <= 2).all()  # one span
    if place == "suffix":
        assert mask[torch.arange(2, 199), lengths[2:] - 1].all()


@pytest.mark.parametrize(("ratio", "kept"), [(0.0, 1.0), (0.2, 0.8), (0.7, 0.3), (1.0, 0.0)])
def test_texts_are_dropped_as_often_as_they_should_be(ratio, kept):
    size = 4000
    batch = Batch(torch.zeros(size, 1, 1), torch.ones(size, dtype=torch.int64), [], [], [])
    draws = FlowMatching(ConditionMask(BASE_MASK, "span"), ratio).draw(batch, torch.Generator().manual_seed(0))
    assert draws.keep_text.float().mean().item() == pytest.approx(kept, abs=0.02)


def test_validation_times_follow_the_reference():
    for size, expected in REFERENCE["validation_t"].items():
        torch.testing.assert_close(validation_times(int(size)).flatten(), torch.tensor(expected))


def test_interpolation_goes_from_noise_to_speech():
    x_0, x_1 = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    assert torch.equal(interpolate(x_0, x_1, 0.0), x_0)
    assert torch.equal(interpolate(x_0, x_1, 1.0), x_1)
    torch.testing.assert_close(interpolate(x_0, x_1, 0.25), x_0 + 0.25 * (x_1 - x_0))


def test_mean_over_counts_only_the_frames():
    values, frames = torch.randn(2, 5, 3), torch.tensor([[1, 1, 0, 0, 0], [0, 0, 0, 1, 0]]).bool()
    torch.testing.assert_close(mean_over(values, frames), values[frames].mean())
    torch.testing.assert_close(mean_over(values[..., 0], frames), values[..., 0][frames].mean())
    assert mean_over(values, torch.zeros_like(frames)) == 0


def test_one_generator_decides_the_loss():
    case = REFERENCE["tests"][0]
    model, batch = reference_model(case["case"]), batch_of(case)
    objective = FlowMatching(ConditionMask(BASE_MASK, "span"))
    with torch.no_grad():
        first, second, other = (objective(model, batch, generator(seed)).value for seed in (1, 1, 2))
    assert first == second != other


def test_validation_drops_no_text_and_spreads_the_times(monkeypatch):
    case = REFERENCE["tests"][0]
    model, batch = reference_model(case["case"]), batch_of(case)
    seen = []
    predict = objectives.predict
    monkeypatch.setattr(objectives, "predict", lambda m, b, draws: seen.append(draws) or predict(m, b, draws))
    FlowMatching(ConditionMask(BASE_MASK, "span"), condition_drop_ratio=1.0).validate(model, batch, generator())
    assert seen[0].keep_text.all()
    assert seen[0].t.flatten().tolist() == pytest.approx([0, 1 / 3, 2 / 3])


# ---------------------------------------------------------------- two channels


def test_speaker_exclusive_pieces_follow_the_reference():
    predicted = torch.cat([VECTORS["speaker_exclusive.channel1"], VECTORS["speaker_exclusive.channel2"]], dim=2)
    threshold = speech_threshold(VECTORS["speaker_exclusive.target"])
    torch.testing.assert_close(threshold, VECTORS["speaker_exclusive.threshold"])
    torch.testing.assert_close(both_speaking(predicted, threshold), VECTORS["speaker_exclusive.penalty"])


def test_channels_alternate_and_the_turn_survives_a_restart():
    case = next(case for case in REFERENCE["tests"] if case["name"] == "stereo_u5.fm_0")
    model, batch = reference_model(case["case"]), batch_of(case)
    batch = replace(batch, features=torch.cat([batch.features, batch.features[..., :20]], dim=2))  # left, right, mixed
    objective = StereoFlowMatching(ConditionMask(DIALOG_MASK, "suffix"))
    two_channels = []
    with torch.no_grad():
        for _ in range(2):
            two_channels.append("speaker_exclusive" in objective(model, batch, generator()).parts)
            objective.after_step(model)
        restored = StereoFlowMatching(ConditionMask(DIALOG_MASK, "suffix"))
        objective.after_step(model)
        restored.load_state_dict(objective.state_dict())
        two_channels.append("speaker_exclusive" in restored(model, batch, generator()).parts)
        assert "speaker_exclusive" in objective.validate(model, batch, generator()).parts
    assert two_channels == [False, True, True]


# ---------------------------------------------------------------- distillation


def distillation_of(case):
    first = case["stage"] == "first"
    teacher = reference_model(case["teacher_case"], 1.0 if first else 0.95)
    return Distillation(teacher, None if first else 0.9999)


def distillation_draws(case):
    return DistillationDraws(
        tensor(case, "noise"),
        tensor(case, "speech_condition_mask"),
        tensor(case, "guidance_scale"),
        case["t"],
        case["delta_first"],
        case["delta_second"],
    )


@pytest.mark.parametrize("case", cases("distillation"))
def test_distillation_follows_the_reference(case):
    student, objective = reference_model(case["student_case"]), distillation_of(case)
    draws, batch = distillation_draws(case), batch_of(case)
    loss = objective.loss(student, batch, draws)
    assert loss.value.item() == pytest.approx(case["loss"], rel=1e-3)
    assert loss.parts["ref_loss"].item() == pytest.approx(case["ref_loss"], rel=1e-3)
    assert loss.num_frames == case["frames"]

    x_t, step = tensor(case, "x_t"), case["delta_first"] + case["delta_second"]
    velocity = objective.teacher_velocity(x_t, condition(objective.teacher, batch, draws.mask), draws)
    real = torch.arange(24) < batch.feature_lens[:, None]
    target = tensor(case, "teacher_target")
    torch.testing.assert_close((x_t + step * velocity)[real], target[real], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("stage", ["first", "second"])
def test_distillation_evaluates_nothing_twice(stage):
    """With shared text: the same loss from one text encoding, two steps of the teacher and one of the student."""
    student = reference_model("distill_u3")
    teacher = ZipVoice(student.config, student.vocabulary, "zipvoice" if stage == "first" else "zipvoice_distill")
    teacher.load_state_dict(
        {name: value for name, value in student.state_dict().items() if "guidance" not in name}, False
    )
    ema_decay = None if stage == "first" else 0.9999
    apart, shared = (Distillation(teacher, ema_decay, shared_text=shared) for shared in (False, True))
    batch = batch_of(next(case for case in REFERENCE["tests"] if case["name"] == "distill_3"))
    draws = apart.draw(batch, generator())
    expected = apart.loss(student, batch, draws).value
    evaluations = []

    def count(name, module):
        module.register_forward_hook(lambda module, inputs, output: evaluations.append((name, len(output))))

    for name, model in (("teacher", shared.teacher), ("student", student)):
        count(f"text of the {name}", model.text_encoder)
        count(name, model)
    loss = shared.loss(student, batch, draws).value
    size = len(batch.ids)
    both = 2 * size if stage == "first" else size  # guidance doubles the batch of a base model
    assert evaluations == [("text of the teacher", size), ("teacher", both), ("teacher", both), ("student", size)]
    assert loss == expected
    loss.backward()
    assert {name.split(".")[0] for name, p in student.named_parameters() if p.grad is not None} == {"fm_decoder"}


def test_a_time_power_draws_the_same_times_nearer_to_noise():
    batch = batch_of(REFERENCE["tests"][0])
    mask = ConditionMask(BASE_MASK, "span")
    uniform = FlowMatching(mask).draw(batch, generator())
    cubed = FlowMatching(mask, time_power=3.0).draw(batch, generator())
    assert torch.equal(cubed.t, uniform.t**3)
    assert torch.equal(cubed.noise, uniform.noise) and torch.equal(cubed.mask, uniform.mask)


def test_drawn_steps_stay_within_the_unit_interval():
    objective = Distillation(reference_model("distill_u3"), 0.9999)
    batch = batch_of(next(case for case in REFERENCE["tests"] if case["name"] == "distill_3"))
    all_draws = [objective.draw(batch, generator(seed)) for seed in range(200)]
    for draws in all_draws:
        assert 0 <= draws.t < 1
        assert 0 <= draws.delta_1 <= 0.3
        assert 0 <= draws.delta_2 <= 0.3
        assert draws.t + draws.delta_1 + draws.delta_2 <= 1 + 1e-9
        assert (draws.guidance_scale >= 1).all() and (draws.guidance_scale < 3).all()
    for of in (lambda draws: draws.delta_1, lambda draws: draws.delta_2):
        assert min(map(of, all_draws)) < 0.02 and max(map(of, all_draws)) > 0.28
    scales = torch.cat([draws.guidance_scale.flatten() for draws in all_draws])
    assert scales.min() < 1.05 and scales.max() > 2.95


def test_the_second_stage_teacher_follows_the_student_and_survives_a_restart():
    student, objective = reference_model("distill_u3"), Distillation(reference_model("distill_u3", 0.95), 0.75)
    before = {name: value.clone() for name, value in objective.teacher.state_dict().items()}
    objective.after_step(student)
    restored = Distillation(reference_model("distill_u3"), 0.75)
    restored.load_state_dict(objective.state_dict())
    for name, value in restored.teacher.state_dict().items():
        torch.testing.assert_close(value, 0.75 * before[name] + 0.25 * student.state_dict()[name])
    assert not any(p.requires_grad for p in objective.teacher.parameters())


@pytest.mark.parametrize(
    ("objective", "settings"),
    [
        (FlowMatching, {"condition_drop_ratio": 0.2, "time_power": 1.0}),
        (StereoFlowMatching, {"condition_drop_ratio": 0.2, "exclusive_weight": 1.0}),
        (Distillation, {"ema_decay": None, "mask": None, "shared_text": False}),
        (MeanFlow, {"instant_ratio": 0.5, "mask": None}),
        (BackwardDistillation, {"temperature": (1.0, 1.0), "guidance_scale": (0.0, 2.0), "mask": None}),
    ],
)
def test_the_defaults_are_the_published_ones_and_those_of_runs(objective, settings):
    defaults = {n: p.default for n, p in signature(objective).parameters.items() if p.default is not p.empty}
    assert defaults == settings
    of_runs = asdict(ObjectiveConfig())
    for name in defaults.keys() & of_runs.keys() - {"mask", "ema_decay"}:
        assert of_runs[name] == defaults[name]


def test_stages_and_teachers_belong_together():
    with pytest.raises(ValueError, match="base model in the first stage"):
        Distillation(reference_model("distill_u3"))
