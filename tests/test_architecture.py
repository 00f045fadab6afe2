# SPDX-License-Identifier: Apache-2.0
"""Who may import whom, read from the sources."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "zipvoice"

MAY_IMPORT = {
    "files": set(),
    "builtin": set(),
    "config": {"files"},
    "weights": {"files"},
    "seeds": set(),
    "text": {"config", "files"},
    "audio": {"config", "files"},
    "model": {"config"},
    "vocoder": {"audio", "builtin", "config", "weights"},
    "pretrained": {"builtin", "config", "files", "weights", "text", "vocoder", "model"},
    "data": {"config", "files", "seeds", "text", "audio"},
    "training": {"config", "files", "seeds", "weights", "text", "audio", "data", "model", "pretrained", "vocoder"},
    "synthesis": {"builtin", "config", "files", "text", "audio", "model", "pretrained", "vocoder"},
    "evaluation": {"config", "files", "text", "audio"},
    "cli": {
        "builtin",
        "config",
        "files",
        "text",
        "audio",
        "data",
        "model",
        "pretrained",
        "training",
        "synthesis",
        "evaluation",
        "__init__",
    },
    "__init__": {"config", "audio", "synthesis"},
    "__main__": {"cli"},
}
ONLY_IN = {
    "lhotse": {"data"},
    "peft": {"training"},
    "tensorboard": {"training"},
    "tyro": {"cli"},
    "pocketsphinx": {"evaluation"},
    "resemblyzer": {"evaluation"},
    "speechmos": {"evaluation"},
}
NEVER_TORCH = {"files", "builtin", "config", "text", "audio", "evaluation"}
SOURCES = sorted(ROOT.rglob("*.py"))


def room(path: Path) -> str:
    """The name of the table's row that a source file belongs to."""
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imported(path: Path) -> set[str]:
    """Full names of all modules a source file imports, at any depth."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_table(path):
    own = room(path)
    for name in imported(path):
        top, *rest = name.split(".")
        if top == "zipvoice":
            target = rest[0] if rest and (rest[0] in MAY_IMPORT) else "__init__"
            assert target in MAY_IMPORT[own] | {own}, f"{path} may not import {name}"
        elif top in ONLY_IN:
            assert own in ONLY_IN[top], f"{path} may not import {name}"
        elif top in {"torch"} and rest[:2] == ["utils", "tensorboard"]:
            assert own == "training", f"{path} may not import {name}"
        elif top == "torch":
            assert own not in NEVER_TORCH, f"{path} may not import {name}"


def test_every_room_is_in_the_table():
    assert {room(path) for path in SOURCES} <= set(MAY_IMPORT)


def test_no_room_is_called_utils():
    assert not [path for path in ROOT.rglob("*") if path.stem in {"utils", "util", "helpers", "common", "misc"}]
