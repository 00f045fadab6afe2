# SPDX-License-Identifier: Apache-2.0
"""Names of weights as networks have them, whichever program saved them; PyTorch is not needed for it."""

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")

WRAPPERS = ("module.", "_orig_mod.", "model.")
"""What DistributedDataParallel, torch.compile and Lightning put before the names of weights."""


def plain_names(state: Mapping[str, T], origin: str) -> dict[str, T]:
    """Weights by their names without what training programs add. Raises ValueError if two have the same name then.

    Example:
        >>> plain_names({"module.embed.weight": 1, "module.head._orig_mod.bias": 2}, "model.safetensors")
        {'embed.weight': 1, 'head.bias': 2}
    """
    names = {name: name.replace("._orig_mod.", ".") for name in state}
    for _ in range(len(WRAPPERS)):
        for prefix in WRAPPERS:
            if all(name.startswith(prefix) for name in names.values()) or prefix in WRAPPERS[:2]:
                names = {old: new.removeprefix(prefix) for old, new in names.items()}
    if len(set(names.values())) < len(names):
        raise ValueError(f"{origin} has weights of the same name with and without a prefix ({', '.join(WRAPPERS)})")
    return {names[name]: value for name, value in state.items()}
