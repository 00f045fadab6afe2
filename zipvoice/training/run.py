# SPDX-License-Identifier: Apache-2.0
"""From the description of a run to a trained model: builds what the trainer needs, and continues where it stopped."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tqdm.contrib.logging import logging_redirect_tqdm

from zipvoice.config.model_file import ModelFile
from zipvoice.config.strict_json import read_json, to_dict, write_json
from zipvoice.config.training import RunConfig
from zipvoice.data.collate import Batch
from zipvoice.data.dataset import TrainingData, ValidationData
from zipvoice.data.vocabulary import token_table
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.pretrained import Pretrained
from zipvoice.text.token_table import TokenTable
from zipvoice.text.tokenizers import build_tokenizer
from zipvoice.training import checkpoint
from zipvoice.training.averaging import publish
from zipvoice.training.compile import compile_elementwise, recompute_activations
from zipvoice.training.distributed import ALONE, World, joined, num_restarts
from zipvoice.training.logger import Samples, Tracker
from zipvoice.training.malloc import keep_freed_memory
from zipvoice.training.model_init import inherited, initial_model, source_model
from zipvoice.training.objectives import (
    BASE_MASK,
    DIALOG_MASK,
    ConditionMask,
    Distillation,
    FlowMatching,
    Objective,
    StereoFlowMatching,
    channels,
)
from zipvoice.training.trainer import StopReason, Trainer
from zipvoice.vocoder.load import load_vocoder

FIXED_SETTINGS = ("variant", "model", "feature", "tokenizer", "lora", "average_period")
"""What a run cannot change once it has checkpoints."""

logger = logging.getLogger(__name__)


def train(config: RunConfig) -> StopReason:
    """Train a model as described, from the newest checkpoint of the run if it has one.

    The folder of the run becomes a model directory: model.json, tokens.txt and, when training ends, model.safetensors,
    the mean weights since the last checkpoint but one. Beside them are run.json, the checkpoints and the logs. Started
    by torchrun, each process takes its share of the data, and the first one writes.

    Returns why training ended. Raises ValueError for settings that do not fit together, data that cannot be used, a
    checkpoint that belongs to another model, too little memory, or losses that are not finite time and again.
    """
    _check_counts(config)
    keep_freed_memory()
    with joined(config.device) as world, log_to(Path(config.exp_dir) / "train.log", world):
        source = source_model(config)
        config = inherited(config, source)
        table = token_table(config, source.table if source else None)
        state = _state_to_resume(config, table, world)
        model, objective = initial_model(config, table, source), build_objective(config, source, world.device)
        if world.is_first:
            _describe(config, table, source)
        trainer = _trainer(config, table, model, objective, state, world)
        with closing(trainer.tracker) if trainer.tracker else nullcontext():
            reason = trainer.run()
        if world.is_first and reason != "interrupted":
            logger.info("wrote %s", publish(config.exp_dir, config.save_every))
    return reason


def _check_counts(config: RunConfig) -> None:
    """Raise ValueError for a number that is too small."""
    counts = ("average_period", "log_every", "valid_every", "save_every", "keep_last", "accumulate", "max_bad_batches")
    for name in counts:
        if getattr(config, name) < 1:
            raise ValueError(f"{name} must be at least 1, not {getattr(config, name)}")
    if config.save_every_seconds is not None and config.save_every_seconds <= 0:
        raise ValueError(f"save_every_seconds must be above 0, not {config.save_every_seconds}")


# ---------------------------------------------------------------- the folder of the run


def _describe(config: RunConfig, table: TokenTable, source: Pretrained | None) -> None:
    """Write what makes the folder a model directory, weights apart, and the description of the run.

    The sampling that suits it is that of the model it starts from, unless it becomes another kind.
    """
    exp_dir = Path(config.exp_dir)
    file = ModelFile(config.model, config.feature, config.variant, config.tokenizer)
    if source is not None:
        file = replace(file, sampling=source.file.sampling if source.variant == config.variant else None)
    write_json(file, exp_dir / "model.json")
    table.write(exp_dir / "tokens.txt")
    write_json(config, exp_dir / "run.json")


def _state_to_resume(config: RunConfig, table: TokenTable, world: World) -> dict[str, Any] | None:
    """The state to go on from, by the decision of the first process; None to begin.

    Processes that torchrun has started again after a failure go on from the newest checkpoint, whatever `resume` was.
    """
    found = None
    if world.is_first:
        checkpoint.sweep(config.exp_dir)
        found = checkpoint.to_resume(config.exp_dir, "auto" if num_restarts() else config.resume)
        if found:
            _check_unchanged(config, table, found[0].parent)
            logger.info("continuing from %s", found[0])
    path = world.of_first(found[0] if found else None)
    if world.is_first or path is None:
        return found[1] if found else None
    return checkpoint.load(path)


def _check_unchanged(config: RunConfig, table: TokenTable, exp_dir: Path) -> None:
    """Raise ValueError if the checkpoints in a folder are of another model than the one described."""
    before, now = to_dict(read_json(RunConfig, exp_dir / "run.json")), to_dict(config)
    changed = [name for name in FIXED_SETTINGS if before[name] != now[name]]
    details = [f"{name} was {_short(before[name])}, is {_short(now[name])}" for name in changed]
    if TokenTable.read(exp_dir / "tokens.txt") != table:
        details.append(f"{config.tokens or 'the token table'} differs from {exp_dir / 'tokens.txt'}")
    if details:
        raise ValueError(
            f"{exp_dir} holds checkpoints of a run with other settings ({'; '.join(details)}). "
            "Take these back, or choose another exp_dir"
        )


@contextmanager
def log_to(path: Path, world: World = ALONE) -> Iterator[None]:
    """Send the package's messages to a file and to stderr, there without breaking the progress bar.

    Processes other than the first send warnings to stderr only.
    """
    package = logging.getLogger("zipvoice")
    level = package.level
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if world.is_first:
        path.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(path, encoding="utf-8"))
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        package.addHandler(handler)
    package.setLevel(logging.INFO if world.is_first else logging.WARNING)
    propagate, package.propagate = package.propagate, False  # else a root handler would repeat every line
    try:
        with logging_redirect_tqdm([package]):
            yield
    finally:
        package.setLevel(level)
        package.propagate = propagate
        for handler in handlers:
            package.removeHandler(handler)
            handler.close()


# ---------------------------------------------------------------- the parts of a run


def _trainer(
    config: RunConfig,
    table: TokenTable,
    model: ZipVoice,
    objective: Objective,
    state: Mapping[str, Any] | None,
    world: World,
) -> Trainer:
    """The trainer of this process, in the state to go on from if there is one."""
    tokenizer = build_tokenizer(config.tokenizer, table.tags)
    share: dict[str, Any] = {"scale": config.feature.scale, "rank": world.rank, "world_size": world.size}
    batches = TrainingData(config.data, table, tokenizer, seed=config.seed, **share)
    valid_batches: Iterable[Batch] = []
    if config.data.dev:
        valid_batches = ValidationData(config.data, table, tokenizer, **share)
    elif world.is_first:
        logger.warning("no validation data is given (data.dev), so no validation loss will be known")
    tracker = Tracker(config.exp_dir, state["step"] if state else -1) if world.is_first else None
    show = _samples(config, valid_batches, tracker) if tracker and config.sample_every else None
    model = prepared(config, model.to(world.device), world.device)
    trainer = Trainer(config, model, objective, batches, valid_batches, tracker, show, world)
    if state:
        restore(trainer, state)
    return trainer


def restore(trainer: Trainer, state: Mapping[str, Any]) -> None:
    """Bring a trainer into the state of a checkpoint. Raises ValueError for one that lacks a part of it."""
    try:
        trainer.load_state_dict(state)
    except KeyError as error:
        raise ValueError(
            f"the checkpoint of step {state.get('step')} has no {error}: another version or another program wrote it, "
            "and the run cannot go on from it. To go on from its weights alone, name a model directory in init_from"
        ) from error


def prepared(config: RunConfig, model: ZipVoice, device: torch.device) -> ZipVoice:
    """The model, told how to carry out its computations."""
    if config.activation_checkpointing:
        recompute_activations(model)
    if config.compile:
        compile_elementwise(device)
    return model


def build_objective(config: RunConfig, source: Pretrained | None, device: torch.device) -> Objective:
    """What is minimised; the teacher of a distilled model is the one that it starts from."""
    settings = config.objective
    place = settings.mask or ("suffix" if "dialog" in config.variant else "span")
    mask = ConditionMask(settings.mask_fraction or (BASE_MASK if place == "span" else DIALOG_MASK), place)
    if config.objective.teacher is not None:
        assert source is not None
        ema_decay = settings.ema_decay if source.variant == "zipvoice_distill" else None
        return Distillation(source.model.to(device), ema_decay, mask, shared_text=True)
    if config.variant == "zipvoice_dialog_stereo":
        return StereoFlowMatching(mask, settings.condition_drop_ratio, settings.exclusive_weight)
    return FlowMatching(mask, settings.condition_drop_ratio, settings.time_power)


def _samples(config: RunConfig, valid_batches: Iterable[Batch], tracker: Tracker) -> Samples:
    batch = next(iter(valid_batches), None)
    if batch is None:
        raise ValueError("sample_every needs validation data (data.dev) to make samples of; set it to 0 without")
    if config.variant == "zipvoice_dialog_stereo":
        batch = channels(batch, slice(0, 2))
    vocoder = load_vocoder(config.vocoder)
    return Samples(batch, tracker, config.feature, vocoder)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
