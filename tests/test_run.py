# SPDX-License-Identifier: Apache-2.0
"""Whole training runs on six recordings."""

import json
import logging
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from corpus_runs import CORPUS, LETTERS, SIZES, make_corpus, run_config
from safetensors.torch import load_file, save_file

from zipvoice.cli import main
from zipvoice.config.data import DataConfig, PrepareOptions
from zipvoice.config.model_file import ModelFile
from zipvoice.config.strict_json import read_json, write_json
from zipvoice.config.synthesis import PUBLISHED_SAMPLING, SamplingConfig
from zipvoice.config.text import TokenizerConfig
from zipvoice.config.training import ObjectiveConfig, OptimizerConfig, RunConfig
from zipvoice.data.prepare import prepare
from zipvoice.model.solver import time_grid
from zipvoice.pretrained import load_pretrained
from zipvoice.text.token_table import TokenTable
from zipvoice.training import checkpoint, run
from zipvoice.training.objectives import BASE_MASK, DIALOG_MASK
from zipvoice.training.run import train
from zipvoice.training.select import build_objective
from zipvoice.training.settings import check_unchanged
from zipvoice.training.trainer import Trainer

SAMPLING = PUBLISHED_SAMPLING["zipvoice_distill"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    make_corpus(folder)
    return folder


def distillation(corpus, exp_dir, teacher, **changes):
    objective = ObjectiveConfig(teacher=str(teacher), ema_decay=0.9)
    return run_config(corpus, exp_dir, variant="zipvoice_distill", objective=objective, **changes)


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory):
    """The folder of a run that went through."""
    exp_dir = tmp_path_factory.mktemp("finished")
    assert train(run_config(corpus, exp_dir)) == "finished"
    return exp_dir


def test_the_folder_is_a_model_directory(corpus, finished):
    pretrained = load_pretrained(finished)
    assert pretrained.variant == "zipvoice"
    assert pretrained.file.model == SIZES
    assert pretrained.file.tokenizer == TokenizerConfig("simple")
    assert pretrained.table == TokenTable(LETTERS)
    # The mean of the weights after steps 5 and 6: twice the mean, less what is known of the last.
    states = {step: checkpoint.load(checkpoint.checkpoint_path(finished, step)) for step in (4, 6)}
    name = "fm_decoder.in_proj.weight"
    sums = {step: state["model_avg"][name] * step for step, state in states.items()}
    torch.testing.assert_close(load_file(finished / "model.safetensors")[name], ((sums[6] - sums[4]) / 2).float())


def test_the_run_describes_itself(corpus, finished):
    assert read_json(RunConfig, finished / "run.json") == run_config(corpus, finished)
    assert checkpoint.steps_saved(finished) == [4, 6]
    records = [json.loads(line) for line in (finished / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records if record["kind"] == "train"] == [1, 2, 3, 4, 5, 6]
    assert [record["step"] for record in records if record["kind"] == "valid"] == [0, 3, 6]
    assert "step 6: validation loss" in (finished / "train.log").read_text()
    assert list((finished / "tensorboard").glob("events.*"))


def test_a_run_continues_by_itself(corpus, finished, tmp_path):
    train(run_config(corpus, tmp_path, num_steps=3))
    assert train(run_config(corpus, tmp_path)) == "finished"
    whole, parts = load_file(finished / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    state, other = (checkpoint.load(checkpoint.checkpoint_path(folder, 6)) for folder in (finished, tmp_path))
    assert all(torch.equal(state["model"][name], other["model"][name]) for name in whole)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert "continuing from" in (tmp_path / "train.log").read_text()


@pytest.mark.parametrize(("part", "key"), [("bad_batches", None), ("data", "world_size")])
def test_a_checkpoint_that_lacks_something_is_refused(corpus, finished, tmp_path, part, key):
    state = checkpoint.load(checkpoint.checkpoint_path(finished, 4))
    del (state if key is None else state[part])[key or part]
    for name in ("run.json", "tokens.txt"):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    checkpoint.save(tmp_path, 4, state)
    with pytest.raises(ValueError, match=f"the checkpoint of step 4 has no '{key or part}'.*init_from"):
        train(run_config(corpus, tmp_path))


def test_less_memory_changes_nothing(corpus, finished, tmp_path):
    train(run_config(corpus, tmp_path, activation_checkpointing=True))
    expected, weights = (load_file(folder / "model.safetensors") for folder in (finished, tmp_path))
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_code_is_compiled_on_demand(corpus, tmp_path, monkeypatch):
    compiled = []
    monkeypatch.setattr(run, "compile_elementwise", lambda device: compiled.append(device.type))
    train(run_config(corpus, tmp_path, num_steps=1, compile=True))
    assert compiled == ["cpu"]


def test_an_interrupted_run_ends_with_the_status_of_interrupts(corpus, tmp_path, monkeypatch):
    write_json(run_config(corpus, tmp_path / "exp"), tmp_path / "run.json")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_stop_reason", lambda trainer, *_: "interrupted" if trainer.step == 1 else None)
        assert main(["train", str(tmp_path / "run.json")]) == 130
    assert main(["train", str(tmp_path / "run.json"), "--num-steps", "2"]) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": replace(SIZES, fm_decoder_dim=32)}, "model was"),
        ({"tokenizer": TokenizerConfig("libritts")}, "tokenizer was"),
        ({"average_period": 3}, "average_period was 1, is 3"),
        ({"optim": OptimizerConfig(freeze=("embed",))}, r"optim\.freeze was \[\], is \['embed'\]"),
        ({"tokens": "dialog_tokens.txt"}, "dialog_tokens.txt differs from"),
    ],
)
def test_what_cannot_change_is_refused(corpus, finished, changes, message):
    if "tokens" in changes:
        changes = {"tokens": str(corpus / changes["tokens"])}
    before = (finished / "run.json").read_text()
    with pytest.raises(ValueError, match=f"checkpoints of a run with other settings.*{message}"):
        train(run_config(corpus, finished, **changes))
    assert (finished / "run.json").read_text() == before


def test_settings_that_have_changed_are_told_where_a_run_goes_on(corpus, tmp_path):
    train(run_config(corpus, tmp_path, num_steps=3))
    assert "settings have changed" not in (tmp_path / "train.log").read_text()
    train(run_config(corpus, tmp_path, num_steps=4, seed=7))
    assert "settings have changed since" in (log := (tmp_path / "train.log").read_text())
    assert "run.json was written: seed was " in log and ", is 7\n" in log


def test_a_setting_that_is_new_or_gone_is_one_that_differs(tmp_path):
    """Those that are not set are not written."""
    plain = RunConfig(exp_dir=str(tmp_path))
    taught = replace(plain, objective=ObjectiveConfig(teacher="t", ema_decay=0.5))
    for before, now, words in (
        (
            plain,
            taught,
            r"objective was \{'ema_decay': 0.9999, 'teacher': None\}, is \{'ema_decay': 0.5, 'teacher': 't'\}",
        ),
        (
            taught,
            plain,
            r"objective was \{'teacher': 't', 'ema_decay': 0.5\}, is \{'teacher': None, 'ema_decay': 0.9999\}",
        ),
    ):
        write_json(before, tmp_path / "run.json")
        with pytest.raises(ValueError, match=words):
            check_unchanged(now, ("model", "objective"), tmp_path, [])
        with pytest.raises(ValueError, match=r"settings \(objective\.teacher was (None, is t|t, is None)\)"):
            check_unchanged(now, ("objective.teacher", "optim.freeze"), tmp_path, [])
        check_unchanged(now, ("model", "data"), tmp_path, [])


def test_fine_tuning_starts_from_the_given_weights(corpus, finished, tmp_path):
    optim = OptimizerConfig(base_lr=0.0001, schedule="fixed", freeze=("text_encoder",))
    train(run_config(corpus, tmp_path, init_from=str(finished), optim=optim, num_steps=2))
    before, after = load_file(finished / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    for name in before:
        assert torch.equal(before[name], after[name]) == name.startswith("text_encoder"), name
        torch.testing.assert_close(before[name], after[name], atol=1e-3, rtol=1e-2)


def test_samples_are_made_as_the_model_is_used(corpus, finished, tmp_path):
    """By the sampling in the model.json that training starts from; else as the released model of the variant."""
    own = SamplingConfig(4, 2.5, t_shift=0.9, temperature=0.6)
    shutil.copytree(finished, tmp_path / "source")
    write_json(replace(read_json(ModelFile, finished / "model.json"), sampling=own), tmp_path / "source" / "model.json")
    tuned = run_config(corpus, tmp_path / "tuned", init_from=str(tmp_path / "source"))
    assert run.ModelRun(tuned).sampling == own
    assert run.ModelRun(run_config(corpus, tmp_path / "scratch")).sampling == PUBLISHED_SAMPLING["zipvoice"]
    dialog = replace(tuned, variant="zipvoice_dialog")
    assert run.ModelRun(dialog).sampling == PUBLISHED_SAMPLING["zipvoice_dialog"]


def test_dialogue_and_stereo_models_are_made_of_each_other(corpus, finished, tmp_path):
    tokens = str(corpus / "dialog_tokens.txt")
    slow = OptimizerConfig(base_lr=1e-8, schedule="fixed")
    settings = {"tokens": tokens, "tokenizer": TokenizerConfig("simple"), "optim": slow, "num_steps": 1}
    dialog = tmp_path / "dialog"
    train(run_config(corpus, dialog, variant="zipvoice_dialog", init_from=str(finished), **settings))
    base, weights = load_file(finished / "model.safetensors"), load_file(dialog / "model.safetensors")
    torch.testing.assert_close(weights["embed.weight"][:-2], base["embed.weight"])
    stereo = run_config(corpus, tmp_path / "x", variant="zipvoice_dialog_stereo", init_from=str(finished), **settings)
    data = replace(stereo.data, stereo=True)
    with pytest.raises(ValueError, match="zipvoice_dialog_stereo model cannot start from the weights of a zipvoice"):
        train(replace(stereo, data=data))
    with pytest.raises(ValueError, match=r"this one is zipvoice_dialog_stereo: set it, and prepare .* with --stereo"):
        train(stereo)
    with pytest.raises(ValueError, match=r"data\.stereo is for stereo models, and this one is zipvoice: leave it out"):
        train(run_config(corpus, tmp_path / "x", data=data))
    with pytest.raises(ValueError, match=r"model\.feat_dim is the number of mel bins, 100, not 80"):
        train(run_config(corpus, tmp_path / "x", model=replace(SIZES, feat_dim=80)))


def test_added_tokens_leave_the_others_as_they_were(corpus, finished, tmp_path):
    """A base model trained on with the end of each dialogue to be generated: a dialogue model without speaker turns."""
    slow = OptimizerConfig(base_lr=1e-8, schedule="fixed")
    settings = {"tokens": str(corpus / "dialog_tokens.txt"), "objective": ObjectiveConfig(mask="suffix"), "optim": slow}
    train(run_config(corpus, tmp_path, init_from=str(finished), num_steps=1, **settings))
    before, after = load_file(finished / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    assert after["embed.weight"].shape[0] == before["embed.weight"].shape[0] + 2
    for name, value in before.items():
        torch.testing.assert_close(after[name][: len(value)] if value.dim() else after[name], value)


@pytest.mark.parametrize(
    ("variant", "mask", "expected"),
    [
        ("zipvoice", None, ("span", BASE_MASK)),
        ("zipvoice", "suffix", ("suffix", DIALOG_MASK)),
        ("zipvoice_dialog", None, ("suffix", DIALOG_MASK)),
        ("zipvoice_dialog_stereo", None, ("suffix", DIALOG_MASK)),
    ],
)
def test_masks_follow_the_variant_or_the_settings(corpus, tmp_path, variant, mask, expected):
    config = run_config(corpus, tmp_path, variant=variant, objective=ObjectiveConfig(mask=mask))
    objective = build_objective(config, None, SAMPLING, torch.device("cpu"))
    flow = objective.flow if variant == "zipvoice_dialog_stereo" else objective
    assert (flow.mask.place, flow.mask.fraction) == expected


@pytest.mark.parametrize("variant", ["zipvoice", "zipvoice_dialog", "zipvoice_dialog_stereo"])
def test_the_objective_is_as_the_settings_say(corpus, tmp_path, variant):
    settings = ObjectiveConfig(
        condition_drop_ratio=0.3, time_power=2.5, exclusive_weight=0.75, mask_fraction=(0.1, 0.6)
    )
    objective = build_objective(
        run_config(corpus, tmp_path, variant=variant, objective=settings), None, SAMPLING, torch.device("cpu")
    )
    if variant == "zipvoice_dialog_stereo":
        assert objective.exclusive_weight == 0.75
    flow = objective.flow if variant == "zipvoice_dialog_stereo" else objective
    assert (flow.condition_drop_ratio, flow.mask.fraction) == (0.3, (0.1, 0.6))
    assert flow.time_power == (1.0 if variant == "zipvoice_dialog_stereo" else 2.5)


@pytest.mark.parametrize(
    ("kind", "variant"),
    [
        (None, "zipvoice"),
        (None, "zipvoice_distill"),
        ("mean-flow", "zipvoice"),
        ("backward-distillation", "zipvoice"),
    ],
)
def test_a_teacher_is_learnt_from_as_the_settings_say(corpus, tmp_path, kind, variant):
    model = torch.nn.Linear(2, 2)
    model.is_distilled = variant == "zipvoice_distill"
    settings = ObjectiveConfig(
        kind,
        teacher="a",
        ema_decay=0.75,
        instant_ratio=0.25,
        mask_fraction=(0.1, 0.6),
        temperature=(0.1, 0.4),
        guidance_scale=(0.5, 1.5),
    )
    config = run_config(corpus, tmp_path, variant="zipvoice_distill", objective=settings)
    teacher = SimpleNamespace(model=model, variant=variant)
    objective = build_objective(config, teacher, SAMPLING, torch.device("cpu"))
    if kind == "backward-distillation":
        assert objective.times == time_grid(SAMPLING.num_steps, SAMPLING.t_shift)
        assert (objective.temperature, objective.guidance_scale) == ((0.1, 0.4), (0.5, 1.5))
        objective = objective.forward
    assert (objective.mask.place, objective.mask.fraction) == ("span", (0.1, 0.6))
    if kind == "mean-flow":
        assert objective.instant_ratio == 0.25
        return
    assert objective.shared_text
    assert (objective.average and objective.average.decay) == (0.75 if model.is_distilled else None)


def test_the_tags_of_the_table_may_be_used(corpus, tmp_path):
    rows = [line.split("\t") for line in (CORPUS / "utterances.tsv").read_text(encoding="utf-8").splitlines()]
    lines = [f"{key}\t[S1]{text}[S2]{text}\t{CORPUS / path}\n" for key, text, path in rows]
    (tmp_path / "dialogues.tsv").write_text("".join(lines), encoding="utf-8")
    prepare(PrepareOptions(str(tmp_path / "dialogues.tsv"), str(tmp_path), features=True, storage="numpy_files"))
    config = run_config(tmp_path, tmp_path / "exp", variant="zipvoice_dialog", num_steps=1)
    assert train(replace(config, tokens=str(corpus / "dialog_tokens.txt"))) == "finished"


def test_both_stages_of_distillation(corpus, finished, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    train(distillation(corpus, first, finished, num_steps=2))
    train(distillation(corpus, second, first, num_steps=2))
    base, student = load_file(finished / "model.safetensors"), load_file(second / "model.safetensors")
    assert load_pretrained(second).model.is_distilled
    assert all(torch.equal(base[name], student[name]) for name in base if not name.startswith("fm_decoder"))
    lines = map(json.loads, (second / "log.jsonl").read_text().splitlines())
    last = [line for line in lines if line["kind"] == "train"][-1]
    assert {"loss", "ref_loss", "mean_ref_loss"} <= last.keys()


@pytest.mark.parametrize("stage", ["first", "second"])
def test_distillation_continues_by_itself(corpus, finished, tmp_path, stage):
    """The average that is the teacher of the second stage included."""
    teacher = finished
    if stage == "second":
        teacher = tmp_path / "teacher"
        train(distillation(corpus, teacher, finished, num_steps=1))
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(distillation(corpus, whole, teacher, num_steps=4))
    train(distillation(corpus, parts, teacher, num_steps=2))
    train(distillation(corpus, parts, teacher, num_steps=4))
    state, other = (checkpoint.load(checkpoint.checkpoint_path(folder, 4)) for folder in (whole, parts))
    assert bool(state["objective"]) == (stage == "second")
    for part in ("model", "model_avg", "objective"):
        assert state[part].keys() == other[part].keys()
        assert all(torch.equal(state[part][name], other[part][name]) for name in state[part]), part


def test_a_distilled_model_starts_from_another_that_reads_alike(corpus, finished, tmp_path):
    first, again = tmp_path / "first", tmp_path / "again"
    train(distillation(corpus, first, finished, num_steps=2))
    train(
        distillation(corpus, again, finished, num_steps=1, init_from=str(first), optim=OptimizerConfig(base_lr=1e-12))
    )
    before, after, base = (load_file(each / "model.safetensors") for each in (first, again, finished))
    decoder = [name for name in before if name.startswith("fm_decoder") and before[name].is_floating_point()]
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in decoder)
    assert any(not torch.allclose(before[name], base[name], atol=1e-6) for name in decoder if name in base)
    with pytest.raises(ValueError, match="starts from its teacher, or from a distilled model with its tokens"):
        train(distillation(corpus, tmp_path / "base", finished, init_from=str(finished)))
    weights = {**load_file(first / "model.safetensors")}
    weights["embed.weight"] = weights["embed.weight"] + 1
    other = shutil.copytree(first, tmp_path / "other")
    save_file(weights, other / "model.safetensors")
    with pytest.raises(ValueError, match=f"which {re.escape(str(other))} is not"):
        train(distillation(corpus, tmp_path / "refused", finished, init_from=str(other)))


def test_a_distilled_model_has_the_tokens_of_its_teacher(corpus, finished, tmp_path):
    tokens = str(corpus / "dialog_tokens.txt")
    with pytest.raises(ValueError, match=r"the tokens of its teacher and no more: give .*/tokens.txt"):
        train(distillation(corpus, tmp_path, finished, tokens=tokens))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variant": "zipvoice_distill"}, "objective.teacher is for the variant zipvoice_distill"),
        ({"objective": ObjectiveConfig(teacher="x")}, "objective.teacher is for the variant zipvoice_distill"),
        ({"optim": OptimizerConfig(freeze=("decoder",))}, "no part 'decoder' to freeze; did you mean 'fm_decoder'"),
        ({"data": DataConfig()}, "no manifest"),
        ({"save_every": 0}, "save_every must be at least 1, not 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(corpus, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        train(run_config(corpus, tmp_path, **changes))


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (("_", *reversed(LETTERS[1:])), r"token 1 is ' ' in .* but is 'z' in the token table of the run"),
        (LETTERS[:-1], r"token \d+ is 'z' in .* but does not exist in the token table of the run"),
    ],
)
def test_a_table_that_does_not_begin_like_the_model_s_is_refused(corpus, finished, tmp_path, tokens, message):
    TokenTable(tokens).write(tmp_path / "tokens.txt")
    with pytest.raises(ValueError, match=message):
        train(run_config(corpus, tmp_path, init_from=str(finished), tokens=str(tmp_path / "tokens.txt")))


def test_a_run_file_is_read_as_it_was_written(corpus, tmp_path):
    config = run_config(corpus, tmp_path)
    write_json(config, tmp_path / "conf.json")
    assert read_json(RunConfig, tmp_path / "conf.json") == config


@pytest.mark.slow
def test_samples_are_recorded(corpus, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(run_config(corpus, tmp_path, num_steps=1, sample_every=1))
    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"images": 0, "audio": 0})
    events.Reload()
    tags = events.Tags()
    assert len(tags["images"]) == len(tags["audio"]) == 2
    assert all(tag.startswith("samples/arctic_") for tag in tags["audio"])
    sound = events.Audio(tags["audio"][0])[0]
    assert sound.sample_rate == 24000
    assert 0.5 < sound.length_frames / 24000 < 3


def test_logging_is_left_as_it_was(finished):
    assert logging.getLogger("zipvoice").handlers == []
