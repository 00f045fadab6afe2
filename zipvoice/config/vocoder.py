# SPDX-License-Identifier: Apache-2.0
"""A vocoder and its training."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from zipvoice.config.rules import is_above_zero, require
from zipvoice.config.training import LoopConfig


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
        require(self, ((f.name, getattr(self, f.name) >= 1, "at least 1") for f in dataclasses.fields(self)))


@dataclass(frozen=True)
class DiscriminatorConfig:
    """The discriminators of adversarial training."""

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
class VocoderRunConfig(LoopConfig):
    """A training run of a vocoder. The defaults make one of the published size."""

    exp_dir: str = "exp/vocos"
    """Folder of everything the run writes; a vocoder directory."""
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
    """Decode all recordings at the start and keep them in memory, 173 MB per hour; else each segment is read when it is
    needed."""
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
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the networks; weights, spectra and losses are float32."""
    keep_last: int = 2
    """How many of the newest checkpoints at multiples of save_every are kept."""

    counts: ClassVar[tuple[str, ...]] = (*LoopConfig.counts, "batch_size", "num_steps")
    memory_advice: ClassVar[str] = "Lower batch_size or crop_samples"

    def __post_init__(self) -> None:
        super().__post_init__()
        shortest = max(1024, *self.stft_windows, *self.discriminators.windows) // 2
        rules = (
            (
                "crop_samples",
                self.crop_samples > shortest and self.crop_samples % 256 == 0,
                f"a multiple of 256 above {shortest}, half of the longest window",
            ),
            ("gain_db", _is_range(self.gain_db), "two numbers, the lower one first"),
            ("stft_windows", min(self.stft_windows, default=0) >= 4, "of at least 4 samples"),
            ("betas", _is_range((0.0, *self.betas, 1.0), 4), "two numbers from 0 to 1, ascending"),
            ("ema_decay", 0 <= self.ema_decay < 1, "from 0 to below 1"),
            ("lr", is_above_zero(self.lr), "above 0"),
            ("num_workers", self.num_workers >= 0, "0 or more"),
            ("mel_weight", 0 <= self.mel_weight < math.inf, "0 or more"),
            ("stft_weight", 0 <= self.stft_weight < math.inf, "0 or more"),
        )
        require(self, rules)


def _is_range(values: tuple[float, ...], length: int = 2) -> bool:
    return len(values) == length and list(values) == sorted(values)
