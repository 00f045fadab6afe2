# SPDX-License-Identifier: Apache-2.0
"""Runs that are killed, again and again."""

import logging
import random
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from corpus_runs import make_corpus, run_config
from processes import CONTEXT
from safetensors.torch import load_file
from tiny_runs import assert_same, records

from zipvoice.training import checkpoint
from zipvoice.training.run import train

NUM_STEPS = 90


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    make_corpus(folder)
    return folder


def train_quietly(config):
    torch.set_num_threads(1)
    logging.getLogger("zipvoice").addFilter(lambda record: False)
    train(config)


def num_records(exp_dir):
    path = Path(exp_dir) / "log.jsonl"
    return path.read_bytes().count(b'"kind": "train"') if path.exists() else 0


def killed(config, num_steps, seconds):
    """Kill a run after some more steps and seconds; tells whether it had not ended before."""
    process = CONTEXT.Process(target=train_quietly, args=(config,))
    process.start()
    before = None
    while process.is_alive() and (before is None or num_records(config.exp_dir) < before + num_steps):
        time.sleep(0.002)
        before = num_records(config.exp_dir) if before is None else min(before, num_records(config.exp_dir))
    time.sleep(seconds)
    process.kill()
    process.join()
    return process.exitcode == -9


@pytest.mark.slow
def test_a_run_that_is_killed_twenty_times_ends_as_one_that_is_not(corpus, tmp_path):
    """Weights, average, optimizer, records and result, to the last bit; nothing is left over of broken writes."""

    def config(name, **changes):
        settings = {"num_steps": NUM_STEPS, "save_every": 3, "valid_every": 10, "average_period": 2, **changes}
        return run_config(corpus, tmp_path / name, accumulate=2, **settings)

    train_quietly(config("whole"))
    parts = config("parts", save_every_seconds=0.03)
    generator = random.Random(0)
    assert all(killed(parts, generator.randrange(5), generator.uniform(0, 0.2)) for _ in range(20))
    assert 0 < num_records(parts.exp_dir) < NUM_STEPS
    train_quietly(parts)
    states = [checkpoint.load(tmp_path / name / f"checkpoint-{NUM_STEPS}.pt") for name in ("whole", "parts")]
    assert_same(*states)
    assert records(tmp_path / "whole") == records(tmp_path / "parts")
    assert_same(*(load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts")))
    names = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("whole", "parts")]
    assert names[0] == names[1]


def test_a_damaged_checkpoint_is_put_aside_and_the_one_before_it_used(corpus, tmp_path):
    train(run_config(corpus, tmp_path, num_steps=3))
    expected = load_file(tmp_path / "model.safetensors")
    newest = tmp_path / "checkpoint-3.pt"
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    train(run_config(corpus, tmp_path, num_steps=3))
    assert (tmp_path / "checkpoint-3.pt.damaged").exists()
    log = (tmp_path / "train.log").read_text()
    assert "checkpoint-3.pt is put aside as checkpoint-3.pt.damaged" in log
    assert "continuing from" in log and "checkpoint-2.pt" in log
    assert_same(load_file(tmp_path / "model.safetensors"), expected)


def test_what_to_resume_can_be_said(corpus, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    train(run_config(corpus, first, num_steps=4, keep_last=9, resume="never"))
    with pytest.raises(ValueError, match=r"first holds checkpoints up to step 4; choose another exp_dir, or continue"):
        train(run_config(corpus, first, resume="never"))
    with pytest.raises(ValueError, match=r"holds checkpoints up to step 4, later than .*checkpoint-2\.pt"):
        train(run_config(corpus, first, resume=str(first / "checkpoint-2.pt")))
    with pytest.raises(FileNotFoundError):
        train(run_config(corpus, second, resume=str(first / "checkpoint-3.pt")))
    train(run_config(corpus, second, num_steps=4, resume=str(first / "checkpoint-2.pt")))
    states = [checkpoint.load(folder / "checkpoint-4.pt") for folder in (first, second)]
    assert_same(*states)
    other = run_config(corpus, tmp_path / "third", resume=str(first / "checkpoint-4.pt"), average_period=3)
    with pytest.raises(ValueError, match="average_period was 1, is 3"):
        train(other)


def test_the_clock_saves_too(corpus, tmp_path, monkeypatch):
    saved = []
    save = checkpoint.save
    monkeypatch.setattr(
        checkpoint, "save", lambda exp_dir, step, state: saved.append(step) or save(exp_dir, step, state)
    )
    train(run_config(corpus, tmp_path, num_steps=6, save_every=4, save_every_seconds=1e-6))
    assert saved == [1, 2, 3, 4, 5, 6]
    assert checkpoint.steps_saved(tmp_path) == [4, 6]
    with pytest.raises(ValueError, match="save_every_seconds must be above 0, not 0"):
        train(replace(run_config(corpus, tmp_path / "x"), save_every_seconds=0.0))
