# SPDX-License-Identifier: Apache-2.0
"""Rates and limits that change over a training run, as pure functions of the batch count."""

from bisect import bisect_right
from dataclasses import dataclass

import torch


@dataclass
class Progress:
    """How far training has come; one object is shared by everything in a model that follows a schedule."""

    batch_count: float | None = None
    """Batches seen so far, adjusted to a reference batch size; None before training, when every rate is zero."""


class ScheduledFloat:
    """A piecewise-linear function of the batch count, constant outside its end points.

    `ScheduledFloat((0, 0.2), (4000, 0.05), (16000, 0))` falls from 0.2 to 0.05 over the first 4000 batches, then to 0;
    `ScheduledFloat((0, 0.1))` is always 0.1. Before a batch count is known every schedule is zero.
    """

    def __init__(self, *points: tuple[float, float]) -> None:
        self.points = points

    def __call__(self, progress: Progress) -> float:
        count = progress.batch_count
        if count is None:
            return 0.0
        right = bisect_right(self.points, count, key=lambda point: point[0])
        if right in (0, len(self.points)):
            return self.points[max(right - 1, 0)][1]
        (left_count, left), (right_count, value) = self.points[right - 1 : right + 1]
        return left + (value - left) * (count - left_count) / (right_count - left_count)

    def happens(self, progress: Progress) -> bool:
        """True with the scheduled probability, drawn from PyTorch's default generator."""
        return torch.rand((), device="cpu").item() < self(progress)
