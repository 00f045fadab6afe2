# SPDX-License-Identifier: Apache-2.0
"""What distilled, dialogue and stereo models can do, in figures. Models are compared on the same noise.

usage: python local/measure.py distilled TEACHER STUDENT...
       python local/measure.py dialogue MODEL...
       python local/measure.py stereo MODEL...
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from zipvoice.config import RunConfig, read_json
from zipvoice.evaluation.mel_distance import DB_PER_NAT
from zipvoice.model.flow import euler, time_grid
from zipvoice.model.sampling import guided_velocity
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.pretrained import load_pretrained
from zipvoice.text.tokenizers import build_tokenizer
from zipvoice.text.tokens import TokenTable
from zipvoice.training.data import Batch, ValidationData
from zipvoice.training.objectives import DIALOG_MASK, ConditionMask, FlowMatching, channels, condition, mean_over

GUIDANCE_SCALES = (1.0, 2.0)  # in the range of both stages of distillation
DIALOG_GUIDANCE = 1.5  # published
KNOWN_SPEECH, KNOWN_DIALOGUE = 0.3, 0.5  # how much of a recording is given, the rest is generated
NUM_STEPS, FEW_STEPS = 16, 4
SPEECH_DB = -30.0
"""A channel is taken to speak in frames up to so much below the median of real speech."""
REPEATS = 8  # of the validation loss, with other noise


def validation_batches(run: RunConfig) -> list[Batch]:
    table = TokenTable.read(run.tokens)
    tokenizer = build_tokenizer(run.tokenizer, table.tags)
    return list(ValidationData(run.data, table, tokenizer, scale=run.feature.scale))


def end_of(batch: Batch, known: float) -> Tensor:
    """The frames (B, T) to be generated when the first part of each recording is known."""
    share = torch.full(batch.feature_lens.shape, 1 - known)
    return ConditionMask(DIALOG_MASK, "suffix").mask(batch.feature_lens, batch.features.shape[1], share, None)


@torch.inference_mode()
def generate(model: ZipVoice, batch: Batch, mask: Tensor, num_steps: int, guidance_scale: float) -> Tensor:
    """Features (B, T, C) of which those under `mask` (B, T) are generated; always from the same noise."""
    noise = torch.randn(batch.features.shape, generator=torch.Generator().manual_seed(0))
    velocity = guided_velocity(model, guidance_scale)
    return euler(velocity, noise, condition(model, batch, mask), time_grid(num_steps, t_shift=0.5))


def mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)


def run_of(directory: Path) -> RunConfig:
    return read_json(RunConfig, directory / "run.json")


# ---------------------------------------------------------------- distillation


def report_distilled(teacher_directory: Path, *students: Path) -> Iterable[str]:
    """How far the result of few steps is from that of the teacher's many steps under guidance."""
    run, teacher = run_of(teacher_directory), load_pretrained(teacher_directory).model
    batches = validation_batches(run)
    masks = [end_of(batch, KNOWN_SPEECH) for batch in batches]

    def results(model: ZipVoice, num_steps: int, guidance_scale: float) -> list[Tensor]:
        pairs = zip(batches, masks, strict=True)
        return [generate(model, batch, mask, num_steps, guidance_scale) for batch, mask in pairs]

    def distance(x: Tensor, y: Tensor, mask: Tensor) -> float:
        """In dB, as the mel distance between recordings but without aligning frames."""
        nats = (x - y).square().mean(dim=2).sqrt() / run.feature.scale
        return DB_PER_NAT * float(mean_over(nats, mask))

    targets = {w: results(teacher, NUM_STEPS, w) for w in GUIDANCE_SCALES}
    yield f"Distance to the {NUM_STEPS} guided steps of {teacher_directory}, dB; columns: guidance scale"
    yield f"{'':<24}steps" + "".join(f"{w:>8}" for w in GUIDANCE_SCALES)
    for directory in (teacher_directory, *students):
        model = load_pretrained(directory).model
        found = [mean(map(distance, results(model, FEW_STEPS, w), targets[w], masks)) for w in GUIDANCE_SCALES]
        yield f"{directory!s:<24}{FEW_STEPS:>5}" + "".join(f"{value:>8.2f}" for value in found)


# ---------------------------------------------------------------- dialogue


@torch.inference_mode()
def validation_loss(directory: Path) -> float:
    """The loss of whatever model on the end of dialogues, over several draws of noise, times and masks."""
    model, batches = load_pretrained(directory).model, validation_batches(run_of(directory))
    objective, generator = FlowMatching(ConditionMask(DIALOG_MASK, "suffix")), torch.Generator().manual_seed(0)
    losses = [objective.validate(model, batch, generator) for _ in range(REPEATS) for batch in batches]
    return sum(float(loss.value) * loss.num_frames for loss in losses) / sum(loss.num_frames for loss in losses)


def report_dialogue(*directories: Path) -> Iterable[str]:
    yield f"{'Dialogue validation loss':<32}"
    for directory in directories:
        yield f"{directory!s:<32}{validation_loss(directory):>8.4f}"


# ---------------------------------------------------------------- stereo


def report_stereo(*directories: Path) -> Iterable[str]:
    """How much both speakers talk at once in the generated halves of the validation dialogues."""
    run = run_of(directories[0])
    batches = [channels(batch, slice(0, 2)) for batch in validation_batches(run)]
    masks = [end_of(batch, KNOWN_DIALOGUE) for batch in batches]
    real = [batch.features for batch in batches]
    threshold = speech_threshold(real, masks, run.feature.scale)
    yield f"{'':<32}frames in which both speak   louder channel above the other"
    for directory in (None, *directories):
        x = real if directory is None else generated(directory, batches, masks)
        louder, quieter = levels(x, masks, run.feature.scale)
        both, above = float((quieter > threshold).float().mean()), float((louder - quieter).mean())
        yield f"{directory or 'recordings'!s:<32}{both:>26.2%}   {above:>27.1f} dB"


def generated(directory: Path, batches: Sequence[Batch], masks: Sequence[Tensor]) -> list[Tensor]:
    model = load_pretrained(directory).model
    pairs = zip(batches, masks, strict=True)
    return [generate(model, batch, mask, NUM_STEPS, DIALOG_GUIDANCE) for batch, mask in pairs]


def levels(x: Sequence[Tensor], masks: Sequence[Tensor], scale: float) -> tuple[Tensor, Tensor]:
    """Mean log-mel levels in dB of the louder and the quieter channel, at each frame under the masks."""
    frames = torch.cat([features[mask] for features, mask in zip(x, masks, strict=True)])  # (N, 2 F)
    both = DB_PER_NAT / scale * torch.stack([side.mean(dim=1) for side in frames.chunk(2, dim=1)])  # (2, N)
    return both.amax(dim=0), both.amin(dim=0)


def speech_threshold(real: Sequence[Tensor], masks: Sequence[Tensor], scale: float) -> float:
    louder, _ = levels(real, masks, scale)
    return float(louder.median()) + SPEECH_DB


REPORTS = {"distilled": report_distilled, "dialogue": report_dialogue, "stereo": report_stereo}

if __name__ == "__main__":
    report = REPORTS[sys.argv[1]]
    for line in report(*map(Path, sys.argv[2:])):
        sys.stdout.write(line + "\n")
