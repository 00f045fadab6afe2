# SPDX-License-Identifier: Apache-2.0
"""UTMOSv2: how good speech sounds to people, as predicted by the system T05 of the VoiceMOS Challenge 2024.

Baba et al. 2024. Two views of a recording are fused: three seconds through wav2vec 2.0, and spectrograms of four window
lengths through networks for pictures. Both look at places drawn at random, so a score is the mean of several draws,
which are the same for each recording. The package of the authors asks for an old torch and NumPy; this is their network
without it.

Legend: B batch, N samples, T frames, D width, C channels, H height and W width of pictures.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from zipvoice.audio.files import Audio, resample
from zipvoice.evaluation.efficientnet import EfficientNet, State, below
from zipvoice.evaluation.fairseq_weights import hidden_states, wav2vec2
from zipvoice.evaluation.level import require_sound
from zipvoice.evaluation.provenance import JudgedBy, sha256_of

RATE = 16000
WEIGHTS = "mos/utmosv2/fold0_s42_best_model.pth"
DRAWS = 5
SECONDS_HEARD, SECONDS_SEEN = 3.0, 1.4
NUM_SEEN = 2
"""Pieces that spectrograms are made of."""
WINDOWS = (4096, 2048, 1024, 512)
FFT, HOP, BANDS, RANGE = 4096, 32, 512, 80.0
PICTURE = 512
MIXED = 0.4
"""Parameter of the beta distribution by which two places are mixed in one picture."""
HEADS = 8
CORPORA, CORPUS = 10, 1
"""The network knows ten corpora of opinions; it is asked for those of the second, as its authors do by default."""
Floats = NDArray[np.float32]


class Attention(nn.MultiheadAttention):
    """Every place looks at all places."""

    def __init__(self, state: State) -> None:
        super().__init__(len(state["out_proj.bias"]), HEADS, batch_first=True)
        self.load_state_dict(state)

    def mean(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, D)."""
        return self(x, x, x, need_weights=False)[0].mean(dim=1)


class UtmosV2Network(nn.Module):
    """What is heard (B, N) and seen (B, pieces * windows, 3, H, W) to an opinion (B,)."""

    def __init__(self, state: State) -> None:
        """The network of a published state, with its weights. Raises RuntimeError where they do not fit."""
        super().__init__()
        heard, seen = below(state, "ssl"), below(state, "spec_long")
        self.encoder = wav2vec2(below(heard, "encoder.model"))
        self.heard_by, self.seen_by = Attention(below(heard, "attn.0")), Attention(below(seen, "attn"))
        self.networks = nn.ModuleList(EfficientNet(below(seen, f"backbones.{n}")) for n in range(len(seen["weights"])))
        self.register_buffer("layers", heard["weights"])
        self.register_buffer("windows", seen["weights"])
        self.last = nn.Linear(state["fc.weight"].shape[1], 1)
        self.last.load_state_dict(below(state, "fc"))

    def forward(self, heard: Tensor, seen: Tensor) -> Tensor:
        nothing = heard.new_zeros(len(heard), CORPORA)  # each view was trained alone with it, and is fused without
        corpus = F.one_hot(torch.full((len(heard),), CORPUS, device=heard.device), CORPORA).to(heard)
        views = [self._hear(heard), nothing, self._see(seen), nothing, corpus]
        return self.last(torch.cat(views, dim=1))[:, 0]

    def _hear(self, wave: Tensor) -> Tensor:
        even = F.layer_norm(wave, wave.shape[1:], eps=1e-7)
        x = torch.einsum("l,lbtd->btd", self.layers, hidden_states(self.encoder, even))
        return torch.cat([self.heard_by.mean(x), x.amax(dim=1)], dim=1)

    def _see(self, seen: Tensor) -> Tensor:
        count = len(self.networks)
        features = [self.networks[n % count](seen[:, n]) for n in range(seen.shape[1])]
        windows: Any = self.windows
        pieces = [
            torch.einsum("n,nbchw->bchw", windows, torch.stack(features[start : start + count]))
            for start in range(0, len(features), count)
        ]
        x = torch.cat(pieces, dim=3)  # (B, C, H, W)
        x = torch.cat([x.mean(dim=3), x.amax(dim=3)], dim=1).transpose(1, 2)  # (B, H, 2 C)
        return torch.cat([self.seen_by.mean(x), x.amax(dim=1)], dim=1)


class UtmosV2:
    """Predicts opinion scores from 1 (bad) to 5 (excellent), one recording at a time."""

    def __init__(self, models: Path, device: str = "cpu") -> None:
        """Load the file of the hub's sarulab-speech/UTMOSv2. Raises errors that say what to do."""
        try:
            import librosa  # noqa: F401
        except ImportError as error:
            raise ImportError(f"UTMOSv2 needs librosa ({error}): pip install 'zipvoice-tts[evaluation]'") from None
        path = models / WEIGHTS
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: no such file; download it: hf download sarulab-speech/UTMOSv2 {path.name} "
                f"--local-dir {path.parent}"
            )
        state = torch.load(path, map_location="cpu", weights_only=True)
        self._device = torch.device(device)
        self._network = UtmosV2Network(state).to(device).eval()
        how = f"fold 0, mean of {DRAWS} draws with seed 0, transformers {version('transformers')}"
        self.by: tuple[JudgedBy, ...] = (JudgedBy("UTMOSv2", sha256_of(path), how),)

    def predict(self, audio: Audio) -> float:
        """The predicted opinion of a recording (channels, N). Raises ValueError for silence."""
        wave = resample(require_sound(audio).mono(), RATE).samples[0]
        random = np.random.RandomState(0)  # the generator whose numbers the authors' program draws
        with torch.inference_mode():
            drawn = [self._network(*self._views(wave, random)) for _ in range(DRAWS)]
        return float(torch.stack(drawn).double().mean())

    def _views(self, wave: Floats, random: np.random.RandomState) -> tuple[Tensor, Tensor]:
        heard = piece(wave, SECONDS_HEARD, random)
        seen = pictures(wave, random)
        return (torch.from_numpy(heard.copy())[None].to(self._device), seen[None].to(self._device))


def piece(wave: Floats, seconds: float, random: np.random.RandomState) -> Floats:
    """A place of a wave (N,) at random; a wave that is too short is repeated."""
    length = int(seconds * RATE)
    if len(wave) <= length:
        wave = np.tile(wave, length // len(wave) + 1)
    start = random.randint(0, len(wave) - length)
    return wave[start : start + length]


def pictures(wave: Floats, random: np.random.RandomState) -> Tensor:
    """Spectrograms of two places of a wave (N,), each mixed with another one: (pieces * windows, 3, H, W)."""
    found = []
    for _ in range(NUM_SEEN):
        first = piece(wave, SECONDS_SEEN, random)
        for window in WINDOWS:
            second = piece(wave, SECONDS_SEEN, random)
            share = random.beta(MIXED, MIXED)
            found.append(share * spectrogram(first, window) + (1 - share) * spectrogram(second, window))
    stacked = torch.from_numpy(np.stack(found).astype(np.float32))[:, None]
    sized = F.interpolate(stacked, (PICTURE, PICTURE), mode="bilinear", align_corners=False, antialias=True)
    return sized.expand(-1, 3, -1, -1)


def spectrogram(wave: Floats, window: int) -> Floats:
    """Mel bands in decibels below the loudest, 80 of them as 0 to 1: (bands, T)."""
    import librosa

    power = librosa.feature.melspectrogram(y=wave, sr=RATE, n_fft=FFT, hop_length=HOP, n_mels=BANDS, win_length=window)
    level: Floats = librosa.power_to_db(power, ref=np.max)
    return (level + RANGE) / RANGE
