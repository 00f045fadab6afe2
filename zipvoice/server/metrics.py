# SPDX-License-Identifier: Apache-2.0
"""What the scheduler counts, and what its process takes, as Prometheus reads it."""

import threading
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from zipvoice.server.counters import Histogram, SchedulerMetrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

GAUGES = {
    "queued": "Requests that wait for their first step.",
    "open": "Requests that are waiting, being spoken or being read.",
    "predicted_wait_seconds": "Of a request that came now.",
}
COUNTERS = {
    "admitted": "Requests that were let in.",
    "refused": "Requests that were not.",
    "completed": "Requests spoken to the end.",
    "failed": "Requests that ended with an error.",
    "cancelled": "Requests that were given up.",
    "expired": "Requests that ran out of time.",
    "steps": "Evaluations of the network.",
    "frames": "Frames evaluated, without padding.",
    "padding_frames": "Frames of padding evaluated.",
    "step_seconds": "Time spent in evaluations.",
    "sound_seconds": "Sound made.",
}
HISTOGRAMS = {
    "batch_size": "Utterances in an evaluation.",
    "first_audio_seconds": "From a request to its first sound.",
    "request_seconds": "From a request to its last sound.",
}


def exposition(metrics: SchedulerMetrics, num_tasks: int) -> bytes:
    """The counts in Prometheus's text format; `num_tasks` are those of the event loop."""
    registry = CollectorRegistry()
    registry.register(_Counts(metrics, num_tasks))
    ProcessCollector(registry=registry)  # memory, open files, processor time
    return generate_latest(registry)


class _Counts(Collector):
    def __init__(self, metrics: SchedulerMetrics, num_tasks: int) -> None:
        self.metrics, self.num_tasks = metrics, num_tasks

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("zipvoice_tasks", "Tasks of the event loop.", value=self.num_tasks)
        yield GaugeMetricFamily("zipvoice_threads", "Threads of Python.", value=threading.active_count())
        for name, text in GAUGES.items():
            yield GaugeMetricFamily(f"zipvoice_{name}", text, value=getattr(self.metrics, name))
        for name, text in COUNTERS.items():
            yield CounterMetricFamily(f"zipvoice_{name}", text, value=getattr(self.metrics, name))
        for name, text in HISTOGRAMS.items():
            yield _family(name, text, getattr(self.metrics, name))


def _family(name: str, text: str, histogram: Histogram) -> HistogramMetricFamily:
    bounds = [*map(str, histogram.bounds), "+Inf"]
    buckets = list(zip(bounds, map(float, accumulate(histogram.counts)), strict=True))
    return HistogramMetricFamily(f"zipvoice_{name}", text, buckets=buckets, sum_value=histogram.total)
