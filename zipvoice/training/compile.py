# SPDX-License-Identifier: Apache-2.0
"""The same computation in less memory, in compiled code, or with memory that malloc keeps."""

import ctypes
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from zipvoice.model.kernels.fusion import fuse
from zipvoice.model.zipformer import EncoderLayer
from zipvoice.model.zipvoice import ZipVoice

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # from malloc.h


def recompute_activations(model: ZipVoice) -> None:
    """Let each layer keep its input only, and compute the rest again for its gradient, with the same random numbers.

    A third more computation, for the activations of one layer in memory instead of all. Evaluation is left as it is.
    """
    for layer in model.modules():
        if isinstance(layer, EncoderLayer):
            layer.forward = partial(_recomputed, layer.forward)  # type: ignore[method-assign]


def compile_elementwise(device: torch.device, backend: str = "inductor") -> None:
    """Compile what lies between the matrix products, for all models of this process, with torch.compile.

    Raises ValueError if this machine cannot compile for the device.
    """
    try:
        torch.compile(torch.nn.Softplus(), backend=backend)(torch.ones(2, device=device))
    except Exception as error:  # of many kinds: no compiler, no Triton, no headers, a version of Python too new
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"torch.compile does not work on this machine ({reason}); install a C++ compiler, for a GPU also triton, "
            "or set compile to false"
        ) from error
    fuse(backend)


def keep_freed_memory() -> None:
    """Keep memory for the next step rather than return it to the system; with another C library than glibc do nothing.

    A training step needs some gigabytes anew. To get them back page by page takes a twentieth of its time on a CPU.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, -1)  # never
        mallopt(M_MMAP_MAX, 0)  # large tensors live in the heap as well


def _recomputed(forward: Callable[..., Tensor], *inputs: Any) -> Tensor:
    return checkpoint(forward, *inputs, use_reentrant=False) if torch.is_grad_enabled() else forward(*inputs)
