# SPDX-License-Identifier: Apache-2.0
"""Working through long tensors in blocks that stay in a processor's cache."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import forward_ad

ROWS_PER_THREAD = 312  # of a feed-forward module, whose hidden layer then stays in the cache


def by_hand(x: Tensor) -> bool:
    """Whether computation on x pays to be arranged by hand.

    On a CPU, unless a graph is being traced or compiled, or a derivative is carried forward.
    """
    if x.device.type != "cpu" or torch.jit.is_tracing() or torch.compiler.is_compiling():
        return False
    return forward_ad.unpack_dual(x).tangent is None


def row_blocks(num_rows: int, rows_per_thread: int, x: Tensor) -> list[slice]:
    """Rows 0 … num_rows - 1 in blocks of so many for each thread, or all in one where blocks do not pay."""
    if not by_hand(x):
        return [slice(0, num_rows)]
    rows_per_block = rows_per_thread * torch.get_num_threads()
    return [slice(start, min(start + rows_per_block, num_rows)) for start in range(0, num_rows, rows_per_block)]


def rowwise(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """function(x) of x (B, T, D), for a function of single frames; in blocks where nothing is kept for a gradient."""
    if torch.is_grad_enabled():
        return function(x)
    return torch.cat([function(x[:, rows]) for rows in row_blocks(x.shape[1], ROWS_PER_THREAD, x)], dim=1)
