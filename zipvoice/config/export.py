# SPDX-License-Identifier: Apache-2.0
"""How a model becomes graphs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ExportOptions:
    """How a model becomes graphs that need no PyTorch."""

    model: str
    """Model directory, or the name of a model of the package or of a released one."""
    output_dir: str
    """Model directory to write: graphs, model.json, tokens.txt and a card, README.md."""
    int8: bool = False
    """Weights of the velocity's matrix products in 8 bits: a quarter of the size, faster where the processor has such
    products, and slightly other speech."""
    vocoder: str | None = None
    """Export a vocoder as well: vocos_small (the package's) or a Vocos directory. Griffin-Lim needs no graph."""
    weights: str | None = None
    """Another weight file than model.safetensors or model.pt, relative to the model directory."""
