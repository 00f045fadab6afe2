# SPDX-License-Identifier: Apache-2.0
"""Every setting of the toolkit: frozen dataclasses, each default written once, read from and written to strict JSON.

The string below a field is its help text on the command line. Importing this module loads nothing heavy.
"""

import dataclasses
import difflib
import json
import os
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from zipvoice.files import write_text

Variant = Literal["zipvoice", "zipvoice_distill", "zipvoice_dialog", "zipvoice_dialog_stereo"]
TokenizerType = Literal["emilia", "dialog", "espeak", "libritts", "simple"]

# ---------------------------------------------------------------- the model


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of the two networks; the key `model` of a released model.json, with its names and values."""

    fm_decoder_downsampling_factor: tuple[int, ...] = (1, 2, 4, 2, 1)
    """Frame-rate divisor of each decoder stack."""
    fm_decoder_num_layers: tuple[int, ...] = (2, 2, 4, 4, 4)
    """Layers of each decoder stack."""
    fm_decoder_cnn_module_kernel: tuple[int, ...] = (31, 15, 7, 15, 31)
    """Odd convolution kernel of each decoder stack, in frames of that stack."""
    fm_decoder_feedforward_dim: int = 1536
    """Width of the middle feed-forward block of a decoder layer; the other two have 3/4 and 5/4 of it."""
    fm_decoder_num_heads: int = 4
    """Attention heads of the decoder."""
    fm_decoder_dim: int = 512
    """Width of the decoder."""
    text_encoder_num_layers: int = 4
    """Layers of the text encoder."""
    text_encoder_feedforward_dim: int = 512
    """Width of the middle feed-forward block of a text-encoder layer."""
    text_encoder_cnn_module_kernel: int = 9
    """Odd convolution kernel of the text encoder, in tokens."""
    text_encoder_num_heads: int = 4
    """Attention heads of the text encoder."""
    text_encoder_dim: int = 192
    """Width of the text encoder."""
    time_embed_dim: int = 192
    """Width of the time and guidance-scale embeddings."""
    text_embed_dim: int = 192
    """Width of the token embedding."""
    query_head_dim: int = 32
    """Query and key width of one attention head, in both networks."""
    value_head_dim: int = 12
    """Value width of one attention head, in both networks."""
    pos_head_dim: int = 4
    """Position-query width of one attention head, in both networks."""
    pos_dim: int = 48
    """Width of the relative positional table, even, in both networks."""
    feat_dim: int = 100
    """Mel bins of one channel."""


@dataclass(frozen=True)
class FeatureConfig:
    """The acoustic features a model works on; the key `feature` of model.json."""

    sampling_rate: int = 24000
    """Samples per second."""
    type: Literal["vocos"] = "vocos"
    """Vocos log-mel features, the only kind."""
    scale: float = 0.1
    """Log-mel values are multiplied by this before the model sees them."""


@dataclass(frozen=True)
class TokenizerConfig:
    """How text becomes tokens."""

    type: TokenizerType = "emilia"
    """emilia: Chinese and English; dialog: the same with speaker tags; espeak: any espeak-ng language;
    libritts: English characters; simple: one token per character."""
    language: str = "en-us"
    """espeak-ng voice, for the espeak tokenizer."""
    skip_unknown: bool = False
    """Leave out what cannot be spoken, with a warning, rather than refuse the text."""
    compatible: bool = False
    """Read text as the reference implementation does, with its losses; for comparison."""


@dataclass(frozen=True)
class SamplingConfig:
    """How a model gets from noise to speech unless it is told otherwise."""

    num_steps: int
    """Euler steps."""
    guidance_scale: float
    """Strength of classifier-free guidance."""
    t_shift: float = 0.5
    """Time shift in (0, 1]; below 1 more steps are spent close to noise."""
    temperature: float = 1.0
    """Standard deviation of the initial noise."""


@dataclass(frozen=True)
class ModelFile:
    """The content of model.json. Released files have the keys `model` and `feature` only."""

    model: ModelConfig = field(default_factory=ModelConfig)
    """Sizes of the networks."""
    feature: FeatureConfig = field(default_factory=FeatureConfig)
    """Acoustic features."""
    variant: Variant | None = None
    """Which of the four models; inferred from the weights when absent."""
    tokenizer: TokenizerConfig | None = None
    """The tokenizer the model was trained with; when absent, that of the released model of the same variant."""
    sampling: SamplingConfig | None = None
    """How it is best sampled; when absent, as the released model of the same variant."""


@dataclass(frozen=True)
class Vocabulary:
    """What a model needs to know of its token table."""

    size: int
    """Number of tokens."""
    pad_id: int = 0
    """Id of the padding token `_`."""
    spk_a_id: int | None = None
    """Id of `[S1]`, dialogue models only."""
    spk_b_id: int | None = None
    """Id of `[S2]`, dialogue models only."""
    durations: tuple[float, ...] | None = None
    """How long each token is in speech, relative to the others, for models that lay out a text by it; the released ones
    give all tokens of a text the same number of frames."""

    def length(self, ids: Sequence[int]) -> float:
        """How much speech a text is: the typical durations of its tokens together or, without any, their number."""
        return len(ids) if self.durations is None else sum(self.durations[i] for i in ids)


# ---------------------------------------------------------------- synthesis


@dataclass(frozen=True)
class SynthesisOptions:
    """How a text is spoken."""

    num_steps: int | None = None
    """Euler steps from noise to speech. By default what suits the model: 16 for the released ones, 8 for a distilled
    one, 4 for that of the package."""
    guidance_scale: float | None = None
    """Strength of classifier-free guidance; by default 1, 3 (distilled) or 1.5 (dialogue)."""
    t_shift: float | None = None
    """Time shift in (0, 1]; below 1 more steps are spent close to noise. By default 0.5 for the released models."""
    temperature: float | None = None
    """Standard deviation of the initial noise, from 0 to 1, by default 1 for the released models. Less noise makes
    speech plainer and more alike from seed to seed; a model of little training speaks more clearly with it."""
    speed: float = 1.0
    """Speaking rate relative to the prompt's."""
    duration: float | None = None
    """Length of the speech in seconds, to the sample; replaces speed."""
    target_rms: float = 0.1
    """Quieter prompts are raised to this root-mean-square level, and their speech lowered again; 0 leaves them."""
    seed: int = 666
    """Seed of the initial noise."""
    max_chunk_seconds: float | None = None
    """A longer text is spoken in chunks of about this length, prompt included; by default 25, dialogues 40."""
    first_chunk_seconds: float | None = None
    """Length of the first chunk, without the prompt; the next ones grow. By default it is like the others, or 3 in a
    stream."""
    max_batch_seconds: float = 100.0
    """Chunks spoken at the same time have at most this length together, prompts and padding included."""
    short_text_floor: bool = True
    """Give words that would take less than 1.6 s more time; a model swallows very short texts otherwise."""
    remove_long_silence: bool = False
    """Shorten every silence to at most one second."""
    raw: bool = False
    """Evaluate the bare model: the text as it is, in one piece, nothing trimmed or added. Published scores use this."""

    def __post_init__(self) -> None:
        for name, valid, wanted in (
            ("num_steps", self.num_steps is None or self.num_steps >= 1, "at least 1"),
            ("speed", 0 < self.speed < float("inf"), "above 0"),
            ("t_shift", self.t_shift is None or 0 < self.t_shift <= 1, "above 0 and at most 1"),
            ("temperature", 0 <= (self.temperature or 0) <= 1, "from 0 to 1"),
            ("target_rms", 0 <= self.target_rms <= 1, "from 0 to 1"),
            ("guidance_scale", 0 <= (self.guidance_scale or 0) < float("inf"), "0 or more"),
            *(
                (name, getattr(self, name) is None or 0 < getattr(self, name) < float("inf"), "above 0 seconds")
                for name in ("duration", "max_chunk_seconds", "first_chunk_seconds", "max_batch_seconds")
            ),
        ):
            if not valid:
                raise ValueError(f"{name} must be {wanted}, not {getattr(self, name)}")
        if self.raw and self.duration is not None:
            raise ValueError("raw speech has the length that the model predicts; leave out duration or raw")

    def filled(self, variant: Variant, sampling: SamplingConfig | None = None) -> "SynthesisOptions":
        """A copy in which what was left open has the value that suits the model, by default the published one."""
        suits = sampling or PUBLISHED_SAMPLING[variant]
        return replace(
            self,
            num_steps=suits.num_steps if self.num_steps is None else self.num_steps,
            guidance_scale=suits.guidance_scale if self.guidance_scale is None else self.guidance_scale,
            t_shift=suits.t_shift if self.t_shift is None else self.t_shift,
            temperature=suits.temperature if self.temperature is None else self.temperature,
            max_chunk_seconds=self.max_chunk_seconds or (40.0 if "dialog" in variant else 25.0),
        )


PUBLISHED_SAMPLING: dict[Variant, SamplingConfig] = {
    "zipvoice": SamplingConfig(16, 1.0),
    "zipvoice_distill": SamplingConfig(8, 3.0),
    "zipvoice_dialog": SamplingConfig(16, 1.5),
    "zipvoice_dialog_stereo": SamplingConfig(16, 1.5),
}
"""What each released model is used with."""


# ---------------------------------------------------------------- training data


@dataclass(frozen=True)
class PrepareOptions:
    """How a corpus becomes a manifest that training reads."""

    source: str
    """List of utterances: TSV or JSON lines with id, text, audio file and, optionally, start and end in seconds,
    speaker and language; or a lhotse cut manifest (.jsonl or .jsonl.gz). Audio paths are relative to the list, else to
    the current folder."""
    output_dir: str = "data/manifests"
    """Folder of the manifest {prefix}_cuts_{subset}.jsonl.gz and of the features, or of the shards
    {prefix}_shar_{subset}."""
    prefix: str = "custom"
    """Name of the corpus."""
    subset: str = "train"
    """Name of the part, such as train or dev."""
    tokenizer: TokenizerConfig | None = None
    """Store tokens made by this tokenizer; without it training makes them on the fly. A row's own language replaces
    that of the espeak tokenizer."""
    tokens: str | None = None
    """Token table of the model (tokens.txt), for the tokenizer: its tags can be used in texts, and a text with tokens
    that it lacks is a bad row."""
    features: bool = False
    """Compute and store acoustic features; without them training computes them on the fly."""
    storage: Literal["lilcom_chunky", "numpy_files"] | None = None
    """Feature storage: lilcom_chunky is compact and rounds to 1/32, numpy_files is exact. By default the former where
    the package lilcom is installed."""
    stereo: bool = False
    """Keep the channels apart, for the stereo dialogue model: left, right and mixture. Otherwise they are averaged."""
    shar: bool = False
    """Write a folder of shards (lhotse Shar), for a corpus of more files than a disk likes: with the features if they
    are stored, else with the audio, as FLAC of 24 kHz."""
    shard_size: int = 1000
    """Utterances in a shard."""
    skip_bad_rows: bool = False
    """Leave out what cannot be used and report it, rather than stop."""
    num_workers: int = 0
    """Worker processes; 0 works in this process."""

    def __post_init__(self) -> None:
        if self.tokens is not None and self.tokenizer is None:
            raise ValueError("a token table (tokens) is of use with a tokenizer only: name its type")
        if self.shard_size < 1:
            raise ValueError(f"shard_size must be at least 1, not {self.shard_size}")


@dataclass(frozen=True)
class ManifestConfig:
    """One manifest of a mixture.

    An epoch is all that the manifests without `replay` hold, each `repeat` times, interleaved by `weight`. With equal
    weights that is their concatenation, evenly mixed as long as all of them last.
    """

    path: str
    """Cut manifest (.jsonl, .jsonl.gz) or folder of shards (lhotse Shar)."""
    weight: float = 1.0
    """How often, relative to the others, the next utterance is taken from here, as long as there are some."""
    repeat: int = 1
    """How many times an epoch reads it."""
    replay: float | None = None
    """Against forgetting in fine-tuning: share of all utterances that comes from here, 0.2 for one in five. Such a
    manifest never ends, and does not lengthen an epoch; each epoch starts at another place of it."""

    def __post_init__(self) -> None:
        if self.replay is not None and not 0 < self.replay < 1:
            raise ValueError(f"the share of {self.path} (replay) must be between 0 and 1, not {self.replay}")
        if self.replay is not None and (self.weight, self.repeat) != (1.0, 1):
            raise ValueError(f"{self.path} is replayed by its share, without weight and repeat")
        if not 0 < self.weight < float("inf"):
            raise ValueError(f"the weight of {self.path} must be above 0, not {self.weight}")
        if self.repeat < 1:
            raise ValueError(f"{self.path} must be read at least once (repeat), not {self.repeat} times")


@dataclass(frozen=True)
class DataConfig:
    """What a model is trained on, and how batches are made of it."""

    train: tuple[ManifestConfig, ...] = ()
    """Training manifests."""
    dev: tuple[ManifestConfig, ...] = ()
    """Validation manifests."""
    max_duration: float = 200.0
    """Seconds in a batch on each device, padding included; exceeded where the last utterance is the longest."""
    min_len: float = 1.0
    """Shorter utterances, in seconds, are left out."""
    max_len: float = 30.0
    """Longer utterances, in seconds, are left out."""
    num_buckets: int = 30
    """Groups of similar duration that batches are drawn from; a small corpus gets fewer."""
    shuffle: bool = True
    """Draw the training utterances in random order, another in each epoch."""
    buffer_size: int = 100_000
    """Utterances that are held to draw from, without sound and features, some 4 kB each: what bounds memory, and how
    far apart in the manifests the utterances of a batch can be."""
    on_the_fly: bool = False
    """Compute features from the audio rather than read stored ones."""
    stereo: bool = False
    """Features of the left channel, the right channel and their mixture side by side, for the stereo dialogue model."""
    unknown_tokens: Literal["error", "skip", "add"] = "error"
    """What to do with an utterance that has tokens unknown to the model: stop, leave it out and count it, or add all
    such tokens of the data, but for what is replayed, to the end of the token table."""
    num_workers: int = 8
    """Loader processes; 0 loads in the training process."""

    def __post_init__(self) -> None:
        for name, value, valid, wanted in (
            ("max_duration", self.max_duration, self.max_duration > 0, "above 0"),
            ("min_len", self.min_len, self.min_len >= 0, "0 or more"),
            ("max_len", self.max_len, self.max_len > self.min_len, f"above min_len, {self.min_len}"),
            ("num_buckets", self.num_buckets, self.num_buckets >= 1, "at least 1"),
            ("buffer_size", self.buffer_size, self.buffer_size >= 1, "at least 1"),
            ("num_workers", self.num_workers, self.num_workers >= 0, "0 or more"),
        ):
            if not valid:
                raise ValueError(f"{name} must be {wanted}, not {value}")
        for manifests in (self.train, self.dev):
            shares = [item.replay or 0.0 for item in manifests]
            if shares and (sum(shares) >= 1 or all(shares)):
                raise ValueError("shares of replayed manifests (replay) must leave something for others to fill")


@dataclass(frozen=True)
class CheckOptions:
    """What a corpus is examined for before training."""

    source: str
    """List of utterances, as for preparation, or a prepared manifest or folder of shards."""
    tokenizer: TokenizerType | None = None
    """Make tokens with this tokenizer; a prepared manifest may hold them already."""
    language: str = TokenizerConfig.language
    """espeak-ng voice, for the espeak tokenizer; a row's own language replaces it."""
    tokens: str | None = None
    """Token table of the model (tokens.txt), to find tokens that it lacks."""
    min_len: float = DataConfig.min_len
    """Training leaves out shorter utterances, in seconds."""
    max_len: float = DataConfig.max_len
    """Training leaves out longer utterances, in seconds."""
    audio: bool = True
    """Listen to all of the audio; otherwise only the heads of the files are read."""
    num_workers: int = 0
    """Worker processes; 0 works in this process."""


# ---------------------------------------------------------------- training


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


@dataclass(frozen=True)
class ObjectiveConfig:
    """What training minimises; the kind of objective follows from the variant of the model."""

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
    """Distillation only: model directory of the teacher, a base model (first stage) or a distilled one (second)."""
    ema_decay: float = 0.9999
    """Second stage of distillation: how slowly the teacher follows the student."""

    def __post_init__(self) -> None:
        if self.time_power <= 0:
            raise ValueError(f"objective.time_power must be above 0, not {self.time_power}")
        if self.mask_fraction is None:
            return
        if len(self.mask_fraction) != 2 or not 0 < self.mask_fraction[0] <= self.mask_fraction[1] <= 1:
            raise ValueError(
                "objective.mask_fraction takes the least and the greatest fraction, above 0 and at most 1, not "
                f"{list(self.mask_fraction)}"
            )


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
        for name, valid, wanted in (
            ("rank", self.rank >= 0, "0 or more"),
            ("alpha", 0 < self.alpha < float("inf"), "above 0"),
            ("dropout", 0 <= self.dropout < 1, "at least 0 and below 1"),
            ("targets", len(self.targets) > 0, "at least one pattern"),
        ):
            if not valid:
                raise ValueError(f"lora.{name} must be {wanted}, not {getattr(self, name)}")


@dataclass(frozen=True)
class RunConfig:
    """A training run. The defaults are those of the published base model."""

    exp_dir: str = "exp/zipvoice"
    """Folder of everything the run writes. On several machines it must be the same one, on a shared disk."""
    resume: str = "auto"
    """auto goes on from the newest whole checkpoint in exp_dir, if there is one; never refuses a folder that has any;
    the path of a checkpoint goes on from there."""
    seed: int = 42
    """Decides initial weights, order of the data, noise and masks."""
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
    teacher. Sizes, features and tokenizer that are left at their defaults are those of that model. The token table may
    be longer than its own, with new tokens at the end."""
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
    num_steps: int | None = None
    """Optimizer steps to stop after."""
    max_seconds: float | None = None
    """Stop after this many seconds, wherever the run is then; starting it again continues."""
    accumulate: int = 1
    """Batches that each process adds up for one update of the weights: as if they were one batch, in less memory."""
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"
    """Arithmetic of the model in training; weights and validation are float32. fp16 scales the loss to suit."""
    activation_checkpointing: bool = False
    """Compute the activations of each layer again when they are needed rather than keep them: slower, less memory."""
    compile: bool = False
    """Compile what lies between the matrix products with torch.compile, which needs a C++ compiler, on a GPU Triton."""
    device: str | None = None
    """cpu, cuda, cuda:1; by default the best there is, and with several processes a GPU for each."""
    ref_duration: float = 50.0
    """Seconds of audio in the batches that the model's own schedules count in."""
    average_period: int = 200
    """The running average of the weights takes in every so many steps."""
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
    sample_every: int = 0
    """Steps between pictures and sounds of validation samples in TensorBoard; 0 makes none."""
    vocoder: str = "griffin-lim"
    """What makes the sounds of the samples: griffin-lim, vocos_small (the package's), or a Vocos directory."""


FINE_TUNING = RunConfig(
    exp_dir="exp/finetune",
    optim=OptimizerConfig(base_lr=0.0001, schedule="fixed"),
    num_steps=10_000,
    valid_every=1000,
    save_every=1000,
    sample_every=1000,
)
"""What fine-tuning begins with; length and learning rate are the published ones."""


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


# ---------------------------------------------------------------- vocoder


@dataclass(frozen=True)
class VocosConfig:
    """Sizes of a Vocos vocoder; the content of config.json beside its weights. The defaults are the published ones."""

    dim: int = 512
    """Width of the network."""
    intermediate_dim: int = 1536
    """Width within the feed-forward network of a block."""
    num_layers: int = 8
    """ConvNeXt blocks."""

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            if getattr(self, f.name) < 1:
                raise ValueError(f"{f.name} must be at least 1, not {getattr(self, f.name)}")


@dataclass(frozen=True)
class DiscriminatorConfig:
    """The judges that an adversarially trained vocoder learns from."""

    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    """One discriminator for each looks at every so many samples side by side."""
    period_channels: tuple[int, ...] = (32, 128, 512, 1024, 1024)
    """Channels of their layers."""
    period_weight: float = 1.0
    """Weight of their mean loss for the vocoder."""
    windows: tuple[int, ...] = (2048, 1024, 512)
    """One discriminator for each looks at a magnitude spectrogram with windows of so many samples."""
    window_channels: int = 64
    """Channels of their layers."""
    window_weight: float = 0.1
    """Weight of their mean loss for the vocoder."""

    def __post_init__(self) -> None:
        if not self.periods and not self.windows:
            raise ValueError("give periods, windows or both; without any there is no discriminator")
        if (
            not self.period_channels
            or min(*self.period_channels, *self.periods, *self.windows, self.window_channels) < 1
        ):
            raise ValueError("periods, windows and numbers of channels must be at least 1")


@dataclass(frozen=True)
class VocoderRunConfig:
    """A training run of a vocoder. The defaults make one of the published size."""

    exp_dir: str = "exp/vocos"
    """Folder of everything the run writes; a vocoder directory. A run that finds checkpoints there goes on from the
    newest."""
    seed: int = 42
    """Decides initial weights and crops."""
    vocos: VocosConfig = field(default_factory=VocosConfig)
    """Sizes of the vocoder."""
    discriminators: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    """Sizes and weights of the discriminators."""
    init_from: str | None = None
    """Vocoder directory to take the initial weights from."""
    train: tuple[str, ...] = ()
    """Cut manifests of `zipvoice prepare`, or folders of audio files; every second of them is equally likely."""
    dev: tuple[str, ...] = ()
    """The same for validation, which uses whole recordings."""
    in_memory: bool = False
    """Decode all recordings at the start and keep them in memory, 173 MB per hour; else each crop is read when due."""
    num_workers: int = 4
    """Loader processes; 0 loads in the training process."""
    crop_samples: int = 16_384
    """Length of a training example, a multiple of 256 samples at 24 kHz."""
    batch_size: int = 16
    """Examples in a batch."""
    gain_db: tuple[float, float] = (-12.0, 6.0)
    """Each example is made louder by an amount drawn from this range, up to full scale."""
    mel_weight: float = 45.0
    """Weight of the mean absolute difference of log-mel features."""
    stft_weight: float = 0.0
    """Weight of the multi-resolution spectral loss, which helps where adversarial training comes late."""
    stft_windows: tuple[int, ...] = (2048, 1024, 512, 256, 128)
    """Windows of its resolutions, in samples."""
    adversarial_from: int = 0
    """Steps after which the discriminators take part; with `num_steps` or more they never do."""
    lr: float = 5e-4
    """Learning rate of vocoder and discriminators at its highest; it falls to 0 along half a cosine."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises before that."""
    betas: tuple[float, float] = (0.8, 0.9)
    """How slowly AdamW forgets gradients and their squares."""
    ema_decay: float = 0.999
    """How slowly the exponential average of the weights, which is the result, follows them; 0 for the last weights."""
    num_steps: int = 1_000_000
    """Steps to stop after."""
    max_seconds: float | None = None
    """Stop after this many seconds, wherever the run is then; starting it again continues."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the networks; weights, spectra and losses are float32."""
    device: str | None = None
    """cpu, cuda, cuda:1; by default the best there is."""
    log_every: int = 50
    """Steps between lines in the log."""
    valid_every: int = 5000
    """Steps between validations."""
    save_every: int = 5000
    """Steps between checkpoints."""
    keep_last: int = 2
    """Newest checkpoints that are kept."""

    def __post_init__(self) -> None:
        shortest = max(1024, *self.stft_windows, *self.discriminators.windows) // 2
        positive = ("batch_size", "num_steps", "log_every", "valid_every", "save_every", "keep_last")
        for name, value, valid, wanted in (
            *((name, getattr(self, name), getattr(self, name) >= 1, "at least 1") for name in positive),
            (
                "crop_samples",
                self.crop_samples,
                self.crop_samples > shortest and self.crop_samples % 256 == 0,
                f"a multiple of 256 above {shortest}, half of the longest window",
            ),
            ("gain_db", self.gain_db, _is_range(self.gain_db), "two numbers, the lower one first"),
            ("stft_windows", self.stft_windows, min(self.stft_windows, default=0) >= 4, "of at least 4 samples"),
            ("betas", self.betas, _is_range((0.0, *self.betas, 1.0), 4), "two numbers from 0 to 1, ascending"),
            ("ema_decay", self.ema_decay, 0 <= self.ema_decay < 1, "from 0 to below 1"),
            ("lr", self.lr, self.lr > 0, "above 0"),
        ):
            if not valid:
                raise ValueError(f"{name} must be {wanted}, not {value}")


def _is_range(values: tuple[float, ...], length: int = 2) -> bool:
    return len(values) == length and list(values) == sorted(values)


# ---------------------------------------------------------------- strict JSON

T = TypeVar("T")


def read_json(kind: type[T], path: str | os.PathLike[str]) -> T:
    """The dataclass `kind` from a JSON file.

    Raises ValueError naming the file and the key for anything that is not exactly a `kind`: broken JSON, an unknown key
    (with the nearest known one), a missing key, a value of another type.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None
    try:
        return from_dict(kind, data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def write_json(value: Any, path: str | os.PathLike[str]) -> None:
    """Write a dataclass as JSON, whole or not at all; `read_json` gives it back unchanged."""
    write_text(path, json.dumps(to_dict(value), indent=2, ensure_ascii=False) + "\n")


def to_dict(value: Any) -> dict[str, Any]:
    """A dataclass as plain dictionaries, lists and scalars; optional fields that are None are left out."""

    def plain(item: Any) -> Any:
        if dataclasses.is_dataclass(item) and not isinstance(item, type):
            return {
                f.name: plain(getattr(item, f.name))
                for f in dataclasses.fields(item)
                if not (f.default is None and getattr(item, f.name) is None)
            }
        return [plain(part) for part in item] if isinstance(item, tuple | list) else item

    return plain(value)


def from_dict(kind: type[T], data: Any, where: str = "") -> T:
    """The dataclass `kind` from what `to_dict` gives. Raises ValueError that names the offending key."""
    place = f"at {where}: " if where else ""
    if not isinstance(data, dict):
        raise ValueError(f"{place}expected an object with the keys of {kind.__name__}, found {_shown(data)}")
    hints = typing.get_type_hints(kind)
    known = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in data:
        if key not in known:
            raise ValueError(f"{place}unknown key {key!r}{suggestion(key, known)}")
    for name, f in known.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in data:
            raise ValueError(f"{place}the key {name!r} is missing")
    return kind(**{key: _value(hints[key], item, f"{where}.{key}".lstrip(".")) for key, item in data.items()})


def suggestion(word: str, known: typing.Iterable[str]) -> str:
    """The end of an error message: the nearest of the known words, else all of them."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(map(str, known))}"


def _value(kind: Any, item: Any, where: str) -> Any:
    """`item` as a value of the annotated type `kind`."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _union(arguments, item, where)
    if origin is Literal:
        if item not in arguments:
            raise ValueError(f"at {where}: {_shown(item)} is not one of {', '.join(map(repr, arguments))}")
        return item
    if origin is tuple:
        if not isinstance(item, list):
            raise ValueError(f"at {where}: expected a list, found {_shown(item)}")
        return tuple(_value(arguments[0], part, f"{where}[{i}]") for i, part in enumerate(item))
    if dataclasses.is_dataclass(kind):
        return from_dict(typing.cast(type, kind), item, where)
    if kind is float and type(item) is int:
        return float(item)
    if type(item) is not kind:
        raise ValueError(f"at {where}: expected {kind.__name__}, found {_shown(item)}")
    return item


def _union(kinds: tuple[Any, ...], item: Any, where: str) -> Any:
    """`item` as the first of `kinds` that accepts it; with one kind besides None, its own error is the clearest."""
    if item is None and type(None) in kinds:
        return None
    kinds = tuple(kind for kind in kinds if kind is not type(None))
    if len(kinds) == 1:
        return _value(kinds[0], item, where)
    errors = []
    for kind in kinds:
        try:
            return _value(kind, item, where)
        except ValueError as error:
            errors.append(str(error))
    raise ValueError("; or ".join(errors))


def _shown(item: Any) -> str:
    return f"{type(item).__name__} {json.dumps(item)[:60]}"
