# SPDX-License-Identifier: Apache-2.0
"""What docs/serving.md tells people to type, typed; and what the server that answers has not loaded."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from zipvoice.audio.files import decode

PAGE = (Path(__file__).resolve().parents[1] / "docs/serving.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)


def typed(server, language: str, word: str) -> str:
    """The first block of a language that has a word, with the address of the server that runs."""
    (block, *_) = [text for kind, text in BLOCKS if kind == language and word in text]
    assert "127.0.0.1:8000" in block
    return block.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")


def test_the_lines_for_openais_client_work_as_they_stand(server, tmp_path):
    subprocess.run([sys.executable, "-c", typed(server, "python", "OpenAI")], cwd=tmp_path, check=True, timeout=120)
    assert decode((tmp_path / "hello.opus").read_bytes()).seconds > 0.3


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl; the same request is sent by other clients")
def test_the_line_for_curl_works_as_it_stands(server, tmp_path):
    subprocess.run(typed(server, "sh", "curl"), shell=True, cwd=tmp_path, check=True, timeout=120)
    assert decode((tmp_path / "hello.wav").read_bytes()).seconds > 0.3


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells what a process has loaded")
def test_the_server_speaks_without_pytorch(server):
    loaded = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "onnxruntime" in loaded and "libtorch" not in loaded
