# SPDX-License-Identifier: Apache-2.0
"""What is counted, and what supervisors are told."""

import re
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest
from server_app import ask

from zipvoice.server.app import build_app
from zipvoice.server.counters import Health, SchedulerMetrics
from zipvoice.server.metrics import exposition
from zipvoice.server.speech_job import Cancelled, DeadlineExceeded, Failed


def test_a_histogram_counts_what_is_at_most_each_bound():
    metrics = SchedulerMetrics()
    for size in (1, 3, 4, 5, 100):
        metrics.batch_size.add(size)
    lines = exposition(metrics, 7).decode().splitlines()
    found = dict(
        re.fullmatch(r'zipvoice_batch_size_bucket\{le="(.+)"\} (.+)', line).groups()
        for line in lines
        if "size_b" in line
    )
    assert {bound: float(count) for bound, count in found.items()} == {
        "1": 1, "2": 1, "4": 3, "8": 4, "16": 4, "32": 4, "64": 4, "+Inf": 5
    }  # fmt: skip
    assert {"zipvoice_batch_size_sum 113.0", "zipvoice_batch_size_count 5.0", "zipvoice_tasks 7.0"} <= set(lines)


def test_each_end_of_a_request_has_a_count_of_its_own():
    metrics = SchedulerMetrics()
    ends = {"completed": None, "failed": ValueError(), "cancelled": Cancelled(), "expired": DeadlineExceeded()}
    for times, error in enumerate(ends.values(), 1):
        for _ in range(times):
            metrics.end(error, 0.5)
    counts = {name: value for name, value in asdict(metrics).items() if type(value) is int and value}
    assert counts == {"completed": 1, "failed": 2, "cancelled": 3, "expired": 4}
    assert (metrics.request_seconds.num, metrics.request_seconds.total) == (1, 0.5)
    assert {f"zipvoice_{name}_total {count}.0" for name, count in counts.items()} <= set(
        exposition(metrics, 0).decode().splitlines()
    )
    metrics.frames, metrics.padding_frames = 60, 20
    assert (metrics.padding_share, SchedulerMetrics().padding_share) == (0.25, 0)


def test_everything_that_is_counted_is_told_by_its_name(monkeypatch):
    monkeypatch.setattr("threading.active_count", lambda: 9)
    metrics = SchedulerMetrics(*range(1, 15))
    metrics.first_audio_seconds.add(0.5)
    found = dict(line.rsplit(" ", 1) for line in exposition(metrics, 7).decode().splitlines() if line[0] != "#")
    names = ("tasks", "threads", "queued", "open", "predicted_wait_seconds", "admitted_total", "refused_total")
    names += ("completed_total", "failed_total", "cancelled_total", "expired_total", "steps_total", "frames_total")
    names += ("padding_frames_total", "step_seconds_total", "sound_seconds_total")
    told = {name.removeprefix("zipvoice_"): float(value) for name, value in found.items() if "bucket" not in name}
    assert {name: told[name] for name in names} == dict(zip(names, (7, 9, *range(1, 15)), strict=True))
    assert (told["first_audio_seconds_sum"], told["first_audio_seconds_count"]) == (0.5, 1)
    bounds = ["0.1", "0.2", "0.5", "1.0", "2.0", "5.0", "10.0", "30.0", "60.0", "+Inf"]
    for name, counts in (("first_audio_seconds", [0, 0] + [1] * 8), ("request_seconds", [0] * 10)):
        buckets = [float(found[f'zipvoice_{name}_bucket{{le="{bound}"}}']) for bound in bounds]
        assert buckets == counts
    assert "process_open_fds" in found and "process_resident_memory_bytes" in found


def test_a_server_fails_from_five_failures_in_a_row_until_it_has_rested(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("zipvoice.server.counters.time.monotonic", lambda: now[0])
    health, seen = Health(), []
    for error in [Failed()] * 4 + [None] + [Failed(), ValueError(), Cancelled()] * 5 + [None]:
        health.observe(error)
        seen.append(health.is_failing)
    assert seen == [False] * 17 + [True] * 3 + [False]
    for _ in range(5):
        health.observe(Failed())
    now[0] = 129.9
    assert health.is_failing
    now[0] = 130.0
    assert not health.is_failing
    health.observe(Failed())
    assert health.is_failing


@pytest.mark.parametrize(
    ("state", "health", "ready"),
    [("ready", 200, 200), ("draining", 200, 503), ("failing", 200, 503), ("failed", 503, 503)],
)
def test_supervisors_are_told_what_a_server_can_do(speaker, state, health, ready):
    app = build_app(replace(speaker, scheduler=SimpleNamespace(state=state)))
    healthy, is_ready = ask(app, "GET", "/health"), ask(app, "GET", "/ready")
    assert (healthy.status_code, is_ready.status_code) == (health, ready)
    reasons = {"failing": "the last requests all failed; the log says why", "failed": "it must be started again"}
    reason = {"reason": reasons[state]} if state in reasons else {}
    assert is_ready.json() == {"status": state, **reason}
    assert healthy.json() == {"status": "failed" if state == "failed" else "ok"}
