# SPDX-License-Identifier: Apache-2.0
"""What the scheduler counts, and what it knows of its requests."""

import contextlib
import math
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from stepping_model import LONG, WORDS, request, until

from zipvoice.config.synthesis import SynthesisOptions
from zipvoice.server.admission import Busy, Line, ShuttingDown
from zipvoice.server.speech_job import DeadlineExceeded, SpeechRequest
from zipvoice.synthesis.synthesizer import joined

pytest_plugins = "stepping_model"


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
