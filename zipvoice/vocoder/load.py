# SPDX-License-Identifier: Apache-2.0
"""The vocoder that a name or a folder means."""

import os

import torch
from torch import Tensor, nn

from zipvoice import builtin
from zipvoice.audio.griffin_lim import griffin_lim
from zipvoice.vocoder.vocos import load_vocos

GRIFFIN_LIM = "griffin-lim"


class GriffinLim(nn.Module):
    """`griffin_lim` of tensors: log-mel (B, F, T) -> wave (B, N)."""

    def forward(self, mel: Tensor) -> Tensor:
        return torch.from_numpy(griffin_lim(mel.detach().float().cpu().numpy())).to(mel.device)


def load_vocoder(source: str | os.PathLike[str]) -> nn.Module:
    """Griffin-Lim or the package's own Vocos by name, else Vocos from a folder; in evaluation mode on the CPU."""
    if source == GRIFFIN_LIM:
        return GriffinLim()
    return load_vocos(builtin.folder(builtin.VOCODER) if source == builtin.VOCODER else source)
