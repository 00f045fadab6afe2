# SPDX-License-Identifier: Apache-2.0
"""Work on the parts of a corpus, in this process or in several."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def worker_map(num_workers: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """Yield `map`, or one that works in processes; they are spawned, as the copy of a process with threads can hang."""
    if num_workers == 0:
        yield map
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(num_workers, context, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)
