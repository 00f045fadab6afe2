# SPDX-License-Identifier: Apache-2.0
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from zipvoice.config.synthesis import EPSS_GRIDS, EVALUATIONS, SamplingConfig
from zipvoice.model.condition import Condition
from zipvoice.model.guidance import classifier_free_guidance, scale_at, under_guidance
from zipvoice.model.solver import SOLVERS, Past, euler, solve, time_grid, times_of

FOLDER = Path(__file__).parent / "data" / "solver"
KNOWN = json.loads((FOLDER / "solver.json").read_text())
TENSORS = load_file(FOLDER / "solver.safetensors")


def named(test):
    return test["name"]


def known_tests(kind):
    return [test for test in KNOWN["tests"] if test["kind"] == kind]


def linear_velocity(seen=None, guidance=None):
    """The stand-in network v = a x + b text + c speech + d t + e guidance."""
    a, b, c, d, e = (KNOWN["linear_network"][key] for key in "abcde")

    def velocity(t, x, condition):
        if seen is not None:
            seen.append(condition)
        v = a * x + b * condition.text + c * condition.speech + d * t
        return v if guidance is None else v + e * guidance

    return velocity


def inputs(test):
    """The state, condition and guidance scale of a test."""
    name = test["name"]
    condition = Condition(
        TENSORS[f"{name}.text_condition"], TENSORS[f"{name}.speech_condition"], TENSORS.get(f"{name}.padding_mask")
    )
    scale = test["guidance_scale"] if "guidance_scale" in test else TENSORS[f"{name}.guidance_scale"]
    return TENSORS[f"{name}.x"], condition, scale


@pytest.mark.parametrize("known", KNOWN["time_steps"])
def test_time_grid_equals_reference(known):
    assert time_grid(4) == [0.0, 0.25, 0.5, 0.75, 1.0]
    times = time_grid(known["num_step"], known["t_shift"], known["t_start"], known["t_end"])
    assert times == pytest.approx(known["time_steps"], abs=1e-6)


@pytest.mark.parametrize("num_steps", [1, 7, 16])
@pytest.mark.parametrize("t_shift", [0.3, 0.5, 1.0])
def test_time_grid_ends_are_exact(num_steps, t_shift):
    times = time_grid(num_steps, t_shift)
    assert (times[0], times[-1], len(times)) == (0.0, 1.0, num_steps + 1)


@pytest.mark.parametrize(
    ("num_steps", "step", "time"),
    [(3, 1, "0x1.555556p-2"), (3, 2, "0x1.555554p-1"), (5, 2, "0x1.99999ap-2"), (14, 7, "0x1.fffffep-2")],
)
def test_equal_times_are_those_of_torch_whose_second_half_counts_from_the_end(num_steps, step, time):
    """To the last bit where the halves meet, which guidance asks for; by older instructions torch rounds otherwise."""
    assert time_grid(num_steps)[step] == float.fromhex(time)
    for count in range(1, 65):
        np.testing.assert_allclose(time_grid(count), torch.linspace(0, 1, count + 1), rtol=1.2e-7)


@pytest.mark.parametrize(("num_steps", "t_shift"), [(0, 0.5), (4, 0.0), (4, -1.0), (4, math.nan)])
def test_impossible_time_grid(num_steps, t_shift):
    with pytest.raises(ValueError, match="must be"):
        time_grid(num_steps, t_shift)


@pytest.mark.parametrize("test", known_tests("guided_velocity"), ids=named)
def test_guided_velocity_equals_reference(test):
    x, condition, scale = inputs(test)
    seen = []
    velocity = classifier_free_guidance(linear_velocity(seen), scale)(test["t"], x, condition)
    torch.testing.assert_close(velocity, TENSORS[f"{test['name']}.velocity"], atol=1e-5, rtol=0)
    (network_input,) = seen
    if torch.is_tensor(scale) and not scale.any():
        return  # the reference looks for zeros in an array and evaluates half; here that is for plain numbers
    assert len(network_input.text) == test["network_batch"]
    assert torch.equal(network_input.text, TENSORS[f"{test['name']}.net_text"])
    assert torch.equal(network_input.speech, TENSORS[f"{test['name']}.net_speech"])


@pytest.mark.parametrize("test", known_tests("euler"), ids=named)
def test_euler_equals_reference(test):
    x, condition, scale = inputs(test)
    distilled = test["solver"] == "distilled"
    velocity = linear_velocity(guidance=scale) if distilled else classifier_free_guidance(linear_velocity(), scale)
    times = time_grid(test["num_step"], test["t_shift"], test.get("t_start", 0.0), test.get("t_end", 1.0))
    x = euler(velocity, x, condition, times)
    torch.testing.assert_close(x, TENSORS[f"{test['name']}.result"], atol=1e-5, rtol=0)


def test_zero_guidance_is_the_velocity_itself():
    velocity = linear_velocity()
    assert classifier_free_guidance(velocity, 0.0) is velocity


def test_euler_solves_a_straight_path_in_one_step():
    generator = torch.Generator().manual_seed(0)
    noise, speech = torch.randn(2, 1, 5, 3, generator=generator)
    condition = Condition(noise, noise)
    for num_steps in (1, 3):
        x = euler(lambda t, x, condition: speech - noise, noise, condition, time_grid(num_steps, 0.5))
        torch.testing.assert_close(x, speech)


# ---------------------------------------------------------------- solvers of second order

UNEVEN = (0.0, 0.05, 0.2, 0.5, 1.0)


def decay(t, x, condition, **end):
    """x' = -2 t x: x(1) = x(0) / e."""
    return -2 * t * x


def error_of(solver, num_steps, t_shift):
    x = solve(decay, np.ones((1, 1, 1)), None, time_grid(num_steps, t_shift), solver)
    return abs(x.item() - math.exp(-1))


@pytest.mark.parametrize("t_shift", [1.0, 0.5])
@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("midpoint", 2), ("heun", 2), ("adams-bashforth", 2)])
def test_halving_steps_divides_the_error_by_two_to_the_order(solver, order, t_shift):
    measured = math.log2(error_of(solver, 128, t_shift) / error_of(solver, 256, t_shift))
    assert measured == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("solver", ["midpoint", "heun", "adams-bashforth"])
def test_velocities_linear_in_time_are_integrated_exactly(solver):
    """∫ (3 - 4 t) dt over [0, 1] is 1. The first step of Adams and Bashforth is Euler's: it errs by slope h²/2."""
    x = solve(lambda t, x, condition: np.full_like(x, 3 - 4 * t), np.zeros((1, 2, 2)), None, UNEVEN, solver)
    first = 4 * UNEVEN[1] ** 2 / 2 if solver == "adams-bashforth" else 0.0
    np.testing.assert_allclose(x, 1 + first, rtol=1e-12)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_constant_velocity_is_the_same_for_all_solvers(solver):
    noise, speech = np.random.default_rng(0).standard_normal((2, 1, 5, 3))
    x = solve(lambda t, x, condition, **end: speech - noise, noise, None, UNEVEN, solver)
    np.testing.assert_allclose(x, speech, atol=1e-12)


def test_the_first_step_of_adams_and_bashforth_is_eulers_to_the_bit():
    x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype(np.float32)
    assert np.array_equal(solve(decay, x, None, (0.0, 0.3), "adams-bashforth"), euler(decay, x, None, (0.0, 0.3)))


@pytest.mark.parametrize("solver", SOLVERS)
def test_evaluations_are_as_many_as_are_told(solver):
    seen = []
    solve(lambda t, x, condition, **end: seen.append(t) or x, np.ones((1, 1, 1)), None, UNEVEN, solver)
    assert len(seen) == EVALUATIONS[solver] * (len(UNEVEN) - 1)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_utterances_at_times_of_their_own_step_as_they_do_alone(solver, kind):
    """One before its first step, one after it."""
    states = np.random.default_rng(0).standard_normal((2, 4, 3)).astype(np.float32)
    starts, ends, before = (0.0, 0.2), (0.25, 0.6), (-math.inf, 0.1)
    velocities = np.stack([np.zeros((4, 3), np.float32), states[0]])

    def each(values):
        return kind(np.array(values, np.float32)[:, None, None])

    past = Past(each(before), kind(velocities))
    together, _ = SOLVERS[solver](decay, kind(states), None, each(starts), each(ends), past)
    for row in range(2):
        alone = Past(before[row], velocities[row : row + 1])
        expected, _ = SOLVERS[solver](decay, states[row : row + 1], None, starts[row], ends[row], alone)
        np.testing.assert_allclose(np.asarray(together[row]), expected[0], rtol=1e-5)


# ---------------------------------------------------------------- grids and guidance


def test_published_grids_are_multiples_of_a_thirty_second():
    assert EPSS_GRIDS[5] == (0.0, 0.0625, 0.125, 0.25, 0.5, 1.0)
    assert {steps: [t * 32 for t in grid][-3:] for steps, grid in EPSS_GRIDS.items()} == {
        5: [8, 16, 32],
        6: [8, 16, 32],
        7: [16, 24, 32],
    }


def test_times_are_the_grid_or_else_shifted_steps():
    assert times_of(SamplingConfig(5, 1.0, time_grid=EPSS_GRIDS[5])) == list(EPSS_GRIDS[5])
    assert times_of(SamplingConfig(5, 1.0, t_shift=0.3)) == time_grid(5, 0.3)


@pytest.mark.parametrize(
    "change",
    [
        {"time_grid": (0.0, 0.5, 1.0)},
        {"time_grid": (0.0, 0.0, 0.5, 1.0)},
        {"time_grid": (0.1, 0.2, 0.5, 1.0)},
        {"time_grid": (0.0, 0.2, 0.5, math.nan)},
        {"time_grid": ()},
        {"guidance_interval": (0.5, 0.2)},
        {"guidance_interval": (0.0, 1.5)},
        {"guidance_interval": (0.5,)},
        {"guidance_every": 0},
    ],
)
def test_impossible_grid_or_interval(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        SamplingConfig(3, 1.0, **change)


def test_guidance_outside_its_interval_is_none():
    assert [scale_at(t, 1.5, (0.25, 0.5)) for t in (0.2, 0.25, 0.5, 0.6)] == [0.0, 1.5, 1.5, 0.0]
    assert scale_at(0.6, 1.5, None) == 1.5
    times = np.array([0.2, 0.3], np.float32)[:, None, None]
    assert scale_at(times, 1.5, (0.25, 0.5)).ravel().tolist() == [0.0, 1.5]


class Affine:
    """v = x + text (1 + 2 t) + speech: the unconditional part lacks the text and, late, the speech."""

    def __init__(self):
        self.rows = []

    def __call__(self, t, x, condition, scale):
        def bare(t, x, condition):
            self.rows.append(len(x))
            return x + condition.text * (1 + 2 * t) + condition.speech

        return classifier_free_guidance(bare, scale)(t, x, condition)


def test_guidance_between_its_evaluations_is_that_of_the_last():
    x, text, speech = np.random.default_rng(0).standard_normal((3, 1, 4, 3))
    given, scale, times = Condition(text, speech), 1.5, (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.8)
    reused = Affine()
    guided = under_guidance(reused, scale, SamplingConfig(4, scale, guidance_every=3))
    velocities = [guided(t, x, given) for t in times]
    assert reused.rows == [2, 2, 1, 1, 2, 1, 2, 1, 1, 2]  # the first two, every third, and the first after 0.5
    for t, last, velocity in zip(times, (0.0, 0.1, 0.1, 0.1, 0.4, 0.4, 0.6, 0.6, 0.6, 0.8), velocities, strict=True):
        conditional = x + text * (1 + 2 * t) + speech
        difference = text * (1 + 2 * last) + (speech if t > 0.5 else 0)
        expected = conditional + scale * (2 if t <= 0.5 else 1) * difference
        np.testing.assert_allclose(velocity, expected, rtol=1e-12)


@pytest.mark.parametrize("every", [2, 3, 7])
def test_reused_guidance_is_full_guidance_where_the_unconditional_part_differs_by_a_constant(every):
    x, text, speech = np.random.default_rng(0).standard_normal((3, 2, 4, 3))

    def solved(sampling):
        velocity = under_guidance(
            lambda t, x, c, scale: classifier_free_guidance(constant, scale)(t, x, c), 2.0, sampling
        )
        return solve(velocity, x, Condition(text, speech), time_grid(9, 0.5), "adams-bashforth")

    def constant(t, x, condition):
        return condition.text - t * x + condition.speech

    expected = solved(SamplingConfig(9, 2.0))
    np.testing.assert_allclose(solved(SamplingConfig(9, 2.0, guidance_every=every)), expected, rtol=1e-9)


def test_the_unconditional_half_is_evaluated_anew_where_its_condition_changes():
    reused = Affine()
    guided = under_guidance(reused, 1.0, SamplingConfig(4, 1.0, guidance_every=4))
    one = np.ones((1, 1, 1))
    for t in (0.3, 0.4, 0.5, 0.51, 0.6):
        guided(t, one, Condition(one, one))
    assert reused.rows == [2, 2, 1, 2, 1]
    at_the_change = Affine()
    guided = under_guidance(at_the_change, 1.0, SamplingConfig(4, 1.0, guidance_every=4))
    for t in (0.4, 0.5, 0.6):
        guided(t, one, Condition(one, one))
    assert at_the_change.rows == [2, 2, 2]  # t = 0.5 is before it


def test_outside_the_interval_reused_guidance_is_none_and_is_not_evaluated():
    reused, one = Affine(), np.ones((1, 1, 1))
    guided = under_guidance(reused, 1.0, SamplingConfig(4, 1.0, guidance_every=2, guidance_interval=(0.2, 0.4)))
    values = [guided(t, one, Condition(one, one)).item() for t in (0.1, 0.2, 0.3, 0.35, 0.45)]
    assert reused.rows == [1, 2, 2, 1, 1]
    assert values == pytest.approx([3.2, 3.4 + 2 * 1.4, 3.6 + 2 * 1.6, 3.7 + 2 * 1.6, 3.9])
