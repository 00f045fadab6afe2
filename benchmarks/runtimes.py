# SPDX-License-Identifier: Apache-2.0
"""PyTorch, ONNX Runtime and OpenVINO side by side on one core: a sentence as a command, velocities, memory.

OMP_NUM_THREADS=1 python benchmarks/runtimes.py [sentence] [small] [full] [memory] [--repetitions 3] [--fresh FOLDER]

Ratios of processor time, by turns in one run. `small` and `full` measure the velocity of the package's model and of a
random one of the released size, `memory` what the package's model takes over texts of changing lengths. --fresh is the
bin folder of an environment with the package and without PyTorch; its command then stands for the ONNX runtime.
--before is a checkout of an older commit, whose command is then what the others are compared with.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np

from zipvoice.config.model import FeatureConfig, ModelConfig
from zipvoice.config.model_file import ModelFile
from zipvoice.config.text import TokenizerConfig
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.pretrained import ModelDirectory, read_directory, save_pretrained
from zipvoice.runtime import onnx, openvino, torch
from zipvoice.runtime.base import NARROW, AcousticModel
from zipvoice.text.token_table import TokenTable

SENTENCE = "The quick brown fox jumps over the lazy dog."
SMALL = "zipvoice_small_distill"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["sentence", "small"], metavar="PART")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--fresh", type=Path, help="bin folder of an environment without PyTorch")
    parser.add_argument("--before", type=Path, help="checkout of an older commit")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if "sentence" in arguments.parts:
            programs = arguments.fresh or Path(sys.executable).parent
            one_sentence(programs, arguments.before, arguments.repetitions)
            when_loaded(programs)
        for frames in (300, 1218) if "small" in arguments.parts else ():
            velocities(f"{SMALL}, {frames} frames", read_directory(SMALL), frames, arguments.repetitions)
        for runtime in ("onnx", "openvino") if "memory" in arguments.parts else ():
            subprocess.run([sys.executable, __file__, "memory-of", runtime], check=True)
        if "memory-of" in arguments.parts:
            changing_lengths({"onnx": onnx, "openvino": openvino}[arguments.parts[1]])
        if "full" in arguments.parts:
            random_model(Path(folder))
            full = read_directory(Path(folder))
            velocities("released size, random weights, 1218 frames", full, 1218, arguments.repetitions)


# ---------------------------------------------------------------- one sentence


def one_sentence(programs: Path, before: Path | None, repetitions: int) -> None:
    """Processor time and peak memory of `zipvoice say`, the first command standing for 100 %."""
    with tempfile.TemporaryDirectory() as folder:
        say = ["say", SENTENCE, "-o", str(Path(folder) / "out.wav")]
        here, there = str(Path(sys.executable).parent / "zipvoice"), str(programs / "zipvoice")
        # from its own folder, as Python looks for a module in the current one first
        old = {"before": ["env", f"--chdir={before}", f"PYTHONPATH={before}", sys.executable, "-m", "zipvoice", *say]}
        commands = (old if before else {}) | {
            "torch": [here, *say, "--runtime", "torch"],
            "onnx": [there, *say, "--runtime", "onnx"],
            "onnx, int8": [there, *say, "--dtype", "int8"],
        }
        measured: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(repetitions):
            for name, command in commands.items():
                measured[name].append(used(command))
    seconds, peaks = (
        {name: statistics.median(row[i] for row in rows) for name, rows in measured.items()} for i in (0, 1)
    )
    first = next(iter(commands))
    print(f"{'one sentence':<44}{'CPU s':>8}{'of ' + first:>11}{'peak MB':>9}{'of ' + first:>11}")
    for name in commands:
        parts = f"{seconds[name] / seconds[first]:>11.0%}{peaks[name]:>9.0f}{peaks[name] / peaks[first]:>11.0%}"
        print(f"{name:<44}{seconds[name]:>8.2f}{parts}")


def used(command: list[str]) -> tuple[float, float]:
    """Processor seconds and peak memory in MB of a command. A process of its own measures it, for peaks never fall."""
    program = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stderr=subprocess.DEVNULL); "
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); print(used.ru_utime + used.ru_stime, used.ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", program, *command], check=True, capture_output=True, text=True)
    seconds, kibibytes = map(float, done.stdout.split())
    return seconds, kibibytes * 1024 / 1e6


LOADED = """
import sys, time
from pathlib import Path
import zipvoice
synthesizer = zipvoice.load(runtime="onnx", dtype=sys.argv[1])
resident = int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6
loaded = time.process_time()
next(synthesizer.stream("Hello there. This is what comes after it."))
print(f"{resident:.0f} MB resident when loaded, after {loaded:.2f} CPU s; first sound after {time.process_time():.2f}")
"""


def when_loaded(programs: Path) -> None:
    """Resident memory of a process that has loaded the package's model, and what its first sound takes."""
    for name, dtype in (("onnx", "float32"), ("onnx, int8", "int8")):
        command = [str(programs.absolute() / "python"), "-c", LOADED, dtype]
        done = subprocess.run(command, cwd=programs, check=True, capture_output=True, text=True)
        print(f"{name}: {done.stdout.strip()}")


# ---------------------------------------------------------------- velocity


def velocities(name: str, weights: ModelDirectory, frames: int, repetitions: int) -> None:
    """Processor time of one velocity, without guidance."""
    calls = {
        "torch": call(torch.load_model(weights, device="cpu"), frames),
        "torch, int8": call(torch.load_model(weights, device="cpu", dtype="int8"), frames),
        "onnx": call(onnx.load_model(weights, num_threads=1), frames),
        "onnx, int8": call(onnx.load_model(weights, dtype="int8", num_threads=1), frames),
        "openvino": call(openvino.load_model(weights, dtype="float32", num_threads=1), frames),
    }
    if torch.best_dtype(torch.find_device("cpu"), NARROW) == "bfloat16":  # OpenVINO refuses what the processor lacks
        calls["torch, bfloat16"] = call(torch.load_model(weights, device="cpu", dtype="bfloat16"), frames)
        calls["openvino, bfloat16"] = call(openvino.load_model(weights, dtype="bfloat16", num_threads=1), frames)
    seconds: dict[str, list[float]] = {runtime: [] for runtime in calls}
    for repetition in range(repetitions + 1):
        for runtime, run in calls.items():
            start = time.process_time()
            run()
            if repetition:  # the first is for warming up
                seconds[runtime].append(time.process_time() - start)
    print(f"\n{name:<44}{'CPU s':>8}{'faster':>10}")
    torch_seconds = statistics.median(seconds["torch"])
    for runtime, values in seconds.items():
        median = statistics.median(values)
        print(f"{runtime:<44}{median:>8.3f}{torch_seconds / median:>9.2f}x")


def call(model: AcousticModel, frames: int) -> Callable[[], object]:
    """One evaluation of the velocity, for one utterance."""
    rng = np.random.default_rng(0)
    x, speech = rng.standard_normal((2, 1, frames, 100), dtype=np.float32)
    tokens = rng.integers(1, model.description.vocabulary.size, (1, frames // 6 + 1))
    condition = model.condition(tokens, np.array([frames // 6]), np.array([frames]), 0.3 * speech)
    state, scale = model.array(x), 1.0 if model.description.variant == "zipvoice_distill" else 0.0
    return lambda: model.numpy(model.velocity(0.4, state, condition, scale))


def changing_lengths(runtime: ModuleType) -> None:
    """Resident memory and time over 90 lengths, none of which comes twice."""
    model = runtime.load_model(read_directory(SMALL), num_threads=1)
    lengths = np.random.default_rng(0).permutation(np.arange(100, 1090, 11))
    print(f"\n{model.computed_by.runtime}: {resident():.0f} MB when loaded, then by turns of 15 lengths")
    for group in lengths.reshape(-1, 15):
        start = time.process_time()
        for frames in group:
            call(model, int(frames))()
        seconds = time.process_time() - start
        print(f"  {resident():>5.0f} MB {1000 * seconds / group.sum():.2f} ms of processor time a frame")


def resident() -> float:
    """Megabytes of this process, on Linux."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def random_model(folder: Path) -> None:
    """A base model of the released size."""
    table = TokenTable(("_", *map(chr, range(0x4E00, 0x4E00 + 359))))  # as many as the released one has
    network = ZipVoice(ModelConfig(), table.vocabulary)
    save_pretrained(
        folder,
        network.state_dict(),
        ModelFile(ModelConfig(), FeatureConfig(), "zipvoice", TokenizerConfig("simple")),
        table,
    )


if __name__ == "__main__":
    main()
