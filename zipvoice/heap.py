# SPDX-License-Identifier: Apache-2.0
"""What glibc does with freed memory. With another C library these functions do nothing."""

import ctypes
from contextlib import suppress

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # from malloc.h


def keep_freed() -> None:
    """Keep memory for the next step rather than return it to the system.

    A training step needs some gigabytes anew. To get them back page by page takes a twentieth of its time on a CPU.
    """
    _set(M_TRIM_THRESHOLD, -1)  # never
    _set(M_MMAP_MAX, 0)  # large tensors live in the heap as well


def share_heaps(count: int) -> None:
    """Let all threads that come share so many heaps."""
    _set(M_ARENA_MAX, count)


def give_back() -> None:
    """Return what is free to the system, also where it is to be kept."""
    with suppress(OSError, TypeError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _set(option: int, value: int) -> None:
    with suppress(OSError, TypeError, AttributeError):
        ctypes.CDLL(None).mallopt(option, value)
