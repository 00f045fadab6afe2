# SPDX-License-Identifier: Apache-2.0
"""The memory of this process: the most of it, and what glibc does with freed memory (other C libraries: nothing)."""

import ctypes
import re
import sys
from contextlib import suppress
from pathlib import Path

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


def peak_bytes() -> int | None:
    """The most that was resident since the process began or since `reset_peak`; None on systems that do not tell.

    Under Linux not what getrusage tells: that counts the memory of the process which started this one as well.
    """
    with suppress(OSError):
        if found := re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M):
            return 1024 * int(found[1])
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def reset_peak() -> None:
    """Let `peak_bytes` count from now on, under Linux; what is free is given back before."""
    give_back()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _set(option: int, value: int) -> None:
    with suppress(OSError, TypeError, AttributeError):
        ctypes.CDLL(None).mallopt(option, value)
