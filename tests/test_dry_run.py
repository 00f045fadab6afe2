# SPDX-License-Identifier: Apache-2.0
"""Looking into a run on six recordings."""

import json
from dataclasses import replace

import pytest
from test_run import corpus, run_config  # noqa: F401

from zipvoice.cli import main
from zipvoice.config.strict_json import write_json
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


@pytest.mark.parametrize(
    ("what", "shown"),
    [
        ("finite", "all values are finite in 2 batches\n"),
        ("memory", "the longest permitted utterances: 1 utterance up to 4.0 s, 4 s with padding: peak "),
    ],
)
def test_the_command_finds_a_healthy_run_healthy(what, shown, halfway, capsys):
    assert main(["diagnose", what, str(halfway[1]), "--num-batches", "2"]) == 0
    assert capsys.readouterr().out.startswith(shown)


def test_the_command_shows_statistics_of_chosen_modules(halfway, capsys):
    arguments = ["statistics", str(halfway[1]), "--num-batches", "1", "--modules", "embed.weight"]
    assert main(["diagnose", *arguments]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0][:2] == ["mean", "|mean|"]
    assert [row[:-12] for row in rows[1:]] == [["embed.weight", "weight"], ["embed.weight", "weight", "gradient"]]


def test_settings_of_the_run_can_be_given_too(halfway, capsys):
    assert main(["diagnose", "memory", str(halfway[1]), "--data.max-len", "3", "--num-batches", "1"]) == 0
    assert "1 utterance up to 3.0 s, 3 s with padding" in capsys.readouterr().out
