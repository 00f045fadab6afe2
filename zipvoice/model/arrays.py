# SPDX-License-Identifier: Apache-2.0
"""The few operations that NumPy and PyTorch spell differently; neither library is imported for the other's arrays."""

import sys
from collections.abc import Sequence
from typing import Any, TypeAlias

Array: TypeAlias = Any
"""A NumPy array or a PyTorch tensor; a function gives back the kind that it was given."""


def namespace(x: Array) -> Any:
    """The library that an array is of: `namespace(x).concatenate([x, x])` works for either kind."""
    return sys.modules[type(x).__module__.partition(".")[0]]


def cast(x: Array, like: Array) -> Array:
    """`x` with the number type of `like`."""
    return x.to(like.dtype) if hasattr(x, "to") else x.astype(like.dtype)


def running_sum(x: Array) -> Array:
    """Sums along the second axis of x (B, N), added up in double precision where the device has it.

    In single precision libraries add in different orders, and a tie between two tokens falls one way or the other.
    """
    if not hasattr(x, "to"):
        return x.cumsum(1, dtype="float64").astype(x.dtype)
    return (x if x.device.type == "mps" else x.double()).cumsum(1).to(x.dtype)


def padded(items: Sequence[Array], longest: int) -> Array:
    """Matrices (T, C) of unequal length as one array (B, longest, C), zero behind each."""
    first, shape = items[0], (len(items), longest, items[0].shape[1])
    if len(items) == 1 and len(first) == longest:
        return first[None]
    whole = first.new_zeros(shape) if hasattr(first, "to") else namespace(first).zeros(shape, first.dtype)
    for row, item in zip(whole, items, strict=True):
        row[: len(item)] = item
    return whole


def positions(count: int, like: Array) -> Array:
    """0 … count - 1 as int64, (count), where `like` lives."""
    xp = namespace(like)
    return xp.arange(count, device=like.device) if hasattr(like, "to") else xp.arange(count)
