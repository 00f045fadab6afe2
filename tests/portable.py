# SPDX-License-Identifier: Apache-2.0
"""Runs the tests as other processors and Pythons would, and keeps the result in CONTRIBUTING.md: make test-portable.

Settings that are given by name are run, else all of them: python tests/portable.py "two threads". The others, and
those of other processors, keep the row of their last run. Python 3.10 and 3.13 get environments of their own; where an
interpreter is missing the run says so and fails. With --fast the slow tests are left out, which the table tells. Those
of browsers always are.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PARALLEL = ("-n", "auto", "--maxprocesses", "4", "--dist", "loadfile", "--max-worker-restart", "0")
MARKS = "<!-- test-portable -->", "<!-- end of test-portable -->"
HEAD = "| setting | processor | date | tests | result | time |"


@dataclass(frozen=True)
class Setting:
    """One way to run the tests."""

    name: str
    environment: dict[str, str] = field(default_factory=dict)
    python: str | None = None
    """The interpreter of an environment to be made, such as python3.13; by default that of `make setup`."""


SETTINGS = (
    Setting("as it comes"),
    Setting("ATEN_CPU_CAPABILITY=default", {"ATEN_CPU_CAPABILITY": "default"}),
    Setting("ATEN_CPU_CAPABILITY=avx2", {"ATEN_CPU_CAPABILITY": "avx2"}),
    Setting("ONEDNN_MAX_CPU_ISA=AVX2", {"ONEDNN_MAX_CPU_ISA": "AVX2"}),
    Setting("two threads", {"OMP_NUM_THREADS": "2"}),
    Setting("Python 3.10", python="python3.10"),
    Setting("Python 3.13", python="python3.13"),
)


def interpreter(setting: Setting) -> Path:
    """The Python that runs the tests, its environment made on first use."""
    if setting.python is None:
        return ROOT / ".venv" / "bin" / "python"
    folder = f".venv-{setting.python}"
    subprocess.run(["make", "setup", f"PYTHON={setting.python}", f"VENV={folder}"], cwd=ROOT, check=True)
    return ROOT / folder / "bin" / "python"


def row(setting: Setting, fast: bool) -> str:
    """Run the tests; one line of the table."""
    print(f"== {setting.name}", flush=True)
    begin = time.monotonic()
    marks = ["-m", "not slow" if fast else "not browser"]
    command = [str(interpreter(setting)), "-m", "pytest", *PARALLEL, "-p", "no:cacheprovider", *marks]
    with tempfile.TemporaryDirectory() as cache:  # what torch.compile keeps does not tell settings apart
        environment = os.environ | setting.environment | {"TORCHINDUCTOR_CACHE_DIR": cache}
        run = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    print(run.stdout[-4000:])
    counts = re.findall(r"\d+ (?:passed|failed|skipped|errors?)", run.stdout.strip().splitlines()[-1])
    scope = "without the slow ones" if fast else "all but those of browsers"
    minutes = (time.monotonic() - begin) / 60
    result = ", ".join(counts) or "did not run"
    return table_row(setting.name, processor(), time.strftime("%Y-%m-%d"), scope, result, f"{minutes:.0f} min")


def processor() -> str:
    """What the processor of this machine calls itself."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else "unknown"


def table_row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def kept(rows: dict[str, str]) -> None:
    """Put the rows into CONTRIBUTING.md, in place of those of the same settings and processor."""
    page = ROOT / "CONTRIBUTING.md"
    before, rest = page.read_text(encoding="utf-8").split(MARKS[0])
    table, after = rest.split(MARKS[1])
    old = [line for line in table.splitlines() if line.startswith("|")][2:]
    by_place = {tuple(line.strip("| ").split(" | ")[:2]): line for line in [*old, *rows.values()]}
    names = [setting.name for setting in SETTINGS]
    lines = ["The last runs:", "", HEAD, "| --- " * 6 + "|"]
    lines += [by_place[place] for place in sorted(by_place, key=lambda place: (names.index(place[0]), place[1]))]
    page.write_text("\n".join([f"{before}{MARKS[0]}", *lines, f"{MARKS[1]}{after}"]), encoding="utf-8")


def main() -> None:
    names = [argument for argument in sys.argv[1:] if argument != "--fast"]
    unknown = set(names) - {setting.name for setting in SETTINGS}
    if unknown:
        sys.exit(f"no such setting: {', '.join(unknown)}; there are {', '.join(s.name for s in SETTINGS)}")
    rows = {}
    for setting in SETTINGS:
        if not names or setting.name in names:
            rows[setting.name] = row(setting, "--fast" in sys.argv)
            kept(rows)
    if not all(re.search(r"\d passed", line) and not re.search(r"failed|error", line) for line in rows.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
