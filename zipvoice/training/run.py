# SPDX-License-Identifier: Apache-2.0
"""From the description of a run to a trained model: assembles the trainer, and continues where the run stopped."""

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch

from zipvoice import heap
from zipvoice.audio.mel import NUM_MELS, SAMPLING_RATE
from zipvoice.config.model_file import ModelFile
from zipvoice.config.strict_json import write_json
from zipvoice.config.synthesis import MEAN_FLOW_SAMPLING, PUBLISHED_SAMPLING, SamplingConfig
from zipvoice.config.training import LoopConfig, RunConfig
from zipvoice.config.vocoder import VocoderRunConfig
from zipvoice.data.collate import Batch
from zipvoice.data.dataset import TrainingData, ValidationData
from zipvoice.data.overlap import warn_of_shared
from zipvoice.data.segments import SegmentBatch, SegmentBatches, Segments, whole_recordings
from zipvoice.data.vocabulary import token_table
from zipvoice.files import sweep
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.runtime.select import load_vocoder
from zipvoice.runtime.torch import fit_threads
from zipvoice.seeds import seed_of
from zipvoice.text.token_table import TokenTable
from zipvoice.text.tokenizers import build_tokenizer
from zipvoice.training import checkpoint
from zipvoice.training.adversarial import VocoderObjective
from zipvoice.training.averaging import RunningAverage, on_cpu, publish
from zipvoice.training.compile import compile_elementwise, recompute_activations
from zipvoice.training.distributed import ALONE, World, joined, num_restarts, own_device
from zipvoice.training.inputs import check_inputs, check_vocoder_inputs
from zipvoice.training.lora import merged
from zipvoice.training.losses import Objective
from zipvoice.training.lr_scheduler import CosineSchedule, EdenSchedule
from zipvoice.training.model_init import inherited, initial_model, source_model, teacher_model
from zipvoice.training.objectives import channels
from zipvoice.training.observation.logger import MetricLogger, Samples, log_to
from zipvoice.training.optimizer import ScaledAdam, parameter_groups
from zipvoice.training.select import build_objective
from zipvoice.training.settings import check_same, check_unchanged
from zipvoice.training.trainer import Batches, StopReason, Trainer
from zipvoice.vocoder.discriminators import Discriminators
from zipvoice.vocoder.vocos import Vocos, load_vocos, save_vocos

NUM_COPIES = 3
"""Validation recordings whose copies by the vocoder are recorded in TensorBoard."""

logger = logging.getLogger(__name__)


def train(config: RunConfig) -> StopReason:
    """Train a model as described, from the newest checkpoint of the run if it has one.

    The folder of the run becomes a model directory: model.json, tokens.txt and, when training ends, model.safetensors,
    the mean weights over the last interval between checkpoints. Beside them are run.json, the checkpoints and the logs.
    Started by torchrun, each process takes its share of the data, and the first one writes.

        train(read_json(RunConfig, "conf/zipvoice.json"))

    Returns why training ended. Raises ValueError for settings that do not fit together, data that cannot be used, a
    checkpoint that belongs to another model, too little memory, or too many losses in a row that are not finite.
    """
    return _run(ModelRun, config)


def train_vocoder(config: VocoderRunConfig) -> StopReason:
    """Train a vocoder as described, from the newest checkpoint of the run if it has one.

    The folder of the run becomes a vocoder directory with the averaged weights of the newest checkpoint, beside
    run.json, the checkpoints and the logs. Started by torchrun, each process makes batches of its own, and the first
    one writes.

        train_vocoder(read_json(VocoderRunConfig, "conf/vocos.json"))

    Returns why training ended. Raises ValueError as `train` does.
    """
    return _run(VocoderRun, config)


def at_next_step(config: RunConfig) -> Trainer:
    """The trainer of a run as `train` assembles it, seeded for its next step; nothing is trained or written.

    Its `batches` are those that training would go on with. Raises ValueError as training does for settings, data and
    checkpoints that cannot be used.
    """
    run = ModelRun(replace(config, compile=False))  # hooks do not see into compiled code
    found = _to_resume(run, config.resume)
    world = World(device=own_device(config.device, local_rank=0, world_size=1))
    trainer = assemble(run, world, found[1] if found else None)
    trainer.prepare_step()
    trainer.seed(0)
    return trainer


class Run:
    """What differs between runs of different kinds of models.

    Attributes:
        config: the description of the run, complete.
        fixed: settings that a run cannot change once it has checkpoints.
    """

    config: LoopConfig
    fixed: tuple[str, ...]

    def differences(self, exp_dir: Path) -> list[str]:
        """What differs from the run whose checkpoints are in a folder, `fixed` settings apart."""
        return []

    def trainer(self, world: World) -> Trainer:
        """A trainer of this process, at step 0."""
        raise NotImplementedError

    def describe(self) -> None:
        """Write the files that make the folder of the run a model directory, weights apart."""

    def observe(self, trainer: Trainer, metrics: MetricLogger) -> None:
        """Let the trainer of the first process record what is particular to these models."""

    def publish(self) -> None:
        """Write the result of a run that has ended."""


def assemble(run: Run, world: World, state: Mapping[str, Any] | None) -> Trainer:
    """The trainer of this process, in the state of a checkpoint if there is one.

    Raises ValueError for a checkpoint that lacks a part of the state.
    """
    trainer = run.trainer(world)
    try:
        if state:
            trainer.load_state_dict(state)
    except KeyError as error:
        raise ValueError(
            f"the checkpoint of step {(state or {}).get('step')} has no {error}: another version or another program "
            "wrote it, and the run cannot go on from it. To start from its weights alone, name a model directory in "
            "init_from"
        ) from error
    return trainer


def _run(kind: Callable[[Any], Run], config: LoopConfig) -> StopReason:
    exp_dir = Path(config.exp_dir)
    heap.keep_freed()
    fit_threads()
    with joined(config.device) as world, log_to(exp_dir / "train.log", world), ExitStack() as stack:
        run = kind(config)
        state = _state_to_resume(run, world)
        trainer = assemble(run, world, state)
        if state and trainer.config.is_finished(trainer.step, trainer.batches.epoch):
            check_same(run.config, trainer.step)
        if world.is_first:
            run.describe()
            write_json(run.config, exp_dir / "run.json")
            trainer.metrics = stack.enter_context(closing(MetricLogger(exp_dir, trainer.step if state else -1)))
            run.observe(trainer, trainer.metrics)
        reason = trainer.run()
        if world.is_first and reason != "interrupted":
            run.publish()
    return reason


# ---------------------------------------------------------------- the folder of the run


def _state_to_resume(run: Run, world: World) -> dict[str, Any] | None:
    """The state to continue from, as the first process decides; None to begin.

    Processes that torchrun has started again after a failure continue from the newest checkpoint, whatever `resume`
    says.
    """
    found, config = None, run.config
    if world.is_first:
        sweep(config.exp_dir)
        found = _to_resume(run, "auto" if num_restarts() else config.resume)
        if found:
            logger.info("continuing from %s", found[0])
    path = world.of_first(found[0] if found else None)
    if world.is_first or path is None:
        return found[1] if found else None
    return checkpoint.load(path)


def _to_resume(run: Run, resume: str) -> tuple[Path, dict[str, Any]] | None:
    """The checkpoint to go on from, and its state. Raises ValueError if it is of a run with other settings."""
    found = checkpoint.to_resume(run.config.exp_dir, resume)
    if found:
        check_unchanged(run.config, run.fixed, found[0].parent, run.differences(found[0].parent))
    return found


# ---------------------------------------------------------------- the four models


class ModelRun(Run):
    """A run of one of the four models."""

    fixed = (
        "variant", "model", "feature", "tokenizer", "lora", "average_period", "optim.freeze", "objective.teacher",
    )  # fmt: skip

    config: RunConfig

    def __init__(self, config: RunConfig) -> None:
        check_inputs(config)
        self.teacher = teacher_model(config)
        self.source = source_model(config, self.teacher)
        self.config = inherited(config, self.source)
        _check_features(self.config)
        self.table = token_table(self.config, self.source.table if self.source else None)

    def differences(self, exp_dir: Path) -> list[str]:
        if TokenTable.read(exp_dir / "tokens.txt") == self.table:
            return []
        return [f"{self.config.tokens or 'the token table'} differs from {exp_dir / 'tokens.txt'}"]

    def trainer(self, world: World) -> Trainer:
        config = self.config
        model = initial_model(config, self.table, self.source)
        objective = build_objective(config, self.teacher, self.sampling, world.device)
        tokenizer = build_tokenizer(config.tokenizer, self.table.tags)
        share: dict[str, Any] = {"scale": config.feature.scale, "rank": world.rank, "world_size": world.size}
        batches = TrainingData(config.data, self.table, tokenizer, seed=config.seed, **share)
        valid_batches: Iterable[Batch] = []
        if config.data.dev:
            valid_batches = dev = ValidationData(config.data, self.table, tokenizer, **share)
            if world.is_first:
                names = ", ".join(item.path for item in config.data.dev)
                warn_of_shared(batches.survey.sounds, dev.survey.sounds, names)
        elif world.is_first:
            logger.warning("no validation data is given (data.dev), so no validation loss will be known")
        return model_trainer(config, prepared(config, model, world), objective, batches, valid_batches, world)

    @property
    def file(self) -> ModelFile:
        """The content of model.json; the sampling is that of the model to start from, if it is of the same kind."""
        config, source = self.config, self.source
        sampling = source.file.sampling if source is not None and source.variant == config.variant else None
        if config.objective.kind == "mean-flow" and (sampling is None or sampling.solver != "mean-flow"):
            sampling = MEAN_FLOW_SAMPLING
        if config.objective.kind == "backward-distillation":
            usual = sampling or PUBLISHED_SAMPLING[config.variant]
            sampling = replace(usual, num_steps=config.objective.student_steps, time_grid=None)
        vocoder = source.file.vocoder if source is not None else None
        return ModelFile(config.model, config.feature, config.variant, config.tokenizer, sampling, vocoder)

    @property
    def sampling(self) -> SamplingConfig:
        """How the trained model is sampled, in validation as in synthesis."""
        return self.file.sampling_of(self.config.variant)

    def describe(self) -> None:
        exp_dir = Path(self.config.exp_dir)
        write_json(self.file, exp_dir / "model.json")
        self.table.write(exp_dir / "tokens.txt")

    def observe(self, trainer: Trainer, metrics: MetricLogger) -> None:
        config = self.config
        if not config.sample_every:
            return
        batch = next(iter(trainer.valid_batches))
        if config.variant == "zipvoice_dialog_stereo":
            batch = channels(batch, slice(0, 2))
        vocoder = load_vocoder(config.vocoder, device="cpu")
        trainer.show = Samples(batch, metrics, config.feature, self.sampling, vocoder, config.sample_every)

    def publish(self) -> None:
        logger.info("wrote %s", publish(self.config.exp_dir, self.config.save_every))


def _check_features(config: RunConfig) -> None:
    """Raise ValueError for a model that takes other features than its data have."""
    if config.model.feat_dim != NUM_MELS:
        raise ValueError(f"model.feat_dim is the number of mel bins, {NUM_MELS}, not {config.model.feat_dim}")
    is_stereo = config.variant == "zipvoice_dialog_stereo"
    if config.data.stereo != is_stereo:
        remedy = "set it, and prepare the data with --stereo" if is_stereo else "leave it out"
        raise ValueError(f"data.stereo is for stereo models, and this one is {config.variant}: {remedy}")


def model_trainer(
    config: RunConfig,
    model: ZipVoice,
    objective: Objective[ZipVoice, Batch],
    batches: Batches,
    valid_batches: Iterable[Batch] = (),
    world: World = ALONE,
) -> Trainer:
    """The trainer of a model on its device, with ScaledAdam and the running average of the weights."""
    optim = config.optim
    groups = parameter_groups(model, optim.base_lr)
    trainer = Trainer(
        config,
        model,
        objective,
        ScaledAdam(groups, lr=optim.base_lr, clipping_scale=optim.clipping_scale),
        EdenSchedule(config, world.size),
        batches,
        valid_batches,
        accumulate=config.accumulate,
        average=RunningAverage(on_cpu(model.state_dict()), config.average_period) if world.is_first else None,
        world=world,
    )
    trainer.plain = lambda weights: merged(weights, config.lora)
    return trainer


def prepared(config: RunConfig, model: ZipVoice, world: World) -> ZipVoice:
    """The model on its device, computed as the run asks for."""
    if config.activation_checkpointing:
        recompute_activations(model)
    if config.compile:
        compile_elementwise(world.device)
    return model.to(world.device)


# ---------------------------------------------------------------- vocoders


class VocoderRun(Run):
    """A run of a vocoder."""

    fixed = ("vocos", "discriminators")

    config: VocoderRunConfig

    def __init__(self, config: VocoderRunConfig) -> None:
        check_vocoder_inputs(config)
        self.config = config

    def trainer(self, world: World) -> Trainer:
        config = self.config
        torch.manual_seed(seed_of(config.seed, "initial weights"))
        discriminators = Discriminators(config.discriminators)
        vocos = load_vocos(config.init_from) if config.init_from else Vocos(config.vocos)
        if vocos.config != config.vocos:
            raise ValueError(f"the vocoder in {config.init_from} has other sizes: {vocos.config}, not {config.vocos}")
        segments = Segments(config)
        batches = SegmentBatches(segments, world.rank, world.size)
        dev = whole_recordings(config, segments.sounds) if world.is_first else []
        return vocoder_trainer(config, vocos.to(world.device), discriminators.to(world.device), batches, dev, world)

    def observe(self, trainer: Trainer, metrics: MetricLogger) -> None:
        objective = cast(VocoderObjective, trainer.objective)

        @torch.no_grad()
        def copies(model: Vocos, step: int) -> None:
            if step % self.config.valid_every == 0:
                for number, batch in zip(range(NUM_COPIES), trainer.valid_batches, strict=False):
                    wave = objective.averaged(objective.log_mel(batch.samples.to(trainer.device)).mT)
                    metrics.writer.add_audio(f"copies/{number}", wave, step, SAMPLING_RATE)

        trainer.show = copies
        trainer.saved = lambda: save_vocos(objective.averaged, self.config.exp_dir)


def vocoder_trainer(
    config: VocoderRunConfig,
    vocos: Vocos,
    discriminators: Discriminators,
    batches: Batches,
    dev: Iterable[SegmentBatch] = (),
    world: World = ALONE,
) -> Trainer:
    """The trainer of a vocoder and its discriminators on their device, with AdamW."""
    objective = VocoderObjective(config, vocos, discriminators, world)
    optimizer = torch.optim.AdamW(vocos.parameters(), config.lr, config.betas)
    return Trainer(config, vocos, objective, optimizer, CosineSchedule(config), batches, dev, world=world)
