# SPDX-License-Identifier: Apache-2.0
"""Batches from a stream: what they hold, who gets them, and how much is held for them."""

from dataclasses import dataclass
from itertools import chain
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import booleans, floats, integers, lists

from zipvoice.data.sampler import BucketSampler, bucket_begins, rounds


@dataclass(frozen=True)
class Sound:
    name: int
    duration: float


def sounds(*seconds: float) -> list[Sound]:
    return [Sound(i, duration) for i, duration in enumerate(seconds)]


def names(batches) -> list[list[int]]:
    return [[sound.name for sound in batch] for batch in batches]


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    seconds=lists(floats(0.1, 30.0), max_size=30),
    begins=lists(floats(0.1, 30.0), min_size=1, max_size=4, unique=True),
    max_duration=floats(0.5, 60.0),
    buffer_size=integers(1, 40),
    world_size=integers(1, 5),
    shuffle=booleans(),
)
def test_everything_comes_once_in_whole_rounds_that_fit(
    seconds, begins, max_duration, buffer_size, world_size, shuffle
):
    buckets = BucketSampler(sorted(begins), max_duration, buffer_size)
    batches = list(buckets.batches(sounds(*seconds), world_size, Random(0) if shuffle else None))
    assert len(batches) % world_size == 0
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(sound.duration for sound in batch) <= max_duration
    drawn = list(chain.from_iterable(names(batches)))
    assert set(drawn) == set(range(len(seconds)))
    assert len(drawn) - len(seconds) < world_size


def test_first_come_first_served_without_random_numbers():
    """Three of 1 s fit in 3 s, one of 2 s; a bucket of four is certain to fill a batch, or of two."""
    batches = BucketSampler([1.0, 2.0], 3.0, 100).batches(sounds(1, 2, 1, 1, 2.5, 1, 1, 1, 1))
    assert names(batches) == [[0, 2, 3], [5, 6, 7], [1], [8], [4]]


def test_the_batches_of_a_round_come_from_one_bucket():
    stream = sounds(*[1.0 + i % 2 for i in range(200)])
    batches = list(BucketSampler([1.0, 2.0], 6.0, 100).batches(stream, 2, Random(0)))
    full = [batch for batch in batches if sum(sound.duration for sound in batch) == 6.0]
    assert len(full) >= len(batches) - 8
    for pair in list(rounds(batches, 2))[:-4]:
        assert len({sound.duration for batch in pair for sound in batch}) == 1


def test_a_bucket_is_drawn_as_often_as_it_has_seconds():
    """A fifth of the seconds are in utterances of 1 s, the rest in those of 4 s."""
    stream, buckets = sounds(*[1.0] * 40, *[4.0] * 40), BucketSampler([1.0, 4.0], 8.0, 80)
    first = [next(buckets.batches(stream, 1, Random(seed)))[0].duration for seed in range(400)]
    assert first.count(1.0) / len(first) == pytest.approx(0.2, abs=0.06)  # three deviations


def test_what_is_left_at_the_end_is_shuffled_too():
    """A sound of 0.1 s keeps 38 others from filling a batch for certain; two long ones are a batch of their own."""
    stream = sounds(0.1, *[1.0] * 38, 2.0, 2.0)
    buckets = BucketSampler([0.1, 1.5], 4.0, 100)
    plain = names(buckets.batches(stream))
    drawn = [names(buckets.batches(stream, rng=Random(seed))) for seed in range(8)]
    assert [batch[0] for batch in plain] == [0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 39]
    assert all(set(map(tuple, batches)).isdisjoint(map(tuple, plain[:-2])) for batches in drawn)
    assert len({next(i for i, batch in enumerate(batches) if 39 in batch) for batches in drawn}) > 3


def test_the_last_round_is_divided_evenly():
    assert list(rounds([[1, 2, 3], [4, 5, 6, 7, 8, 9]], 1)) == [[[1, 2, 3]], [[4, 5, 6, 7, 8, 9]]]
    assert list(rounds([[1, 2, 3, 4, 5, 6]], 3)) == [[[1, 4], [2, 5], [3, 6]]]
    assert list(rounds([[0], [1], [2, 3], [4, 5, 6, 7]], 3)) == [[[0], [1], [2, 3]], [[4, 7], [5], [6]]]
    assert list(rounds([[1, 2, 3, 4], [5, 6, 7]], 4)) == [[[1, 3], [2, 4], [5, 7], [6]]]
    assert list(rounds([[1, 2], [3]], 4)) == [[[1], [2], [3], [1]]]  # fewer than processes


def test_buckets_have_equal_shares_of_the_speech():
    seconds = [3.0, 1.5, 1.0] * 20 + [1.5] * 20 + [1.0] * 40  # 60 s of each duration
    assert bucket_begins(seconds, False, 3, 200.0, 1) == [1.0, 1.5, 3.0]
    assert bucket_begins(seconds, False, 1, 200.0, 1) == [1.0, 2.0]
    assert bucket_begins(seconds, True, 3, 15.0, 1) == [1.0, 1.5, 3.0]
    assert bucket_begins(seconds, True, 3, 15.0, 4) == [1.0, 2.0]


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(lists(floats(0.1, 30.0), min_size=1), integers(1, 40))
def test_no_bucket_spans_more_than_a_doubling(seconds, num_buckets):
    begins = bucket_begins(seconds, False, num_buckets, 200.0, 1)
    assert begins[0] == min(seconds)
    assert begins == sorted(set(begins))
    for begin, end in zip(begins, [*begins[1:], max(seconds)], strict=True):
        assert end <= 2 * begin


@pytest.mark.parametrize("world_size", [1, 4])
def test_the_buffer_is_bounded(world_size):
    """No more is read ahead of the batches than the buffer, and what the buckets need for one round more."""
    read = 0

    def stream():
        nonlocal read
        for read in range(1, 20_001):
            yield Sound(read, 1.0 + read % 3)

    drawn = 0
    for batch in BucketSampler([1.0, 2.0, 3.0], 12.0, 100).batches(stream(), world_size, Random(0)):
        drawn += len(batch)
        assert read - drawn <= 100 + world_size * (13 + 7 + 5)
    assert read == drawn == 20_000


def test_a_small_corpus_is_not_mostly_padding():
    """Of 400 utterances in some 14 batches of 200 s: 9 %, where buckets of four batches would make it 14 %."""
    lengths = Random(1)
    seconds = [min(10.0, max(1.0, lengths.gauss(6.5, 2.3))) for _ in range(400)]
    sampler = BucketSampler(bucket_begins(seconds, True, 30, 200.0, 1), 200.0, 1000)
    batches = [batch for epoch in range(5) for batch in sampler.batches(sounds(*seconds), rng=Random(epoch))]
    padded = sum(len(batch) * max(sound.duration for sound in batch) for batch in batches)
    assert 1 - 5 * sum(seconds) / padded < 0.11
