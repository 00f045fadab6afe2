# SPDX-License-Identifier: Apache-2.0
"""How long a listener waits: `zipvoice serve` and OpenAI's client, one request after the other, nothing beside.

    python benchmarks/first_audio.py

Seconds from a request to the first samples of its stream, and the processor time that the server took until then: with
one thread a quiet machine needs about as long. After each request `Synthesizer.stream` speaks the same text in this
process, to tell what the server adds.
"""

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import openai
from serving import LENGTHS, SENTENCES

import zipvoice
from zipvoice import Synthesizer, builtin


def started(options: list[str]) -> tuple[subprocess.Popen[str], str]:
    """A server and its address."""
    command = [sys.executable, "-m", "zipvoice", "serve", "--port", "0", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    found = re.search(r"http://\S+", process.stderr.readline())
    assert found
    return process, found[0]


def processor_seconds(pid: int) -> float:
    """Of all threads that a process has."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def first_samples(client: openai.OpenAI, text: str, pid: int) -> tuple[float, float]:
    """Seconds until they come, of the clock and of the server's processor time."""
    clock, processor = time.perf_counter(), processor_seconds(pid)
    speak = client.audio.speech.with_streaming_response.create
    with speak(model="tts-1", voice=builtin.VOICE, input=text, response_format="pcm") as answer:
        sound = answer.iter_bytes()
        next(sound)
        waited = time.perf_counter() - clock, processor_seconds(pid) - processor
        for _ in sound:
            pass
    return waited


def first_part(synthesizer: Synthesizer, text: str) -> tuple[float, float]:
    """Seconds until it comes without a server."""
    clock, processor = time.perf_counter(), time.process_time()
    parts = synthesizer.stream(text)
    next(parts)
    return time.perf_counter() - clock, time.process_time() - processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2, help="of sixteen texts of the recorded lengths")
    parser.add_argument("server", nargs="*", default=[], help="options of zipvoice serve")
    given = parser.parse_args()
    process, address = started(given.server)
    client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0, timeout=300)
    synthesizer = zipvoice.load()
    rows = []
    try:
        for length in (*LENGTHS[:4], *LENGTHS * given.rounds):
            text = SENTENCES[:length]
            rows.append((*first_samples(client, text, process.pid), *first_part(synthesizer, text)))
    finally:
        process.terminate()
        process.wait(60)
    names = ("server, clock", "server, processor", "no server, clock", "no server, processor")
    for name, seconds in zip(names, zip(*rows[4:], strict=True), strict=True):
        least, median, late = np.percentile(seconds, (0, 50, 95))
        print(f"{name}: median {median:.3f} s, 95 % {late:.3f} s, the least {least:.3f} s")


if __name__ == "__main__":
    main()
