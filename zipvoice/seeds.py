# SPDX-License-Identifier: Apache-2.0
"""Seeds of random numbers, each a function of what is to be drawn, and the noise of synthesis.

Noise is drawn without PyTorch and equals what `torch.randn` draws on a CPU, so that a seed keeps its sound on all
runtimes.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

BLOCK = 16
"""Numbers that torch.randn makes at a time: eight lengths, then eight angles."""


def seed_of(*parts: int | str) -> int:
    """A seed that depends on all parts and is unrelated for different ones, as in `seed_of(42, 7, "objective")`."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1  # seeds are below 2 ** 63


def batch_number(step: int, number: int, batches_per_step: int, rank: int = 0, world_size: int = 1) -> int:
    """The place of a batch in the whole run, counted over steps, batches of a step and processes.

    What is random in training is seeded by it, so that no two batches of any two processes share their noise, and two
    processes compute what one does that accumulates the same two batches.

    Args:
        step: optimizer steps taken before.
        number: of the batch among the `batches_per_step` that this process accumulates in the step.
        batches_per_step: of one process.
        rank: of the process.
        world_size: number of processes.
    """
    return (step * batches_per_step + number) * world_size + rank


def synthesis_seed(seed: int, name: str = "", chunk: int = 0) -> int:
    """The seed of a chunk of an utterance, whatever is spoken beside it.

    Args:
        seed: of the options.
        name: id of the utterance.
        chunk: number of the chunk in it.
    """
    digest = hashlib.sha256(f"{seed}\0{name}\0{chunk}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def standard_normal(shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    """Normal random numbers, those of `torch.randn` on a CPU with a generator of the same seed.

    They differ by rounding alone: at most 2.4e-6, by which torch's own code for different processors differs too.
    The 32-bit Mersenne Twister is seeded by the low half of the seed. Box and Muller's transform makes two normal
    numbers of two uniform ones; of a size that is no multiple of 16, torch draws the last 16 anew.

    Example:
        >>> standard_normal((2, 100), seed=666).shape
        (2, 100)
    """
    twister, size = np.random.RandomState(seed & 0xFFFFFFFF), int(np.prod(shape))
    if size < BLOCK:
        return _few(twister, size).reshape(shape)
    drawn = size + BLOCK if size % BLOCK else size
    uniform = (_bits(twister, drawn) & 0xFFFFFF).astype(np.float32) / np.float32(1 << 24)
    normal = _box_muller(uniform[: size - size % BLOCK])
    if size % BLOCK:
        normal = np.concatenate([normal[: size - BLOCK], _box_muller(uniform[size:])])
    return normal.reshape(shape)


def _box_muller(uniform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Blocks of uniform numbers in [0, 1) as blocks of normal ones, in float32 like torch."""
    lengths, angles = uniform.reshape(-1, 2, BLOCK // 2).swapaxes(0, 1)
    radius, angle = np.sqrt(-2 * np.log(1 - lengths)), np.float32(2 * np.pi) * angles
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)


def _few(twister: np.random.RandomState, size: int) -> NDArray[np.float32]:
    """Fewer than a block, which torch makes in pairs of uniform numbers of 53 bits."""
    high, low = _bits(twister, 4 * ((size + 1) // 2)).astype(np.uint64).reshape(-1, 2).T
    angles, lengths = ((high << 32 | low) % (1 << 53) / 2.0**53).reshape(-1, 2).T
    radius, angle = np.sqrt(-2 * np.log1p(-lengths)), 2 * np.pi * angles
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)[:size].astype(np.float32)


def _bits(twister: np.random.RandomState, count: int) -> NDArray[np.uint32]:
    return twister.randint(1 << 32, size=count, dtype=np.uint32)
