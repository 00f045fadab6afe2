# SPDX-License-Identifier: Apache-2.0
"""Seeds of random numbers, each a function of what is to be drawn."""

import hashlib


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
