# SPDX-License-Identifier: Apache-2.0
"""How long the command line takes to answer, as a multiple of what Python itself takes to start.

python benchmarks/startup.py
"""

import statistics
import subprocess
import sys
import time

REPETITIONS = 15
PROGRAMS = {
    "python -c pass": ["-c", "pass"],
    "import zipvoice": ["-c", "import zipvoice"],
    "zipvoice --help": ["-m", "zipvoice", "--help"],
    "zipvoice say --help": ["-m", "zipvoice", "say", "--help"],
}


def main() -> None:
    seconds: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(REPETITIONS):  # by turns, so that a change of the machine's speed touches all alike
        for name, arguments in PROGRAMS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"{'program':<22}{'median, s':>10}{'ratio':>8}")
    for name, median in medians.items():
        print(f"{name:<22}{median:>10.3f}{median / medians['python -c pass']:>8.1f}")


if __name__ == "__main__":
    main()
