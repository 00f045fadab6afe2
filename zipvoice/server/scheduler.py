# SPDX-License-Identifier: Apache-2.0
"""Continuous batching at the level of solver steps: all requests of a server on one synthesizer.

The path of a chunk, and the thread that takes it there:

    text -> plan (planners) -> condition, one solver step at a time (steps) -> vocoded, joined (vocoder) -> SpeechJob

A flow-matching network takes the time per utterance, so that requests at different steps share one evaluation. Before
each step the batch is chosen anew: the chunk whose sound is wanted first, and beside it, in order of urgency, what is
of similar length. Where that makes more of the cores, several batches step at once. A new request joins at the next
step and a cancelled one is gone. First chunks are wanted at once, later ones of a stream when its listener has heard
what was made before, those of other requests in no hurry.

    scheduler = Scheduler(zipvoice.load(), SchedulerLimits(max_requests=32))
    job = scheduler.submit(SpeechRequest("Hello.", prompt, stream=True))     # or Busy, with retry_after_seconds
    async for part in job: ...                                               # or, in a thread, `for part in job`
    job.cancel()                                                             # barge-in; also on leaving `with job`
    scheduler.metrics(); scheduler.drain(30.0); scheduler.close()

`submit`, `cancel` and `metrics` never wait for the network: they may be called in an event loop. What a request sounds
like depends on nothing but itself: the sound is that of `Synthesizer.stream` or `Synthesizer.synthesize`.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Literal

from zipvoice.audio.files import Audio
from zipvoice.config.synthesis import EVALUATIONS, ResolvedOptions
from zipvoice.server.admission import Admission, Busy, Line, SchedulerLimits, ShuttingDown
from zipvoice.server.counters import Health, SchedulerMetrics
from zipvoice.server.speech_job import Cancelled, DeadlineExceeded, Failed, SpeechJob, SpeechRequest
from zipvoice.server.tasks import ChunkWork, Task, first_frames, next_batch
from zipvoice.server.text_feed import TextFeed
from zipvoice.server.threads import filled_pool
from zipvoice.synthesis.chunk_planner import Clauses, SpeechChunk, for_stream
from zipvoice.synthesis.crossfade import ChunkAudio
from zipvoice.synthesis.synthesizer import Synthesizer

NUM_PLANNERS = 2
"""Threads that plan texts which are there; a text that is still being written has a thread of its own."""

logger = logging.getLogger(__name__)


class Scheduler:
    """Speaks requests together; see the module. Methods may be called from any thread.

    Example:
        >>> with Scheduler(zipvoice.load()) as scheduler:
        ...     sound = joined(scheduler.submit(SpeechRequest("Hello.", prompt)))
    """

    def __init__(self, synthesizer: Synthesizer, limits: SchedulerLimits | None = None) -> None:
        self.synthesizer = synthesizer
        self.limits = limits or SchedulerLimits()
        by = synthesizer.model.computed_by
        self._batch_frames = self.limits.batch_frames(by.on_accelerator, by.dtype)
        self._changed = threading.Condition()
        self._tasks: dict[SpeechJob, Task] = {}
        self._admission = Admission(self.limits)
        self._metrics = SchedulerMetrics()
        self._health = Health()
        self._is_draining = self._is_closed = self._has_failed = False
        self._planners = filled_pool(NUM_PLANNERS, "zipvoice-plan")
        self._vocoders = filled_pool(self.limits.vocoders, "zipvoice-vocode")
        self._to_vocode: list[ChunkWork] = []
        evaluator = partial(threading.Thread, target=self._run, name="zipvoice-steps", daemon=True)
        num_evaluators = self.limits.num_evaluators or synthesizer.model.evaluations_at_once
        self._steps = [evaluator() for _ in range(num_evaluators)]
        for thread in self._steps:
            thread.start()

    # ------------------------------------------------------------ for servers

    def submit(self, request: SpeechRequest, *, goes_on: bool = False) -> SpeechJob:
        """Begin to speak. Raises Busy when there is no room, or the scheduler is closing.

        What `goes_on` is a part of something whose beginning was let in: draining lets it in too, and it may ask again
        and again, which is neither more work nor a refusal.
        """
        task = self._task(request)
        with self._changed:
            try:
                if self._has_failed:
                    raise Failed("the scheduler has failed; start the server again")
                if self._is_closed or (self._is_draining and not goes_on):
                    raise ShuttingDown("the server is shutting down", 5.0)
                line = self._line(request.key, task)
                self._admission.admit(line, request.key, request.deadline_seconds, asks_on=goes_on)
            except Busy:
                self._metrics.refused += not goes_on
                raise
            self._metrics.admitted += 1
            self._tasks[task.job] = task
            self._plan_more(task)
        return task.job

    def metrics(self) -> SchedulerMetrics:
        """A copy of the counts, with what is so at the moment."""
        with self._changed:
            queued = sum(not task.is_begun for task in self._tasks.values())
            wait = self._admission.wait(self._line(""))
            return replace(deepcopy(self._metrics), queued=queued, open=len(self._tasks), predicted_wait_seconds=wait)

    def refuse(self) -> None:
        """Count one that `goes_on` and is not asked for any more."""
        with self._changed:
            self._metrics.refused += 1

    @property
    def state(self) -> Literal["ready", "draining", "failing", "failed"]:
        """Whether requests are let in, and spoken: not while all fail, and never again once the scheduler has."""
        if self._has_failed:
            return "failed"
        return "draining" if self._is_draining else "failing" if self._health.is_failing else "ready"

    def drain(self, timeout: float) -> bool:
        """Let nobody in any more and wait until all requests are spoken; whether that was so within `timeout` seconds.

        `close` ends those that are left.
        """
        with self._changed:
            self._is_draining = True
            return self._changed.wait_for(lambda: not self._tasks, timeout)

    def close(self) -> None:
        """Cancel all requests and end all threads."""
        with self._changed:
            self._is_draining = self._is_closed = True
            for task in list(self._tasks.values()):
                self._end(task, Cancelled("the server is shutting down"))
            self._changed.notify_all()
        for thread in self._steps:
            thread.join()
        self._planners.shutdown(wait=False, cancel_futures=True)
        self._vocoders.shutdown(cancel_futures=True)

    def __enter__(self) -> "Scheduler":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # ------------------------------------------------------------ admission

    def _task(self, request: SpeechRequest) -> Task:
        options = self.synthesizer.resolved(for_stream(request.options) if request.stream else request.options)
        is_distilled = self.synthesizer.model.description.variant == "zipvoice_distill"
        evaluations = EVALUATIONS[options.solver] * (1 if is_distilled or options.guidance_scale == 0 else 2)
        return Task(
            job=SpeechJob(request, self._on_change),
            options=options,
            evaluations=evaluations,
            chunks=self._chunks(request, options),
            planner=self._planners if isinstance(request.text, str) else ThreadPoolExecutor(1, "zipvoice-text"),
            joiner=self.synthesizer.joiner(options),
            submitted=time.monotonic(),
            predicted_frames=first_frames(request, options),
        )

    def _chunks(self, request: SpeechRequest, options: ResolvedOptions) -> Iterator[SpeechChunk]:
        """A generator, so that what is wrong with a text or a voice is found where it is planned."""
        text = Clauses(request.text) if isinstance(request.text, TextFeed) else request.text
        yield from self.synthesizer.plan(text, request.prompt, options, request.name)

    def _line(self, key: str, own: Task | None = None) -> Line:
        """What is before a request of a key."""
        soon = time.monotonic() + self.limits.queue_seconds
        tasks = self._tasks.values()
        return Line(
            work=sum(task.work_before(soon) for task in tasks) / len(self._steps),
            frames=sum(task.frames_before(soon) for task in tasks) / self.limits.vocoders,
            num_requests=len(tasks),
            num_of_key=sum(task.request.key == key for task in tasks),
            own_work=own.predicted_work / len(self._steps) if own else 0.0,
            own_frames=own.predicted_frames / self.limits.vocoders if own else 0.0,
        )

    # ------------------------------------------------------------ plan

    def _plan_more(self, task: Task) -> None:
        if task.wants_chunk(self.limits):
            task.is_planning = True
            task.planner.submit(self._plan, task)

    def _plan(self, task: Task) -> None:
        """Take the next chunk of a text, which may take as long as somebody writes it."""
        chunk = None
        try:
            chunk = next(task.chunks, None)
        except Exception as error:  # what comes before it is still spoken
            task.failure = error
        with self._changed:
            task.is_planning = False
            if task.is_over:
                return
            if chunk is not None:
                self._planned(task.add(chunk, time.monotonic()))
            task.is_exhausted = chunk is None
        self._finish_if_done(task)

    def _planned(self, work: ChunkWork) -> None:
        if work.chunk.ids:
            self._changed.notify_all()
        else:
            self._sampled(work)
        self._plan_more(work.task)

    # ------------------------------------------------------------ steps

    def _run(self) -> None:
        try:
            while batch := self._next_batch():
                self._step(batch)
        except Exception as error:
            logger.exception("the scheduler has failed")
            with self._changed:
                self._has_failed = True
                for task in list(self._tasks.values()):
                    self._end(task, Failed(str(error)))

    def _next_batch(self) -> list[ChunkWork]:
        """What takes the next step, as soon as there is something; empty when the scheduler is closed."""
        with self._changed:
            while not self._is_closed:
                patience = self._expire()
                if ready := [work for task in self._tasks.values() for work in task.ready()]:
                    batch = next_batch(ready, self._batch_frames, self.limits.max_padding_share, len(self._steps))
                    for work in batch:
                        work.is_stepping = True
                    return batch
                self._changed.wait(patience)
            return []

    def _expire(self) -> float | None:
        """End what has no time left; seconds until there is more of it."""
        now, next_time = time.monotonic(), math.inf
        for task in list(self._tasks.values()):
            when, reason = task.expiry(self.limits)
            if when <= now:
                self._end(task, DeadlineExceeded(reason))
            else:
                next_time = min(next_time, when)
        return None if next_time == math.inf else next_time - now

    def _step(self, taken: Sequence[ChunkWork]) -> None:
        self._each_alone_if_they_fail([work for work in taken if work.trajectory is None], self._begin)
        batch = [work for work in taken if work.trajectory and not work.task.is_over]
        started = time.perf_counter()
        self._each_alone_if_they_fail(batch, self._advance)
        batch = [work for work in batch if not work.task.is_over]
        if batch:
            self._count(batch, time.perf_counter() - started)
        with self._changed:
            for work in taken:
                work.is_stepping = False
                if work in batch and work.trajectory and not work.trajectory.num_steps_left:
                    self._sampled(work)
                    self._plan_more(work.task)
            self._changed.notify_all()  # the other threads may go on with what was taken

    def _begin(self, batch: Sequence[ChunkWork]) -> None:
        begun = self.synthesizer.begin([work.chunk for work in batch], [work.task.options.sampling for work in batch])
        for work, trajectory in zip(batch, begun, strict=True):
            work.trajectory = trajectory

    def _advance(self, batch: Sequence[ChunkWork]) -> None:
        self.synthesizer.advance([work.trajectory for work in batch if work.trajectory])

    def _each_alone_if_they_fail(
        self, batch: Sequence[ChunkWork], action: Callable[[Sequence[ChunkWork]], None]
    ) -> None:
        """Act on all together; where that fails, on each alone, to find the one at fault and spare the others."""
        try:
            if batch:
                action(batch)
        except Exception as error:
            if len(batch) == 1:
                self._fail(batch[0].task, error)
                return
            for work in batch:
                self._each_alone_if_they_fail([work], action)

    def _count(self, batch: Sequence[ChunkWork], seconds: float) -> None:
        frames = [work.frames for work in batch]
        with self._changed:
            self._admission.steps.observe(sum(work.step_work for work in batch), seconds)
            counts = self._metrics
            counts.steps += 1
            counts.step_seconds += seconds
            counts.frames += sum(frames)
            counts.padding_frames += max(frames) * len(frames) - sum(frames)
            counts.batch_size.add(len(batch))

    # ------------------------------------------------------------ sound

    def _sampled(self, work: ChunkWork) -> None:
        """Pass a chunk on to the vocoders."""
        work.is_sampled = True
        self._to_vocode.append(work)
        self._vocoders.submit(self._vocode)

    def _vocode(self) -> None:
        """Make the sound that is wanted first of all that wait for theirs."""
        with self._changed:
            work = min(self._to_vocode, key=lambda work: work.due)
            self._to_vocode.remove(work)
        task = work.task
        if task.is_over:
            return
        try:
            started = time.perf_counter()
            mel = self.synthesizer.mel(work.chunk, work.trajectory) if work.trajectory else None
            piece = self.synthesizer.piece(work.chunk, mel)
            seconds = time.perf_counter() - started
            self._join(task, work.index, piece)
        except Exception as error:
            self._fail(task, error)
            return
        with self._changed:
            if work.chunk.ids:
                self._admission.vocoding.observe(work.chunk.num_frames, seconds)
            task.works.remove(work)
            self._plan_more(task)
        self._finish_if_done(task)

    def _join(self, task: Task, index: int, piece: ChunkAudio) -> None:
        """Give out what a piece completes, which may come before those that it follows."""
        with task.joining:
            task.pieces[index] = piece
            while following := task.pieces.pop(task.num_joined, None):
                task.num_joined += 1
                for part in task.joiner.add(following):
                    self._give_out(task, part)

    def _give_out(self, task: Task, part: Audio) -> None:
        task.job.put(part)
        with self._changed:
            self._changed.notify_all()  # from now on its reader is waited for
            self._metrics.sound_seconds += part.seconds
            task.made_seconds += part.seconds
            if task.first_sound is None:
                task.first_sound = time.monotonic()
                self._metrics.first_audio_seconds.add(task.first_sound - task.submitted)

    def _finish_if_done(self, task: Task) -> None:
        """Give out the end of the speech, which was kept back for what might follow, once all else is given out."""
        with self._changed:
            if not task.is_exhausted or task.works or task.is_over or task.is_finishing:
                return
            task.is_finishing = True
        try:
            with task.joining:
                for part in task.joiner.end() if task.num_joined or not task.failure else ():
                    self._give_out(task, part)
        except Exception as error:
            task.failure = task.failure or error
        self._end(task, task.failure)

    # ------------------------------------------------------------ ends

    def _on_change(self, job: SpeechJob) -> None:
        """A part was read, or the job cancelled."""
        with self._changed:
            task = self._tasks.get(job)
            if task is None:
                return
            if job.is_over:
                self._end(task, Cancelled("the request was cancelled"))
            else:
                self._plan_more(task)

    def _fail(self, task: Task, error: Exception) -> None:
        failure = Failed(f"the model has failed: {error}")
        failure.__cause__ = error
        self._end(task, failure)

    def _end(self, task: Task, error: Exception | None = None) -> None:
        """Let a task go: whatever of it is still on its way finds it over."""
        with self._changed:
            if task.is_over:
                return
            task.is_over = True
            del self._tasks[task.job]
            self._health.observe(error)
            self._metrics.end(error, time.monotonic() - task.submitted)
            self._changed.notify_all()
        task.job.finish(error)
        if isinstance(task.request.text, TextFeed):
            task.request.text.close()
        if task.planner is not self._planners:
            task.planner.shutdown(wait=False)
