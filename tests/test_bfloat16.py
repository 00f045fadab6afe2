# SPDX-License-Identifier: Apache-2.0
"""Softmax of attention scores where products are computed in bfloat16."""

import torch
from test_zipformer import random

from zipvoice.model.kernels.relative_attention import attention_weights, softmax_gradient
from zipvoice.model.relative_positions import masked_softmax, relative_shift

ONE_STEP = 2**-7  # from a number to the next, relative to it; two ways to compute in float32 may round differently


def test_softmax_is_computed_in_float32():
    content, by_offset = random(2, 3, 5, 40).bfloat16(), random(2, 3, 5, 44, seed=1).bfloat16()
    mask = torch.arange(40) >= torch.tensor([[40], [30]])
    scores = (content + relative_shift(by_offset)).float().masked_fill(mask[:, None, None], float("-inf"))
    found, expected = masked_softmax(content, by_offset, mask), scores.softmax(dim=-1).bfloat16()
    torch.testing.assert_close(found, expected, rtol=ONE_STEP, atol=0.0)


def test_the_gradient_of_softmax_is_computed_in_float32():
    weights, grad = random(2, 3, 5, 400).softmax(dim=-1).bfloat16(), random(2, 3, 5, 400, seed=1).bfloat16()
    y, g = weights.double(), grad.double()
    expected = y * (g - (g * y).sum(dim=-1, keepdim=True))
    torch.testing.assert_close(softmax_gradient(grad, weights).double(), expected, rtol=ONE_STEP, atol=1e-8)


def test_training_under_autocast_gives_the_same_weights():
    """As the definition, whose softmax autocast computes in float32; in one block, whose products are the same."""
    inputs = [
        random(2, 3, 60, 4),
        random(2, 3, 60, 4, seed=1),
        random(2, 3, 60, 2, seed=2),
        random(1, 3, 119, 2, seed=3),
    ]
    query, key, position, table = (x.bfloat16().requires_grad_() for x in inputs)
    with torch.autocast("cpu", torch.bfloat16):
        found = attention_weights(query, key, position, table).weights
    scores = query @ key.transpose(-1, -2) + relative_shift(position @ table.transpose(-1, -2))
    torch.testing.assert_close(found, scores.float().softmax(dim=-1).bfloat16(), rtol=ONE_STEP, atol=0.0)
