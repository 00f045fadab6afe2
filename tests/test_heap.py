# SPDX-License-Identifier: Apache-2.0
import asyncio
import subprocess
import sys

import pytest

from zipvoice.server import memory

PROGRAM = """
import resource, torch
from zipvoice import heap

heap.keep_freed()
for _ in range(40):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**22)  # 16 MiB
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
FREED = """
import resource
from pathlib import Path
import torch
from zipvoice import heap

heap.keep_freed()
resident = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 2**20
large = torch.ones(2**24)  # 64 MiB
print(resident())
del large
print(resident())
heap.give_back()
print(resident())
"""
PEAK = """
import torch
from zipvoice import heap
from zipvoice.training.observation.monitor import peak_bytes, reset_peak

heap.keep_freed()
large = torch.ones(2**26)  # 256 MiB
print(peak_bytes(torch.device("cpu")))
del large
reset_peak(torch.device("cpu"))
print(peak_bytes(torch.device("cpu")))
"""
CHILD = "from zipvoice import heap; print(heap.peak_bytes())"
PARENT = f"""
import subprocess, sys
large = b"1" * 2**29
print(subprocess.run([sys.executable, "-c", {CHILD!r}], check=True, capture_output=True, text=True).stdout)
"""
glibc = pytest.mark.skipif(sys.platform != "linux", reason="it is about glibc")


def run(program):
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout


@glibc
def test_what_is_kept_can_be_given_back():
    large, kept, given_back = map(int, run(FREED).split())
    assert large - kept < 8 and kept - given_back > 56


@glibc
def test_what_was_kept_is_no_part_of_the_next_peak():
    first, second = map(int, run(PEAK).split())
    assert first - second > 240 * 2**20


@glibc
def test_a_process_does_not_count_the_memory_of_the_one_that_started_it():
    assert 2**20 < int(run(PARENT)) < 2**29


@glibc
def test_freed_memory_is_used_again():
    """Each tensor needs pages of the system, until there are enough for all of them."""
    faults = [int(line) for line in run(PROGRAM).split()]
    assert faults[0] >= 8  # pages of at most 2 MiB
    assert sum(faults) < 20 * faults[0]
    assert faults[-1] == 0


def test_a_server_gives_back_at_rest_and_once_for_what_was_done(monkeypatch):
    looks, now, given = [(0, True), (1, False), (2, True), (2, True), (3, True)], [0, True], []

    async def sleep(seconds):
        assert seconds == 0.5
        now[:] = looks.pop(0)

    def count_done():
        counted.append(now[0])
        assert len(counted) < 10  # it waits between its looks
        return now[0]

    counted = []
    monkeypatch.setattr(memory.asyncio, "sleep", sleep)
    monkeypatch.setattr(memory, "give_back", lambda: given.append(now[0]))
    with pytest.raises(IndexError):  # there is nothing more to see
        asyncio.run(memory.give_back_at_rest(count_done, lambda: now[1]))
    assert given == [2, 3]


def test_a_server_shares_two_heaps_and_keeps_what_is_there(monkeypatch):
    done = []
    monkeypatch.setattr(memory.heap, "share_heaps", lambda number: done.append(number))
    monkeypatch.setattr(memory.heap, "give_back", lambda: done.append("given back"))
    monkeypatch.setattr(memory.gc, "collect", lambda: done.append("collected"))
    monkeypatch.setattr(memory.gc, "freeze", lambda: done.append("frozen"))
    memory.bound_heaps()
    memory.keep()
    memory.give_back()
    assert done == [2, "collected", "frozen", "collected", "given back"]
