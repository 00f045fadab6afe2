# SPDX-License-Identifier: Apache-2.0
"""Vocos of other layouts: the call of the package, with a stand-in, and the package itself where it imports."""

import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import nn

from zipvoice.vocoder.log_mel import LogMel
from zipvoice.vocoder.other_vocos import OtherVocos, load_any_vocos
from zipvoice.vocoder.vocos import load_vocos

DATA = Path(__file__).parent / "data" / "audio"


class Backbone(nn.Module):
    def __init__(self, input_channels, dim, num_layers, intermediate_dim):
        super().__init__()
        self.embed = nn.Conv1d(input_channels, dim, 1)

    def forward(self, mel):
        return self.embed(mel).transpose(1, 2)


class CosineHead(nn.Module):
    """A hop of samples for each frame, as heads with a cosine transform give."""

    def __init__(self, dim, mdct_frame_len):
        super().__init__()
        self.out = nn.Linear(dim, mdct_frame_len // 2)

    def forward(self, x):
        return self.out(x).flatten(1)


@pytest.fixture
def package(monkeypatch):
    """A stand-in for the package."""
    for name, members in (("", {}), (".models", {"Backbone": Backbone}), (".heads", {"Cosine": CosineHead})):
        module = ModuleType(f"vocos{name}")
        vars(module).update(members, nn=nn, run=print)
        monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.fixture
def folder(tmp_path):
    config = yaml.safe_load((DATA / "vocos_config.yaml").read_text())
    config["backbone"]["class_path"] = "vocos.models.Backbone"
    config["head"] = {"class_path": "vocos.heads.Cosine", "init_args": {"dim": 48, "mdct_frame_len": 512}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    torch.manual_seed(0)
    save_file(OtherVocos(Backbone(100, 48, 1, 1), CosineHead(48, 512)).state_dict(), tmp_path / "model.safetensors")
    return tmp_path


def change(folder, old, new):
    text = (folder / "config.yaml").read_text()
    assert old in text
    (folder / "config.yaml").write_text(text.replace(old, new))


def test_another_layout_is_computed_by_the_classes_of_the_package(folder, package):
    vocos, weights = load_any_vocos(folder), load_file(folder / "model.safetensors")
    mel = 0.1 * torch.randn(2, 100, 7, generator=torch.Generator().manual_seed(0))
    x = torch.einsum("bft,df->btd", mel, weights["backbone.embed.weight"][..., 0]) + weights["backbone.embed.bias"]
    samples = (x @ weights["head.out.weight"].T + weights["head.out.bias"]).flatten(1)  # (B, 7 · 256)
    torch.testing.assert_close(vocos(mel), samples[:, 128:-128].clamp(-1, 1))


def test_without_the_package_its_installation_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "vocos", None)
    with pytest.raises(ImportError, match=r"vocos\.models\.Backbone needs .*pip install 'zipvoice-tts\[vocos\]'"):
        load_any_vocos(folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("vocos.heads.Cosine", "os.system", "head is a os.system, which is no class of vocos.heads"),
        ("vocos.heads.Cosine", "vocos.heads.run", "head is a vocos.heads.run, which is no class of vocos.heads"),
        ("vocos.heads.Cosine", "vocos.heads.nn.Module", "head is a vocos.heads.nn.Module, which is no class"),
        ("sample_rate: 24000", "sample_rate: 44100", "sample_rate of feature_extractor is 44100, but must be 24000"),
        ("mdct_frame_len", "frame_len", "unexpected keyword argument 'frame_len'"),
    ],
)
def test_nothing_but_networks_of_the_package_on_our_features_is_made(folder, package, old, new, message):
    change(folder, old, new)
    with pytest.raises(ValueError) as error:
        load_any_vocos(folder)
    assert str(folder / "config.yaml") in str(error.value) and message in str(error.value)


@pytest.mark.slow
def test_the_package_computes_what_ours_does(tmp_path):
    """The published layout by the package's own classes; needs the extra `vocos`."""
    try:
        from vocos.heads import ISTFTHead
        from vocos.models import VocosBackbone
    except (ImportError, OSError) as error:  # torchaudio without the libraries that it was built for
        pytest.skip(f"the package vocos does not import: {error}")
    shutil.copy(DATA / "vocos_config.yaml", tmp_path / "config.yaml")
    reference = load_file(DATA / "vocos.safetensors")
    weights = {name.removeprefix("state."): value for name, value in reference.items() if name.startswith("state.")}
    weights["feature_extractor.mel_spec.mel_scale.fb"] = LogMel().mel_scale.fb
    save_file(weights, tmp_path / "model.safetensors")
    sections = yaml.safe_load((tmp_path / "config.yaml").read_text())
    theirs = OtherVocos(
        VocosBackbone(**sections["backbone"]["init_args"]), ISTFTHead(**sections["head"]["init_args"])
    ).eval()
    theirs.load_state_dict(weights)
    mel = reference["case1.mel"]
    torch.testing.assert_close(load_vocos(tmp_path)(mel), theirs(mel), atol=1e-5, rtol=0)
