# SPDX-License-Identifier: Apache-2.0
"""A training run, and what is made of its checkpoints."""

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from zipvoice.config.data import DataConfig
from zipvoice.config.model import FeatureConfig, ModelConfig, Variant
from zipvoice.config.rules import is_above_zero, require
from zipvoice.config.synthesis import MOST_STEPS
from zipvoice.config.text import TokenizerConfig


@dataclass(frozen=True)
class OptimizerConfig:
    """ScaledAdam and its learning rate."""

    base_lr: float = 0.02
    """Learning rate before warm-up and decay."""
    schedule: Literal["eden", "fixed"] = "eden"
    """eden: warm-up, then decay with batches and epochs, for training from scratch; fixed: the base rate throughout."""
    lr_batches: float = 7500.0
    """Batches after which eden's decay sets in."""
    lr_epochs: float = 10.0
    """Epochs after which eden's second decay sets in, unless lr_hours is given."""
    lr_hours: float | None = 30_000.0
    """Hours of audio, over all devices, after which eden's second decay sets in; null counts epochs instead."""
    clipping_scale: float = 2.0
    """Gradients are clipped to this multiple of the median of their recent norms."""
    freeze: tuple[str, ...] = ()
    """Parameters that are not trained, by name or by the part they lie in; * stands for anything, as in text_encoder
    or fm_decoder.encoders.0.*.bias."""

    def __post_init__(self) -> None:
        names = ("base_lr", "lr_batches", "lr_epochs", "lr_hours", "clipping_scale")
        require(self, ((name, is_above_zero(getattr(self, name)), "above 0") for name in names), "optim.")


@dataclass(frozen=True)
class ObjectiveConfig:
    """What training minimises."""

    kind: Literal["flow-matching", "distillation", "backward-distillation", "mean-flow"] | None = None
    """flow-matching learns from recordings, distillation from pairs of steps of a teacher, backward-distillation from a
    teacher at the very states that the student's few steps lead to, and mean-flow from a teacher's velocity its mean
    over steps of any length, for speech in one step or two. By default distillation with a teacher, else flow
    matching."""
    condition_drop_ratio: float = 0.2
    """Probability that the text of an utterance is withheld, for classifier-free guidance."""
    time_power: float = 1.0
    """Flow matching of one channel only: times are uniform numbers to this power. Above 1 more of them are close to
    noise, where only the text tells what is said, and small models learn to read sooner."""
    mask: Literal["span", "suffix"] | None = None
    """Which part of an utterance is generated: a span anywhere (70 to 100 % of it) or the end (50 to 100 %). By default
    a span for the single-speaker models and the end for the dialogue models."""
    mask_fraction: tuple[float, float] | None = None
    """Least and greatest fraction of an utterance that is generated, where it shall be another."""
    exclusive_weight: float = 1.0
    """Stereo only: weight of the penalty on both speakers talking at once."""
    teacher: str | None = None
    """Distillation and mean-flow only: model directory of the teacher, a base model (the first stage of distillation)
    or a distilled one (the second, and never for backward distillation)."""
    ema_decay: float = 0.9999
    """Second stage of distillation: how slowly the teacher follows the student."""
    instant_ratio: float = 0.5
    """Mean-flow only: probability that a step has no length, so that the velocity itself is learnt."""
    student_steps: int = 4
    """Backward distillation only: steps that the student takes, with the t_shift of the model it starts from."""
    temperature: tuple[float, float] = (1.0, 1.0)
    """Backward distillation only: least and greatest standard deviation of the noise that the student starts from."""
    guidance_scale: tuple[float, float] = (0.0, 2.0)
    """Backward distillation only: least and greatest guidance scale."""

    def __post_init__(self) -> None:
        needs_teacher = self.kind in ("distillation", "backward-distillation", "mean-flow")
        if self.kind is not None and needs_teacher != (self.teacher is not None):
            does = "needs a model to learn from: name its directory in" if needs_teacher else "has no use for"
            raise ValueError(f"objective.kind {self.kind} {does} objective.teacher")
        rules = (
            ("condition_drop_ratio", 0 <= self.condition_drop_ratio <= 1, "from 0 to 1"),
            ("time_power", is_above_zero(self.time_power), "above 0"),
            ("exclusive_weight", 0 <= self.exclusive_weight < math.inf, "0 or more"),
            ("ema_decay", 0 <= self.ema_decay <= 1, "from 0 to 1"),
            ("instant_ratio", 0 <= self.instant_ratio < 1, "at least 0 and below 1"),
            ("student_steps", 1 <= self.student_steps <= MOST_STEPS, f"from 1 to {MOST_STEPS}"),
            ("temperature", _is_range(self.temperature), "the least and the greatest value, 0 or more"),
            ("guidance_scale", _is_range(self.guidance_scale), "the least and the greatest value, 0 or more"),
        )
        require(self, rules, "objective.")
        if self.mask_fraction is None:
            return
        if len(self.mask_fraction) != 2 or not 0 < self.mask_fraction[0] <= self.mask_fraction[1] <= 1:
            raise ValueError(
                "objective.mask_fraction takes the least and the greatest fraction, above 0 and at most 1, not "
                f"{list(self.mask_fraction)}"
            )


def _is_range(values: tuple[float, ...]) -> bool:
    """Whether these are the least and the greatest of values that are finite and not below 0."""
    return len(values) == 2 and 0 <= values[0] <= values[1] < math.inf


@dataclass(frozen=True)
class LoraConfig:
    """Fine-tuning by low-rank adapters (Hu et al., 2022).

    A linear layer's weight W becomes W + (alpha / rank) · B A, and only B (out, rank) and A (rank, in) are trained.
    """

    rank: int = 0
    """Rank of the change of a weight, such as 16; 0 trains the weights themselves."""
    alpha: float = 16.0
    """The change is scaled by alpha / rank."""
    dropout: float = 0.0
    """Probability that an input of a layer is kept from its adapter in a training step."""
    targets: tuple[str, ...] = ("*",)
    """Linear layers of the two networks that are adapted, by name or by the part they lie in; * stands for anything,
    as in fm_decoder or *.feed_forward?."""

    def __post_init__(self) -> None:
        rules = (
            ("rank", self.rank >= 0, "0 or more"),
            ("alpha", is_above_zero(self.alpha), "above 0"),
            ("dropout", 0 <= self.dropout < 1, "at least 0 and below 1"),
            ("targets", len(self.targets) > 0, "at least one pattern"),
        )
        require(self, rules, "lora.")


@dataclass(frozen=True)
class LoopConfig:
    """What every training run has: where it writes, when it stops, logs, validates and saves."""

    exp_dir: str = "exp"
    """Folder of everything the run writes. On several machines it must be the same one, on a shared disk."""
    resume: str = "auto"
    """auto goes on from the newest whole checkpoint in exp_dir, if there is one; never refuses a folder that has any;
    the path of a checkpoint goes on from there."""
    seed: int = 42
    """Decides initial weights, order of the data and everything that is drawn at random."""
    num_steps: int | None = None
    """Optimizer steps to stop after."""
    max_seconds: float | None = None
    """Stop after this many seconds, wherever the run is then; starting it again continues."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Arithmetic of the model in training; weights are float32."""
    device: str | None = None
    """cpu, cuda, cuda:1; by default the best there is, and with several processes a GPU for each."""
    log_every: int = 50
    """Steps between lines in the log."""
    valid_every: int = 5000
    """Steps between validations."""
    save_every: int = 5000
    """Steps between checkpoints."""
    save_every_seconds: float | None = None
    """Save a checkpoint also when this much time has passed since the last; it is deleted when there is a newer one."""
    keep_last: int = 30
    """How many of the newest checkpoints at multiples of save_every are kept."""
    max_bad_batches: int = 10
    """Stop when so many updates in a row had to be skipped, because a loss or gradient was infinite or undefined. A
    damaged recording now and then costs one update; a model that has diverged does not recover."""

    counts: ClassVar[tuple[str, ...]] = ("log_every", "valid_every", "save_every", "keep_last", "max_bad_batches")
    """Settings that are at least 1."""
    memory_advice: ClassVar[str]
    """What to change when memory does not suffice."""

    def __post_init__(self) -> None:
        require(self, ((name, getattr(self, name) >= 1, "at least 1") for name in self.counts))
        rules = (
            ("exp_dir", bool(self.exp_dir), "the name of a folder"),
            ("num_steps", self.num_steps is None or self.num_steps >= 0, "0 or more"),
            ("max_seconds", self.max_seconds is None or 0 <= self.max_seconds < math.inf, "0 or more"),
            ("save_every_seconds", is_above_zero(self.save_every_seconds), "above 0"),
        )
        require(self, rules)

    def is_finished(self, step: int, epoch: int) -> bool:
        """Whether the run ends after `step` steps and `epoch` complete passes over the data."""
        return self.num_steps is not None and step >= self.num_steps

    def last_step(self, steps_per_epoch: float | None) -> int | None:
        """The step that the run ends with, None where that depends on the length of an epoch and it is not known."""
        return self.num_steps


@dataclass(frozen=True)
class RunConfig(LoopConfig):
    """A training run. The defaults are those of the published base model."""

    exp_dir: str = "exp/zipvoice"
    """Folder of everything the run writes. On several machines it must be the same one, on a shared disk."""
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"
    """Arithmetic of the model in training; weights and validation are float32. fp16 scales the loss to suit."""
    variant: Variant = "zipvoice"
    """Which of the four models is trained."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """Sizes of the networks."""
    feature: FeatureConfig = field(default_factory=FeatureConfig)
    """Acoustic features."""
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    """How texts become tokens."""
    tokens: str | None = None
    """The token table; by default that of the model in init_from."""
    init_from: str | None = None
    """Model to take the initial weights from, a directory or the name of a released one: the same variant to fine-tune
    it; a base model for a dialogue model, a dialogue model for a stereo model. A distilled model starts from its
    teacher, unless this names a distilled model with the teacher's text encoder. Sizes, features and tokenizer that are
    left at their defaults are those of that model. The token table may be longer than its own, with new tokens at the
    end."""
    data: DataConfig = field(default_factory=DataConfig)
    """Training and validation data."""
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    """What is minimised."""
    optim: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Optimizer and learning rate."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    """Adapters, for fine-tuning without changing the weights."""
    num_epochs: int = 11
    """Passes over the data, unless num_steps is given."""
    accumulate: int = 1
    """Batches that each process accumulates for one update of the weights: the gradient of one large batch, in less
    memory."""
    activation_checkpointing: bool = False
    """Compute the activations of each layer again when they are needed rather than keep them: slower, less memory."""
    compile: bool = False
    """Compile what lies between the matrix products with torch.compile, which needs a C++ compiler, on a GPU Triton."""
    ref_duration: float = 50.0
    """Seconds of audio in the batches that the model's own schedules count in."""
    average_period: int = 200
    """The running average of the weights takes in every so many steps."""
    sample_every: int = 0
    """Steps between pictures and sounds of validation samples in TensorBoard; 0 makes none."""
    vocoder: str = "griffin-lim"
    """What makes the sounds of the samples: griffin-lim, vocos_small (the package's), or a Vocos directory."""

    counts: ClassVar[tuple[str, ...]] = (*LoopConfig.counts, "average_period", "accumulate")
    memory_advice: ClassVar[str] = (
        "Lower data.max_duration and raise accumulate as much, which learns the same; lower data.max_len; or set "
        "activation_checkpointing"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        rules = (
            ("num_epochs", self.num_epochs >= 0, "0 or more"),
            ("ref_duration", is_above_zero(self.ref_duration), "above 0"),
            ("sample_every", self.sample_every >= 0, "0 or more"),
        )
        require(self, rules)

    def is_finished(self, step: int, epoch: int) -> bool:
        return super().is_finished(step, epoch) if self.num_steps is not None else epoch >= self.num_epochs

    def last_step(self, steps_per_epoch: float | None) -> int | None:
        if self.num_steps is not None or steps_per_epoch is None:
            return self.num_steps
        return math.ceil(self.num_epochs * steps_per_epoch)

    @property
    def is_fine_tuning(self) -> bool:
        """Whether training starts from the weights of another model."""
        return self.init_from is not None or self.objective.teacher is not None


FINE_TUNING = RunConfig(
    exp_dir="exp/finetune",
    optim=OptimizerConfig(base_lr=0.0001, schedule="fixed"),
    num_steps=10_000,
    valid_every=1000,
    save_every=1000,
    sample_every=1000,
)
"""Defaults of fine-tuning; length and learning rate are the published ones."""


@dataclass(frozen=True)
class AverageOptions:
    """How checkpoints become a model: the mean of the weights over the last part of a run."""

    exp_dir: str
    """Folder of the run."""
    step: int | None = None
    """Checkpoint to end with; by default the newest."""
    num: int = 1
    """How many intervals between checkpoints to average over; they need one checkpoint more."""


@dataclass(frozen=True)
class MergeOptions:
    """How an adapter becomes a model that needs no adapter."""

    adapter: str
    """Folder of the adapter, as a run with lora.rank above 0 writes it: {exp_dir}/adapter."""
    output_dir: str
    """Model directory to write."""
    base: str | None = None
    """Model that the adapter was trained on, a directory or the name of a released one; by default the one that the
    adapter names."""
    any_base: bool = False
    """Merge into a model with other weights too than the adapter was trained on, of the same shapes; the result is then
    untried."""
