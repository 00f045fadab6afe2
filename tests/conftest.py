# SPDX-License-Identifier: Apache-2.0
"""One thread for tests, and for the programs they start.

The models are so small that several threads mostly wait for each other, and on a busy machine they do so for minutes.
"""

import os
import signal
import subprocess
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a shell; programs started would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

from collections.abc import Iterator

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("stepping_model")  # tests import it before it is a plugin of theirs
settings.register_profile("patient", deadline=None)  # how long an example takes says how busy the machine is
settings.load_profile("patient")


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator["object"]:
    """One speech server for all tests that do it no harm."""
    import server_process

    running = server_process.start(tmp_path_factory.mktemp("server"), *server_process.PATIENT, "--wyoming", "0")
    yield running
    running.end()


@pytest.fixture(scope="module")
def synthesizer(tmp_path_factory) -> "object":
    """A tiny model with random weights, of one voice."""
    from tiny_models import make_synthesizer

    return make_synthesizer(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def prompt(synthesizer) -> "object":
    """0.8 s (0.2 s of silence are added) with 11 tokens."""
    from tiny_models import tone

    return synthesizer.prompt(tone(0.6), "a low tone")


@pytest.fixture(scope="module")
def speaker(tmp_path_factory) -> Iterator["object"]:
    """A small server of one voice that holds two requests at a time, without a process around it."""
    import server_app

    with server_app.small_speaker(tmp_path_factory.mktemp("speaker")) as speaker:
        yield speaker


@pytest.fixture(scope="module")
def app(speaker) -> "object":
    from zipvoice.server.app import build_app

    return build_app(speaker)


@pytest.fixture
def no_ear(monkeypatch):
    """No recogniser is installed."""

    def missing():
        raise ImportError("pip install 'zipvoice-tts[evaluation]'")

    monkeypatch.setattr("zipvoice.evaluation.transcription.ear", missing)
    monkeypatch.setattr("zipvoice.evaluation.transcription.has_ear", lambda: False)


@pytest.fixture
def acts(monkeypatch) -> list[str]:
    """What began to run, to connect or to unpickle since: it is noted, and held back by an AssertionError."""
    seen: list[str] = []

    def held_back(what: str):
        def begin(*arguments, **options):
            seen.append(f"{what} {arguments[-1]}")
            raise AssertionError(seen[-1])

        return begin

    monkeypatch.setattr("subprocess.Popen.__init__", held_back("ran"))
    monkeypatch.setattr("os.system", held_back("ran"))
    monkeypatch.setattr("socket.socket.connect", held_back("reached"))
    monkeypatch.setattr("pickle.loads", held_back("unpickled"))
    return seen


def pytest_testnodedown(node: "object", error: "object") -> None:
    """Of pytest-xdist: say how a process of the run ended that should not have."""
    process = getattr(getattr(getattr(node, "gateway", None), "_io", None), "popen", None)
    if not error or process is None:
        return
    try:
        ended = f"ended with status {process.wait(10)}"  # less than zero for a signal
    except subprocess.TimeoutExpired:
        ended = "still runs, but says nothing any more"
    print(f"\n{node.gateway.id} {ended}", file=sys.__stderr__)
