# SPDX-License-Identifier: Apache-2.0
import json
import logging
import re
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from reference_models import reference

from zipvoice.config.model import FeatureConfig
from zipvoice.config.synthesis import SamplingConfig
from zipvoice.config.training import RunConfig
from zipvoice.data.collate import Batch
from zipvoice.model.guidance import guided_velocity
from zipvoice.model.solver import euler, time_grid
from zipvoice.training.distributed import World
from zipvoice.training.objectives import condition
from zipvoice.training.observation.logger import PROMPT_FRACTION, MetricLogger, Samples, log_to, truncate
from zipvoice.training.run import ModelRun

FEW_STEPS = SamplingConfig(2, 1.0)


def small_batch(num_channels):
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([20, 13, 40])
    features = torch.randn(3, 40, 20 * num_channels, generator=generator)
    return Batch(features, lengths, [[1, 2, 3], [4, 5], [6, 7]], ["a", "b", "c"], ["A", "B", "C"])


@pytest.mark.parametrize(("case", "num_channels"), [("zipvoice_u5", 1), ("distill_u3", 1), ("stereo_u5", 2)])
def test_samples_continue_the_beginning_of_utterances(case, num_channels, tmp_path):
    batch, model = small_batch(num_channels), reference(case).model
    samples = Samples(batch, MetricLogger(tmp_path), FeatureConfig(), FEW_STEPS, vocoder=torch.nn.Identity())
    made, again = samples.continuations(model), samples.continuations(model)
    assert torch.equal(made, again)
    assert made.shape == (2, 20, 20 * num_channels)  # the first two utterances, without the padding of the third
    for index, length in enumerate([20, 13]):
        split = {20: 6, 13: 3}[length]  # three tenths
        assert torch.equal(made[index, :split], batch.features[index, :split])
        assert not (made[index, split:length] == batch.features[index, split:length]).any()


@pytest.mark.parametrize(("variant", "num_channels"), [("zipvoice", 1), ("zipvoice_dialog_stereo", 3)])
def test_a_run_makes_samples_of_its_first_validation_batch(variant, num_channels, tmp_path):
    batch, trainer = small_batch(num_channels), SimpleNamespace(show=None)
    config = RunConfig(variant=variant, exp_dir=str(tmp_path), sample_every=7, vocoder="griffin-lim")
    run = SimpleNamespace(config=config, sampling=FEW_STEPS)
    trainer.valid_batches = [batch, small_batch(num_channels)]
    metrics = MetricLogger(tmp_path)
    ModelRun.observe(run, trainer, metrics)
    show = trainer.show
    assert (show.metrics, show.sampling, show.every, show.feature) == (metrics, FEW_STEPS, 7, config.feature)
    width = 20 * min(num_channels, 2)  # of stereo the channels that are generated, without their sum
    torch.testing.assert_close(show.batch.features, batch.features[:2, :20, :width], atol=0, rtol=0)
    assert show.vocoder(np.zeros((1, 100, 5), np.float32)).ndim == 2
    ModelRun.observe(SimpleNamespace(config=replace(config, sample_every=0)), trainer, None)
    assert trainer.show is show


@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.0])
def test_samples_begin_with_noise_of_the_temperature(temperature, tmp_path):
    """Always the same noise: so many times that of seed 0."""
    batch, model = small_batch(1), reference("zipvoice_u5").model
    sampling = SamplingConfig(3, 2.0, t_shift=0.7, temperature=temperature)
    samples = Samples(batch, MetricLogger(tmp_path), FeatureConfig(), sampling, vocoder=torch.nn.Identity())
    made = samples.continuations(model)
    first = samples.batch
    split = (PROMPT_FRACTION * first.feature_lens).long()
    mask = torch.arange(20) >= split[:, None]
    noise = torch.randn(first.features.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        given = condition(model, first, mask)
        x = euler(guided_velocity(model, 2.0), temperature * noise, given, time_grid(3, 0.7))
    torch.testing.assert_close(made[mask], x[mask])


@pytest.mark.parametrize(("case", "num_channels"), [("zipvoice_u5", 1), ("stereo_u5", 2)])
def test_samples_are_vocoded_in_their_length_and_scale(case, num_channels):
    heard, shown = [], []
    writer = SimpleNamespace(
        add_figure=lambda tag, *_: shown.append(tag),
        add_audio=lambda tag, wave, step, rate: shown.append((tag, step, rate)),
    )
    batch, model = small_batch(num_channels), reference(case).model
    feature = FeatureConfig(scale=0.1)
    sounding = lambda mel: heard.append(mel) or np.zeros((1, 8), np.float32)  # noqa: E731
    samples = Samples(batch, SimpleNamespace(writer=writer), feature, FEW_STEPS, sounding, every=2)
    samples(model, 3)
    assert not heard
    samples(model, 4)
    made = samples.continuations(model)
    expected = [
        (made[index, :length] / 0.1).clamp(-30, 10).split(20, dim=1)[channel].T[None]
        for index, length in enumerate([20, 13])
        for channel in range(num_channels)
    ]
    assert all(torch.equal(torch.from_numpy(mel), one) for mel, one in zip(heard, expected, strict=True))
    channels = [""] if num_channels == 1 else ["/channel0", "/channel1"]
    tags = [f"samples/{name}{channel}" for name in "ab" for channel in channels]
    assert shown == [each for tag in tags for each in (tag, (tag, 4, 24000))]


def test_sounds_beyond_full_scale_are_clipped_before_tensorboard_complains(tmp_path):
    heard = []
    writer = SimpleNamespace(add_figure=lambda *_: None, add_audio=lambda tag, wave, *_: heard.append(wave))
    loud = lambda mel: np.array([[-3.0, 0.5, 2.0]], np.float32)  # noqa: E731
    Samples(small_batch(1), SimpleNamespace(writer=writer), FeatureConfig(), FEW_STEPS, loud)(
        reference("zipvoice_u5").model, 1
    )
    assert all(wave.tolist() == [[-1.0, 0.5, 1.0]] for wave in heard) and heard


def test_messages_have_times_and_the_other_processes_only_warn(tmp_path, capsys):
    package, path = logging.getLogger("zipvoice"), tmp_path / "exp" / "train.log"
    before = package.level, package.propagate, list(package.handlers)
    for world in (World(), World(1, 2)):
        with log_to(path, world):
            package.info("begun")
            package.warning("damaged")
            assert not package.propagate
        assert (package.level, package.propagate, package.handlers) == before
    time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    written, shown = path.read_text(), capsys.readouterr().err
    assert re.fullmatch(rf"{time} begun\n{time} damaged\n", written)
    assert re.fullmatch(rf"{time} begun\n{time} damaged\n{time} damaged\n", shown)


def test_two_runs_do_not_write_one_folder(tmp_path):
    path = tmp_path / "exp" / "train.log"
    program = f"""
from pathlib import Path
from zipvoice.training.observation.logger import log_to
with log_to(Path({str(path)!r})):
    pass
"""
    command = [sys.executable, "-c", program]
    with log_to(path):
        other = subprocess.run(command, capture_output=True, text=True, check=False)
        assert other.returncode == 1
        assert f"another process is training in {path.parent}: wait until it ends, or choose another" in other.stderr
    assert subprocess.run(command, check=False).returncode == 0


def test_a_run_that_cannot_start_leaves_nothing(tmp_path):
    for folder, kept in (("new", []), ("old", ["run.json"])):
        for name in kept:
            (tmp_path / folder).mkdir()
            (tmp_path / folder / name).touch()
        with pytest.raises(ValueError, match="no data"), log_to(tmp_path / folder / "train.log"):
            raise ValueError("no data")
        assert sorted(path.name for path in tmp_path.glob(f"{folder}/*")) == kept
    assert not (tmp_path / "new").exists()
    with pytest.raises(ValueError, match="no data"), log_to(tmp_path / "new" / "train.log"):
        logging.getLogger("zipvoice").info("begun")
        raise ValueError("no data")
    assert (tmp_path / "new" / "train.log").read_text().endswith("begun\n")


def test_records_are_lines_of_json_and_can_be_cut_off(tmp_path):
    tracker = MetricLogger(tmp_path)
    for step in (1, 2, 3):
        tracker.scalars("train", step, {"loss": 1.0 / step})
    tracker.close()
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"kind": "tr')
    truncate(tmp_path / "log.jsonl", 2)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines == [{"kind": "train", "step": 1, "loss": 1.0}, {"kind": "train", "step": 2, "loss": 0.5}]
    for damage in ("\0\0\n", "[]\n", "{}\n"):  # as a machine that lost its power leaves it
        (tmp_path / "log.jsonl").write_text(damage)
        with pytest.raises(ValueError, match=r"log\.jsonl is damaged .*; move it away"):
            truncate(tmp_path / "log.jsonl", 2)


def test_a_missing_package_is_named_with_the_command_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r"pip install 'zipvoice-tts\[training\]'"):
        MetricLogger(tmp_path)
