# SPDX-License-Identifier: Apache-2.0
"""The training loop of a vocoder: a vocoder and, from some step on, the discriminators that it is to deceive.

Shapes: B batch, N samples, T frames, F mel bins.
"""

import copy
import logging
import math
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from zipvoice.audio.mel import HOP, SAMPLING_RATE, LogMel
from zipvoice.config.vocoder import VocoderRunConfig
from zipvoice.data.segments import CONTEXT, Crops
from zipvoice.training import checkpoint
from zipvoice.training.distributed import ALONE, World
from zipvoice.training.logger import Tracker
from zipvoice.training.losses import RunningLoss
from zipvoice.training.objectives import Loss
from zipvoice.training.precision import Precision
from zipvoice.training.signals import stop_on_signal
from zipvoice.training.trainer import STOP_REASONS, StopReason
from zipvoice.training.vocoder.losses import SpectralLoss, adversarial_loss, discriminator_loss, feature_loss
from zipvoice.vocoder.discriminators import Discriminators, Verdict
from zipvoice.vocoder.vocos import Vocos, save_vocos

HEARD = 3
"""Validation recordings whose copies are recorded to be listened to."""

logger = logging.getLogger(__name__)


class VocoderTrainer:
    """Trains a Vocos as a run describes.

    A run that was stopped and started again gives the same weights, bit for bit on a CPU, as one that was not.

    Args:
        config: of the run.
        vocos: to be trained, on its device.
        discriminators: trained beside it once they take part, on the same device.
        crops: training examples.
        dev: validation recordings at 24 kHz, each (N,).
        tracker: where losses are recorded, by the first process.
        world: the training processes, of which this is one. Each makes a batch of crops of its own in every step.
    """

    def __init__(
        self,
        config: VocoderRunConfig,
        vocos: Vocos,
        discriminators: Discriminators,
        crops: Crops,
        dev: Sequence[Tensor],
        tracker: Tracker | None,
        world: World = ALONE,
    ) -> None:
        self.config = config
        self.vocos = vocos
        self.average = copy.deepcopy(vocos).requires_grad_(False).eval()
        self.discriminators = discriminators
        self.crops = crops
        self.dev = dev
        self.tracker = tracker
        self.world = world
        self.device = next(vocos.parameters()).device
        self.precision = Precision(config.precision, self.device.type)
        self.log_mel = LogMel().to(self.device)
        self.spectral_loss = SpectralLoss(config.stft_windows).to(self.device)
        self.optimizer = torch.optim.AdamW(vocos.parameters(), config.lr, config.betas)
        self.opponent = torch.optim.AdamW(discriminators.parameters(), config.lr, config.betas)
        self.recent = RunningLoss()
        self.step = 0

    def run(self) -> StopReason:
        """Train until the configured end, the time limit or an interrupt; the state is saved in each case."""
        config, started = self.config, time.monotonic()
        batches = self.crops.batches(self.step, self.world.rank, self.world.size)
        with stop_on_signal() as interrupted, self._progress_bar() as progress:
            while not (reason := self._stop_reason(started, interrupted())):
                self.log(self.train_step(next(batches).to(self.device)), progress)
                if self.step % config.valid_every == 0:
                    self.validate()
                if self.step % config.save_every == 0:
                    self.save()
            if self.step % config.save_every:
                self.save()
        more = "" if reason == "finished" else "; start the same run again to continue"
        logger.info("%s after %d steps%s", reason, self.step, more)
        return reason

    def train_step(self, crops: Tensor) -> Loss:
        """One update of the vocoder, and of the discriminators if they take part. Crops (B, N) include context."""
        self._set_learning_rate()
        mel, real = self.examples(crops)
        fake = self.wave(mel)
        parts = {"mel": F.l1_loss(self.log_mel(fake), self.log_mel(real))}
        value = self.config.mel_weight * parts["mel"]
        if self.config.stft_weight:
            parts["stft"] = self.spectral_loss(fake, real)
            value = value + self.config.stft_weight * parts["stft"]
        if self.step >= self.config.adversarial_from:
            parts["discriminators"] = self._teach_discriminators(real, fake.detach())
            parts |= self._judged(real, fake)
            value = value + parts["adversarial"] + parts["features"]
        loss = Loss(value, mel.shape[0] * mel.shape[2], {name: part.detach() for name, part in parts.items()})
        self._check_finite(loss)
        self._update(self.optimizer, loss.value)
        self.step += 1
        self._take_average()
        return loss

    def examples(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Log-mel features (B, F, T) of crops without their context, and the waves (B, (T - 1) · HOP) to make of it."""
        skipped = CONTEXT // HOP
        real = crops[:, CONTEXT:-CONTEXT]
        num_frames = real.shape[1] // HOP + 1
        return self.log_mel(crops)[:, skipped : skipped + num_frames].mT, real

    def wave(self, mel: Tensor) -> Tensor:
        """The vocoder's wave, its spectrum and what follows in float32."""
        with self.precision.autocast():
            hidden = self.vocos.backbone(mel)
        return self.vocos.head(hidden.float())

    def _teach_discriminators(self, real: Tensor, fake: Tensor) -> Tensor:
        self.discriminators.requires_grad_(True)
        loss = discriminator_loss(self._verdicts(real), self._verdicts(fake))
        self._update(self.opponent, loss)
        return loss

    def _judged(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """What the discriminators' verdicts cost the vocoder."""
        self.discriminators.requires_grad_(False)
        with torch.no_grad():
            expected = self._verdicts(real)
        verdicts, weights = self._verdicts(fake), self.discriminators.weights
        return {
            "adversarial": adversarial_loss(verdicts, weights),
            "features": feature_loss(expected, verdicts, weights),
        }

    def _verdicts(self, wave: Tensor) -> list[Verdict]:
        with self.precision.autocast():
            return self.discriminators(wave)

    @torch.no_grad()
    def validate(self) -> None:
        """Record how far copies of the validation recordings by the averaged vocoder are from them."""
        if not self.tracker or not self.dev:
            return
        total = RunningLoss(memory=None)
        for number, recording in enumerate(self.dev):
            real = recording.to(self.device)[None]
            mel = self.log_mel(real).mT
            fake = self.average(mel)
            real = real[:, : fake.shape[1]]
            distance = F.l1_loss(self.log_mel(fake), self.log_mel(real))
            total.add(Loss(distance, mel.shape[2], {"stft": self.spectral_loss(fake, real)}))
            if number < HEARD:
                self.tracker.writer.add_audio(f"copies/{number}", fake, self.step, SAMPLING_RATE)
        means = total.means()
        self.tracker.scalars("valid", self.step, means)
        logger.info("step %d: validation mel distance %.4f, spectral %.4f", self.step, means["loss"], means["stft"])

    def log(self, loss: Loss, progress: "tqdm[Any]") -> None:
        """Take the loss into the running means, and record them now and then."""
        self.recent.add(loss)
        progress.update()
        if self.tracker and self.step % self.config.log_every == 0:
            means = self.recent.means()
            lr = self.optimizer.param_groups[0]["lr"]
            self.tracker.scalars(
                "train", self.step, {**{f"mean_{name}": mean for name, mean in means.items()}, "lr": lr}
            )
            shown = ", ".join(f"{name} {mean:.4f}" for name, mean in means.items())
            logger.info("step %d: %s, rate %.2e", self.step, shown, lr)

    def save(self) -> None:
        """Write a checkpoint and the averaged vocoder, and delete the oldest checkpoints beyond the number to keep."""
        if not self.world.is_first:
            return
        checkpoint.save(self.config.exp_dir, self.step, self.state_dict())
        checkpoint.prune(self.config.exp_dir, self.config.keep_last)
        save_vocos(self.average, self.config.exp_dir)

    def state_dict(self) -> dict[str, Any]:
        """Everything that must survive a restart."""
        return {
            "step": self.step,
            "model": self.vocos.state_dict(),
            "average": self.average.state_dict(),
            "discriminators": self.discriminators.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "opponent": self.opponent.state_dict(),
            "recent": self.recent.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.step = state["step"]
        self.vocos.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.discriminators.load_state_dict(state["discriminators"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.opponent.load_state_dict(state["opponent"])
        self.recent.load_state_dict(state["recent"])

    def _update(self, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        """One step of an optimizer, by the mean gradient of all processes."""
        loss.backward()
        params = [param for group in optimizer.param_groups for param in group["params"]]
        self.world.sum_gradients(params, 1 / self.world.size)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def _take_average(self) -> None:
        """The exponential average, shorter at the beginning, when the initial weights should soon be forgotten."""
        decay = min(self.config.ema_decay, self.step / (10 + self.step))
        for average, parameter in zip(self.average.parameters(), self.vocos.parameters(), strict=True):
            average.lerp_(parameter, 1 - decay)

    def _set_learning_rate(self) -> None:
        lr = self.config.lr * cosine(self.step, self.config.num_steps, self.config.warmup_steps)
        for optimizer in (self.optimizer, self.opponent):
            for group in optimizer.param_groups:
                group["lr"] = lr

    def _check_finite(self, loss: Loss) -> None:
        if not math.isfinite(loss.value.item()):
            parts = ", ".join(f"{name} {part.item()}" for name, part in loss.parts.items())
            raise ValueError(f"the loss is not finite at step {self.step + 1} ({parts}); lower lr")

    def _stop_reason(self, started: float, interrupted: bool) -> StopReason | None:
        """Why to stop now, the same on all processes."""
        out_of_time = self.config.max_seconds is not None and time.monotonic() - started >= self.config.max_seconds
        found = (self.step >= self.config.num_steps, out_of_time, interrupted)
        reasons = [reason for reason, holds in zip(STOP_REASONS[1:], found, strict=True) if holds]
        return STOP_REASONS[int(self.world.highest(STOP_REASONS.index(reasons[0] if reasons else None)))]

    def _progress_bar(self) -> "tqdm[Any]":
        """A bar on a terminal, nothing elsewhere."""
        return tqdm(total=self.config.num_steps, initial=self.step, unit="step", file=sys.stderr, disable=None)


def cosine(step: int, num_steps: int, warmup_steps: int = 0) -> float:
    """Fraction of the highest learning rate after `step` steps: a linear rise, then half a cosine from 1 to 0."""
    rise = (step + 1) / warmup_steps if step < warmup_steps else 1.0
    return rise * (1 + math.cos(math.pi * min(step / num_steps, 1.0))) / 2
