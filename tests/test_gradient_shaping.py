# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import pytest
import torch
from reference_models import reference
from safetensors.torch import load_file

from zipvoice.model import attention, layers, zipformer
from zipvoice.model.balancer import BALANCE_GRAD_SCALE, Balance, Balancer, balance, limit
from zipvoice.model.kernels.relative_attention import penalty_gradient
from zipvoice.model.scheduled_float import Progress, ScheduledFloat
from zipvoice.model.whiten import HIGH_PROBABILITY, LOW_PROBABILITY, Whitener, whiten, whitening_metric

FOLDER = Path(__file__).parent / "data" / "modules"
KNOWN = json.loads((FOLDER / "modules.json").read_text())["tests"]
TENSORS = load_file(FOLDER / "modules.safetensors")
SCHEDULES = json.loads((FOLDER / "module_schedules.json").read_text())["zipvoice_u5"]


def tests_of(kind):
    return [pytest.param(test, id=test["name"]) for test in KNOWN if test["kind"] == kind]


tests_of.__test__ = False


def gradient(function, name):
    """The gradient behind a function that leaves its input as it is."""
    x = TENSORS[f"{name}.x"].clone().requires_grad_()
    y = function(x)
    assert torch.equal(y, x)
    y.backward(TENSORS[f"{name}.output_grad"])
    return x.grad


@pytest.mark.parametrize("known", tests_of("balancer"))
def test_balance_equals_reference(known):
    target = Balance(known["min_positive"], known["max_positive"], known["min_abs"], known["max_abs"])
    axis = known["channel_dim"]

    def balanced(x):
        return balance(x.movedim(axis, -1), target, known["grad_scale"]).movedim(-1, axis)

    found = gradient(balanced, known["name"])
    torch.testing.assert_close(found, TENSORS[f"{known['name']}.input_grad"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("known", tests_of("whiten"))
def test_whiten_equals_reference(known):
    heard = []

    def whitened(x):
        return whiten(x, known["num_groups"], known["whitening_limit"], known["grad_scale"], None, heard.append)

    found = gradient(whitened, known["name"])
    torch.testing.assert_close(found, TENSORS[f"{known['name']}.input_grad"], atol=1e-5, rtol=1e-4)
    assert heard == [known["gradient_changed"]]
    metric, _ = whitening_metric(TENSORS[f"{known['name']}.x"].flatten(0, -2), known["num_groups"])
    assert metric.item() == pytest.approx(known["metric"], rel=1e-4)


def test_a_whitener_that_is_not_needed_looks_rarely_until_it_is():
    whitener = Whitener(Progress(1.0), ScheduledFloat((0, 2.0)))
    even, alike = torch.randn(500, 8, generator=torch.Generator().manual_seed(0)), torch.ones(1, 8)
    for x, probability in ((even, 0.025), (even[:, :1] * alike, 0.25)):
        whitener.probability = 1.0
        whitener(torch.nn.Identity(), (), x.clone().requires_grad_()).sum().backward()
        assert whitener.probability == probability


def test_whitening_gradient_is_the_gradient_of_the_metric():
    x = torch.randn(40, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) @ torch.ones(6, 6).double()
    x = (x + torch.randn(40, 6, generator=torch.Generator().manual_seed(1))).requires_grad_()
    metric, gradient_of_metric = whitening_metric(x.detach(), 2)
    groups = (x - x.mean(0)).unflatten(1, (2, 3))
    covariance = torch.einsum("ngi,ngj->gij", groups, groups)
    expected = covariance.square().sum() / 6 / covariance.diagonal(dim1=1, dim2=2).mean() ** 2
    assert metric.item() == pytest.approx(expected.item())
    (exact,) = torch.autograd.grad(expected, x)
    found = gradient_of_metric()
    torch.testing.assert_close(found / found.norm(), exact / exact.norm())


@pytest.mark.parametrize("known", tests_of("limit_param_value"))
def test_limit_equals_reference(known):
    found = gradient(lambda x: limit(x, known["min"], known["max"]), known["name"])
    assert torch.equal(found, TENSORS[f"{known['name']}.input_grad"])


@pytest.mark.parametrize("known", [test for test in KNOWN if test.get("log_scale_limit_active")])
def test_limited_norm_equals_reference(known):
    name = known["name"]
    log_scale = torch.tensor(known["log_scale"]).requires_grad_()
    x, bias = TENSORS[f"{name}.x"], TENSORS[f"{name}.bias"]
    scale = limit(log_scale, known["log_scale_min"], known["log_scale_max"]).exp()
    output = x * scale / (x - bias).square().mean(-1, keepdim=True).sqrt()
    output.backward(TENSORS[f"{name}.output_grad"])
    torch.testing.assert_close(log_scale.grad, TENSORS[f"{name}.log_scale_grad"], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [1.49, 1.51])
@pytest.mark.parametrize("outwards", [1.0, -1.0])
def test_the_scale_of_a_norm_is_driven_back_from_beyond_1_5(monkeypatch, size, outwards):
    """A step against the gradient leads away from zero, unless the scale is there already."""
    monkeypatch.setattr(layers, "LIMIT_RATE", ScheduledFloat((0, 1.0)))
    norm = layers.BiasNorm(3, Progress(0.0)).train()
    norm.log_scale.data.fill_(outwards * size)
    (-outwards * norm(torch.ones(1, 2, 3)).sum()).backward()
    assert (norm.log_scale.grad * outwards > 0) == (size > 1.5)


@pytest.mark.parametrize(
    ("count", "scale", "is_beyond"),
    [(0, 0.89, True), (0, 0.91, False), (20000, 0.19, True), (20000, 0.21, False), (0, 1.01, True), (0, 0.99, False)],
)
def test_scales_of_a_bypass_are_driven_back_from_beyond_their_limits(monkeypatch, count, scale, is_beyond):
    monkeypatch.setattr(layers, "LIMIT_RATE", ScheduledFloat((0, 1.0)))
    bypass = layers.Bypass(1, Progress(count)).train()
    bypass.bypass_scale.data.fill_(scale)
    outwards = 1.0 if scale > 0.95 else -1.0
    bypass(torch.zeros(1, 1, 1), torch.full((1, 1, 1), -outwards)).sum().backward()
    assert (bypass.bypass_scale.grad.item() * outwards > 0) == is_beyond


@pytest.mark.parametrize("known", tests_of("penalize_abs_values_gt"))
def test_penalty_equals_reference(known):
    name = known["name"]
    found = TENSORS[f"{name}.output_grad"] + penalty_gradient(TENSORS[f"{name}.x"], known["limit"], known["penalty"])
    torch.testing.assert_close(found, TENSORS[f"{name}.input_grad"])


@pytest.mark.parametrize("channels", [slice(2, 5), slice(0, 3)])
def test_other_channels_keep_their_gradient(channels):
    x = torch.randn(20, 8, generator=torch.Generator().manual_seed(0)) + 2
    target = Balance(0.4, 0.6, 0.1, 0.5)
    alone, among = x[:, channels].clone().requires_grad_(), x.clone().requires_grad_()
    balance(alone, target, 0.1).square().sum().backward()
    balance(among, target, 0.1, channels).square().sum().backward()
    assert torch.equal(among.grad[:, channels], alone.grad)
    others = [channel for channel in range(8) if channel not in range(8)[channels]]
    assert torch.equal(among.grad[:, others], 2 * x[:, others])


def test_the_gradient_that_comes_in_is_left_as_it_is():
    """What else was added to the same sum has it too."""
    x = torch.randn(20, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    incoming = torch.ones(20, 8)
    balance(x, Balance(0.8, 0.9, 2.0, 3.0), 0.1, slice(2, 5)).backward(incoming)
    assert torch.equal(incoming, torch.ones(20, 8)) and not torch.equal(x.grad, incoming)


# Our places by the reference's names for them.
LAYER_SCHEDULES = {
    "attention_skip_rate": zipformer.ATTENTION_SKIP,
    "conv_skip_rate": zipformer.CONVOLUTION_SKIP,
    "ff2_skip_rate": zipformer.FEED_FORWARD_SKIP,
    "ff3_skip_rate": zipformer.FEED_FORWARD_SKIP,
    "const_attention_rate": zipformer.UNIFORM_ATTENTION,
    "pos_emb_skip_rate": attention.POSITION_SKIP,
    "scale_min": layers.BYPASS_MINIMUM,
    "dropout_p": layers.FEED_FORWARD_DROPOUT,
}
HOOK_PLACES = {
    "self_attn_weights.balance_keys": ("self_attn_weights.in_proj", Balancer),
    "self_attn_weights.whiten_keys": ("self_attn_weights.in_proj", Whitener),
    "self_attn1.whiten": ("self_attn1", Whitener),
    "self_attn2.whiten": ("self_attn2", Whitener),
    "feed_forward1.hidden_balancer": ("feed_forward1.in_proj", Balancer),
    "feed_forward2.hidden_balancer": ("feed_forward2.in_proj", Balancer),
    "feed_forward3.hidden_balancer": ("feed_forward3.in_proj", Balancer),
    "feed_forward1.out_whiten": ("feed_forward1", Whitener),
    "feed_forward2.out_whiten": ("feed_forward2", Whitener),
    "feed_forward3.out_whiten": ("feed_forward3", Whitener),
    "nonlin_attention.balancer": ("nonlin_attention.in_proj", Balancer),
    "nonlin_attention.whiten1": ("nonlin_attention.in_proj", Whitener),
    "nonlin_attention.whiten2": ("nonlin_attention", Whitener),
    "conv_module1.balancer1": ("conv_module1.in_proj", Balancer),
    "conv_module1.balancer2": ("conv_module1.depthwise_conv", Balancer),
    "conv_module1.whiten": ("conv_module1.depthwise_conv", Whitener),
    "conv_module2.balancer1": ("conv_module2.in_proj", Balancer),
    "conv_module2.balancer2": ("conv_module2.depthwise_conv", Balancer),
    "conv_module2.whiten": ("conv_module2.depthwise_conv", Whitener),
    "balancer1": ("norm", Balancer),
    "balancer_na": ("nonlin_attention", Balancer),
    "balancer_ff2": ("feed_forward2", Balancer),
    "balancer_ff3": ("feed_forward3", Balancer),
    "balancer2": ("bypass", Balancer),
    "whiten": ("bypass", Whitener),
}


def value(model, name, batch_count):
    """What we have for a setting of the reference."""
    place, setting = name.rsplit(".", 1)
    network, _, rest = place.partition(".layers.")
    index, _, part = rest.partition(".")
    progress = Progress(batch_count)
    if part in HOOK_PLACES:
        module, kind = HOOK_PLACES[part]
        submodule = model.get_submodule(f"{network}.layers.{index}.{module}")
        hooks = [*submodule._forward_hooks.values(), *submodule._forward_pre_hooks.values()]
        (hook,) = (hook for hook in hooks if isinstance(hook, kind))
        found = hook_value(hook, setting)
        return found(progress) if isinstance(found, ScheduledFloat) else found
    if setting == "skip_rate":
        return model.get_submodule(place).skip_rate(progress)
    return LAYER_SCHEDULES[setting](progress)


def hook_value(hook, setting):
    return {
        "prob": hook.probability,
        "whitening_limit": getattr(hook, "limit", None),
        "grad_scale": getattr(hook, "grad_scale", BALANCE_GRAD_SCALE),
        "prob_low": LOW_PROBABILITY,
        "prob_high": HIGH_PROBABILITY,
        **vars(hook),
    }[setting]


@pytest.mark.parametrize("name", SCHEDULES["scheduled"])
def test_schedule_equals_reference(name):
    model = reference("zipvoice_u5").model
    found = [value(model, name, count) for count in SCHEDULES["batch_counts"]]
    assert found == pytest.approx(SCHEDULES["scheduled"][name], abs=1e-6)


# The convolution modules have no dropout at all.
@pytest.mark.parametrize("name", [name for name in SCHEDULES["constants"] if not name.endswith("dropout_p")])
def test_constant_equals_reference(name):
    assert value(reference("zipvoice_u5").model, name, 0.0) == SCHEDULES["constants"][name]


def test_schedule_before_training():
    assert ScheduledFloat((0, 0.5), (10, 0.1))(Progress()) == 0.0
    assert not ScheduledFloat((0, 1.0)).happens(Progress())
