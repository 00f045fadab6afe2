# SPDX-License-Identifier: Apache-2.0
"""The recipes of the published models: their commands, their hyper-parameters, and small runs of all of them."""

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import tyro
from corpus_trees import (
    dialogue,
    dialogue_text,
    make_emilia,
    make_libritts,
    make_opendialog,
    sentences,
    write_table,
)
from tiny_models import TINY, make_model

from zipvoice.audio.files import read, write
from zipvoice.cli import main
from zipvoice.config.model import FeatureConfig, ModelConfig
from zipvoice.config.model_file import ModelFile
from zipvoice.config.strict_json import read_json, write_json
from zipvoice.config.text import TokenizerConfig
from zipvoice.config.training import RunConfig
from zipvoice.data.prepare import Prepared
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.pretrained import load_pretrained, published_tokenizer, save_pretrained
from zipvoice.text.token_table import SPEAKER_TAGS, TokenTable
from zipvoice.text.vocabularies import emilia_table
from zipvoice.training.averaging import RunningAverage, between
from zipvoice.weights import read_weights

EGS = Path(__file__).parents[1] / "egs"
RECIPES = sorted(path for folder in ("zipvoice", "zipvoice_dialog") for path in (EGS / folder).glob("run_*.sh"))
ALL_STAGES = ("--stage", "0", "--stop-stage", "99")


def called(script, *options):
    return subprocess.run(["bash", str(script), *options], capture_output=True, text=True)


def commands(script, *options) -> list[list[str]]:
    """What a recipe would run, from all stages or those that the options say."""
    stages = () if "--stage" in options else ALL_STAGES
    done = called(script, "--dry-run", *stages, *options)
    assert done.returncode == 0, done.stderr
    return [shlex.split(line) for line in done.stdout.splitlines()]


def of_zipvoice(command: Sequence[str]) -> list[str] | None:
    """The arguments of zipvoice in a command, which may start several processes of it."""
    match command:
        case ["zipvoice", *arguments] | ["torchrun", "--nproc-per-node", _, "-m", "zipvoice", *arguments]:
            return arguments
    return None


def run_file(name) -> RunConfig:
    folder, name = name.split("/")
    return read_json(RunConfig, EGS / folder / "conf" / f"{name}.json")


# ---------------------------------------------------------------- the scripts


def names(scripts):
    return [f"{script.parent.name}/{script.stem}" for script in scripts]


def test_there_is_a_script_for_each_published_recipe_and_one_for_stereo():
    single = ("custom", "emilia", "eval", "finetune", "libritts")
    dialogues = ("custom", "eval", "finetune", "opendialog", "stereo")
    assert names(RECIPES) == [f"zipvoice/run_{name}" for name in single] + [
        f"zipvoice_dialog/run_{name}" for name in dialogues
    ]


class ParsedError(Exception):
    """The arguments were accepted."""


def explained() -> list[str]:
    """How the comments at the head of the recipes, and their pages, say that they are called."""
    calls = []
    for page in (*RECIPES, EGS / "zipvoice" / "README.md", EGS / "zipvoice_dialog" / "README.md"):
        lines = re.findall(r"^(?:#   )?(bash run_.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        calls += [f"{page.parent.name}/{line.removeprefix('bash ').split('  ')[0]}" for line in lines]
    return calls


@pytest.mark.parametrize("call", [*names(RECIPES), *explained()])
def test_every_command_of_a_recipe_parses(call, tmp_path, monkeypatch):
    def parse_only(*args, **kwargs):
        raise ParsedError(cli(*args, **kwargs))

    cli = tyro.cli
    monkeypatch.setattr(tyro, "cli", parse_only)
    monkeypatch.chdir(tmp_path)
    path, *options = shlex.split(call)
    script = (EGS / path).with_suffix(".sh")
    found = commands(script, *options)
    assert found
    for command in found:
        if arguments := of_zipvoice(command):
            for path in [argument for argument in arguments if argument.endswith(".json")]:
                committed = script.parent / path
                run = read_json(RunConfig, committed) if committed.is_file() else RunConfig()
                write_json(run, tmp_path / path)
            with pytest.raises(ParsedError):
                main(arguments)
        elif command[0] == "python":
            assert (script.parent / command[1]).is_file()
        else:
            assert command[0] in ("hf", "lhotse", "tar")


@pytest.mark.parametrize("script", RECIPES, ids=names(RECIPES))
def test_each_run_writes_what_later_stages_read(script):
    """Tables, run files and models are made by an earlier stage, or downloaded, or the user's."""
    there = {"data/raw"}
    for command in commands(script):
        arguments = of_zipvoice(command) or []
        if arguments[:1] == ["train"]:
            path = arguments[1]
            if path.startswith("data/"):
                assert path in there
                path = path.replace("data/", "conf/")
            run = read_json(RunConfig, script.parent / path)
            needed = [run.tokens, run.init_from, run.objective.teacher]
            needed += [manifest.path for manifest in (*run.data.train, *run.data.dev)]
            assert {item for item in needed if item} <= there
            there.add(run.exp_dir)
        elif arguments[:1] == ["prepare"]:
            options = dict(pairwise(arguments))
            name = f"{options['--prefix']}_cuts_{options['--subset']}"
            there |= {f"{options['--output-dir']}/{name}{suffix}" for suffix in (".jsonl.gz", ".json")}
        elif arguments[:1] == ["average"]:
            assert arguments[2] in there
        elif arguments[:1] == ["batch"] and "eval" not in script.name:
            assert arguments[3] in there
        elif command[0] == "hf":
            there |= {f"download/{file}" for file in command[3:]} | {f"download/{Path(command[3]).parent}"}
        elif command[0] == "python":
            there |= {argument for argument in command[2:] if argument.startswith("data/")}


def test_stages_can_be_chosen():
    script = EGS / "zipvoice" / "run_custom.sh"
    every = commands(script)
    assert commands(script, "--stage", "4", "--stop-stage", "5") == every[4:6]
    assert commands(script, "--stage", "6") == every[6:]  # without --stop-stage at least that one
    assert (
        called(script, "--dry-run").stderr.splitlines()[0] == "Stage 1: check the corpus, compute tokens and features"
    )


def test_what_follows_two_dashes_reaches_each_training():
    changed = commands(EGS / "zipvoice" / "run_emilia.sh", "--", "--optim.base-lr", "0.01")
    trainings = [command for command in changed if (of_zipvoice(command) or [""])[0] == "train"]
    assert len(trainings) == 3
    assert all(command[-2:] == ["--optim.base-lr", "0.01"] for command in trainings)


def test_commands_are_run_in_order_until_one_fails(tmp_path):
    """Real runs, of a program in the place of zipvoice that notes how it was called."""
    shutil.copytree(EGS / "zipvoice" / "local", tmp_path / "zipvoice" / "local")
    for name in ("stages.sh", "zipvoice/run_finetune.sh"):
        shutil.copy(EGS / name, tmp_path / name)
    stand_in = tmp_path / "bin" / "zipvoice"
    stand_in.parent.mkdir()
    stand_in.write_text('#!/bin/sh\nprintf "%s\\n" "$*" >> calls.txt\n[ "$1" != average ]\n')
    stand_in.chmod(0o755)
    script = tmp_path / "zipvoice" / "run_finetune.sh"
    options = ("--stage", "2", "--stop-stage", "5", "--num-gpus", "1")
    path = f"{stand_in.parent}:{os.environ['PATH']}"
    done = subprocess.run(["bash", str(script), *options], capture_output=True, env={**os.environ, "PATH": path})
    calls = (script.parent / "calls.txt").read_text().splitlines()
    planned = [" ".join(command[1:]) for command in commands(script, *options)]
    assert calls == planned[:-1]
    assert calls[-1].startswith("average ") and planned[-1].startswith("batch ")
    assert done.returncode == 1


def test_one_gpu_needs_no_launcher():
    alone = commands(EGS / "zipvoice" / "run_libritts.sh", "--num-gpus", "1")
    assert not any(command[0] == "torchrun" for command in alone)
    assert ["zipvoice", "train", "conf/libritts.json"] in alone


@pytest.mark.parametrize("script", RECIPES, ids=names(RECIPES))
def test_help_explains_every_option_and_mistakes_name_them(script):
    shown = called(script, "--help").stdout
    wrong = called(script, "--stages", "1")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith(f"{script.name}: unknown option --stages; known: --stage --stop-stage ")
    for option in re.findall(r"--[a-z-]+", wrong.stderr.split("known:")[1]):
        assert option in shown or option == "--help"
    missing = called(script, "--stage")
    assert (missing.returncode, missing.stderr) == (2, f"{script.name}: --stage needs a value\n")


def test_a_recipe_can_be_called_from_anywhere(tmp_path):
    command = ["bash", str(EGS / "zipvoice" / "run_custom.sh"), "--help"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout.startswith("A base model")


# ---------------------------------------------------------------- the published hyper-parameters

PUBLISHED = """\
run                         gpus precision length    batch base_lr schedule       max_len save valid tokenizer average
zipvoice/emilia             8    fp16      11_epochs 500   0.02    eden_30000_h   30      5000 5000  emilia    4_epochs
zipvoice/emilia_distill_1   8    fp16      60000     500   0.0005  fixed          30      1000 1000  emilia    7
zipvoice/emilia_distill_2   8    fp16      2000      500   0.0001  fixed          30      1000 1000  emilia    none
zipvoice/libritts           8    fp32      60_epochs 250   0.02    eden_10_epochs 20      5000 epoch libritts  10_epochs
zipvoice/libritts_distill_1 8    fp32      6_epochs  250   0.001   fixed          20      1000 1000  libritts  3_epochs
zipvoice/libritts_distill_2 8    fp16      6_epochs  250   0.001   fixed          20      1000 1000  libritts  3_epochs
zipvoice/custom             4    fp16      60000     500   0.02    eden_6452_h    20      5000 5000  simple    2
zipvoice/finetune           4    fp16      10000     500   0.0001  fixed          20      1000 1000  emilia    2
zipvoice_dialog/opendialog  8    fp16      60000     500   0.0001  fixed          30      5000 5000  dialog    2
zipvoice_dialog/custom      4    fp16      60000     500   0.0001  fixed          60      5000 5000  dialog    2
zipvoice_dialog/finetune    4    fp16      10000     500   0.0001  fixed          60      1000 1000  dialog    2
"""
HEADER, *ROWS = [line.split() for line in PUBLISHED.splitlines()]
LIBRITTS_EPOCH = round(555 * 3600 / (8 * 250), -3)  # steps: 555 hours in batches of 250 s on 8 GPUs

EXP_DIR_AND_START = {
    "zipvoice/emilia": ("zipvoice", None),
    "zipvoice/emilia_distill_1": ("zipvoice_distill_1stage", "exp/zipvoice"),
    "zipvoice/emilia_distill_2": ("zipvoice_distill", "exp/zipvoice_distill_1stage"),
    "zipvoice/libritts": ("zipvoice_libritts", None),
    "zipvoice/libritts_distill_1": ("zipvoice_distill_1stage_libritts", "exp/zipvoice_libritts"),
    "zipvoice/libritts_distill_2": ("zipvoice_distill_libritts", "exp/zipvoice_distill_1stage_libritts"),
    "zipvoice/custom": ("zipvoice_custom", None),
    "zipvoice/finetune": ("zipvoice_finetune", "download/zipvoice"),
    "zipvoice_dialog/opendialog": ("zipvoice_dialog_opendialog", "download/zipvoice"),
    "zipvoice_dialog/custom": ("zipvoice_dialog_custom", "download/zipvoice"),
    "zipvoice_dialog/finetune": ("zipvoice_dialog_finetune", "download/zipvoice_dialog"),
    "zipvoice_dialog/stereo": ("zipvoice_dialog_stereo", "download/zipvoice_dialog"),
}


def in_recipes(name) -> tuple[str, str]:
    """On how many GPUs a run file is used, and what is averaged afterwards."""
    folder, kind = name.split("/")
    exp_dir = run_file(name).exp_dir
    gpus = average = "none"
    for command in commands(EGS / folder / f"run_{kind.split('_')[0]}.sh"):
        if command[0] == "torchrun" and Path(command[6]).name == f"{kind}.json":
            gpus = command[2]
        elif command[:2] == ["zipvoice", "average"] and command[3] == exp_dir:
            average = command[5]
        elif command[:3] == ["python", "local/average_epochs.py", exp_dir]:
            average = f"{command[3]}_epochs"
    return gpus, average


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_hyper_parameters_are_the_published_ones(row):
    name = row[0]
    run, (gpus, average) = run_file(name), in_recipes(name)
    decay = f"{run.optim.lr_hours:g}_h" if run.optim.lr_hours else f"{run.optim.lr_epochs:g}_epochs"
    found = [
        name,
        gpus,
        run.precision,
        str(run.num_steps) if run.num_steps else f"{run.num_epochs}_epochs",
        f"{run.data.max_duration:g}",
        f"{run.optim.base_lr:g}",
        "fixed" if run.optim.schedule == "fixed" else f"eden_{decay}",
        f"{run.data.max_len:g}",
        str(run.save_every),
        "epoch" if name == "zipvoice/libritts" and run.valid_every == LIBRITTS_EPOCH else str(run.valid_every),
        run.tokenizer.type,
        average,
    ]
    assert dict(zip(HEADER, found, strict=True)) == dict(zip(HEADER, row, strict=True))


def test_stereo_has_the_defaults_of_the_published_trainer():
    run = run_file("zipvoice_dialog/stereo")
    assert (run.optim.base_lr, run.num_steps, run.data.max_len, run.save_every) == (0.002, 25000, 60.0, 5000)
    assert run.data.stereo and run.optim.schedule == "fixed" and run.precision == "fp16"


@pytest.mark.parametrize("name", EXP_DIR_AND_START)
def test_each_run_has_the_published_folder_and_start_and_what_all_have_in_common(name):
    run = run_file(name)
    assert (run.exp_dir.removeprefix("exp/"), run.init_from or run.objective.teacher) == EXP_DIR_AND_START[name]
    folder, _, kind = name.partition("/")
    assert run.variant == ("zipvoice_distill" if "distill" in kind else folder + "_stereo" * (kind == "stereo"))
    assert (run.model, run.feature, run.seed, run.ref_duration) == (ModelConfig(), FeatureConfig(), 42, 50)
    assert (run.data.min_len, run.data.num_buckets, run.data.shuffle) == (1, 30, True)
    assert (run.objective.condition_drop_ratio, run.objective.ema_decay, run.optim.lr_batches) == (0.2, 0.9999, 7500)
    # Emilia's base model is averaged over four epochs, which are 68 checkpoints; the model of its second stage of
    # distillation is the student itself, which an average over one of its 2000 steps is.
    assert run.keep_last == (70 if name == "zipvoice/emilia" else 30)
    assert run.average_period == (2000 if name == "zipvoice/emilia_distill_2" else 200)


def test_the_distilled_model_is_the_student_at_its_last_step():
    run = run_file("zipvoice/emilia_distill_2")
    assert run.num_steps == 2000
    weights = {step: {"weight": torch.tensor(float(step))} for step in (0, 1000, 2000)}
    average = RunningAverage(weights[0], run.average_period)
    for step in (1000, 2000):
        average.update(weights[step], step)
    assert between(weights[0], average.state_dict(), 1000, 2000, run.average_period) == weights[2000]


def test_languages_are_mixed_as_published():
    emilia, opendialog = run_file("zipvoice/emilia").data, run_file("zipvoice_dialog/opendialog").data
    assert [(item.weight, item.repeat) for item in emilia.train] == [(46000, 1), (49000, 1)]
    assert [(item.weight, item.repeat) for item in emilia.dev] == [(0.5, 1), (0.5, 1)]
    assert [item.repeat for item in opendialog.train] == [1, 2]
    for name in ("emilia_distill_1", "emilia_distill_2"):
        assert run_file(f"zipvoice/{name}").data == emilia
    for name in ("libritts_distill_1", "libritts_distill_2"):
        assert run_file(f"zipvoice/{name}").data == run_file("zipvoice/libritts").data


# ---------------------------------------------------------------- the scripts in local/


def local(path):
    return runpy.run_path(str(EGS / path))


def summary(utterances=1, hours=1.0, seconds_99=1.0):
    return Prepared("made.jsonl.gz", utterances, hours, seconds_99, skipped=0, fingerprint="")


def test_a_run_is_fitted_to_its_corpus(tmp_path):
    fit = local("zipvoice/local/fit_to_corpus.py")["fit"]
    run = run_file("zipvoice/custom")
    assert fit(run, hours=500, seconds_99=19.99) == run  # the published example
    smaller = fit(run, hours=10, seconds_99=12.5)
    assert (smaller.optim.lr_hours, smaller.data.max_len) == (1995, 12.51)


def test_languages_are_weighed_by_their_utterances_in_an_epoch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for subset, number in (("EN-train", 300), ("ZH-train", 70)):
        write_json(summary(number), Path(f"data/fbank/opendialog_cuts_{subset}.json"))
    committed = EGS / "zipvoice_dialog" / "conf" / "opendialog.json"
    local("zipvoice_dialog/local/weigh_by_utterances.py")["main"](str(committed), "weighed.json")
    weighed = read_json(RunConfig, "weighed.json")
    assert [(item.weight, item.repeat) for item in weighed.data.train] == [(300, 1), (140, 2)]
    assert weighed.data.dev == run_file("zipvoice_dialog/opendialog").data.dev


@pytest.mark.parametrize(
    ("steps", "share", "save_every", "expected"),
    [
        (range(5000, 60001, 5000), 10 / 60, 5000, 2),
        ([*range(5000, 60001, 5000), 62400], 10 / 60, 5000, 3),  # from step 50000, nearer to 52000 than 55000
        (range(1000, 6001, 1000), 3 / 6, 1000, 3),
        (range(600_000, 940_001, 5000), 4 / 11, 5000, 68),  # earlier ones are deleted
    ],
)
def test_an_average_begins_at_the_nearest_checkpoint(steps, share, save_every, expected):
    assert local("zipvoice/local/average_epochs.py")["intervals"](list(steps), share, save_every) == expected


@pytest.mark.parametrize("steps", [[900, 1000], [1000]])
def test_an_average_that_the_checkpoints_do_not_reach_back_for_is_refused(steps):
    with pytest.raises(ValueError, match="no checkpoint near step 500 to begin with"):
        local("zipvoice/local/average_epochs.py")["intervals"](steps, 0.5, 100)


def test_a_manifest_without_tokens_makes_no_table(tmp_path):
    pytest.importorskip("lhotse")
    from zipvoice.data.cuts import make_cut, recording, write_cuts

    sentence = sentences()[0]
    write_cuts(tmp_path / "cuts.jsonl.gz", [make_cut("one", sentence.text, recording(sentence.path))])
    with pytest.raises(ValueError, match="the utterance 'one' has no tokens"):
        list(local("zipvoice/local/token_table.py")["tokens_of"]([tmp_path / "cuts.jsonl.gz"]))


# ---------------------------------------------------------------- small runs of all recipes

EIGHT_STEPS = (
    *("--num-steps", "8", "--save-every", "1", "--average-period", "1", "--valid-every", "8", "--log-every", "4"),
    *("--precision", "fp32", "--data.num-workers", "0", "--data.max-duration", "6"),
)
TINY_MODEL = tuple(
    item
    for name, value in asdict(TINY).items()
    if value is not None
    for item in (f"--model.{name.replace('_', '-')}", *map(str, value if isinstance(value, tuple) else (value,)))
)
DIALOG_TABLE = emilia_table().extended(SPEAKER_TAGS)


@pytest.fixture
def egs(tmp_path) -> Path:
    """A copy of the recipes, without what they made."""
    ignore = shutil.ignore_patterns("data", "exp", "results", "download", "__pycache__")
    for name in ("zipvoice", "zipvoice_dialog"):
        shutil.copytree(EGS / name, tmp_path / "egs" / name, ignore=ignore)
    shutil.copy(EGS / "stages.sh", tmp_path / "egs")
    return tmp_path / "egs"


def run_recipe(script, monkeypatch, *options) -> list[list[str]]:
    """Run all stages in this process, which starts faster than a process for each command; gives the commands.

    After each command the recipe is asked again, as files that a command makes can change what follows.
    """
    monkeypatch.chdir(script.parent)
    small = [*options, "--num-gpus", "1", "--vocoder", "griffin-lim"]
    if "eval" not in script.name:
        small += ["--num-jobs", "0", "--", *EIGHT_STEPS, *TINY_MODEL]
    done: list[list[str]] = []
    while len(done) < len(every := commands(script, *ALL_STAGES, *small)):
        execute(every[len(done)], monkeypatch)
        done.append(every[len(done)])
    return done


def execute(command, monkeypatch):
    if arguments := of_zipvoice(command):
        assert main(arguments) == 0
    elif command[0] == "python":
        monkeypatch.setattr(sys, "argv", command[1:])
        runpy.run_path(command[1], run_name="__main__")
    else:
        assert command[0] in ("hf", "lhotse", "tar"), "what is downloaded has been put there by the test"


def released(directory, variant, table):
    """A model directory in the place of a released model."""
    torch.manual_seed(0)
    model = ZipVoice(TINY, table.vocabulary, variant)
    file = ModelFile(TINY, FeatureConfig(), variant, published_tokenizer(variant))
    save_pretrained(directory, model.state_dict(), file, table)


def to_speak(folder, greeting=""):
    """A list of one text, the second sentence, in the voice of the first one."""
    first, second = sentences()[:2]
    write_table(folder / "test.tsv", [("one", first.text, first.path, greeting + second.text)])


def check_speech(path, channels=1):
    audio = read(path)
    assert (audio.num_channels, audio.sampling_rate) == (channels, 24000)
    assert audio.seconds > 0.5


def check_distilled(teacher, student):
    """The student differs from its teacher in the decoder, which alone is trained, and nowhere else."""
    before, after = (read_weights(Path(exp) / "model.safetensors") for exp in (teacher, student))
    changed = {name.split(".")[0] for name, weight in before.items() if not torch.allclose(weight, after[name])}
    assert changed == {"fm_decoder"}


@pytest.mark.slow
def test_libritts(egs, monkeypatch):
    pytest.importorskip("lhotse")
    corpus = egs / "LibriTTS"
    parts = {"train-clean-100": 4, "train-clean-360": 3, "train-other-500": 3, "dev-clean": 2}
    make_libritts(corpus, parts)
    to_speak(egs / "zipvoice")
    run_recipe(egs / "zipvoice" / "run_libritts.sh", monkeypatch, "--corpus", str(corpus))
    table = TokenTable.read("data/tokens_libritts.txt")
    assert set(table.tokens) == {"_"} | {letter for sentence in sentences()[:4] for letter in sentence.text.upper()}
    check_distilled("exp/zipvoice_libritts", "exp/zipvoice_distill_1stage_libritts")
    check_distilled("exp/zipvoice_distill_1stage_libritts", "exp/zipvoice_distill_libritts")
    for name in ("libritts", "libritts_distill"):
        check_speech(f"results/{name}/one.wav")


@pytest.mark.slow
def test_emilia(egs, monkeypatch):
    pytest.importorskip("lhotse")
    corpus = egs / "Amphion___Emilia"
    make_emilia(corpus, "EN", [sentence.text for sentence in sentences()[:6]])
    make_emilia(corpus, "ZH", ["我们今天去看电影", "你好,世界", "他是一个学生。", "今天天气很好", "カタカナ"])
    to_speak(egs / "zipvoice", greeting="你好。")
    small = ("--corpus", str(corpus), "--num-dev", "1", "--piece", "3")
    done = run_recipe(egs / "zipvoice" / "run_emilia.sh", monkeypatch, *small)
    prepared = [command[command.index("--subset") + 1] for command in done if command[1] == "prepare"]
    assert prepared == ["EN-dev", "EN.00000000", "EN.00000001", "ZH-dev", "ZH.00000000"]
    assert TokenTable.read("data/tokens_emilia.txt") == emilia_table()
    check_distilled("exp/zipvoice", "exp/zipvoice_distill_1stage")
    check_distilled("exp/zipvoice_distill_1stage", "exp/zipvoice_distill")
    for name in ("emilia", "emilia_distill"):
        check_speech(f"results/{name}/one.wav")


def own_corpus(folder, prefix, rows):
    write_table(folder / "data" / "raw" / f"{prefix}_train.tsv", rows)
    write_table(folder / "data" / "raw" / f"{prefix}_dev.tsv", rows[:2])


def speech_rows():
    return [(f"utterance-{i}", sentence.text, sentence.path) for i, sentence in enumerate(sentences()[:6])]


@pytest.mark.slow
def test_a_corpus_of_ones_own(egs, monkeypatch):
    pytest.importorskip("lhotse")
    folder = egs / "zipvoice"
    own_corpus(folder, "custom", speech_rows())
    to_speak(folder)
    run_recipe(folder / "run_custom.sh", monkeypatch)
    run = read_json(RunConfig, "exp/zipvoice_custom/run.json")
    hours = sum(sentence.audio.seconds for sentence in sentences()[:6]) / 3600
    assert run.optim.lr_hours == pytest.approx(1000 * hours**0.3, abs=1)
    longest = max(sentence.audio.seconds for sentence in sentences()[:6])
    assert longest <= run.data.max_len < longest + 0.02
    check_speech("results/custom/one.wav")


@pytest.mark.slow
def test_fine_tuning_in_another_language(egs, monkeypatch):
    pytest.importorskip("lhotse")
    folder = egs / "zipvoice"
    released(folder / "download" / "zipvoice", "zipvoice", emilia_table())
    own_corpus(folder, "custom-finetune", speech_rows())
    to_speak(folder)
    run_recipe(folder / "run_finetune.sh", monkeypatch, "--tokenizer", "espeak", "--language", "de")
    tuned = load_pretrained("exp/zipvoice_finetune")
    assert tuned.file.tokenizer == TokenizerConfig("espeak", "de")
    assert tuned.table == emilia_table()
    check_speech("results/finetune/one.wav")


@pytest.mark.slow
def test_opendialog(egs, monkeypatch):
    pytest.importorskip("lhotse")
    folder, corpus = egs / "zipvoice_dialog", egs / "OpenDialog"
    texts = {"en": [dialogue_text(i) for i in range(5)], "zh": ["[S1]你好!今天怎么样?[S2]很好,谢谢你。"] * 4}
    make_opendialog(corpus, texts)
    released(folder / "download" / "zipvoice", "zipvoice", emilia_table())
    released(folder / "download" / "zipvoice_dialog", "zipvoice_dialog", DIALOG_TABLE)
    dialogues(folder)
    run_recipe(folder / "run_opendialog.sh", monkeypatch, "--corpus", str(corpus), "--num-dev", "1")
    run = read_json(RunConfig, "exp/zipvoice_dialog_opendialog/run.json")
    assert [item.weight for item in run.data.train] == [4, 6]
    assert TokenTable.read("exp/zipvoice_dialog_opendialog/tokens.txt") == DIALOG_TABLE
    check_speech("results/opendialog/one.wav")


def dialogues(folder, num_channels=1):
    """Rows of a table of dialogues; and a list of one to speak."""
    paths = [folder / "recordings" / f"{i}.flac" for i in range(5)]
    for i, path in enumerate(paths):
        write(path, dialogue(i, num_channels))
    write_table(folder / "test.tsv", [("one", dialogue_text(0), paths[0], dialogue_text(1))])
    return [(f"dialogue-{i}", dialogue_text(i), path) for i, path in enumerate(paths)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "prefix", "num_channels"),
    [("custom", "custom", 1), ("finetune", "custom-finetune", 1), ("stereo", "stereo", 2)],
)
def test_dialogues_of_ones_own(name, prefix, num_channels, egs, monkeypatch):
    pytest.importorskip("lhotse")
    folder = egs / "zipvoice_dialog"
    released(folder / "download" / "zipvoice", "zipvoice", emilia_table())
    released(folder / "download" / "zipvoice_dialog", "zipvoice_dialog", DIALOG_TABLE)
    own_corpus(folder, prefix, dialogues(folder, num_channels))
    run_recipe(folder / f"run_{name}.sh", monkeypatch)
    check_speech(f"results/{name}/one.wav", num_channels)


def make_test_sets(folder, sets, row):
    for name in sets:
        write_table(folder / "download" / name / "test.tsv", [row])


@pytest.mark.slow
def test_evaluation(egs, monkeypatch, capsys):
    pytest.importorskip("pocketsphinx")
    folder = egs / "zipvoice"
    make_model(folder / "mine")
    first, second = sentences()[:2]
    sets = ("librispeech_pc_testset", "seedtts_testset/en", "seedtts_testset/zh")
    make_test_sets(folder, sets, ("one", first.text, first.path, second.text))
    write_table(folder / "download/librispeech_pc_testset/transcript.tsv", [("one", "-", second.text.upper())])
    chosen = ("--suite", "offline", "--metrics", "closed_set blur")
    run_recipe(folder / "run_eval.sh", monkeypatch, "--model", "mine", *chosen)
    for name, text in (
        ("librispeech_pc", second.text.upper()),
        ("seedtts_en", second.text),
        ("seedtts_zh", second.text),
    ):
        check_speech(f"results/mine/{name}/one.wav")
        kept = Path(f"results/mine/scores/{name}.jsonl").read_text(encoding="utf-8").splitlines()
        assert json.loads(kept[1])["text"] == text
    scored = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| closed-set accuracy")]
    assert len(scored) == 3


@pytest.mark.slow
def test_evaluation_of_dialogues(egs, monkeypatch, capsys):
    folder = egs / "zipvoice_dialog"
    make_model(folder / "mine", "zipvoice_dialog")
    first, second = (sentences(name)[0] for name in ("train", "lj_train"))
    row = ("one", first.text, second.text, first.path, second.path, dialogue_text(1))
    make_test_sets(folder, ("dialog_testset/en", "dialog_testset/zh"), row)
    chosen = ("--suite", "offline", "--metrics", "blur speed")
    run_recipe(folder / "run_eval.sh", monkeypatch, "--model", "mine", *chosen)
    for name in ("dialog_en", "dialog_zh"):
        check_speech(f"results/mine/{name}/one.wav")
        assert len(Path(f"results/mine/scores/{name}.jsonl").read_text(encoding="utf-8").splitlines()) == 2
    scored = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| characters a second")]
    assert len(scored) == 2
