# SPDX-License-Identifier: Apache-2.0
"""Cores that a process may use: fewer than the machine has, where it is confined or a container has a quota."""

import os
from types import SimpleNamespace

import pytest
import torch

from zipvoice import cores
from zipvoice.config.model_file import ModelFile
from zipvoice.data import workers
from zipvoice.evaluation.whisper import Whisper
from zipvoice.runtime import torch as torch_runtime
from zipvoice.runtime.onnx import OnnxEngine
from zipvoice.server.admission import SchedulerLimits


@pytest.fixture(autouse=True)
def six_cores(monkeypatch, tmp_path):
    """A process that may run on six cores, in a container whose quota the tests set."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)), raising=False)
    monkeypatch.setattr(cores, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    return tmp_path / "cpu.max"


@pytest.fixture
def threads():
    """The number of PyTorch's threads may be changed."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_workers_are_no_more_than_the_cores(monkeypatch, six_cores):
    assert [workers.fitting(number) for number in (0, 1, 6, 8)] == [0, 1, 6, 6]
    six_cores.write_text("250000 100000\n")
    assert workers.fitting(8) == 2
    six_cores.write_text("max 100000\n")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    assert workers.fitting(8) == 2
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "30")
    assert (workers.fitting(8), workers.fitting(0)) == (1, 0)


def test_threads_of_pytorch_are_no_more_than_the_cores(six_cores, threads):
    six_cores.write_text("300000 100000\n")
    for started, fitting in ((8, 3), (2, 2), (1, 1)):
        torch.set_num_threads(started)
        torch_runtime.fit_threads()
        assert torch.get_num_threads() == fitting


def test_a_container_with_a_quota_speaks_with_the_threads_of_its_cores(six_cores, threads):
    """`docker run --cpus 4` on a large machine: threads beyond 4 would use the quota up and be stopped."""
    assert (OnnxEngine().num_threads, SchedulerLimits().vocoders) == (6, 3)
    six_cores.write_text("400000 100000\n")
    assert (OnnxEngine().num_threads, OnnxEngine(1).evaluations_at_once, SchedulerLimits().vocoders) == (4, 4, 2)
    torch.set_num_threads(8)
    network = SimpleNamespace(config=SimpleNamespace(fm_decoder_dim=192), variant="zipvoice", vocabulary=None)
    network.to = lambda device: SimpleNamespace(eval=lambda: network)
    assert torch_runtime.TorchModel(network, ModelFile(), "cpu").num_threads == 4


@pytest.mark.parametrize(("quota", "asked", "expected"), [("max", None, 4), ("200000", None, 2), ("200000", "3", 0)])
def test_the_recogniser_has_the_threads_of_its_cores(monkeypatch, six_cores, quota, asked, expected):
    """Of 0 it makes what OMP_NUM_THREADS says."""
    import faster_whisper

    six_cores.write_text(f"{quota} 100000\n")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    found = {}
    monkeypatch.setattr(faster_whisper, "WhisperModel", lambda *_, **options: found.update(options))
    Whisper()
    assert found["cpu_threads"] == expected
