# SPDX-License-Identifier: Apache-2.0
"""What works in an environment without PyTorch."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "zipvoice"
NETWORKS = {"efficientnet", "fairseq_weights", "utmos", "utmosv2", "wavlm_ecapa"}
"""Of evaluation: networks of published scores, which their users import when they are asked for."""
ROOMS = ("config", "text", "audio", "synthesis", "evaluation", "server", "cli")

BLOCKED = """
import importlib, sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ImportError("there is no torch here")

sys.meta_path.insert(0, NoTorch())
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def names(room: str) -> list[str]:
    """The modules of a room, by their full names."""
    paths = [path.relative_to(ROOT.parent).with_suffix("") for path in sorted((ROOT / room).rglob("*.py"))]
    return [".".join(path.parts).removesuffix(".__init__") for path in paths if path.name not in NETWORKS]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_imported_where_there_is_no_torch(room):
    modules = names(room)
    assert len(modules) > 3
    blocked = [sys.executable, "-c", BLOCKED, "zipvoice", *modules]
    result = subprocess.run(blocked, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
