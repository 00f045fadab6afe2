# SPDX-License-Identifier: Apache-2.0
"""Arithmetic of the PyTorch runtime other than float32."""

import pytest
import torch
from torch import nn

from zipvoice.model.condition import Condition
from zipvoice.model.kernels.int8 import Int8Linear
from zipvoice.pretrained import load_network, read_directory
from zipvoice.runtime import torch as runtime
from zipvoice.runtime.select import load_model

FRAMES = 120


def layer():
    torch.manual_seed(0)
    return nn.Linear(64, 48)


def test_a_rounded_layer_gives_what_its_rounded_weights_give():
    rounded, x = Int8Linear(layer()), torch.randn(2, 9, 64)
    expected = x @ rounded.weight.T + rounded.bias
    assert (rounded(x) - expected).norm() < 0.015 * expected.norm()  # inputs have 7 or 8 bits
    assert (rounded.weight - layer().weight).abs().max() <= layer().weight.abs().max() / 254 * 1.001


def test_a_loud_frame_takes_nothing_from_a_quiet_one():
    rounded, x = Int8Linear(layer()), torch.randn(1, 9, 64)
    louder = torch.cat([x, 1e4 * x], dim=1)
    bias = rounded.bias
    torch.testing.assert_close(rounded(louder)[:, :9] - bias, rounded(x) - bias, rtol=0, atol=0.02)


def test_frames_of_zeros_give_the_bias():
    rounded = Int8Linear(layer())
    torch.testing.assert_close(rounded(torch.zeros(1, 3, 64)), rounded.bias.expand(1, 3, 48))


def test_a_rounded_layer_is_found_as_a_linear_one():
    rounded = Int8Linear(layer())
    assert isinstance(rounded, nn.Linear) and (rounded.in_features, rounded.out_features) == (64, 48)
    assert rounded.weight.shape == (48, 64) and rounded.weight.dtype == torch.float32


def velocity_in(dtype):
    model = load_model(read_directory("zipvoice_small_distill"), "torch", device="cpu", dtype=dtype)
    torch.manual_seed(0)
    x, speech = 0.2 * torch.randn(1, FRAMES, 100), torch.full((1, FRAMES, 100), -1.0)
    text = model.network.condition_text([list(range(5, 40))], [FRAMES])
    return model, model.velocity(0.3, x, Condition(text, speech), 0.5)


@pytest.mark.parametrize(("dtype", "bound"), [("bfloat16", 0.01), ("int8", 0.04)])
def test_the_velocity_is_that_of_float32_within_a_bound(dtype, bound):
    _, exact = velocity_in("float32")
    model, rounded = velocity_in(dtype)
    assert model.computed_by.dtype == dtype
    assert 0 < (rounded - exact).norm() / exact.norm() < bound


def test_all_linear_layers_are_rounded_but_those_of_positions_and_between_layers():
    decoder = velocity_in("int8")[0].network.fm_decoder
    exact = {name for name, layer in decoder.named_modules() if type(layer).__base__ is nn.Linear}
    rounded = {name for name, layer in decoder.named_modules() if isinstance(layer, Int8Linear)}
    assert all(".layers." not in name or name.endswith(".linear_pos") for name in exact - rounded)
    assert rounded and all(".layers." in name and "linear_pos" not in name for name in rounded)


def test_a_network_may_be_of_half_precision_throughout():
    network = load_network(read_directory("zipvoice_small_distill"))
    x = torch.randn(1, FRAMES, 100)
    with torch.inference_mode():
        exact = network(0.3, x, Condition(x, x), guidance_scale=0.5)
        half = x.bfloat16()
        rounded = network.bfloat16()(0.3, half, Condition(half, half), guidance_scale=0.5)
    assert rounded.dtype == torch.bfloat16
    assert (rounded.float() - exact).norm() / exact.norm() < 0.03


@pytest.mark.parametrize(
    ("amx", "vnni", "dtype"), [(True, True, "bfloat16"), (False, True, "int8"), (False, False, "float32")]
)
def test_the_best_dtype_is_what_the_processor_multiplies(monkeypatch, amx, vnni, dtype):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: amx, raising=False)
    monkeypatch.setattr(runtime, "HAS_VNNI", vnni)
    assert runtime.best_dtype(torch.device("cpu")) == dtype


@pytest.mark.parametrize(("device", "dtype"), [("cuda", "bfloat16"), ("mps", "float32")])
def test_the_best_dtype_of_an_accelerator_is_its_own(monkeypatch, device, dtype):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: not including_emulation)
    assert runtime.best_dtype(torch.device(device)) == dtype
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    assert runtime.best_dtype(torch.device(device)) == ("float16" if device == "cuda" else dtype)
