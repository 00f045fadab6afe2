# SPDX-License-Identifier: Apache-2.0
"""Who is let in, and who is to come back when."""

import contextlib
import itertools
import math
from dataclasses import asdict

import pytest

from zipvoice.server.admission import Admission, Busy, Line, LongLine, Offered, Rate, SchedulerLimits


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


# ---------------------------------------------------------------- to the letter

DEFAULTS = {
    "max_batch_frames": None,
    "max_padding_share": 0.15,
    "queue_seconds": 2.0,
    "burst_seconds": 5.0,
    "max_requests": 64,
    "requests_per_key": None,
    "requests_per_minute": None,
    "num_evaluators": None,
    "num_vocoders": None,
    "unread_seconds": 60.0,
    "reader_seconds": 120.0,
}


def test_limits_are_these_unless_others_are_given():
    assert asdict(SchedulerLimits()) == DEFAULTS


@pytest.mark.parametrize("name", DEFAULTS)
def test_limits_have_limits(name):
    may_be_zero = name in ("queue_seconds", "burst_seconds", "max_padding_share")
    SchedulerLimits(**{name: 0 if may_be_zero else 1})
    for wrong in (-1, math.nan, *([] if may_be_zero else [0])):
        least = "0 or more" if may_be_zero else "above 0"
        with pytest.raises(ValueError, match=f"^{name} must be {least}, not {wrong}$"):
            SchedulerLimits(**{name: wrong})


@pytest.mark.parametrize(
    ("has_accelerator", "dtype", "given", "frames"),
    [
        (True, "float16", None, 24_000),
        (True, "float32", None, 24_000),
        (False, "float32", None, 800),
        (False, "int8", None, 1),
        (False, "int8", 7, 7),
        (True, "float16", 7, 7),
    ],
)
def test_a_batch_is_as_large_as_its_device_likes(has_accelerator, dtype, given, frames):
    assert SchedulerLimits(max_batch_frames=given).batch_frames(has_accelerator, dtype) == frames


@pytest.mark.parametrize(("cores", "given", "vocoders"), [(1, None, 1), (3, None, 1), (4, None, 2), (4, 7, 7)])
def test_there_is_a_vocoder_for_every_two_cores(monkeypatch, cores, given, vocoders):
    monkeypatch.setattr("zipvoice.server.admission.num_cores", lambda: cores)
    assert SchedulerLimits(num_vocoders=given).vocoders == vocoders


def test_nobody_is_asked_to_come_back_at_once():
    assert [Busy("full", seconds).retry_after_seconds for seconds in (0.0, 1.0, 1.1, 7.0)] == [1, 1, 2, 7]


def test_a_rate_is_averaged_over_ten_seconds():
    rate = Rate()
    rate.observe(500, 0.5)
    assert rate.per_second == 1000
    rate.observe(200, 2.0)
    assert rate.per_second == pytest.approx(1000 + (1 - math.exp(-0.2)) * (100 - 1000))
    other = Rate()
    other.observe(1, 0.0)
    assert other.per_second == pytest.approx(1e9)


def test_what_is_offered_is_averaged_over_a_burst_and_over_ten_requests():
    offered = Offered()
    offered.observe(2.0, 100.0, 4.0)
    assert (offered.load, offered.typical, offered.when) == (0.5, 2.0, 100.0)
    offered.observe(1.0, 102.0, 4.0)
    assert offered.load == pytest.approx(0.5 * math.exp(-0.5) + 0.25)
    assert (offered.typical, offered.when) == (pytest.approx(1.9), 102.0)


@pytest.mark.parametrize(
    ("looks", "stays"),
    [
        ([(True, 0.0), (False, 5.0)], False),
        ([(True, 0.0), (False, 5.1)], True),
        ([(False, 0.0), (False, 5.0)], False),  # it may have been short before
        ([(True, 0.0), (False, 6.0), (True, 10.9)], True),  # not long ago somebody was refused
        ([(True, 0.0), (False, 6.0), (True, 11.0)], False),
        ([(True, 0.0), (False, 6.0), (True, 10.0), (True, 11.0)], False),  # who finds it short is let in
        ([(True, 0.0), (False, 6.0), (True, 10.0), (False, 10.5), (True, 15.4)], True),
    ],
)
def test_a_line_is_long_for_longer_than_a_burst(looks, stays):
    line = LongLine()
    assert [line.observe(is_short, now, 5.0) for is_short, now in looks][-1] == stays


@pytest.fixture
def admission(monkeypatch):
    """Of 1000 frames a second, at a time that stands still."""
    monkeypatch.setattr("zipvoice.server.admission.time.monotonic", lambda: 100.0)

    def make(**limits):
        made = Admission(SchedulerLimits(**{"burst_seconds": 0.0, **limits}))
        made.steps.per_second, made.vocoding.per_second = 1000.0, 100.0
        return made

    return make


@pytest.mark.parametrize(
    ("line", "more", "reason", "seconds"),
    [
        (Line(2000, 0, 0, 0), {}, None, None),
        (Line(0, 200, 0, 0), {}, None, None),
        (Line(5500, 0, 0, 0), {}, "the requests before this one take about 5.5 s", 4),
        (Line(0, 450, 0, 0), {}, "the requests before this one take about 4.5 s", 3),
        (Line(1000, 0, 0, 0), {"deadline_seconds": 1.0}, None, None),
        (Line(1600, 0, 0, 0), {"deadline_seconds": 1.0}, "the requests before this one take about 1.6 s", 1),
        (Line(5500, 0, 0, 0), {"deadline_seconds": 9.0}, "the requests before this one take about 5.5 s", 4),
        (Line(2000, 0, 3, 1), {}, "there are 3 open requests", 2),
        (Line(2000, 0, 2, 2), {}, "this key has 2 open requests", 2),
        (Line(0, 0, 2, 1), {}, None, None),
    ],
)
def test_who_is_not_let_in_is_told_why_and_when_to_come_back(admission, line, more, reason, seconds):
    door = admission(max_requests=3, requests_per_key=2)
    if reason is None:
        door.admit(line, **more)
    else:
        with pytest.raises(Busy, match=f"^{reason}$") as busy:
            door.admit(line, **more)
        assert busy.value.retry_after_seconds == seconds


def test_a_key_is_told_how_many_requests_it_has(admission):
    door = admission(requests_per_minute=0.5)
    door.admit(Line(0, 0, 0, 0), "a")
    with pytest.raises(Busy, match=r"^this key may send 0\.5 requests a minute$") as busy:
        door.admit(Line(0, 0, 0, 0), "a")
    assert busy.value.retry_after_seconds == 120


def test_a_key_that_has_all_its_requests_left_is_forgotten(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("zipvoice.server.admission.time.monotonic", lambda: now[0])
    door = Admission(SchedulerLimits(requests_per_minute=2))
    for now[0], key, known in ((0.0, "a", "a"), (10.0, "b", "ab"), (29.9, "b", "ab"), (30.0, "c", "bc")):
        door.admit(Line(0, 0, 0, 0), key)
        assert "".join(sorted(door._arrivals)) == known


@pytest.mark.parametrize(("asks_on", "was_offered"), [(False, [0.5, 0.5, 0.5]), (True, [0.5])])
def test_what_is_asked_for_is_offered_once(admission, monkeypatch, asks_on, was_offered):
    door, offered = admission(burst_seconds=5.0, max_requests=3), []
    monkeypatch.setattr(door.offered, "observe", lambda *given: offered.append(given[0]))
    own = {"own_work": 500.0, "own_frames": 20.0}
    for line in (Line(9000, 0, 0, 0, **own), Line(0, 0, 3, 0, **own), Line(0, 0, 0, 0, **own)):
        with contextlib.suppress(Busy):
            door.admit(line, asks_on=asks_on)
    assert offered == was_offered


@pytest.mark.parametrize(("load", "typical", "longest"), [(1.1, 1.0, 2.0), (1.2, 1.0, 0.75), (1.2, 4.0, 2.0)])
def test_under_overload_the_line_is_short(admission, load, typical, longest):
    """Shorter than three quarters of a request."""
    door = admission(burst_seconds=5.0)
    door.offered.load, door.offered.typical, door.offered.when = load, typical, 100.0
    door.admit(Line(1000 * longest, 0, 0, 0), asks_on=True)
    door.offered.load, door.offered.typical, door.offered.when = load, typical, 100.0
    with pytest.raises(Busy):
        door.admit(Line(1000 * longest + 1, 0, 0, 0), asks_on=True)
