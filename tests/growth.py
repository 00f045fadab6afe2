# SPDX-License-Identifier: Apache-2.0
"""Whether work grows in proportion to its input, told from squared growth by processor time that may be disturbed."""

import time
from collections.abc import Callable

FACTOR = 8
MOST = 24
"""8 in proportion, 64 squared: halfway between them, as factors."""
ATTEMPTS = 5


def grows_in_proportion(work: Callable[[int], object], size: int) -> bool:
    """Whether 8 times the size takes less than 24 times as long, in one of five attempts: other work disturbs some."""
    return any(_seconds(work, FACTOR * size) < MOST * _seconds(work, size) for _ in range(ATTEMPTS))


def _seconds(work: Callable[[int], object], size: int) -> float:
    start = time.process_time()
    work(size)
    return time.process_time() - start
