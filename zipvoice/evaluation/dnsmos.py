# SPDX-License-Identifier: Apache-2.0
"""How good speech sounds to people, as predicted by the DNSMOS models that the package speechmos carries."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from zipvoice.audio.files import Audio, resample
from zipvoice.evaluation.level import require_sound
from zipvoice.evaluation.provenance import sha256_of

RATE = 16000


@dataclass(frozen=True)
class DnsmosScores:
    """Opinion scores from 1 (bad) to 5 (excellent); good recordings have about 3.2 and 4.0."""

    overall: float
    """DNSMOS P.835, overall (Reddy et al. 2022)."""
    p808: float
    """DNSMOS P.808 (Reddy et al. 2021)."""


def predict_dnsmos(audio: Audio) -> DnsmosScores:
    """Predicted opinion scores of a recording (channels, N). Raises ValueError for silence.

    Example:
        >>> predict_dnsmos(read("out.wav"))
    """
    try:
        from speechmos import dnsmos
    except ImportError as error:
        raise ImportError(f"DNSMOS needs speechmos ({error}): pip install 'zipvoice-tts[evaluation]'") from None
    heard = resample(require_sound(audio).mono(), RATE).samples[0]
    scores = dnsmos.run(heard / max(float(np.abs(heard).max()), 1.0), sr=RATE)  # it refuses samples beyond one
    return DnsmosScores(float(scores["ovrl_mos"]), float(scores["p808_mos"]))


def dnsmos_sha256() -> str:
    """The hash of the two models that are asked."""
    spec = find_spec("speechmos")
    if spec is None or spec.origin is None:
        raise ImportError("DNSMOS needs speechmos: pip install 'zipvoice-tts[evaluation]'")
    folder = Path(spec.origin).parent / "dnsmos_models"
    return sha256_of(folder / "sig_bak_ovr.onnx", folder / "model_v8.onnx")
