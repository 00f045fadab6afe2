# SPDX-License-Identifier: Apache-2.0
import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from zipvoice.vocoder.log_mel import LogMel
from zipvoice.vocoder.vocos import Vocos, VocosConfig, load_vocos, save_vocos

DATA = Path(__file__).parent / "data/audio"
REFERENCE = load_file(DATA / "vocos.safetensors")
FILTERS = "feature_extractor.mel_spec.mel_scale.fb"
WEIGHTS = {name.removeprefix("state."): value for name, value in REFERENCE.items() if name.startswith("state.")}
WEIGHTS[FILTERS] = LogMel().mel_scale.fb


@pytest.fixture
def folder(tmp_path):
    """A vocoder in the published form."""
    shutil.copy(DATA / "vocos_config.yaml", tmp_path / "config.yaml")
    torch.save(WEIGHTS, tmp_path / "pytorch_model.bin")
    return tmp_path


def change(folder, part, **arguments):
    """Set, or with None remove, arguments of one part in config.yaml."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    changed = {**config[part]["init_args"], **arguments}
    config[part]["init_args"] = {name: value for name, value in changed.items() if value is not None}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


@torch.inference_mode()
def test_reference_wave(folder):
    wave = load_vocos(folder)(REFERENCE["case1.mel"])
    torch.testing.assert_close(wave, REFERENCE["case1.wave"], atol=1e-5, rtol=0)


@torch.inference_mode()
def test_its_features_are_ours():
    mel = LogMel()(REFERENCE["feat.wave"]).transpose(1, 2)
    torch.testing.assert_close(mel, REFERENCE["feat.mel"][..., : mel.shape[-1]], atol=1e-4, rtol=0)


def test_names_and_shapes_are_the_published_ones():
    state = Vocos(VocosConfig()).state_dict()
    published = json.loads((DATA / "vocos_mel_24khz_keys.json").read_text())
    assert {name: list(value.shape) for name, value in state.items()} == published


@torch.inference_mode()
def test_both_weight_formats_are_the_same_vocoder(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("safetensors")
    shutil.copy(folder / "config.yaml", other)
    save_file(WEIGHTS, other / "model.safetensors")
    mel = REFERENCE["case1.mel"]
    assert torch.equal(load_vocos(other)(mel), load_vocos(folder)(mel))


@torch.inference_mode()
@pytest.mark.parametrize("num_frames", [2, 3, 50])
def test_each_of_a_batch_is_vocoded_alone(folder, num_frames):
    vocos = load_vocos(folder)
    mel = torch.randn(3, 100, num_frames, generator=torch.Generator().manual_seed(0))
    waves = vocos(mel)
    assert waves.shape == (3, (num_frames - 1) * 256)
    torch.testing.assert_close(waves, torch.cat([vocos(one[None]) for one in mel]), atol=1e-5, rtol=0)


def test_only_the_plain_wave_may_leave_the_range(folder):
    vocos = load_vocos(folder)
    with torch.no_grad():
        vocos.head.out.bias[:513] += 3  # twenty times louder
        mel = REFERENCE["case1.mel"]
        wave = vocos.wave(mel)
        assert wave.abs().max() > 1
        assert torch.equal(vocos(mel), wave.clamp(-1, 1))


@torch.no_grad()
def test_its_export_is_the_same_vocoder_at_any_length(folder):
    vocos = load_vocos(folder)
    shapes = ({2: torch.export.Dim("frames", min=4, max=5000)},)
    program = torch.export.export(vocos, (torch.zeros(1, 100, 30),), dynamic_shapes=shapes).module()
    mel = REFERENCE["case1.mel"][:1]
    torch.testing.assert_close(program(mel), vocos(mel), atol=1e-6, rtol=0)


def test_every_parameter_learns():
    torch.manual_seed(0)
    vocos = Vocos(VocosConfig(dim=16, intermediate_dim=32, num_layers=2))
    vocos.wave(torch.randn(1, 100, 9)).square().sum().backward()
    assert all((parameter.grad != 0).any() for parameter in vocos.parameters())


@pytest.mark.parametrize("shape", [(100, 9), (1, 9, 100), (1, 100, 1)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"log-mel \(B, 100, T\) with T at least 2"):
        Vocos(VocosConfig(dim=16, intermediate_dim=32, num_layers=1))(torch.zeros(shape))


@pytest.mark.parametrize("name", ["config.yaml", "pytorch_model.bin"])
def test_missing_files_are_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} in {folder}.*charactr/vocos-mel-24khz"):
        load_vocos(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html><html></html>", "truncated"])
def test_broken_weights_are_named(folder, name, content):
    if content == "truncated":
        save_file(WEIGHTS, folder / "whole.safetensors")
        whole = folder / ("whole.safetensors" if name.endswith(".safetensors") else name)
        content = whole.read_bytes()[:-1000]
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} is damaged or"):
        load_vocos(folder)


class Surprise:
    """What a hostile checkpoint would hold."""


def test_nothing_but_tensors_is_unpickled(folder):
    torch.save({**WEIGHTS, "surprise": Surprise()}, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin .*holds Python objects"):
        load_vocos(folder)
    torch.save({"epoch": 3, "weights": WEIGHTS}, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin holds no weights"):
        load_vocos(folder)


def test_weights_that_do_not_fit_are_counted_and_named(folder):
    weights = dict(WEIGHTS)
    del weights["head.out.bias"], weights["backbone.norm.bias"]
    weights["backbone.extra"] = torch.zeros(1)
    weights["head.out.weight"] = torch.zeros(1026, 7)
    torch.save(weights, folder / "pytorch_model.bin")
    message = (
        r"pytorch_model\.bin does not fit the model: backbone\.norm\.bias is missing; head\.out\.bias is missing; "
        r"backbone\.extra is not part of the model; head\.out\.weight has shape \(1026, 7\)"
    )
    with pytest.raises(ValueError, match=message):
        load_vocos(folder)


def test_other_sizes_than_the_weights_are_named(folder):
    change(folder, "backbone", intermediate_dim=64)
    with pytest.raises(ValueError, match=r"pwconv1\.weight has shape \(96, 48\) instead of \(64, 48\)"):
        load_vocos(folder)


@pytest.mark.parametrize(
    ("part", "arguments", "message"),
    [
        ("feature_extractor", {"sample_rate": 44100}, "sample_rate of feature_extractor is 44100, but must be 24000"),
        ("feature_extractor", {"n_mels": None}, "n_mels of feature_extractor is None, but must be 100"),
        ("feature_extractor", {"n_mel": 80}, "unknown argument 'n_mel'; did you mean 'n_mels'"),
        ("backbone", {"input_channels": 80}, "input_channels of backbone is 80, but must be 100"),
        ("backbone", {"dim": "wide"}, "at backbone.dim: expected int"),
        ("backbone", {"adanorm_num_embeddings": 4}, "backbone has the unknown argument 'adanorm_num_embeddings'"),
        ("head", {"padding": "same"}, "padding of head is same, but must be center"),
        ("head", {"dim": 512}, "dim of head is 512, but must be 48"),
    ],
)
def test_other_settings_are_refused(folder, part, arguments, message):
    change(folder, part, **arguments)
    with pytest.raises(ValueError, match=r"config\.yaml: ") as error:
        load_vocos(folder)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("vocos.heads.ISTFTHead", "os.system", "head is a os.system; only vocos.heads.ISTFTHead is known"),
        ("vocos.heads.ISTFTHead", "!!python/name:os.system", "could not determine a constructor"),
        ("head:", "tail:", "the section 'head' with class_path and init_args is missing"),
        ("head:", "head: [", "while parsing"),
    ],
)
def test_other_classes_and_broken_yaml_are_refused(folder, old, new, message):
    path = folder / "config.yaml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=r"config\.yaml: ") as error:
        load_vocos(folder)
    assert message in str(error.value)


def test_yaml_that_stands_for_more_than_it_is_ends_at_once(tmp_path):
    levels = "\n".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 4)}]" for i in range(1, 6))
    for content in (
        f"l0: &l0 [a, b]\n{levels}\n",
        "a: " + "[" * 2000 + "]" * 2000,
    ):
        (tmp_path / "config.yaml").write_text(content)
        (tmp_path / "pytorch_model.bin").write_bytes(b"")
        with pytest.raises(ValueError, match=r"config\.yaml: .*(aliases|nested too deeply)"):
            load_vocos(tmp_path)


def test_a_vocoder_is_compared_with_its_weights_before_it_is_built(tmp_path):
    save_vocos(Vocos(VocosConfig(dim=8, intermediate_dim=16, num_layers=1)), tmp_path)
    for changed in ({"dim": 10**6}, {"num_layers": 10**5}):
        (tmp_path / "config.json").write_text(
            json.dumps({"dim": 8, "intermediate_dim": 16, "num_layers": 1, **changed})
        )
        with pytest.raises(ValueError, match=r"model\.safetensors does not fit the model: .* far too large"):
            load_vocos(tmp_path)
