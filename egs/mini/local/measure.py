# SPDX-License-Identifier: Apache-2.0
"""What distilled, dialogue and stereo models can do, in figures. Models are compared on the same noise.

usage: python local/measure.py distilled TEACHER STUDENT...
       python local/measure.py few-steps TEACHER STUDENT...
       python local/measure.py dialogue MODEL...
       python local/measure.py turns WITH WITHOUT [WITH WITHOUT]...
       python local/measure.py stereo MODEL...
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import torch
from torch import Tensor

from zipvoice.config.data import ManifestConfig
from zipvoice.config.strict_json import read_json
from zipvoice.config.synthesis import SolverName
from zipvoice.config.training import RunConfig
from zipvoice.data.collate import Batch
from zipvoice.data.dataset import ValidationData
from zipvoice.evaluation.mel_distance import DB_PER_NAT
from zipvoice.model.guidance import guided_velocity
from zipvoice.model.solver import solve, time_grid
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.pretrained import load_pretrained
from zipvoice.text.token_table import TokenTable
from zipvoice.text.tokenizers import build_tokenizer
from zipvoice.training.objectives import DIALOG_MASK, ConditionMask, FlowMatching, channels, condition

GUIDANCE_SCALES = (1.0, 2.0)  # in the range of both stages of distillation
DIALOG_GUIDANCE = 1.5  # published
KNOWN_SPEECH, KNOWN_DIALOGUE = 0.3, 0.5  # how much of a recording is given, the rest is generated
NUM_STEPS, FEW_STEPS = 16, 4
FEWEST_STEPS = (1, 2, 4, 8)
EXACT_STEPS = 32
"""Of the midpoint method, which are as exact as several hundred of Euler's."""
FLOW_SCALE = 1.0  # published
T_SHIFT = 0.5  # published
T_SHIFTS = (T_SHIFT, 1.0)  # of few steps; a student is trained with steps of the same size throughout
DIALOGUES = {
    "known": "data/dialog_mono_cuts_dev.jsonl.gz",
    "new": "data/dialog_mono_cuts_heldout.jsonl.gz",
}
"""Validation dialogues, by whether training had their sentences."""
SPEECH_DB = -30.0
"""A channel is taken to speak in frames up to so much below the median of real speech."""
REPEATS = 8  # of the validation loss, with other noise


def batches_of(directory: Path, manifests: Sequence[ManifestConfig]) -> list[Batch]:
    """The utterances of some manifests, in batches as the model of a run had them in validation."""
    run, table = run_of(directory), TokenTable.read(directory / "tokens.txt")
    tokenizer = build_tokenizer(run.tokenizer, table.tags)
    data = replace(run.data, dev=tuple(manifests))
    return list(ValidationData(data, table, tokenizer, scale=run.feature.scale))


def end_of(batch: Batch, known: float) -> Tensor:
    """The frames (B, T) to be generated when the first part of each recording is known."""
    share = torch.full(batch.feature_lens.shape, 1 - known)
    return ConditionMask(DIALOG_MASK, "suffix").mask(batch.feature_lens, batch.features.shape[1], share, None)


@torch.inference_mode()
def generate(
    model: ZipVoice,
    batch: Batch,
    mask: Tensor,
    num_steps: int,
    guidance_scale: float,
    t_shift: float = T_SHIFT,
    solver: SolverName = "euler",
) -> Tensor:
    """Features (B, T, C) of which those under `mask` (B, T) are generated; always from the same noise."""
    noise = torch.randn(batch.features.shape, generator=torch.Generator().manual_seed(0))
    velocity = guided_velocity(model, guidance_scale)
    return solve(velocity, noise, condition(model, batch, mask), time_grid(num_steps, t_shift), solver)


def run_of(directory: Path) -> RunConfig:
    return read_json(RunConfig, directory / "run.json")


# ---------------------------------------------------------------- distillation


def report_distilled(teacher_directory: Path, *students: Path) -> Iterable[str]:
    """How far the result of few steps is from that of the teacher's many steps under guidance.

    Settings are chosen by what the training recordings say; the validation recordings say what that is worth.
    """
    run, teacher = run_of(teacher_directory), load_pretrained(teacher_directory).model
    yield f"Distance to the {NUM_STEPS} guided steps of {teacher_directory}, dB"
    yield f"{'recordings':<12}{'model':<24}steps  t_shift" + "".join(f"  scale {w}" for w in GUIDANCE_SCALES)
    for kind, manifests in (("training", run.data.train), ("validation", run.data.dev)):
        tasks = [(batch, end_of(batch, KNOWN_SPEECH)) for batch in batches_of(teacher_directory, manifests)]
        targets = {w: [generate(teacher, *task, NUM_STEPS, w) for task in tasks] for w in GUIDANCE_SCALES}
        for directory in (teacher_directory, *students):
            model = load_pretrained(directory).model
            for t_shift in T_SHIFTS:
                found = {w: [generate(model, *task, FEW_STEPS, w, t_shift) for task in tasks] for w in GUIDANCE_SCALES}
                away = [distance(found[w], targets[w], tasks, run.feature.scale) for w in GUIDANCE_SCALES]
                values = "".join(f"{value:>11.2f}" for value in away)
                yield f"{kind:<12}{directory!s:<24}{FEW_STEPS:>5}{t_shift:>9}{values}"


def report_few_steps(teacher_directory: Path, *students: Path) -> Iterable[str]:
    """How far few equal steps lead from where the teacher's exact flow does, on validation recordings."""
    run, teacher = run_of(teacher_directory), load_pretrained(teacher_directory).model
    tasks = [(batch, end_of(batch, KNOWN_SPEECH)) for batch in batches_of(teacher_directory, run.data.dev)]
    exact = [generate(teacher, *task, EXACT_STEPS, FLOW_SCALE, 1.0, "midpoint") for task in tasks]
    yield f"Distance to the exact flow of {teacher_directory} (guidance scale {FLOW_SCALE:g}), dB"
    yield f"{'model':<24}" + "".join(f"{num_steps:>4} steps" for num_steps in FEWEST_STEPS)
    for directory in (teacher_directory, *students):
        model = load_pretrained(directory).model
        solver: SolverName = "mean-flow" if model.predicts_means else "euler"
        found = [[generate(model, *task, n, FLOW_SCALE, 1.0, solver) for task in tasks] for n in FEWEST_STEPS]
        yield f"{directory!s:<24}" + "".join(f"{distance(x, exact, tasks, run.feature.scale):>10.2f}" for x in found)


def distance(x: Sequence[Tensor], y: Sequence[Tensor], tasks: Sequence[tuple[Batch, Tensor]], scale: float) -> float:
    """In dB, as the mel distance between recordings but without aligning frames; mean over those under the masks."""
    frames = [(a - b).square().mean(dim=2).sqrt()[mask] for a, b, (_, mask) in zip(x, y, tasks, strict=True)]
    return DB_PER_NAT / scale * float(torch.cat(frames).mean())


# ---------------------------------------------------------------- dialogue


@torch.inference_mode()
def validation_loss(directory: Path, manifest: str) -> float:
    """The loss of whatever model on the end of dialogues, over several draws of noise, times and masks."""
    model, batches = load_pretrained(directory).model, batches_of(directory, [ManifestConfig(manifest)])
    objective, generator = FlowMatching(ConditionMask(DIALOG_MASK, "suffix")), torch.Generator().manual_seed(0)
    losses = [objective.validate(model, batch, generator) for _ in range(REPEATS) for batch in batches]
    return sum(float(loss.value) * loss.num_frames for loss in losses) / sum(loss.num_frames for loss in losses)


def report_dialogue(*directories: Path) -> Iterable[str]:
    """Validation losses, on dialogues of sentences that training had and of others."""
    yield f"{'Dialogue validation loss':<32}" + "".join(f"{kind:>10}" for kind in DIALOGUES)
    for directory in directories:
        values = [validation_loss(directory, manifest) for manifest in DIALOGUES.values()]
        yield f"{directory!s:<32}" + "".join(f"{value:>10.4f}" for value in values)


def report_turns(*directories: Path) -> Iterable[str]:
    """How much higher the losses of models without speaker turns are than those of their twins with them."""
    yield f"{'Loss added by leaving turns out':<32}" + "".join(f"{kind:>10}" for kind in DIALOGUES)
    added: dict[str, list[float]] = {kind: [] for kind in DIALOGUES}
    for twin, directory in zip(directories[::2], directories[1::2], strict=True):
        for kind, manifest in DIALOGUES.items():
            added[kind].append(validation_loss(directory, manifest) - validation_loss(twin, manifest))
        yield f"{directory!s:<32}" + "".join(f"{values[-1]:>10.4f}" for values in added.values())
    if len(directories) < 4:
        return  # one pair has no spread
    for name, statistic in (("mean", fmean), ("standard deviation", stdev)):
        yield f"{name:<32}" + "".join(f"{statistic(values):>10.4f}" for values in added.values())


# ---------------------------------------------------------------- stereo


def report_stereo(*directories: Path) -> Iterable[str]:
    """How much both speakers talk at once in the generated halves of the validation dialogues."""
    run = run_of(directories[0])
    batches = [channels(batch, slice(0, 2)) for batch in batches_of(directories[0], run.data.dev)]
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


REPORTS: dict[str, Callable[..., Iterable[str]]] = {
    "distilled": report_distilled,
    "few-steps": report_few_steps,
    "dialogue": report_dialogue,
    "turns": report_turns,
    "stereo": report_stereo,
}

if __name__ == "__main__":
    report = REPORTS[sys.argv[1]]
    for line in report(*map(Path, sys.argv[2:])):
        sys.stdout.write(line + "\n")
