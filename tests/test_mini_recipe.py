# SPDX-License-Identifier: Apache-2.0
"""The scripts and run files of the five-minute recipe."""

import importlib.util
import re
import shlex
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import TINY

from zipvoice.audio.files import read
from zipvoice.audio.loudness import rms
from zipvoice.cli import main
from zipvoice.config.data import PrepareOptions
from zipvoice.config.strict_json import read_json
from zipvoice.config.training import RunConfig
from zipvoice.text.token_table import TokenTable

RECIPE = Path(__file__).parents[1] / "egs" / "mini"
CORPUS = RECIPE / "corpus"


def script(name):
    spec = importlib.util.spec_from_file_location(name, RECIPE / "local" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_file(name):
    return read_json(RunConfig, RECIPE / "conf" / f"{name}.json")


def test_every_run_of_the_recipe_starts_as_it_says(monkeypatch):
    runs = []
    monkeypatch.chdir(RECIPE)
    monkeypatch.setattr("zipvoice.training.run.train", lambda run: runs.append(run))
    script = re.sub(r"\\\n", " ", (RECIPE / "run.sh").read_text())
    script = script.replace("$seed", "43").replace("${pair[0]}", "exp/turns").replace("${pair[1]}", "exp/no_turns")
    for line in re.findall(r"zipvoice (train .+)", script):
        assert main(shlex.split(line)) == 0, line
    start = {run.exp_dir: (run.variant, run.init_from) for run in runs}
    assert len(start) == 11
    assert start["exp/dialog"] == start["exp/turns"] == ("zipvoice_dialog", "exp/mini")
    assert start["exp/dialog_from_scratch"] == ("zipvoice_dialog", None)
    assert start["exp/no_turns"] == start["exp/dialog_without_turns"] == ("zipvoice", "exp/mini")


# ---------------------------------------------------------------- dialogues

join_dialogues = script("join_dialogues")


@pytest.fixture(scope="module")
def dialogues(tmp_path_factory):
    """The folder of two conversations of real sentences."""
    folder = tmp_path_factory.mktemp("dialogues")
    join_dialogues.join(CORPUS / "dev.tsv", CORPUS / "lj_heldout.tsv", folder / "all", steps=[5], number=2)
    return folder


def listed(folder, kind):
    rows = [line.split("\t") for line in (folder / f"all-{kind}.tsv").read_text().splitlines()]
    return [(key, text, read(folder / path)) for key, text, path in rows]


def test_sentences_are_turns_of_alternating_speakers(dialogues):
    texts = [text for _, text, _ in listed(dialogues, "mono")]
    sentences = {name: [line.split("\t")[1] for line in (CORPUS / f"{name}.tsv").read_text().splitlines()]
                 for name in ("dev", "lj_heldout")}  # fmt: skip
    first, second = sentences["dev"], sentences["lj_heldout"]
    assert texts[1] == f"[S1]{first[1]}[S2]{second[0]}[S1]{first[(1 + 10) % len(first)]}[S2]{second[4]}."
    assert [text for _, text, _ in listed(dialogues, "stereo")] == texts


def test_each_speaker_has_a_channel_and_both_are_equally_loud(dialogues):
    speakers = [join_dialogues.read_sentences(CORPUS / f"{name}.tsv") for name in ("dev", "lj_heldout")]
    turns = [speakers[0][0], speakers[1][5], speakers[0][10], speakers[1][3]]
    for turn in turns:
        assert rms(turn.audio) == pytest.approx(0.1)
    (_, _, mono), (_, _, stereo) = listed(dialogues, "mono")[0], listed(dialogues, "stereo")[0]
    start = 0
    for k, turn in enumerate(turns):
        span = slice(start, start + turn.audio.num_samples)
        assert np.array_equal(stereo.samples[k % 2, span], mono.samples[0, span])
        np.testing.assert_allclose(mono.samples[0, span], turn.audio.samples[0], atol=2e-5, rtol=0)
        assert stereo.samples[1 - k % 2, span].std() == pytest.approx(1e-4, rel=0.05)
        start = span.stop
    assert start == stereo.num_samples == mono.num_samples


def test_other_steps_make_other_exchanges():
    speakers = [[join_dialogues.Sentence(f"{speaker}{n}", "", None) for n in range(12 * speaker)] for speaker in (1, 2)]

    def exchanges(step):
        dialogues = [join_dialogues.turns(speakers, i, step) for i in range(24)]
        return {(a.name, b.name) for turns in dialogues for a, b in pairwise(turns)}

    assert len(exchanges(1)) == 48
    assert not exchanges(1) & exchanges(5) and not (exchanges(1) | exchanges(5)) & exchanges(7)


def test_tokens_are_added_at_the_end(tmp_path):
    TokenTable(("_", "b", "a")).write(tmp_path / "tokens.txt")
    (tmp_path / "list.tsv").write_text("one\tab, ca\tone.wav\n", encoding="utf-8")
    script("add_tokens").main(tmp_path / "tokens.txt", tmp_path / "longer.txt", [tmp_path / "list.tsv"])
    assert TokenTable.read(tmp_path / "longer.txt").tokens == ("_", "b", "a", " ", ",", "c", "[S1]", "[S2]")


# ---------------------------------------------------------------- figures

measure = script("measure")


def test_distance_is_the_mean_of_frames_under_the_mask():
    x = torch.zeros(1, 3, 10)
    y = torch.tensor([1.0, 3.0, 50.0])[None, :, None].expand(1, 3, 10)
    mask = torch.tensor([[True, True, False]])
    assert measure.distance([x], [y], [(None, mask)], scale=0.5) == pytest.approx(measure.DB_PER_NAT * 4)


def test_levels_of_the_louder_and_the_quieter_channel():
    one = torch.cat([torch.full((1, 4, 10), 1.0), torch.full((1, 4, 10), -2.0)], dim=2)
    other = torch.cat([torch.full((1, 2, 10), -3.0), torch.full((1, 2, 10), 4.0)], dim=2)
    masks = [torch.tensor([[False, True, True, True]]), torch.tensor([[True, False]])]
    louder, quieter = measure.levels([one, other], masks, scale=0.5)
    db = 2 * measure.DB_PER_NAT
    torch.testing.assert_close(louder, db * torch.tensor([1.0, 1.0, 1.0, 4.0]))
    torch.testing.assert_close(quieter, db * torch.tensor([-2.0, -2.0, -2.0, -3.0]))
    assert measure.speech_threshold([one, other], masks, scale=0.5) == pytest.approx(db - 30)


# ---------------------------------------------------------------- run files


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("distill_1", "mini"),
        ("distill_2", "distill_1"),
        ("mean_flow", "mini"),
        ("dialog", "mini"),
        ("stereo", "dialog"),
    ],
)
def test_each_run_starts_from_the_one_before(name, source):
    run, before = run_file(name), run_file(source)
    assert (run.init_from or run.objective.teacher) == before.exp_dir
    assert (run.model, run.feature, run.tokenizer) == (before.model, before.feature, before.tokenizer)
    assert run.data.stereo == (run.variant == "zipvoice_dialog_stereo")


@pytest.mark.slow
def test_the_curriculum_goes_through(tmp_path, monkeypatch):
    """All runs with a tiny model, two steps each; the figures of the recordings themselves are known."""
    pytest.importorskip("lhotse")
    from zipvoice.data.prepare import prepare
    from zipvoice.training.run import train

    monkeypatch.chdir(tmp_path)
    texts = (CORPUS / "dev.tsv").read_text(encoding="utf-8")
    TokenTable(("_", *sorted(set(texts) - set("\t\n_")))).write("data/tokens.txt")
    script("add_tokens").main(Path("data/tokens.txt"), Path("data/dialog_tokens.txt"), CORPUS.glob("*.tsv"))
    dialogues = tmp_path / "data" / "dialog"
    join_dialogues.join(CORPUS / "dev.tsv", CORPUS / "lj_train.tsv", dialogues, steps=[7], number=2)
    for subset in ("train", "dev", "heldout"):
        for source, prefix in (
            (str(CORPUS / "dev.tsv"), "mini"),
            (f"{dialogues}-mono.tsv", "dialog_mono"),
            (f"{dialogues}-stereo.tsv", "dialog_stereo"),
        ):
            options = PrepareOptions(source, "data", prefix, subset, features=True, storage="numpy_files")
            prepare(replace(options, stereo=prefix == "dialog_stereo"))
    for name in ("mini", "distill_1", "distill_2", "mean_flow", "dialog", "stereo"):
        train(replace(run_file(name), model=TINY, num_steps=2, log_every=1, average_period=1))

    monkeypatch.setattr(measure, "NUM_STEPS", 4)
    students = map(Path, ("exp/distill_1", "exp/distill_2"))
    _, _, *found = measure.report_distilled(Path("exp/mini"), *students)
    assert len(found) == 2 * 3 * 2  # of recordings, models and time shifts
    assert found[0].split() == ["training", "exp/mini", "4", "0.5", "0.00", "0.00"]  # no distance to itself
    monkeypatch.setattr(measure, "EXACT_STEPS", 1)
    _, _, base, one_step = measure.report_few_steps(Path("exp/mini"), Path("exp/mean_flow"))
    assert base.split()[0] == "exp/mini" and one_step.split()[0] == "exp/mean_flow"
    assert len(base.split()) == len(one_step.split()) == 1 + len(measure.FEWEST_STEPS)
    twins = [Path("exp/dialog")] * 2
    assert list(measure.report_turns(*twins))[1].split() == ["exp/dialog", "0.0000", "0.0000"]
    _, recordings, model = measure.report_stereo(Path("exp/stereo"))
    name, share, *_ = recordings.split()
    assert name == "recordings"
    assert float(share.rstrip("%")) < 1  # where turns meet, a frame reaches into both
    assert model.startswith("exp/stereo ")
