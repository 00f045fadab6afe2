# SPDX-License-Identifier: Apache-2.0
"""What the one who asked for speech has in hand: parts as they come, and how they end."""

import asyncio

import pytest
from tiny_models import tone

from zipvoice.config.synthesis import SynthesisOptions
from zipvoice.server.speech_job import Cancelled, Failed, SpeechJob, SpeechRequest

ONE, TWO = tone(0.5), tone(0.25)


@pytest.fixture
def job():
    return SpeechJob(SpeechRequest("one.", None), lambda job: job.changes.append(job.unread_seconds))


@pytest.fixture(autouse=True)
def changes(job):
    job.changes = []
    return job.changes


def read(job):
    """The parts that are there and what ends them; waiting for more is a mistake, as nobody is there to make any."""
    parts, change = [], job._change

    def changed():
        future = change()
        assert future.done()
        return future

    job._change = changed
    try:
        for part in job:
            parts.append(part.seconds)
    except Exception as error:
        return parts, error
    finally:
        job._change = change
    return parts, None


async def read_on(job):
    return [part.seconds async for part in job]


def test_a_request_says_little_by_default():
    request = SpeechRequest("one.", None)
    assert (request.name, request.stream, request.deadline_seconds, request.key) == ("", False, None, "")
    assert request.options == SynthesisOptions() and request != SpeechRequest("one.", None)  # it is itself alone


def test_parts_are_given_out_in_order_and_then_the_end(job, changes):
    job.put(ONE)
    job.put(TWO)
    assert (job.unread_seconds, job.is_over) == (0.75, False)
    job.finish()
    assert job.is_over
    job.put(ONE)  # too late
    assert read(job) == ([0.5, 0.25], None) and read(job) == ([], None)
    assert changes == [0.25, 0]


def test_an_error_comes_after_the_parts_before_it(job):
    error = Failed("NaN")
    job.put(ONE)
    job.finish(error)
    job.finish(ValueError("later"))
    job.finish()
    assert read(job) == ([0.5], error) and read(job) == ([], error)


def test_cancelling_counts_after_the_end_as_long_as_there_is_something_to_read(job, changes):
    job.put(ONE)
    job.finish()
    job.cancel()
    parts, error = read(job)
    assert parts == [] and isinstance(error, Cancelled) and str(error) == "the request was cancelled"
    assert changes == [0]
    job.cancel()
    assert changes == [0]


def test_cancelling_what_was_read_to_its_end_changes_nothing(job, changes):
    job.put(ONE)
    job.finish()
    assert read(job) == ([0.5], None)
    job.cancel()
    assert read(job) == ([], None) and changes == [0]


def test_a_context_is_cancelled_at_its_end(job, changes):
    async def within():
        async with job as entered:
            assert entered is job and not job.is_over

    with job as entered:
        assert entered is job and not job.is_over
    assert job.is_over and changes == [0]
    job = SpeechJob(job.request, lambda job: changes.append("cancelled"))
    asyncio.run(within())
    assert job.is_over and changes == [0, "cancelled"]


@pytest.mark.parametrize("come", [lambda job: job.put(ONE), lambda job: job.finish(), lambda job: job.cancel()])
def test_what_comes_before_a_reader_waits_is_not_waited_for(job, come):
    waiting = job._change()
    assert not waiting.done()
    come(job)
    assert waiting.done() and job._change().done()


def test_a_reader_in_an_event_loop_is_woken_by_each_part_and_by_the_end(job):
    async def play():
        reading = asyncio.create_task(read_on(job))
        for part in (ONE, TWO):
            while job._waiter is None:  # until it waits for what is not yet there
                await asyncio.sleep(0)
            job.put(part)
        while job._waiter is None:
            await asyncio.sleep(0)
        job.finish()
        return await reading

    assert asyncio.run(asyncio.wait_for(play(), 30)) == [0.5, 0.25]


def test_a_reader_that_gave_up_is_not_woken_and_the_next_one_is(job):
    async def play():
        reading = asyncio.create_task(anext(job))
        while job._waiter is None:
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        job.put(ONE)
        job.finish()
        return await read_on(job)

    assert asyncio.run(asyncio.wait_for(play(), 30)) == [0.5]
