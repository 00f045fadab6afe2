# SPDX-License-Identifier: Apache-2.0
"""The vocoder that a name or a folder means."""

import os

from torch import nn

from zipvoice import builtin
from zipvoice.audio.griffin_lim import GriffinLim
from zipvoice.vocoder.vocos import load_vocos

GRIFFIN_LIM = "griffin-lim"


def load_vocoder(source: str | os.PathLike[str]) -> nn.Module:
    """Griffin-Lim or the package's own Vocos by name, else Vocos from a folder; in evaluation mode on the CPU."""
    if source == GRIFFIN_LIM:
        return GriffinLim().eval()
    return load_vocos(builtin.folder(builtin.VOCODER) if source == builtin.VOCODER else source)
