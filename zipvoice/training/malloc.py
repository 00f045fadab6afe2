# SPDX-License-Identifier: Apache-2.0
"""How a process that trains on a CPU holds its memory."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # from malloc.h


def keep_freed_memory() -> None:
    """Keep memory for the next step rather than return it to the system; with another C library than glibc do nothing.

    A training step needs some gigabytes anew. To get them back page by page takes a twentieth of its time on a CPU.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, -1)  # never
        mallopt(M_MMAP_MAX, 0)  # large tensors live in the heap as well
