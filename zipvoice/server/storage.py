# SPDX-License-Identifier: Apache-2.0
"""Calls of the storage that keeps voices, which may be slow or hang: nobody waits for it for long."""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any, TypeVar

from zipvoice.server.errors import ApiError

NUM_THREADS = 4
"""Calls at a time."""
MOST_WAITING = 64
"""And calls that wait for a thread: more are refused at once."""
LONGEST_SECONDS = 10.0
"""A call is waited for."""

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Storage:
    """Threads of its own for the calls of a storage; the end of the process does not wait for those that hang.

    Example:
        >>> prompt = await storage.read(store.get, "anna")
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._writing = asyncio.Lock()
        for _ in range(NUM_THREADS):
            threading.Thread(target=self._work, name="zipvoice-storage", daemon=True).start()

    async def read(self, function: Callable[..., T], *arguments: Any) -> T:
        """The result of a call. Raises ApiError where the storage fails, or does not answer in time."""
        if self._calls.qsize() >= MOST_WAITING:
            raise _silent()
        future, context = Future[T](), copy_context()
        self._calls.put((future, lambda: context.run(function, *arguments)))
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), LONGEST_SECONDS)
        except asyncio.TimeoutError:
            raise _silent() from None
        except OSError as error:
            logger.error("the storage of the voices fails: %s", error)
            message = "the storage of the voices fails; the log of the server says why"
            raise ApiError(503, message, "storage_unavailable") from None

    async def write(self, function: Callable[..., T], *arguments: Any) -> T:
        """The same for a call that writes, one at a time, so that there are threads for those who read."""
        async with self._writing:
            return await self.read(function, *arguments)

    def _work(self) -> None:
        while True:
            future, call = self._calls.get()
            if not future.set_running_or_notify_cancel():  # nobody waits for it any more
                continue
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)


def _silent() -> ApiError:
    message = f"the storage of the voices has not answered within {LONGEST_SECONDS:g} s; try again later"
    return ApiError(503, message, "storage_unavailable", headers={"Retry-After": f"{LONGEST_SECONDS:.0f}"})
