# SPDX-License-Identifier: Apache-2.0
"""How many processor cores this process may use. Libraries see those of the machine; containers get fewer."""

import os
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Microseconds of processor time in a period that a container may use (`docker run --cpus 2`), and the period."""


def num_cores() -> int:
    """Processor cores that this process may use, among all that torchrun started with it on this machine; at least 1.

    Threads beyond them are no faster, and where a container has a quota all of them are stopped when it is used up.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if QUOTA.is_file():
        allowed, period = QUOTA.read_text().split()[:2]
        if allowed.isdigit() and period.isdigit():
            cores = min(cores, max(1, int(allowed) // int(period)))
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
