# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from zipvoice.training.distributed import ALONE
from zipvoice.training.losses import Loss, pooled, weighted
from zipvoice.training.observation.monitor import RunningLoss


def means_of(parts, p):
    """The loss mean((p - x)²) of each part, with a second one beside it."""
    return [
        Loss((p - part).square().mean(), 100 * len(part), {"double": 2 * (p - part).square().mean()}, len(part))
        for part in parts
    ]


def test_parts_are_pooled_to_the_mean_over_all():
    """The mean of (p - x)² over five numbers, in parts of one, three and one; its gradient is 2 (p - mean of x)."""
    numbers = torch.tensor([4.0, 1.0, 2.0, 0.0, 8.0])
    p = torch.tensor(1.0, requires_grad=True)
    losses = means_of(numbers.split([1, 3, 1]), p)
    for loss in losses:
        weighted(loss, losses[0]).backward()
    loss = pooled(losses, ALONE)
    assert loss.value.item() == pytest.approx((9 + 0 + 1 + 1 + 49) / 5)
    assert loss.parts["double"].item() == pytest.approx(24)
    assert (loss.num_frames, loss.weight) == (500, 5)
    share = losses[0].weight / loss.weight
    assert p.grad.item() * share == pytest.approx(2 * (1 - 15 / 5))


def test_a_single_batch_is_left_as_it_is():
    """To the last bit, so that runs with and without pooling are the same run."""
    for number in torch.rand(100, generator=torch.Generator().manual_seed(0)):
        loss = Loss(number, 7, {}, torch.tensor(997))
        assert weighted(loss, loss).item() == number.item()
        assert pooled([loss], ALONE).value.item() == number.item()


def test_running_loss_of_several_processes():
    class Two:
        rank = 1

        def gathered(self, state):
            return [{"sums": {"loss": 6.0, "other": 1.0}, "frames": {"loss": 2.0, "other": 1.0}}, state]

    running = RunningLoss(memory=None)
    running.add(Loss(torch.tensor(1.0), 4))
    running.add_others(Two())
    assert running.means() == {"loss": (4 + 6) / 6, "other": 1.0}
