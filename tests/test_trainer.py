# SPDX-License-Identifier: Apache-2.0
import json
import math
import os
import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import (
    BATCHES_PER_EPOCH,
    Repeatable,
    Wrapped,
    assert_same,
    joined,
    new_model,
    new_trainer,
    one_update,
    random_batch,
    records,
    run_config,
)

from zipvoice.config.training import ObjectiveConfig, OptimizerConfig
from zipvoice.seeds import seed_of
from zipvoice.training import checkpoint, lr_scheduler
from zipvoice.training.distributed import World, stop_on_signal
from zipvoice.training.losses import Loss, Objective
from zipvoice.training.lr_scheduler import learning_rate
from zipvoice.training.objectives import DIALOG_MASK, ConditionMask, Distillation, StereoFlowMatching
from zipvoice.training.observation.monitor import RunningLoss

SCHEDULES = json.loads((Path(__file__).parent / "data" / "optimizer" / "schedules.json").read_text())


# ---------------------------------------------------------------- stopping and going on


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    trainer = new_trainer(run_config(tmp_path_factory.mktemp("whole")))
    assert trainer.run() == "finished"
    return trainer


@pytest.mark.parametrize("stop", [1, 4, 6])
def test_resumed_equals_uninterrupted(stop, uninterrupted, tmp_path):
    assert new_trainer(run_config(tmp_path, num_steps=stop)).run() == "finished"
    trainer = new_trainer(run_config(tmp_path), new_model(seed=99))
    assert trainer.step == stop
    trainer.run()
    assert_same(trainer.state_dict(), uninterrupted.state_dict())
    assert records(tmp_path) == records(uninterrupted.config.exp_dir)


@pytest.mark.parametrize("variant", ["zipvoice_dialog_stereo", "zipvoice_distill"])
def test_objectives_with_a_state_resume_too(variant, tmp_path):
    def objective():
        if variant == "zipvoice_distill":
            return Distillation(new_model(variant, seed=5), ema_decay=0.9)
        return StereoFlowMatching(ConditionMask(DIALOG_MASK, "suffix"))

    def trainer(name, num_steps, seed=0):
        channels = 3 if variant == "zipvoice_dialog_stereo" else 1
        config = run_config(tmp_path / name, num_steps=num_steps, objective=ObjectiveConfig(teacher="teacher"))
        return new_trainer(config, new_model(variant, seed), objective(), channels)

    whole = trainer("whole", 6)
    whole.run()
    trainer("parts", 3).run()
    parts = trainer("parts", 6, seed=99)
    parts.run()
    assert_same(parts.state_dict(), whole.state_dict())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_saves_between_steps(number, uninterrupted, tmp_path):
    trainer = new_trainer(run_config(tmp_path))
    trainer.objective = Wrapped(trainer.objective, lambda _: trainer.step == 6 and os.kill(os.getpid(), number))
    assert trainer.run() == "interrupted"
    assert checkpoint.steps_saved(tmp_path) == [4, 7]
    resumed = new_trainer(run_config(tmp_path), new_model(seed=99))
    resumed.run()
    assert_same(resumed.state_dict(), uninterrupted.state_dict())


def test_a_second_interrupt_is_not_held_back():
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job may begin with it ignored
    with pytest.raises(KeyboardInterrupt), stop_on_signal() as interrupted:
        assert not interrupted()
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted()
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.signal(signal.SIGINT, usual) is signal.default_int_handler


def test_a_run_that_ends_where_it_saves_saves_once(tmp_path):
    saved = []
    for num_steps in (2, 2, 3):  # the second run has nothing to do
        trainer = new_trainer(run_config(tmp_path, num_steps=num_steps, save_every=2))
        trainer.saved = lambda trainer=trainer: saved.append(trainer.step)
        trainer.run()
    assert saved == [2, 3]


def test_the_log_tells_at_once_when_it_goes_on(tmp_path, caplog):
    """Where there is no terminal, nothing else is to be seen before step `log_every`."""
    caplog.set_level("INFO")
    for num_steps, step, upcoming in ((2, 1, 3), (5, 3, 6)):  # a new run, and one that goes on
        caplog.clear()
        new_trainer(run_config(tmp_path, num_steps=num_steps, save_every=2, log_every=3)).run()
        told = [message for message in caplog.messages if "the log goes on" in message]
        assert len(told) == 1
        assert re.fullmatch(rf"step {step} took \d+\.\d s; the log goes on at step {upcoming}, and every 3", told[0])


def test_limits_in_epochs_and_seconds(tmp_path):
    trainer = new_trainer(run_config(tmp_path / "epochs", num_steps=None, num_epochs=2))
    assert trainer.run() == "finished"
    assert trainer.step == 2 * BATCHES_PER_EPOCH
    trainer = new_trainer(run_config(tmp_path / "seconds", max_seconds=0.0))
    assert trainer.run() == "out of time"
    assert checkpoint.steps_saved(tmp_path / "seconds") == [0]


# ---------------------------------------------------------------- one step


def test_a_step_is_the_closed_form_of_its_parts(tmp_path, monkeypatch):
    """One parameter, a quadratic loss: the first update is (1 - beta_1) lr rms(p) against the gradient."""
    trainer = new_trainer(run_config(tmp_path, optim=OptimizerConfig(base_lr=0.02, schedule="fixed")))
    before = trainer.model.embed.weight.detach().clone()

    class Quadratic(Objective):
        def __call__(self, model, batch, generator):
            return Loss(0.5 * model.embed.weight.square().sum(), 1)

    trainer.objective = Quadratic()
    trainer.train_step([random_batch(0)])
    moved = trainer.model.embed.weight.detach() - before
    torch.testing.assert_close(moved, -0.1 * 0.02 * before.square().mean().sqrt() * before.sign())
    assert trainer.average.state_dict()["embed.weight"].float().equal(before)  # the period is 2 steps


def test_the_model_follows_the_run(tmp_path):
    trainer = new_trainer(run_config(tmp_path))
    for step in range(3):
        trainer.train_step([next(trainer.batches)])
        assert trainer.model.progress.batch_count == step * 2000 / 50
        expected = lr_scheduler.eden(step + 1, 0, 0.03, 20.0, 2.0)
        assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(expected)
    tuned = new_trainer(run_config(tmp_path, init_from="somewhere"))
    tuned.train_step([random_batch(0)])
    assert tuned.model.progress.batch_count == 100_000


def test_training_learns_one_batch(tmp_path):
    trainer = new_trainer(run_config(tmp_path, optim=OptimizerConfig(base_lr=0.02, schedule="fixed")))
    batch, generator = random_batch(0), torch.Generator()

    def loss():
        trainer.model.eval()
        with torch.no_grad():
            return trainer.objective.validate(trainer.model, batch, generator.manual_seed(0)).value.item()

    before = loss()
    for _ in range(30):
        trainer.train_step([batch])
    assert loss() < 0.95 * before


def test_added_up_batches_are_one_batch(tmp_path):
    """The gradient of an update is that of one batch with all utterances, long and short ones."""
    batches = [random_batch(0), random_batch(1, least=19), random_batch(2)]
    trainers = [new_trainer(run_config(tmp_path), objective=Repeatable()) for _ in range(2)]
    updates = [one_update(trainer, b) for trainer, b in zip(trainers, [batches, [joined(batches)]], strict=True)]
    losses, gradients = zip(*updates, strict=True)
    assert losses[0].value.item() == pytest.approx(losses[1].value.item(), abs=1e-6)
    assert losses[0].num_frames == losses[1].num_frames
    for name, gradient in gradients[1].items():
        torch.testing.assert_close(gradients[0][name], gradient, atol=1e-6, rtol=1e-4, msg=name)


def test_several_batches_move_the_schedules_faster(tmp_path):
    trainer = new_trainer(run_config(tmp_path, accumulate=3, optim=OptimizerConfig(lr_hours=10.0)))
    for step in range(2):
        trainer.train_step(trainer.next_batches())
        assert trainer.model.progress.batch_count == 3 * step * 2000 / 50
        expected = lr_scheduler.eden(step + 1, 3 * (step + 1) * 2000 / 3600, 0.02, 7500.0, 10.0)
        assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(expected)
    assert trainer.batches.rounds == 6


def test_batches_draw_different_numbers(tmp_path):
    trainer = new_trainer(run_config(tmp_path, accumulate=2))
    drawn = []
    trainer.objective = Wrapped(trainer.objective, lambda generator: drawn.append(generator.initial_seed()))
    for _ in range(3):
        trainer.train_step(trainer.next_batches())
    assert drawn == [seed_of(42, number, "objective") for number in range(6)]
    assert len({seed_of(42, number, kind) for number in range(200) for kind in ("model", "objective")}) == 400
    assert min(drawn) >= 0 and max(drawn) < 2**63


def test_processes_draw_different_numbers(tmp_path):
    """Two processes draw what one does that accumulates two batches."""

    def seeds(rank, size, number, accumulate):
        trainer = new_trainer(run_config(tmp_path / str(rank), accumulate=accumulate), world=World(rank, size))
        trainer.step = 3
        trainer.seed(number)
        return trainer.generator.initial_seed(), torch.initial_seed()

    by_rank = [seeds(rank, 2, 0, accumulate=1) for rank in range(2)]
    assert by_rank == [(seed_of(42, place, "objective"), seed_of(42, place, "model")) for place in (6, 7)]
    assert by_rank == [seeds(0, 1, number, accumulate=2) for number in range(2)]


# ---------------------------------------------------------------- validation and records


def test_validation_does_not_disturb_training(uninterrupted, tmp_path):
    often = new_trainer(run_config(tmp_path, valid_every=1))
    often.run()
    assert_same(often.model.state_dict(), uninterrupted.model.state_dict())
    of_both = [record for record in records(tmp_path) if record["kind"] == "valid" and record["step"] % 5 == 0]
    expected = [record for record in records(uninterrupted.config.exp_dir) if record["kind"] == "valid"]
    assert of_both == expected


def test_validation_loss_is_the_mean_over_frames(tmp_path):
    trainer = new_trainer(run_config(tmp_path))
    trainer.model.eval()
    with torch.no_grad():
        seeds = [seed_of(42, "validation", number) for number in range(2)]
        losses = [
            trainer.objective.validate(trainer.model, batch, torch.Generator().manual_seed(seed))
            for batch, seed in zip(trainer.valid_batches, seeds, strict=True)
        ]
    trainer.validate()
    mean = sum(loss.value * loss.num_frames for loss in losses) / sum(loss.num_frames for loss in losses)
    (record,) = records(tmp_path)
    assert record == {"kind": "valid", "step": 0, "loss": pytest.approx(mean.item())}
    assert (tmp_path / "best-valid-loss.safetensors").exists()


def test_the_weights_of_the_least_validation_loss_are_kept(tmp_path):
    trainer = new_trainer(run_config(tmp_path))
    best, kept = tmp_path / "best-valid-loss.safetensors", []
    for step, value in enumerate((1.0, 0.5, 0.8, 0.7, 0.4)):
        trainer.model.embed.weight.data.fill_(step)
        trainer.objective.validate = lambda model, batch, generator, value=value: Loss(torch.tensor(value), 10)
        trainer.validate()
        kept.append((load_file(best)["embed.weight"].unique().tolist(), trainer.best_valid_loss))
    assert kept == [([0], 1.0), ([1], 0.5), ([1], 0.5), ([1], 0.5), ([4], pytest.approx(0.4))]


def test_weights_whose_validation_loss_is_not_finite_are_not_the_best(tmp_path):
    trainer = new_trainer(run_config(tmp_path))
    values = iter((math.nan, 1.0, 0.5, 0.5, 0.1, math.inf))
    trainer.objective.validate = lambda model, batch, generator: Loss(torch.tensor(next(values)), 10)
    best = []
    for _ in range(3):
        trainer.validate()
        best.append(trainer.best_valid_loss)
    assert best == [None, 0.5, 0.5]
    assert [record.get("loss") for record in records(tmp_path)] == [None, 0.5, None]


def test_running_loss_follows_the_reference():
    running = RunningLoss(SCHEDULES["running_metrics"]["reset_interval"])
    assert RunningLoss().keep == running.keep
    for row in SCHEDULES["running_metrics"]["rows"]:
        running.add(Loss(torch.tensor(float(row["loss_per_frame"])), row["frames"]))
        assert running.frames["loss"] == pytest.approx(row["total_frames"])
        assert running.sums["loss"] == pytest.approx(row["total_loss"])
        assert running.means() == pytest.approx(row["normalised"])


def test_learning_rate_counts_epochs_or_hours():
    config = OptimizerConfig(base_lr=0.02, lr_hours=30_000.0)
    assert learning_rate(config, 10_000, 3, 1111.0) == pytest.approx(1.54866e-2, rel=1e-4)
    assert learning_rate(replace(config, lr_hours=None), 501, 0.2, 0.0) == pytest.approx(0.019975753540427358)
    assert learning_rate(replace(config, schedule="fixed"), 10_000, 3, 1111.0) == 0.02


def test_records_after_the_last_checkpoint_are_dropped_on_resuming(tmp_path):
    new_trainer(run_config(tmp_path, num_steps=6)).run()
    checkpoint.checkpoint_path(tmp_path, 6).unlink()
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"kind": "train", "step": 6, "lo')  # cut off when the machine went down
    new_trainer(run_config(tmp_path, num_steps=7)).run()
    steps = [record["step"] for record in records(tmp_path) if record["kind"] == "train"]
    assert steps == [1, 2, 3, 4, 5, 6, 7]
