# SPDX-License-Identifier: Apache-2.0
"""A request for speech and, while it is spoken, what the one who asked has in hand."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType

from zipvoice.audio.files import Audio
from zipvoice.config.synthesis import SynthesisOptions
from zipvoice.server.text_feed import TextFeed
from zipvoice.synthesis.prompt import Prompt


@dataclass(frozen=True, eq=False)
class SpeechRequest:
    """What is to be spoken, and how. What it sounds like depends on nothing else."""

    text: str | Iterable[str] | TextFeed
    """A text, its lines, or one that is still being written."""
    prompt: Prompt
    options: SynthesisOptions = field(default_factory=SynthesisOptions)
    name: str = ""
    """Goes into the seed of the noise, as in `Synthesizer.synthesize`."""
    stream: bool = False
    """Somebody listens meanwhile: the first chunk is short, and the next ones come when they are needed."""
    deadline_seconds: float | None = None
    """From now until the first sound of a stream, or else until the whole is there; by default any time."""
    key: str = ""
    """Whose request it is, for limits."""


class DeadlineExceeded(Exception):  # noqa: N818, an outcome rather than an error
    """The request was not spoken in the time it had."""


class Cancelled(Exception):  # noqa: N818, an outcome rather than an error
    """The request was cancelled, by who made it or because the scheduler closes."""


class Failed(RuntimeError):  # noqa: N818, an outcome like the others
    """The model or its vocoder failed, which is no fault of the request, whatever they raised."""


class SpeechJob:
    """The sound of a request as it is made: iterate over its parts, in a thread or in an event loop.

    Iterating raises ValueError for a text that cannot be spoken, after the parts before it, and so it does
    `DeadlineExceeded`, `Cancelled` and `Failed`. Leave a job by its end or with `cancel`; as a context it cancels
    itself.

    Example:
        >>> async with scheduler.submit(SpeechRequest("Hello.", prompt, stream=True)) as job:
        ...     async for part in job:
        ...         await response.write(pcm16(part).tobytes())
    """

    def __init__(self, request: SpeechRequest, on_change: Callable[["SpeechJob"], None]) -> None:
        self.request = request
        self.num_tokens = 0
        """Tokens of the text, as far as it was read."""
        self.num_frames = 0
        """Frames of speech, as far as they were planned."""
        self._on_change = on_change
        self._lock = threading.Lock()
        self._parts: deque[Audio] = deque()
        self._waiter: Future[None] | None = None
        self._is_over = False
        self._error: Exception | None = None
        self._last_read = time.monotonic()

    # ------------------------------------------------------------ for who made the request

    def __iter__(self) -> Iterator[Audio]:
        return self

    def __next__(self) -> Audio:
        while not (part := self._take()):
            if self._has_ended():
                raise StopIteration
            self._change().result()
        return part

    def __aiter__(self) -> AsyncIterator[Audio]:
        return self

    async def __anext__(self) -> Audio:
        while not (part := self._take()):
            if self._has_ended():
                raise StopAsyncIteration
            await asyncio.wrap_future(self._change())
        return part

    def cancel(self) -> None:
        """Stop: nothing that was made is given out any more, and nothing is made after the present solver step."""
        with self._lock:
            if self._is_over and not self._parts:
                return
            self._parts.clear()
        self.finish(Cancelled("the request was cancelled"))
        self._on_change(self)

    @property
    def is_over(self) -> bool:
        """Whether all of it was made, or it failed."""
        return self._is_over

    def __enter__(self) -> "SpeechJob":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()

    async def __aenter__(self) -> "SpeechJob":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()

    def _take(self) -> Audio | None:
        with self._lock:
            self._last_read = time.monotonic()
            part = self._parts.popleft() if self._parts else None
        if part:
            self._on_change(self)
        return part

    def _has_ended(self) -> bool:
        with self._lock:
            if self._is_over and not self._parts and self._error:
                raise self._error
            return self._is_over and not self._parts

    def _change(self) -> "Future[None]":
        """Done when there is something new."""
        future: Future[None] = Future()
        with self._lock:
            if self._parts or self._is_over:
                future.set_result(None)
            else:
                self._waiter = future
        return future

    # ------------------------------------------------------------ for the scheduler

    @property
    def unread_seconds(self) -> float:
        """Sound that was made and not read."""
        with self._lock:
            return sum(part.seconds for part in self._parts)

    @property
    def unread_since(self) -> float | None:
        """Since when sound has been waiting for its reader, on the monotonic clock; None when none waits."""
        with self._lock:
            return self._last_read if self._parts else None

    def put(self, part: Audio) -> None:
        """Give a part out, unless the job is over."""
        with self._lock:
            if self._is_over:
                return
            if not self._parts:
                self._last_read = time.monotonic()
            self._parts.append(part)
            self._wake()

    def finish(self, error: Exception | None = None) -> None:
        """Say that nothing follows, or that it failed; the first time counts, but for a cancelled job."""
        with self._lock:
            if not self._is_over or isinstance(error, Cancelled):
                self._is_over, self._error = True, error
            self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter and waiter.set_running_or_notify_cancel():
            waiter.set_result(None)
