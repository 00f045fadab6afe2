# SPDX-License-Identifier: Apache-2.0
"""Train the network that finds the times of words: which sound is spoken in each frame.

TIMES.jsonl come from timed_speech.py and recorded_times.py. The same speech is heard anew each time: higher or lower,
through a telephone, in noise, with another colour, so that a network which mostly knows one voice knows others too.

usage: python local/train_aligner.py TARGET --times TIMES.jsonl... --shares SHARE... --steps 3000
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from torch import nn

from zipvoice.audio.files import read, resample
from zipvoice.audio.mel import NUM_MELS, SAMPLING_RATE, log_mel
from zipvoice.evaluation.aligner import FRAME_SECONDS, SILENCE, aligner_features
from zipvoice.files import whole_file, write_text

CLASSES = (SILENCE, *"abdefhijklmnopstuvwzæðŋɐɑɔəɚɛɜɡɪɹɾʃʊʌʒθᵻ")
SAME = {"r": "ɹ", "ʔ": "t", "x": "k"}
BEFORE, AFTER = "ː\u0329ʲ", "ˈˌ"
"""Marks whose time belongs to the sound before, and to the one after."""
GAPS = ' .,;:!?-"()…—'
SILENT_SECONDS = 0.06
"""From this on, a gap between words is silence; a shorter one is shared by the sounds on either side."""
CHANNELS, WIDTH, FIRST_WIDTH, DILATIONS = 128, 9, 5, (1, 2, 4, 8, 1)
CROP, BATCH = 320, 16


@dataclass(frozen=True)
class Heard:
    """A recording: log-mel (T, F) in half precision, and the class of each frame (T,)."""

    mel: np.ndarray
    labels: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path, help="folder of the aligner")
    parser.add_argument("--times", type=Path, nargs="+", required=True)
    parser.add_argument("--shares", type=float, nargs="+", required=True, help="of each list in a batch")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    sources = [list(heard(path)) for path in options.times]
    network = Network()
    train(network, batches(rng, sources, np.array(options.shares)), options.steps)
    labels = np.concatenate([one.labels for source in sources for one in source])
    save(network, options.target, np.bincount(labels, minlength=len(CLASSES)) / len(labels))


# ---------------------------------------------------------------- data


def heard(path: Path) -> Iterator[Heard]:
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        samples = resample(read(path.parent / row["audio"]).mono(), SAMPLING_RATE).samples[0]
        mel = log_mel(samples)
        yield Heard(mel.astype(np.float16), frame_labels(row["tokens"], len(mel)))


def frame_labels(tokens: Sequence[tuple[str, float, float]], num_frames: int) -> np.ndarray:
    """The class of each frame (T,)."""
    sounds = spoken(tokens)
    starts = [sounds[0][1]] if sounds else []
    labels = np.zeros(num_frames, np.int64)
    for i, (kind, start, end) in enumerate(sounds):
        if i and 0 < start - sounds[i - 1][2] < SILENT_SECONDS:
            start = (start + sounds[i - 1][2]) / 2
        if i + 1 < len(sounds) and 0 < sounds[i + 1][1] - end < SILENT_SECONDS:
            end = (end + sounds[i + 1][1]) / 2
        labels[frame(start) : frame(end)] = CLASSES.index(kind)
        starts.append(start)
    return labels


def frame(seconds: float) -> int:
    """The first frame whose centre is not before a time."""
    return int(np.ceil(seconds / FRAME_SECONDS))


def spoken(tokens: Sequence[tuple[str, float, float]]) -> list[tuple[str, float, float]]:
    """Class, start and end of each sound; marks of stress and length lend their time to it."""
    sounds: list[tuple[str, float, float]] = []
    early = None
    for token, start, end in tokens:
        token = SAME.get(token, token)
        if token in AFTER:
            early = start if early is None else early
        elif token in BEFORE and sounds:
            sounds[-1] = (sounds[-1][0], sounds[-1][1], end)
        elif token in CLASSES:
            sounds.append((token, start if early is None else early, end))
            early = None
        else:
            early = None
    return sounds


def batches(
    rng: np.random.Generator, sources: Sequence[Sequence[Heard]], shares: np.ndarray
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Features (B, F, T) and labels (B, T) without end."""
    while True:
        chosen = rng.choice(len(sources), BATCH, p=shares / shares.sum())
        crops = [crop(rng, sources[i][rng.integers(len(sources[i]))]) for i in chosen]
        yield torch.from_numpy(np.stack([x.T for x, _ in crops])), torch.from_numpy(np.stack([y for _, y in crops]))


def crop(rng: np.random.Generator, one: Heard) -> tuple[np.ndarray, np.ndarray]:
    """A part of a recording, as somebody else might have said it somewhere else; -1 labels what is not there."""
    length = min(len(one.mel), CROP)
    start = rng.integers(len(one.mel) - length + 1)
    mel, labels = with_silence(rng, one.mel[start : start + length], one.labels[start : start + length])
    x = aligner_features(varied(rng, mel))
    missing = CROP - len(x)
    return np.pad(x, ((0, missing), (0, 0))), np.pad(labels, (0, missing), constant_values=-1)


def with_silence(rng: np.random.Generator, mel: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The recording between silences as long as there is room for, often none."""
    before, after = (rng.integers(0, 80, 2) * (rng.random(2) < 0.3)).tolist()
    edges = ((before, after), (0, 0))
    mel = np.pad(mel.astype(np.float32), edges, constant_values=float(mel.min()))
    return mel[:CROP], np.pad(labels, edges[0])[:CROP]


def varied(rng: np.random.Generator, mel: np.ndarray) -> np.ndarray:
    bands = np.arange(NUM_MELS)
    if rng.random() < 0.7:  # another size of head
        places = np.clip(bands * rng.uniform(0.86, 1.16) + rng.uniform(-2, 2), 0, NUM_MELS - 1)
        low = places.astype(int)
        high, weight = np.minimum(low + 1, NUM_MELS - 1), (places - low).astype(np.float32)
        mel = mel[:, low] * (1 - weight) + mel[:, high] * weight
    knots = rng.normal(0, 0.7, 5)
    mel = mel + np.interp(bands, np.linspace(0, NUM_MELS - 1, 5), knots).astype(np.float32)
    if rng.random() < 0.5:  # noise
        slope = np.interp(bands, [0, NUM_MELS - 1], rng.normal(0, 1.2, 2))
        noise = mel.max() - rng.uniform(2.5, 8) + slope + rng.normal(0, 0.6, mel.shape)
        mel = np.logaddexp(mel, noise.astype(np.float32))
    if rng.random() < 0.4:  # bandwidth: 8 kHz is band 84, 4 kHz band 60
        mel[:, rng.integers(58, 90) :] = mel.min()
    return mel


# ---------------------------------------------------------------- network


class ResidualBlock(nn.Module):
    """As `zipvoice.evaluation.aligner.Block`, before its normalisation is folded."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        reach = WIDTH // 2 * dilation
        self.over_time = nn.Conv1d(
            CHANNELS, CHANNELS, WIDTH, padding=reach, dilation=dilation, groups=CHANNELS, bias=False
        )
        self.norm = nn.BatchNorm1d(CHANNELS)
        self.mixing = nn.Conv1d(CHANNELS, CHANNELS, 1)
        nn.init.zeros_(self.mixing.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.mixing(self.norm(self.over_time(x)).relu())


class Network(nn.Module):
    """The network of `zipvoice.evaluation.aligner`, with normalisation that is folded into it afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(NUM_MELS, CHANNELS, FIRST_WIDTH, padding=FIRST_WIDTH // 2)
        self.blocks = nn.ModuleList(ResidualBlock(dilation) for dilation in DILATIONS)
        self.last = nn.Conv1d(CHANNELS, len(CLASSES), 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, F, T) -> (B, K, T)."""
        x = self.first(x).relu()
        for block in self.blocks:
            x = block(x)
        return self.last(nn.functional.dropout(x.relu(), 0.1, self.training))


def train(network: Network, data: Iterator[tuple[torch.Tensor, torch.Tensor]], steps: int) -> None:
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.1)
    begun, mean, right = time.perf_counter(), 0.0, 0.0
    for step in range(1, steps + 1):
        x, labels = next(data)
        scores = network(x)
        loss = nn.functional.cross_entropy(scores, labels, ignore_index=-1, label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        mean += loss.item()
        right += (scores.argmax(1) == labels)[labels >= 0].float().mean().item()
        if step % 100 == 0:
            took = time.perf_counter() - begun
            print(f"step {step}: loss {mean / 100:.3f}, frames right {right:.1f} %, {took:.0f} s", flush=True)
            mean = right = 0.0


# ---------------------------------------------------------------- storing


def save(network: Network, folder: Path, shares: np.ndarray) -> None:
    """Write the network as bytes with a scale for each output channel, and what its classes are."""
    tensors: dict[str, np.ndarray] = {
        "first": network.first.weight.permute(2, 1, 0),  # (W, F, C)
        "first_bias": network.first.bias,
        "last": network.last.weight[:, :, 0].T,
        "last_bias": network.last.bias,
    }
    for i, block in enumerate(network.blocks):
        scale = block.norm.weight / (block.norm.running_var + block.norm.eps).sqrt()
        tensors[f"{i}.taps"] = (block.over_time.weight[:, 0] * scale[:, None]).T  # (W, C)
        tensors[f"{i}.bias"] = block.norm.bias - block.norm.running_mean * scale
        tensors[f"{i}.mixing"] = block.mixing.weight[:, :, 0].T
        tensors[f"{i}.mixing_bias"] = block.mixing.bias
    stored = {}
    for name, value in tensors.items():
        array = value.detach().numpy().astype(np.float32)
        if array.ndim == 1:
            stored[name] = array
            continue
        scale = np.abs(array).max(axis=tuple(range(array.ndim - 1))) / 127
        stored[name] = np.ascontiguousarray((array / scale).round().astype(np.int8))
        stored[f"{name}.scale"] = scale
    with whole_file(folder / "model.safetensors") as path:
        safetensors.numpy.save_file(stored, path)
    config = {"classes": CLASSES, "dilations": DILATIONS, "shares": shares.round(5).tolist()}
    write_text(folder / "aligner.json", json.dumps(config, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
