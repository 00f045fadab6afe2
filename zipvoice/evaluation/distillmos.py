# SPDX-License-Identifier: Apache-2.0
"""How good speech sounds to people, as predicted by DistillMOS (Stahl and Gamper 2025, MIT)."""

import contextlib
import io
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

from zipvoice.audio.files import Audio, resample
from zipvoice.evaluation.level import require_sound
from zipvoice.evaluation.provenance import JudgedBy, sha256_of

RATE = 16000
INSTALL = "pip install --no-deps distillmos xls-r-sqa"


class DistillMos:
    """Predicts opinion scores from 1 (bad) to 5 (excellent); good recordings have about 4.1.

    The level does not matter. Recordings are judged one at a time, in pieces of 7.68 s.
    """

    def __init__(self) -> None:
        """Load the model. Raises ImportError with the install line."""
        try:
            import torch

            with _without_torchaudio(), contextlib.redirect_stdout(io.StringIO()):  # it prints where it lies
                from distillmos import sqa

                self._network: Any = sqa.ConvTransformerSQAModel().eval()
        except ImportError as error:
            raise ImportError(f"DistillMOS needs its package ({error}): {INSTALL}") from None
        self._torch: Any = torch
        weights = sha256_of(Path(sqa.DEFAULT_WEIGHTS_CHKPT))
        self.by: tuple[JudgedBy, ...] = (JudgedBy("DistillMOS v7", weights, f"distillmos {version('distillmos')}"),)

    def predict(self, audio: Audio) -> float:
        """The predicted opinion of a recording (channels, N). Raises ValueError for silence."""
        heard = resample(require_sound(audio).mono(), RATE).samples  # (1, N)
        with self._torch.inference_mode():
            return float(self._network(self._torch.from_numpy(heard.copy())))


@contextlib.contextmanager
def _without_torchaudio() -> Iterator[None]:
    """Let distillmos import where torchaudio is not installed; it reads only files of its own command line with it."""
    absent = ModuleType("torchaudio")
    known = sys.modules.setdefault("torchaudio", absent)
    try:
        yield
    finally:
        if known is absent:
            del sys.modules["torchaudio"]
