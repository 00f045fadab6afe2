# SPDX-License-Identifier: Apache-2.0
"""What is counted, and what supervisors are told."""

import re
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest
from server_app import ask

from zipvoice.server.app import build_app
from zipvoice.server.counters import SchedulerMetrics
from zipvoice.server.metrics import exposition
from zipvoice.server.speech_job import Cancelled, DeadlineExceeded


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
