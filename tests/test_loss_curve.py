# SPDX-License-Identifier: Apache-2.0
"""The losses of a small training run on real recordings, step by step, as they were when they were stored.

Whatever changes what training does shows here: data, model, objective, optimizer, schedules or random numbers. After an
intended change store the new losses and look at how far they are from the old ones:

    python tests/test_loss_curve.py

Weights and activations are float64, so that the order of additions, which differs between processors and numbers of
threads, does not matter.
"""

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from corpus_runs import LETTERS, SIZES

from zipvoice.config.data import DataConfig, ManifestConfig, PrepareOptions
from zipvoice.config.text import TokenizerConfig
from zipvoice.config.training import OptimizerConfig, RunConfig
from zipvoice.data.dataset import TrainingData
from zipvoice.data.prepare import prepare
from zipvoice.files import write_text
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.text.token_table import TokenTable
from zipvoice.text.tokenizers import build_tokenizer
from zipvoice.training.lr_scheduler import EdenSchedule
from zipvoice.training.objectives import BASE_MASK, ConditionMask, FlowMatching
from zipvoice.training.run import model_trainer

CORPUS = Path(__file__).parents[1] / "egs" / "mini" / "corpus"
CURVE = Path(__file__).parent / "data" / "loss_curve.json"
NUM_STEPS = 200


def losses(folder, num_steps, change=lambda trainer: None):
    """The losses of the first steps of a run, after a change to its trainer."""
    table = TokenTable((*LETTERS, *"-;:!?"))
    prepare(PrepareOptions(str(CORPUS / "train.tsv"), str(folder), features=True, storage="numpy_files"))
    data = DataConfig(
        train=(ManifestConfig(str(folder / "custom_cuts_train.jsonl.gz")),), max_duration=6.0, num_workers=0
    )
    optim = OptimizerConfig(base_lr=0.03, lr_batches=100.0, lr_epochs=50.0, lr_hours=None)
    settings = {"precision": "fp32", "log_every": 1000, "ref_duration": 0.03}  # 200 batches of that duration in each
    config = RunConfig(str(folder / "exp"), model=SIZES, data=data, optim=optim, **settings)
    torch.manual_seed(0)
    model = ZipVoice(SIZES, table.vocabulary).double()
    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear):  # embeddings of time and some activations are float32 always
            layer.register_forward_pre_hook(lambda module, inputs: (inputs[0].double(),))
    batches = TrainingData(data, table, build_tokenizer(TokenizerConfig("simple")), scale=0.1, seed=config.seed)
    objective = FlowMatching(ConditionMask(BASE_MASK, "span"))
    trainer = model_trainer(config, model, objective, batches)
    change(trainer)
    return [trainer.train_step([doubled(next(batches))]).value.item() for _ in range(num_steps)]


def doubled(batch):
    return replace(batch, features=batch.features.double())


def worst(curve):
    """The greatest difference from the stored losses."""
    stored = json.loads(CURVE.read_text())
    return max(abs(a - b) for a, b in zip(curve, stored, strict=False))


def test_the_first_losses_are_as_stored(tmp_path):
    assert worst(losses(tmp_path, 20)) < 2e-5


@pytest.mark.slow
def test_every_loss_is_as_stored(tmp_path):
    curve = losses(tmp_path, NUM_STEPS)
    assert worst(curve) < 1e-4
    assert sum(curve[-20:]) < 0.7 * sum(curve[:20])


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        lambda trainer: trainer.optimizer.param_groups[0].update(betas=(0.9, 0.97)),
        lambda trainer: trainer.optimizer.param_groups[0].update(clipping_scale=0.2),
        lambda trainer: setattr(trainer.objective, "condition_drop_ratio", 0.25),
        lambda trainer: setattr(trainer, "schedule", EdenSchedule(replace(trainer.config, ref_duration=0.04))),
    ],
    ids=["beta", "clipping", "dropped texts", "schedules of the model"],
)
def test_a_change_shows(tmp_path, change):
    assert worst(losses(tmp_path, 40, change)) > 1e-3


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        curve = losses(Path(folder), NUM_STEPS)
    if CURVE.exists():
        sys.stdout.write(f"greatest difference from the losses stored before: {worst(curve):.2e}\n")
    write_text(CURVE, json.dumps([round(loss, 7) for loss in curve]) + "\n")
