# SPDX-License-Identifier: Apache-2.0
"""A small network that tells which sound is spoken when, in NumPy: what finds the times of words.

Log-mel frames go through convolutions to one score for each class of sound. It was trained on speech whose sounds lie
at known times; `builtin/aligner/README.md` says how. Shapes: T frames, F mel bands, K classes, W taps of a convolution,
C channels.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from zipvoice import builtin
from zipvoice.audio.files import Audio, resample
from zipvoice.audio.mel import HOP, SAMPLING_RATE, log_mel

Floats = NDArray[np.float32]

FRAME_SECONDS = HOP / SAMPLING_RATE
SILENCE = "sil"
"""The class of what is not speech."""
RANGE = 9.0
"""Nepers below the loudest value of a recording at which its features end, 78 dB."""
SPREAD = 2.0
"""Standard deviation of features of speech, about."""
EVEN = np.float32(1.0)
PRIOR = np.float32(0.5)
"""Power of the shares of classes that posteriors are divided by."""


PAUSE_COST, LOUD_COST = np.float32(0.4), np.float32(2.0)
"""What a frame of silence costs, and how much more one that is as loud as speech would; found on readers whose speech
no figure is reported of."""
SPEECH_SPAN = np.float32(3.5)
"""Nepers below the level of speech at which a frame is quiet, at most: a quiet recording has its noise closer."""
QUIET = np.float32(0.2)
"""Share of that span that costs nothing more."""


def silence_costs(mel: Floats) -> Floats:
    """What taking a frame of log-mel (T, F) for silence costs, in nepers (T,).

    The network hears pauses in the speech of readers unlike those it learned from. What is loud is none.
    """
    level = mel.mean(axis=1)
    floor, speech = np.percentile(level, (5, 80))
    span = np.clip(speech - floor, np.float32(1.0), SPEECH_SPAN)
    loudness = np.maximum(1 + (level - speech) / span - QUIET, 0)
    return (PAUSE_COST + LOUD_COST * loudness).astype(np.float32)


def aligner_features(mel: Floats) -> Floats:
    """Log-mel frames (T, F) as the network hears them: bounded below, every band with mean zero."""
    bounded = np.maximum(mel, mel.max() - np.float32(RANGE))
    return (bounded - bounded.mean(axis=0)) / np.float32(SPREAD)


@dataclass(frozen=True, eq=False)
class Block:
    """A residual block: each channel by itself over time, then all channels of a frame."""

    taps: Floats
    """(W, C)."""
    dilation: int
    bias: Floats
    mixing: Floats
    """(C, C)."""
    mixing_bias: Floats

    def __call__(self, x: Floats) -> Floats:
        """(T, C) -> (T, C)."""
        width = len(self.taps)
        reach = width // 2 * self.dilation
        padded = np.pad(x, ((reach, reach), (0, 0)))
        h = self.bias + sum(padded[i * self.dilation :][: len(x)] * self.taps[i] for i in range(width))
        return x + np.maximum(h, 0) @ self.mixing + self.mixing_bias


@dataclass(frozen=True, eq=False)
class Aligner:
    """The network and the classes it tells apart."""

    classes: tuple[str, ...]
    first: Floats
    """(W, F, C)."""
    first_bias: Floats
    blocks: tuple[Block, ...]
    last: Floats
    """(C, K)."""
    last_bias: Floats
    log_shares: Floats
    """What is taken off the posteriors (K,) to make likelihoods of them: weighted shares of the classes in training."""

    def scores(self, audio: Audio, doubting_silence: bool = False) -> Floats:
        """Log-likelihoods (T, K) of the classes in each frame, but for a constant of the frame.

        Frame i stands for the time around i · `FRAME_SECONDS`. `doubting_silence` takes `silence_costs` off that of
        silence. Raises ValueError for less than 21 ms of sound.
        """
        mel = log_mel(resample(audio.mono(), SAMPLING_RATE).samples[0])
        found = self.log_posteriors(aligner_features(mel)) - self.log_shares
        if doubting_silence:
            found[:, self.classes.index(SILENCE)] -= silence_costs(mel)
        return found

    def log_posteriors(self, x: Floats) -> Floats:
        """Features (T, F) -> (T, K)."""
        width = len(self.first)
        padded = np.pad(x, ((width // 2, width // 2), (0, 0)))
        windows = sliding_window_view(padded, width, axis=0)  # (T, F, W)
        x = np.maximum(np.tensordot(windows, self.first, ([2, 1], [0, 1])) + self.first_bias, 0)
        for block in self.blocks:
            x = block(x)
        logits = np.maximum(x, 0) @ self.last + self.last_bias
        top = logits.max(axis=1, keepdims=True)
        return logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))


def read_aligner(folder: Path) -> Aligner:
    """The aligner of a folder."""
    import safetensors.numpy

    config = json.loads((folder / "aligner.json").read_text(encoding="utf-8"))
    stored = safetensors.numpy.load_file(folder / "model.safetensors")
    weights = {
        name: value.astype(np.float32) * stored.get(f"{name}.scale", EVEN)
        for name, value in stored.items()
        if not name.endswith(".scale")
    }
    blocks = tuple(
        Block(weights[f"{i}.taps"], dilation, *(weights[f"{i}.{part}"] for part in ("bias", "mixing", "mixing_bias")))
        for i, dilation in enumerate(config["dilations"])
    )
    return Aligner(
        tuple(config["classes"]),
        weights["first"],
        weights["first_bias"],
        blocks,
        weights["last"],
        weights["last_bias"],
        PRIOR * np.log(np.maximum(np.array(config["shares"], np.float32), np.float32(1e-4))),
    )


@cache
def builtin_aligner() -> Aligner:
    """The aligner of the package."""
    return read_aligner(builtin.folder("aligner"))
