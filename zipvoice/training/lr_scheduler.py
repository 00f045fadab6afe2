# SPDX-License-Identifier: Apache-2.0
"""Learning rates and the pace of the model's own schedules: pure functions of progress."""

FINE_TUNING_OFFSET = 100_000  # adjusted batches after which every warm-up behaviour of the model is over


def eden(
    batch: int,
    epoch: float,
    base_lr: float,
    lr_batches: float,
    lr_epochs: float,
    warmup_batches: float = 500.0,
    warmup_start: float = 0.5,
) -> float:
    """Learning rate that decays with the power -1/2 of batches and of epochs, after a linear warm-up.

    Args:
        batch: batches seen, the current one included.
        epoch: epochs completed, or hours of audio seen divided by the number of GPUs' worth of them, in the unit of
            `lr_epochs`.
        base_lr: the rate before decay.
        lr_batches: batches after which the decay sets in.
        lr_epochs: epochs, or hours, after which the second decay sets in.
        warmup_batches: length of the warm-up; 0 for none.
        warmup_start: fraction of the rate the warm-up starts at.
    """
    batch_decay = ((batch / lr_batches) ** 2 + 1) ** -0.25
    epoch_decay = ((epoch / lr_epochs) ** 2 + 1) ** -0.25
    warm = warmup_start + (1 - warmup_start) * batch / warmup_batches if batch < warmup_batches else 1.0
    return base_lr * batch_decay * epoch_decay * warm


def hours_seen(step: int, batch_seconds: float, batches_per_step: int = 1) -> float:
    """Hours of audio in `step` steps of `batches_per_step` batches, all processes together, of `batch_seconds` each."""
    return step * batch_seconds * batches_per_step / 3600


def adjusted_batch_count(
    step: int, batch_seconds: float, batches_per_step: int = 1, ref_seconds: float = 50.0, offset: float = 0.0
) -> float:
    """Progress for the schedules inside the model: batches of `ref_seconds` that hold the audio seen so far.

    `offset` is `FINE_TUNING_OFFSET` when training does not start from scratch.
    """
    return step * batch_seconds * batches_per_step / ref_seconds + offset
