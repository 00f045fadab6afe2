# SPDX-License-Identifier: Apache-2.0
"""The stack on which the signals of a thread are handled, which OpenVINO replaces by one of its own."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class SignalStack(ctypes.Structure):
    """`stack_t` of Linux; see sigaltstack(2)."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def current() -> SignalStack:
    """That of this thread, on Linux."""
    stack = SignalStack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack))
    return stack


@contextmanager
def kept() -> Iterator[None]:
    """Context after which the thread has the stack for signals that it had before.

    OpenVINO 2026.4.1 gives the thread that first asks a Core for its CPU a stack that belongs to the Core. When another
    thread frees the Core, as Python's collector may, the first one is left with memory that is gone, and the next
    signal that has a handler, be it that of a child that ended, ends the process without a word.

    Example:
        >>> with kept():
        ...     core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    """
    if sys.platform != "linux":
        yield
        return
    before = current()
    try:
        yield
    finally:
        ctypes.CDLL(None).sigaltstack(ctypes.byref(before), None)
