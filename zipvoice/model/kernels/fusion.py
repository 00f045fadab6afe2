# SPDX-License-Identifier: Apache-2.0
"""Functions of element-wise operations, which torch.compile can turn into one pass over memory each.

What lies between the matrix products of a network is limited by memory, which each operation reads and writes anew.
Only these functions are compiled: products gain nothing, what is random in training would break a compiled network
into pieces, and a few small functions compile in seconds.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")

MOST_VARIANTS = 32  # of a function: by which arguments are views, parameters or None, and their sizes

_functions: list[Callable[..., Any]] = []
_compiled: dict[Callable[..., Any], Callable[..., Any]] = {}


def fusible(function: Callable[P, R]) -> Callable[P, R]:
    """Let `fuse` compile a function, which must depend on nothing but its arguments."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        result: R = _compiled.get(function, function)(*args, **kwargs)
        return result

    _functions.append(function)
    return call


def fuse(backend: Any = "inductor") -> None:
    """From now on compile these functions in this process, when they are first called; with backend None no longer."""
    _compiled.clear()
    if backend is not None:
        torch._dynamo.config.cache_size_limit = max(MOST_VARIANTS, torch._dynamo.config.cache_size_limit)
        torch._dynamo.config.specialize_float = True  # else constants become arguments, fetched for every element
        options: dict[str, Any] | None = None
        if backend == "inductor":
            options = {"cpp.enable_floating_point_contract_flag": "fast"}  # fused multiply-add
        _compiled.update({f: torch.compile(f, backend=backend, options=options, dynamic=True) for f in _functions})


def is_fused() -> bool:
    """Whether these functions are compiled."""
    return bool(_compiled)


@contextmanager
def unfused() -> Iterator[None]:
    """Context in which these functions are not compiled, for what compiled ones cannot do."""
    compiled = dict(_compiled)
    _compiled.clear()
    try:
        yield
    finally:
        _compiled.update(compiled)
