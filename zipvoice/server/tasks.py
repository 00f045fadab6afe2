# SPDX-License-Identifier: Apache-2.0
"""A request being spoken: its chunks on their way from plan to sound, and which of them go together."""

import math
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

from zipvoice.audio.mel import HOP, SAMPLING_RATE
from zipvoice.config.synthesis import ResolvedOptions
from zipvoice.server.admission import SchedulerLimits
from zipvoice.server.speech_job import SpeechJob, SpeechRequest
from zipvoice.server.text_feed import TextFeed
from zipvoice.synthesis.chunk_planner import SpeechChunk
from zipvoice.synthesis.crossfade import ChunkAudio, Joiner
from zipvoice.synthesis.sampling import Trajectory, begins_unguided, share_steps

CHUNKS_AHEAD = 4
"""Chunks of one request that are sampled at the same time, where nobody listens meanwhile."""


@dataclass(eq=False)
class ChunkWork:
    """One chunk on its way."""

    task: "Task"
    index: int
    chunk: SpeechChunk
    due: float
    """When its sound is wanted, on the monotonic clock."""
    evaluations: int
    """Of the network in each step: two under classifier-free guidance, twice as many with solvers that look ahead."""
    trajectory: Trajectory | None = None
    """None before its first step."""
    is_stepping: bool = False
    is_sampled: bool = False

    @property
    def frames(self) -> int:
        """Of an evaluation, with the prompt."""
        return self.chunk.total_frames

    @property
    def seconds(self) -> float:
        return self.chunk.num_frames * HOP / SAMPLING_RATE

    @property
    def step_work(self) -> int:
        return self.frames * self.evaluations

    @property
    def work_left(self) -> int:
        steps = self.trajectory.num_steps_left if self.trajectory else self.task.options.num_steps
        return 0 if self.is_sampled else self.step_work * steps

    def can_join(self, other: "ChunkWork") -> bool:
        """Whether one evaluation serves both: raw lengths are not rounded, so that their neighbours would be felt."""
        own, others = self.task.options, other.task.options
        alike = self.evaluations == other.evaluations and share_steps(own.sampling, others.sampling)
        return alike and self._reuses_guidance == other._reuses_guidance and not (own.raw or others.raw)

    @property
    def _reuses_guidance(self) -> bool:
        if self.trajectory is None:
            return begins_unguided(self.task.options.sampling)
        return self.trajectory.reuses_guidance


@dataclass(eq=False)
class Task:
    """A request being spoken. The scheduler's lock guards it, and `joining` its joiner and pieces."""

    job: SpeechJob
    options: ResolvedOptions
    evaluations: int
    chunks: Iterator[SpeechChunk]
    planner: Executor
    """Where the next chunk is planned."""
    joiner: Joiner
    submitted: float
    """On the monotonic clock, as all times."""
    predicted_frames: float
    """Of its first chunk, before it is planned, without the prompt."""
    works: list[ChunkWork] = field(default_factory=list)
    """What was planned and has not been given out."""
    pieces: dict[int, ChunkAudio] = field(default_factory=dict)
    """Sounds that wait for those before them."""
    num_planned: int = 0
    num_joined: int = 0
    joining: threading.Lock = field(default_factory=threading.Lock)
    made_seconds: float = 0.0
    first_sound: float | None = None
    is_planning: bool = False
    is_exhausted: bool = False
    """Whether there is no chunk any more."""
    failure: Exception | None = None
    """Why not, where the text ends in an error."""
    is_finishing: bool = False
    is_over: bool = False

    @property
    def request(self) -> SpeechRequest:
        return self.job.request

    @property
    def is_begun(self) -> bool:
        """Whether its first step was taken."""
        return self.num_joined > 0 or any(work.trajectory for work in self.works)

    def wants_chunk(self, limits: SchedulerLimits) -> bool:
        """Whether the next chunk is to be planned: one ahead, or several, unless enough sound waits to be read."""
        if self.is_over or self.is_planning or self.is_exhausted:
            return False
        waiting = sum(not work.is_sampled for work in self.works)
        ahead = self.job.unread_seconds + sum(work.seconds for work in self.works)
        return waiting < (2 if self.request.stream else CHUNKS_AHEAD) and ahead < limits.unread_seconds

    def add(self, chunk: SpeechChunk, now: float) -> ChunkWork:
        """Take in the next chunk."""
        work = ChunkWork(self, self.num_planned, chunk, self._due(chunk, now), self.evaluations)
        self.num_planned += 1
        self.job.num_tokens += len(chunk.ids)
        self.job.num_frames += chunk.num_frames
        self.works.append(work)
        return work

    def _due(self, chunk: SpeechChunk, now: float) -> float:
        """First chunks at once; then when a listener has heard what was made, or else in no hurry."""
        if self.num_planned == 0:
            return self.submitted
        if not self.request.stream:
            return now + chunk.num_frames * HOP / SAMPLING_RATE
        ahead = self.made_seconds + sum(work.seconds for work in self.works)
        return max(now, (self.first_sound or now) + ahead)

    def ready(self) -> list[ChunkWork]:
        """What may take its next step: of a stream one chunk at a time."""
        waiting = [work for work in self.works if not work.is_sampled and work.chunk.ids]
        return [work for work in (waiting[:1] if self.request.stream else waiting) if not work.is_stepping]

    def work_before(self, soon: float) -> float:
        """Frames to evaluate of what is planned, in a stream as far as it is due `soon`; first of what is predicted."""
        if self.num_planned:
            return sum(work.work_left for work in self._before(soon))
        return 0.0 if self.is_unwritten else self.predicted_work

    def frames_before(self, soon: float) -> float:
        """Frames to vocode, counted likewise."""
        if self.num_planned:
            return sum(work.chunk.num_frames for work in self._before(soon))
        return 0.0 if self.is_unwritten else self.predicted_frames

    @property
    def predicted_work(self) -> float:
        """Frames to evaluate of its first chunk, before it is planned."""
        frames = self.request.prompt.num_frames + self.predicted_frames
        return frames * self.options.num_steps * self.evaluations

    @property
    def is_unwritten(self) -> bool:
        """Whether its first clause is still being written: until it is whole nobody waits for its work."""
        return not self.num_planned and isinstance(self.request.text, TextFeed)

    def _before(self, soon: float) -> list[ChunkWork]:
        return [work for work in self.works if not self.request.stream or work.due < soon]

    def expiry(self, limits: SchedulerLimits) -> tuple[float, str]:
        """When it ends by itself, and why."""
        deadline, unread = self.request.deadline_seconds, self.job.unread_since
        waits_for_sound = not (self.request.stream and self.first_sound)
        late = math.inf if deadline is None or not waits_for_sound else self.submitted + deadline
        stalled = math.inf if unread is None else unread + limits.reader_seconds
        if late <= stalled:
            return late, f"the request was not spoken within {deadline or 0:g} s"
        return stalled, f"nobody has read the sound for {limits.reader_seconds:g} s"


def next_batch(
    ready: Sequence[ChunkWork], max_frames: int, max_padding_share: float, num_evaluators: int = 1
) -> list[ChunkWork]:
    """What takes the next step together: the most urgent, and by urgency all that fit beside it.

    Where there are several evaluators, each leaves the others their share.
    """
    first, *others = sorted(ready, key=lambda work: work.due)
    batch, longest, total = [first], first.frames, first.frames
    for work in others:
        if len(batch) >= len(ready) / num_evaluators:
            break
        padded = max(longest, work.frames) * (len(batch) + 1)
        fits = padded <= max_frames and total + work.frames >= (1 - max_padding_share) * padded
        if fits and work.can_join(first):
            batch.append(work)
            longest, total = max(longest, work.frames), total + work.frames
    return batch


def first_frames(request: SpeechRequest, options: ResolvedOptions) -> float:
    """Frames of the first chunk, predicted from the numbers of characters."""
    prompt, longest = request.prompt, options.first_chunk_seconds or options.max_chunk_seconds
    seconds = options.duration or longest
    if isinstance(request.text, str) and options.duration is None:
        seconds = prompt.seconds * len(request.text) / max(1, len(prompt.text)) / options.speed
    return min(seconds, longest) * SAMPLING_RATE / HOP
