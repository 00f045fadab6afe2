# SPDX-License-Identifier: Apache-2.0
"""Seconds per training step of the full-size base model; on a CPU beside a large matrix product.

python benchmarks/training.py
python benchmarks/training.py --precision fp32 bf16
python benchmarks/training.py --device cuda --precision bf16 --seconds 500 --compile

A step is forward, backward and update, by default of two utterances of 10 seconds in float32. Weights and features are
random. What a network draws at random in training changes its work, so several steps make a round, and each round draws
the same. Figures are medians of the rounds.

On a CPU, matrix products are timed just before and after each part of a step, and the part's seconds are multiplied by
their speed relative to the reference's machine. Machines and what else runs on them cancel out in that, as good and as
bad moments of a machine meet both alike. Of two precisions, whose rounds take turns, the processor time is compared
instead, of all threads.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function

from zipvoice import heap
from zipvoice.config.model import ModelConfig, Vocabulary
from zipvoice.data.collate import Batch
from zipvoice.model.zipformer import EncoderLayer
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.training.compile import compile_elementwise
from zipvoice.training.objectives import BASE_MASK, ConditionMask, FlowMatching
from zipvoice.training.optimizer import ScaledAdam, parameter_groups

FRAMES, FRAMES_PER_SECOND, TOKENS_PER_SECOND = 937, 93.75, 15
MATRIX_SIZE, NUM_PRODUCTS = 2048, 3
REFERENCE_SECONDS = {"forward": 4.05, "backward": 6.83, "update": 3.90}  # two utterances, without k2, on a CPU
REFERENCE_SPEED = 129.0  # GFLOP/s of a matrix product there
NUM_STEPS = 4  # a multiple of the optimizer's period, so that repetitions of a step do the same
ROWS = 25  # of each table of a profile


def main() -> None:
    """Print the seconds of a step, in all and by its parts, or where they go."""
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    training = Training(arguments)
    first = timed(training.warm_up)
    print(f"{training}; the first {1 + NUM_STEPS * len(arguments.precision)} steps took {first:.1f} s")
    if arguments.profile:
        print(profiled(training))
    elif arguments.device == "cuda":
        print("\n".join(report_on_gpu(training, arguments)))
    elif len(arguments.precision) > 1:
        print("\n".join(report_on_precisions(training, arguments)))
    else:
        print("\n".join(report_on_cpu(training, arguments)))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2 * FRAMES / FRAMES_PER_SECOND, help="audio in the batch")
    parser.add_argument("--batch-count", type=float, default=20000.0, help="how far training has come, for schedules")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    precisions = ["fp32", "bf16"]
    parser.add_argument("--precision", nargs="+", default=["fp32"], choices=precisions, help="on a CPU one or both")
    parser.add_argument("--compile", action="store_true", help="use torch.compile")
    parser.add_argument("--profile", action="store_true", help="say where the time of one step goes")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.exit("there is no GPU that PyTorch can use on this machine; leave out --device")
    if len(arguments.precision) > 1 and (arguments.device == "cuda" or arguments.profile):
        parser.error("two precisions are compared on a CPU only, and without --profile")
    return arguments


class Training:
    """A model, an optimizer and a batch."""

    def __init__(self, arguments: argparse.Namespace, config: ModelConfig | None = None) -> None:
        heap.keep_freed()  # as a training run does
        torch.manual_seed(0)
        self.arguments, self.device = arguments, torch.device(arguments.device)
        self.precision = arguments.precision[0]
        self.model = ZipVoice(config or ModelConfig(), Vocabulary(360)).to(self.device).train()
        if arguments.compile:
            compile_elementwise(self.device)
        self.objective = FlowMatching(ConditionMask(BASE_MASK, "span"))
        self.optimizer = ScaledAdam(parameter_groups(self.model, 1e-3), clipping_scale=2.0)
        self.batch = random_batch(max(1, round(arguments.seconds * FRAMES_PER_SECOND / FRAMES))).to(self.device)
        self.whitening = dict.fromkeys(self.model.training_state(), 1.0)

    def __str__(self) -> str:
        compiled = ", compiled" if self.arguments.compile else ""
        precision = " and ".join(self.arguments.precision)
        size = f"{len(self.batch.ids)} utterances of {FRAMES} frames, {precision}{compiled}"
        where = torch.cuda.get_device_name() if self.device.type == "cuda" else f"{self.arguments.threads} threads"
        return f"{size}, {where}"

    def warm_up(self) -> None:
        """A step at which every whitener looks, and then knows how often it has to; then each of the steps once."""
        self.step(0)
        self.whitening = self.model.training_state()
        for precision in self.arguments.precision:
            self.precision = precision
            for number in range(NUM_STEPS):
                self.step(number)

    def step(self, number: int) -> None:
        """One update."""
        for part in self.parts(number).values():
            part()

    def parts(self, number: int) -> dict[str, Callable[[], None]]:
        """What is to be done one after the other in step `number`."""
        return {"forward": partial(self._forward, number), "backward": self._backward, "update": self._update}

    def _forward(self, number: int) -> None:
        torch.manual_seed(number)
        self.model.set_batch_count(self.arguments.batch_count)
        self.model.load_training_state(self.whitening)
        generator = torch.Generator(self.device).manual_seed(number)
        with self._autocast():
            self.loss = self.objective(self.model, self.batch, generator).value

    def _backward(self) -> None:
        self.loss.backward()
        del self.loss

    def _update(self) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _autocast(self) -> AbstractContextManager[Any]:
        bf16 = self.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16) if bf16 else nullcontext()


def random_batch(num_utterances: int) -> Batch:
    features = torch.randn(num_utterances, FRAMES, ModelConfig().feat_dim)
    num_tokens = round(FRAMES / FRAMES_PER_SECOND * TOKENS_PER_SECOND)
    tokens = torch.randint(1, 360, (num_utterances, num_tokens)).tolist()
    names = [str(number) for number in range(num_utterances)]
    return Batch(features, torch.full((num_utterances,), FRAMES), tokens, names, names)


# ---------------------------------------------------------------- how long


@dataclass(frozen=True)
class Timing:
    """The mean of a part of a step over the steps of a round."""

    seconds: float
    normal: float
    """What the seconds are at the reference's matrix speed."""


class MatrixProduct:
    """A large matrix product, as a measure of what a CPU can do."""

    def __init__(self) -> None:
        self.matrix, self.product = torch.randn(2, MATRIX_SIZE, MATRIX_SIZE)
        self.speeds: list[float] = []

    def speed(self) -> float:
        """GFLOP/s just now."""
        seconds = timed(lambda: [torch.mm(self.matrix, self.matrix, out=self.product) for _ in range(NUM_PRODUCTS)])
        self.speeds.append(NUM_PRODUCTS * 2 * MATRIX_SIZE**3 / 1e9 / seconds)
        return self.speeds[-1]


def report_on_cpu(training: Training, arguments: argparse.Namespace) -> Iterator[str]:
    """Run the steps, and say what they took beside matrix products."""
    product = MatrixProduct()
    product.speed()  # a warm-up
    rounds = [timings_of_round(training, product) for _ in range(arguments.rounds)]
    yield f"matrix product {statistics.median(product.speeds):8.1f} GFLOP/s"
    yield f"part        seconds  at {REFERENCE_SPEED:.0f} GFLOP/s  reference  % of it"
    for name, reference in {**REFERENCE_SECONDS, "total": sum(REFERENCE_SECONDS.values())}.items():
        seconds = statistics.median(timings[name].seconds for timings in rounds)
        normal = statistics.median(timings[name].normal for timings in rounds)
        yield f"{name:10}  {seconds:7.3f}  {normal:14.3f}  {reference:9.2f}  {100 * normal / reference:7.1f}"
    yield f"peak memory {peak_gigabytes():6.2f} GB"


def timings_of_round(training: Training, product: MatrixProduct) -> dict[str, Timing]:
    """Each part of a step and all of it, in the mean of the steps."""
    steps = [timings_of_step(training, number, product) for number in range(NUM_STEPS)]
    timings = {name: mean_of([step[name] for step in steps]) for name in REFERENCE_SECONDS}
    parts = timings.values()
    return {**timings, "total": Timing(sum(part.seconds for part in parts), sum(part.normal for part in parts))}


def timings_of_step(training: Training, number: int, product: MatrixProduct) -> dict[str, Timing]:
    timings, before = {}, product.speed()
    for name, part in training.parts(number).items():
        seconds, after = timed(part), product.speed()
        timings[name] = Timing(seconds, seconds * (before + after) / 2 / REFERENCE_SPEED)
        before = after
    return timings


def mean_of(timings: Sequence[Timing]) -> Timing:
    count = len(timings)
    return Timing(sum(timing.seconds for timing in timings) / count, sum(timing.normal for timing in timings) / count)


def report_on_precisions(training: Training, arguments: argparse.Namespace) -> Iterator[str]:
    """Run rounds of each precision by turns, and say what processor time they took and in what relation."""
    names = [*REFERENCE_SECONDS, "total"]
    rounds: dict[str, list[dict[str, float]]] = {precision: [] for precision in arguments.precision}
    for _ in range(arguments.rounds):
        for precision, own in rounds.items():
            training.precision = precision
            own.append(processor_seconds(training))
    first, second = rounds.values()
    yield "part      " + "".join(f"  {precision + ' s':>7}" for precision in rounds) + "  % of the first, by round"
    for name in names:
        seconds = "".join(f"  {statistics.median(parts[name] for parts in own):7.3f}" for own in rounds.values())
        ratios = [100 * b[name] / a[name] for a, b in zip(first, second, strict=True)]
        yield f"{name:10}{seconds}  {statistics.median(ratios):5.1f}: " + " ".join(f"{ratio:.1f}" for ratio in ratios)
    yield f"peak memory {peak_gigabytes():6.2f} GB"


def processor_seconds(training: Training) -> dict[str, float]:
    """Of each part of a step and of all of it, in the mean of the steps of a round."""
    seconds = dict.fromkeys([*REFERENCE_SECONDS, "total"], 0.0)
    for number in range(NUM_STEPS):
        for name, part in training.parts(number).items():
            start = time.process_time()
            part()
            spent = (time.process_time() - start) / NUM_STEPS
            seconds[name], seconds["total"] = seconds[name] + spent, seconds["total"] + spent
    return seconds


def report_on_gpu(training: Training, arguments: argparse.Namespace) -> Iterator[str]:
    """Run the steps, and say what they took."""
    torch.cuda.reset_peak_memory_stats()
    times: dict[str, list[float]] = {name: [] for name in ("forward", "backward", "update", "step")}
    for _ in range(arguments.rounds):
        for number in range(NUM_STEPS):
            for name, part in training.parts(number).items():
                times[name].append(timed(part))
            times["step"].append(timed(partial(training.step, number)))  # without waiting between its parts
    for name, seconds in times.items():
        yield f"{name:10}  {statistics.median(seconds):7.4f} s"
    step = statistics.median(times["step"])
    yield f"{1 / step:.2f} steps and {len(training.batch.ids) * FRAMES / FRAMES_PER_SECOND / step:.0f} s of audio per s"
    yield f"peak memory {torch.cuda.max_memory_allocated() / 1e9:6.2f} GB"


def timed(function: Callable[[], Any]) -> float:
    """Seconds that a call takes, a GPU's share included."""
    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    wait()
    start = time.perf_counter()
    function()
    wait()
    return time.perf_counter() - start


def peak_gigabytes() -> float:
    """The most memory that the process had."""
    return (heap.peak_bytes() or 0) / 1e9


# ---------------------------------------------------------------- where


def profiled(training: Training) -> str:
    """Tables of one step: all by operator, by kernel on a GPU, forward by module, backward by node of the graph."""
    step = partial(training.step, 0)
    seconds = statistics.median(timed(step) for _ in range(3))
    for module in training.model.modules():
        if isinstance(module, EncoderLayer):
            for child in module.children():
                _record(child)
    on_gpu = training.device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as record:
        for name, part in training.parts(0).items():
            with record_function(f"part {name}"):
                part()
            timed(lambda: None)  # waits
    events = record.key_averages()
    here = [event for event in events if event.device_type == DeviceType.CPU]
    kind = "device" if on_gpu else "cpu"
    own, total = f"self_{kind}_time_total", f"{kind}_time_total"
    operators = [event for event in here if not event.key.startswith(("part ", "module ", "autograd::", "cuda"))]
    tables = {
        "parts": _table(_named(here, "part "), total),
        "operators": _table(operators, own),
        "kernels": _table(_kernels(events), own) if on_gpu else [],
        "modules, forward": _table(_named(here, "module "), total),
        "nodes, backward": _table(_named(here, "autograd::engine::evaluate_function: "), total),
        "calls of CUDA, by the CPU's time": _table(_named(here, "cuda"), "self_cpu_time_total"),
    }
    lines = [f"a step takes {seconds:.4f} s"]
    if on_gpu:
        lines.append(_what_bounds(_kernels(events), seconds))
    for title, table in tables.items():
        lines += ["", title, *table] if table else []
    return "\n".join(lines)


def _what_bounds(kernels: Iterable[Any], seconds: float) -> str:
    """How much of a step, timed without the profiler, the GPU is at work."""
    busy, count = sum(event.self_device_time_total for event in kernels) / 1e6, sum(event.count for event in kernels)
    return f"{count} kernels take {busy:.4f} s of it ({100 * busy / seconds:.0f} %); the rest waits for launches"


def _kernels(events: Iterable[Any]) -> list[Any]:
    """What the GPU did, without the ranges that our own names make there."""
    on_gpu = [event for event in events if event.device_type == DeviceType.CUDA]
    return [event for event in on_gpu if not event.key.startswith(("part ", "module ", "Optimizer.", "## Call"))]


def _named(events: Iterable[Any], prefix: str) -> list[Any]:
    return [event for event in events if event.key.startswith(prefix)]


def _table(events: Iterable[Any], time: str) -> list[str]:
    rows = sorted(((getattr(event, time), event.count, event.key) for event in events), reverse=True)
    return [f"{spent / 1e6:8.4f} s  {count:6} x  {name[:100]}" for spent, count, name in rows[:ROWS] if spent > 0]


def _record(module: nn.Module) -> None:
    """Let the profiler see the calls of a module, under the name of its class."""
    forward, name = module.forward, f"module {type(module).__name__}"

    def recorded(*inputs: Any) -> Any:
        with record_function(name):
            return forward(*inputs)

    module.forward = recorded


if __name__ == "__main__":
    main()
