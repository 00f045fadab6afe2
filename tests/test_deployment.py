# SPDX-License-Identifier: Apache-2.0
"""The container, read as Docker would: what it names is there, and its commands are commands of this package.

And what Ray is asked for; tests/test_ray.py has it run.
"""

import re
import subprocess
import sys
from dataclasses import asdict
from importlib.metadata import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from zipvoice.cli.parsing import parse
from zipvoice.cli.serve import Serve
from zipvoice.server.ray_app import RaySettings, application, build, limits

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


# ---------------------------------------------------------------- Ray


def test_ray_is_asked_for_the_replicas_of_the_settings(monkeypatch):
    asked = {}

    def deployment(**options):
        asked.update(options)
        return lambda replica: SimpleNamespace(bind=lambda: "bound")

    serve = SimpleNamespace(deployment=deployment, ingress=lambda app: lambda replica: replica)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(serve=serve))
    numbers = {"min_replicas": "2", "max_replicas": "5", "requests_per_replica": "3.5", "upscale_seconds": "4"}
    assert build({**numbers, "downscale_seconds": "60", "num_cpus": "3", "num_gpus": "0.5"}) == "bound"
    assert asked == {
        "name": "zipvoice",
        "autoscaling_config": {
            "min_replicas": 2,
            "max_replicas": 5,
            "target_ongoing_requests": 3.5,
            "upscale_delay_s": 4.0,
            "downscale_delay_s": 60.0,
            "metrics_interval_s": 2.0,  # half of what is averaged over
            "look_back_period_s": 4.0,
        },
        "max_ongoing_requests": 64,
        "graceful_shutdown_timeout_s": 30.0,
        "ray_actor_options": {"num_cpus": 3.0, "num_gpus": 0.5},
    }
    build({"upscale_seconds": "20"})
    assert asked["autoscaling_config"]["metrics_interval_s"] == 5.0
    assert asked["autoscaling_config"]["look_back_period_s"] == 10.0


def test_a_replica_computes_on_its_own_processors():
    """With evaluators for all of them, as far as the runtime has several, and one for a part of a processor."""
    for num_cpus, at_once, evaluators in ((3, 8, 3), (3, 2, 2), (2.5, 8, 2), (16, 8, 8), (1, 8, 1), (0.5, 8, 1)):
        made = limits(RaySettings(num_cpus=num_cpus, queue_seconds=7.0), at_once)
        assert (made.num_evaluators, made.queue_seconds, made.burst_seconds) == (evaluators, 7.0, 0)


def test_a_setting_has_a_default_and_a_kind(monkeypatch):
    assert asdict(RaySettings()) == {
        "model": "zipvoice_small_distill",
        "runtime": "auto",
        "device": None,
        "voices": None,
        "api_key_file": None,
        "queue_seconds": 30.0,
        "min_replicas": 1,
        "max_replicas": 8,
        "requests_per_replica": 4.0,
        "upscale_seconds": 10.0,
        "downscale_seconds": 300.0,
        "num_cpus": 1,
        "num_gpus": 0,
    }
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(serve=None))
    for name, text, message in (
        ("min_replicas", "two", "min_replicas must be a number, not 'two'"),
        ("num_cpus", "1 core", "num_cpus must be a number, not '1 core'"),
        ("replicas", "2", "replicas"),
    ):
        with pytest.raises(ValueError, match=message):
            build({name: text})
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r'pip install "ray\[serve\]"'):
        build({})


@pytest.mark.parametrize("with_keys", [True, False])
def test_a_replica_is_a_whole_server(monkeypatch, tmp_path, with_keys):
    made = {}

    def keep(name, result):
        return lambda *given, **known: made.update({name: (given, known)}) or result

    loaded = SimpleNamespace(model=SimpleNamespace(evaluations_at_once=8))
    for where, result in (("synthesis.synthesizer.load", loaded), ("server.scheduler.Scheduler", "scheduler")):
        monkeypatch.setattr(f"zipvoice.{where}", keep(where.rpartition(".")[2], result))
    monkeypatch.setattr("zipvoice.server.app.build_app", keep("build_app", "app"))
    (tmp_path / "keys").write_text("one\ntwo\n")
    given = {"api_key_file": str(tmp_path / "keys")} if with_keys else {}
    settings = RaySettings("models/mine", "onnx", "cpu", str(tmp_path / "voices"), num_cpus=3, **given)
    assert application(settings) == "app"
    assert made["load"] == (("models/mine",), {"runtime": "onnx", "device": "cpu"})
    assert made["Scheduler"] == ((loaded, limits(settings, 8)), {})
    (speaker, keys), known = made["build_app"]
    assert (keys, known) == (("one", "two") if with_keys else (), {"tells_ids": False})
    assert (speaker.synthesizer, speaker.scheduler, speaker.model) == (loaded, "scheduler", "mine")
    assert (speaker.voices.folder.path, speaker.voices.max_voices) == (tmp_path / "voices", 1000)
    assert (speaker.options.host, speaker.options.allow_anyone) == ("0.0.0.0", not with_keys)
