# SPDX-License-Identifier: Apache-2.0
"""Requests spoken together by the scheduler: what they sound like, and who comes when."""

import itertools
import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stepping_model import LONG, PATIENCE, WORDS, hum, request, until
from tiny_models import FAST

from zipvoice import builtin, load
from zipvoice.config.synthesis import SynthesisOptions
from zipvoice.runtime.base import ComputedBy
from zipvoice.server.admission import SchedulerLimits
from zipvoice.server.scheduler import Scheduler
from zipvoice.server.speech_job import Cancelled, SpeechRequest
from zipvoice.server.tasks import next_batch
from zipvoice.synthesis.prompt import Prompt
from zipvoice.synthesis.synthesizer import Synthesizer, joined

pytest_plugins = "stepping_model"


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
            return synthesizer.mel(first, trajectory), synthesizer.mels([first], options)[0]
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
