# SPDX-License-Identifier: Apache-2.0
import json
import math
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from zipvoice.config import DataConfig, ModelConfig, ObjectiveConfig, OptimizerConfig, RunConfig, Vocabulary
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.training import checkpoint, schedules
from zipvoice.training.data import Batch
from zipvoice.training.objectives import (
    BASE_MASK,
    DIALOG_MASK,
    ConditionMask,
    Distillation,
    FlowMatching,
    Loss,
    StereoFlowMatching,
)
from zipvoice.training.tracking import Tracker
from zipvoice.training.trainer import RunningLoss, Trainer, learning_rate, seed_of, stop_on_signal

SCHEDULES = json.loads((Path(__file__).parent / "data" / "optimizer" / "schedules.json").read_text())
SIZES = ModelConfig(
    fm_decoder_downsampling_factor=(1, 2, 1),
    fm_decoder_num_layers=(1, 1, 1),
    fm_decoder_cnn_module_kernel=(5, 3, 5),
    fm_decoder_feedforward_dim=16,
    fm_decoder_num_heads=2,
    fm_decoder_dim=16,
    text_encoder_num_layers=1,
    text_encoder_feedforward_dim=16,
    text_encoder_cnn_module_kernel=3,
    text_encoder_num_heads=2,
    text_encoder_dim=16,
    time_embed_dim=16,
    text_embed_dim=8,
    query_head_dim=4,
    value_head_dim=4,
    pos_head_dim=2,
    pos_dim=8,
    feat_dim=6,
)
BATCHES_PER_EPOCH = 5


class MemoryBatches:
    """Random batches that depend on epoch and position only."""

    def __init__(self, num_channels=1):
        self.epoch, self.position, self.num_channels = 0, 0, num_channels

    def __next__(self):
        batch = random_batch(self.epoch * 100 + self.position, self.num_channels)
        self.position += 1
        if self.position == BATCHES_PER_EPOCH:
            self.epoch, self.position = self.epoch + 1, 0
        return batch

    def state_dict(self):
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state):
        self.epoch, self.position = state["epoch"], state["position"]


def random_batch(seed, num_channels=1):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(8, 20, (3,), generator=generator)
    features = torch.randn(3, int(lengths.max()), num_channels * SIZES.feat_dim, generator=generator) * 0.3
    tokens = [torch.randint(1, 9, (5,), generator=generator).tolist() for _ in lengths]
    return Batch(features, lengths, tokens, [f"utterance-{seed}-{i}" for i in range(3)], ["text"] * 3)


def run_config(exp_dir, **changes):
    data = DataConfig(max_duration=2000.0)  # 40 batches of the reference size in each, so that schedules move
    optim = OptimizerConfig(base_lr=0.03, lr_batches=20.0, lr_epochs=2.0, lr_hours=None)
    config = RunConfig(
        exp_dir=str(exp_dir),
        model=SIZES,
        data=data,
        optim=optim,
        num_steps=9,
        precision="fp32",
        average_period=2,
        log_every=1,
        valid_every=5,
        save_every=4,
        keep_last=100,
    )
    return replace(config, **changes)


def new_model(variant="zipvoice", seed=0):
    torch.manual_seed(seed)
    return ZipVoice(SIZES, Vocabulary(11, 0, 9, 10), variant)


def base_objective():
    return FlowMatching(ConditionMask(BASE_MASK, "span"))


def new_trainer(config, model=None, objective=None, num_channels=1, **more):
    resumed = checkpoint.steps_saved(config.exp_dir)
    trainer = Trainer(
        config,
        model or new_model(),
        objective or base_objective(),
        MemoryBatches(num_channels),
        [random_batch(12345, num_channels), random_batch(54321, num_channels)],
        Tracker(config.exp_dir, resumed[-1] if resumed else -1),
        **more,
    )
    if resumed:
        trainer.load_state_dict(checkpoint.load(checkpoint.checkpoint_path(config.exp_dir, resumed[-1])))
    return trainer


def assert_same(state, other, where=""):
    """Equal to the last bit, whatever is in it."""
    assert type(state) is type(other), where
    if isinstance(state, dict):
        assert state.keys() == other.keys(), where
        for key in state:
            assert_same(state[key], other[key], f"{where}/{key}")
    elif isinstance(state, list | tuple):
        assert len(state) == len(other), where
        for number, (a, b) in enumerate(zip(state, other, strict=True)):
            assert_same(a, b, f"{where}/{number}")
    elif isinstance(state, torch.Tensor):
        assert state.dtype == other.dtype and torch.equal(state, other), where
    else:
        assert state == other, where


def records(exp_dir):
    return [json.loads(line) for line in (Path(exp_dir) / "log.jsonl").read_text().splitlines()]


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


def test_an_interrupt_saves_between_steps(uninterrupted, tmp_path):
    trainer = new_trainer(run_config(tmp_path))
    objective = trainer.objective

    def interrupted_objective(model, batch, generator):
        if trainer.step == 6:
            os.kill(os.getpid(), signal.SIGINT)
        return objective(model, batch, generator)

    interrupted_objective.after_step = objective.after_step
    interrupted_objective.validate = objective.validate
    interrupted_objective.state_dict = objective.state_dict
    trainer.objective = interrupted_objective
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

    def quadratic(model, batch, generator):
        return Loss(0.5 * model.embed.weight.square().sum(), 1)

    quadratic.after_step = trainer.objective.after_step
    trainer.objective = quadratic
    trainer.train_step(random_batch(0))
    moved = trainer.model.embed.weight.detach() - before
    torch.testing.assert_close(moved, -0.1 * 0.02 * before.square().mean().sqrt() * before.sign())
    assert trainer.average.state_dict()["embed.weight"].float().equal(before)  # the period is 2 steps


def test_the_model_follows_the_run(tmp_path):
    trainer = new_trainer(run_config(tmp_path))
    for step in range(3):
        trainer.train_step(next(trainer.batches))
        assert trainer.model.progress.batch_count == step * 2000 / 50
        expected = schedules.eden(step + 1, 0, 0.03, 20.0, 2.0)
        assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(expected)
    tuned = new_trainer(run_config(tmp_path, init_from="somewhere"))
    tuned.train_step(random_batch(0))
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
        trainer.train_step(batch)
    assert loss() < 0.95 * before


def test_bfloat16_comes_close_to_float32(tmp_path):
    losses = {}
    for precision in ("fp32", "bf16"):
        trainer = new_trainer(run_config(tmp_path, precision=precision))
        losses[precision] = trainer.train_step(random_batch(0)).value
        assert all(p.dtype == torch.float32 for p in trainer.model.parameters())
    assert losses["bf16"].item() == pytest.approx(losses["fp32"].item(), rel=0.02)
    assert losses["bf16"] != losses["fp32"]


def test_a_loss_that_is_not_finite_names_step_and_utterances(tmp_path):
    trainer = new_trainer(run_config(tmp_path))
    batch = random_batch(7)
    batch.features[0, 0, 0] = math.nan
    with pytest.raises(ValueError, match="nan at step 1, on the utterances utterance-7-0, utterance-7-1"):
        trainer.train_step(batch)


def test_ranks_and_steps_draw_different_numbers():
    seeds = {
        seed_of(42, rank, step, kind) for rank in range(4) for step in range(50) for kind in ("model", "objective")
    }
    assert len(seeds) == 400
    assert all(0 <= seed < 2**63 for seed in seeds)


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
    generator = torch.Generator().manual_seed(seed_of(42, 0, "validation"))
    with torch.no_grad():
        losses = [trainer.objective.validate(trainer.model, batch, generator) for batch in trainer.valid_batches]
    trainer.validate()
    mean = sum(loss.value * loss.num_frames for loss in losses) / sum(loss.num_frames for loss in losses)
    (record,) = records(tmp_path)
    assert record == {"kind": "valid", "step": 0, "loss": pytest.approx(mean.item())}
    assert (tmp_path / "best-valid-loss.safetensors").exists()


def test_running_loss_follows_the_reference():
    running = RunningLoss(SCHEDULES["running_metrics"]["reset_interval"])
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
