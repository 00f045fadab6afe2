# SPDX-License-Identifier: Apache-2.0
"""Who may import whom, read from the sources."""

import ast
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "zipvoice"

MAY_IMPORT = {
    "files": set(),
    "builtin": set(),
    "config": {"files"},
    "weight_names": set(),
    "weights": {"files", "weight_names"},
    "heap": set(),
    "cores": set(),
    "endings": set(),
    "seeds": set(),
    "utterances": {"config"},
    "text": {"config", "files"},
    "audio": {"config", "files"},
    "model": {"config"},
    "vocoder": {"audio", "config", "weights"},
    "hub": {"weights"},
    "pretrained": {"builtin", "config", "files", "hub", "weights", "text", "model"},
    "runtime": {"audio", "builtin", "config", "cores", "heap", "model", "pretrained", "vocoder", "weight_names"},
    "data": {"config", "cores", "files", "seeds", "text", "audio"},
    "training": {
        "config",
        "files",
        "heap",
        "seeds",
        "weight_names",
        "weights",
        "text",
        "audio",
        "data",
        "model",
        "pretrained",
        "runtime",
        "vocoder",
    },
    "export": {"__init__", "audio", "builtin", "config", "files", "model", "pretrained", "runtime", "vocoder"},
    "synthesis": {
        "builtin",
        "config",
        "evaluation",
        "files",
        "heap",
        "seeds",
        "utterances",
        "text",
        "audio",
        "model",
        "pretrained",
        "runtime",
    },
    "evaluation": {"builtin", "config", "cores", "files", "utterances", "text", "audio"},
    "server": {"__init__", "builtin", "config", "cores", "files", "heap", "text", "audio", "synthesis", "evaluation"},
    "cli": {
        "builtin",
        "config",
        "cores",
        "files",
        "utterances",
        "text",
        "audio",
        "data",
        "model",
        "pretrained",
        "training",
        "synthesis",
        "server",
        "evaluation",
        "export",
        "__init__",
    },
    "__init__": {"config", "audio", "synthesis"},
    "__main__": {"cli", "endings"},
}
ONLY_IN = {
    "lhotse": {"data"},
    "onnx": {"export", "runtime"},
    "openvino": {"export", "runtime"},
    "onnxruntime": {"export", "runtime"},
    "fastapi": {"server"},
    "starlette": {"server"},
    "uvicorn": {"server"},
    "pydantic": {"server"},
    "prometheus_client": {"server"},
    "peft": {"training"},
    "tensorboard": {"training"},
    "tyro": {"cli"},
    "pocketsphinx": {"evaluation"},
    "resemblyzer": {"evaluation"},
    "speechmos": {"evaluation"},
    "faster_whisper": {"evaluation"},
    "distillmos": {"evaluation"},
    "jiwer": {"evaluation"},
    "transformers": {"evaluation"},
}
WITH_TORCH = {"model", "vocoder", "data", "export", "training", "weights", "runtime/torch.py"} | {
    f"evaluation/{name}.py" for name in ("efficientnet", "fairseq_weights", "utmos", "utmosv2", "wavlm_ecapa")
}
"""Rooms and files that need PyTorch; those below import it in functions at most, all others not at all."""
WITH_TORCH_WHEN_CALLED = {"evaluation", "hub", "pretrained"}
TORCH_FREE = (
    *(f"zipvoice.model.{name}." for name in ("arrays", "condition", "duration", "guidance", "solver")),
    "zipvoice.vocoder.vocos_files.",
)
"""Files of model and vocoder that need no PyTorch."""
SOURCES = sorted(ROOT.rglob("*.py"))


def room(path: Path) -> str:
    """The name of the table's row that a source file belongs to."""
    return path.relative_to(ROOT).with_suffix("").parts[0]


def statements(node: ast.AST, called: bool) -> Iterator[ast.AST]:
    """All that a source file does or, unless `called`, what it does as it is loaded."""
    for child in ast.iter_child_nodes(node):
        for_types = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        if called or not (for_types or isinstance(child, ast.FunctionDef)):
            yield child
            yield from statements(child, called)


def imported(path: Path, called: bool = True) -> set[str]:
    """Full names of all modules a source file imports, at any depth."""
    names: set[str] = set()
    for node in statements(ast.parse(path.read_text(encoding="utf-8")), called):
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


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_torch_is_imported_only_where_networks_are(path):
    own, file = room(path), str(path.relative_to(ROOT))
    if own in WITH_TORCH or file in WITH_TORCH:
        return
    names = imported(path, called=own not in WITH_TORCH_WHEN_CALLED)
    assert not [name for name in names if name.split(".")[0] == "torch"]
    networks = {name for name in names if name.startswith(("zipvoice.model.", "zipvoice.vocoder", "zipvoice.weights"))}
    assert not [name for name in networks if not name.startswith(TORCH_FREE)], f"{path} loads PyTorch by way of others"


def test_every_room_is_in_the_table():
    assert {room(path) for path in SOURCES} <= set(MAY_IMPORT)


def test_no_room_is_called_utils():
    assert not [path for path in ROOT.rglob("*") if path.stem in {"utils", "util", "helpers", "common", "misc"}]


def test_no_file_is_longer_than_one_reads_at_a_sitting():
    long = [path for path in SOURCES if len(path.read_text(encoding="utf-8").splitlines()) > 400]
    assert not long, "split what has more than one purpose"


def test_the_picture_is_drawn_from_the_imports():
    drawing = runpy.run_path(str(ROOT.parent / "docs" / "draw_architecture.py"))
    stored = (ROOT.parent / "docs" / "architecture.svg").read_text(encoding="utf-8")
    assert drawing["svg"](drawing["imports"]()) == stored, "run python docs/draw_architecture.py"
