# SPDX-License-Identifier: Apache-2.0
"""The processes that train one model: their ranks, what they exchange, and how they are interrupted.

They are started by `torchrun`, on one machine or several; a process that was started alone is a world of one.
"""

import logging
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from zipvoice.runtime.torch import find_device

logger = logging.getLogger(__name__)

TIMEOUT = timedelta(minutes=30)
"""How long processes wait for each other; the first may be busy with a long validation sample or a slow disk."""
BUCKET_ELEMENTS = 2**24
"""Gradients are sent in pieces of about this size, 64 MiB in float32, so that their copies need little memory."""

LOST = re.compile(
    r"Connection (?:closed|reset) by peer|Broken pipe|Timed out waiting \d+ms|remote process exited|Socket \w+ failed",
    re.I,
)
"""What gloo and NCCL say where another process is no longer there."""


@dataclass(frozen=True)
class World:
    """The processes of a run, and which of them this one is. Every process must call the same methods in turn."""

    rank: int = 0
    """Number of this process, from 0."""
    size: int = 1
    """How many there are."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """The device of this process."""

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and logs."""
        return self.rank == 0

    def total(self, values: Sequence[float]) -> list[float]:
        """The sums over all processes."""
        return self._reduced(values, dist.ReduceOp.SUM)

    def highest(self, value: float) -> float:
        """The largest value of any process."""
        return self._reduced([value], dist.ReduceOp.MAX)[0]

    def of_first(self, item: Any) -> Any:
        """What the first process gives, on all of them."""
        items = [item]
        if self.size > 1:
            dist.broadcast_object_list(items, src=0, device=torch.device("cpu"))
        return items[0]

    def gathered(self, item: Any) -> list[Any]:
        """What each process gives, by rank."""
        items: list[Any] = [item]
        if self.size > 1:
            items = [None] * self.size
            dist.all_gather_object(items, item)
        return items

    @torch.no_grad()
    def share_weights(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite tensors with those of the first process."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    @torch.no_grad()
    def sum_gradients(self, params: Sequence[Tensor], factor: float) -> None:
        """Multiply the gradients of all parameters by `factor` (of this process) and add them up over processes.

        A process without a gradient for a parameter counts as one with zeros.

        This takes the place of DistributedDataParallel, which would divide by the number of processes where frames must
        decide, hooks into the call of one module where an objective calls a model in several places, and has to search
        the graph for parameters that were not used. What it gains by sending gradients while others are still being
        computed is a hundredth of a step here: 0.5 GB against several hundred seconds of speech.
        """
        if self.size > 1:
            for param in params:
                param.grad = torch.zeros_like(param) if param.grad is None else param.grad
        grads = [param.grad for param in params if param.grad is not None]
        if factor != 1.0:
            torch._foreach_mul_(grads, factor)
        if self.size > 1:
            for bucket in _buckets(grads):
                flat = torch.cat([grad.flatten() for grad in bucket])
                dist.all_reduce(flat)
                parts = flat.split([grad.numel() for grad in bucket])
                torch._foreach_copy_(bucket, [part.view_as(grad) for part, grad in zip(parts, bucket, strict=True)])

    def _reduced(self, values: Sequence[float], operation: Any) -> list[float]:
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor, operation)
        return tensor.tolist()


ALONE = World()


@contextmanager
def joined(device: str | None) -> Iterator[World]:
    """Yield the world that the environment describes (RANK, WORLD_SIZE, LOCAL_RANK), connected while it is in use.

    Tensors on a GPU travel by NCCL, those on the CPU, by which processes agree on things, by gloo.

    Args:
        device: name of the device; by default a GPU if there is one, and with several processes one for each.

    Raises:
        ValueError: there are not as many GPUs as processes, or all of them are told to use the same one.
    """
    rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    place = own_device(device, int(os.environ.get("LOCAL_RANK", 0)), size)
    if place.type == "cuda":
        torch.cuda.set_device(place)
    if size == 1:
        yield World(device=place)
        return
    backend = "cpu:gloo,cuda:nccl" if place.type == "cuda" else "gloo"
    store, _, _ = next(dist.rendezvous("env://", rank, size, timeout=TIMEOUT))
    store = dist.PrefixStore(f"start {num_restarts()}", store)  # or addresses of processes that failed would be found
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    try:
        with telling_of_lost(rank, size):
            yield World(rank, size, place)
    finally:
        dist.destroy_process_group()


@contextmanager
def telling_of_lost(rank: int, size: int) -> Iterator[None]:
    """Turn what gloo and NCCL say when another process has ended into a ConnectionError, which is one line.

    The process that ended first says why; what broke in the others is no fault of theirs.
    """
    try:
        yield
    except RuntimeError as error:
        if lost := LOST.search(str(error)):
            why = "the process that failed first says why, here or in its own log"
            raise ConnectionError(
                f"process {rank} of {size} stops, as another one has ended ({lost[0]}): {why}"
            ) from error
        raise


def own_device(name: str | None, local_rank: int, world_size: int) -> torch.device:
    """The device of process `local_rank` of its machine."""
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cuda(:\d+)?", name):
        return find_device(name)
    device = torch.device(name)
    if world_size > 1 and device.index is not None:
        raise ValueError(
            f"the device {name} is one GPU for {world_size} processes; set device to cuda, and each takes its own"
        )
    if device.index is None:
        device = torch.device("cuda", local_rank)
    if device.index >= torch.cuda.device_count():
        raise ValueError(
            f"there is no {device}: this machine has {torch.cuda.device_count()} GPUs; start as many processes "
            "(torchrun --nproc-per-node), or set device to cpu"
        )
    return device


def num_restarts() -> int:
    """How often torchrun has started the processes again after a failure."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors in their order, in lists of the same type and of `BUCKET_ELEMENTS` or one more tensor."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and (bucket[0].dtype != tensor.dtype or sum(t.numel() for t in bucket) >= BUCKET_ELEMENTS):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether SIGINT or SIGTERM has arrived; a second one acts as usual."""
    received: list[int] = []
    process = os.getpid()
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # Python delivers signals to the main thread only
        return

    def note(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:
            return  # loader processes inherit the handler, and are stopped by this one in the end
        received.append(number)
        restore()
        logger.warning("stopping after this step; press Ctrl-C again to stop at once, without saving")

    def restore() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    usual = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        restore()
