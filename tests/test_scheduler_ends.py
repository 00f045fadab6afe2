# SPDX-License-Identifier: Apache-2.0
"""How requests end, by themselves, by who reads or writes them, or with the scheduler."""

import asyncio
import contextlib
import threading
import time

import numpy as np
import pytest
from stepping_model import LONG, PATIENCE, WORDS, hum, request, until

from zipvoice.server.admission import Busy
from zipvoice.server.scheduler import NUM_PLANNERS, Scheduler
from zipvoice.server.speech_job import Cancelled, DeadlineExceeded, Failed
from zipvoice.server.text_feed import TextFeed
from zipvoice.synthesis.synthesizer import joined

pytest_plugins = "stepping_model"


# ---------------------------------------------------------------- ends


def test_an_error_of_one_request_is_its_own(make, model, prompt):
    scheduler = make()
    good = scheduler.submit(request(WORDS, prompt))
    model.wait_for_step()
    bad, other = scheduler.submit(request("one two Q three", prompt)), scheduler.submit(request(WORDS, prompt))
    until(lambda: bad.num_frames and other.num_frames)
    model.run()
    with pytest.raises(Failed, match="Q is too much"):
        joined(bad)
    assert joined(good).num_samples == joined(other).num_samples
    assert scheduler.state == "ready" and scheduler.metrics().failed == 1


def test_a_scheduler_whose_requests_all_fail_says_so_until_one_is_spoken(make, model, prompt, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("zipvoice.server.counters.time.monotonic", lambda: now[0])
    scheduler, states = make(), []
    model.run()

    def ask(text, error=None, later=0.0):
        now[0] += later
        states.append(scheduler.state)
        with pytest.raises(error) if error else contextlib.nullcontext():
            joined(scheduler.submit(request(text, prompt)))

    for text in ("Q", "Q", "ü", "Q", "Q", "ü", "Q"):  # texts that cannot be spoken tell nothing
        ask(text, ValueError if text == "ü" else Failed)
    assert states == ["ready"] * 7 and scheduler.state == "failing"
    states.clear()
    ask("Q", Failed, later=29.0)
    ask("Q", Failed, later=31.0)
    ask(WORDS)
    assert states == ["failing", "ready", "failing"]  # one request is let come after a while
    assert scheduler.state == "ready"
    ask("Q", Failed)
    assert scheduler.state == "ready"


def test_what_the_model_raises_is_never_the_fault_of_a_text(make, stepping, model, prompt, monkeypatch):
    scheduler = make()
    model.run()
    for name in ("begin", "advance", "mel", "piece"):
        with monkeypatch.context() as patched, pytest.raises(Failed, match=r"the model has failed: .*'NaN'") as failed:
            patched.setattr(stepping, name, lambda *_: int("NaN"))
            joined(scheduler.submit(request(WORDS, prompt)))
        assert isinstance(failed.value.__cause__, ValueError)


@pytest.mark.parametrize(
    ("text", "num_ends", "errors"),
    [
        (WORDS, 1, (None, "the end failed")),
        ("ü", 0, ("the text", "the text")),
        (["one two three four\n", "\n", "ü\n"], 1, ("the text", "the text")),
    ],
)
def test_the_end_of_a_sound_is_made_if_there_is_a_sound_and_the_first_error_is_told(
    make, stepping, model, prompt, monkeypatch, text, num_ends, errors
):
    make_joiner, ends, fails = stepping.joiner, [], []

    def joiner(options):
        made = make_joiner(options)
        end = made.end

        def ended():
            ends.append(list(fails))
            if any(fails):
                raise RuntimeError("the end failed")
            return end()

        made.end = ended
        return made

    monkeypatch.setattr(stepping, "joiner", joiner)
    scheduler = make()
    model.run()
    for fails[:], error in zip(([False], [True]), errors, strict=True):
        with pytest.raises((ValueError, RuntimeError), match=error) if error else contextlib.nullcontext():
            joined(scheduler.submit(request(text, prompt)))
    assert ends == [[False]] * num_ends + [[True]] * num_ends


def test_what_was_given_up_is_not_vocoded(make, stepping, model, prompt):
    scheduler, gate, heard = make(num_vocoders=1), threading.Semaphore(0), []
    stepping.vocoder = lambda log_mel: (heard.append("heard"), gate.acquire(timeout=PATIENCE), hum(log_mel))[2]
    model.run()
    first, second, third = (scheduler.submit(request(WORDS, prompt, num_steps=1)) for _ in range(3))
    until(lambda: len(scheduler._to_vocode) == 2)
    second.cancel()
    gate.release(3)
    assert joined(first).num_samples == joined(third).num_samples
    until(lambda: not scheduler._to_vocode)
    assert heard == ["heard"] * 2


def test_a_request_ends_once(make, model, prompt):
    """Whatever comes to its end later, as a vocoder that fails."""
    scheduler = make()
    job = scheduler.submit(request(WORDS, prompt))
    task = scheduler._tasks[job]
    for error in (Cancelled("first"), Failed("second"), None):
        scheduler._end(task, error)
    counts = scheduler.metrics()
    assert (counts.cancelled, counts.failed, counts.completed, counts.open) == (1, 0, 0, 0)
    with pytest.raises(Cancelled, match="first"):
        next(job)


def test_a_scheduler_that_has_failed_says_so_to_all(make, model, prompt, monkeypatch):
    scheduler = make()
    monkeypatch.setattr(scheduler, "_count", lambda *_: 1 / 0)
    model.run()
    for _ in range(2):
        with pytest.raises(Failed):
            joined(scheduler.submit(request(WORDS, prompt)))
    assert scheduler.state == "failed"


@pytest.mark.parametrize(("text", "message"), [("", "at least one word"), ("ünspeakable", "the text")])
def test_a_text_that_cannot_be_spoken_is_a_value_error(make, model, prompt, text, message):
    model.run()
    with pytest.raises(ValueError, match=message):
        joined(make().submit(request(text, prompt)))


def test_what_was_spoken_before_the_error_is_given_out(make, model, prompt):
    model.run()
    job = make().submit(request(["one two three four\n", "\n", "five\n", "\n", "ü\n"], prompt))
    assert next(job).seconds > 0
    with pytest.raises(ValueError, match="the text"):
        list(job)


def test_a_deadline_ends_a_request_that_has_no_sound_yet(make, model, prompt):
    scheduler = make()
    whole = scheduler.submit(request(WORDS, prompt, deadline_seconds=0.05))
    stream = scheduler.submit(request(LONG * 2, prompt, stream=True, deadline_seconds=30.0))
    model.wait_for_step()
    time.sleep(0.06)
    model.run()
    with pytest.raises(DeadlineExceeded, match=r"within 0\.05 s"):
        joined(whole)
    assert joined(stream).seconds > 3
    assert scheduler.metrics().expired == 1


def test_draining_speaks_what_was_admitted_and_admits_no_more(make, model, prompt):
    scheduler = make()
    job = scheduler.submit(request(WORDS, prompt))
    assert not scheduler.drain(0.01)
    with pytest.raises(Busy, match="shutting down"):
        scheduler.submit(request(WORDS, prompt))
    model.run()
    assert scheduler.drain(PATIENCE)
    assert joined(job).seconds > 0
    assert scheduler.state == "draining"


@pytest.mark.parametrize("evaluators", [1, 3])
def test_closing_cancels_and_ends_all_threads(stepping, model, prompt, evaluators):
    before = set(threading.enumerate())  # some of other tests may be about to end
    model.evaluations_at_once = evaluators
    scheduler = Scheduler(stepping)
    its_own = set(threading.enumerate()) - before
    # but for texts being written, all it will have
    assert len(its_own) == evaluators + NUM_PLANNERS + scheduler.limits.vocoders
    feed = TextFeed()
    jobs = [scheduler.submit(request(text, prompt, num_steps=50)) for text in (WORDS, feed, iter([LONG]))]
    model.wait_for_step()
    closing = threading.Thread(target=scheduler.close)
    closing.start()
    for job in jobs:
        with pytest.raises(Cancelled, match="shutting down"):
            joined(job)
    assert len(model.steps) <= evaluators
    model.run()
    closing.join(PATIENCE)
    until(lambda: not any(thread.is_alive() for thread in its_own))
    until(lambda: set(threading.enumerate()) <= before)


# ---------------------------------------------------------------- readers


def test_a_slow_reader_holds_a_bounded_amount_of_sound(make, model, prompt):
    scheduler = make(unread_seconds=5.0)
    model.run()
    lines = ["one two three four, five six seven eight nine ten.\n", "\n"] * 60
    job = scheduler.submit(request(lines, prompt, stream=True))
    until(lambda: job.unread_seconds >= 3)
    time.sleep(0.3)
    assert job.unread_seconds < 5 + 2 * 5
    assert sum(part.seconds for part in job) > 100


def test_a_reader_that_is_gone_is_given_up(make, model, prompt, monkeypatch):
    scheduler = make(reader_seconds=0.2, unread_seconds=0.1)
    piece = scheduler.synthesizer.piece
    slowly = lambda *work: time.sleep(0.2) or piece(*work)  # noqa: E731, all steps are done before the sound is there
    monkeypatch.setattr(scheduler.synthesizer, "piece", slowly)
    model.run()
    job = scheduler.submit(request(LONG * 20, prompt, stream=True))
    until(lambda: scheduler.metrics().expired == 1)
    with pytest.raises(DeadlineExceeded, match="nobody has read"):
        list(job)


def test_an_event_loop_waits_without_losing_sound(make, model, prompt):
    scheduler = make()
    job = scheduler.submit(request(LONG, prompt, stream=True))

    async def read():
        with pytest.raises(asyncio.TimeoutError):  # the built-in one from Python 3.11 on
            await asyncio.wait_for(anext(job), 0.05)
        model.run()
        return [part async for part in job]

    parts = asyncio.run(read())
    alone = scheduler.submit(request(LONG, prompt, stream=True))
    assert np.array_equal(joined(parts).samples, joined(alone).samples)


# ---------------------------------------------------------------- texts that are still being written


def test_clauses_are_spoken_while_the_text_is_written(make, model, prompt):
    scheduler = make()
    model.run()
    feed = TextFeed()
    job = scheduler.submit(request(feed, prompt, stream=True))
    for word in ("one ", "two ", "three ", "four. ", "five "):
        feed.write(word)
    first = next(job)
    assert first.seconds > 0.5
    feed.write("six seven.")
    feed.end()
    assert list(job)


def test_nobody_waits_for_a_text_that_is_not_yet_written(make, model, prompt):
    scheduler = make(queue_seconds=0.0, burst_seconds=0.0)
    model.run()
    list(scheduler.submit(request(WORDS, prompt)))  # from now on time is predicted
    until(lambda: scheduler.metrics().open == 0)
    feed, waiting = TextFeed(), [scheduler.submit(request(TextFeed(), prompt, stream=True)) for _ in range(3)]
    assert scheduler.metrics().predicted_wait_seconds == 0
    model.is_free = False
    waiting.append(scheduler.submit(request(feed, prompt, stream=True)))
    feed.write("one two three four five. six")
    until(lambda: scheduler.metrics().predicted_wait_seconds > 0)
    with pytest.raises(Busy, match="before this one"):
        scheduler.submit(request(WORDS, prompt))


def test_cancelling_closes_the_text(make, model, prompt):
    scheduler = make()
    feed = TextFeed()
    job = scheduler.submit(request(feed, prompt, stream=True))
    job.cancel()
    with pytest.raises(ValueError, match="has ended"):
        feed.write("more")
    with pytest.raises(Cancelled):
        next(job)
