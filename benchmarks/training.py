# SPDX-License-Identifier: Apache-2.0
"""Seconds per training step of the full-size base model, beside a large matrix product.

python benchmarks/training.py
python benchmarks/training.py --device cuda --precision bf16 --seconds 500 --compile

A step is forward, backward and update, by default of two utterances of 10 seconds in float32. Weights and features are
random. What a network draws at random in training changes its work, so several steps are repeated, each with the same
draws every time: times are the best of all repetitions, summed over the parts of a step, and the mean of the steps.
Matrix products are timed between them, so that their ratio holds on a machine that does other work too.
"""

import argparse
import resource
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from zipvoice.config import ModelConfig, Vocabulary
from zipvoice.model.zipformer import EncoderLayer
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.training.data import Batch
from zipvoice.training.execution import compile_networks
from zipvoice.training.memory import keep_freed_memory
from zipvoice.training.objectives import BASE_MASK, ConditionMask, FlowMatching
from zipvoice.training.optimizer import ScaledAdam, parameter_groups

FRAMES, FRAMES_PER_SECOND, TOKENS_PER_SECOND = 937, 93.75, 15
MATRIX_SIZE = 2048
REFERENCE_SECONDS = {"forward": 4.05, "backward": 6.83, "update": 3.90}  # two utterances, without k2, on a CPU
REFERENCE_SPEED = 129.0  # GFLOP/s of a matrix product there
NUM_STEPS = 4  # a multiple of the optimizer's period, so that repetitions of a step do the same


def main() -> None:
    """Print the seconds of a step, in all and by its parts, or where they go."""
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    training = Training(arguments)
    if arguments.profile:
        print(profiled(training))
    else:
        print(report(training, arguments))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of each step")
    parser.add_argument("--seconds", type=float, default=2 * FRAMES / FRAMES_PER_SECOND, help="audio in the batch")
    parser.add_argument("--batch-count", type=float, default=20000.0, help="how far training has come, for schedules")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--compile", action="store_true", help="use torch.compile")
    parser.add_argument("--profile", action="store_true", help="say where the time of one step goes")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.exit("there is no GPU that PyTorch can use on this machine; leave out --device")
    return arguments


class Training:
    """A model, an optimizer and a batch."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        keep_freed_memory()  # as a training run does
        torch.manual_seed(0)
        self.device, self.precision, self.batch_count = arguments.device, arguments.precision, arguments.batch_count
        self.model = ZipVoice(ModelConfig(), Vocabulary(360)).to(self.device).train()
        if arguments.compile:
            compile_networks(self.model, torch.device(self.device))
        self.objective = FlowMatching(ConditionMask(BASE_MASK, "span"))
        self.optimizer = ScaledAdam(parameter_groups(self.model, 1e-3), clipping_scale=2.0)
        self.batch = random_batch(max(1, round(arguments.seconds * FRAMES_PER_SECOND / FRAMES))).to(self.device)
        self.matrix = torch.randn(MATRIX_SIZE, MATRIX_SIZE, device=self.device)
        # One step at which every whitener looks, and then knows how often it has to.
        self.whitening = dict.fromkeys(self.model.training_state(), 1.0)
        self.step(0, lambda name: nullcontext())
        self.whitening = self.model.training_state()

    def step(self, seed: int, part: Callable[[str], Any]) -> None:
        """One update; `part` is entered around the product of matrices and each part of a step."""
        torch.manual_seed(seed)
        self.model.set_batch_count(self.batch_count)
        self.model.load_training_state(self.whitening)
        with part("matrix"):
            self.matrix @ self.matrix
        with part("forward"), self.autocast():
            loss = self.objective(self.model, self.batch, torch.Generator().manual_seed(seed)).value
        with part("backward"):
            loss.backward()
        with part("update"):
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)

    def autocast(self) -> Any:
        return torch.autocast(self.device, torch.bfloat16) if self.precision == "bf16" else nullcontext()


def random_batch(num_utterances: int) -> Batch:
    features = torch.randn(num_utterances, FRAMES, ModelConfig().feat_dim)
    num_tokens = round(FRAMES / FRAMES_PER_SECOND * TOKENS_PER_SECOND)
    tokens = torch.randint(1, 360, (num_utterances, num_tokens)).tolist()
    names = [str(number) for number in range(num_utterances)]
    return Batch(features, torch.full((num_utterances,), FRAMES), tokens, names, names)


# ---------------------------------------------------------------- how long


@dataclass
class Stopwatch:
    """The best time of each part of each step."""

    device: str
    best: dict[str, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))

    @contextmanager
    def part(self, step: int, name: str) -> Iterator[None]:
        self._wait()
        start = time.perf_counter()
        yield
        self._wait()
        seconds = time.perf_counter() - start
        self.best[name][step] = min(seconds, self.best[name].get(step, seconds))

    def mean(self, name: str) -> float:
        """Over the steps, in seconds."""
        return statistics.mean(self.best[name].values())

    def _wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()


def report(training: Training, arguments: argparse.Namespace) -> str:
    """Run the steps, and say what they took."""
    watch = Stopwatch(arguments.device)
    for _ in range(arguments.rounds):
        for step in range(NUM_STEPS):
            training.step(step, lambda name, step=step: watch.part(step, name))  # type: ignore[misc]
    speed = 2 * MATRIX_SIZE**3 / 1e9 / min(watch.best["matrix"].values())
    seconds = {name: watch.mean(name) for name in REFERENCE_SECONDS}
    lines = [f"{len(training.batch.ids)} utterances of {FRAMES} frames, {arguments.threads} threads"]
    lines += [f"matrix product {speed:8.1f} GFLOP/s", *table(seconds, speed)]
    return "\n".join([*lines, f"peak memory {peak_gigabytes(arguments.device):6.2f} GB"])


def table(seconds: dict[str, float], speed: float) -> Iterator[str]:
    """Each part and the total: measured, at the reference's matrix speed, and relative to the reference."""
    yield f"part        seconds  at {REFERENCE_SPEED:.0f} GFLOP/s  reference  % of it"
    rows = {**seconds, "total": sum(seconds.values())}
    reference = {**REFERENCE_SECONDS, "total": sum(REFERENCE_SECONDS.values())}
    for name, measured in rows.items():
        normal = measured * speed / REFERENCE_SPEED
        percent = 100 * normal / reference[name]
        yield f"{name:10}  {measured:7.3f}  {normal:14.3f}  {reference[name]:9.2f}  {percent:7.1f}"


def peak_gigabytes(device: str) -> float:
    """The most memory that was in use: by the process, or on the GPU."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


# ---------------------------------------------------------------- where


def profiled(training: Training) -> str:
    """Tables of one step: forward by module, backward by node of the graph, and all by operator."""
    for module in training.model.modules():
        if isinstance(module, EncoderLayer):
            for part in module.children():
                _record(part)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if training.device == "cuda" else [])]
    with profile(activities=activities) as record:
        training.step(0, lambda name: record_function(f"part {name}"))
    events = record.key_averages()
    kind = "device" if training.device == "cuda" else "cpu"
    tables = [events.table(sort_by=f"self_{kind}_time_total", row_limit=30, max_name_column_width=60)]
    for prefix in ("part ", "module ", "autograd::engine::evaluate_function: "):
        rows = [(event.cpu_time_total, event.key, event.count) for event in events if event.key.startswith(prefix)]
        lines = [f"{time / 1e6:8.3f} s  {count:5} x  {key}" for time, key, count in sorted(rows, reverse=True)[:20]]
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


def _record(module: nn.Module) -> None:
    """Let the profiler see the calls of a module, under the name of its class."""
    forward, name = module.forward, f"module {type(module).__name__}"

    def recorded(*inputs: Any) -> Any:
        with record_function(name):
            return forward(*inputs)

    module.forward = recorded


if __name__ == "__main__":
    main()
