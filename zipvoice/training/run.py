# SPDX-License-Identifier: Apache-2.0
"""From the description of a run to a trained model: builds what the trainer needs, and continues where it stopped."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import torch
from torch import Tensor
from tqdm.contrib.logging import logging_redirect_tqdm

from zipvoice.audio.griffin_lim import GriffinLim
from zipvoice.audio.vocos import load_vocos
from zipvoice.config import ModelFile, RunConfig, Variant, read_json, to_dict, write_json
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.pretrained import (
    Pretrained,
    dialog_from_base,
    distilled_from_base,
    load_pretrained,
    stereo_from_dialog,
)
from zipvoice.text.tokenizers import build_tokenizer
from zipvoice.text.tokens import TokenTable
from zipvoice.training import checkpoint
from zipvoice.training.averaging import publish
from zipvoice.training.data import Batch, TrainingData, ValidationData
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
from zipvoice.training.optimizer import freeze
from zipvoice.training.tracking import Samples, Tracker
from zipvoice.training.trainer import StopReason, Trainer, seed_of
from zipvoice.weights import load_strictly

FIXED_SETTINGS = ("variant", "model", "feature", "tokenizer", "average_period")
"""What a run cannot change once it has checkpoints."""

logger = logging.getLogger(__name__)


def train(config: RunConfig) -> StopReason:
    """Train a model as described, from the newest checkpoint of the run if it has one.

    The folder of the run becomes a model directory: model.json, tokens.txt and, when training ends, model.safetensors,
    the mean weights since the last checkpoint but one. Beside them are run.json, the checkpoints and the logs.

    Returns why training ended. Raises ValueError for settings that do not fit together, data that cannot be used, a
    checkpoint that belongs to another model, or a loss that is not finite.
    """
    _check_counts(config)
    exp_dir, table = Path(config.exp_dir), TokenTable.read(config.tokens)
    resuming = bool(checkpoint.steps_saved(exp_dir))
    if resuming:
        _check_unchanged(config, table)
    model, objective = _initial(config, table)
    _describe(config, table)
    with _log_to(exp_dir / "train.log"):
        trainer = _trainer(config, table, model, objective)
        if resuming:
            path = checkpoint.checkpoint_path(exp_dir, checkpoint.steps_saved(exp_dir)[-1])
            trainer.load_state_dict(checkpoint.load(path))
            logger.info("continuing from %s", path)
        with closing(trainer.tracker):
            reason = trainer.run()
        if reason != "interrupted":
            logger.info("wrote %s", publish(exp_dir))
    return reason


def _check_counts(config: RunConfig) -> None:
    for name in ("average_period", "log_every", "valid_every", "save_every", "keep_last"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name} must be at least 1, not {getattr(config, name)}")


# ---------------------------------------------------------------- the folder of the run


def _describe(config: RunConfig, table: TokenTable) -> None:
    """Write what makes the folder a model directory, weights apart, and the description of the run."""
    exp_dir = Path(config.exp_dir)
    write_json(ModelFile(config.model, config.feature, config.variant, config.tokenizer), exp_dir / "model.json")
    table.write(exp_dir / "tokens.txt")
    write_json(config, exp_dir / "run.json")


def _check_unchanged(config: RunConfig, table: TokenTable) -> None:
    """Raise ValueError if the checkpoints in the folder are of another model than the one described."""
    exp_dir = Path(config.exp_dir)
    before, now = to_dict(read_json(RunConfig, exp_dir / "run.json")), to_dict(config)
    changed = [name for name in FIXED_SETTINGS if before[name] != now[name]]
    details = [f"{name} was {_short(before[name])}, is {_short(now[name])}" for name in changed]
    if TokenTable.read(exp_dir / "tokens.txt") != table:
        details.append(f"{config.tokens} differs from {exp_dir / 'tokens.txt'}")
    if details:
        raise ValueError(
            f"{exp_dir} holds checkpoints of a run with other settings ({'; '.join(details)}). "
            "Take these back, or choose another exp_dir"
        )


@contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Send the package's messages to a file and to stderr, there without breaking the progress bar."""
    package = logging.getLogger("zipvoice")
    level = package.level
    handlers: list[logging.Handler] = [logging.FileHandler(path, encoding="utf-8"), logging.StreamHandler()]
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        package.addHandler(handler)
    package.setLevel(logging.INFO)
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


def _trainer(config: RunConfig, table: TokenTable, model: ZipVoice, objective: Objective) -> Trainer:
    tokenizer = build_tokenizer(config.tokenizer, table.tags)
    batches = TrainingData(config.data, table, tokenizer, scale=config.feature.scale, seed=config.seed)
    valid_batches: Iterable[Batch] = []
    if config.data.dev:
        valid_batches = ValidationData(config.data, table, tokenizer, scale=config.feature.scale)
    else:
        logger.warning("no validation data is given (data.dev), so no validation loss will be known")
    steps = checkpoint.steps_saved(config.exp_dir)
    tracker = Tracker(config.exp_dir, steps[-1] if steps else -1)
    show = _samples(config, valid_batches, tracker) if config.sample_every else None
    return Trainer(config, model.to(_device(config.device)), objective, batches, valid_batches, tracker, show)


def _initial(config: RunConfig, table: TokenTable) -> tuple[ZipVoice, Objective]:
    """The model with its initial weights, frozen where it is not to be trained, and what it is to minimise."""
    torch.manual_seed(seed_of(config.seed, "initial weights"))
    model = ZipVoice(config.model, table.vocabulary, config.variant)
    teacher = _teacher(config, table)
    source = teacher or (_source(config.init_from, table) if config.init_from else None)
    if source:
        _take_weights(model, source)
    elif config.variant == "zipvoice_dialog_stereo":
        logger.warning("training a stereo model from scratch; init_from can name a dialogue model to start from")
    if teacher:
        freeze(model, [name for name, _ in model.named_children() if name != "fm_decoder"])
    freeze(model, config.optim.freeze)
    return model, _objective(config, teacher)


def _objective(config: RunConfig, teacher: Pretrained | None) -> Objective:
    settings = config.objective
    place = settings.mask or ("suffix" if "dialog" in config.variant else "span")
    mask = ConditionMask(BASE_MASK if place == "span" else DIALOG_MASK, place)
    if teacher:
        ema_decay = settings.ema_decay if teacher.variant == "zipvoice_distill" else None
        return Distillation(teacher.model.to(_device(config.device)), ema_decay, mask, shared_text=True)
    if config.variant == "zipvoice_dialog_stereo":
        return StereoFlowMatching(mask, settings.condition_drop_ratio, settings.exclusive_weight)
    return FlowMatching(mask, settings.condition_drop_ratio)


def _teacher(config: RunConfig, table: TokenTable) -> Pretrained | None:
    """The teacher of a distilled model; other variants have none."""
    path = config.objective.teacher
    if (config.variant == "zipvoice_distill") != (path is not None):
        raise ValueError(
            "objective.teacher is for the variant zipvoice_distill, which needs it: a base model for the first stage, "
            "the result of the first stage for the second"
        )
    if path is None:
        return None
    if config.init_from is not None:
        raise ValueError("a distilled model starts from its teacher: leave out init_from")
    teacher = _source(path, table)
    if teacher.table != table:
        raise ValueError(f"a distilled model knows the tokens of its teacher and no more: give {path}/tokens.txt")
    return teacher


def _source(directory: str, table: TokenTable) -> Pretrained:
    """A model to start from. Raises ValueError unless its tokens have the same ids in the run's table."""
    source = load_pretrained(directory)
    for number, token in enumerate(source.table.tokens):
        if number >= len(table) or table.tokens[number] != token:
            there = f"is {table.tokens[number]!r}" if number < len(table) else "does not exist"
            raise ValueError(
                f"token {number} is {token!r} in {directory} but {there} in the token table of the run; "
                "give the model's own tokens.txt, to which tokens can be added at the end"
            )
    return source


def _take_weights(model: ZipVoice, source: Pretrained) -> None:
    """Start from the weights of a model of the same variant, or of the one that `model` is derived from."""
    weights, fresh = source.model.state_dict(), model.state_dict()
    surgery = SURGERY.get((source.variant, model.variant))
    if surgery is not None:
        weights = surgery(weights, fresh)
    elif source.variant == model.variant:
        added = fresh["embed.weight"][len(source.table) :]
        weights = {**weights, "embed.weight": torch.cat([weights["embed.weight"], added])}
    else:
        raise ValueError(f"a {model.variant} model cannot start from the weights of a {source.variant} model")
    load_strictly(model, weights, f"the {source.variant} model to start from")


SURGERY: dict[tuple[Variant, Variant], Callable[..., dict[str, Tensor]]] = {
    ("zipvoice", "zipvoice_distill"): distilled_from_base,
    ("zipvoice", "zipvoice_dialog"): dialog_from_base,
    ("zipvoice_dialog", "zipvoice_dialog_stereo"): stereo_from_dialog,
}


def _samples(config: RunConfig, valid_batches: Iterable[Batch], tracker: Tracker) -> Samples:
    batch = next(iter(valid_batches), None)
    if batch is None:
        raise ValueError("sample_every needs validation data (data.dev) to make samples of; set it to 0 without")
    if config.variant == "zipvoice_dialog_stereo":
        batch = channels(batch, slice(0, 2))
    vocoder = GriffinLim() if config.vocoder == "griffin-lim" else load_vocos(config.vocoder).eval()
    return Samples(batch, tracker, config.feature, vocoder)


def _device(name: str | None) -> torch.device:
    """The device of that name, by default a GPU if there is one."""
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
