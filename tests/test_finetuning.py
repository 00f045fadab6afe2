# SPDX-License-Identifier: Apache-2.0
"""Runs that go on from another model: settings, tokens and weights they take over, adapters, and what is forgotten."""

import re
import runpy
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import TINY, make_model

from zipvoice import cli
from zipvoice.audio.files import read
from zipvoice.config.data import DataConfig, ManifestConfig, PrepareOptions
from zipvoice.config.model import FeatureConfig
from zipvoice.config.model_file import ModelFile
from zipvoice.config.strict_json import read_json
from zipvoice.config.synthesis import SamplingConfig
from zipvoice.config.text import TokenizerConfig
from zipvoice.config.training import LoraConfig, MergeOptions, ObjectiveConfig, OptimizerConfig, RunConfig
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.pretrained import load_pretrained, save_pretrained
from zipvoice.text.token_table import TokenTable
from zipvoice.text.vocabularies import corpus_table

pytest.importorskip("lhotse")
pytest.importorskip("peft")
from zipvoice.data.prepare import prepare
from zipvoice.training import checkpoint, run
from zipvoice.training.lora import merge
from zipvoice.training.run import ModelRun, train

CORPUS = Path(__file__).parent / "data" / "corpus"
LORA = LoraConfig(rank=2, alpha=4.0, dropout=0.1)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A model directory with random weights, whose tokens lack a letter of the recordings' texts."""
    folder = tmp_path_factory.mktemp("base")
    make_model(folder)
    whole = load_pretrained(folder)
    table = TokenTable(tuple(token for token in whole.table.tokens if token != "w"))
    kept = [number for number, token in enumerate(whole.table.tokens) if token != "w"]
    weights = whole.model.state_dict()
    file = ModelFile(TINY, whole.file.feature, "zipvoice", TokenizerConfig("simple"), SamplingConfig(4, 0.5))
    save_pretrained(folder, {**weights, "embed.weight": weights["embed.weight"][kept]}, file, table)
    return folder


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """The manifest of six recordings."""
    folder = tmp_path_factory.mktemp("corpus")
    prepare(PrepareOptions(str(CORPUS / "utterances.tsv"), str(folder), features=True, storage="numpy_files"))
    return str(next(folder.glob("*_cuts_*.jsonl.gz")))


def run_config(base, manifest, exp_dir, **changes):
    manifests = (ManifestConfig(manifest),)
    data = DataConfig(manifests, manifests, max_duration=3.0, min_len=0.1, num_workers=0, unknown_tokens="add")
    config = RunConfig(
        exp_dir=str(exp_dir),
        init_from=str(base),
        data=data,
        optim=OptimizerConfig(base_lr=0.01, schedule="fixed"),
        num_steps=4,
        precision="fp32",
        average_period=1,
        valid_every=2,
        save_every=2,
        keep_last=2,
        device="cpu",
    )
    return replace(config, **changes)


@pytest.fixture(scope="module")
def adapted(base, manifest, tmp_path_factory):
    """The folder of a run that has trained adapters."""
    exp_dir = tmp_path_factory.mktemp("adapted")
    assert train(run_config(base, manifest, exp_dir, lora=LORA)) == "finished"
    return exp_dir


# ---------------------------------------------------------------- what is taken over


def test_what_is_left_open_is_as_in_the_model_to_start_from(base, adapted):
    described, source = read_json(RunConfig, adapted / "run.json"), load_pretrained(base)
    assert (described.model, described.feature) == (TINY, source.file.feature)
    assert described.tokenizer == TokenizerConfig("simple")
    assert load_pretrained(adapted).file == source.file


def test_what_suits_a_model_suits_those_of_its_variant_alone(base, manifest, tmp_path):
    alike, dialogue = (
        ModelRun(run_config(base, manifest, tmp_path, variant=variant)).file
        for variant in ("zipvoice", "zipvoice_dialog")
    )
    assert alike.sampling == SamplingConfig(4, 0.5) and dialogue.sampling is None


def test_released_models_are_known_by_name(base, manifest, tmp_path, monkeypatch):
    monkeypatch.setattr("zipvoice.pretrained.download", lambda repository, folder, *rest: base)
    frozen = OptimizerConfig(freeze=("fm_decoder", "text_encoder"))
    train(run_config("zipvoice", manifest, tmp_path, optim=frozen, num_steps=1))
    before, after = load_file(base / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before if name != "embed.weight")


def test_tokens_of_the_data_are_added_and_told(base, adapted):
    before, after = load_pretrained(base).table, load_pretrained(adapted).table
    assert after.tokens[: len(before)] == before.tokens
    assert after.tokens[len(before) :] == ("w",)
    texts = [line.split("\t")[1] for line in (CORPUS / "utterances.tsv").read_text(encoding="utf-8").splitlines()]
    told = f"new tokens, whose embeddings start at random: 'w' {len(before)} ({''.join(texts).count('w')} times)"
    assert told in (adapted / "train.log").read_text(encoding="utf-8")


def test_recordings_that_are_validated_on_too_are_told(adapted):
    log = (adapted / "train.log").read_text(encoding="utf-8")
    assert log.count("6 of the 6 utterances in ") == log.count("are trained on too, such as ") == 1


def test_unknown_tokens_are_refused_unless_they_are_to_be_added(base, manifest, tmp_path):
    config = run_config(base, manifest, tmp_path)
    with pytest.raises(ValueError, match="the model has no token for 'w'"):
        train(replace(config, data=replace(config.data, unknown_tokens="error")))


def test_parts_are_frozen_by_pattern(base, manifest, tmp_path):
    optim = OptimizerConfig(base_lr=0.01, schedule="fixed", freeze=("text_encoder.*.feed_forward?", "*.bias"))
    train(run_config(base, manifest, tmp_path, optim=optim, num_steps=2))
    before, after = load_file(base / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    unchanged = {name for name in before if torch.equal(before[name], after[name])}
    frozen = {name for name in before if name.endswith(".bias") or (".feed_forward" in name and "text_" in name)}
    assert unchanged == frozen
    assert "parameters are trained: " in (tmp_path / "train.log").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"init_from": None, "tokens": "tokens.txt"}, "init_from must name a model of the same variant"),
        ({"optim": OptimizerConfig(freeze=("embed",))}, "say where with lora.targets, without optim.freeze"),
        ({"lora": replace(LORA, targets=("decoder",))}, "no part 'decoder' with linear layers to adapt; did you mean"),
    ],
)
def test_adapters_where_they_do_not_fit_are_refused(base, manifest, tmp_path, changes, message):
    if "tokens" in changes:
        changes = {**changes, "tokens": str(base / "tokens.txt"), "model": TINY, "tokenizer": TokenizerConfig("simple")}
    with pytest.raises(ValueError, match=message):
        train(run_config(base, manifest, tmp_path, **{"lora": LORA, **changes}))


def test_adapters_do_not_learn_from_a_teacher(manifest, tmp_path):
    make_model(tmp_path / "first", "zipvoice_distill")
    objective = ObjectiveConfig(teacher=str(tmp_path / "first"))
    changes = {"init_from": None, "variant": "zipvoice_distill", "objective": objective, "lora": LORA}
    with pytest.raises(ValueError, match=r"lora\.rank is for fine-tuning"):
        train(run_config(None, manifest, tmp_path / "exp", **changes))


def test_a_distilled_model_is_not_fine_tuned(manifest, tmp_path):
    make_model(tmp_path / "distilled", "zipvoice_distill")
    with pytest.raises(ValueError, match=r"distilled is a distilled model.*fine-tune the base model, and distil"):
        train(run_config(tmp_path / "distilled", manifest, tmp_path / "exp"))


def test_a_run_from_scratch_needs_a_token_table(manifest, tmp_path):
    with pytest.raises(ValueError, match=r"from scratch needs a token table: give the path of a tokens.txt"):
        train(run_config(None, manifest, tmp_path, init_from=None))


# ---------------------------------------------------------------- adapters in a run


def test_a_run_with_adapters_ends_with_a_plain_model(base, adapted):
    """Which is the base model with the mean of the adapters, and what the adapter alone makes of the base model."""
    before, after = load_file(base / "model.safetensors"), load_file(adapted / "model.safetensors")
    changed = {name for name in before if name != "embed.weight" and not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.endswith(".weight") and ".encoders." in name for name in changed)
    assert torch.equal(after["embed.weight"][:-1], before["embed.weight"])
    state = checkpoint.load(checkpoint.checkpoint_path(adapted, 4))["model"]
    a, b = (next(name for name in state if f"lora_{matrix}" in name) for matrix in "AB")
    assert state[a].abs().max() > 0
    assert state[b].abs().max() > 0


def test_the_adapter_alone_makes_the_same_model_of_the_base_model(adapted, tmp_path):
    merge(MergeOptions(str(adapted / "adapter"), str(tmp_path)))
    whole, merged_later = load_file(adapted / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    for name, value in whole.items():
        torch.testing.assert_close(merged_later[name], value, rtol=1e-5, atol=1e-7)
    assert load_pretrained(tmp_path).table == load_pretrained(adapted).table


def test_the_best_weights_are_plain_too(adapted):
    assert load_pretrained(adapted, weights="best-valid-loss.safetensors").variant == "zipvoice"


def test_a_run_with_adapters_continues_by_itself(base, manifest, adapted, tmp_path):
    train(run_config(base, manifest, tmp_path, lora=LORA, num_steps=2))
    assert train(run_config(base, manifest, tmp_path, lora=LORA)) == "finished"
    state, other = (checkpoint.load(checkpoint.checkpoint_path(folder, 4)) for folder in (adapted, tmp_path))
    for part in ("model", "model_avg"):
        assert state[part].keys() == other[part].keys()
        assert all(torch.equal(state[part][name], other[part][name]) for name in state[part]), part
    whole, parts = load_file(adapted / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_adapters_cannot_change_in_a_run(base, manifest, adapted):
    with pytest.raises(ValueError, match=r"checkpoints of a run with other settings.*lora was"):
        train(run_config(base, manifest, adapted, lora=replace(LORA, rank=3)))


# ---------------------------------------------------------------- the command


def test_the_command_names_data_and_replay(monkeypatch):
    runs = []
    monkeypatch.setattr(run, "train", runs.append)
    arguments = "finetune zipvoice --train a.jsonl.gz b.jsonl.gz --dev c.jsonl.gz --replay d.jsonl.gz --lora.rank 8"
    assert cli.main(arguments.split()) == 0
    (config,) = runs
    assert config.init_from == "zipvoice"
    assert [item.path for item in config.data.train] == ["a.jsonl.gz", "b.jsonl.gz", "d.jsonl.gz"]
    assert [item.replay for item in config.data.train] == [None, None, 0.2]
    assert [item.path for item in config.data.dev] == ["c.jsonl.gz"]
    assert (config.optim.base_lr, config.optim.schedule, config.num_steps) == (0.0001, "fixed", 10_000)
    assert (config.lora.rank, config.sample_every) == (8, 1000)


def test_without_validation_data_no_samples_are_made(monkeypatch):
    runs = []
    monkeypatch.setattr(run, "train", runs.append)
    assert cli.main(["finetune", "zipvoice", "--train", "a.jsonl.gz"]) == 0
    assert runs[0].sample_every == 0
    assert cli.main(["finetune", "zipvoice", "--train", "a.jsonl.gz", "--sample-every", "50"]) == 0
    assert runs[1].sample_every == 50  # was asked for: training tells what it lacks


def test_the_merge_command_writes_a_model(adapted, tmp_path, capsys):
    assert cli.main(["merge", "--adapter", str(adapted / "adapter"), "--output-dir", str(tmp_path / "model")]) == 0
    assert f"wrote {tmp_path / 'model'}" in capsys.readouterr().err
    assert load_pretrained(tmp_path / "model").variant == "zipvoice"
    assert cli.main(["merge", "--adapter", str(tmp_path), "--output-dir", str(tmp_path / "x")]) == 1
    assert "holds no adapter" in capsys.readouterr().err


# ---------------------------------------------------------------- the walk-through

EGS = Path(__file__).parents[1] / "egs"


def told_commands() -> list[list[str]]:
    """The commands of the walk-through's page."""
    page = (EGS / "finetune" / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line) for line in lines]


def test_the_page_tells_what_the_script_runs():
    done = subprocess.run(
        ["bash", str(EGS / "finetune" / "run.sh"), "--dry-run", "--stage", "1", "--stop-stage", "4"],
        capture_output=True,
        text=True,
        check=True,
    )
    run_commands = [shlex.split(line) for line in done.stdout.splitlines()]
    told = [sorted(command) for command in told_commands()]
    assert [sorted(command) in told for command in run_commands if command[0] == "zipvoice"] == [True] * 8


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of the walk-through beside a five-minute recipe that has made a tiny model."""
    mini = tmp_path / "mini"
    (mini / "data").mkdir(parents=True)
    (mini / "corpus").symlink_to(EGS / "mini" / "corpus")
    (mini / "data" / "audio").symlink_to(EGS / "mini" / "corpus" / "audio")
    texts = []
    for name in ("train.tsv", "dev.tsv", "heldout.tsv"):
        shutil.copy(EGS / "mini" / "corpus" / name, mini / "data")
        texts += [line.split("\t")[1] for line in (mini / "data" / name).read_text(encoding="utf-8").splitlines()]
    table = corpus_table(map(list, texts))
    model = ZipVoice(TINY, table.vocabulary)
    file = ModelFile(TINY, FeatureConfig(), "zipvoice", TokenizerConfig("simple"))
    save_pretrained(mini / "exp" / "mini", model.state_dict(), file, table)
    (tmp_path / "finetune").mkdir()
    monkeypatch.chdir(tmp_path / "finetune")
    return tmp_path / "finetune"


@pytest.mark.slow
def test_the_walk_through_works_as_written(folder, capsys):
    """All commands of the page, with a tiny model for two steps; the messages it shows are those that come."""
    for _, *arguments in told_commands():
        if "--num-steps" in arguments:
            arguments[arguments.index("--num-steps") + 1] = "2"
        assert cli.main(arguments) == 0
    told = re.search(r"^new tokens.*$", (EGS / "finetune" / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert told
    assert told[0] in (folder / "exp" / "lj" / "train.log").read_text(encoding="utf-8")
    assert 0.5 < read(folder / "exp" / "lj.wav").seconds < 5
    adapted, again = (load_file(folder / "exp" / name / "model.safetensors") for name in ("lj_lora", "lj_again"))
    for name, value in adapted.items():
        torch.testing.assert_close(again[name], value, rtol=1e-5, atol=1e-7)
    capsys.readouterr()
    models = ["../mini/exp/mini", "exp/lj_lora", "exp/lj_again"]
    runpy.run_path(str(EGS / "finetune" / "local" / "losses.py"))["main"]([Path(model) for model in models])
    _, *rows = (line.split() for line in capsys.readouterr().out.splitlines())
    assert [row[0] for row in rows] == models
    assert rows[1][1:] == rows[2][1:]
    assert rows[0][1:] != rows[1][1:]
