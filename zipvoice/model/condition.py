# SPDX-License-Identifier: Apache-2.0
"""What the velocity is conditioned on: encoded text, one vector per frame, and the speech that is known.

NumPy arrays and PyTorch tensors alike. Shapes: B batch, S tokens of the longest text, T frames of the longest
utterance, F mel bins of one channel, C of all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zipvoice.model.arrays import Array, positions


@dataclass(frozen=True)
class Condition:
    """Everything a velocity knows besides the time and the current state."""

    text: Array
    """(B, T, F) encoded text, one vector per frame."""
    speech: Array
    """(B, T, C) known frames, zero where speech is to be generated."""
    padding_mask: Array | None = None
    """(B, T), True at frames beyond the end of an utterance; None where no utterance is padded."""


def padding_mask(lengths: Array, longest: int) -> Array:
    """(B, longest), True at positions beyond each of the `lengths` (B).

    Example:
        >>> padding_mask(np.array([1, 3]), 3).astype(int).tolist()
        [[0, 1, 1], [0, 0, 0]]
    """
    return positions(longest, lengths) >= lengths[:, None]


def pad_tokens(tokens: Sequence[Sequence[int]], pad_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Token ids of unequal length as one matrix.

    Args:
        tokens: B lists of token ids.
        pad_id: the padding token; at least one stands behind every text, for the frames that are left over.

    Returns:
        Ids (B, S + 1) and the numbers of tokens (B), int64.

    Raises:
        ValueError: a text has no tokens.

    Example:
        >>> [array.tolist() for array in pad_tokens([[5, 6], [7]], pad_id=0)]
        [[[5, 6, 0], [7, 0, 0]], [2, 1]]
    """
    lengths = [len(ids) for ids in tokens]
    for index, length in enumerate(lengths):
        if length == 0:
            raise ValueError(f"text {index} of the batch has no tokens; leave it out or give it some text")
    padded = np.full((len(tokens), max(lengths, default=0) + 1), pad_id, dtype=np.int64)
    for row, ids in zip(padded, tokens, strict=True):
        row[: len(ids)] = ids
    return padded, np.array(lengths, dtype=np.int64)
