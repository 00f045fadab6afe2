# SPDX-License-Identifier: Apache-2.0
"""What comes with the package, so that it speaks as soon as it is installed: small models, a vocoder and voices.

Each folder holds the files that training wrote, and a model card, README.md: data, licences, commands, figures, limits.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
MODELS = ("zipvoice_small_distill", "zipvoice_small")
"""Names and folders of the models; the first one speaks unless another is named."""
VOCODER = "vocos_small"
"""Name and folder of the vocoder."""
MODELS_VOCODER = "griffin-lim"
"""What the models speak with unless told otherwise: a recogniser understands it better than the small vocoder."""
GRAPHS = "graphs"
"""Folder of what the released models do, as graphs without weights, one folder for each variant."""
VOICE = "heart"
"""The voice that speaks unless another is named."""
DIALOGUE_VOICES = (VOICE, "libri26")
"""Those of the two speakers of a dialogue."""


def folder(name: str) -> Path:
    """Where one of the models or the vocoder is."""
    return FOLDER / name


def voices() -> dict[str, Path]:
    """The voice files by name."""
    return {path.stem: path for path in sorted((FOLDER / "voices").glob("*.safetensors"))}
