# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from tiny_runs import Repeatable, assert_same, new_model, new_trainer, one_update, random_batch, run_config

from zipvoice.training import precision as precision_module
from zipvoice.training.precision import Precision, all_finite


def scaled(scale, num_good=0):
    precision = Precision("fp16", "cpu")
    precision.load_state_dict({"scale": scale, "num_good": num_good})
    return precision


def test_the_scale_follows_that_of_pytorch(monkeypatch):
    """Over overflows and good steps in random order, as long as it is not small."""
    monkeypatch.setattr(precision_module, "GROWTH_INTERVAL", 20)
    precision, expected = Precision("fp16", "cpu"), torch.amp.GradScaler("cpu", growth_interval=20)
    parameter = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([parameter], lr=0.0)
    generator = torch.Generator().manual_seed(0)
    scales = []
    for step in range(1, 601):
        finite = torch.rand((), generator=generator).item() > 0.03
        expected.scale(parameter.sum() * (1.0 if finite else float("inf"))).backward()
        expected.step(optimizer)
        expected.update()
        optimizer.zero_grad()
        precision.adapt(finite, step)
        scales.append(precision.scale)
        assert precision.scale == expected.get_scale()
    assert 4096 <= min(scales) < 65536 < max(scales)


@pytest.mark.parametrize(
    ("scale", "step", "expected"),
    [(1023, 100, 2046), (1024, 100, 1024), (1023, 150, 1023), (4095, 400, 8190), (4095, 300, 4095), (4096, 400, 4096)],
)
def test_a_small_scale_grows_faster(scale, step, expected):
    precision = scaled(float(scale))
    precision.adapt(True, step)
    assert precision.scale == expected


def test_other_formats_are_not_scaled():
    for name in ("fp32", "bf16"):
        precision = Precision(name, "cpu")
        precision.adapt(False, 100)
        precision.load_state_dict({"scale": 512.0, "num_good": 3})
        assert (precision.scale, precision.is_scaled) == (1.0, False)
    fresh = Precision("fp16", "cpu")
    fresh.load_state_dict({"scale": 1.0, "num_good": 0})  # the run went on from fp32
    assert fresh.scale == 65536.0


def test_the_slower_format_of_a_processor_is_told(tmp_path, monkeypatch, caplog):
    """AMX multiplies bf16; where it is missing bf16 is slower than fp32, the other way round where it is not."""
    told = {}
    for has_amx in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda has_amx=has_amx: has_amx, raising=False)
        for name in ("fp32", "bf16"):
            caplog.clear()
            with caplog.at_level("INFO"):
                new_trainer(run_config(tmp_path / f"{name}-{has_amx}", precision=name, num_steps=0)).run()
            told[name, has_amx] = [other for other in ("fp32", "bf16") if f"precision {other}" in caplog.text]
            assert Precision(name, "cuda").advice() is None
    assert told == {("fp32", True): ["bf16"], ("bf16", True): [], ("fp32", False): [], ("bf16", False): ["fp32"]}


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.02), ("fp16", 0.003)])
def test_losses_and_gradients_come_close_to_float32(tmp_path, precision, tolerance):
    results = {}
    for name in ("fp32", precision):
        trainer = new_trainer(run_config(tmp_path, precision=name), objective=Repeatable())
        if name == "fp16":
            trainer.precision = scaled(1024.0)
        loss, gradients = one_update(trainer, [random_batch(0)])
        assert all(gradient.dtype == torch.float32 for gradient in gradients.values())
        results[name] = loss.value.item(), torch.cat([gradient.flatten() for gradient in gradients.values()])
    assert results[precision][0] == pytest.approx(results["fp32"][0], rel=tolerance)
    assert results[precision][0] != results["fp32"][0]
    error = (results[precision][1] - results["fp32"][1]).norm() / results["fp32"][1].norm()
    assert error < 5 * tolerance


def test_an_overflow_lowers_the_scale_and_leaves_the_weights(tmp_path):
    trainer = new_trainer(run_config(tmp_path, precision="fp16"))
    trainer.precision = scaled(2.0**120, num_good=7)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train_step([random_batch(0)])
    assert_same(dict(trainer.model.state_dict()), before)
    assert (trainer.precision.scale, trainer.precision.num_good, trainer.step) == (2.0**119, 0, 1)
    assert trainer.bad_batches.total == 0


def test_the_scale_survives_a_restart(tmp_path):
    def finished(name, *stops):
        for stop in stops:
            trainer = new_trainer(run_config(tmp_path / name, precision="fp16", num_steps=stop), new_model(seed=stop))
            if trainer.step == 0:
                trainer.model.load_state_dict(new_model().state_dict())
                trainer.precision = scaled(2.0**14, num_good=1996)  # grows in the fourth step
            trainer.run()
        return trainer

    parts, whole = finished("parts", 3, 6), finished("whole", 6)
    assert whole.precision.state_dict() == {"scale": 2.0**15, "num_good": 2}
    assert_same(parts.state_dict(), whole.state_dict())


def test_all_finite():
    params = [torch.nn.Parameter(torch.ones(3)) for _ in range(3)]
    for number, param in enumerate(params[:2]):
        param.grad = torch.full((3,), float(number))
    assert all_finite(params)
    for value in (float("nan"), float("inf"), -float("inf")):
        params[1].grad[2] = value
        assert not all_finite(params)
