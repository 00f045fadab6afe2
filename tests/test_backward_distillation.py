# SPDX-License-Identifier: Apache-2.0
import re
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from corpus_runs import make_corpus, run_config
from safetensors.torch import load_file
from torch import nn

from zipvoice.config.strict_json import read_json, write_json
from zipvoice.config.synthesis import PUBLISHED_SAMPLING
from zipvoice.config.training import ObjectiveConfig, RunConfig
from zipvoice.data.collate import Batch
from zipvoice.pretrained import load_pretrained
from zipvoice.training.backward_distillation import FORWARD_RATIO, BackwardDistillation, BackwardDraws
from zipvoice.training.run import train

TIMES = [0.0, 0.3, 0.6, 1.0]
RATE = 1.5


class Flow(nn.Module):
    """A network without weights: text is 1 at every frame, and `velocity` (t, x, text, guidance scale) is given."""

    def __init__(self, velocity, is_distilled):
        super().__init__()
        self.velocity, self.is_distilled, self.seen = velocity, is_distilled, []
        self.factor = nn.Parameter(torch.tensor(1.0))

    def condition_text(self, tokens, lengths):
        return torch.ones(len(tokens), max(lengths), 2)

    def forward(self, t, x, condition, guidance_scale=None):
        self.seen.append((t, x.detach(), self.training, torch.is_grad_enabled()))
        return self.factor * self.velocity(t, x, condition.text, guidance_scale)


def linear(is_distilled=False, rates=None):
    """v = rate · x, the rate of the time; text has no part in it, and so neither has guidance."""
    return Flow(lambda t, x, text, scale: (rates or {}).get(t, RATE) * x, is_distilled)


def batch_of(size=4, frames=10):
    generator = torch.Generator().manual_seed(3)
    lengths = torch.arange(frames, frames - size, -1)
    names = [str(number) for number in range(size)]
    return Batch(torch.randn(size, frames, 2, generator=generator), lengths, [[1, 2]] * size, names, names)


def draws_of(objective, seed=0, **changes):
    return replace(objective.draw(batch_of(), torch.Generator().manual_seed(seed)), **changes)


def carried(step):
    """By what the linear flow multiplies a state in three steps of Adams and Bashforth over a time, by hand."""
    a = RATE * step / 3
    first = 1 + a
    second = first + a * (1.5 * first - 0.5)
    return second + a * (1.5 * second - 0.5 * first)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_target_is_where_the_solver_of_the_teacher_lands(index):
    """From the state that the student's own steps lead to, and not from one on the way to the recording."""
    steps = [late - early for early, late in pairwise(TIMES)]
    exact = {t: (carried(step) - 1) / step for t, step in zip(TIMES, steps, strict=False)}
    objective = BackwardDistillation(linear(), TIMES)
    draws = draws_of(objective, index=index)
    assert objective.loss(linear(True, exact), batch_of(), draws).value.item() == pytest.approx(0, abs=1e-10)

    off = {t: rate + 0.5 for t, rate in exact.items()}
    reached = draws.noise
    for t, step in zip(TIMES[:index], steps, strict=False):
        reached = reached * (1 + step * off[t])
    counted = draws.mask & (torch.arange(10) < batch_of().feature_lens[:, None])
    wanted = (0.5 * reached)[counted].square().mean().item()
    assert objective.loss(linear(True, off), batch_of(), draws).value.item() == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_student_learns_guidance_at_its_scale(index):
    """Of the text alone: v = (1 + 2 w) text up to t = 0.5 and (1 + w) text after it."""
    teacher = Flow(lambda t, x, text, scale: text, is_distilled=False)
    student = Flow(lambda t, x, text, scale: text * (1 + scale * (2 if t <= 0.5 else 1)), is_distilled=True)
    plain = Flow(lambda t, x, text, scale: text, is_distilled=True)
    objective = BackwardDistillation(teacher, TIMES, guidance_scale=(0.5, 1.5))
    draws = draws_of(objective, index=index)
    assert objective.loss(student, batch_of(), draws).value.item() == pytest.approx(0, abs=1e-10)
    assert objective.loss(plain, batch_of(), draws).value.item() > 0.2


def test_gradients_flow_through_the_last_step_alone_which_is_that_of_training():
    objective, student = BackwardDistillation(linear(), TIMES), linear(True)
    draws = draws_of(objective, index=2)
    objective.loss(student.train(), batch_of(), draws).value.backward()
    assert [(t, trains, learns) for t, _, trains, learns in student.seen] == [
        (0.0, False, False),
        (0.3, False, False),
        (0.6, True, True),
    ]
    assert student.training
    x = student.seen[-1][1]
    counted = draws.mask & (torch.arange(10) < batch_of().feature_lens[:, None])
    target = (carried(0.4) - 1) / 0.4 * x
    by_hand = (2 * (RATE * x - target) * RATE * x)[counted].mean()
    torch.testing.assert_close(student.factor.grad, by_hand)
    assert not any(parameter.requires_grad for parameter in objective.forward.teacher.parameters())


def test_noise_scales_and_steps_are_drawn_from_their_ranges():
    objective = BackwardDistillation(linear(), TIMES, temperature=(0.1, 0.4), guidance_scale=(0.5, 1.5))
    draws = [draws_of(objective, seed) for seed in range(200)]
    spread = torch.stack([draw.noise.std(dim=(1, 2)) for draw in draws])
    scales = torch.cat([draw.guidance_scale.flatten() for draw in draws])
    assert 0.25 - 0.02 < spread.mean() < 0.25 + 0.02 and spread.max() < 0.7
    assert 0.5 <= scales.min() < 0.52 and 1.48 < scales.max() < 1.5
    assert {draw.index for draw in draws} == {0, 1, 2}
    assert isinstance(draws[0], BackwardDraws) and draws[0].guidance_scale.shape == (4, 1, 1)


def test_a_fifth_of_the_batches_is_for_any_steps():
    objective, kinds = BackwardDistillation(linear(), TIMES), []
    objective.loss = lambda model, batch, draws: kinds.append("backward")
    forward = objective.forward.loss
    objective.forward.loss = lambda *given: kinds.append("forward") or forward(*given)
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        loss = objective(linear(True), batch_of(), generator)
        assert loss is None or loss.parts == {}  # batches of one update have the same parts
    assert kinds.count("forward") / len(kinds) == pytest.approx(FORWARD_RATIO, abs=0.06)


# ---------------------------------------------------------------- a run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The corpus, a base model, and a distilled one of three steps that was stopped once and continued."""
    corpus, teacher, exp_dir = (tmp_path_factory.mktemp(name) for name in ("corpus", "teacher", "backward"))
    make_corpus(corpus)
    train(run_config(corpus, teacher, num_steps=1))
    run = run_config(
        corpus, exp_dir, variant="zipvoice_distill", objective=settings(teacher), num_steps=4, accumulate=2
    )
    assert train(replace(run, num_steps=2)) == train(run) == "finished"
    return corpus, teacher, exp_dir


def settings(teacher):
    return ObjectiveConfig("backward-distillation", teacher=str(teacher), student_steps=3, temperature=(0.1, 0.4))


def test_a_run_makes_a_model_that_is_sampled_in_these_steps(trained):
    _, teacher, exp_dir = trained
    made, before = load_pretrained(exp_dir), load_file(teacher / "model.safetensors")
    assert made.variant == "zipvoice_distill"
    assert made.file.sampling == replace(PUBLISHED_SAMPLING["zipvoice_distill"], num_steps=3)
    assert read_json(RunConfig, exp_dir / "run.json").objective == settings(teacher)
    weights = made.model.state_dict()
    moved = [name for name in before if not torch.equal(before[name], weights[name])]
    assert moved and all(name.startswith("fm_decoder") for name in moved)


def test_a_run_continues_as_if_it_had_not_stopped(trained, tmp_path):
    corpus, teacher, exp_dir = trained
    train(
        run_config(corpus, tmp_path, variant="zipvoice_distill", objective=settings(teacher), num_steps=4, accumulate=2)
    )
    whole, parts = (load_file(folder / "model.safetensors") for folder in (tmp_path, exp_dir))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_times_are_those_of_the_model_to_start_from(trained, tmp_path):
    """But for their number; a grid of its own, of another number of steps, is left."""
    corpus, teacher, exp_dir = trained
    source, file = tmp_path / "source", load_pretrained(exp_dir).file
    source.mkdir()
    for name in ("model.safetensors", "tokens.txt"):
        (source / name).write_bytes((exp_dir / name).read_bytes())
    usual = replace(file.sampling, t_shift=0.7, temperature=0.3, num_steps=2, time_grid=(0.0, 0.5, 1.0))
    write_json(replace(file, sampling=usual), source / "model.json")
    train(
        run_config(
            corpus, tmp_path / "run", variant="zipvoice_distill", objective=settings(teacher), num_steps=1,
            init_from=str(source),
        )
    )  # fmt: skip
    assert load_pretrained(tmp_path / "run").file.sampling == replace(usual, num_steps=3, time_grid=None)


def test_a_distilled_teacher_is_refused(trained, tmp_path):
    corpus, _, exp_dir = trained
    run = run_config(corpus, tmp_path, variant="zipvoice_distill", objective=settings(exp_dir))
    with pytest.raises(
        ValueError, match=r"backward-distillation learns from a base model: name one in objective\.teach"
    ):
        train(run)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"teacher": None}, "objective.kind backward-distillation needs a model to learn from"),
        ({"student_steps": 0}, "objective.student_steps must be from 1 to 1000, not 0"),
        ({"temperature": (0.4, 0.1)}, "objective.temperature must be the least and the greatest value, 0 or more"),
        ({"guidance_scale": (-1.0, 1.0)}, "objective.guidance_scale must be the least and the greatest value"),
        ({"temperature": (0.4, float("inf"))}, "objective.temperature must be the least"),
    ],
)
def test_settings_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        replace(settings("teacher"), **change)
