# SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import replace
from pathlib import Path

import pytest

from zipvoice.config.data import DataConfig
from zipvoice.config.training import RunConfig
from zipvoice.config.vocoder import VocoderRunConfig
from zipvoice.training.lr_scheduler import CosineSchedule, EdenSchedule, adjusted_batch_count, cosine, eden, hours_seen

REFERENCE = json.loads((Path(__file__).parent / "data" / "optimizer" / "schedules.json").read_text())
SETTINGS = ("lr_batches", "lr_epochs", "warmup_batches", "warmup_start")


@pytest.mark.parametrize("case", REFERENCE["eden"])
def test_eden_follows_the_reference(case):
    settings = {key: case[key] for key in SETTINGS}
    for batch, epoch, rates in case["points"]:
        computed = [eden(batch, epoch, base_lr=base_lr, **settings) for base_lr in case["base_lr"]]
        assert computed == pytest.approx(rates, rel=1e-6)


def test_eden_over_several_epochs():
    case = REFERENCE["eden_increments"]
    for point in case["sequence"]:
        lr = eden(point["after_batch_calls"], point["epoch"], case["base_lr"], case["lr_batches"], case["lr_epochs"])
        assert lr == pytest.approx(point["lr"], rel=1e-6)


def test_eden_halves_far_out():
    # Far beyond both scales the rate falls like (batch * epoch) ** -1/2.
    far, farther = (eden(n * 10**6, n * 10**6, 1.0, 100, 100) for n in (1, 2))
    assert farther / far == pytest.approx(0.5, rel=1e-6)


def test_adjusted_batch_count_and_hours():
    for case in REFERENCE["adjusted_batch_count"]:
        count = adjusted_batch_count(
            case["batch_idx"], case["max_duration"], case["world_size"], ref_seconds=case["ref_duration"]
        )
        assert count == pytest.approx(case["value"])
    for case in REFERENCE["hours_as_epoch"]:
        assert hours_seen(case["batch_idx"], case["max_duration"], case["world_size"]) == pytest.approx(case["epoch"])
    offset = REFERENCE["batch_count_offset"]["when_finetuning_or_distilling_or_dialog"]
    assert adjusted_batch_count(10, 50, offset=offset) == offset + 10


def test_what_is_not_said_is_as_in_training_of_the_released_models():
    """A rise from one half over 500 batches; one process, one batch a step, progress in batches of 50 seconds."""
    rates = [eden(batch, 0, base_lr=1.0, lr_batches=1e9, lr_epochs=1.0) for batch in (0, 250, 500, 750)]
    assert rates == pytest.approx([0.5, 0.75, 1.0, 1.0])
    assert hours_seen(36, 100) == 1.0
    assert (adjusted_batch_count(10, 50), adjusted_batch_count(10, 100)) == (10, 20)
    assert [cosine(step, 4) for step in range(5)] == pytest.approx([1, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5, 0])
    config = RunConfig(data=DataConfig(max_duration=100.0))
    assert EdenSchedule(config).batch_count(7) == 7 * 100.0 / config.ref_duration
    tuned = EdenSchedule(replace(config, init_from="a"), world_size=3)
    assert tuned.batch_count(7) == 100_000 + 3 * 7 * 100.0 / config.ref_duration


def test_the_cosine_of_a_run_counts_steps_from_one():
    """The first step has the first part of the rise, the one after the last would have nothing."""
    schedule = CosineSchedule(VocoderRunConfig(lr=0.8, num_steps=100, warmup_steps=4))
    assert schedule.learning_rate(1, 0) == pytest.approx(0.2)
    assert schedule.learning_rate(51, 0) == pytest.approx(0.4)
    assert schedule.learning_rate(101, 0) == pytest.approx(0)
    assert schedule.batch_count(7) == 7.0
