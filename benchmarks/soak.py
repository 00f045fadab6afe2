# SPDX-License-Identifier: Apache-2.0
"""A server process under many short requests of random kinds, and under four times the load that it can bear.

    python benchmarks/soak.py --requests 10000 --overload-seconds 120
    python benchmarks/soak.py --requests 10000 --overload-seconds 0 --tiny

Starts `zipvoice serve` with a voice of one second, so that requests are short. Of the requests 10 % are cancelled as
soon as sound comes, 5 % are malformed, 5 % are read slowly; the others differ in text, format and way of sending. What
was sent as PCM is compared with the first answer to the same request. Memory, file descriptors, threads and tasks of
the server are those at rest, after every 500 requests. `--tiny` speaks noise with random weights, in a hundredth of the
time: what is looked for is in the server, and ONNX Runtime computes either way.

Then requests come by Poisson's law at half of the measured rate, and at four times of it.
"""

import argparse
import asyncio
import base64
import collections
import dataclasses
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from tiny_models import make_model, make_vocoder, tone

import zipvoice
from zipvoice import Prompt, builtin
from zipvoice.config.export import ExportOptions
from zipvoice.export.onnx import export_onnx

TEXTS = ("Yes.", "Not today.", "Who is there?", "Good morning.", "I see.", "Come in.")
SHORT = {"input": TEXTS[0], "voice": "short", "num_steps": 1, "response_format": "pcm"}
LONG = " ".join(TEXTS * 8)
"""What is cancelled when its first sound comes, long before its end."""
MALFORMED = (
    b"{",
    b"[]",
    b'{"input": ""}',
    b'{"input": 7}',
    b'{"input": "Hello.", "voice": "nobody"}',
    b'{"input": "Hello.", "response_format": "midi"}',
    b'{"input": "Hello.", "speed": 90}',
    b'{"input": "Hello.", "inptu": 1}',
    b"\xff\xfe\x00",
)
SETTLED = 500
"""Requests after which memory has its size, and between measurements."""
REST_SECONDS = 4.0
"""Before a measurement: connections are closed by then, and memory is given back."""
COUNTS = ("tasks", "open", "completed_total", "cancelled_total", "failed_total", "expired_total")
"""What the server says of itself."""


def short_voice(folder: Path) -> None:
    """The first second of the package's voice, with as many of its tokens."""
    whole = Prompt.load(builtin.voices()[builtin.VOICE])
    share = 94 / whole.num_frames
    tokens, text = whole.tokens[: int(share * len(whole.tokens))], whole.text[: int(share * len(whole.text))]
    dataclasses.replace(whole, features=whole.features[:94], tokens=tokens, text=text).save(
        folder / "short.safetensors"
    )


def tiny_model(folder: Path, voices: Path) -> list[str]:
    """Graphs of random weights, and a voice of theirs; the options that serve them."""
    make_model(folder / "model", "zipvoice_distill")
    (folder / "vocoder").mkdir()
    make_vocoder(folder / "vocoder")
    export_onnx(ExportOptions(str(folder / "model"), str(folder / "graphs"), vocoder=str(folder / "vocoder")))
    zipvoice.load(folder / "graphs").prompt(tone(1.0), "a low tone").save(voices / "short.safetensors")
    return ["--model", str(folder / "graphs"), "--runtime", "onnx"]


class Server:
    """A server process of its own."""

    def __init__(self, voices: Path, arguments: list[str]) -> None:
        command = [sys.executable, "-m", "zipvoice", "serve", "--port", "0", "--voices", str(voices), *arguments]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr
        for line in self.process.stderr:
            if found := re.search(r"http://\S+", line):
                self.url = found[0]
                return
        raise RuntimeError("the server did not start")

    def size(self) -> dict[str, int]:
        """Megabytes of memory, open files and threads."""
        folder = Path(f"/proc/{self.process.pid}")
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        megabytes = int(status["VmRSS"].split()[0]) // 1024
        return {"MB": megabytes, "files": len(os.listdir(folder / "fd")), "threads": int(status["Threads"])}  # noqa: PTH208


class Clients:
    """Requests of random kinds to one server, and what came of them."""

    def __init__(self, client: httpx.AsyncClient, seed: int) -> None:
        self.client = client
        self.random = random.Random(seed)
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.known: dict[str, np.ndarray] = {}

    async def many(self, count: int, at_a_time: int) -> None:
        numbers = iter(range(count))

        async def some() -> None:
            for _ in numbers:
                await self.one()

        await asyncio.gather(*(some() for _ in range(at_a_time)))

    async def one(self) -> None:
        kind = self.random.choices(("spoken", "cancelled", "malformed", "slow"), (80, 10, 5, 5))[0]
        try:
            outcome = await (self._malformed() if kind == "malformed" else self._speech(kind))
        except httpx.HTTPError as error:
            outcome = f"{type(error).__name__}"
        self.outcomes[f"{kind}: {outcome}"] += 1

    async def _malformed(self) -> str:
        answer = await self.client.post("/v1/audio/speech", content=self.random.choice(MALFORMED))
        return "named error" if 400 <= answer.status_code < 500 and answer.json()["error"]["message"] else "WRONG"

    async def _speech(self, kind: str) -> str:
        body = {
            "input": LONG if kind == "cancelled" else self.random.choice(TEXTS),
            "voice": "short",
            "num_steps": 1,
            "response_format": self.random.choice(("pcm", "pcm", "wav", "flac", "mp3", "opus")),
            "stream_format": self.random.choice(("audio", "audio", "sse")),
            "stream": kind == "cancelled" or self.random.random() < 0.7,
        }
        if body["stream_format"] == "sse":
            del body["stream"]
        while True:
            async with self.client.stream("POST", "/v1/audio/speech", json=body) as answer:
                if answer.status_code == 429:
                    await answer.aread()
                    self.outcomes["refused, sent again"] += 1
                    await asyncio.sleep(float(answer.headers["Retry-After"]) * self.random.uniform(0.5, 1))
                    continue
                if answer.status_code != 200:
                    return f"WRONG {answer.status_code} {(await answer.aread())[:200]!r}"
                return await self._heard(kind, body, answer)

    async def _heard(self, kind: str, body: dict[str, object], answer: httpx.Response) -> str:
        sound = bytearray()
        async for part in answer.aiter_raw(512):
            sound += part
            if kind == "cancelled":
                return "left"
            if kind == "slow":
                await asyncio.sleep(0.01)
        if body["response_format"] != "pcm":
            return "heard" if len(sound) > 1000 else "WRONG, too short"
        if body["stream_format"] == "sse":
            sound = bytearray(_of_events(bytes(sound)))
        samples = np.frombuffer(bytes(sound), "<i2").astype(np.float32)
        known = self.known.setdefault(str(body["input"]), samples)
        same = samples.shape == known.shape and float(np.abs(samples - known).max()) <= 0.005 * 32768
        return "the same sound" if same else f"WRONG sound, {samples.shape} for {known.shape}"


def _of_events(text: bytes) -> bytes:
    events = [json.loads(line[6:]) for line in text.decode().splitlines() if line.startswith("data: ")]
    assert events[-1]["type"] == "speech.audio.done", events[-1]
    return b"".join(base64.b64decode(event["audio"]) for event in events if event["type"] == "speech.audio.delta")


async def offered(client: httpx.AsyncClient, per_second: float, seconds: float) -> dict[tuple[int, str], list[float]]:
    """Requests by Poisson's law: the seconds from each to the last byte of its answer, by its status and beginning."""
    took: dict[tuple[int, str], list[float]] = collections.defaultdict(list)
    chance, started = random.Random(7), time.perf_counter()

    async def one() -> None:
        start = time.perf_counter()
        answer = await client.post("/v1/audio/speech", json={**SHORT, "input": chance.choice(TEXTS)})
        when = "in the first 10 s" if start < started + 10 else "later"
        for each in (when, "in all"):
            took[answer.status_code, each].append(time.perf_counter() - start)

    async with asyncio.TaskGroup() as tasks:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            tasks.create_task(one())
            await asyncio.sleep(chance.expovariate(per_second))
    return took


async def soak(server: Server, client: httpx.AsyncClient, given: argparse.Namespace) -> None:
    clients, done, started = Clients(client, seed=0), 0, time.perf_counter()
    while done < given.requests and time.perf_counter() - started < given.seconds:
        count = min(SETTLED, given.requests - done)
        await clients.many(count, given.at_a_time)
        done += count
        for _ in range(2):  # graphs keep the memory of their last sizes
            await client.post("/v1/audio/speech", json=SHORT)
        await asyncio.sleep(REST_SECONDS)
        counts = dict(re.findall(r"^zipvoice_(\w+) (\d+)\.0$", (await client.get("/metrics")).text, re.MULTILINE))
        print(done, server.size(), {name: int(counts[name]) for name in COUNTS}, flush=True)
    print(f"{done} requests in {time.perf_counter() - started:.0f} s")
    for outcome, count in sorted(clients.outcomes.items()):
        print(f"{count:6} {outcome}")


async def work(server: Server, given: argparse.Namespace) -> None:
    limits = httpx.Limits(max_connections=None, keepalive_expiry=REST_SECONDS / 4)
    async with httpx.AsyncClient(base_url=server.url, timeout=300, limits=limits) as client:
        await soak(server, client, given)
        if not given.overload_seconds:
            return
        started = time.perf_counter()
        for text in TEXTS * 3:
            await client.post("/v1/audio/speech", json={**SHORT, "input": text})
        capacity = 18 / (time.perf_counter() - started)
        print(f"one after the other: {capacity:.2f} requests per second")
        for share, seconds in ((0.5, given.overload_seconds / 2), (4.0, given.overload_seconds)):
            print(f"at {share:g} times that for {seconds:g} s:")
            for (status, when), took in sorted((await offered(client, share * capacity, seconds)).items()):
                median, late, last = np.percentile(took, (50, 95, 100))
                times = f"median {median:.2f} s, 95 % {late:.2f} s, the last {last:.2f} s"
                print(f"{len(took):6} {status} {when}, {times}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop before all requests after so long")
    parser.add_argument("--at-a-time", type=int, default=6)
    parser.add_argument("--overload-seconds", type=float, default=120.0)
    parser.add_argument("--tiny", action="store_true", help="speak noise, by a model of random weights")
    parser.add_argument("server", nargs="*", default=[], help="options of zipvoice serve")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as voices:
        if given.tiny:
            given.server += tiny_model(Path(folder), Path(voices))
        else:
            short_voice(Path(voices))
        server = Server(Path(voices), given.server)
        try:
            asyncio.run(work(server, given))
        finally:
            server.process.terminate()
            print("the server ended with", server.process.wait(60))


if __name__ == "__main__":
    main()
