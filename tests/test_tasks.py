# SPDX-License-Identifier: Apache-2.0
"""What the scheduler knows of a request: how much work is left, and when its chunks are wanted."""

import math
from types import SimpleNamespace

import pytest
from tiny_models import FAST, resolved, tone

from zipvoice.audio.mel import HOP
from zipvoice.config.synthesis import SynthesisOptions
from zipvoice.server.admission import SchedulerLimits
from zipvoice.server.speech_job import SpeechJob, SpeechRequest
from zipvoice.server.tasks import Task, first_frames, next_batch
from zipvoice.server.text_feed import TextFeed

FRAMES_PER_SECOND = 24000 / HOP
PROMPT = SimpleNamespace(num_frames=100, seconds=100 / FRAMES_PER_SECOND, text="x" * 20)


def chunk(num_frames, ids=(1,)):
    return SimpleNamespace(num_frames=num_frames, total_frames=PROMPT.num_frames + num_frames, ids=ids)


def task(stream=False, text="text", options=None, **request):
    """Submitted at 10 s, of five steps with two evaluations each; 50 frames are expected of it."""
    job = SpeechJob(SpeechRequest(text, PROMPT, FAST, stream=stream, **request), lambda job: None)
    options = resolved(options or SynthesisOptions(num_steps=5))
    return Task(job, options, 2, iter(()), None, None, submitted=10.0, predicted_frames=50)


def test_the_work_left_is_that_of_the_steps_to_come():
    """Of frames times evaluations in each step; what is sampled has none, what is not planned yet is foreseen."""
    spoken = task()
    assert (spoken.work_before(0.0), spoken.frames_before(0.0)) == (150 * 5 * 2, 50)
    begun, waiting, sampled = (spoken.add(chunk(n), 10.0) for n in (20, 30, 40))
    begun.trajectory, sampled.is_sampled = SimpleNamespace(num_steps_left=3), True
    assert spoken.work_before(0.0) == 120 * 2 * 3 + 130 * 2 * 5
    assert spoken.frames_before(0.0) == 20 + 30 + 40
    assert spoken.ready() == [begun, waiting]


def test_a_job_counts_the_tokens_and_frames_that_were_planned():
    spoken = task()
    assert (spoken.job.num_tokens, spoken.job.num_frames) == (0, 0)
    for planned in (chunk(20, ids=(1, 2, 3)), chunk(30, ids=())):
        spoken.add(planned, 10.0)
    assert (spoken.job.num_tokens, spoken.job.num_frames) == (3, 50)


def test_the_chunks_of_a_stream_are_wanted_one_after_the_other():
    """The first at once, the others when what is before them has been heard; only those that are due soon count."""
    stream = task(stream=True)
    second = HOP / 24000
    first, next_one = stream.add(chunk(80), 12.0), stream.add(chunk(40), 12.0)
    assert (first.due, next_one.due) == (10.0, pytest.approx(12.0 + 80 * second))
    assert stream.ready() == [first]
    assert (stream.frames_before(10.0), stream.frames_before(10.5)) == (0, 80)
    stream.first_sound, stream.made_seconds = 13.0, 7.0
    stream.works.remove(first)
    assert stream.add(chunk(20), 14.0).due == pytest.approx(13.0 + 7.0 + 40 * second)
    assert stream.add(chunk(20), 99.0).due == 99.0
    assert stream.work_before(15.0) == 140 * 2 * 5


def test_later_chunks_of_a_whole_answer_are_wanted_the_sooner_the_shorter_they_are():
    whole = task()
    assert [whole.add(chunk(n), 12.0).due for n in (80, 94, 47)] == pytest.approx(
        [10.0, 12 + 94 * HOP / 24000, 12.5], abs=2e-3
    )


def test_a_stream_that_has_begun_has_no_deadline():
    limits = SchedulerLimits(reader_seconds=30.0)
    whole, stream = task(deadline_seconds=4.0), task(stream=True, deadline_seconds=4.0)
    for each in (whole, stream):
        assert each.expiry(limits) == (14.0, "the request was not spoken within 4 s")
        each.first_sound = 12.0
    assert whole.expiry(limits)[0] == 14.0 and stream.expiry(limits)[0] == math.inf
    assert task().expiry(limits)[0] == math.inf


def test_sound_is_unread_since_it_came_or_since_what_was_before_it_was_read(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("zipvoice.server.speech_job.time.monotonic", lambda: now[0])
    waiting, seen = task(), []
    job = waiting.job
    for now[0], action in (
        (50.0, lambda: job.put(tone(0.5))),
        (60.0, lambda: job.put(tone(0.25))),
        (70.0, lambda: next(job)),
        (80.0, lambda: next(job)),
        (90.0, lambda: job.put(tone(0.5))),
    ):
        action()
        seen.append((job.unread_since, job.unread_seconds))
    assert seen == [(50.0, 0.5), (50.0, 0.75), (70.0, 0.25), (None, 0), (90.0, 0.5)]
    assert waiting.expiry(SchedulerLimits(reader_seconds=30.0)) == (120.0, "nobody has read the sound for 30 s")


@pytest.mark.parametrize(
    ("text", "options", "seconds"),
    [
        ("y" * 30, {}, 1.5 * PROMPT.seconds),
        ("y" * 30, {"speed": 2.0}, 0.75 * PROMPT.seconds),
        ("y" * 30, {"duration": 2.5}, 2.5),
        ("y" * 3000, {}, 25.0),  # the longest chunk
        ("y" * 3000, {"first_chunk_seconds": 3.0}, 3.0),
        (iter(["y"]), {}, 25.0),
    ],
)
def test_the_first_chunk_is_as_long_as_its_text_at_the_pace_of_the_voice(text, options, seconds):
    request = SpeechRequest(text, PROMPT)
    assert first_frames(request, resolved(SynthesisOptions(**options))) == pytest.approx(seconds * FRAMES_PER_SECOND)


def test_a_text_that_is_not_yet_written_makes_nobody_wait():
    unwritten = task(text=TextFeed())
    assert (unwritten.is_unwritten, unwritten.work_before(0.0), unwritten.frames_before(0.0)) == (True, 0, 0)
    unwritten.add(chunk(20), 10.0)
    assert (unwritten.is_unwritten, unwritten.frames_before(0.0)) == (False, 20)
    assert unwritten.work_before(0.0) == 120 * 5 * 2 and not task().is_unwritten


def test_a_request_has_begun_with_its_first_step():
    spoken = task()
    first, second = spoken.add(chunk(20), 10.0), spoken.add(chunk(20), 10.0)
    assert not spoken.is_begun
    second.trajectory = SimpleNamespace(num_steps_left=1)
    assert spoken.is_begun
    second.trajectory, spoken.num_joined = None, 1
    assert spoken.is_begun and first.index == 0 and second.index == 1


@pytest.mark.parametrize(("stream", "most"), [(True, 2), (False, 4)])
def test_so_many_chunks_are_planned_ahead(stream, most):
    limits, ahead = SchedulerLimits(unread_seconds=1e9), task(stream)
    for number in range(most):
        assert ahead.wants_chunk(limits) and ahead.num_planned == number
        ahead.add(chunk(20), 10.0)
    assert not ahead.wants_chunk(limits)
    ahead.works[0].is_sampled = True
    assert ahead.wants_chunk(limits)
    for name in ("is_over", "is_planning", "is_exhausted"):
        setattr(ahead, name, True)
        assert not ahead.wants_chunk(limits)
        setattr(ahead, name, False)


def test_no_more_is_planned_while_so_much_waits_to_be_read():
    ahead = task()
    ahead.add(chunk(375), 10.0)
    ahead.job.put(tone(0.5))
    waits = 0.5 + ahead.works[0].seconds
    assert waits == pytest.approx(0.5 + ahead.works[0].chunk.num_frames / FRAMES_PER_SECOND)
    assert not ahead.wants_chunk(SchedulerLimits(unread_seconds=waits))
    assert ahead.wants_chunk(SchedulerLimits(unread_seconds=waits + 1e-6))


@pytest.mark.parametrize(("stream", "expected"), [(True, [[1], [], [3]]), (False, [[1, 3], [3], [3]])])
def test_what_is_ready_has_tokens_and_is_not_stepping(stream, expected):
    waiting, ready = task(stream), []
    pause, first, sampled, second = (waiting.add(chunk(20, ids), 10.0) for ids in ((), (1,), (1,), (1,)))
    sampled.is_sampled = True
    ready.append([work.index for work in waiting.ready()])
    first.is_stepping = True
    ready.append([work.index for work in waiting.ready()])
    first.is_sampled = True
    ready.append([work.index for work in waiting.ready()])
    assert ready == expected and pause.index == 0 and second.index == 3


def test_the_first_reason_to_end_is_told():
    limits, both = SchedulerLimits(reader_seconds=30.0), task(deadline_seconds=4.0)
    both.job.put(tone(0.5))
    for since, told in ((-16.0, "spoken within 4 s"), (-16.1, "nobody has read the sound for 30 s")):
        both.job._last_read = since  # thirty seconds before the deadline, or a little more
        assert both.expiry(limits)[1].endswith(told)


@pytest.mark.parametrize(
    ("other", "together"),
    [
        ({}, True),
        ({"num_steps": 5, "raw": True}, False),
        ({"num_steps": 5, "solver": "heun"}, False),
        ({"num_steps": 5, "guidance_interval": (0.5, 1.0)}, False),
    ],
)
def test_an_evaluation_serves_what_is_alike(other, together):
    options = SynthesisOptions(num_steps=5, **{name: value for name, value in other.items() if name != "num_steps"})
    one, two = task().add(chunk(20), 10.0), task(options=options).add(chunk(20), 10.0)
    assert one.can_join(two) == two.can_join(one) == together
    more = task().add(chunk(20), 10.0)
    more.evaluations = 4
    assert not one.can_join(more)
    one.trajectory = two.trajectory = SimpleNamespace(reuses_guidance=True)
    assert one.can_join(two) == together
    two.trajectory = SimpleNamespace(reuses_guidance=False)
    assert not one.can_join(two)


def waiting(frames, due=0.0):
    return SimpleNamespace(frames=frames, due=due, can_join=lambda other: other.frames != 13)


@pytest.mark.parametrize(
    ("frames", "most", "share", "evaluators", "expected"),
    [
        ([100, 100], 200, 0.0, 1, 2),
        ([100, 100], 199, 0.0, 1, 1),
        ([100, 80], 1000, 0.1, 1, 2),
        ([100, 79], 1000, 0.1, 1, 1),
        ([80, 100], 1000, 0.1, 1, 2),
        ([79, 100], 1000, 0.1, 1, 1),
        ([100, 50, 90], 1000, 0.06, 1, 2),  # what does not fit is passed over
        ([80, 100, 80, 80], 1000, 0.15, 1, 4),
        ([80, 100, 80, 79], 1000, 0.15, 1, 3),  # the longest counts for all
        ([100] * 4, 350, 0.0, 1, 3),
        ([100] * 4, 1000, 0.0, 2, 2),
        ([100] * 5, 1000, 0.0, 2, 3),
        ([100], 1, 0.0, 1, 1),
        ([13, 13], 1000, 0.5, 1, 1),
    ],
)
def test_a_batch_is_filled_to_its_limits(frames, most, share, evaluators, expected):
    works = [waiting(count, due) for due, count in enumerate(frames)]
    batch = next_batch(works[::-1], most, share, evaluators)
    assert len(batch) == expected and batch[0] is works[0]
    assert [work.due for work in batch] == sorted(work.due for work in batch)


def test_a_voice_without_words_tells_nothing_of_its_pace():
    silent = SimpleNamespace(num_frames=100, seconds=1.0, text="")
    assert first_frames(SpeechRequest("y" * 3, silent), resolved(FAST)) == pytest.approx(3 * FRAMES_PER_SECOND)
