# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from zipvoice.training.averaging import RunningAverage, between, on_cpu

DATA = Path(__file__).parent / "data" / "optimizer"
CASES = {case["name"]: case for case in json.loads((DATA / "schedules.json").read_text())["averaging"]}
VECTORS = load_file(DATA / "averaging.safetensors")


def weights(prefix):
    return {key.removeprefix(prefix): value for key, value in VECTORS.items() if key.startswith(prefix)}


def history(num_steps, seed=0):
    """Weights after each step of a random walk, the initial ones first."""
    generator = torch.Generator().manual_seed(seed)
    walk = torch.randn(num_steps + 1, 3, generator=generator).cumsum(0)
    return [{"w": walk[step], "n": torch.tensor(step)} for step in range(num_steps + 1)]


def test_an_average_takes_in_every_step_at_most():
    with pytest.raises(ValueError, match="average_period must be at least 1, not 0"):
        RunningAverage({}, 0)
    average = RunningAverage({"w": torch.zeros(1)}, 1)
    for step in (1, 2, 3):
        average.update({"w": torch.tensor([float(step)])}, step)
    assert average.state_dict()["w"].item() == pytest.approx(2.0)


def test_running_average_follows_the_reference():
    case = CASES["avg"]
    average = RunningAverage(on_cpu(weights("avg.init.")), case["average_period"])
    for number, step in enumerate(case["batch_idx"], start=1):
        average.update(weights(f"avg.k{number}.current."), step)
        for name, expected in weights(f"avg.k{number}.average.").items():
            torch.testing.assert_close(average.average[name].float(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["range0", "range1"])
def test_average_between_checkpoints_follows_the_reference(name):
    case = CASES[name]
    start, end = weights(f"{name}.start."), weights(f"{name}.end.")
    result = between(start, end, case["batch_idx_start"], case["batch_idx_end"], case["average_period"])
    for key, expected in weights(f"{name}.result.").items():
        torch.testing.assert_close(result[key], expected, atol=1e-5, rtol=1e-5)


def test_exponential_average_follows_the_reference():
    average = RunningAverage(weights("ema.old."), decay=CASES["ema"]["decay"])
    average.update(weights("ema.new."), step=1)
    torch.testing.assert_close(average.state_dict(), weights("ema.result."), atol=1e-6, rtol=1e-6)


def test_an_exponential_average_soon_forgets_the_initial_weights():
    steps = history(3)
    average = RunningAverage(on_cpu(steps[0]), decay=0.2, warmup=10)
    expected = steps[0]["w"].double()
    for step, decay in ((1, 1 / 11), (2, 2 / 12), (3, 0.2)):
        average.update(steps[step], step)
        expected = decay * expected + (1 - decay) * steps[step]["w"]
    torch.testing.assert_close(average.average["w"], expected)


def test_running_average_is_the_mean_and_so_is_a_range_of_it():
    steps, period = history(40), 4
    average = RunningAverage(on_cpu(steps[0]), period)
    saved = {}
    for step in range(1, 41):
        average.update(steps[step], step)
        saved[step] = {name: tensor.clone() for name, tensor in average.state_dict().items()}
    whole = torch.stack([steps[step]["w"] for step in range(4, 41, 4)]).double().mean(0)
    torch.testing.assert_close(average.average["w"], whole)
    part = torch.stack([steps[step]["w"] for step in range(24, 37, 4)]).double().mean(0)
    torch.testing.assert_close(between(saved[21], saved[38], 21, 38, period)["w"], part)
    assert average.average["n"] == 40


def test_saving_keeps_every_digit(tmp_path):
    steps = history(12)
    average = RunningAverage(on_cpu(steps[0]), 3)
    for step in range(1, 7):
        average.update(steps[step], step)
    torch.save(average.state_dict(), tmp_path / "average.pt")
    restored = RunningAverage(on_cpu(steps[0]), 3)
    restored.load_state_dict(torch.load(tmp_path / "average.pt", weights_only=True))
    for step in range(7, 13):
        average.update(steps[step], step)
        restored.update(steps[step], step)
    assert average.average["w"].dtype == torch.float64
    assert torch.equal(average.average["w"], restored.average["w"])


def test_errors_say_what_is_wrong():
    steps = history(2)
    with pytest.raises(ValueError, match="at least 1"):
        RunningAverage(steps[0], 0)
    with pytest.raises(ValueError, match="between steps 201 and 399"):
        between(steps[0], steps[1], 201, 399, 200)
    with pytest.raises(ValueError, match="other weights"):
        RunningAverage(steps[0], 1).load_state_dict({"w": torch.zeros(3)})
