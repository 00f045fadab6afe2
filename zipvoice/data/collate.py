# SPDX-License-Identifier: Apache-2.0
"""What a training step is given: some utterances side by side.

Shapes: B utterances, T frames, C features of one frame (100, or 300 in stereo).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from zipvoice.audio.mel import HOP, SAMPLING_RATE

PADDING = math.log(1e-10)
"""Value of padding frames, before scaling; released models were trained with it."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Some utterances, ready for a model."""

    features: Tensor
    """(B, T, C) float32, scaled, padded on the right with the scaled `PADDING`."""
    feature_lens: Tensor
    """(B,) int64, frames of each utterance; always on the CPU, which has to know them."""
    tokens: list[list[int]]
    """Token ids of each utterance."""
    ids: list[str]
    """Names of the utterances."""
    texts: list[str]
    """Their texts."""

    @property
    def seconds(self) -> list[float]:
        """Length of each utterance, rounded to 10 ms."""
        return [round(length * HOP / SAMPLING_RATE, 2) for length in self.feature_lens.tolist()]

    def to(self, device: torch.device | str) -> "Batch":
        """The batch with its features on `device`."""
        return replace(self, features=self.features.to(device))


def collate(
    features: Sequence[NDArray[np.float32]], tokens: list[list[int]], ids: list[str], texts: list[str], scale: float
) -> Batch:
    """One batch of single utterances with unscaled features (T, C).

    Example:
        >>> batch = collate([mel_1, mel_2], [[5, 9], [7]], ["a", "b"], ["Hi", "O"], scale=0.1)
        >>> batch.features.shape  # (B, T, C), T that of the longer one
    """
    items = [torch.from_numpy(item) for item in features]
    padded = pad_sequence(items, batch_first=True, padding_value=PADDING) * scale  # (B, T, C)
    return Batch(padded, torch.tensor([len(item) for item in features]), tokens, ids, texts)
