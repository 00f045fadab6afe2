# SPDX-License-Identifier: Apache-2.0
"""The container, read as Docker would: what it names is there, and its commands are commands of this package."""

import re
import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path

import pytest
import yaml

from zipvoice.cli.parsing import parse
from zipvoice.cli.serve import Serve

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
SERVICES = COMPOSE["services"]


def test_what_is_copied_is_there_and_not_ignored():
    copied = [name for line in re.findall(r"^COPY (.*) \S+$", DOCKERFILE, re.MULTILINE) for name in line.split()]
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {"pyproject.toml", "zipvoice", metadata("zipvoice-tts")["License-File"]} <= {*copied}
    for name in copied:
        assert (ROOT / name).exists() and name not in ignored
    assert (ROOT / "deploy" / SERVICES["zipvoice"]["build"] / "Dockerfile").exists()


def test_what_is_installed_are_extras_of_the_package():
    default = re.search(r"^ARG EXTRAS=(\S+)", DOCKERFILE, re.MULTILINE)[1]
    cuda = SERVICES["zipvoice-cuda"]["build"]["args"]["EXTRAS"]
    known = metadata("zipvoice-tts").get_all("Provides-Extra")
    assert set(f"{default},{cuda}".split(",")) <= set(known)
    assert set(cuda.split(",")) - set(default.split(",")) == {"torch"}


@pytest.mark.parametrize("service", SERVICES)
def test_the_command_is_one_of_this_package_and_its_paths_are_mounted(service):
    command, *arguments = SERVICES[service]["command"]
    parsed = parse(Serve, command, arguments)
    assert command == "serve" and parsed.server.port == 8000 and parsed.server.is_open
    assert [f"voices:{parsed.server.voices}"] == SERVICES[service]["volumes"]
    assert f"--owner=speaker {parsed.server.voices}" in DOCKERFILE  # a new volume has the owner of what it covers
    assert parsed.server.api_key_file.name in COMPOSE["secrets"]
    grace = int(SERVICES[service]["stop_grace_period"].removesuffix("s"))
    assert grace > parsed.server.drain_seconds


def test_the_health_check_tells_a_server_that_is_ready_from_none(server):
    kind, python, *arguments = SERVICES["zipvoice"]["healthcheck"]["test"]
    assert (kind, python) == ("CMD", "python")
    for port, code in ((server.port, 0), (1, 1)):
        asked = [argument.replace("8000", str(port)) for argument in arguments]
        assert subprocess.run([sys.executable, *asked], capture_output=True).returncode == code
