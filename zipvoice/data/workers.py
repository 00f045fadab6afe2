# SPDX-License-Identifier: Apache-2.0
"""Work on the parts of a corpus, in this process or in several."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

from zipvoice.cores import num_cores


def fitting(num_workers: int) -> int:
    """So many worker processes, but no more than there are cores: they would only take them from each other.

    What is made in workers does not depend on their number.
    """
    return min(num_workers, num_cores())


@contextmanager
def worker_map(num_workers: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """Yield `map`, or one that works in processes; they are spawned, as the copy of a process with threads can hang.

    They end with this process, however it ends, and at once if the block is left by an error or an interrupt.
    """
    if num_workers == 0:
        yield map
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(fitting(num_workers), context, initializer=_begin)
    try:
        yield pool.map
    except BaseException:
        for process in list(pool._processes.values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """Prepare a worker process. It leaves interrupts to its parent, and ends with that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)
