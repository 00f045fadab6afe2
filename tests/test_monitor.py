# SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tiny_models import LETTERS, TINY

from zipvoice.config.training import RunConfig
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.training.observation.logger import MetricLogger
from zipvoice.training.observation.monitor import Monitor, block_of, block_scales, duration, peak_bytes, seconds_left
from zipvoice.training.optimizer import ScaledAdam


class Clock:
    """Tells the time that it was set to."""

    now = 1000.0

    def __call__(self):
        return self.now


@dataclass(frozen=True)
class Seconds:
    """A batch that is known by the lengths of its utterances alone."""

    seconds: list[float]


def model_and_optimizer(lr=0.01):
    torch.manual_seed(0)
    model = ZipVoice(TINY, LETTERS.vocabulary)
    return model, ScaledAdam(model.parameters(), lr=lr, clipping_scale=2.0)


def update(model, optimizer, factor=1.0):
    """One step on random gradients."""
    generator = torch.Generator().manual_seed(1)
    for p in model.parameters():
        p.grad = factor * torch.randn(p.shape, generator=generator)
    optimizer.step()


def take_step(monitor, clock, waited, worked, step, epoch=0, frames=0):
    with monitor.waiting():
        clock.now += waited
    clock.now += worked
    monitor.stepped(step, epoch, frames)


# ---------------------------------------------------------------- scales


def test_scales_are_root_mean_squares_of_weights_gradients_and_changes():
    model, optimizer = model_and_optimizer()
    update(model, optimizer)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    update(model, optimizer)
    scales = block_scales(model, optimizer)
    assert {"embed", "text_encoder.in_proj", "fm_decoder.encoders.0", "fm_decoder.time_embed"} <= scales.keys()
    for block, found in scales.items():
        inside = [(name, p) for name, p in model.named_parameters() if block_of(name) == block]
        weights = torch.cat([p.detach().flatten() for _, p in inside])
        gradients = torch.cat([p.grad.flatten() for _, p in inside])
        changes = torch.cat([(p.detach() - before[name]).flatten() for name, p in inside])
        assert found.weight == pytest.approx(float(weights.square().mean().sqrt()), rel=1e-4)
        assert found.gradient == pytest.approx(float(gradients.square().mean().sqrt()), rel=1e-4)
        assert found.update == pytest.approx(float(changes.norm() / weights.norm()), rel=1e-2)


def test_parts_that_are_not_trained_have_no_scales():
    model, _ = model_and_optimizer()
    model.text_encoder.requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = ScaledAdam(trained, lr=0.01)
    for p in trained:
        p.grad = torch.ones_like(p)
    optimizer.step()
    assert {block.split(".")[0] for block in block_scales(model, optimizer)} == {"fm_decoder", "embed"}


# ---------------------------------------------------------------- speed


def test_speed_counts_steps_and_waiting_but_not_what_lies_between_them():
    clock = Clock()
    model, optimizer = model_and_optimizer()
    monitor = Monitor(RunConfig(log_every=2, num_steps=10), model, optimizer, clock=clock)
    update(model, optimizer)
    take_step(monitor, clock, waited=1, worked=3, step=1, frames=750)
    clock.now += 100  # validation
    take_step(monitor, clock, waited=2, worked=2, step=2, frames=250)
    report = monitor.report(2)
    assert report.seconds_per_step == 4
    assert report.waiting == 3 / 8
    assert report.frames_per_second == 1000 / 8
    assert report.audio_per_time == pytest.approx(125 * 256 / 24000)
    assert report.seconds_left == 8 * 108 / 2  # with validation
    take_step(monitor, clock, waited=0, worked=5, step=3, frames=10)
    assert monitor.report(3).frames_per_second == 10 / 5  # of the new interval alone


def test_the_time_of_skipped_steps_is_known():
    clock = Clock()
    model, optimizer = model_and_optimizer()
    monitor = Monitor(RunConfig(), model, optimizer, clock=clock)
    update(model, optimizer)
    with monitor.waiting():
        clock.now += 1
    clock.now += 3  # whose update is skipped
    report = monitor.report(1)
    assert (report.waiting, report.frames_per_second) == (1 / 4, 0)
    clock.now += 100  # validation
    take_step(monitor, clock, waited=1, worked=1, step=2, frames=10)
    assert monitor.report(2).seconds_per_step == 2


def test_a_gradient_that_is_not_measured_is_left_out():
    model, optimizer = model_and_optimizer()
    monitor = Monitor(RunConfig(), model, optimizer)
    for step, is_known in ((1, False), (2, True)):
        update(model, optimizer)
        monitor.stepped(step, 0, 0)
        report = monitor.report(step)
        assert (report.grad_norm is not None, "gradient" in str(report), "grad_norm" in report.steering()) == (
            is_known,
        ) * 3


def test_a_step_of_several_batches_is_one_step():
    clock = Clock()
    model, optimizer = model_and_optimizer()
    monitor = Monitor(RunConfig(), model, optimizer, clock=clock)
    with monitor.waiting():
        clock.now += 1
    clock.now += 2
    take_step(monitor, clock, waited=1, worked=4, step=1, frames=80)
    report = monitor.report(1)
    assert (report.seconds_per_step, report.waiting, report.frames_per_second) == (8, 2 / 8, 10)


def test_padding_is_counted_over_the_batches_of_an_interval():
    """Of 4 + 2 s in 8 and 3 + 3 s in 6: 2 of 14; then of 10 s in 10 none."""
    monitor = Monitor(RunConfig(), *model_and_optimizer())
    monitor.took([Seconds([4.0, 2.0])])
    monitor.took([Seconds([3.0, 3.0])])
    assert monitor.report(2).padding == pytest.approx(2 / 14)
    monitor.took([Seconds([10.0])])
    report = monitor.report(3)
    assert report.padding == 0
    assert ", 0% padding, " in str(report) and report.scalars()["speed"]["padding"] == 0
    assert monitor.report(4).padding == 0


def test_clipped_steps_are_counted():
    model, optimizer = model_and_optimizer()
    monitor = Monitor(RunConfig(), model, optimizer)
    for step in range(1, 16):  # the first threshold is set by the eleventh update
        update(model, optimizer, factor=1000.0 if step in (13, 15) else 1.0)
        monitor.stepped(step, 0, 0)
    report = monitor.report(15)
    assert report.clipped == pytest.approx(2 / 15)
    assert report.grad_norm == optimizer.clipping()[0][0]


def test_a_step_is_clipped_if_any_of_its_groups_is(monkeypatch):
    model, optimizer = model_and_optimizer()
    monkeypatch.setattr(optimizer, "clipping", lambda: [(1.0, 1.0), (3.0, 0.5), (2.0, 1.0)])
    monitor = Monitor(RunConfig(), model, optimizer)
    monitor.stepped(1, 0, 0)
    report = monitor.report(1)
    assert (report.grad_norm, report.clipped) == (3.0, 1.0)


# ---------------------------------------------------------------- the time left


def test_the_time_left_is_that_of_the_nearest_limit():
    steps, epochs = RunConfig(num_steps=100), RunConfig(num_epochs=4)
    assert seconds_left(steps, 40, None, seconds_per_step=2.0, elapsed=80.0) == 120
    assert seconds_left(epochs, 40, None, seconds_per_step=2.0, elapsed=80.0) is None
    assert seconds_left(epochs, 40, 12.5, seconds_per_step=2.0, elapsed=80.0) == 20
    limited = RunConfig(num_steps=100, max_seconds=90.0)
    assert seconds_left(limited, 40, None, seconds_per_step=2.0, elapsed=80.0) == 10
    assert seconds_left(limited, 40, None, seconds_per_step=2.0, elapsed=95.0) == 0


def test_a_run_in_epochs_ends_with_the_last_one():
    """Of 2.5 steps an epoch three are over with the eighth step; before the first ends nobody knows."""
    config = RunConfig(num_epochs=3)
    assert (config.last_step(2.5), config.last_step(2.0), config.last_step(None)) == (8, 6, None)
    assert [config.is_finished(1000, epoch) for epoch in (2, 3)] == [False, True]
    config = RunConfig(num_epochs=3, num_steps=7)
    assert config.last_step(2.5) == 7
    assert [config.is_finished(step, 9) for step in (6, 7)] == [False, True]


def test_the_length_of_an_epoch_is_learned_when_one_ends():
    clock = Clock()
    model, optimizer = model_and_optimizer()
    monitor = Monitor(RunConfig(num_epochs=3), model, optimizer, clock=clock)
    left = []
    for step in range(1, 11):  # an epoch has five steps of two seconds
        take_step(monitor, clock, waited=0, worked=2, step=step, epoch=step // 5)
        left.append(monitor.report(step).seconds_left)
    assert left == [None] * 4 + [20, 18, 16, 14, 12, 10]


def test_a_continued_run_knows_no_epoch_length_at_first():
    clock = Clock()
    model, optimizer = model_and_optimizer()
    monitor = Monitor(RunConfig(num_epochs=3), model, optimizer, clock=clock)
    take_step(monitor, clock, waited=0, worked=2, step=8, epoch=1)
    assert monitor.report(8).seconds_left is None
    for step in (9, 10):
        take_step(monitor, clock, waited=0, worked=2, step=step, epoch=step // 5)
    assert monitor.report(10).seconds_left == 10


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.6, "1 min 0 s"), (725, "12 min 5 s"), (15120, "4 h 12 min"), (86400 * 3 + 4000, "3 d 1 h")],
)
def test_durations_in_words(seconds, text):
    assert duration(seconds) == text


# ---------------------------------------------------------------- records


def test_a_report_is_one_line_and_scalars_by_kind(tmp_path):
    clock = Clock()
    model, optimizer = model_and_optimizer()
    monitor = Monitor(RunConfig(log_every=1, num_steps=4), model, optimizer, clock=clock)
    update(model, optimizer)
    take_step(monitor, clock, waited=1, worked=3, step=1, frames=37500)
    report = monitor.report(1)
    assert str(report).startswith("rate 1.00e-02, 100 h of audio per hour, 25% waiting")
    assert str(report).endswith(" GiB, 12 s left")
    metrics = MetricLogger(tmp_path)
    for kind, values in report.scalars().items():
        metrics.scalars(kind, 1, values)
    metrics.close()
    records = {line["kind"]: line for line in map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())}
    assert records["speed"]["audio_hours_per_hour"] == pytest.approx(100)
    assert records["relative_update"]["embed"] == block_scales(model, optimizer)["embed"].update


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells the peak of resident memory there")
def test_the_peak_of_memory_is_what_the_system_says():
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    kib = int(status["VmHWM"].split()[0])
    assert peak_bytes(torch.device("cpu")) == pytest.approx(1024 * kib, rel=0.02)
