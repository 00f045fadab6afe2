# SPDX-License-Identifier: Apache-2.0
"""Durations, guidance and solver on NumPy arrays where PyTorch cannot be imported, against the same on tensors."""

import json
import subprocess
import sys

import numpy as np
import torch

from zipvoice.model.condition import Condition
from zipvoice.model.duration import timed_alignment, uniform_alignment
from zipvoice.model.guidance import classifier_free_guidance
from zipvoice.model.solver import euler, time_grid

SOLVE = """
import json, sys
sys.modules["torch"] = None  # importing it now raises ImportError
import numpy as np
from zipvoice.model.condition import Condition, pad_tokens, padding_mask
from zipvoice.model.duration import predicted_frames, timed_alignment, uniform_alignment
from zipvoice.model.guidance import guided_velocity
from zipvoice.model.solver import euler, time_grid

noise = np.linspace(-1, 1, 12, dtype=np.float32).reshape(2, 3, 2)
ones = np.ones_like(noise)
velocity = guided_velocity(lambda t, x, condition: -x + condition.text + condition.speech, 0.5)
x = euler(velocity, noise, Condition(ones, ones, padding_mask(np.array([3, 2]), 3)), time_grid(1000))
assert x.dtype == np.float32
print(json.dumps(x.tolist()))
"""


def decay(t, x, condition):
    return -x + condition.text + condition.speech


def test_an_equation_is_solved_without_torch():
    done = subprocess.run([sys.executable, "-c", SOLVE], capture_output=True, text=True, check=True)
    noise = np.linspace(-1, 1, 12, dtype=np.float32).reshape(2, 3, 2)
    # v = -x + (1 + w) text + speech + w (speech - the speech of the unconditional half): a = 3, then a = 3 again
    early, late = 1 + (1 + 1.0), 1 + 2 * 0.5 + 1
    half = early + (noise - early) * np.exp(-0.5)
    exact = late + (half - late) * np.exp(-0.5)
    found = np.array(json.loads(done.stdout))
    np.testing.assert_allclose(found, exact, atol=2e-3)

    ones = torch.ones(2, 3, 2)
    mask = torch.tensor([[False] * 3, [False, False, True]])
    guided = classifier_free_guidance(decay, 0.5)
    x = euler(guided, torch.from_numpy(noise), Condition(ones, ones, mask), time_grid(1000))
    np.testing.assert_allclose(found, x, atol=1e-5)


def per_utterance(array):
    """Velocities at t = 0.3 and 0.9, of both kinds of time: one number and one per utterance."""
    rng = np.random.default_rng(0)
    x, text, speech = (array(rng.standard_normal((2, 4, 3), dtype=np.float32)) for _ in range(3))
    scale = array(np.array([0.5, 2.0], dtype=np.float32).reshape(2, 1, 1))
    seen = []

    def velocity(t, x, condition):
        seen.append(t)
        return x * t + condition.text - condition.speech

    guided = classifier_free_guidance(velocity, scale)
    times = array(np.array([0.3, 0.9], dtype=np.float32).reshape(2, 1, 1))
    together = guided(times, x, Condition(text, speech))
    alone = [guided(t, x, Condition(text, speech)) for t in (times[0, 0, 0], 0.9)]
    assert tuple(seen[0].shape) == (4, 1, 1)
    return [np.asarray(v) for v in (together, *alone)]


def test_a_time_for_each_utterance_equals_one_number_each():
    for array in (torch.from_numpy, np.asarray):
        together, early, late = per_utterance(array)
        assert together.dtype == early.dtype == np.float32
        np.testing.assert_allclose(together[0], early[0], rtol=1e-6)
        np.testing.assert_allclose(together[1], late[1], rtol=1e-6)
    for one, other in zip(per_utterance(torch.from_numpy), per_utterance(np.asarray), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_alignments_of_arrays_and_of_tensors_are_the_same():
    rng = np.random.default_rng(1)
    num_tokens, num_frames = rng.integers(1, 30, 20), rng.integers(30, 300, 20)
    durations = rng.integers(1, 64, (20, 31)).astype(np.float32) / 64  # their sums are exact in float32
    arrays = durations, num_tokens, num_frames
    for align, given in ((timed_alignment, arrays), (uniform_alignment, arrays[1:])):
        of_arrays = align(*given, 300)
        of_tensors = align(*map(torch.from_numpy, given), 300)
        assert of_arrays.dtype == np.int64 and np.array_equal(of_arrays, of_tensors)
