# SPDX-License-Identifier: Apache-2.0
"""Whitening: pushes groups of channels towards covariances with equal eigenvalues (Yao et al., 2024, appendix A).

Tensors pass unchanged; the gradient that flows back through them is modified. Statistics are computed in float32. The
channels are the last axis; N counts all other positions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zipvoice.model.balancer import TINY, selected, with_selected
from zipvoice.model.scheduled_float import Progress, ScheduledFloat

LOW_PROBABILITY, HIGH_PROBABILITY = 0.025, 0.25  # of whitening, when the metric was last within its limit or above it


@dataclass
class Whitener:
    """A forward hook that whitens a module's output in training, more often while the metric exceeds its limit."""

    progress: Progress
    limit: ScheduledFloat
    grad_scale: float = 0.01
    num_groups: int = 1
    channels: slice | None = None
    probability: float = HIGH_PROBABILITY

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        active = module.training and output.requires_grad and self.progress.batch_count is not None
        if not (active and ScheduledFloat((0, self.probability)).happens(self.progress)):
            return None
        return whiten(output, self.num_groups, self.limit(self.progress), self.grad_scale, self.channels, self._adapt)

    def _adapt(self, needed: bool) -> None:
        self.probability = HIGH_PROBABILITY if needed else LOW_PROBABILITY


def whiten(
    x: Tensor, num_groups: int, limit: float, grad_scale: float, channels: slice | None, report: Callable[[bool], None]
) -> Tensor:
    """Push groups of channels of x (…, C) towards covariances with equal eigenvalues.

    Where `whitening_metric` exceeds the limit, add its gradient, scaled to a norm of `grad_scale` times that of the
    incoming gradient. `report` is told whether it did.
    """
    return _Whiten.apply(x, num_groups, limit, grad_scale, channels, report)


def whitening_metric(x: Tensor, num_groups: int) -> tuple[Tensor, Callable[[], Tensor]]:
    """How far groups of channels are from white, and a multiple of the gradient of that.

    With covariance S_g of each group and D the mean of all their diagonal entries: the mean over channels k of
    Σ_l S_g[k, l]², divided by D². It is 1 if all S_g are the same multiple of the identity, else larger.

    Args:
        x: (N, C).
        num_groups: number of groups of neighbouring channels.

    Returns:
        The metric, and a function that computes its gradient (N, C) up to a positive factor.
    """
    groups = x.unflatten(1, (num_groups, -1)).transpose(0, 1)  # (G, N, C / G)
    groups = groups - groups.mean(dim=1, keepdim=True)
    covariance = groups.transpose(1, 2) @ groups  # (G, C / G, C / G)
    diagonal = covariance.diagonal(dim1=1, dim2=2)
    mean_diagonal = diagonal.mean()
    metric = covariance.square().sum() / diagonal.numel() / (mean_diagonal.square() + TINY)

    def gradient() -> Tensor:
        to_white = covariance - torch.diag_embed((metric * mean_diagonal).expand_as(diagonal))
        return (groups @ to_white).transpose(0, 1).flatten(1)

    return metric, gradient


class _Whiten(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        num_groups: int,
        limit: float,
        grad_scale: float,
        channels: slice | None,
        report: Callable[[bool], None],
    ) -> Tensor:
        ctx.save_for_backward(x)
        ctx.num_groups, ctx.limit, ctx.grad_scale = num_groups, limit, grad_scale
        ctx.channels, ctx.report = channels, report
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        with torch.autocast(x.device.type, enabled=False):
            metric, gradient = whitening_metric(selected(x, ctx.channels).flatten(0, -2), ctx.num_groups)
            exceeded = bool(metric >= ctx.limit)
            correction = gradient() if exceeded else None
        ctx.report(exceeded)
        if correction is not None:
            part = selected(grad, ctx.channels)
            scale = ctx.grad_scale * part.norm() / (correction.norm() + TINY)
            grad = with_selected(grad, ctx.channels, part.addcmul(correction.view_as(part), scale))
        return grad, None, None, None, None, None
