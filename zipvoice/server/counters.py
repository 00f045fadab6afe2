# SPDX-License-Identifier: Apache-2.0
"""What a scheduler counts, for those who watch it."""

import math
import time
from bisect import bisect_left
from dataclasses import dataclass, field

from zipvoice.server.speech_job import Cancelled, DeadlineExceeded, Failed

MOST_FAILURES = 5
"""One after the other, which may be those of requests; more are those of the server."""
REST_SECONDS = 30.0
SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
SIZES = (1, 2, 4, 8, 16, 32, 64)


@dataclass
class Histogram:
    """How often values were at most each of `bounds`, and above all of them."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    """In each interval, by upper bound; the last one has none."""
    total: float = 0.0
    """Sum of all values."""

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def num(self) -> int:
        return sum(self.counts)


@dataclass
class Health:
    """Whether speech is made at all, by the requests that ended last."""

    num_failures: int = 0
    """In the model or its vocoder, since speech was last made."""
    last_failure: float = -math.inf
    """On the monotonic clock."""

    def observe(self, error: Exception | None) -> None:
        """Count a request that was spoken, or the error that ended it: others than of the model tell nothing."""
        if error is None:
            self.num_failures = 0
        elif isinstance(error, Failed):
            self.num_failures += 1
            self.last_failure = time.monotonic()

    @property
    def is_failing(self) -> bool:
        """Whether requests are better sent elsewhere; after a rest they are not, for only one more can tell."""
        return self.num_failures >= MOST_FAILURES and time.monotonic() - self.last_failure < REST_SECONDS


@dataclass
class SchedulerMetrics:
    """Counts since the start, and what is so at the moment."""

    queued: int = 0
    """Requests that wait for their first step."""
    open: int = 0
    """Requests that are waiting, being spoken or being read."""
    predicted_wait_seconds: float = 0.0
    """Of a request that came now."""
    admitted: int = 0
    refused: int = 0
    completed: int = 0
    failed: int = 0
    """By an error, of the text or of the runtime."""
    cancelled: int = 0
    expired: int = 0
    steps: int = 0
    """Evaluations of the network."""
    frames: int = 0
    """Evaluated, with prompts, without padding."""
    padding_frames: int = 0
    step_seconds: float = 0.0
    """Spent in evaluations."""
    sound_seconds: float = 0.0
    """Sound made."""
    batch_size: Histogram = field(default_factory=lambda: Histogram(SIZES))
    """Utterances in an evaluation."""
    first_audio_seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    """From a request to its first sound."""
    request_seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    """From a request to its last sound."""

    def end(self, error: Exception | None, seconds: float) -> None:
        """Count a request that has ended, so long after it came."""
        match error:
            case None:
                self.completed += 1
                self.request_seconds.add(seconds)
            case Cancelled():
                self.cancelled += 1
            case DeadlineExceeded():
                self.expired += 1
            case _:
                self.failed += 1

    @property
    def padding_share(self) -> float:
        """Of all that was evaluated."""
        return self.padding_frames / max(1, self.frames + self.padding_frames)
