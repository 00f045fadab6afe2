# SPDX-License-Identifier: Apache-2.0
"""Graphs as the authors of ZipVoice publish them, here made from a tiny model by the published contract."""

import logging
import warnings

import numpy as np
import onnx
import pytest
import torch
from tiny_models import make_model
from torch import nn

from zipvoice.cli import main
from zipvoice.export.network import TracedTextCondition, TracedVelocity
from zipvoice.model.condition import Condition
from zipvoice.model.guidance import classifier_free_guidance
from zipvoice.pretrained import load_network, read_directory
from zipvoice.runtime.released_onnx import TEXT_INPUTS, VELOCITY_INPUTS
from zipvoice.runtime.select import load_model

VARIANTS = ["zipvoice", "zipvoice_distill"]


class Text(nn.Module):
    """ceil(P / S_prompt · (S_prompt + S) / speed) frames: speed shrinks the prompt as well."""

    def __init__(self, network):
        super().__init__()
        self.condition = TracedTextCondition(network)

    def forward(self, tokens, prompt_tokens, prompt_features_len, speed):
        ids = torch.cat([prompt_tokens, tokens], dim=1)
        count = torch.ones_like(ids).sum(dim=1)
        prompt_count = torch.ones_like(prompt_tokens).sum(dim=1)
        frames = (prompt_features_len / prompt_count * count / speed).ceil().long()
        return self.condition(torch.cat([ids, torch.zeros_like(ids[:, :1])], dim=1), count, frames)


class Velocity(nn.Module):
    """The rule of guidance is inside, or the scale is an argument of the network."""

    def __init__(self, network):
        super().__init__()
        self.velocity, self.is_distilled = TracedVelocity(network), network.is_distilled

    def forward(self, t, x, text_condition, speech_condition, guidance_scale):
        def velocity(t, x, condition, *scale):
            times = torch.zeros_like(x[:, 0, 0]) + t
            mask = torch.zeros_like(x[:, :, 0]) > 1
            return self.velocity(times, x, condition.text, condition.speech, mask, *scale)

        condition = Condition(text_condition, speech_condition)
        if self.is_distilled:
            return velocity(t, x, condition, torch.zeros_like(x[:, 0, 0]) + guidance_scale)
        return classifier_free_guidance(velocity, guidance_scale)(t, x, condition)


@pytest.fixture(scope="module", params=VARIANTS)
def folders(request, tmp_path_factory):
    """A tiny model with weights, and a folder as the hub has it, with graphs alone."""
    weights = tmp_path_factory.mktemp("weights")
    release = tmp_path_factory.mktemp("release") / request.param
    make_model(weights, request.param)
    network = load_network(read_directory(weights))
    release.mkdir()
    (release / "tokens.txt").write_bytes((weights / "tokens.txt").read_bytes())
    described = (weights / "model.json").read_text(encoding="utf-8").replace(f'"variant": "{request.param}",', "")
    (release / "model.json").write_text(described, encoding="utf-8")
    ids, x = torch.tensor([[5, 6, 7]]), torch.randn(1, 11, 100)
    text = (ids, ids[:, :2], torch.tensor(4), torch.tensor(1.0))
    export(Text(network), text, release / "text_encoder.onnx", TEXT_INPUTS, "text_condition")
    velocity = (torch.tensor(0.3), x, x, x, torch.tensor(1.0))
    export(Velocity(network), velocity, release / "fm_decoder.onnx", VELOCITY_INPUTS, "v")
    return weights, release


@torch.no_grad()
def export(module, arguments, path, names, output):
    axes = {name: {0: "N", 1: "T"} for name, value in zip(names, arguments, strict=True) if value.dim()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(), arguments, str(path), dynamo=False, opset_version=13, input_names=list(names),
            output_names=[output], dynamic_axes={**axes, output: {0: "N", 1: "T"}},
        )  # fmt: skip


def test_published_graphs_give_the_numbers_of_the_network(folders, caplog):
    weights, release = folders
    network = load_model(read_directory(weights), "torch", device="cpu")
    with caplog.at_level(logging.WARNING):
        graphs = load_model(read_directory(release), "auto", device="cpu")
    assert [record.message for record in caplog.records if "one by one, not in batches" in record.message]
    rng = np.random.default_rng(0)
    num_tokens, num_frames = np.array([3, 9]), np.array([29, 40])  # 29 is not a multiple of 3
    tokens = np.zeros((2, 10), np.int64)
    for row, count in zip(tokens, num_tokens, strict=True):
        row[:count] = rng.integers(1, 60, count)
    x, speech = rng.standard_normal((2, 2, 40, 100), dtype=np.float32)
    arguments = (tokens, num_tokens, num_frames, 0.3 * speech)
    real = (np.arange(40) < num_frames[:, None])[:, :, None]
    text, found = network.condition(*arguments), graphs.condition(*arguments)
    np.testing.assert_allclose(found.text * real, network.numpy(text.text) * real, atol=2e-5)
    for t, scale in ((0.2, 1.5), (0.9, 1.5)):
        alone = [
            velocity_of(network, [part[i : i + 1] for part in arguments], x[i : i + 1], t, scale) for i in range(2)
        ]  # a frame next to the padding hears it in a batch
        velocity = graphs.velocity(t, x, found, scale)
        for i, wanted in enumerate(alone):
            np.testing.assert_allclose(velocity[i, : num_frames[i]], wanted, atol=1e-4)


def velocity_of(model, arguments, x, t, scale):
    """Of one utterance at its own length."""
    tokens, num_tokens, num_frames, speech = arguments
    frames, count = num_frames[0], num_tokens[0]
    condition = model.condition(tokens[:, : count + 1], num_tokens, num_frames, speech[:, :frames])
    return model.numpy(model.velocity(t, model.array(x[:, :frames]), condition, scale))[0]


def test_eight_bit_files_are_taken_where_there_are_no_others(folders, tmp_path):
    _, release = folders
    for path in release.iterdir():
        name = f"{path.stem}_int8.onnx" if path.suffix == ".onnx" else path.name
        (tmp_path / release.name).mkdir(exist_ok=True)
        (tmp_path / release.name / name).write_bytes(path.read_bytes())
    model = load_model(read_directory(tmp_path / release.name), "onnx")
    assert model.description.variant == release.name


@pytest.mark.parametrize("folders", ["zipvoice"], indirect=True)
def test_what_is_no_published_graph_is_named(folders, tmp_path, capsys):
    _, release = folders
    for path in release.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match="do not tell which"):  # the folder has another name
        load_model(read_directory(tmp_path), "onnx")
    spoilt = {
        "cut short": ((tmp_path / "fm_decoder.onnx").read_bytes()[:2000], "cannot be read as a graph"),
        "swapped": ((tmp_path / "text_encoder.onnx").read_bytes(), "takes tokens, .*; the published graph takes t, x,"),
    }
    for content, message in spoilt.values():
        (tmp_path / "fm_decoder.onnx").write_bytes(content)
        with pytest.raises(ValueError, match=message) as raised:
            load_model(read_directory(tmp_path), "onnx", variant="zipvoice")
        assert "\n" not in str(raised.value)
    onnx.checker.check_model(str(tmp_path / "text_encoder.onnx"))
    assert main(["say", "Hello.", "--model", str(tmp_path), "--runtime", "onnx", "--vocoder", "griffin-lim"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
