# SPDX-License-Identifier: Apache-2.0
"""Pools whose threads are all there from the start.

Pools that fill as work comes make a server grow for its first thousands of requests, and hide what a leak would add.
"""

import threading
from concurrent.futures import ThreadPoolExecutor


def filled_pool(num_threads: int, name: str) -> ThreadPoolExecutor:
    """A pool of so many threads, which are running.

    Example:
        >>> filled_pool(2, "zipvoice-plan").submit(plan, task)
    """
    pool, all_there = ThreadPoolExecutor(num_threads, name), threading.Barrier(num_threads + 1)
    for _ in range(num_threads):
        pool.submit(all_there.wait)
    all_there.wait()
    return pool
