# SPDX-License-Identifier: Apache-2.0
"""The objective of a vocoder: spectral distances and, from some step on, an adversarial loss by discriminators.

Shapes: B batch, N samples, T frames, F mel bins.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zipvoice.audio.mel import HOP
from zipvoice.config.vocoder import VocoderRunConfig
from zipvoice.data.segments import CONTEXT, SegmentBatch
from zipvoice.training.averaging import RunningAverage
from zipvoice.training.distributed import ALONE, World
from zipvoice.training.losses import Loss, Objective
from zipvoice.training.precision import Precision, all_finite
from zipvoice.vocoder.discriminators import DiscriminatorOutput, Discriminators
from zipvoice.vocoder.log_mel import LogMel
from zipvoice.vocoder.losses import SpectralLoss, adversarial_loss, discriminator_loss, feature_loss
from zipvoice.vocoder.vocos import Vocos

AVERAGE_WARMUP = 10


class VocoderObjective(Objective[Vocos, SegmentBatch]):
    """Reconstruction of waves from their log-mel features, after HiFi-GAN and Vocos.

    The loss is the mel distance, the multi-resolution spectral loss and, once the discriminators take part, the
    adversarial and the feature-matching loss. Each call then also makes one update of the discriminators, by an
    optimizer of their own. Validation uses the exponential moving average of the vocoder's weights, the result.

        objective = VocoderObjective(config, vocos, Discriminators(config.discriminators))
        loss = objective(vocos, batch, generator)

    Args:
        config: of the run.
        vocos: to be trained, on its device.
        discriminators: trained beside it, on the same device.
        world: the training processes; the gradients of the discriminators are the mean over them.
    """

    def __init__(
        self, config: VocoderRunConfig, vocos: Vocos, discriminators: Discriminators, world: World = ALONE
    ) -> None:
        device = next(vocos.parameters()).device
        self.config = config
        self.discriminators = discriminators
        self.world = world
        self.precision = Precision(config.precision, device.type)
        self.log_mel = LogMel().to(device)
        self.spectral_loss = SpectralLoss(config.stft_windows).to(device)
        self.optimizer_d = torch.optim.AdamW(discriminators.parameters(), config.lr, config.betas)
        self.optimizers = (self.optimizer_d,)
        self.averaged = copy.deepcopy(vocos).requires_grad_(False).eval()
        weights = dict(self.averaged.named_parameters())
        self.average = RunningAverage(weights, decay=config.ema_decay, warmup=AVERAGE_WARMUP)
        self.num_steps = 0

    def __call__(self, model: Vocos, batch: SegmentBatch, generator: torch.Generator) -> Loss:
        with torch.autocast(batch.samples.device.type, enabled=False):  # spectra and losses are float32
            return self._loss(model, batch.samples)

    @torch.no_grad()
    def validate(self, model: Vocos, batch: SegmentBatch, generator: torch.Generator) -> Loss:
        """The mel distance of the averaged vocoder's copies of whole recordings."""
        mel = self.log_mel(batch.samples).mT
        fake = self.averaged(mel)
        real = batch.samples[:, : fake.shape[1]]
        distance = F.l1_loss(self.log_mel(fake), self.log_mel(real))
        return Loss(distance, mel.shape[2], {"stft": self.spectral_loss(fake, real)})

    def after_step(self, model: Vocos) -> None:
        self.num_steps += 1
        self.average.update(dict(model.named_parameters()), self.num_steps)

    def result(self, model: Vocos) -> Mapping[str, Tensor]:
        return self.averaged.state_dict()

    def state_dict(self) -> dict[str, Any]:
        return {
            "num_steps": self.num_steps,
            "average": self.averaged.state_dict(),
            "discriminators": self.discriminators.state_dict(),
            "optimizer_d": self.optimizer_d.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.num_steps = state["num_steps"]
        self.averaged.load_state_dict(state["average"])
        self.discriminators.load_state_dict(state["discriminators"])
        self.optimizer_d.load_state_dict(state["optimizer_d"])

    def examples(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Log-mel features (B, F, T) of segments without their context, and the target waves (B, (T - 1) · HOP)."""
        skipped = CONTEXT // HOP
        real = samples[:, CONTEXT:-CONTEXT]
        num_frames = real.shape[1] // HOP + 1
        return self.log_mel(samples)[:, skipped : skipped + num_frames].mT, real

    def _loss(self, model: Vocos, samples: Tensor) -> Loss:
        mel, real = self.examples(samples)
        with self.precision.autocast():
            hidden = model.backbone(mel)
        fake = model.head(hidden.float())
        parts = {"mel": F.l1_loss(self.log_mel(fake), self.log_mel(real))}
        value = self.config.mel_weight * parts["mel"]
        if self.config.stft_weight:
            parts["stft"] = self.spectral_loss(fake, real)
            value = value + self.config.stft_weight * parts["stft"]
        if self.num_steps >= self.config.adversarial_from:
            parts["discriminators"] = self._update_discriminators(real, fake.detach())
            parts |= self._generator_losses(real, fake)
            value = value + parts["adversarial"] + parts["features"]
        return Loss(value, mel.shape[0] * mel.shape[2], {name: part.detach() for name, part in parts.items()})

    def _update_discriminators(self, real: Tensor, fake: Tensor) -> Tensor:
        """One step of the discriminators, by the mean gradient of all processes; returns their loss."""
        self.discriminators.requires_grad_(True)
        loss = discriminator_loss(self._outputs(real), self._outputs(fake))
        loss.backward()
        params = list(self.discriminators.parameters())
        self.world.sum_gradients(params, 1 / self.world.size)
        if all_finite(params):
            self.optimizer_d.step()
        self.optimizer_d.zero_grad(set_to_none=True)
        return loss

    def _generator_losses(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """The losses of the vocoder that the discriminators' outputs give."""
        self.discriminators.requires_grad_(False)
        with torch.no_grad():
            expected = self._outputs(real)
        outputs, weights = self._outputs(fake), self.discriminators.weights
        return {
            "adversarial": adversarial_loss(outputs, weights),
            "features": feature_loss(expected, outputs, weights),
        }

    def _outputs(self, wave: Tensor) -> list[DiscriminatorOutput]:
        with self.precision.autocast():
            return self.discriminators(wave)
