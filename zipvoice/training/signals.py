# SPDX-License-Identifier: Apache-2.0
"""Ends asked for from outside."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

logger = logging.getLogger(__name__)


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether SIGINT or SIGTERM has arrived; a second one acts as usual."""
    received: list[int] = []
    process = os.getpid()
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # Python delivers signals to the main thread only
        return

    def note(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:
            return  # loader processes inherit the handler, and are stopped by this one in the end
        received.append(number)
        restore()
        logger.warning("stopping after this step; press Ctrl-C again to stop at once, without saving")

    def restore() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    usual = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        restore()
