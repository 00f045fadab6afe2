# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

import pytest

PROGRAM = """
import resource, torch
from zipvoice.training.compile import keep_freed_memory

keep_freed_memory()
for _ in range(40):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**22)  # 16 MiB
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it is about glibc")
def test_freed_memory_is_used_again():
    """Each tensor needs pages of the system, until there are enough for all of them."""
    output = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True).stdout
    faults = [int(line) for line in output.split()]
    assert faults[0] >= 8  # pages of at most 2 MiB
    assert sum(faults) < 20 * faults[0]
    assert faults[-1] == 0
