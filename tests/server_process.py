# SPDX-License-Identifier: Apache-2.0
"""`zipvoice serve` as a process, for tests of it from outside."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HELLO = "Hello, this is a test."
PATIENT = ("--queue-seconds", "600", "--burst-seconds", "0")
"""Refuse nothing, however slow the machine."""


@dataclass
class Server:
    """A server that listens."""

    process: subprocess.Popen[str]
    log: Path
    url: str
    voices: Path
    wyoming_port: int

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def status(self, name: str) -> int:
        """A number of the process's own status, as VmRSS or Threads."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{name}:\s+(\d+)", text)[1])

    def num_files(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def end(self, number: signal.Signals = signal.SIGTERM, timeout: float = 60) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout)


def start(folder: Path, *arguments: str) -> Server:
    """A server with the package's model at a free port; its voices and its log are in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    log, voices = folder / "log", folder / "voices"
    environment = {**os.environ, "ZIPVOICE_VOICES": str(voices), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "zipvoice", "serve", "--port", "0", *arguments]
    with log.open("w") as file:
        process = subprocess.Popen(command, stderr=file, stdout=subprocess.DEVNULL, text=True, env=environment)
    until = time.monotonic() + 120
    while not (said := re.search(r"speaks at (\S+)", log.read_text())):
        assert process.poll() is None and time.monotonic() < until, log.read_text()
        time.sleep(0.1)
    wyoming = re.search(r"tcp://\S+:(\d+)", log.read_text())
    return Server(process, log, said[1], voices, int(wyoming[1]) if wyoming else 0)
