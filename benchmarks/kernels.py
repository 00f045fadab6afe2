# SPDX-License-Identifier: Apache-2.0
"""What each fast form in zipvoice/model/kernels is worth on this processor, against its plain form.

python benchmarks/kernels.py decoder
python benchmarks/kernels.py training

One evaluation of the velocity decoder at 1218 frames, or forward and backward of training steps with an utterance of
ten seconds, of networks of full width with one layer per stack. The forms take turns in one process, the fast ones
before and after each plain one; ratios are of processor time.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from training import NUM_STEPS, Training

from zipvoice.config import model as config
from zipvoice.model import attention, layers
from zipvoice.model.activations import Swoosh
from zipvoice.model.condition import Condition
from zipvoice.model.kernels import linear, relative_attention
from zipvoice.model.relative_positions import plain_weights
from zipvoice.model.zipvoice import ZipVoice

FRAMES = 1218
CONFIG = config.ModelConfig(fm_decoder_num_layers=(1, 1, 1, 1, 1))


def plain_swoosh(activation: Swoosh, x: Tensor, channel_mask: Tensor | None = None) -> Tensor:
    x = x.float()
    y = F.softplus(x - activation.shift) - 0.08 * x - activation.offset
    return y if channel_mask is None else y * channel_mask


def plain_attention(
    query: Tensor, key: Tensor, position: Tensor, table: Tensor, mask: Tensor | None = None, penalty: float = 0.0
) -> relative_attention.Attention:
    return relative_attention.Attention(plain_weights(query, key, position, table, mask))


def plain_convolution(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.conv1d(x.transpose(1, 2), weight, bias, padding=weight.shape[-1] // 2, groups=len(weight)).transpose(1, 2)


def in_one(num_rows: int, rows_per_thread: int, x: Tensor) -> list[slice]:
    return [slice(0, num_rows)]


PLAIN: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "Swoosh": (layers, "activate", plain_swoosh),
    "feed-forward, row blocks": (layers, "rowwise", lambda function, x: function(x)),
    "attention": (attention, "attention_weights", plain_attention),
    "attention, row blocks": (relative_attention, "row_blocks", in_one),
    "narrow averages turned round": (relative_attention, "_average", lambda weights, value: weights @ value),
    "depthwise convolution": (layers, "depthwise_convolution", plain_convolution),
    "linear by oneDNN": (linear, "linear", F.linear),
}


@contextmanager
def plainly(name: str) -> Iterator[None]:
    module, attribute, plain = PLAIN[name]
    fast = getattr(module, attribute)
    setattr(module, attribute, plain)
    try:
        yield
    finally:
        setattr(module, attribute, fast)


def decoder() -> Callable[[], object]:
    model = ZipVoice(CONFIG, config.Vocabulary(360), "zipvoice_distill").eval()
    x, text, speech = torch.randn(3, 1, FRAMES, CONFIG.feat_dim)
    return torch.inference_mode()(lambda: model(0.25, x, Condition(text, speech), 3.0))


def training() -> Callable[[], object]:
    arguments = {"device": "cpu", "compile": False, "seconds": 10.0, "precision": "fp32", "batch_count": 20000.0}
    step = Training(SimpleNamespace(**arguments), CONFIG)  # type: ignore[arg-type]
    step.warm_up()

    def forward_and_backward() -> None:
        for number in range(NUM_STEPS):
            step._forward(number)
            step._backward()
        step.optimizer.zero_grad(set_to_none=True)

    return forward_and_backward


def seconds(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def main() -> None:
    """Print one row per kernel."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["decoder", "training"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    function = {"decoder": decoder, "training": training}[arguments.what]()
    function()
    ratios: dict[str, list[float]] = {name: [] for name in PLAIN}
    for _ in range(arguments.rounds):
        fast = seconds(function)
        for name in PLAIN:
            with plainly(name):
                plain = seconds(function)
            before, fast = fast, seconds(function)
            ratios[name].append(2 * plain / (before + fast))
    print(f"{arguments.what}: time with the plain form / time with the fast form; least, median, greatest")
    for name, found in ratios.items():
        print(f"{name:30} {min(found):6.3f} {statistics.median(found):6.3f} {max(found):6.3f}", flush=True)


if __name__ == "__main__":
    main()
