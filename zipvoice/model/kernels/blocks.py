# SPDX-License-Identifier: Apache-2.0
"""Working through long tensors in blocks that stay in a processor's cache."""

import torch
from torch import Tensor


def by_hand(x: Tensor) -> bool:
    """Whether computation on x pays to be arranged by hand: on a CPU, unless a graph is being traced or compiled."""
    return x.device.type == "cpu" and not torch.jit.is_tracing() and not torch.compiler.is_compiling()


def row_blocks(num_rows: int, rows_per_thread: int, x: Tensor) -> list[slice]:
    """Rows 0 … num_rows - 1 in blocks of so many for each thread, or all in one where blocks do not pay."""
    if not by_hand(x):
        return [slice(0, num_rows)]
    rows_per_block = rows_per_thread * torch.get_num_threads()
    return [slice(start, min(start + rows_per_block, num_rows)) for start in range(0, num_rows, rows_per_block)]
