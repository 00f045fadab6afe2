# SPDX-License-Identifier: Apache-2.0
"""A stream of utterances -> batches of similar duration, for any number of processes, from a bounded buffer.

All processes make the same sequence of batches, of which each takes its share: of w processes, number r takes the
batches r, r + w, r + 2w, ... The w batches of a round come from one bucket, so that none of them waits for another.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, cycle, islice
from random import Random
from typing import Generic, Protocol, TypeVar

import numpy as np

BATCHES_PER_BUCKET = 2
"""A bucket that is not worth this many batches would fill few of them."""


class Timed(Protocol):
    """Anything that lasts."""

    @property
    def duration(self) -> float:
        """Seconds."""


U = TypeVar("U", bound=Timed)


@dataclass(frozen=True)
class BucketSampler:
    """How utterances become batches.

    Example:
        >>> sampler = BucketSampler(begins=[0.0, 5.0], max_duration=60.0, buffer_size=1000)
        >>> for batch in sampler.batches(utterances, world_size=2, rng=Random(1)):
        ...     assert len(batch) * max(utterance.duration for utterance in batch) <= 60.0
    """

    begins: Sequence[float]
    """Shortest duration of each bucket, ascending; the first one takes what is shorter, too."""
    max_duration: float
    """Seconds in a batch, padding included; only an utterance that is longer, alone in its batch, exceeds them."""
    buffer_size: int
    """Utterances that are held to draw from."""

    def batches(self, utterances: Iterable[U], world_size: int = 1, rng: Random | None = None) -> Iterator[list[U]]:
        """The batches of one pass over `utterances`, in whole rounds of `world_size`.

        With `rng` the utterances are drawn from the buffer at random, else first come, first served. What does not fill
        a round of one bucket at the end of the pass is put together with its neighbours in duration; nothing is left
        out, but where fewer utterances are left than there are processes, some of them are repeated.
        """
        stream, buckets = iter(utterances), [_Bucket[U]() for _ in self.begins]
        self._put(islice(stream, self.buffer_size), buckets)
        while True:
            ready = [bucket for bucket in buckets if bucket.holds(world_size, self.max_duration)]
            if ready:
                bucket = rng.choices(ready, [bucket.seconds for bucket in ready])[0] if rng else ready[0]
                drawn = [bucket.batch(self.max_duration, rng) for _ in range(world_size)]
                yield from drawn
                self._put(islice(stream, sum(map(len, drawn))), buckets)
            elif not self._put(islice(stream, self.buffer_size), buckets):
                break
        yield from self._rest(buckets, world_size, rng)

    def _put(self, utterances: Iterable[U], buckets: Sequence["_Bucket[U]"]) -> int:
        """Put utterances into their buckets; gives their number."""
        number = 0
        for number, utterance in enumerate(utterances, start=1):  # noqa: B007 - the last one is the result
            buckets[max(0, bisect_right(self.begins, utterance.duration) - 1)].put(utterance)
        return number

    def _rest(self, buckets: Sequence["_Bucket[U]"], world_size: int, rng: Random | None) -> Iterator[list[U]]:
        """Batches of all that the buckets hold, the shortest utterances with each other, in random order."""
        rest = _Bucket[U]()
        for bucket in buckets:
            if rng:
                rng.shuffle(bucket.utterances)
            for utterance in bucket.utterances:
                rest.put(utterance)
        last_rounds = list(rounds(iter(lambda: rest.batch(self.max_duration), []), world_size))
        if rng:
            rng.shuffle(last_rounds)
        return chain.from_iterable(last_rounds)


class _Bucket(Generic[U]):
    """Utterances of similar duration, in the order of their arrival."""

    def __init__(self) -> None:
        self.utterances: list[U] = []
        self.seconds = 0.0
        self._shortest = math.inf

    def put(self, utterance: U) -> None:
        self.utterances.append(utterance)
        self.seconds += utterance.duration
        self._shortest = min(self._shortest, utterance.duration)

    def holds(self, num_batches: int, max_duration: float) -> bool:
        """Whether so many batches can be filled for certain."""
        return len(self.utterances) >= num_batches * (int(max_duration / self._shortest) + 1)

    def batch(self, max_duration: float, rng: Random | None = None) -> list[U]:
        """Take utterances, the first or random ones, until the next one would make the batch too long."""
        batch: list[U] = []
        longest = 0.0
        while self.utterances:
            i = rng.randrange(len(self.utterances)) if rng else 0
            longest = max(longest, self.utterances[i].duration)
            if batch and (len(batch) + 1) * longest > max_duration:
                break
            batch.append(self.utterances.pop(i))
            self.seconds -= batch[-1].duration
        return batch


def rounds(batches: Iterable[list[U]], world_size: int) -> Iterator[list[list[U]]]:
    """Batches in rounds of `world_size`; those of an incomplete last round are divided to make it complete."""
    iterator = iter(batches)
    while taken := list(islice(iterator, world_size)):
        yield taken if len(taken) == world_size else _divided(taken, world_size)


def _divided(batches: Sequence[list[U]], number: int) -> list[list[U]]:
    """So many batches of the same utterances, evenly; some are repeated if there are fewer utterances than that."""
    parts = [1] * len(batches)
    for _ in range(number - len(batches)):
        largest = max(range(len(batches)), key=lambda i: len(batches[i]) / parts[i])
        parts[largest] += 1
    divided = [batch[first::step] for batch, step in zip(batches, parts, strict=True) for first in range(step)]
    return list(islice(cycle(filter(None, divided)), number))


def bucket_begins(
    seconds: Sequence[float], whole: bool, num_buckets: int, max_duration: float, world_size: int
) -> list[float]:
    """The durations at which buckets begin, for utterances that last `seconds`.

    Buckets have equal shares of the total duration, fewer of them for a corpus (known as a `whole`) that would not fill
    them. Besides, none has utterances of more than twice the duration of others, which would be mostly padding.
    """
    ascending = np.sort(seconds)
    if whole:
        batches = ascending.sum() / (max_duration * world_size)
        num_buckets = min(num_buckets, max(1, int(batches / BATCHES_PER_BUCKET)))
    shares = np.cumsum(ascending) / ascending.sum()
    equal = ascending[np.searchsorted(shares, np.arange(1, num_buckets) / num_buckets, side="right")].tolist()
    begins = [float(ascending[0])]
    for end in [*equal, math.nextafter(ascending[-1], math.inf)]:
        while end > 2 * begins[-1]:
            begins.append(2 * begins[-1])
        begins.append(end)
    return sorted(set(begins))[:-1]
