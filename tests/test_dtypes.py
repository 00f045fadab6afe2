# SPDX-License-Identifier: Apache-2.0
"""Arithmetic of the PyTorch runtime other than float32."""

import pytest
import torch
from torch import nn

from zipvoice.model.condition import Condition
from zipvoice.model.kernels.bf16 import HAS_BF16, Bf16Linear
from zipvoice.model.kernels.int8 import Int8Linear
from zipvoice.model.kernels.linear import Linear
from zipvoice.model.layers import FeedForward
from zipvoice.pretrained import load_network, read_directory
from zipvoice.runtime import torch as runtime
from zipvoice.runtime.select import load_model

FRAMES = 120
AFTER_SWOOSH = {"feed_forward1", "feed_forward2", "feed_forward3", "conv_module1", "conv_module2"}


def layer():
    torch.manual_seed(0)
    return nn.Linear(64, 48)


def test_a_rounded_layer_gives_what_its_rounded_weights_give():
    rounded, x = Int8Linear(layer()), torch.randn(2, 9, 64)
    expected = x @ rounded.weight.T + rounded.bias
    assert (rounded(x) - expected).norm() < 0.015 * expected.norm()  # inputs have 7 or 8 bits
    assert (rounded.weight - layer().weight).abs().max() <= layer().weight.abs().max() / 254 * 1.001


def test_inputs_above_zero_have_all_steps():
    x = torch.rand(2, 9, 64)
    layers = [Int8Linear(layer(), positive) for positive in (False, True)]
    both, positive = ((rounded(x) - (x @ rounded.weight.T + rounded.bias)).norm() for rounded in layers)
    assert positive < 0.6 * both  # half, but for chance
    zeros = torch.zeros(1, 3, 64)
    torch.testing.assert_close(layers[1](zeros), layers[1].bias.expand(1, 3, 48))


@pytest.mark.skipif(not HAS_BF16, reason="oneDNN has no products in bfloat16 on this processor")
@pytest.mark.parametrize("bias", [True, False])
def test_a_packed_layer_gives_what_its_weights_give_in_bfloat16(bias):
    torch.manual_seed(0)
    plain, x = nn.Linear(64, 48, bias), torch.randn(2, 9, 64)
    packed = Bf16Linear(plain)
    assert isinstance(packed, nn.Linear) and not list(packed.parameters())
    assert torch.equal(packed.weight, plain.weight.bfloat16())
    assert (packed.bias is None) is not bias
    torch.testing.assert_close(packed(x), plain.bfloat16()(x.bfloat16()), rtol=2**-7, atol=2**-8)


def test_folded_constants_change_nothing():
    network = load_network(read_directory("zipvoice_small_distill"))
    x = torch.randn(1, FRAMES, 100, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        exact = network(0.3, x, Condition(x, x), guidance_scale=0.5)
    for module in network.modules():
        if hasattr(module, "fold_constants"):
            module.fold_constants()
            assert (module.swoosh.shift, module.swoosh.offset) == (0, 0)
    with torch.inference_mode():
        torch.testing.assert_close(network(0.3, x, Condition(x, x), guidance_scale=0.5), exact, rtol=0, atol=2e-5)


def test_a_network_of_ones_own_is_left_as_it_is():
    """float32 may be asked for of a network that is trained on: its constants stay where they are."""
    network = load_network(read_directory("zipvoice_small_distill"))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    runtime.TorchModel(network, read_directory("zipvoice_small_distill").file, "cpu")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(module.swoosh.offset for module in network.modules() if isinstance(module, FeedForward))


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
    exact = {name for name, layer in decoder.named_modules() if type(layer) is Linear}
    rounded = {name for name, layer in decoder.named_modules() if isinstance(layer, Int8Linear)}
    assert all(".layers." not in name or name.endswith(".linear_pos") for name in exact - rounded)
    assert rounded and all(".layers." in name and "linear_pos" not in name for name in rounded)
    assert {name.rsplit(".", 2)[1] for name in rounded if decoder.get_submodule(name).positive} == AFTER_SWOOSH


def test_without_folded_constants_inputs_below_zero_are_not_cut():
    directory = read_directory("zipvoice_small_distill")
    decoder = runtime.TorchModel(load_network(directory), directory.file, "cpu", "int8").network.fm_decoder
    assert not any(layer.positive for layer in decoder.modules() if isinstance(layer, Int8Linear))


@pytest.mark.skipif(not HAS_BF16, reason="oneDNN has no products in bfloat16 on this processor")
def test_layers_in_bfloat16_keep_the_ends_of_the_network_exact():
    network = velocity_in("bfloat16")[0].network
    exact = {name for name, layer in network.named_modules() if type(layer) is Linear}
    assert exact and not any(".layers." in name for name in exact)
    others = [layer for layer in network.modules() if isinstance(layer, nn.Linear) and type(layer) is not Linear]
    assert others and all(isinstance(layer, Bf16Linear) for layer in others)


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
def test_the_best_dtype_is_what_the_processor_multiplies_and_float32_for_narrow_networks(monkeypatch, amx, vnni, dtype):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    monkeypatch.setattr(runtime, "HAS_VNNI", vnni)
    assert [runtime.best_dtype(torch.device("cpu"), width) for width in (512, 384, 383)] == [dtype, dtype, "float32"]
    small = load_model(read_directory("zipvoice_small_distill"), "torch", device="cpu", dtype="auto")
    assert small.computed_by.dtype == "float32"


@pytest.mark.parametrize(("device", "dtype"), [("cuda", "bfloat16"), ("mps", "float32")])
def test_the_best_dtype_of_an_accelerator_is_its_own(monkeypatch, device, dtype):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: not including_emulation)
    assert runtime.best_dtype(torch.device(device), 192) == dtype
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    assert runtime.best_dtype(torch.device(device), 192) == ("float16" if device == "cuda" else dtype)
