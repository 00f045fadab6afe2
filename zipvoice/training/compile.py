# SPDX-License-Identifier: Apache-2.0
"""The same computation in less memory or in compiled code."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from zipvoice.model.kernels.fusion import fuse
from zipvoice.model.zipformer import EncoderLayer
from zipvoice.model.zipvoice import ZipVoice


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


def _recomputed(forward: Callable[..., Tensor], *inputs: Any) -> Tensor:
    return checkpoint(forward, *inputs, use_reentrant=False) if torch.is_grad_enabled() else forward(*inputs)
