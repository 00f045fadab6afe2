# SPDX-License-Identifier: Apache-2.0
"""What a training run has learnt: speech, pictures and figures.

usage: python local/report.py EXP_DIR RESULTS_DIR
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import torch

from zipvoice.audio.files import Audio, read, resample
from zipvoice.audio.griffin_lim import griffin_lim
from zipvoice.audio.mel import log_mel
from zipvoice.config.strict_json import read_json
from zipvoice.config.synthesis import SynthesisOptions
from zipvoice.config.training import RunConfig
from zipvoice.data.dataset import ValidationData
from zipvoice.evaluation.mel_distance import mel_distance
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.pretrained import Pretrained, load_pretrained
from zipvoice.runtime.torch import TorchModel
from zipvoice.synthesis.synthesizer import Synthesizer
from zipvoice.text.token_table import TokenTable
from zipvoice.text.tokenizers import build_tokenizer
from zipvoice.training.objectives import BASE_MASK, ConditionMask, FlowMatching

CORPUS = Path("corpus")
PROMPT = "arctic_a0036_1592747765"  # a held-out recording: the voice to speak in
NUM_TRAINING, NUM_HELD_OUT = 6, 2  # sentences spoken
# A model of a few sentences is thrown off by what it never heard, such as the silence that is put behind a prompt.
OPTIONS = SynthesisOptions(raw=True, guidance_scale=0.0)


@dataclass(frozen=True)
class Recording:
    """A line of a corpus list."""

    name: str
    text: str
    path: Path


@dataclass(frozen=True)
class Spoken:
    """One sentence: as recorded, by the trained model, and by the same model before training."""

    recording: Recording
    seen: bool
    real: Audio
    trained: Audio
    untrained: Audio


def main(exp_dir: Path, results: Path) -> None:
    trained = load_pretrained(exp_dir)
    torch.manual_seed(0)
    untrained = replace(trained, model=ZipVoice(trained.file.model, trained.table.vocabulary).eval())
    spoken = speak(synthesizer(trained), synthesizer(untrained))
    for item in spoken:
        for kind in ("real", "trained", "untrained"):
            getattr(item, kind).save(results / kind / f"{item.recording.name}.wav")
    draw_mels(spoken, results / "mels.png")
    curve = draw_curve(exp_dir / "log.jsonl", results / "curve.png")
    right, wrong = text_losses(trained.model, read_json(RunConfig, exp_dir / "run.json"), trained.table)
    print_report(spoken, curve, right, wrong, exp_dir, results)


# ---------------------------------------------------------------- speaking


def synthesizer(pretrained: Pretrained) -> Synthesizer:
    model = TorchModel(pretrained.model, pretrained.file, "cpu")
    return Synthesizer(model, griffin_lim, pretrained.file.tokenizer, pretrained.table)


def read_list(name: str) -> list[Recording]:
    lines = (CORPUS / f"{name}.tsv").read_text(encoding="utf-8").splitlines()
    return [Recording(key, text, CORPUS / path) for key, text, path in (line.split("\t") for line in lines)]


def choose_voice() -> Recording:
    return next(recording for recording in read_list("heldout") if recording.name == PROMPT)


def speak(trained: Synthesizer, untrained: Synthesizer) -> list[Spoken]:
    """Some training sentences and some held-out ones, in the voice of a held-out recording."""
    prompt = choose_voice()
    others = [recording for recording in read_list("heldout") if recording != prompt]
    sentences = [(recording, True) for recording in read_list("train")[:NUM_TRAINING]]
    sentences += [(recording, False) for recording in others[:NUM_HELD_OUT]]
    voices = [(model, model.prompt(prompt.path, prompt.text, raw=True)) for model in (trained, untrained)]
    return [
        Spoken(
            recording,
            seen,
            resample(read(recording.path), 24000),
            *(model.synthesize(recording.text, voice, OPTIONS, name=recording.name) for model, voice in voices),
        )
        for recording, seen in sentences
    ]


# ---------------------------------------------------------------- measuring


@torch.inference_mode()
def text_losses(model: ZipVoice, run: RunConfig, table: TokenTable) -> tuple[float, float]:
    """The validation loss with the right texts, and with each utterance given the text of another one."""
    objective = FlowMatching(ConditionMask(BASE_MASK, "span"))
    data = replace(run.data, max_duration=1e6)  # all in one batch
    (batch,) = ValidationData(data, table, build_tokenizer(run.tokenizer), scale=run.feature.scale)

    def loss(tokens: list[list[int]]) -> float:
        generator = torch.Generator().manual_seed(0)
        return float(objective.validate(model, replace(batch, tokens=tokens), generator).value)

    turns = [batch.tokens[k:] + batch.tokens[:k] for k in (1, 3, 5)]
    return loss(batch.tokens), float(np.mean([loss(turn) for turn in turns]))


def mean_distance(spoken: Sequence[Spoken], kind: str) -> float:
    return float(np.mean([mel_distance(getattr(item, kind), item.real) for item in spoken]))


# ---------------------------------------------------------------- pictures


def draw_mels(spoken: Sequence[Spoken], path: Path) -> None:
    """Real, trained and untrained mel spectrograms side by side, a row per sentence."""
    rows = [item for item in spoken if item.seen][:3] + [item for item in spoken if not item.seen][:1]
    figure, axes = plt.subplots(len(rows), 3, figsize=(12, 2.4 * len(rows)), squeeze=False, layout="constrained")
    for line, item in zip(axes, rows, strict=True):
        for axis, kind in zip(line, ("real", "trained", "untrained"), strict=True):
            mel = log_mel(getattr(item, kind).samples[0]).T
            axis.imshow(
                mel, origin="lower", aspect="auto", vmin=-10, vmax=3, extent=(0, mel.shape[1] * 256 / 24000, 0, 100)
            )
            axis.set_title(f"{kind}: {item.recording.text}" if kind == "real" else kind, fontsize=9)
        line[0].set_ylabel("training text" if item.seen else "new text")
    for axis in axes[-1]:
        axis.set_xlabel("seconds")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def draw_curve(log: Path, path: Path) -> list[tuple[int, float]]:
    """Losses over steps; returns (step, validation loss)."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    figure, axis = plt.subplots(figsize=(8, 4), layout="constrained")
    for kind, name in (("train", "loss"), ("valid", "loss")):
        points = [(line["step"], line[name]) for line in lines if line["kind"] == kind]
        axis.plot(
            *zip(*points, strict=True),
            label="training" if kind == "train" else "validation: same texts, other recordings",
        )
    axis.set(xlabel="steps", ylabel="flow-matching loss", yscale="log")
    axis.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return [(line["step"], line["loss"]) for line in lines if line["kind"] == "valid"]


# ---------------------------------------------------------------- words


def print_report(
    spoken: Sequence[Spoken],
    curve: Sequence[tuple[int, float]],
    right: float,
    wrong: float,
    exp_dir: Path,
    results: Path,
) -> None:
    (_, first), (steps, last) = curve[0], curve[-1]
    seen, new = [item for item in spoken if item.seen], [item for item in spoken if not item.seen]
    rows = [
        f"{mean_distance(items, 'untrained'):9.1f}  {mean_distance(items, 'trained'):7.1f}" for items in (seen, new)
    ]
    voice = choose_voice()
    sys.stdout.write(f"""
What the model learnt in {steps} steps
  validation loss (same texts, recorded another time)   {first:.3f} before, {last:.3f} after
  loss with the right texts and with wrong ones         {right:.3f} and {wrong:.3f}
  mel distance to the real recording, dB                untrained  trained
    {len(seen)} sentences of the training set                   {rows[0]}
    {len(new)} sentences it never saw                          {rows[1]}
  (two real recordings of one sentence by this speaker are 6.0 dB apart, of different sentences 9.9 dB)

Some minutes on a CPU are enough to memorise {len(read_list("train"))} sentences, not to learn to read: expect the
training sentences to be understandable and new text to be babble. Real training takes hours of speech and a GPU.

Made in {Path.cwd() / results}
  trained/ untrained/ real/   wav files of the same sentences
  mels.png                    their spectrograms side by side
  curve.png                   losses over training

Try next, in {Path.cwd()}, with the environment on: . {Path(sys.prefix)}/bin/activate
  zipvoice say "{seen[-1].recording.text}" --model {exp_dir} --vocoder griffin-lim --raw --guidance-scale 0 \\
    --voice {voice.path} --voice-text "{voice.text}" --output again.wav
  zipvoice train conf/mini.json --num-steps {2 * steps}   # trains on from here
  bash run.sh --stage 4 --stop-stage 4   # a recogniser picks which sentence was spoken
""")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
