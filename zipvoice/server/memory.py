# SPDX-License-Identifier: Apache-2.0
"""Memory of a process that runs for weeks: what requests leave behind goes back to the system.

glibc has a heap for every few threads and keeps what is freed in each, so that the process grows with the threads that
happened to hold something large at the same time. Other libraries of C have no such settings, and are left alone.
Codecs and connections hold each other in circles, which Python's collector takes for a few small objects, and lets lie.
"""

import asyncio
import gc
from collections.abc import Callable

from zipvoice import heap

NUM_HEAPS = 2
IDLE_SECONDS = 0.5
"""At rest memory is given back so long after the last request."""


def bound_heaps() -> None:
    """Let all threads that come share a few heaps."""
    heap.share_heaps(NUM_HEAPS)


def keep() -> None:
    """Let the collector pass over what is there now: a model and its libraries stay for good."""
    gc.collect()
    gc.freeze()


def give_back() -> None:
    """Return what is free to the system."""
    gc.collect()
    heap.give_back()


async def give_back_at_rest(count_done: Callable[[], int], is_at_rest: Callable[[], bool]) -> None:
    """Give memory back whenever there is nothing to do after something was done. Never ends."""
    trimmed = count_done()
    while True:
        await asyncio.sleep(IDLE_SECONDS)
        done = count_done()
        if done != trimmed and is_at_rest():
            await asyncio.to_thread(give_back)
            trimmed = done
