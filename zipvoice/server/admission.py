# SPDX-License-Identifier: Apache-2.0
"""Who is let in: requests are refused at the door, with the time to come back, rather than kept waiting.

Work is counted in frames: of speech and prompt, times solver steps, times evaluations of the network in each step.
"""

import math
import time
from dataclasses import dataclass, field

from zipvoice.cores import num_cores

OVERLOAD = 1.1
"""Seconds of work that come in a second, from which on a queue is not let grow."""
OVERLOAD_WAIT = 0.75
"""Of a request's own time, what it may wait then: less leaves the server idle between requests, more makes all late."""


@dataclass(frozen=True)
class SchedulerLimits:
    """How much is spoken at a time, and how much may wait for it."""

    max_batch_frames: int | None = None
    """Utterances share an evaluation of the network up to so many frames together, prompts and padding included; a
    second of speech has 93.75, and one that is longer is evaluated alone. By default 800 on a CPU, where frames cost
    the same in large batches and each waits for all, and 24000 on an accelerator; each alone on a CPU that does not
    compute in float32, as what is rounded there would depend on the others."""
    max_padding_share: float = 0.15
    """Utterances share an evaluation if at most this share of it is padding."""
    queue_seconds: float = 2.0
    """A request is refused while those before it take longer than this by prediction."""
    burst_seconds: float = 5.0
    """Requests may come faster than they are spoken for about so long, and wait. While more go on coming, waiting would
    only make all late: a request is refused unless it can begin almost at once. 0 lets all wait."""
    max_requests: int = 64
    """Requests that are open at the same time, spoken, waiting or being read."""
    requests_per_key: int | None = None
    """Of these, how many of one key; by default as many as all."""
    requests_per_minute: float | None = None
    """Requests of one key in a minute, on average; by default any number."""
    num_evaluators: int | None = None
    """Evaluations of the network at a time. By default one, which has the whole device or all cores; with ONNX Runtime
    one for each core, as that makes more of several cores than threads in one evaluation do."""
    num_vocoders: int | None = None
    """Chunks vocoded at a time, beside the steps; by default one for every two cores, as much as Griffin-Lim needs."""
    unread_seconds: float = 60.0
    """A request is made no further while so much of its sound waits to be read."""
    reader_seconds: float = 120.0
    """A request is ended when its sound waits so long for a reader."""

    def __post_init__(self) -> None:
        for name in ("queue_seconds", "burst_seconds", "max_padding_share"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)}")
        for name in (
            "max_batch_frames",
            "max_requests",
            "requests_per_key",
            "requests_per_minute",
            "num_evaluators",
            "num_vocoders",
            "unread_seconds",
            "reader_seconds",
        ):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, not {value}")

    def batch_frames(self, has_accelerator: bool, dtype: str) -> int:
        """Frames of an evaluation at most, where more than one utterance takes part."""
        return self.max_batch_frames or (24_000 if has_accelerator else 800 if dtype == "float32" else 1)

    @property
    def vocoders(self) -> int:
        return self.num_vocoders or max(1, num_cores() // 2)


class Busy(Exception):  # noqa: N818, an outcome rather than an error
    """A request was not let in. Nothing of it was done; it may come again after `retry_after_seconds`."""

    def __init__(self, reason: str, retry_after_seconds: float) -> None:
        super().__init__(reason)
        self.retry_after_seconds = max(1, math.ceil(retry_after_seconds))


class ShuttingDown(Busy):
    """Nobody is let in any more."""


@dataclass(frozen=True)
class Line:
    """What a request finds."""

    work: float
    """Frames to be evaluated before it, of what is begun and what waits."""
    frames: float
    """Frames to be vocoded before it."""
    num_requests: int
    """Open requests."""
    num_of_key: int
    """Of these, those of its key."""
    own_work: float = 0.0
    """Frames to be evaluated for itself, by prediction."""
    own_frames: float = 0.0
    """Frames to be vocoded for itself."""


@dataclass
class Rate:
    """How fast something is done, averaged over about the last ten seconds of doing it."""

    per_second: float = math.inf
    """Before the first measurement nothing is predicted to take time."""

    def observe(self, amount: float, seconds: float) -> None:
        rate, weight = amount / max(seconds, 1e-9), 1 - math.exp(-seconds / 10)
        self.per_second = rate if self.per_second == math.inf else self.per_second + weight * (rate - self.per_second)


@dataclass
class Offered:
    """How much is asked for, let in or not, beside what can be done."""

    load: float = 0.0
    """Seconds of work that come in a second, averaged over the last `burst_seconds`."""
    typical: float = 0.0
    """Seconds of work of a request, averaged over the last ten or so."""
    when: float = 0.0

    def observe(self, seconds: float, now: float, burst_seconds: float) -> None:
        self.load = self.load * math.exp((self.when - now) / burst_seconds) + seconds / burst_seconds
        self.typical += (seconds - self.typical) / (10 if self.typical else 1)
        self.when = now


@dataclass
class LongLine:
    """A line that stays long tells of overload, too, where more than steps and vocoding takes the time."""

    last_short: float | None = None
    """When a request last found a line that it might have joined under overload."""
    last_refused: float = -math.inf
    """When one was last refused because the line stayed long: until none is, the line is kept short."""

    def observe(self, is_short: bool, now: float, burst_seconds: float) -> bool:
        """Whether it has been long for longer than a burst may last."""
        if is_short or self.last_short is None:
            self.last_short = now
        stays = now - self.last_short > burst_seconds or now - self.last_refused < burst_seconds
        if stays and not is_short:
            self.last_refused = now
        return stays


@dataclass
class Admission:
    """Lets requests in as far as the limits allow; not for several threads at once."""

    limits: SchedulerLimits
    steps: Rate = field(default_factory=Rate)
    """Of frames evaluated."""
    vocoding: Rate = field(default_factory=Rate)
    """Of frames vocoded."""
    offered: Offered = field(default_factory=Offered)
    line: LongLine = field(default_factory=LongLine)
    _arrivals: dict[str, "_Allowance"] = field(default_factory=dict)

    def admit(self, line: Line, key: str = "", deadline_seconds: float | None = None, *, asks_on: bool = False) -> None:
        """Raise Busy unless a request of `key` may join the line. What `asks_on` until it may is asked for once."""
        limits, wait, now = self.limits, self.wait(line), time.monotonic()
        if not asks_on:
            self._offer(line, now)
        longest = min(self._longest_wait(line, now), math.inf if deadline_seconds is None else deadline_seconds)
        if wait > longest:
            raise Busy(f"the requests before this one take about {wait:.1f} s", wait - longest)
        if line.num_requests >= limits.max_requests:
            raise Busy(f"there are {line.num_requests} open requests", wait)
        if limits.requests_per_key is not None and line.num_of_key >= limits.requests_per_key:
            raise Busy(f"this key has {line.num_of_key} open requests", wait)
        if limits.requests_per_minute is not None:
            self._count(key, limits.requests_per_minute)
        if asks_on:
            self._offer(line, now)

    def wait(self, line: Line) -> float:
        """Seconds until a request at the end of the line is begun: steps and vocoding go on side by side."""
        return self._seconds(line.work, line.frames)

    def _seconds(self, work: float, frames: float) -> float:
        return max(work / self.steps.per_second, frames / self.vocoding.per_second)

    def _offer(self, line: Line, now: float) -> None:
        if self.limits.burst_seconds > 0:
            own = self._seconds(line.own_work, line.own_frames)
            self.offered.observe(own, now, self.limits.burst_seconds)

    def _longest_wait(self, line: Line, now: float) -> float:
        """Seconds that a request may wait: under overload less than one takes."""
        limits = self.limits
        if limits.burst_seconds <= 0:
            return limits.queue_seconds
        short = min(limits.queue_seconds, OVERLOAD_WAIT * self.offered.typical)
        stays_long = self.line.observe(self.wait(line) <= short, now, limits.burst_seconds)
        return short if stays_long or self.offered.load > OVERLOAD else limits.queue_seconds

    def _count(self, key: str, per_minute: float) -> None:
        now = time.monotonic()
        self._arrivals = {key: each for key, each in self._arrivals.items() if not each.is_full(now)}
        self._arrivals.setdefault(key, _Allowance(per_minute, max(1.0, per_minute), now)).take(now)


@dataclass
class _Allowance:
    """Requests that a key has left: a minute's worth at most, refilled steadily."""

    per_minute: float
    left: float
    when: float

    def take(self, now: float) -> None:
        self.left, self.when = self._left(now), now
        if self.left < 1:
            raise Busy(
                f"this key may send {self.per_minute:g} requests a minute", (1 - self.left) * 60 / self.per_minute
            )
        self.left -= 1

    def is_full(self, now: float) -> bool:
        return self._left(now) >= max(1.0, self.per_minute)

    def _left(self, now: float) -> float:
        return min(max(1.0, self.per_minute), self.left + (now - self.when) * self.per_minute / 60)
