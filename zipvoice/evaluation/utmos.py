# SPDX-License-Identifier: Apache-2.0
"""UTMOS: how good speech sounds to people, as predicted by the "strong" learner of Saeki et al. 2022, without fairseq.

Legend: N samples, T frames, D width.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zipvoice.audio.files import Audio, resample
from zipvoice.evaluation.fairseq_weights import read_checkpoint, wav2vec2
from zipvoice.evaluation.level import require_sound
from zipvoice.evaluation.provenance import JudgedBy, sha256_of

RATE = 16000
WEIGHTS = "mos/utmos22_strong_step7459_v1.pt"


class UtmosNetwork(nn.Module):
    """Wave (1, N) to an opinion: wav2vec 2.0, learned vectors of domain and judge, LSTM, two linear maps, mean."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        """The network of a published state, with its weights. Raises RuntimeError where they do not fit."""
        super().__init__()
        parts = {root: _below(state, root) for root in ("wav2vec2", "blstm", "projection")}
        self.wav2vec2 = wav2vec2(parts["wav2vec2"])
        gates, into = parts["blstm"]["weight_ih_l0"].shape
        self.blstm = nn.LSTM(into, gates // 4, batch_first=True, bidirectional=True)
        self.blstm.load_state_dict(parts["blstm"])
        (first, bias), (last, last_bias) = _linear_maps(parts["projection"])
        self.projection = nn.Sequential(nn.Linear(*first.shape[::-1]), nn.ReLU(), nn.Linear(*last.shape[::-1]))
        self.projection.load_state_dict({"0.weight": first, "0.bias": bias, "2.weight": last, "2.bias": last_bias})
        self.register_buffer("embedded", torch.cat([state["domain_emb"].flatten(), state["judge_emb"].flatten()]))

    def forward(self, wave: Tensor) -> Tensor:
        features = self.wav2vec2(wave).last_hidden_state  # (1, T, D)
        embedded: Any = self.embedded
        learned = embedded.expand(*features.shape[:2], -1)
        frames = self.projection(self.blstm(torch.cat([features, learned], dim=2))[0])  # (1, T, 1)
        return 2 * frames.mean(dim=(1, 2)) + 3


class Utmos:
    """Predicts opinion scores from 1 (bad) to 5 (excellent), one recording at a time: padding would move them."""

    def __init__(self, models: Path, device: str = "cpu") -> None:
        """Load the file of a copy of k2-fsa/TTS_eval_models. Raises errors that say what to do."""
        path = models / WEIGHTS
        content = read_checkpoint(path)
        self._device = torch.device(device)
        self._network = UtmosNetwork(dict(content)).to(device).eval()
        how = f"batch 1, transformers {version('transformers')}"
        self.by: tuple[JudgedBy, ...] = (JudgedBy("UTMOS22 strong", sha256_of(path), how),)

    def predict(self, audio: Audio) -> float:
        """The predicted opinion of a recording (channels, N). Raises ValueError for silence."""
        heard = resample(require_sound(audio).mono(), RATE).samples
        with torch.inference_mode():
            return float(self._network(torch.from_numpy(heard.copy()).to(self._device)))


def _below(state: dict[str, Tensor], root: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{root}."): value for key, value in state.items() if key.startswith(f"{root}.")}


def _linear_maps(state: dict[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Weight and bias of the linear maps, in their order, whatever lies between them."""
    names = sorted(
        (name for name in state if name.endswith("weight")),
        key=lambda name: [int(n) for n in name.split(".") if n.isdigit()],
    )
    return [(state[name], state[f"{name.removesuffix('weight')}bias"]) for name in names]
