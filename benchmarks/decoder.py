# SPDX-License-Identifier: Apache-2.0
"""Seconds per evaluation of the full-size velocity decoder on this processor, beside a large matrix product.

python benchmarks/decoder.py

The input has 1218 frames: a prompt of 3 seconds and 10 seconds of speech. Weights are random. Decoder and matrix
product alternate, so that their ratio holds on a machine that does other work too; figures are medians.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from zipvoice.config.model import ModelConfig, Variant, Vocabulary
from zipvoice.model.condition import Condition
from zipvoice.model.guidance import guided_velocity
from zipvoice.model.solver import Velocity
from zipvoice.model.zipvoice import ZipVoice

PROMPT_FRAMES, SPEECH_FRAMES, SPEECH_SECONDS = 281, 937, 10.0
DECODER_GFLOP = 193.0  # multiplications and additions of one evaluation at 1218 frames
MATRIX_SIZE = 2048
MODELS: list[tuple[str, Variant, float, int]] = [  # name, variant, guidance scale, passes through the network
    ("distilled", "zipvoice_distill", 3.0, 1),
    ("base, guided", "zipvoice", 1.0, 2),
]


def main() -> None:
    """Print one row per number of threads, then what sampling costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repetitions", type=int, default=5)
    arguments = parser.parse_args()

    print("model         threads  s/evaluation  matrix GFLOP/s  time / matrix time")
    seconds = {}
    for name, variant, scale, passes in MODELS:
        velocity = guided_velocity(ZipVoice(ModelConfig(), Vocabulary(360), variant).eval(), scale)
        for threads in arguments.threads:
            torch.set_num_threads(threads)
            seconds[name, threads], speed, ratio = measure(velocity, arguments.repetitions, passes)
            print(f"{name:12}  {threads:7}  {seconds[name, threads]:12.3f}  {speed:14.1f}  {ratio:18.3f}")

    print("\nreal-time factor of 10 s of speech after a 3 s prompt (decoder only)")
    print("model         steps  threads  factor")
    for name, steps in (("base, guided", 16), ("distilled", 8), ("distilled", 4)):
        for threads in arguments.threads:
            print(f"{name:12}  {steps:5}  {threads:7}  {steps * seconds[name, threads] / SPEECH_SECONDS:6.2f}")


@torch.inference_mode()
def measure(velocity: Velocity, repetitions: int, passes: int) -> tuple[float, float, float]:
    """Seconds per evaluation, GFLOP/s of the matrix product, and the evaluation's time per `passes` ideal ones."""
    x, text, speech = torch.randn(3, 1, PROMPT_FRAMES + SPEECH_FRAMES, ModelConfig().feat_dim)
    matrix = torch.randn(MATRIX_SIZE, MATRIX_SIZE)
    evaluation, product, ratio = [], [], []
    for repetition in range(-1, repetitions):  # the first is a warm-up
        before = timed(lambda: matrix @ matrix)
        took = timed(lambda: velocity(0.25, x, Condition(text, speech)))
        speed = 2 * MATRIX_SIZE**3 / 1e9 / statistics.mean([before, timed(lambda: matrix @ matrix)])
        if repetition >= 0:
            evaluation.append(took)
            product.append(speed)
            ratio.append(took * speed / (passes * DECODER_GFLOP))
    return statistics.median(evaluation), statistics.median(product), statistics.median(ratio)


def timed(function: Callable[[], torch.Tensor]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
