# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from zipvoice.training import optimizer as optimizer_module
from zipvoice.training.lr_scheduler import eden
from zipvoice.training.model_init import freeze
from zipvoice.training.optimizer import ScaledAdam, parameter_groups

DATA = Path(__file__).parent / "data" / "optimizer"
REFERENCE = json.loads((DATA / "scaled_adam.json").read_text())
VECTORS = load_file(DATA / "scaled_adam.safetensors")
SCHEDULES = json.loads((DATA / "schedules.json").read_text())


def gradients(run, k):
    """The reference gradients of step k, with the infinite element of the run that has one."""
    grads = {name: VECTORS[f"grad.{name}"][k].clone() for name, _ in REFERENCE["parameters"] if name != "unused"}
    infinite = run.get("infinite_gradient")
    if infinite and infinite["step"] == k + 1:
        grads[infinite["parameter"]][tuple(infinite["element"])] = torch.inf
    return grads


def optimizer_of(run, params):
    options = dict(run["options"])
    groups = run.get("groups") or [{"params": list(params), "lr": options["lr"]}]
    return ScaledAdam([{"params": [params[n] for n in g["params"]], "lr": g["lr"]} for g in groups], **options)


def initial_parameters():
    return {name: nn.Parameter(VECTORS[f"init.{name}"].clone()) for name, _ in REFERENCE["parameters"]}


@pytest.fixture(params=["cpu", "gpu", "compiled"])
def route(request, monkeypatch):
    """The operations of each device, on this one, and those to be compiled."""
    if request.param == "gpu":
        monkeypatch.setattr(optimizer_module, "_norms_and_dots", optimizer_module._norms_and_dots_by_lists)
    if request.param == "compiled":
        monkeypatch.setattr(optimizer_module, "is_fused", lambda: True)
        monkeypatch.setattr(optimizer_module, "ELEMENTS_ALONE", 2)


@pytest.mark.parametrize("run", REFERENCE["runs"], ids=lambda run: run["name"])
def test_sixty_updates_follow_the_reference(run, route):
    params = initial_parameters()
    optimizer = optimizer_of(run, params)
    for k in range(60):
        if "eden" in run:
            optimizer.param_groups[0]["lr"] = eden(k + 1, 0, **run["eden"])
        assert [g["lr"] for g in optimizer.param_groups] == pytest.approx(run["learning_rate_per_step"][k], rel=1e-6)
        for name, grad in gradients(run, k).items():
            params[name].grad = grad
        optimizer.step()

        norms, factors = zip(*optimizer.clipping(), strict=True)
        if run["clipping_factor_per_step"][k] is not None:
            assert list(factors) == pytest.approx(run["clipping_factor_per_step"][k], rel=1e-4)
        if run["gradient_norm_per_step"][k] not in (None, [None]):
            expected = [float(norm) for norm in run["gradient_norm_per_step"][k]]
            assert list(norms) == pytest.approx(expected, rel=1e-4)
        if k + 1 in run["recorded_after_steps"]:
            for name, param in params.items():
                reference = VECTORS[f"{run['name']}.step{k + 1}.{name}"]
                torch.testing.assert_close(param.detach(), reference, atol=1e-5, rtol=1e-5)


def test_first_step_has_the_closed_form():
    # v / b = g^2, so the update is (1 - beta_1) lr rms(p) sign(g); a scalar moves by a tenth of the rate instead.
    vector, scalar = nn.Parameter(torch.tensor([3.0, -4.0])), nn.Parameter(torch.tensor(2.0))
    vector.grad, scalar.grad = torch.tensor([0.5, -7.0]), torch.tensor(-1.0)
    ScaledAdam([vector, scalar], lr=0.02).step()
    rms = (12.5) ** 0.5
    expected = torch.tensor([3.0 - 0.1 * 0.02 * rms, -4.0 + 0.1 * 0.02 * rms])
    torch.testing.assert_close(vector.detach(), expected)
    assert scalar.item() == pytest.approx(2.0 + 0.1 * 0.002)


def test_the_defaults_are_the_published_ones():
    published = {"betas": (0.9, 0.98), "scalar_lr_scale": 0.1, "eps": 1e-8, "param_min_rms": 1e-5, "param_max_rms": 3.0}
    published |= {"scalar_max": 10.0, "size_update_period": 4, "clipping_update_period": 100}
    defaults = ScaledAdam([nn.Parameter(torch.ones(2))], lr=0.02, clipping_scale=2.0).defaults
    assert defaults == {"lr": 0.02, "clipping_scale": 2.0, **published}


def test_only_single_numbers_are_kept_below_the_greatest():
    single, pair = nn.Parameter(torch.tensor([12.0])), nn.Parameter(torch.tensor([12.0, 12.0]))
    optimizer = ScaledAdam([single, pair], lr=0.0, scalar_max=10.0)
    single.grad, pair.grad = torch.ones(1), torch.ones(2)
    optimizer.step()
    assert single.item() == 10 and pair.tolist() == [12, 12]


def test_adapters_move_as_parameters_of_size_1_do():
    model = nn.Module()
    model.lora_A, model.weight = nn.Linear(2, 2, bias=False), nn.Parameter(torch.full((2, 2), 0.5))
    inner = nn.Module()
    inner.part = model
    nn.init.constant_(model.lora_A.weight, 0.01)
    optimizer = ScaledAdam(parameter_groups(inner, lr=0.02), lr=0.02)
    for p in (model.lora_A.weight, model.weight):
        p.grad = torch.ones(2, 2)
    optimizer.step()
    torch.testing.assert_close(model.lora_A.weight.detach(), torch.full((2, 2), 0.01 - 0.1 * 0.02))
    torch.testing.assert_close(model.weight.detach(), torch.full((2, 2), 0.5 - 0.1 * 0.02 * 0.5))


@pytest.mark.parametrize(("size", "is_learned"), [(1e-6, False), (9e-6, False), (2e-5, True), (1.0, True)])
def test_the_size_of_a_tiny_parameter_is_not_learned(size, is_learned):
    """Below `param_min_rms`, 1e-5, the update is that of an optimizer that learns sizes at a rate of zero."""
    params = [nn.Parameter(torch.full((4,), size)) for _ in range(2)]
    optimizers = [ScaledAdam([p], lr=0.02, scalar_lr_scale=rate) for p, rate in zip(params, (0.1, 0.0), strict=True)]
    for _ in range(4):  # sizes are updated every fourth step
        for p, optimizer in zip(params, optimizers, strict=True):
            p.grad = torch.tensor([1.0, -0.5, 2.0, 1.0])
            optimizer.step()
    assert torch.equal(*params) != is_learned


def test_gradients_are_left_alone():
    params = initial_parameters()
    optimizer = optimizer_of(REFERENCE["runs"][0], params)
    for k in range(20):
        grads = gradients({}, k)
        for name, grad in grads.items():
            params[name].grad = grad * 100
        optimizer.step()
        assert all(torch.equal(params[name].grad, grad * 100) for name, grad in grads.items())


@pytest.mark.parametrize("stop", [1, 11, 38])
def test_restored_state_continues_bit_for_bit(stop, tmp_path):
    run = REFERENCE["runs"][0]

    def advance(params, optimizer, steps):
        for k in steps:
            for name, grad in gradients(run, k).items():
                params[name].grad = grad
            optimizer.step()

    whole = initial_parameters()
    advance(whole, optimizer_of(run, whole), range(60))

    first = initial_parameters()
    optimizer = optimizer_of(run, first)
    advance(first, optimizer, range(stop))
    torch.save({"model": first, "optimizer": optimizer.state_dict()}, tmp_path / "state.pt")
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    second = {name: nn.Parameter(value.detach().clone()) for name, value in saved["model"].items()}
    restored = optimizer_of(run, second)
    restored.load_state_dict(saved["optimizer"])
    advance(second, restored, range(stop, 60))
    assert all(torch.equal(whole[name], second[name]) for name in whole)


def test_infinite_gradients_do_not_move_the_average_of_squares():
    param = nn.Parameter(torch.ones(4))
    optimizer = ScaledAdam([param], lr=0.01, clipping_scale=2.0)
    for grad in (1.0, torch.inf, torch.nan, 1.0):  # the second and third come before any threshold is known
        param.grad = torch.full((4,), grad)
        optimizer.step()
    assert param.isfinite().all()
    assert optimizer.state[param]["exp_avg_sq"].isfinite().all()


def test_persistently_infinite_gradients_are_an_error():
    param = nn.Parameter(torch.ones(4))
    optimizer = ScaledAdam([param], lr=0.01, clipping_scale=2.0)
    with pytest.raises(ValueError, match="not finite"):
        for _ in range(11):
            param.grad = torch.full((4,), torch.nan)
            optimizer.step()


def two_blocks():
    model = nn.Module()
    model.c = nn.Parameter(torch.ones(2))
    model.a = nn.Linear(2, 2)
    model.b = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    return model


def test_rates_multiply_along_the_path():
    case = SCHEDULES["lr_scale_by_module"]
    groups = parameter_groups(two_blocks(), case["lr"], case["scales"])
    assert [group["names"] for group in groups] == [group["names"] for group in case["groups"]]
    assert [group["lr"] for group in groups] == pytest.approx([group["lr"] for group in case["groups"]])


def test_frozen_parts_are_left_out():
    model = two_blocks()
    freeze(model, ["a"])
    (group,) = parameter_groups(model, 0.1)
    assert group["names"] == SCHEDULES["freeze_a"]
    with pytest.raises(ValueError, match="no part 'aa' to freeze; did you mean 'a'"):
        freeze(model, ["aa"])
    with pytest.raises(ValueError, match="no parameter is left"):
        parameter_groups(model.a, 0.1)
