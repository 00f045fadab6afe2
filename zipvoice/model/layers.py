# SPDX-License-Identifier: Apache-2.0
"""The parts of a Zipformer layer other than attention. Shapes: B batch, T frames, D width."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zipvoice.model.activations import swoosh_l, swoosh_r
from zipvoice.model.balancer import limit
from zipvoice.model.kernels.blocks import rowwise
from zipvoice.model.kernels.depthwise import depthwise_convolution
from zipvoice.model.kernels.fusion import fusible
from zipvoice.model.kernels.linear import Linear
from zipvoice.model.kernels.swoosh import activate, folded
from zipvoice.model.scheduled_float import Progress, ScheduledFloat

LIMIT_RATE = ScheduledFloat((0, 0.6))
LOG_SCALE_LIMIT = 1.5
BYPASS_MINIMUM = ScheduledFloat((0, 0.9), (20000, 0.2))
BYPASS_MAXIMUM = 1.0
FEED_FORWARD_DROPOUT = ScheduledFloat((0, 0.3), (20000, 0.1))


class FeedForward(nn.Module):
    """Two linear layers with a Swoosh between them; in training, dropout of whole hidden channels of an utterance."""

    def __init__(self, dim: int, hidden: int, progress: Progress) -> None:
        super().__init__()
        self.progress = progress
        self.in_proj = Linear(dim, hidden)
        self.swoosh = swoosh_l
        self.out_proj = Linear(hidden, dim, scale=0.1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        mask = self._channel_mask(x) if self.training else None
        return rowwise(lambda rows: self.out_proj(activate(self.swoosh, self.in_proj(rows), mask)), x)

    def fold_constants(self) -> None:
        """Compute the same in fewer passes; not for training."""
        self.swoosh = folded(self.swoosh, self.in_proj, self.out_proj)

    def _channel_mask(self, x: Tensor) -> Tensor:
        """(B, 1, hidden), zero for dropped channels."""
        ones = torch.ones(x.shape[0], 1, self.in_proj.out_features, device=x.device)
        return F.dropout(ones, FEED_FORWARD_DROPOUT(self.progress))


class DepthwiseConvolution(nn.Conv1d):
    """A convolution over time of each channel by itself, (B, T, D) to (B, T, D)."""

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__(dim, dim, kernel, padding=kernel // 2, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        assert self.bias is not None
        return depthwise_convolution(x, self.weight, self.bias)


class Convolution(nn.Module):
    """A gated depthwise convolution over time."""

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.in_proj = Linear(dim, 2 * dim)
        self.depthwise_conv = DepthwiseConvolution(dim, kernel)
        self.swoosh = swoosh_r
        self.out_proj = Linear(dim, dim, scale=0.05)

    def forward(self, x: Tensor, padding_mask: Tensor | None) -> Tensor:
        """(B, T, D) to (B, T, D); padded frames count as zero."""
        x = _gated(self.in_proj(x), padding_mask)
        return self.out_proj(activate(self.swoosh, self.depthwise_conv(x)))

    def fold_constants(self) -> None:
        """Compute the same in fewer passes; not for training."""
        self.swoosh = folded(self.swoosh, self.depthwise_conv, self.out_proj)


class BiasNorm(nn.Module):
    """y = x · exp(s) / rms(x - β): a norm that keeps some information about lengths (section 3.3)."""

    def __init__(self, dim: int, progress: Progress) -> None:
        super().__init__()
        self.progress = progress
        self.log_scale = nn.Parameter(torch.tensor(1.0))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        limited = self.training and LIMIT_RATE.happens(self.progress)
        log_scale = limit(self.log_scale, -LOG_SCALE_LIMIT, LOG_SCALE_LIMIT) if limited else self.log_scale
        return _normalized(x, self.bias, log_scale)


class Bypass(nn.Module):
    """A learned mixture of a module's input and output, one scale per channel."""

    def __init__(self, dim: int, progress: Progress, skip_rate: ScheduledFloat | None = None) -> None:
        super().__init__()
        self.progress = progress
        self.skip_rate = skip_rate
        self.bypass_scale = nn.Parameter(torch.full((dim,), 0.5))

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Mix two (B, T, D)."""
        scale = self._training_scale(before) if self.training else self.bypass_scale
        return _mixed(before, after, scale.view(-1, 1, scale.shape[-1]))

    def _training_scale(self, x: Tensor) -> Tensor:
        """The scale with its gradient limited, zero for utterances that skip the module."""
        scale: Tensor = self.bypass_scale
        if LIMIT_RATE.happens(self.progress):
            scale = limit(scale, BYPASS_MINIMUM(self.progress), BYPASS_MAXIMUM)
        keep = None if self.skip_rate is None else kept(x, self.skip_rate(self.progress))
        return scale if keep is None else scale * keep


@fusible
def _gated(x: Tensor, padding_mask: Tensor | None) -> Tensor:
    """(B, T, 2 D) to (B, T, D), zero at padding."""
    x = F.glu(x)
    return x if padding_mask is None else x.masked_fill(padding_mask[:, :, None], 0.0)


@fusible
def _normalized(x: Tensor, bias: Tensor, log_scale: Tensor) -> Tensor:
    mean_square = (x - bias).square().mean(dim=-1, keepdim=True)
    return x * (mean_square.rsqrt() * log_scale.exp())


@fusible
def _mixed(before: Tensor, after: Tensor, scale: Tensor) -> Tensor:
    """Of two (B, T, D), with the scale (B or 1, 1, D)."""
    return torch.addcmul(before, after - before, scale)


def kept(x: Tensor, skip_rate: float) -> Tensor | None:
    """(B, 1, 1), zero with probability `skip_rate` for each utterance of x, else one; None if no utterance is skipped.

    Drawn on the CPU, so that a GPU need not be waited for to know whether there is anything to do.
    """
    keep = torch.rand(x.shape[0], 1, 1, device="cpu") >= skip_rate
    return None if keep.all() else keep.to(x, non_blocking=True)
