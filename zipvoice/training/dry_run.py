# SPDX-License-Identifier: Apache-2.0
"""A training run as it would go on, for looking into it: nothing is trained and nothing is written."""

from dataclasses import replace

from zipvoice.config.training import RunConfig
from zipvoice.data.dataset import TrainingData
from zipvoice.data.vocabulary import token_table
from zipvoice.text.tokenizers import build_tokenizer
from zipvoice.training import checkpoint
from zipvoice.training.distributed import own_device
from zipvoice.training.model_init import inherited, initial_model, source_model
from zipvoice.training.run import build_objective, prepared, restore
from zipvoice.training.trainer import Trainer


def at_next_step(config: RunConfig) -> Trainer:
    """The trainer of a run, seeded for its next step after the newest checkpoint, or for its first step.

    Its `batches` are those that training would go on with. Raises ValueError as training does for settings, data and
    checkpoints that cannot be used.
    """
    source = source_model(config)
    config = replace(inherited(config, source), compile=False)  # nobody can look into compiled code
    table = token_table(config, source.table if source else None)
    device = own_device(config.device, local_rank=0, world_size=1)
    found = checkpoint.to_resume(config.exp_dir, config.resume)
    model = prepared(config, initial_model(config, table, source).to(device), device)
    tokenizer = build_tokenizer(config.tokenizer, table.tags)
    batches = TrainingData(config.data, table, tokenizer, scale=config.feature.scale, seed=config.seed)
    trainer = Trainer(config, model, build_objective(config, source, device), batches, [], tracker=None)
    if found:
        restore(trainer, found[1])
    model.set_batch_count(trainer.batch_count(trainer.step))
    trainer.seed(0)
    return trainer
