# SPDX-License-Identifier: Apache-2.0
"""Training runs of a very small model on random batches, for tests of the trainer."""

import json
import zlib
from dataclasses import replace
from pathlib import Path

import corpus_runs
import torch

from zipvoice.config.data import DataConfig
from zipvoice.config.model import Vocabulary
from zipvoice.config.training import OptimizerConfig, RunConfig
from zipvoice.data.collate import Batch
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.training import checkpoint
from zipvoice.training.distributed import ALONE
from zipvoice.training.objectives import BASE_MASK, ConditionMask, Draws, FlowMatching
from zipvoice.training.observation.logger import MetricLogger
from zipvoice.training.run import model_trainer

SIZES = replace(corpus_runs.SIZES, feat_dim=6)
BATCHES_PER_EPOCH = 6


class MemoryBatches:
    """Random batches that depend on their number only; processes take them in turn."""

    def __init__(self, num_channels=1, world=ALONE):
        self.rounds, self.num_channels, self.world = 0, num_channels, world

    @property
    def epoch(self):
        return self.rounds * self.world.size // BATCHES_PER_EPOCH

    def __next__(self):
        number = self.rounds * self.world.size + self.world.rank
        self.rounds += 1
        return random_batch(number, self.num_channels)

    def state_dict(self):
        return {"rounds": self.rounds}

    def load_state_dict(self, state):
        self.rounds = state["rounds"]


def random_batch(seed, num_channels=1, least=8):
    """Three utterances, the longest of 20 frames."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(least, 20, (3,), generator=generator)
    lengths[0] = 20
    features = torch.randn(3, 20, num_channels * SIZES.feat_dim, generator=generator) * 0.3
    tokens = [torch.randint(1, 9, (5,), generator=generator).tolist() for _ in lengths]
    return Batch(features, lengths, tokens, [f"utterance-{seed}-{i}" for i in range(3)], ["text"] * 3)


def joined(batches):
    """One batch of all utterances, with the same padding."""
    features, lengths = (torch.cat([getattr(b, name) for b in batches]) for name in ("features", "feature_lens"))
    lists = ([item for b in batches for item in getattr(b, name)] for name in ("tokens", "ids", "texts"))
    return Batch(features, lengths, *lists)


def one_update(trainer, batches):
    """The loss of a step, and the gradients that the optimizer is given."""
    gradients = {}
    step = trainer.optimizer.step

    def recorded():
        gradients.update({n: p.grad.clone() for n, p in trainer.model.named_parameters() if p.grad is not None})
        step()

    trainer.optimizer.step = recorded
    return trainer.train_step(batches), gradients


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


class Repeatable(FlowMatching):
    """Draws the same for an utterance whatever batch it is in, and lets the model draw nothing."""

    def __init__(self):
        super().__init__(ConditionMask(BASE_MASK, "span"))

    def __call__(self, model, batch, generator):
        model.eval()
        num_frames = batch.features.shape[1]
        noise = torch.zeros_like(batch.features)
        u = torch.zeros(4, len(batch.ids))
        for i, (name, length) in enumerate(zip(batch.ids, batch.feature_lens.tolist(), strict=True)):
            own = torch.Generator().manual_seed(zlib.crc32(name.encode()))
            noise[i, :length] = torch.randn(length, noise.shape[2], generator=own)
            u[:, i] = torch.rand(4, generator=own)
        mask = self.mask.mask(batch.feature_lens.cpu(), num_frames, 0.5 + 0.5 * u[0], u[1]).to(noise.device)
        u = u.to(noise.device)
        return self.loss(model, batch, Draws(noise, u[2, :, None, None], mask, (u[3] > 0.2)[:, None, None]))


def new_trainer(config, model=None, objective=None, num_channels=1, world=ALONE):
    resumed = checkpoint.steps_saved(config.exp_dir)
    trainer = model_trainer(
        config,
        model or new_model(),
        objective or base_objective(),
        MemoryBatches(num_channels, world),
        [random_batch(number, num_channels) for number in (12345, 54321)][world.rank :: world.size],
        world,
    )
    if world.is_first:
        trainer.metrics = MetricLogger(config.exp_dir, resumed[-1] if resumed else -1)
    if resumed:
        trainer.load_state_dict(checkpoint.load(checkpoint.checkpoint_path(config.exp_dir, resumed[-1])))
    return trainer


class Wrapped:
    """An objective that calls `before` with the generator first, and `after` with the loss."""

    def __init__(self, objective, before=lambda generator: None, after=lambda loss: loss):
        self.objective, self.before, self.after = objective, before, after

    def __call__(self, model, batch, generator):
        self.before(generator)
        return self.after(self.objective(model, batch, generator))

    def __getattr__(self, name):
        return getattr(self.objective, name)


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
    """What a run has recorded, but for its speed."""
    lines = (Path(exp_dir) / "log.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] in ("train", "valid")]
