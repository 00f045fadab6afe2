# SPDX-License-Identifier: Apache-2.0
"""Who is let in, and who is to come back when."""

import itertools

import pytest

from zipvoice.server.admission import Admission, Busy, Line, Rate, SchedulerLimits


def admitted(admission, line=None, **more):
    try:
        admission.admit(line or Line(0, 0, 0, 0), **more)
    except Busy as busy:
        return busy.retry_after_seconds
    return None


def test_work_in_line_is_predicted_at_the_measured_rate():
    admission = Admission(SchedulerLimits(queue_seconds=2.0))
    assert admitted(admission, Line(1e9, 0, 1, 0)) is None  # nothing is known yet
    admission.steps.observe(1000, 1.0)
    assert admitted(admission, Line(1999, 0, 1, 0)) is None
    assert admitted(admission, Line(7500, 0, 1, 0)) == 6  # until 2 s are left
    assert admitted(admission, Line(1999, 0, 1, 0), deadline_seconds=1.0) == 1
    admission.vocoding.observe(100, 1.0)
    assert admitted(admission, Line(0, 750, 1, 0)) == 6
    assert admitted(admission, Line(1999, 199, 1, 0)) is None  # steps and vocoding go on side by side


def test_the_rate_follows_what_is_measured():
    measured = Rate()
    for rate in (1000.0, 100.0):
        for _ in range(100):
            measured.observe(rate, 1.0)
        assert measured.per_second == pytest.approx(rate, rel=1e-3)


@pytest.mark.parametrize(("load", "waits"), [(0.5, 1.9), (4.0, 0.15)])
def test_under_overload_that_lasts_a_request_is_let_in_only_if_it_can_begin_at_once(monkeypatch, load, waits):
    """Requests of 0.2 s each, at the given load: how long the last of a minute may wait at most."""
    clock = itertools.count(0.0, 0.2 / load)
    monkeypatch.setattr("zipvoice.server.admission.time.monotonic", lambda: next(clock))
    admission = Admission(SchedulerLimits(queue_seconds=1.9, burst_seconds=5.0))
    admission.steps.observe(1000, 1.0)
    own = {"own_work": 200.0}
    assert admitted(admission, Line(1899, 0, 1, 0, **own)) is None  # a burst may wait
    for _ in range(round(60 * load / 0.2)):
        admitted(admission, Line(0, 0, 1, 0, **own))
    assert admitted(admission, Line(1000 * waits - 1, 0, 1, 0, **own)) is None
    assert admitted(admission, Line(1000 * waits + 1, 0, 1, 0, **own)) == 1


def test_a_line_that_stays_long_is_kept_short_until_nobody_is_refused(monkeypatch):
    """Requests of 0.2 s twice a second, which find more before them than their own work explains."""
    clock = itertools.count(0.0, 0.5)
    monkeypatch.setattr("zipvoice.server.admission.time.monotonic", lambda: next(clock))
    admission = Admission(SchedulerLimits(queue_seconds=1.9, burst_seconds=5.0))
    admission.steps.observe(1000, 1.0)
    short, long = (Line(work, 0, 1, 0, own_work=200.0) for work in (100.0, 1500.0))
    assert [admitted(admission, long) for _ in range(12)] == [None] * 11 + [2]
    assert [admitted(admission, line) for line in (short, long, short, long)] == [None, 2, None, 2]
    assert [admitted(admission, short) for _ in range(10)] == [None] * 10
    assert admitted(admission, long) is None


def test_what_asks_on_until_it_is_let_in_is_asked_for_once(monkeypatch):
    """Requests of 0.2 s, 300 a second of them for a second, in a line that is full: those who ask once are too many."""
    for asks_on in (True, False):
        clock = itertools.count(0.0, 1 / 300)
        monkeypatch.setattr("zipvoice.server.admission.time.monotonic", lambda clock=clock: next(clock))
        admission = Admission(SchedulerLimits(queue_seconds=1.9, burst_seconds=5.0))
        admission.steps.observe(1000, 1.0)
        full, long, short = (Line(1000 * wait, 0, 1, 0, own_work=200.0) for wait in (2.0, 1.8, 0.1))
        waits = {admitted(admission, full, asks_on=asks_on) for _ in range(300)}
        assert waits == ({1} if asks_on else {1, 2})
        assert admitted(admission, short) is None
        assert (admitted(admission, long) is None) == asks_on


def test_open_requests_are_bounded_for_all_and_for_each_key():
    admission = Admission(SchedulerLimits(max_requests=3, requests_per_key=2))
    assert admitted(admission, Line(0, 0, 2, 1)) is None
    assert admitted(admission, Line(0, 0, 3, 0)) == 1
    assert admitted(admission, Line(0, 0, 2, 2)) == 1


def test_a_key_has_so_many_requests_a_minute():
    admission = Admission(SchedulerLimits(requests_per_minute=3))
    assert [admitted(admission, key="a") for _ in range(4)] == [None, None, None, 20]
    assert admitted(admission, key="b") is None


def test_what_a_key_has_left_grows_steadily(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("zipvoice.server.admission.time.monotonic", lambda: now[0])
    admission, waits = Admission(SchedulerLimits(requests_per_minute=3)), []
    for now[0] in (0.0, 0.0, 0.0, 5.0, 21.0, 1000.0, 1000.0, 1000.0, 1000.0):
        waits.append(admitted(admission, key="a"))
    assert waits == [None, None, None, 15, None, None, None, None, 20]  # one every 20 s, three at most
