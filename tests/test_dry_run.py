# SPDX-License-Identifier: Apache-2.0
"""Looking into a run on six recordings."""

import json
import math
import shlex
from dataclasses import replace
from unittest.mock import Mock

import pytest
import torch
from test_run import corpus, run_config  # noqa: F401

from zipvoice.cli import main
from zipvoice.config.strict_json import read_json, write_json
from zipvoice.config.training import RunConfig
from zipvoice.training import run
from zipvoice.training.distributed import World
from zipvoice.training.observation import memory
from zipvoice.training.run import at_next_step, train


@pytest.fixture(scope="module")
def halfway(corpus, tmp_path_factory):  # noqa: F811
    """A run that has come to its second step, and its file."""
    folder = tmp_path_factory.mktemp("run")
    config = run_config(corpus, folder / "exp", num_steps=2)
    config = replace(config, data=replace(config.data, max_len=4.0))
    train(config)
    write_json(replace(config, num_steps=3), folder / "run.json")
    return replace(config, num_steps=3), folder / "run.json"


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_dry_run_sees_what_the_next_step_of_training_sees(halfway):
    config, path = halfway
    before = content(path.parent)
    trainer = at_next_step(config)
    loss = trainer.objective(trainer.model.train(), next(trainer.batches), trainer.generator)
    assert trainer.step == 2 and content(path.parent) == before
    train(config)
    records = [json.loads(line) for line in (path.parent / "exp" / "log.jsonl").read_text().splitlines()]
    (third,) = [record for record in records if (record["kind"], record["step"]) == ("train", 3)]
    assert third["loss"] == pytest.approx(loss.value.item(), rel=1e-6)


@pytest.mark.parametrize(("device", "expected"), [(None, "cuda:0"), ("cuda:1", "cuda:1"), ("cpu", "cpu")])
def test_a_dry_run_is_one_process_on_its_device(halfway, monkeypatch, device, expected):
    worlds = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(run, "assemble", lambda _, world, found: worlds.append(world) or Mock())
    at_next_step(replace(halfway[0], device=device))
    assert worlds == [World(0, 1, torch.device(expected))]


@pytest.mark.parametrize(
    ("what", "shown"),
    [
        ("finite", "all values are finite in 2 batches\n"),
        ("memory", "the longest permitted utterances: 1 utterance up to 4.0 s, 4 s with padding: peak "),
    ],
)
def test_the_command_finds_a_healthy_run_healthy(what, shown, halfway, capsys):
    assert main(["diagnose", what, str(halfway[1]), "--num-batches", "2"]) == 0
    assert shown in capsys.readouterr().out


@pytest.mark.parametrize(("limit", "tries", "status"), [(1e6, False, 1), (math.inf, True, 0)])
def test_batches_of_the_run_are_tried_if_they_may_fit(halfway, monkeypatch, limit, tries, status):
    """Under a limit that even one utterance exceeds, more would leave the machine without memory."""
    tried = []
    monkeypatch.setattr(memory, "memory_limit", lambda device: limit)
    monkeypatch.setattr(memory, "largest_duration", lambda *_: None)
    monkeypatch.setattr(memory, "scan", lambda attempt, batches: tried.extend(batches) or [])
    assert main(["diagnose", "memory", str(halfway[1]), "--num-batches", "1"]) == status
    assert bool(tried) == tries


def test_a_run_with_other_settings_is_refused(halfway, capsys):
    arguments = ["diagnose", "statistics", str(halfway[1]), "--num-batches", "1"]
    assert main([*arguments, "--model.fm-decoder-feedforward-dim", "8"]) == 1
    assert "holds checkpoints of a run with other settings (model was" in capsys.readouterr().err


def test_the_command_shows_statistics_of_chosen_modules(halfway, capsys):
    arguments = ["statistics", str(halfway[1]), "--num-batches", "1", "--modules", "embed.weight"]
    assert main(["diagnose", *arguments]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0][:2] == ["mean", "|mean|"]
    assert [row[:-12] for row in rows[1:]] == [["embed.weight", "weight"], ["embed.weight", "weight", "gradient"]]
    assert main(["diagnose", *arguments[:-1], "nosuch"]) == 1
    assert "no module has 'nosuch' in its name (--modules); there are " in capsys.readouterr().err


def test_settings_of_the_run_can_be_given_too(halfway, capsys):
    assert main(["diagnose", "memory", str(halfway[1]), "--data.max-len", "3", "--num-batches", "1"]) == 0
    assert "1 utterance up to 3.0 s, 3 s with padding" in capsys.readouterr().out


def test_the_largest_batches_that_fit_are_told_and_written(halfway, tmp_path, capsys):
    """Then training takes them, with the command that is printed."""
    path, fits = halfway[1], tmp_path / "that fits.json"
    run = read_json(RunConfig, path)
    assert main(["diagnose", "memory", str(path), "--num-batches", "1", "-o", str(fits)]) == 0
    shown = capsys.readouterr().out
    longest = run.data.max_len
    largest = int(10 * run.data.max_duration / longest) * longest  # beyond that nothing is tried, and memory is ample
    assert f"the run's data.max_duration, {run.data.max_duration:g} s, fits\n" in shown
    assert f"the largest data.max_duration that fits: {largest:g} s (zipvoice train '{fits}')\n" in shown
    assert read_json(RunConfig, fits) == replace(run, data=replace(run.data, max_duration=largest))
    arguments = shlex.split(shown.rpartition("(zipvoice ")[2].rstrip(")\n"))
    assert main([*arguments, "--exp-dir", str(tmp_path / "exp"), "--num-steps", "1"]) == 0


def test_a_run_that_does_not_fit_is_told_with_what_helps(halfway, capsys):
    """Far too little memory: not even one utterance; nothing larger is tried."""
    arguments = ["diagnose", "memory", str(halfway[1]), "--memory", "0.001"]
    assert main([*arguments, "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out) == {"max_duration": None, "fits": False}
    assert err.count("OUT OF MEMORY") == 1
    assert "not even one utterance of 4 s fits. Lower data.max_duration and raise accumulate as much" in err


def test_memory_that_is_none_is_a_slip(halfway, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["diagnose", "memory", str(halfway[1]), "--memory", "0"])
    assert "--memory must be above 0, not 0" in capsys.readouterr().err
