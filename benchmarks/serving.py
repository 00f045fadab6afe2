# SPDX-License-Identifier: Apache-2.0
"""Requests that come at random, spoken by the scheduler, one at a time, and in batches that begin and end together.

    python benchmarks/serving.py --model zipvoice_small_distill --runtime torch

Three servers take turns with the same requests: texts of the recorded lengths, every other one streamed. One at a time
and static batches speak through `Synthesizer`, as a server without a scheduler would, with all cores for each
evaluation; static batches take all that waits, up to the same number of frames, before anything else.

The rate of one at a time is measured first. Then requests come by Poisson's law at half of that rate, and at four
times of it, where all servers are saturated and nothing is refused. First sound counts from a request's arrival.
Machines that do other work share their cores in ways that differ from run to run: sound per second of processor time
is what a server costs, sound per second of wall time what it made of the cores that it got.
"""

import argparse
import copy
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

import zipvoice
from zipvoice import Prompt, SynthesisOptions, Synthesizer, builtin
from zipvoice.audio.mel import HOP, SAMPLING_RATE
from zipvoice.pretrained import read_directory
from zipvoice.runtime import onnx
from zipvoice.server.admission import SchedulerLimits
from zipvoice.server.scheduler import Scheduler
from zipvoice.server.speech_job import SpeechRequest
from zipvoice.synthesis.chunk_planner import batches, for_stream

LENGTHS = (18, 24, 31, 40, 46, 55, 61, 72, 80, 95, 110, 130, 150, 190, 240, 320)
"""Characters of requests: sixteen quantiles from a word or two to a paragraph."""
SENTENCES = (
    "The quick brown fox jumps over the lazy dog, and then it rests beneath the old oak tree. It had been a long day. "
    "When the sun went down behind the hills, nobody was left in the street but a cat, and the lamps were lit one by "
    "one. Somebody called from a window, twice, but there was no answer, so the window was shut again for the night. "
)


@dataclass
class Spoken:
    """One request and what became of it; times are seconds on the performance counter."""

    request: SpeechRequest
    arrival: float
    """Seconds from the start."""
    arrived: float = 0.0
    first_sound: float = 0.0
    seconds: float = 0.0

    def hear(self, seconds: float) -> None:
        self.first_sound = self.first_sound or time.perf_counter()
        self.seconds += seconds


Coming = queue.Queue[Spoken | None]
"""Requests as they arrive; None after the last."""
Server = Callable[[Synthesizer, Coming], None]


@dataclass
class Totals:
    """Of one server at one rate, over all rounds."""

    first_sounds: list[float] = field(default_factory=list)
    sound: float = 0.0
    wall: float = 0.0
    processor: float = 0.0

    def row(self) -> str:
        rates = f"{self.sound / self.wall:.2f} | {self.sound / self.processor:.2f} | {self.processor / self.wall:.2f}"
        return f"{rates} | {np.median(self.first_sounds):.2f} | {np.percentile(self.first_sounds, 95):.2f}"


def requests(count: int, per_second: float, prompt: Prompt, options: SynthesisOptions, seed: int) -> list[Spoken]:
    """Requests of the recorded lengths in random order, with exponential gaps."""
    random = np.random.default_rng(seed)
    arrivals = np.cumsum(random.exponential(1 / per_second, count))
    lengths = random.permutation(np.resize(LENGTHS, count))
    return [
        Spoken(SpeechRequest(SENTENCES[:length], prompt, options, name=str(n), stream=n % 2 == 0), float(arrival))
        for n, (length, arrival) in enumerate(zip(lengths, arrivals, strict=True))
    ]


def run(server: Server, synthesizer: Synthesizer, spoken: list[Spoken], totals: Totals) -> None:
    """Let requests come to a server until all are spoken."""
    coming: Coming = queue.Queue()

    def arrive() -> None:
        start = time.perf_counter()
        for each in spoken:
            time.sleep(max(0.0, start + each.arrival - time.perf_counter()))
            each.arrived = time.perf_counter()
            coming.put(each)
        coming.put(None)

    wall, processor = time.perf_counter(), time.process_time()
    threading.Thread(target=arrive).start()
    server(synthesizer, coming)
    totals.wall += time.perf_counter() - wall
    totals.processor += time.process_time() - processor
    totals.sound += sum(each.seconds for each in spoken)
    totals.first_sounds += [each.first_sound - each.arrived for each in spoken]


# ---------------------------------------------------------------- servers


def one_at_a_time(synthesizer: Synthesizer, coming: Coming) -> None:
    while spoken := coming.get():
        request = spoken.request
        speak = synthesizer.stream if request.stream else synthesizer.parts
        for part in speak(request.text, request.prompt, request.options, name=request.name):
            spoken.hear(part.seconds)


def static_batches(max_frames: int) -> Server:
    def serve(synthesizer: Synthesizer, coming: Coming) -> None:
        while first := coming.get():
            waiting = [first]
            while not coming.empty():
                if (each := coming.get()) is None:
                    coming.put(None)
                    break
                waiting.append(each)
            _speak_together(synthesizer, waiting, max_frames)

    return serve


def _speak_together(synthesizer: Synthesizer, waiting: list[Spoken], max_frames: int) -> None:
    """All chunks of requests, first chunks before others, alike lengths together."""
    options = synthesizer.resolved(waiting[0].request.options)
    chunks, owners = [], {}
    for spoken in waiting:
        request = spoken.request
        own = synthesizer.resolved(for_stream(request.options) if request.stream else request.options)
        for chunk in synthesizer.plan(request.text, request.prompt, own, request.name):
            chunks.append(chunk)
            owners[id(chunk)] = spoken
    chunks.sort(key=lambda chunk: (chunk.seed[2] > 0, chunk.total_frames))
    for batch in batches(chunks, max_frames * HOP / SAMPLING_RATE):
        for chunk, piece in zip(batch, synthesizer.pieces(batch, options), strict=True):
            owners[id(chunk)].hear(piece.samples.shape[1] / SAMPLING_RATE)


def scheduled(max_frames: int) -> Server:
    limits = SchedulerLimits(max_frames, queue_seconds=float("inf"), burst_seconds=0, max_requests=10_000)

    def serve(synthesizer: Synthesizer, coming: Coming) -> None:
        def listen(spoken: Spoken) -> None:
            for part in scheduler.submit(spoken.request):
                spoken.hear(part.seconds)

        with Scheduler(synthesizer, limits) as scheduler:
            listeners = []
            while spoken := coming.get():
                listeners.append(threading.Thread(target=listen, args=[spoken]))
                listeners[-1].start()
            for listener in listeners:
                listener.join()
            counts = scheduler.metrics()
            print(
                f"padding {counts.padding_share:.1%}, utterances per step {counts.batch_size.total / counts.steps:.2f}"
            )

    return serve


def with_all_cores(synthesizer: Synthesizer, model: str) -> Synthesizer:
    """One whose evaluations take all cores, where by default several go on at once."""
    if synthesizer.model.evaluations_at_once == 1:
        return synthesizer
    undivided = copy.copy(synthesizer)
    undivided.model = onnx.load_model(read_directory(model), num_threads=synthesizer.model.evaluations_at_once)
    return undivided


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=builtin.MODELS[0])
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--device")
    parser.add_argument("--vocoder")
    parser.add_argument("--num-steps", type=int)
    parser.add_argument("--requests", type=int, default=16, help="in each round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--batch-frames", type=int, nargs="+", default=[800])
    given = parser.parse_args()

    synthesizer = zipvoice.load(given.model, runtime=given.runtime, device=given.device, vocoder=given.vocoder)
    undivided = with_all_cores(synthesizer, given.model)
    prompt, options = Prompt.load(builtin.voices()[builtin.VOICE]), SynthesisOptions(num_steps=given.num_steps)
    servers: dict[str, Server] = {"one at a time": one_at_a_time}
    for frames in given.batch_frames:
        servers |= {f"static, {frames} frames": static_batches(frames), f"steps, {frames} frames": scheduled(frames)}
    warm = Totals()
    for _ in range(2):
        warm = Totals()
        run(one_at_a_time, undivided, requests(8, 1e6, prompt, options, seed=1), warm)
    rate = 8 / warm.wall
    print(f"one at a time: {rate:.3f} requests per second")
    totals = {(share, name): Totals() for share in (0.5, 4.0) for name in servers}
    for round_number in range(given.rounds):
        for (share, name), sums in totals.items():
            speaker = synthesizer if name.startswith("steps") else undivided
            run(servers[name], speaker, requests(given.requests, share * rate, prompt, options, round_number), sums)
    print("| rate | server | sound per s | sound per processor s | cores | first sound, median s | 95 % |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for (share, name), sums in totals.items():
        print(f"| {share:g} | {name} | {sums.row()} |")


if __name__ == "__main__":
    main()
