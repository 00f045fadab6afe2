# SPDX-License-Identifier: Apache-2.0
"""What a run reads is looked for first, and all that is missing is told at once."""

from dataclasses import replace

import pytest
from tiny_models import LETTERS, make_model, make_vocoder

pytest.importorskip("lhotse")
from zipvoice.cli import main
from zipvoice.config.data import DataConfig, ManifestConfig
from zipvoice.config.training import ObjectiveConfig, RunConfig
from zipvoice.config.vocoder import VocoderRunConfig
from zipvoice.training import run
from zipvoice.training.inputs import check_inputs, check_vocoder_inputs


@pytest.fixture
def there(tmp_path, monkeypatch):
    """A run all of whose inputs are there, in the current folder."""
    monkeypatch.chdir(tmp_path)
    make_model(tmp_path / "model")
    LETTERS.write(tmp_path / "tokens.txt")
    for name in ("train.jsonl.gz", "dev.jsonl.gz", "checkpoint-3.pt"):
        (tmp_path / name).touch()
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "cuts.000000.jsonl.gz").touch()
    data = DataConfig((ManifestConfig("train.jsonl.gz"), ManifestConfig("shards")), (ManifestConfig("dev.jsonl.gz"),))
    return RunConfig(data=data, init_from="model", tokens="tokens.txt", sample_every=2, resume="checkpoint-3.pt")


def nowhere(*paths):
    return tuple(map(ManifestConfig, paths))


CHANGES = {
    "train": ({"data": DataConfig(nowhere("a.jsonl.gz"), nowhere("dev.jsonl.gz"))}, "there is no manifest a.jsonl.gz"),
    "dev": ({"data": DataConfig(nowhere("train.jsonl.gz"), nowhere("a.jsonl.gz"))}, "there is no manifest a.jsonl.gz"),
    "replay": (
        {"data": DataConfig((*nowhere("train.jsonl.gz"), ManifestConfig("a.jsonl.gz", replay=0.2)), nowhere("shards"))},
        "there is no manifest a.jsonl.gz",
    ),
    "no data": ({"data": DataConfig((), nowhere("dev.jsonl.gz"))}, "data.train names no manifest"),
    "no samples": ({"data": DataConfig(nowhere("train.jsonl.gz"))}, "sample_every needs validation data"),
    "model": ({"init_from": "modle"}, "there is no directory modle"),
    "teacher": (
        {"objective": ObjectiveConfig(teacher="base"), "variant": "zipvoice_distill"},
        "there is no directory base",
    ),
    "a teacher too many": ({"objective": ObjectiveConfig(teacher="model")}, "objective.teacher is for the variant"),
    "a teacher too few": ({"variant": "zipvoice_distill"}, "objective.teacher is for the variant"),
    "weights": ({"init_from": "empty"}, "empty has no model.safetensors or model.pt"),
    "tokens": ({"tokens": "toknes.txt"}, "there is no token table toknes.txt"),
    "scratch": ({"tokens": None, "init_from": None}, "from scratch needs a token table"),
    "vocoder": ({"vocoder": "vocos_smal"}, "there is no vocoder vocos_smal.*vocos_small"),
    "resume": ({"resume": "checkpoint-4.pt"}, "there is no checkpoint checkpoint-4.pt"),
    "graphs": ({"exp_dir": "graphs"}, "velocity.onnx would speak in place of the weights"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_what_is_missing_is_told_before_a_model_is_read(there, tmp_path, monkeypatch, kind):
    make_model(tmp_path / "empty")
    (tmp_path / "empty" / "model.safetensors").unlink()
    (tmp_path / "graphs").mkdir()
    (tmp_path / "graphs" / "velocity.onnx").touch()
    monkeypatch.setattr(run, "teacher_model", lambda config: pytest.fail("a model is read"))
    check_inputs(there)
    changes, message = CHANGES[kind]
    with pytest.raises((ValueError, OSError), match=message):
        run.ModelRun(replace(there, **changes))


def test_all_that_is_missing_is_told_at_once(there, capsys):
    data = DataConfig(nowhere("a.jsonl.gz", "b.tsv"), nowhere("a.jsonl.gz", "c.jsonl.gz"))
    with pytest.raises(ValueError) as error:
        check_inputs(replace(there, data=data, init_from="modle", tokens="toknes.txt"))
    first, *others = str(error.value).split("\n  ")
    assert first == "the run cannot begin, faults: 5"
    for other, named in zip(others, ("modle", "toknes.txt", "a.jsonl.gz", "b.tsv", "c.jsonl.gz"), strict=True):
        assert named in other
    arguments = ["finetune", "model", "--train", "a.jsonl.gz", "--dev", "c.jsonl.gz", "--exp-dir", "exp"]
    assert main(arguments) == 1
    assert "faults: 2\n" in capsys.readouterr().err


def test_a_released_model_may_still_have_to_be_downloaded(there, tmp_path):
    (tmp_path / "zipvoice").mkdir()
    check_inputs(replace(there, init_from="zipvoice"))
    (tmp_path / "zipvoice" / "model.json").touch()
    with pytest.raises(ValueError, match=r"zipvoice/model\.json"):
        check_inputs(replace(there, init_from="zipvoice"))


def test_a_vocoder_has_inputs_too(there, tmp_path):
    make_vocoder(tmp_path / "vocos")
    config = VocoderRunConfig(init_from="vocos", train=("train.jsonl.gz", "shards"), dev=("dev.jsonl.gz",))
    check_vocoder_inputs(config)
    (tmp_path / "vocos" / "vocoder.onnx").touch()
    for changes, message in (
        ({"init_from": "nowhere"}, "faults: 2\n  no config.json .*in nowhere"),
        ({"train": ("nowhere",)}, "there is no manifest nowhere"),
        ({"train": ()}, "train names no recordings"),
        ({"dev": ("nowhere",)}, "there is no manifest nowhere"),
        ({"resume": "nowhere"}, "there is no checkpoint nowhere"),
        ({"exp_dir": "vocos"}, "vocoder.onnx would speak in place of the weights"),
    ):
        with pytest.raises((ValueError, OSError), match=message):
            run.VocoderRun(replace(config, **changes))
