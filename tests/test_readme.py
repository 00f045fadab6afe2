# SPDX-License-Identifier: Apache-2.0
"""What the documentation tells a reader to type works."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import tyro
from tiny_models import RATE, make_model

import zipvoice
import zipvoice.synthesis.synthesizer
from zipvoice.audio.files import read, write
from zipvoice.cli import main
from zipvoice.config.strict_json import write_json
from zipvoice.config.training import RunConfig

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "egs").glob("*/README.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def commands() -> list[str]:
    """Every `zipvoice ...` line of a shell block, and of code in a line or a table."""
    found = []
    for page in PAGES:
        for block in blocks(page, "bash"):
            found += [line.strip() for line in block.replace("\\\n", " ").splitlines() if "zipvoice " in line]
        found += re.findall(r"^\| `(zipvoice [^`]*)` \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [line.split("#")[0] for line in found if line.startswith("zipvoice ")]


class ParsedError(Exception):
    """The arguments were accepted."""


@pytest.mark.parametrize("command", commands())
def test_every_command_of_the_documentation_parses(command, tmp_path, monkeypatch):
    def parse_only(*args, **kwargs):
        raise ParsedError(cli(*args, **kwargs))

    cli = tyro.cli
    monkeypatch.setattr(tyro, "cli", parse_only)
    monkeypatch.chdir(tmp_path)
    _, *arguments = shlex.split(command)
    for run_file in [argument for argument in arguments if argument.endswith(".json")]:
        write_json(RunConfig(), tmp_path / run_file)
    with pytest.raises(ParsedError):
        main(arguments)


def test_the_python_of_the_readme_speaks(tmp_path, monkeypatch):
    (block,) = blocks(ROOT / "README.md", "python")
    make_model(tmp_path / "model")
    write(tmp_path / "me.wav", read(ROOT / "tests" / "data" / "corpus" / "arctic_a0379_1592708291.ogg"))
    load = zipvoice.load
    monkeypatch.setattr(
        zipvoice.synthesis.synthesizer,
        "load",
        lambda name: load(tmp_path / "model", vocoder="griffin-lim", device="cpu"),
    )
    monkeypatch.chdir(tmp_path)
    exec(block, {})
    spoken = read(tmp_path / "out.wav")
    assert spoken.sampling_rate == RATE
    assert spoken.seconds > 1


def test_every_file_the_documentation_links_to_is_there():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_make_targets_that_the_readme_names_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_the_files_that_the_makefile_names_exist():
    """Names that make puts together too: it prints what it would do."""
    targets = ["test-text", "test-portable", "test-all", "demo-train"]
    told = subprocess.run(
        ["make", "--dry-run", "-B", *targets], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    named = set(re.findall(r"(?<![\w./])[\w-][\w./-]*\.(?:py|sh|txt)\b", told.stdout))
    assert {"tests/test_chinese.py", "tests/portable.py", "egs/mini/run.sh", "requirements.txt"} <= named
    assert {name for name in named if not (ROOT / name).exists()} == set()
