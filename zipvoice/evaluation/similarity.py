# SPDX-License-Identifier: Apache-2.0
"""How alike two voices are, by the speaker encoder that the package Resemblyzer carries."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zipvoice.audio.files import Audio, resample
from zipvoice.evaluation.level import evened
from zipvoice.evaluation.provenance import JudgedBy, sha256_of

RATE = 16000
SHORTEST_SECONDS = 0.5
"""The encoder looks at 1.6 s at a time and pads what is shorter; of less than this it says nothing about the voice."""


class SpeakerEncoder:
    """Turns speech into a vector of length one; the inner product of two vectors is the similarity of the voices.

    Two recordings of one speaker have a similarity of about 0.87, of different speakers 0.53 to 0.58 (Generalized
    End-to-End Loss for Speaker Verification, Wan et al. 2018, as trained by Resemblyzer).
    """

    def __init__(self) -> None:
        try:
            import resemblyzer
            from resemblyzer import VoiceEncoder
        except ImportError as error:
            raise ImportError(f"similarity needs Resemblyzer ({error}): pip install zipvoice-tts[evaluation]") from None
        self._encoder: Any = VoiceEncoder("cpu", verbose=False)
        weights = Path(resemblyzer.__file__).parent / "pretrained.pt"
        self.by: tuple[JudgedBy, ...] = (
            JudgedBy("Resemblyzer", sha256_of(weights), f"resemblyzer {version('resemblyzer')}"),
        )

    def embed(self, audio: Audio) -> NDArray[np.float32]:
        """The voice of a recording (channels, N), a vector (256,), at any level.

        Raises ValueError where nothing is spoken.
        """
        from resemblyzer import preprocess_wav

        heard = resample(evened(audio.mono()), RATE).samples[0]  # its voice detector knows loud from soft
        speech = preprocess_wav(heard)
        if len(speech) < SHORTEST_SECONDS * RATE:
            raise ValueError(f"only {len(speech) / RATE:.2f} s of speech were found, too little to know a voice by")
        vector: NDArray[np.float32] = self._encoder.embed_utterance(speech)
        return vector
