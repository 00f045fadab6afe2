# SPDX-License-Identifier: Apache-2.0
"""How a model becomes graphs."""

import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True)
class ExportOptions:
    """How a model becomes graphs that need no PyTorch."""

    model: str
    """Model directory, or the name of a model of the package or of a released one."""
    output_dir: str
    """Folder to write: graphs, model.json, tokens.txt and a card, README.md."""
    int8: bool = False
    """Weights of the velocity's matrix products in 8 bits: a quarter of the size, faster where the processor has such
    products, and slightly other speech."""
    vocoder: str | None = None
    """Export a vocoder as well: vocos_small (the package's) or a Vocos directory. Griffin-Lim needs no graph; for
    sherpa-onnx there is always one, by default what suits the model."""
    weights: str | None = None
    """Another weight file than model.safetensors or model.pt, relative to the model directory."""

    def __post_init__(self) -> None:
        if self.vocoder == "griffin-lim":
            raise ValueError("griffin-lim needs no graph; leave out vocoder, or give vocos_small or a Vocos directory")


@dataclass(frozen=True)
class SherpaOptions:
    """What graphs for sherpa-onnx hold beside the model."""

    num_steps: int | None = None
    """Euler steps that they will be used with, by default what suits the model; a temperature other than 1 is part of
    the graph and right for these alone."""
    lexicon: str | None = None
    """A file of words, one a line, that sherpa-onnx may read by itself, without this package: lexicon.txt."""


SHERPA_SPACE = "▁"
"""What the space is called in the tokens.txt of sherpa-onnx, whose lines are parted by white space."""
SHERPA_TEXT = "text"
"""The folder with model.json and tokens.txt for `zipvoice.sherpa`."""
SHERPA_LEXICON = "lexicon.txt"
"""Words and how they are read, for sherpa-onnx by itself."""


def sherpa_name(token: str) -> str:
    """What a token is called for sherpa-onnx, which would part a text at a mark that it knows, however it is read.

    Example:
        >>> [sherpa_name(token) for token in (" ", ",", "a")]
        ['▁', '⟨,⟩', 'a']
    """
    if token == " ":
        return SHERPA_SPACE
    return f"⟨{token}⟩" if len(token) == 1 and unicodedata.category(token)[0] == "P" else token
