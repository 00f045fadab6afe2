# SPDX-License-Identifier: Apache-2.0
"""A command line that cannot be read is told in one line, in the spelling of the help, with status 2."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from zipvoice.cli import main
from zipvoice.cli.voices import _table
from zipvoice.synthesis.voices import KnownVoice

ROOT = Path(__file__).resolve().parents[1]
TOKENIZERS = "emilia, dialog, espeak, libritts, simple"

MISTAKES = [
    ("say hi --voise x", "there is no option --voise; did you mean --voice?"),
    ("say hi --fooobar 3 --baz 4", "there is no option --fooobar, --baz;"),
    ("say hi there", "'there' is one word too many; a text of several words stands in quotes;"),
    ("batch a b", "'b' is one word too many;"),
    ("say hi --speed abc", "--speed takes FLOAT, not 'abc';"),
    ("say hi -s abc", "--speed takes FLOAT, not 'abc';"),
    ("say hi -m", "--model needs a value, MODEL; one that begins with - is written --model=...;"),
    ("say hi -o -x.wav", "--output needs a value, OUTPUT; one that begins with - is written --output=...;"),
    ("say hi --speed", "--speed needs a value, FLOAT;"),
    ("align -x.wav hi", "AUDIO needs a value; one that begins with - stands behind --;"),
    ("check -x.tsv", "SOURCE needs a value; one that begins with - stands behind --;"),
    ("batch l.txt --words xml", "--words is one of json, srt, vtt, TextGrid, not 'xml';"),
    ("say hi --solver x", "--solver is one of euler, midpoint, heun, adams-bashforth, mean-flow, not 'x';"),
    ("tokenize x --tokenizer german", f"--tokenizer is one of {TOKENIZERS}, not 'german';"),
    ("finetune x --train y --tokenizer german", f"--tokenizer is one of {TOKENIZERS}, not 'german';"),
    ("diagnose finite --num-batches 0", "--num-batches must be at least 1, not 0;"),
    ("evaluate l.tsv f --worst -1", "--worst must be 0 or more, not -1;"),
    (
        "evaluate l.tsv f --speaker (",
        "--speaker '(' is no regular expression: missing ), unterminated subpattern at position 0;",
    ),
    ("diagnose speed --num-batches 1", "what is one of statistics, finite, memory, not 'speed';"),
    (
        "check x --language de",
        "the language 'de' is for the tokenizer espeak, not emilia: --tokenizer espeak --language de;",
    ),
    ("prepare x --tokenizer german", f"--tokenizer is one of {TOKENIZERS}, not 'german';"),
    ("train --tokenizer", "--tokenizer needs a value, {emilia,dialog,espeak,libritts,simple};"),
    ("finetune x --train y --languag de", "there is no option --languag; did you mean --language?"),
    ("finetune", "what is missing: BASE, --train TRAIN ...;"),
    ("voice save me", "what is missing: RECORDING;"),
    ("prepare", "what is missing: SOURCE;"),
    ("check --no-audio", "what is missing: SOURCE;"),
    ("export", "what is missing: --model MODEL, --output-dir DIR;"),
    ("train --model.fm-decoder-num-layers x", "--model.fm-decoder-num-layers takes INT ..., not 'x';"),
    ("search-steps x --guidance-interval 1 a", "--guidance-interval takes FLOAT FLOAT;"),
    ("train --data.max-duration 0", "max_duration must be above 0, not 0.0;"),
    (
        "finetune x --train y --language de",
        "the language 'de' is for the tokenizer espeak, not emilia: --tokenizer espeak --language de;",
    ),
]


@pytest.mark.parametrize(("line", "told"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_a_mistake_is_one_line_with_status_2(line, told, capsys):
    words = line.split()
    command = " ".join(words[:2] if words[0] == "voice" else words[:1])
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err == f"zipvoice {command}: {told} `zipvoice {command} --help` explains\n"


@pytest.mark.parametrize(
    "usage",
    [
        "dub SUBTITLES",
        "align AUDIO [TEXT]",
        "evaluate [LIST] FOLDERS ...",
        "tokenize TEXT",
        "batch LIST",
        "export MODEL",
    ],
)
def test_the_help_begins_with_what_a_line_has_by_their_names(usage, capsys):
    with pytest.raises(SystemExit):
        main([usage.split()[0], "--help"])
    assert capsys.readouterr().out.startswith(f"usage: zipvoice {usage} [options]\n")


def test_a_signal_while_the_line_is_read_is_no_mistake(monkeypatch, capsys):
    monkeypatch.setattr("tyro.cli", lambda *_, **__: sys.exit(143))
    with pytest.raises(SystemExit) as end:
        main(["serve"])
    assert end.value.code == 143 and capsys.readouterr().err == ""


@pytest.mark.parametrize("settings", [{"PYTHONIOENCODING": "ascii"}, {"COLUMNS": "30"}, {"FORCE_COLOR": "1"}])
def test_a_terminal_of_any_kind_shows_the_same_line(settings):
    command = [sys.executable, "-m", "zipvoice", "train", "--model.fm-decoder-num-layer", "x"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **settings})
    told = "there is no option --model.fm-decoder-num-layer; did you mean --model.fm-decoder-num-layers?"
    assert (done.returncode, done.stderr) == (2, f"zipvoice train: {told} `zipvoice train --help` explains\n")


def test_a_language_that_no_tokenizer_looks_at_is_refused(capsys):
    assert main(["tokenize", "x", "--language", "de"]) == 1
    assert "--tokenizer espeak --language de" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["x.tsv", "--features"], ["--features", "x.tsv"], ["--source", "x.tsv"], ["--source=x.tsv"]]
)
@pytest.mark.parametrize("command", ["prepare", "check"])
def test_a_source_of_data_stands_anywhere(command, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [word.replace("--features", "--features" if command == "prepare" else "--no-audio") for word in words]
    assert main([command, *words]) == 1
    assert capsys.readouterr().err.startswith("zipvoice: there is no file x.tsv")


def test_no_recipe_and_no_page_spells_the_tokenizer_or_a_source_otherwise():
    pages = [*ROOT.glob("egs/**/*.sh"), *ROOT.glob("egs/**/*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "README.md"]
    assert len(pages) > 20
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"--tokenizer\.|--type |tokenizer:|prepare --source", text), page


def test_voices_are_a_table_for_people_and_lines_with_tabs_for_programs(monkeypatch):
    known = [KnownVoice("anna", 3.14, "Hello.", "2026-11-30T01:02:03+00:00"), KnownVoice("b", 12.0, "Bye.", None)]
    assert _table(known) == "anna\t3.1 s\t2026-11-30 01:02\tHello.\nb\t12.0 s\tin the package\tBye."
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(isatty=lambda: True))
    assert _table(known) == (
        "anna   3.1 s  2026-11-30 01:02  Hello.\n"
        "b     12.0 s  in the package    Bye."
    )  # fmt: skip
