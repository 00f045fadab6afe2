# SPDX-License-Identifier: Apache-2.0
"""Teach the text encoder of a model how tokens sound, before its decoder learns to speak.

The encoded text of each token becomes an estimate of the token's sound: the mean of its log-mel frames, scaled as the
model sees them, less the mean of the utterance, which tells of the speaker rather than the text. The squared error,
each token counting by its frames, is the encoder loss of Grad-TTS (Popov et al., 2021) but for a constant. Its batches
are of tokens, not frames, so that it costs almost nothing, and a small decoder that finds it done learns to read much
sooner.

INIT is a model directory, or the description of a run (conf/*.json), whose model then starts from random weights. OUT
is a model directory, in which all but the token embedding and the text encoder is as in INIT. The utterances of the
manifests have their tokens where the model lays them out, as typical_pace.py makes them. Told is the mean squared error
on those of --dev, beside that of a model that takes all tokens for the same, the variance.

usage: python local/teach_text.py INIT OUT STEPS MANIFEST... --dev MANIFEST
"""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from zipvoice.config.model_file import ModelFile
from zipvoice.config.strict_json import read_json
from zipvoice.config.training import RunConfig
from zipvoice.data.cuts import load_features, read_cuts, stored_tokens
from zipvoice.data.vocabulary import token_table
from zipvoice.model.condition import pad_tokens
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.pretrained import Pretrained, load_pretrained, save_pretrained
from zipvoice.text.tokenizers import build_tokenizer

SEED = 42
"""Decides initial weights and batches."""
BATCH_SIZE = 32
"""Sentences, of neighbouring lengths so that little is padding."""
PEAK_RATE = 1.5e-3
"""Of AdamW, after the warm-up; from there on it falls to 0 along a line."""
WARMUP_STEPS = 100
MAX_GRADIENT_NORM = 1.0
REPORT_EVERY = 100

Cut = Any  # lhotse's, which takes seconds to import


@dataclass(frozen=True)
class Sentence:
    """A text and how it sounds."""

    ids: list[int]
    """Of its tokens, S of them."""
    sound: Tensor
    """(S, F) mean features of each token less those of the utterance."""
    num_frames: Tensor
    """(S,) of each token; some have none."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("init", type=Path, help="model directory, or description of a run")
    parser.add_argument("out", type=Path, help="model directory to write")
    parser.add_argument("steps", type=int, help="how many batches to learn from")
    parser.add_argument("manifests", nargs="+", help="what to learn from")
    parser.add_argument("--dev", required=True, help="what to measure the error on")
    options = parser.parse_args()
    teach_text(options.init, options.out, options.steps, options.manifests, options.dev)


def teach_text(init: Path, out: Path, num_steps: int, manifests: Iterable[str], dev: str) -> None:
    torch.manual_seed(SEED)
    pupil = initial(init)
    teach(pupil.model, sentences(manifests, pupil), sentences([dev], pupil), num_steps)
    save_pretrained(out, pupil.model.state_dict(), pupil.file, pupil.table)


def initial(init: Path) -> Pretrained:
    """The model of a directory, or one with random weights as a run describes it."""
    if init.suffix != ".json":
        return load_pretrained(init)
    config = read_json(RunConfig, init)
    table = token_table(config, None)
    model = ZipVoice(config.model, table.vocabulary, config.variant)
    file = ModelFile(config.model, config.feature, config.variant, config.tokenizer)
    return Pretrained(model, file, table, build_tokenizer(config.tokenizer, table.tags))


# ---------------------------------------------------------------- what is learnt


def sentences(manifests: Iterable[str], pupil: Pretrained) -> list[Sentence]:
    """All utterances of the manifests, for this model."""
    return [sentence(cut, pupil) for path in manifests for cut in read_cuts(path)]


def sentence(cut: Cut, pupil: Pretrained) -> Sentence:
    ids = pupil.table.ids(stored_tokens(cut))
    features = pupil.file.feature.scale * torch.from_numpy(load_features(cut, pupil.file.model.feat_dim))  # (T, F)
    padded, num_tokens = map(torch.from_numpy, pad_tokens([ids], pupil.table.vocabulary.pad_id))
    places = pupil.model.alignment(padded, num_tokens, torch.tensor([len(features)]), len(features))[0]  # (T,)
    num_frames = places.bincount(minlength=len(ids))[: len(ids)]
    total = features.new_zeros(len(ids) + 1, features.shape[1]).index_add(0, places, features)[: len(ids)]
    return Sentence(ids, total / num_frames.clamp(min=1)[:, None] - features.mean(dim=0), num_frames)


# ---------------------------------------------------------------- learning


def teach(model: ZipVoice, train: Iterable[Sentence], dev: Sequence[Sentence], num_steps: int) -> None:
    """Train the token embedding and the text encoder of a model, and print how well they do.

    The model is told of no batch count, so that no layer is skipped and no activation dropped: within so few steps it
    meets each sentence hardly more than twice, and learns sooner undisturbed.
    """
    parameters = [*model.embed.parameters(), *model.text_encoder.parameters()]
    optimizer = torch.optim.AdamW(parameters, PEAK_RATE, betas=(0.9, 0.98), weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, num_steps))
    by_length, rng = sorted(train, key=lambda sentence: len(sentence.ids)), Random(SEED)
    for step in range(1, num_steps + 1):
        first = rng.randrange(max(1, len(by_length) - BATCH_SIZE + 1))
        optimizer.zero_grad()
        squared_error(model, by_length[first : first + BATCH_SIZE]).backward()
        clip_grad_norm_(parameters, MAX_GRADIENT_NORM)
        optimizer.step()
        schedule.step()
        if step % REPORT_EVERY == 0 or step == num_steps:
            print(f"step {step}: {report(model, dev)}", flush=True)


def rate(step: int, num_steps: int) -> float:
    """The learning rate in the step after so many, relative to the highest."""
    return min((step + 1) / WARMUP_STEPS, (num_steps - step) / max(1, num_steps - WARMUP_STEPS))


def squared_error(model: ZipVoice, batch: Sequence[Sentence]) -> Tensor:
    """How far encoded texts are from their sounds, the mean over frames and mel bins."""
    ids, num_tokens = map(torch.from_numpy, pad_tokens([sentence.ids for sentence in batch], model.vocabulary.pad_id))
    texts = model.encode_text(ids, num_tokens)
    encoded = torch.cat([text[: len(sentence.ids)] for text, sentence in zip(texts, batch, strict=True)])
    return by_frames((encoded - torch.cat([sentence.sound for sentence in batch])).square(), batch)


def by_frames(values: Tensor, batch: Sequence[Sentence]) -> Tensor:
    """The mean of the values of all tokens (N, F), each token counting by its frames."""
    num_frames = torch.cat([sentence.num_frames for sentence in batch])
    return (values.mean(dim=1) * num_frames).sum() / num_frames.sum()


@torch.no_grad()
def report(model: ZipVoice, dev: Sequence[Sentence]) -> str:
    variance = by_frames(torch.cat([sentence.sound for sentence in dev]).square(), dev)
    return f"squared error {squared_error(model, dev):.4f}, where the variance is {variance:.4f}"


if __name__ == "__main__":
    main()
