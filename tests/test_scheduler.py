# SPDX-License-Identifier: Apache-2.0
"""Requests spoken together by the scheduler: what they sound like, and who comes when."""

import asyncio
import contextlib
import itertools
import math
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from closed_form_model import ClosedFormModel
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import FAST, LETTERS, make_synthesizer, tone

from zipvoice import builtin, load
from zipvoice.config.model_file import ModelFile
from zipvoice.config.synthesis import SynthesisOptions
from zipvoice.config.text import TokenizerConfig
from zipvoice.runtime.base import ComputedBy, ModelDescription
from zipvoice.server.admission import Busy, Line, SchedulerLimits, ShuttingDown
from zipvoice.server.ray_app import RaySettings, limits
from zipvoice.server.scheduler import NUM_PLANNERS, Scheduler
from zipvoice.server.speech_job import Cancelled, DeadlineExceeded, Failed, SpeechRequest
from zipvoice.server.tasks import next_batch
from zipvoice.server.text_feed import TextFeed
from zipvoice.synthesis.prompt import Prompt
from zipvoice.synthesis.synthesizer import Synthesizer, joined

LONG = "one two three, four five six. seven eight nine ten! eleven twelve? " * 3
WORDS = "one two three four"
PATIENCE = 20.0
"""Seconds after which a test gives up."""


class StepByStepModel(ClosedFormModel):
    """Takes its steps when the test says so, and remembers the times of those in each; refuses texts with a Q."""

    def __init__(self):
        super().__init__(ModelDescription.of(ModelFile(), "zipvoice_distill", LETTERS.vocabulary))
        self.allowed = threading.Semaphore(0)
        self.steps = []
        self.asked = threading.Semaphore(0)
        self.is_free = False

    def condition(self, tokens, num_tokens, num_frames, speech):
        if (tokens == LETTERS.ids(["Q"])[0]).any():
            raise RuntimeError("Q is too much for this runtime")
        return super().condition(tokens, num_tokens, num_frames, speech)

    def velocity(self, t, x, condition, guidance_scale):
        self.steps.append([round(float(time), 3) for time in np.broadcast_to(np.ravel(t), len(x))])
        self.asked.release()
        assert self.is_free or self.allowed.acquire(timeout=PATIENCE)
        return super().velocity(t, x, condition, guidance_scale)

    def wait_for_step(self):
        """Until the next one has begun."""
        assert self.asked.acquire(timeout=PATIENCE)

    def step(self):
        """Let the present step end and wait until the next one has begun."""
        self.allowed.release()
        self.wait_for_step()

    def run(self):
        """Let all steps go on, those that wait too."""
        self.is_free = True
        self.allowed.release(8)


def hum(log_mel):
    """A vocoder of tones."""
    return np.repeat(tone((log_mel.shape[2] - 1) * 256 / 24000).samples, len(log_mel), axis=0)


@pytest.fixture
def model():
    return StepByStepModel()


@pytest.fixture
def stepping(model):
    return Synthesizer(model, hum, TokenizerConfig("simple"), LETTERS)


@pytest.fixture(scope="module")
def synthesizer(tmp_path_factory):
    return make_synthesizer(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def prompt(synthesizer):
    return synthesizer.prompt(tone(0.6), "a low tone")


@pytest.fixture
def make(stepping, model):
    """Makes a scheduler of the given limits, one in a test."""
    made = []

    def start(**limits):
        made.append(Scheduler(stepping, SchedulerLimits(**{"max_batch_frames": 1500, **limits})))
        return made[0]

    yield start
    model.run()
    for scheduler in made:
        scheduler.close()


def request(text, prompt, num_steps=4, **more):
    return SpeechRequest(text, prompt, SynthesisOptions(num_steps=num_steps, t_shift=1.0), **more)


def until(condition):
    """Wait for what another thread does."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


# ---------------------------------------------------------------- the same sound


class Waits(Scheduler):
    """Takes no step before it may, so that the first one finds all requests planned, however long that takes."""

    may_step = threading.Event()

    def _next_batch(self):
        assert self.may_step.wait(PATIENCE)
        return super()._next_batch()


@pytest.mark.parametrize(
    ("stream", "every", "evaluators"), [(False, 1, 1), (True, 1, 1), (False, 2, 1), (False, 1, 2), (True, 1, 3)]
)
def test_requests_spoken_together_sound_as_each_alone(synthesizer, prompt, stream, every, evaluators, monkeypatch):
    advance, mismatched = Synthesizer.advance, []

    def watched(self, trajectories):
        try:
            advance(self, trajectories)
        except AssertionError as error:  # of what cannot step together; the scheduler would take each alone then
            mismatched.append(error)
            raise

    monkeypatch.setattr(Synthesizer, "advance", watched)
    texts = ["one two three four.", LONG[:90], "seven eight nine ten!", "no.", "five six seven."]
    varied = zip(texts, (5, 2, 4, 1, 6), (0.5, 1.0, 1.5, 0.0, 1.0), strict=True)
    options = replace(FAST, guidance_every=every)
    requests = [
        SpeechRequest(text, prompt, replace(options, num_steps=n, guidance_scale=w), name=text[:9], stream=stream)
        for text, n, w in varied
    ]
    monkeypatch.setattr(Waits, "may_step", threading.Event())
    with Waits(synthesizer, SchedulerLimits(max_batch_frames=6000, num_evaluators=evaluators)) as scheduler:
        jobs = [scheduler.submit(each) for each in requests]
        until(lambda: all(task.works for task in scheduler._tasks.values()))
        Waits.may_step.set()
        together = [joined(job) for job in jobs]
        assert scheduler.metrics().batch_size.counts[0] < scheduler.metrics().steps
    assert not mismatched
    for each, sound in zip(requests, together, strict=True):
        alone = synthesizer.stream if stream else synthesizer.parts
        expected = joined(alone(each.text, prompt, each.options, name=each.name))
        np.testing.assert_allclose(sound.samples, expected.samples, atol=1e-4)


@pytest.mark.parametrize("change", [{"raw": True}, {"duration": 3.0}, {"remove_long_silence": True}])
def test_every_way_of_joining_is_that_of_the_synthesizer(synthesizer, prompt, change):
    options = replace(FAST, max_chunk_seconds=4.0, **change)
    expected = synthesizer.synthesize(LONG, prompt, options)
    with Scheduler(synthesizer) as scheduler:
        others = [scheduler.submit(SpeechRequest("one two three.", prompt, FAST)) for _ in range(3)]
        sound = joined(scheduler.submit(SpeechRequest(LONG, prompt, options)))
        assert all(joined(other) for other in others)
    np.testing.assert_allclose(sound.samples, expected.samples, atol=1e-4)


def companions_that_come_and_go(synthesizer, prompt, texts, options):
    """The features of the first text's chunk, beside others that join it at each of its steps and leave again."""
    first, *others = (next(synthesizer.plan(text, prompt, options)) for text in texts)
    (trajectory,) = synthesizer.begin([first], [options.sampling])
    for other in itertools.cycle(others):
        if not trajectory.num_steps_left:
            return synthesizer.mel(trajectory), synthesizer.mels([first], options)[0]
        (companion,) = synthesizer.begin([other], [replace(options.sampling, num_steps=3, guidance_scale=0.5)])
        synthesizer.advance([companion])
        synthesizer.advance([companion, trajectory])


def test_features_do_not_depend_on_who_steps_beside(synthesizer, prompt):
    options = synthesizer.resolved(SynthesisOptions(num_steps=4, guidance_scale=1.5))
    beside, alone = companions_that_come_and_go(synthesizer, prompt, [WORDS, LONG[:60], "no."], options)
    np.testing.assert_allclose(beside, alone, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", builtin.MODELS)
def test_features_of_the_package_do_not_depend_on_who_steps_beside(name):
    synthesizer, prompt = load(name, device="cpu"), Prompt.load(builtin.voices()[builtin.VOICE])
    texts = ["Good morning to you all.", "A rather longer sentence, which says a little more than the first.", "No."]
    options = synthesizer.resolved(SynthesisOptions(num_steps=4, solver="euler", guidance_every=1))  # may step together
    beside, alone = companions_that_come_and_go(synthesizer, prompt, texts, options)
    np.testing.assert_allclose(beside, alone, atol=1e-4)


# ---------------------------------------------------------------- steps


def test_a_request_joins_at_the_next_step_and_leaves_after_its_last(make, model, prompt):
    scheduler = make()
    first = scheduler.submit(request(WORDS, prompt))
    model.wait_for_step()
    model.step()
    second = scheduler.submit(request(WORDS, prompt, num_steps=2))
    until(lambda: second.num_frames)
    model.step()
    model.step()
    model.run()
    assert joined(first).num_samples == joined(second).num_samples
    assert model.steps == [[0.0], [0.25], [0.5, 0.0], [0.75, 0.5]]


def test_a_cancelled_request_is_not_in_the_next_step(make, model, prompt):
    scheduler = make()
    jobs = [scheduler.submit(request(WORDS, prompt, num_steps=8)) for _ in range(3)]
    until(lambda: all(job.num_frames for job in jobs))
    model.wait_for_step()
    model.step()
    jobs[1].cancel()
    model.step()
    assert [len(step) for step in model.steps[1:]] == [3, 2]
    model.run()
    with pytest.raises(Cancelled):
        joined(jobs[1])
    assert joined(jobs[0]).num_samples == joined(jobs[2]).num_samples
    counts = scheduler.metrics()
    assert (counts.admitted, counts.completed, counts.cancelled, counts.open) == (3, 2, 1, 0)


def test_first_chunks_come_before_later_ones(make, model, prompt):
    """A long text that is being spoken waits, step for step, while a short one that comes later is spoken."""
    scheduler = make()
    options = SynthesisOptions(num_steps=4, t_shift=1.0, max_chunk_seconds=4.0)
    long = scheduler.submit(SpeechRequest(LONG * 4, prompt, options))
    until(lambda: len(scheduler._tasks[long].works) > 2)
    short = scheduler.submit(request("one two three four. " * 12, prompt))  # of another length
    until(lambda: short.num_frames)
    model.wait_for_step()
    for _ in range(8):
        model.step()
    assert short.is_over or [0.0] in model.steps[1:6]
    model.run()
    assert joined(short).seconds < joined(long).seconds


def test_a_stream_is_sampled_chunk_by_chunk(make, model, prompt):
    scheduler = make()
    job = scheduler.submit(request(LONG * 2, prompt, stream=True))
    model.run()
    assert len(list(job)) > 2
    assert all(len(step) == 1 for step in model.steps)
    assert model.steps[:4] == [[0.0], [0.25], [0.5], [0.75]]


def test_several_evaluators_share_what_is_ready_and_none_takes_what_another_has(make, model, prompt):
    scheduler = make(num_evaluators=2)
    stream = scheduler.submit(request(LONG * 2, prompt, num_steps=2, stream=True))
    model.wait_for_step()
    others = [scheduler.submit(request(WORDS, prompt, num_steps=2)) for _ in range(3)]
    until(lambda: all(job.num_frames for job in others))
    model.wait_for_step()  # while the first has not ended
    assert len(model.steps) == 2 and len(model.steps[0]) == 1
    assert not model.asked.acquire(timeout=0.05)  # there is no third
    model.run()
    assert len({joined(job).num_samples for job in others}) == 1
    assert joined(stream).seconds > 5
    assert scheduler.metrics().completed == 4


def test_what_is_ready_is_divided_among_evaluators():
    works = [_Waiting(100, due) for due in range(5)]
    sizes = [len(next_batch(works, 1000, 0.1, evaluators)) for evaluators in (1, 2, 3, 5, 9)]
    assert sizes == [5, 3, 2, 1, 1]


def test_two_evaluators_halve_the_time_in_line(make, model, prompt):
    scheduler = make(num_evaluators=2)
    scheduler.submit(request(WORDS, prompt))
    model.wait_for_step()
    scheduler._admission.steps.per_second = 1000.0
    (task,) = scheduler._tasks.values()
    line = scheduler._line("", task)
    assert line.work == task.work_before(0.0) / 2 > 0 and line.own_work == task.predicted_work / 2 > 0
    assert scheduler.metrics().predicted_wait_seconds == pytest.approx(line.work / 1000)


@pytest.mark.parametrize(
    ("device", "dtype", "given", "together"),
    [("cpu", "float32", None, 3), ("cpu", "int8", None, 1), ("cpu", "bfloat16", 2000, 3), ("cuda", "float16", None, 3)],
)
def test_what_would_be_rounded_by_its_neighbours_is_evaluated_alone(
    stepping, model, prompt, device, dtype, given, together
):
    """One scale for all values of a product in 8 bits, for example."""
    model.computed_by = ComputedBy("closed_form", device, dtype)
    with Scheduler(stepping, SchedulerLimits(max_batch_frames=given)) as scheduler:
        first = scheduler.submit(request("one two", prompt, num_steps=1))
        model.wait_for_step()
        others = [scheduler.submit(request("one two", prompt, num_steps=1)) for _ in range(3)]
        until(lambda: all(job.num_frames for job in others))
        model.run()
        assert all(joined(job).seconds > 0 for job in (first, *others))
    assert max(map(len, model.steps)) == together


@pytest.mark.parametrize(("num_cpus", "evaluators"), [(0.5, 1), (1, 1), (2.5, 2), (16, 8)])
def test_a_replica_evaluates_on_its_own_processors(num_cpus, evaluators):
    assert limits(RaySettings(num_cpus=num_cpus, queue_seconds=7), evaluations_at_once=8).num_evaluators == evaluators


def test_sound_is_vocoded_in_the_order_in_which_it_is_wanted(make, stepping, model, prompt):
    """First chunks overtake later ones that were sampled before them."""
    scheduler, gate = make(num_vocoders=1, unread_seconds=1000.0), threading.Semaphore(0)
    stepping.vocoder = lambda log_mel: (gate.acquire(timeout=PATIENCE), hum(log_mel))[1]
    model.run()
    options = SynthesisOptions(num_steps=1, max_chunk_seconds=40.0)
    long = scheduler.submit(SpeechRequest(LONG * 15, prompt, options))
    until(lambda: len(scheduler._to_vocode) >= 3)
    short = scheduler.submit(request(WORDS, prompt, num_steps=1))
    until(lambda: any(work.task.job is short for work in scheduler._to_vocode))
    gate.release(2)
    until(lambda: short.is_over)
    assert list(short) and not long.is_over
    gate.release(1000)
    assert joined(long).seconds > 5


lengths = st.lists(st.tuples(st.integers(10, 2000), st.floats(0, 9)), min_size=1, max_size=12)


@given(lengths, st.integers(100, 5000), st.floats(0, 0.5))
def test_a_batch_has_the_most_urgent_one_and_little_padding(items, max_frames, padding):
    works = [_Waiting(*item) for item in items]
    batch = next_batch(works, max_frames, padding)
    padded = max(work.frames for work in batch) * len(batch)
    assert batch[0].due == min(work.due for work in works)
    assert len(batch) == 1 or padded <= max_frames
    assert sum(work.frames for work in batch) >= (1 - padding - 1e-9) * padded
    assert len(batch) == len({id(work) for work in batch})


class _Waiting:
    def __init__(self, frames, due):
        self.frames, self.due = frames, due

    def can_join(self, other):
        return True


def test_guided_and_bare_and_raw_utterances_are_not_evaluated_together(make, model, prompt):
    scheduler = make()
    jobs = [
        scheduler.submit(SpeechRequest(WORDS, prompt, SynthesisOptions(num_steps=2, raw=raw)))
        for raw in (False, True, False)
    ]
    until(lambda: all(job.num_frames for job in jobs))
    model.run()
    assert all(joined(job) for job in jobs)
    assert {len(step) for step in model.steps[1:]} <= {1, 2}


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


@pytest.mark.parametrize(
    ("written", "clauses"),
    [
        (["Hello to all of you. And wel", "come!"], ["Hello to all of you.", " And welcome!"]),
        (["It is 3.14 or so, I think"], ["It is 3.14 or so, I think"]),
        (["Yes. No. Perhaps we shall see."], ["Yes. No. Perhaps we shall see."]),
        ([20 * "\n", "Well. We shall see."], [20 * "\n" + "Well. We shall see."]),
        (["今天天气很好我们出去走一走吧。明天再说"], ["今天天气很好我们出去走一走吧。", "明天再说"]),
        ([""], []),
        (["Hello to all of you! \ud83d", "\ude00\ud83d", "\ude01"], ["Hello to all of you!", " \U0001f600\U0001f601"]),
    ],
)
def test_a_clause_is_whole_when_the_next_one_begins(written, clauses):
    feed = TextFeed()
    for text in written:
        feed.write(text)
    feed.end()
    assert list(feed) == clauses


# ---------------------------------------------------------------- counts and states


def test_a_full_scheduler_refuses_and_counts(make, model, prompt):
    scheduler = make(max_requests=2)
    scheduler.submit(request(WORDS, prompt))
    model.wait_for_step()
    scheduler.submit(request(WORDS, prompt))  # waits until that step is taken
    with pytest.raises(Busy, match="2 open") as refused:
        scheduler.submit(request(WORDS, prompt))
    assert refused.value.retry_after_seconds == 1
    counts = scheduler.metrics()
    assert (counts.admitted, counts.refused, counts.open, counts.queued) == (2, 1, 2, 1)


def test_all_that_is_done_is_counted(make, model, prompt, monkeypatch):
    """Two requests of several lengths, whose second one joins the last step of the first.

    The clocks are far from zero, which only what is added up instead of compared would show.
    """
    clocks = SimpleNamespace(monotonic=lambda: 1e6 + time.monotonic(), perf_counter=lambda: 1e6 + time.perf_counter())
    for name in ("scheduler", "speech_job"):
        monkeypatch.setattr(f"zipvoice.server.{name}.time", clocks)
    scheduler, stepped, vocoded, took = make(max_padding_share=0.9), [], [], []
    for rate, amounts in ((scheduler._admission.steps, stepped), (scheduler._admission.vocoding, vocoded)):
        observe = lambda amount, seconds, amounts=amounts: amounts.append(amount) or took.append(seconds)  # noqa: E731
        monkeypatch.setattr(rate, "observe", observe)
    first = scheduler.submit(request(WORDS, prompt, num_steps=2, stream=True))
    model.wait_for_step()
    assert scheduler.metrics().queued == 0
    second = scheduler.submit(request("one two", prompt, num_steps=1))
    until(lambda: second.num_frames)
    assert (scheduler.metrics().queued, scheduler.metrics().open) == (1, 2)
    model.run()
    made = sum(joined(job).seconds for job in (first, second))
    counts, (long, short) = scheduler.metrics(), (prompt.num_frames + job.num_frames for job in (first, second))
    assert stepped == [long, long + short] and sorted(vocoded) == sorted([first.num_frames, second.num_frames])
    assert (counts.steps, counts.frames, counts.padding_frames) == (2, 2 * long + short, long - short)
    assert counts.batch_size.counts[:3] == [1, 1, 0] and 0 < counts.step_seconds < 1e6
    assert max(*took, counts.first_audio_seconds.total, counts.request_seconds.total) < 1e6
    assert counts.sound_seconds == pytest.approx(made)
    assert (counts.admitted, counts.completed, counts.open, counts.queued) == (2, 2, 0, 0)
    assert (counts.first_audio_seconds.num, counts.request_seconds.num) == (2, 2)
    assert first.num_tokens == len(f"{WORDS}.")  # its letters, spaces and the mark that ends it


@pytest.mark.parametrize(
    ("variant", "options", "evaluations"),
    [
        ("zipvoice_distill", {}, 1),
        ("zipvoice_distill", {"solver": "heun"}, 2),
        ("zipvoice", {"guidance_scale": 1.0}, 2),
        ("zipvoice", {"guidance_scale": 0.0}, 1),
        ("zipvoice", {"guidance_scale": 1.0, "solver": "midpoint"}, 4),
    ],
)
def test_a_step_takes_so_many_evaluations(make, model, prompt, variant, options, evaluations):
    model.description = replace(model.description, variant=variant)
    task = make()._task(SpeechRequest(WORDS, prompt, SynthesisOptions(num_steps=4, **options)))
    assert task.evaluations == evaluations
    assert task.predicted_work == (prompt.num_frames + task.predicted_frames) * 4 * evaluations


def test_texts_that_come_later_have_planners_of_their_own_and_streams_short_first_chunks(make, prompt):
    scheduler = make()
    shared, own = (scheduler._task(request(text, prompt)) for text in (WORDS, iter([WORDS])))
    assert shared.planner is scheduler._planners and own.planner is not scheduler._planners
    whole, stream = (scheduler._task(request(LONG * 9, prompt, stream=stream)) for stream in (False, True))
    assert stream.predicted_frames < whole.predicted_frames and stream.options.first_chunk_seconds


def test_a_line_is_what_is_before_a_request(make, prompt, monkeypatch):
    """Of what is wanted within the time that it may wait, by evaluators and vocoders."""
    scheduler, asked = make(num_evaluators=2, num_vocoders=4, queue_seconds=7.0), []
    monkeypatch.setattr("zipvoice.server.scheduler.time", SimpleNamespace(monotonic=lambda: 100.0))

    class Known:
        def __init__(self, key):
            self.request, self.is_begun = SimpleNamespace(key=key), key == "a"

        def work_before(self, soon):
            asked.append(soon)
            return 10.0

        frames_before = work_before

    own = SimpleNamespace(predicted_work=6.0, predicted_frames=8.0)
    with scheduler._changed, monkeypatch.context() as patched:
        patched.setattr(scheduler, "_tasks", {key: Known(key) for key in "abc"})
        assert scheduler._line("a", own) == Line(15.0, 7.5, 3, 1, 3.0, 2.0)
        assert scheduler._line("d") == Line(15.0, 7.5, 3, 0, 0.0, 0.0)
        scheduler._admission.steps.per_second = 3.0
        counts = scheduler.metrics()
        assert (counts.queued, counts.open, counts.predicted_wait_seconds) == (2, 3, 5.0)
    assert set(asked) == {107.0}


def test_what_has_no_time_left_is_ended_and_the_next_one_is_waited_for(make, monkeypatch):
    scheduler, ended = make(), []
    monkeypatch.setattr("zipvoice.server.scheduler.time", SimpleNamespace(monotonic=lambda: 100.0))
    monkeypatch.setattr(scheduler, "_end", lambda task, error: ended.append((type(error), str(error))))
    for ends, left, expected in (
        ((), None, []),
        ((math.inf,), None, []),
        ((130.0, 107.5, math.inf), 7.5, []),
        ((99.0, 107.5, 100.0), 7.5, [99.0, 100.0]),
    ):
        ended.clear()
        with scheduler._changed, monkeypatch.context() as patched:
            tasks = [SimpleNamespace(expiry=lambda limits, end=end: (end, f"at {end}")) for end in ends]
            patched.setattr(scheduler, "_tasks", dict(enumerate(tasks)))
            assert scheduler._expire() == left
        assert ended == [(DeadlineExceeded, f"at {end}") for end in expected]


def test_what_goes_on_is_let_in_until_the_scheduler_is_closed(make, model, prompt):
    scheduler = make()
    model.run()
    assert scheduler.drain(0)
    with pytest.raises(ShuttingDown) as refused:
        scheduler.submit(request(WORDS, prompt))
    assert refused.value.retry_after_seconds == 5
    assert joined(scheduler.submit(request(WORDS, prompt), goes_on=True)).seconds > 0
    scheduler.close()
    with pytest.raises(ShuttingDown):
        scheduler.submit(request(WORDS, prompt), goes_on=True)
    counts = scheduler.metrics()
    assert (counts.admitted, counts.refused) == (1, 1)  # what goes on counts what it gives up itself
    scheduler.refuse()
    assert scheduler.metrics().refused == 2


@pytest.mark.parametrize(
    ("has_failed", "is_draining", "is_failing", "state"),
    [
        (False, False, False, "ready"),
        (False, False, True, "failing"),
        (False, True, True, "draining"),
        (True, True, True, "failed"),
    ],
)
def test_the_worst_state_is_told(make, has_failed, is_draining, is_failing, state):
    scheduler = make()
    scheduler._has_failed, scheduler._is_draining = has_failed, is_draining
    scheduler._health = SimpleNamespace(is_failing=is_failing)
    assert scheduler.state == state


def test_pieces_are_joined_in_their_order(make):
    given = []
    joiner = SimpleNamespace(add=lambda piece: [piece, piece.upper()])
    task = SimpleNamespace(joining=contextlib.nullcontext(), pieces={}, num_joined=0, joiner=joiner)
    scheduler = make()
    scheduler._give_out = lambda task, part: given.append(part)
    for index, piece, expected in ((2, "c", ""), (0, "a", "aA"), (1, "b", "aAbBcC"), (3, "d", "aAbBcCdD")):
        scheduler._join(task, index, piece)
        assert "".join(given) == expected
    assert task.pieces == {} and task.num_joined == 4
