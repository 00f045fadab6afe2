# SPDX-License-Identifier: Apache-2.0
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from corpus_runs import make_corpus, run_config
from safetensors.torch import load_file
from tiny_models import LETTERS, TINY, make_model, tiny_vocoder
from torch import nn
from torch.autograd import forward_ad

from zipvoice import Synthesizer
from zipvoice.config.export import ExportOptions
from zipvoice.config.model import Vocabulary
from zipvoice.config.strict_json import read_json, write_json
from zipvoice.config.synthesis import MEAN_FLOW_SAMPLING, PUBLISHED_SAMPLING, SynthesisOptions
from zipvoice.config.training import ObjectiveConfig, OptimizerConfig, RunConfig
from zipvoice.data.collate import Batch
from zipvoice.export.onnx import export_onnx
from zipvoice.model.condition import Condition, padding_mask
from zipvoice.model.decoder import sinusoid
from zipvoice.model.kernels import fusion
from zipvoice.model.kernels.blocks import by_hand
from zipvoice.model.solver import solve, time_grid
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.pretrained import load_pretrained, read_directory
from zipvoice.runtime.select import load_model
from zipvoice.runtime.torch import TorchModel, TorchVocoder
from zipvoice.runtime.weightless import network_key
from zipvoice.training.mean_flow import MeanFlow, evaluating, mean_flow_target
from zipvoice.training.run import train

RATE = 1.5
"""Of the linear flow v = RATE · x, whose way from x is x exp(RATE · (t' - t))."""
SIZES = replace(TINY, step_embed_dim=12)


def mean_of_linear(t, x, t_next):
    """The mean velocity of the linear flow: what the way of x is long, by the time that it takes."""
    step = t_next - t
    series = RATE * (1 + RATE * step / 2)  # where the step is too short to divide by it
    return x * torch.where(step > 1e-4, torch.expm1(RATE * step) / step.clamp(min=1e-9), series)


class LinearFlow(nn.Module):
    """As a distilled network. `factor` 1 is the true mean velocity; `is_mean` False is the velocity of the start."""

    is_distilled = True

    def __init__(self, factor=1.0, is_mean=True):
        super().__init__()
        self.factor, self.is_mean = nn.Parameter(torch.tensor(factor)), is_mean

    def condition_text(self, tokens, lengths):
        return torch.zeros(len(tokens), max(lengths), 2)

    def forward(self, t, x, condition, guidance_scale=None, t_next=None):
        whole = t if t_next is None or not self.is_mean else t_next
        return self.factor * mean_of_linear(t, x, whole)


def batch_of(size=5, frames=12):
    generator = torch.Generator().manual_seed(3)
    lengths = torch.arange(frames, frames - size, -1)
    names = [str(number) for number in range(size)]
    return Batch(torch.randn(size, frames, 2, generator=generator), lengths, [[1, 2]] * size, names, names)


def times(*values):
    return torch.tensor(values)[:, None, None]


# ---------------------------------------------------------------- closed forms


@pytest.mark.parametrize(
    ("velocity", "mean"),
    [
        (lambda t, x: RATE * x, mean_of_linear),
        (lambda t, x: torch.full_like(x, 3.0), lambda t, x, t_next: 0 * x + 0 * t + 3.0),
        (lambda t, x: 2 * t + 0 * x, lambda t, x, t_next: t + t_next + 0 * x),
    ],
    ids=["linear", "constant", "accelerated"],
)
def test_the_true_mean_velocity_is_its_own_target(velocity, mean):
    x, t, t_next = torch.randn(3, 4, 1), times(0.0, 0.3, 0.6), times(1.0, 0.8, 0.6)
    target = mean_flow_target(mean, velocity(t, x), t, x, t_next)
    torch.testing.assert_close(target, mean(t, x, t_next))


def test_a_wrong_mean_velocity_is_told_apart_by_its_change_on_the_way():
    """u = v, as if no way were bent: the target is v + (t' - t) RATE v."""
    x, t, t_next = torch.randn(1, 4, 1), times(0.2), times(0.7)
    target = mean_flow_target(lambda t, x, t_next: RATE * x + 0 * t, RATE * x, t, x, t_next)
    torch.testing.assert_close(target, RATE * x * (1 + 0.5 * RATE))


def test_what_does_not_depend_on_time_or_place_has_the_velocity_as_target():
    v = torch.randn(1, 4, 1)
    assert torch.equal(mean_flow_target(lambda t, x, t_next: torch.zeros(1, 4, 1), v, times(0.1), v, times(0.9)), v)


@pytest.mark.parametrize("num_steps", [1, 2])
def test_one_step_lands_where_many_fine_ones_do(num_steps):
    noise = torch.randn(2, 6, 1, dtype=torch.float64)
    mean = LinearFlow()
    fine = solve(lambda t, x, condition: RATE * x, noise, None, time_grid(8192), "euler")
    landed = solve(mean, noise, None, [torch.tensor(t) for t in time_grid(num_steps)], "mean-flow")
    torch.testing.assert_close(landed.detach(), noise * math.exp(RATE), rtol=1e-6, atol=0)
    torch.testing.assert_close(landed.detach(), fine, rtol=2e-4, atol=0)


@pytest.mark.parametrize("instant_ratio", [0.0, 0.5])
def test_the_loss_of_the_true_mean_velocity_is_zero(instant_ratio):
    objective = MeanFlow(LinearFlow(), instant_ratio)
    true, off, instant = (
        objective(model, batch_of(), torch.Generator().manual_seed(0)).value.item()
        for model in (LinearFlow(), LinearFlow(1.1), LinearFlow(is_mean=False))
    )
    assert true == pytest.approx(0, abs=1e-10)
    assert min(off, instant) > 1e-3


def test_the_teacher_is_copied_and_may_be_trained_further():
    teacher = LinearFlow(1.1)
    objective = MeanFlow(teacher)
    assert teacher.training and teacher.factor.requires_grad
    teacher.factor.data.fill_(2.0)
    assert objective.teacher.factor.item() == pytest.approx(1.1) and not objective.teacher.factor.requires_grad


def test_gradients_flow_through_the_prediction_alone():
    """Of u = f ū the loss is (f ū - y)², y fixed at f = 1.1, so that its derivative is 2 (f ū - y) ū."""
    objective, student = MeanFlow(LinearFlow()), LinearFlow(1.1)
    batch, draws = batch_of(), MeanFlow(LinearFlow(), 0.0).draw(batch_of(), torch.Generator().manual_seed(0))
    objective.loss(student, batch, draws).value.backward()
    x = draws.t * batch.features + (1 - draws.t) * draws.noise
    mean = mean_of_linear(draws.t, x, draws.t_next)
    step = 1e-3
    ahead = mean_of_linear(draws.t + step, x + step * RATE * x, draws.t_next)
    behind = mean_of_linear(draws.t - step, x - step * RATE * x, draws.t_next)
    target = RATE * x + (draws.t_next - draws.t) * 1.1 * (ahead - behind) / (2 * step)
    frames = draws.mask & ~padding_mask(batch.feature_lens, x.shape[1])
    expected = (2 * (1.1 * mean - target) * mean)[frames].mean()
    torch.testing.assert_close(student.factor.grad, expected, rtol=1e-2, atol=0)


# ---------------------------------------------------------------- draws


def test_times_are_in_order_and_as_many_steps_have_no_length():
    batch = Batch(torch.zeros(4000, 1, 2), torch.ones(4000, dtype=torch.int64), [], ["-"] * 4000, [])
    draws = MeanFlow(LinearFlow(), 0.3).draw(batch, torch.Generator().manual_seed(0))
    step = draws.t_next - draws.t
    assert draws.t.shape == draws.t_next.shape == (4000, 1, 1)
    assert (step >= 0).all() and draws.t.min() >= 0 and draws.t_next.max() < 1
    assert (step == 0).float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert step[step > 0].mean().item() == pytest.approx(1 / 3, abs=0.02)  # of two uniform numbers
    assert draws.guidance_scale.min() >= 1 and draws.guidance_scale.max() <= 3  # the teacher is distilled


# ---------------------------------------------------------------- the network


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return ZipVoice(SIZES, Vocabulary(11), "zipvoice_distill").eval()


def inputs(frames=150):
    """More frames than a block of attention has."""
    x, v, text, speech = torch.randn(4, 2, frames, 100, generator=torch.Generator().manual_seed(1))
    mask = padding_mask(torch.tensor([frames, frames - 20]), frames)
    return x, v, Condition(text, speech, mask), times(0.2, 0.5), times(0.9, 0.6)


def mean_by(network, condition):
    return lambda t, x, t_next: network(t, x, condition, times(1.0, 2.0), t_next)


@pytest.mark.parametrize("fused", [False, True])
def test_the_derivative_of_the_network_equals_finite_differences(network, fused):
    x, v, condition, t, t_next = inputs()
    u, step = mean_by(network, condition), 1e-2
    if fused:
        fusion.fuse("eager")
    try:
        target = mean_flow_target(lambda *inputs: u(*inputs) if not fusion.is_fused() else None, v, t, x, t_next)
        assert fusion.is_fused() == fused
    finally:
        fusion.fuse(None)
    with torch.no_grad():
        change = (u(t + step, x + step * v, t_next) - u(t - step, x - step * v, t_next)) / (2 * step)
    assert (target - v).norm() > 1
    torch.testing.assert_close(target - v, (t_next - t) * change, rtol=1e-2, atol=1e-3)


def test_the_network_knows_the_end_of_a_step(network):
    x, _, condition, t, t_next = inputs(20)
    with torch.no_grad():
        mean, instant, same = (mean_by(network, condition)(t, x, end) for end in (t_next, None, t))
        alone = network(t[:1], x[:1], Condition(condition.text[:1], condition.speech[:1]), 1.0, 0.9)
    assert torch.equal(instant, same)
    assert not torch.allclose(mean, instant, atol=1e-3)
    torch.testing.assert_close(mean[:1], alone)


def test_a_step_is_embedded_by_its_length(network):
    decoder = network.fm_decoder
    t, t_next = torch.tensor([[0.2], [0.5]]), torch.tensor([[0.9], [0.6]])
    length = sinusoid(torch.tensor([[0.7], [0.1]]), 12)
    expected = decoder.time_embed(sinusoid(t, decoder.time_embed_dim) + length @ decoder.step_embed.weight.T)
    torch.testing.assert_close(decoder.embedding(t, None, t_next), expected)


def test_a_model_without_a_step_refuses_one_and_has_the_published_names(network):
    plain = ZipVoice(TINY, Vocabulary(11), "zipvoice_distill")
    x, _, condition, t, t_next = inputs(8)
    with pytest.raises(ValueError, match="only a model of mean velocities takes the end of a step"):
        plain(t, x, condition, 1.0, t_next)
    assert network.state_dict().keys() - plain.state_dict().keys() == {"fm_decoder.step_embed.weight"}
    assert network.predicts_means and not plain.predicts_means
    with pytest.raises(ValueError, match="step_embed_dim is for a distilled model, which zipvoice is not"):
        ZipVoice(SIZES, Vocabulary(11))


def test_the_target_is_that_of_evaluation_and_the_prediction_that_of_training():
    modes, student = [], LinearFlow()
    student.register_forward_pre_hook(lambda module, inputs: modes.append(module.training))
    MeanFlow(LinearFlow())(student.train(), batch_of(), torch.Generator().manual_seed(0))
    assert modes == [False, True]


def test_derivatives_are_not_carried_through_what_is_arranged_by_hand():
    x = torch.ones(2, 3)
    assert by_hand(x)
    with forward_ad.dual_level():
        assert by_hand(x) and not by_hand(forward_ad.make_dual(x, x))


def test_a_model_is_left_in_the_mode_it_was_in():
    model = LinearFlow()
    for mode in (True, False):
        model.train(mode)
        with evaluating(model):
            assert not model.training
        assert model.training == mode


# ---------------------------------------------------------------- a run, and speech


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The corpus, and the folder of a run whose teacher was trained before it."""
    corpus, teacher, exp_dir = (tmp_path_factory.mktemp(name) for name in ("corpus", "teacher", "mean_flow"))
    make_corpus(corpus)
    train(run_config(corpus, teacher, num_steps=1))
    objective = ObjectiveConfig("mean-flow", teacher=str(teacher))
    run = run_config(corpus, exp_dir, variant="zipvoice_distill", objective=objective, num_steps=4, precision="bf16")
    assert train(replace(run, num_steps=2)) == train(run) == "finished"
    return corpus, teacher, exp_dir


def test_a_run_makes_a_model_of_mean_velocities(trained):
    _, teacher, exp_dir = trained
    made, before = load_pretrained(exp_dir), load_file(teacher / "model.safetensors")
    assert made.model.predicts_means and made.variant == "zipvoice_distill"
    assert made.file.model.step_embed_dim == made.file.model.time_embed_dim
    assert made.file.sampling == MEAN_FLOW_SAMPLING
    assert read_json(RunConfig, exp_dir / "run.json").objective.kind == "mean-flow"
    assert "step_embed_dim" not in (teacher / "model.json").read_text()
    weights = made.model.state_dict()
    assert all(torch.equal(before[name], weights[name]) for name in before if not name.startswith("fm_decoder"))


@pytest.mark.slow
def test_a_run_continues_with_the_same_objective(trained, tmp_path):
    corpus, teacher, exp_dir = trained
    objective = ObjectiveConfig("mean-flow", teacher=str(teacher))
    train(run_config(corpus, tmp_path, variant="zipvoice_distill", objective=objective, num_steps=4, precision="bf16"))
    whole, parts = (load_file(folder / "model.safetensors") for folder in (tmp_path, exp_dir))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.mark.slow
def test_a_run_starts_from_a_distilled_model_too(trained, tmp_path):
    corpus, teacher, _ = trained
    shared = {"variant": "zipvoice_distill", "num_steps": 1, "optim": OptimizerConfig(base_lr=1e-12)}
    first, then = tmp_path / "distilled", tmp_path / "mean_flow"
    train(run_config(corpus, first, objective=ObjectiveConfig(teacher=str(teacher)), **shared))
    train(run_config(corpus, then, objective=ObjectiveConfig("mean-flow", teacher=str(first)), **shared))
    before, after = (load_file(folder / "model.safetensors") for folder in (first, then))
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)


def test_a_model_that_knows_the_step_is_trained_for_that_alone(trained, tmp_path):
    corpus, teacher, _ = trained
    other = ObjectiveConfig(teacher=str(teacher))
    run = run_config(corpus, tmp_path, variant="zipvoice_distill", objective=other)
    with pytest.raises(ValueError, match=r"step_embed_dim is for objective\.kind mean-flow: set that, or start from"):
        train(replace(run, model=replace(run.model, step_embed_dim=16)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"kind": "mean-flow"},
            "objective.kind mean-flow needs a model to learn from: name its directory in objective",
        ),
        ({"kind": "distillation"}, "objective.kind distillation needs a model to learn from"),
        ({"kind": "flow-matching", "teacher": "x"}, "objective.kind flow-matching has no use for objective.teacher"),
        ({"instant_ratio": 1.0}, "objective.instant_ratio must be at least 0 and below 1, not 1.0"),
    ],
)
def test_objectives_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        ObjectiveConfig(**change)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    make_model(folder, "zipvoice_distill", SIZES)
    write_json(replace(read_directory(folder).file, sampling=MEAN_FLOW_SAMPLING), folder / "model.json")
    return folder


@pytest.mark.parametrize("num_steps", [1, 2])
def test_the_synthesizer_takes_whole_steps(directory, num_steps):
    """As the network does by hand, and not as Euler's method."""
    read = read_directory(directory)
    model = load_model(read, "torch", device="cpu")
    calls = []
    velocity = model.velocity
    model.velocity = lambda t, *more, **end: calls.append((t, end.get("t_next"))) or velocity(t, *more, **end)
    synthesizer = Synthesizer(model, TorchVocoder(tiny_vocoder(), "cpu"), read.tokenizer("zipvoice_distill"), LETTERS)
    audio = synthesizer.synthesize("Hello there.", num_steps=num_steps, seed=1)
    assert calls == [(i / num_steps, (i + 1) / num_steps) for i in range(num_steps)]
    other = synthesizer.synthesize("Hello there.", num_steps=num_steps, seed=1, solver="euler")
    assert not np.array_equal(audio.samples, other.samples)


def test_graphs_take_the_same_steps(directory, tmp_path):
    export_onnx(ExportOptions(str(directory), str(tmp_path)))
    models = [load_model(read_directory(folder), kind) for folder, kind in ((directory, "torch"), (tmp_path, "onnx"))]
    x, _, known, t, t_next = (each for each in inputs(24))
    found = []
    for model in models:
        array = model.array if isinstance(model, TorchModel) else np.asarray
        x_, text, speech, mask = (array(each.numpy()) for each in (x, known.text, known.speech, known.padding_mask))
        condition = Condition(text, speech, mask)
        start, end = array(t.numpy()), array(t_next.numpy())
        for step in ((0.25, 0.75), (start, end), (start, None)):
            found.append(model.numpy(model.velocity(step[0], x_, condition, 1.0, step[1])))
    for by_torch, by_graph in zip(found[:3], found[3:], strict=True):
        np.testing.assert_allclose(by_torch, by_graph, atol=1e-4)
    assert not np.allclose(found[1], found[2], atol=1e-3)


def test_the_solver_is_refused_for_models_of_velocities():
    options = SynthesisOptions(solver="mean-flow")
    with pytest.raises(ValueError, match=r"solver mean-flow is for models that were trained .* leave out solver"):
        options.resolved("zipvoice_distill", PUBLISHED_SAMPLING["zipvoice_distill"])
    assert options.resolved("zipvoice_distill", MEAN_FLOW_SAMPLING).num_steps == 2


def test_graphs_of_other_models_do_not_fit(directory, tmp_path):
    make_model(tmp_path, "zipvoice_distill", TINY)
    mean, plain = read_directory(directory), read_directory(tmp_path)
    keys = {network_key(each.file, "zipvoice_distill", LETTERS.vocabulary) for each in (mean, plain)}
    assert len(keys) == 2
