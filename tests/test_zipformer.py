# SPDX-License-Identifier: Apache-2.0
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from zipvoice.model.activations import swoosh_l, swoosh_r
from zipvoice.model.decoder import sinusoid
from zipvoice.model.kernels import linear as products
from zipvoice.model.kernels import swoosh as kernels
from zipvoice.model.kernels.depthwise import depthwise_convolution
from zipvoice.model.kernels.linear import Linear
from zipvoice.model.kernels.relative_attention import attention_weights, softmax_gradient
from zipvoice.model.kernels.swoosh import _in_one_pass, activate, with_slope
from zipvoice.model.layers import BiasNorm, Bypass, kept
from zipvoice.model.relative_positions import MASKED_SCORE, plain_weights, relative_positions, relative_shift
from zipvoice.model.scheduled_float import Progress, ScheduledFloat
from zipvoice.model.zipformer import Downsample, DownsampledStack, Stack, Widths, Zipformer, layer_skips

DATA = Path(__file__).parent / "data"
MODULES = load_file(DATA / "modules" / "modules.safetensors")
EMBEDDINGS = load_file(DATA / "models" / "embeddings.safetensors")
WIDTHS = Widths(dim=16, feedforward_dim=24, num_heads=2, query_head_dim=4, pos_head_dim=4, value_head_dim=4, pos_dim=8)


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("value_and_slope", [with_slope, _in_one_pass])
def test_swoosh_equals_reference(value_and_slope):
    grid = MODULES["swoosh.grid"]
    for name, swoosh in (("left", swoosh_l), ("right", swoosh_r)):
        value, slope = value_and_slope(swoosh, grid, torch.ones(1))
        torch.testing.assert_close(swoosh(grid), MODULES[f"swoosh.{name}"], atol=3e-5, rtol=1e-6)
        torch.testing.assert_close(value, MODULES[f"swoosh.{name}"], atol=3e-5, rtol=1e-6)
        torch.testing.assert_close(slope, MODULES[f"swoosh.{name}_derivative"], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("value_and_slope", [with_slope, _in_one_pass])
def test_swoosh_does_not_overflow(value_and_slope):
    x = torch.tensor([1e4, -1e4, 90.0])
    for swoosh, expected in ((swoosh_l, [9195.965, 799.965, 78.765]), (swoosh_r, [9198.686738, 799.686738, 81.486738])):
        value, slope = value_and_slope(swoosh, x, torch.ones(1))
        assert swoosh(x).tolist() == pytest.approx(expected)
        assert value.tolist() == pytest.approx(expected)
        assert slope.tolist() == pytest.approx([0.92, -0.08, 0.92])


@pytest.mark.parametrize(("index", "swoosh"), [(0, swoosh_l), (1, swoosh_r), (2, swoosh_l)])
def test_swoosh_before_a_linear_layer_equals_reference(index, swoosh):
    name = f"activation_linear_{index}"
    weight, bias = MODULES[f"{name}.weight"], MODULES.get(f"{name}.bias")
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    linear.load_state_dict({"weight": weight} if bias is None else {"weight": weight, "bias": bias})
    x = MODULES[f"{name}.x"].clone().requires_grad_()
    output = linear(activate(swoosh, x))
    torch.testing.assert_close(output, MODULES[f"{name}.output"], atol=1e-4, rtol=0)
    output.backward(MODULES[f"{name}.output_grad"])
    torch.testing.assert_close(x.grad, MODULES[f"{name}.input_grad"], atol=1e-4, rtol=0)
    for parameter in linear._parameters:
        if linear._parameters[parameter] is not None:
            expected = MODULES[f"{name}.{parameter}_grad"]
            torch.testing.assert_close(getattr(linear, parameter).grad, expected, atol=1e-4, rtol=0)


def test_swoosh_with_dropped_channels():
    x, mask = random(2, 600, 6).requires_grad_(), torch.tensor([0.0, 1.25]).repeat(2, 1, 3)
    expected = F.softplus(x - 4) * mask - (0.08 * x + 0.035) * mask
    found = activate(swoosh_l, x, mask)
    torch.testing.assert_close(found, expected)
    with torch.no_grad():
        assert torch.equal(activate(swoosh_l, x, mask), found)
    direction = random(2, 600, 6, seed=1)
    (gradient,) = torch.autograd.grad((found * direction).sum(), x)
    torch.testing.assert_close(gradient, torch.autograd.grad((expected * direction).sum(), x)[0])


@pytest.mark.parametrize("swoosh", [swoosh_l, swoosh_r])
def test_swoosh_by_k2_where_it_imports(swoosh, monkeypatch):
    """A stand-in for the package: which function is called, and that value and derivative reach their places."""
    calls = []

    def fused(name, form):
        def call(x):
            calls.append(name)
            value, slope = with_slope(form, x, torch.ones(1))
            return value + 100, slope + 7  # not what any other form gives

        return call

    k2 = ModuleType("k2")
    k2.swoosh_l_forward_and_deriv = fused("left", swoosh_l)
    k2.swoosh_r_forward_and_deriv = fused("right", swoosh_r)
    monkeypatch.setitem(sys.modules, "k2", k2)
    x, mask = random(2, 5, 4).requires_grad_(), torch.tensor([0.0, 2.0, 1.0, 0.0]).repeat(2, 1, 1)
    plain = activate(swoosh, x, mask)  # not on a CPU
    assert not calls
    kernels._k2.cache_clear()
    monkeypatch.setattr(kernels, "_k2_is_faster", lambda x: kernels._k2() is not None)
    y = activate(swoosh, x, mask)
    assert calls == ["left" if swoosh is swoosh_l else "right"]
    torch.testing.assert_close(y, plain + 100 * mask)
    (slope,) = torch.autograd.grad(plain.sum(), x)
    torch.testing.assert_close(torch.autograd.grad(y.sum(), x)[0], slope + 7 * mask)
    kernels._k2.cache_clear()


def test_without_k2_swoosh_is_our_own(monkeypatch):
    monkeypatch.setitem(sys.modules, "k2", None)
    kernels._k2.cache_clear()
    assert kernels._k2() is None
    kernels._k2.cache_clear()


def test_positional_table_equals_reference():
    for dim in (int(name[7:-3]) for name in EMBEDDINGS if name.startswith("pos_dim") and name.endswith(".T7")):
        prefix = f"pos_dim{dim}"
        torch.testing.assert_close(relative_positions(7, dim), EMBEDDINGS[f"{prefix}.T7"], atol=1e-5, rtol=0)
        torch.testing.assert_close(relative_positions(1, dim), EMBEDDINGS[f"{prefix}.T1"], atol=1e-5, rtol=0)
        rows = relative_positions(1203, dim)[EMBEDDINGS[f"{prefix}.T1203.rows"]]
        torch.testing.assert_close(rows, EMBEDDINGS[f"{prefix}.T1203.values"], atol=1e-4, rtol=0)


def test_sinusoid_equals_reference():
    names = [name for name in EMBEDDINGS if name.startswith("timestep.dim")]
    assert any(int(name[12:]) % 2 for name in names)
    for name in names:
        found = sinusoid(EMBEDDINGS["timestep.values"], int(name[12:]))
        torch.testing.assert_close(found, EMBEDDINGS[name], atol=1e-5, rtol=0)


@pytest.mark.parametrize("bias", [False, True])
def test_linear_without_gradients_is_linear(bias):
    layer, x = Linear(40, 24, bias=bias), random(2, 30, 50)[..., 5:45]
    expected = F.linear(x, layer.weight, layer.bias)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), expected)
        torch.testing.assert_close(layer(x.transpose(0, 1)), expected.transpose(0, 1))
    with torch.inference_mode():
        torch.testing.assert_close(layer(x[0, 0]), expected[0, 0])


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("sizes", [(40, 24), (24, 40)])
@pytest.mark.parametrize("shape", [(), (7,), (2, 30)])
def test_gradients_of_linear(bias, sizes, shape):
    layer, x = Linear(*sizes, bias=bias), random(*shape, 50)[..., 5 : 5 + sizes[0]].detach().requires_grad_()
    inputs, direction = [x, *layer.parameters()], random(*shape, sizes[1], seed=1)
    expected, found = F.linear(x, layer.weight, layer.bias), layer(x)
    torch.testing.assert_close(found, expected)
    gradients = torch.autograd.grad((found * direction).sum(), inputs)
    torch.testing.assert_close(gradients, torch.autograd.grad((expected * direction).sum(), inputs))


def test_frozen_linear_passes_gradients_on():
    layer, x = Linear(5, 3).requires_grad_(False), random(4, 5).requires_grad_()
    layer(x).sum().backward()
    torch.testing.assert_close(x.grad, layer.weight.sum(0).expand(4, -1))
    assert layer.weight.grad is None


@pytest.mark.parametrize(("rows", "frames"), [(1, 1), (1, 5), (2, 5), (5, 5)])
def test_relative_shift(rows, frames):
    """With rows i and source frames j every score is its offset j - i."""
    by_offset = torch.arange(1 - rows, frames).float().expand(1, 1, rows, -1).contiguous()
    expected = torch.arange(frames)[None] - torch.arange(rows)[:, None]
    assert torch.equal(relative_shift(by_offset)[0, 0], expected.float())


def naive_weights(query, key, position, table, padding_mask):
    """One score at a time."""
    frames = query.shape[2]
    scores = query @ key.transpose(-1, -2)
    offsets = torch.arange(frames)[None] - torch.arange(frames)[:, None] + frames - 1
    scores = scores + torch.einsum("bhip,hijp->bhij", position, table[0][:, offsets])
    return scores.masked_fill(padding_mask[:, None, None], MASKED_SCORE).softmax(-1)


def averages(weights, values):
    """All that a layer does with its weights: two averages over all heads, one over the first."""
    by_all, by_all_again, by_first = values
    return weights @ by_all, weights @ by_all_again, weights[:, :1] @ by_first


@pytest.mark.parametrize("frames", [1, 2, 63, 65, 150])
def test_attention_in_blocks_equals_the_definition(frames):
    shapes = (2, 3, frames, 5), (2, 3, frames, 5), (2, 3, frames, 4), (1, 3, 2 * frames - 1, 4)
    inputs = [random(*shape, seed=seed).requires_grad_() for seed, shape in enumerate(shapes)]
    values = [random(2, heads, frames, 6, seed=heads).requires_grad_() for heads in (3, 3, 1)]
    mask = torch.arange(frames) >= torch.tensor([[frames], [max(1, frames - 7)]])
    weights = naive_weights(*inputs, mask)
    attention = attention_weights(*inputs, mask)
    torch.testing.assert_close(attention.weights, weights, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(plain_weights(*inputs, mask), weights, atol=1e-6, rtol=1e-4)
    with torch.no_grad():
        assert torch.equal(attention_weights(*inputs, mask).weights, attention.weights)

    expected = averages(weights, values)
    found = tuple(attention.average(value) for value in values)
    torch.testing.assert_close(found, expected)
    directions = [random(*y.shape, seed=9 + i) for i, y in enumerate(expected)]
    for _ in range(2):  # the second time shows that nothing is left over from the first
        gradients = torch.autograd.grad(found, [*inputs, *values], directions, retain_graph=True)
    expected_gradients = torch.autograd.grad(expected, [*inputs, *values], directions)
    torch.testing.assert_close(gradients, expected_gradients, atol=1e-4, rtol=1e-4)


def test_attention_in_one_block_has_the_same_gradients(monkeypatch):
    """As on a GPU."""
    shapes = (2, 3, 70, 5), (2, 3, 70, 5), (2, 3, 70, 4), (1, 3, 139, 4)
    inputs = [random(*shape, seed=seed).requires_grad_() for seed, shape in enumerate(shapes)]
    values = [random(2, heads, 70, 6, seed=heads) for heads in (3, 3, 1)]

    def gradients():
        attention = attention_weights(*inputs)
        return torch.autograd.grad(sum(attention.average(value).square().sum() for value in values), inputs)

    in_blocks = gradients()
    monkeypatch.setattr("zipvoice.model.kernels.blocks.by_hand", lambda x: False)
    torch.testing.assert_close(gradients(), in_blocks, atol=1e-4, rtol=1e-4)


def test_uniform_attention_is_over_the_frames_not_masked():
    mask = torch.tensor([[False, False, False, True]])
    shapes = (1, 2, 4, 3), (1, 2, 4, 3), (1, 2, 4, 2), (1, 2, 7, 2)
    attention = attention_weights(*(random(*shape, seed=seed) for seed, shape in enumerate(shapes)), mask)
    value = random(1, 1, 4, 5, seed=5)
    expected = value[:, :, :3].mean(dim=2, keepdim=True).expand(-1, -1, 4, -1)
    torch.testing.assert_close(attention.uniform().average(value), expected)


def test_score_penalty_is_a_gradient_only():
    query, key = random(1, 1, 70, 4).mul(10).requires_grad_(), random(1, 1, 70, 4, seed=1) * 3
    position, table = torch.zeros(1, 1, 70, 2), torch.zeros(1, 1, 139, 2)
    penalized = attention_weights(query, key, position, table, penalty=1e-4)
    plain = attention_weights(query, key, position, table)
    assert torch.equal(penalized.weights, plain.weights)
    value = torch.ones(1, 1, 70, 1)
    (found,) = torch.autograd.grad(penalized.average(value).sum(), query)
    (without,) = torch.autograd.grad(plain.average(value).sum(), query)
    loss = 1e-4 * ((query @ key.transpose(-1, -2)).abs() - 25).relu().sum()
    torch.testing.assert_close(found - without, torch.autograd.grad(loss, query)[0], atol=1e-5, rtol=1e-4)


def test_softmax_gradient_equals_reference():
    for name, axis in (("softmax_0", -1), ("softmax_1", 1)):
        x, grad = MODULES[f"{name}.x"].movedim(axis, -1), MODULES[f"{name}.output_grad"].movedim(axis, -1)
        found = softmax_gradient(grad, x.softmax(-1)).movedim(-1, axis)
        torch.testing.assert_close(found, MODULES[f"{name}.input_grad"], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("frames", [1, 15, 16, 50])
@pytest.mark.parametrize("kernel", [1, 3, 31])
def test_depthwise_convolution_equals_conv1d(frames, kernel):
    inputs = [random(*shape).requires_grad_() for shape in [(2, frames, 6), (6, 1, kernel), (6,)]]
    x, weight, bias = inputs
    expected = F.conv1d(x.transpose(1, 2), weight, bias, padding=kernel // 2, groups=6).transpose(1, 2)
    found = depthwise_convolution(*inputs)
    torch.testing.assert_close(found, expected)
    with torch.no_grad():
        torch.testing.assert_close(depthwise_convolution(*inputs), expected)
    direction = random(2, frames, 6, seed=3)
    gradients = torch.autograd.grad((found * direction).sum(), inputs)
    expected_gradients = torch.autograd.grad((expected * direction).sum(), inputs)
    torch.testing.assert_close(gradients, expected_gradients, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["bias_norm_0", "bias_norm_1"])
def test_bias_norm_equals_reference(name):
    axis, log_scale = (-1, 0.8) if name == "bias_norm_0" else (1, 1.2)
    norm = BiasNorm(len(MODULES[f"{name}.bias"]), Progress())
    norm.load_state_dict({"bias": MODULES[f"{name}.bias"], "log_scale": torch.tensor(log_scale)})
    x = MODULES[f"{name}.x"].clone().requires_grad_()
    output = norm(x.movedim(axis, -1)).movedim(-1, axis)
    torch.testing.assert_close(output, MODULES[f"{name}.output"])
    output.backward(MODULES[f"{name}.output_grad"])
    torch.testing.assert_close(x.grad, MODULES[f"{name}.input_grad"], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(norm.bias.grad, MODULES[f"{name}.bias_grad"], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(norm.log_scale.grad, MODULES[f"{name}.log_scale_grad"], atol=1e-4, rtol=1e-4)


def test_bypass_mixes_channels():
    bypass = Bypass(3, Progress())
    bypass.bypass_scale.data = torch.tensor([0.0, 0.25, 1.0])
    before, after = torch.zeros(1, 2, 3), torch.ones(1, 2, 3)
    assert torch.equal(bypass(before, after)[0, 1], torch.tensor([0.0, 0.25, 1.0]))


def test_later_layers_are_skipped_for_longer():
    """Of three stacks with factors 1, 4 and 1, the second, of two layers: 0.5 falls to 0.07 from batch 2000 on."""
    rates = layer_skips(1, 3, 2, 4)
    assert [rate.points for rate in rates] == [
        ((2000, 0.5), (2500, pytest.approx(0.07))),
        ((2500, 0.5), (3000, pytest.approx(0.07))),
    ]


def test_bypass_skips_utterances():
    bypass = Bypass(3, Progress(0.0), skip_rate=ScheduledFloat((0, 0.5))).train()
    torch.manual_seed(0)
    mixed = bypass(torch.zeros(400, 1, 3), torch.ones(400, 1, 3))
    assert set(mixed.flatten().tolist()) == {0.0, 0.5}
    assert 0.4 < mixed.eq(0).float().mean() < 0.6


def test_kept_at_the_ends():
    x = torch.zeros(50, 2, 3)
    assert kept(x, 0.0) is None
    assert not kept(x, 1.0).any()


def test_downsampling_repeats_the_last_frame():
    downsample = Downsample(4)
    downsample.bias.data = torch.tensor([0.1, 0.4, 0.2, 0.3]).log()
    x = random(1, 6, 3)
    frames = downsample(x)
    weights = torch.tensor([0.1, 0.4, 0.2, 0.3])[:, None]
    torch.testing.assert_close(frames[0, 0], (x[0, :4] * weights).sum(0))
    torch.testing.assert_close(frames[0, 1], 0.1 * x[0, 4] + 0.9 * x[0, 5])


def zipformer(factors=(1, 2, 1), num_layers=(1, 1, 1), kernels=(3, 3, 3)):
    return Zipformer([8], [8], WIDTHS, factors, num_layers, kernels, Progress())


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"factors": (1, 2, 2)}, "double up to the middle"),
        ({"factors": (2, 4, 2)}, "double up to the middle"),
        ({"factors": (1, 4, 1)}, "double up to the middle"),
        ({"num_layers": (1, 1)}, "each stack needs one of each"),
        ({"kernels": (3, 4, 3)}, "odd, not 4"),
        ({"kernels": (3, -1, 3)}, "odd, not -1"),
        ({"factors": (1, 2)}, "each stack needs one of each"),
        ({"factors": (1, 2), "num_layers": (1, 1), "kernels": (3, 3)}, "double up to the middle"),
        (
            {"factors": (1, 2, 2, 1), "num_layers": (1, 1, 1, 1), "kernels": (3, 3, 3, 3)},
            r"downsampling factors \[1, 2, 2, 1\]: they must start at 1",
        ),
        ({"num_layers": (1, 0, 1)}, "at least one layer"),
    ],
)
def test_impossible_stacks(sizes, message):
    with pytest.raises(ValueError, match=message):
        zipformer(**sizes)


@pytest.mark.skipif(not products.HAS_ONEDNN, reason="this build of PyTorch has no oneDNN")
@pytest.mark.parametrize(("channels", "out", "bias"), [(3, 5, True), (5, 3, True), (5, 3, False)])
def test_either_library_gives_the_products_and_their_gradients(monkeypatch, channels, out, bias):
    layer, x, grad = Linear(channels, out, bias), random(2, 7, channels), random(2, 7, out, seed=1)
    monkeypatch.setattr(products, "MKL_IS_FASTER", False)
    by_onednn, calls = products._by_onednn, []
    monkeypatch.setattr(products, "_by_onednn", lambda *given: calls.append(1) or by_onednn(*given))
    found, exact = x.clone().requires_grad_(), x.clone().requires_grad_()
    layer(found).backward(grad)
    weights = [p.grad for p in layer.parameters()]
    layer.zero_grad()
    F.linear(exact, layer.weight, layer.bias).backward(grad)
    assert len(calls) == (3 if out < channels else 2)
    for one, other in zip((found.grad, *weights), (exact.grad, *(p.grad for p in layer.parameters())), strict=True):
        torch.testing.assert_close(one, other)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))
    assert len(calls) == (4 if out < channels else 3)


def test_positions_have_sines_and_cosines():
    with pytest.raises(ValueError, match="pos_dim must be even, not 7"):
        replace(WIDTHS, pos_dim=7)


def test_training_routes_agree_with_evaluation():
    """With all rates at zero, training and evaluation are the same function."""
    network = zipformer()
    x, mask = random(2, 70, 8), torch.arange(70) >= torch.tensor([[70], [33]])
    with torch.no_grad():
        expected = network.eval()(x, padding_mask=mask)
    torch.testing.assert_close(network.train()(x, padding_mask=mask), expected, atol=1e-5, rtol=1e-4)


def test_nothing_is_left_to_chance_in_evaluation():
    """Also while training is under way, as in validation, when no rate is zero."""
    stack = Stack(WIDTHS, 3, [ScheduledFloat((0, 0.5))] * 2, None, Progress(0.0)).eval()
    x, mask = random(4, 9, 16), torch.zeros(4, 9, dtype=torch.bool)
    first, *others = (stack(x, None, mask) for _ in range(8))
    assert all(torch.equal(other, first) for other in others)


def test_time_per_frame():
    """One time for all frames is the same as that time at every frame."""
    stack = Stack(WIDTHS, 3, [ScheduledFloat((0, 0))], time_embed_dim=6, progress=Progress()).eval()
    x, time = random(2, 9, 16), random(2, 1, 6, seed=1)
    for block in (stack, DownsampledStack(stack, 16, 2, Progress()).eval()):
        torch.testing.assert_close(block(x, time, None), block(x, time.expand(-1, 9, -1), None))


def test_at_a_lower_rate_each_group_has_the_time_of_its_first_frame():
    block = DownsampledStack(Stack(WIDTHS, 3, [ScheduledFloat((0, 0))], 6, Progress()), 16, 2, Progress()).eval()
    x, time, other = random(2, 9, 16), random(2, 9, 6, seed=1), random(2, 9, 6, seed=2)
    is_first = (torch.arange(9) % 2 == 0)[:, None]
    assert torch.equal(block(x, time, None), block(x, time.where(is_first, other), None))
    assert not torch.allclose(block(x, time, None), block(x, other, None), atol=1e-3)


def test_dropout_is_shared_over_time():
    mask, x = MODULES["shared_dropout.uniform_draws"] > 0.3, MODULES["shared_dropout.x"]
    torch.testing.assert_close(x * mask / 0.7, MODULES["shared_dropout.output"])
    feed_forward = Stack(WIDTHS, 3, [ScheduledFloat((0, 0))], None, Progress(0.0)).layers[0].feed_forward1.train()
    torch.manual_seed(0)
    channels = feed_forward._channel_mask(torch.zeros(64, 5, 16))
    assert channels.shape == (64, 1, 18)
    assert sorted(set(channels.flatten().tolist())) == pytest.approx([0.0, 1 / 0.7])
    assert channels.eq(0).float().mean().item() == pytest.approx(0.3, abs=0.05)
