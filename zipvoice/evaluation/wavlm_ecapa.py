# SPDX-License-Identifier: Apache-2.0
"""SIM-o: how alike two voices are by WavLM large and ECAPA-TDNN (Desplanques et al. 2020), as papers print it.

The network is that of Microsoft's speaker verification, and loads its published file wavlm_large_finetune.pth.

Legend: B batch, N samples, T frames, C channels, L hidden states.
"""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from zipvoice.audio.files import Audio, resample
from zipvoice.evaluation.fairseq_weights import hidden_states, read_checkpoint, wavlm
from zipvoice.evaluation.level import require_sound
from zipvoice.evaluation.provenance import JudgedBy, sha256_of

RATE = 16000
MAX_SECONDS = 120
HEAD = "speaker_similarity/wavlm_large_finetune.pth"
BACKBONE = "speaker_similarity/wavlm_large/wavlm_large.pt"
FINETUNED = "feature_extract.model."


class ConvReluNorm(nn.Module):
    """Convolution, ReLU, batch norm."""

    def __init__(self, weight: Tensor, padding: int = 0, dilation: int = 1) -> None:
        super().__init__()
        out, into, kernel = weight.shape
        self.conv = nn.Conv1d(into, out, kernel, padding=padding, dilation=dilation)
        self.bn = nn.BatchNorm1d(out)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(F.relu(self.conv(x)))


class Res2(nn.Module):
    """Splits of the channels, each convolved with the result of the one before; the last passes through."""

    def __init__(self, weight: Tensor, num_convs: int, dilation: int) -> None:
        super().__init__()
        width, _, kernel = weight.shape
        convs = [nn.Conv1d(width, width, kernel, padding=dilation, dilation=dilation) for _ in range(num_convs)]
        self.convs = nn.ModuleList(convs)
        self.bns = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(num_convs))

    def forward(self, x: Tensor) -> Tensor:
        *splits, last = x.chunk(len(self.convs) + 1, dim=1)
        out: list[Tensor] = []
        for split, conv, bn in zip(splits, self.convs, self.bns, strict=True):
            out.append(bn(F.relu(conv(split + out[-1] if out else split))))
        return torch.cat([*out, last], dim=1)


class SqueezeExcite(nn.Module):
    """Scales channels by what their means over time say."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        bottleneck, width = weight.shape
        self.linear1 = nn.Linear(width, bottleneck)
        self.linear2 = nn.Linear(bottleneck, width)

    def forward(self, x: Tensor) -> Tensor:
        gates = self.linear2(F.relu(self.linear1(x.mean(dim=2)))).sigmoid()
        return x * gates.unsqueeze(2)


class SeRes2Block(nn.Module):
    """Point convolution, Res2, point convolution, squeeze and excitation; the input is added."""

    def __init__(self, state: Mapping[str, Tensor], name: str, dilation: int) -> None:
        super().__init__()
        num_convs = sum(key.startswith(f"{name}.Res2Conv1dReluBn.convs.") for key in state) // 2
        self.Conv1dReluBn1 = ConvReluNorm(state[f"{name}.Conv1dReluBn1.conv.weight"])
        self.Res2Conv1dReluBn = Res2(state[f"{name}.Res2Conv1dReluBn.convs.0.weight"], num_convs, dilation)
        self.Conv1dReluBn2 = ConvReluNorm(state[f"{name}.Conv1dReluBn2.conv.weight"])
        self.SE_Connect = SqueezeExcite(state[f"{name}.SE_Connect.linear1.weight"])

    def forward(self, x: Tensor) -> Tensor:
        return x + self.SE_Connect(self.Conv1dReluBn2(self.Res2Conv1dReluBn(self.Conv1dReluBn1(x))))


class AttentivePooling(nn.Module):
    """Mean and standard deviation over time, weighted by attention of each channel: (B, C, T) -> (B, 2 C)."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        bottleneck, width, _ = weight.shape
        self.linear1 = nn.Conv1d(width, bottleneck, 1)
        self.linear2 = nn.Conv1d(bottleneck, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        alpha = self.linear2(self.linear1(x).tanh()).softmax(dim=2)
        mean = (alpha * x).sum(dim=2)
        variance = (alpha * x**2).sum(dim=2) - mean**2
        return torch.cat([mean, variance.clamp(min=1e-9).sqrt()], dim=1)


class EcapaTdnn(nn.Module):
    """Hidden states of WavLM (L, B, T, C) to a voice (B, 256). Names and sizes are those of the weights."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        weight = state["layer1.conv.weight"]
        self.feature_weight = nn.Parameter(torch.zeros_like(state["feature_weight"]))
        self.layer1 = ConvReluNorm(weight, padding=weight.shape[2] // 2)
        self.layer2, self.layer3, self.layer4 = (SeRes2Block(state, f"layer{n}", dilation=n) for n in (2, 3, 4))
        out, into, _ = state["conv.weight"].shape
        self.conv = nn.Conv1d(into, out, 1)
        self.pooling = AttentivePooling(state["pooling.linear1.weight"])
        self.bn = nn.BatchNorm1d(2 * out)
        self.linear = nn.Linear(2 * out, state["linear.weight"].shape[0])

    def forward(self, hidden: Tensor) -> Tensor:
        weights = self.feature_weight.softmax(dim=0)
        x = torch.einsum("l,lbtc->bct", weights, hidden) + 1e-6
        x = self.layer1(F.instance_norm(x))
        blocks = [x := layer(x) for layer in (self.layer2, self.layer3, self.layer4)]
        x = F.relu(self.conv(torch.cat(blocks, dim=1)))
        return self.linear(self.bn(self.pooling(x)))


class WavlmEcapa:
    """Turns speech into a vector of length one; the inner product of two vectors is SIM-o."""

    def __init__(self, models: Path, device: str = "cpu") -> None:
        """Load the files of a copy of k2-fsa/TTS_eval_models.

        Raises FileNotFoundError and ImportError that say what to do, and RuntimeError for weights of another network.
        """
        head = dict(read_checkpoint(models / HEAD)["model"])
        backbone = dict(read_checkpoint(models / BACKBONE)["model"])
        tuned = {key.removeprefix(FINETUNED): value for key, value in head.items() if key.startswith(FINETUNED)}
        self._device = torch.device(device)
        self._wavlm = wavlm(backbone | {key: value for key, value in tuned.items() if key in backbone}).to(device)
        self._ecapa = ecapa(head).to(device)
        how = f"with WavLM large {sha256_of(models / BACKBONE)[:16]}, transformers {version('transformers')}"
        self.by: tuple[JudgedBy, ...] = (JudgedBy("WavLM-ECAPA", sha256_of(models / HEAD), how),)

    def embed(self, audio: Audio) -> NDArray[np.float32]:
        """The voice of the first 120 s of a recording (channels, N), a vector (256,). Raises ValueError for silence."""
        heard = resample(require_sound(audio).mono(), RATE).samples[:, : MAX_SECONDS * RATE]
        wave = torch.from_numpy(heard.copy()).to(self._device)
        with torch.inference_mode():
            hidden = hidden_states(self._wavlm, F.layer_norm(wave, wave.shape[1:]))
            voice = F.normalize(self._ecapa(hidden), dim=1)[0]
        vector: NDArray[np.float32] = voice.float().cpu().numpy()
        return vector


def ecapa(state: Mapping[str, Any]) -> EcapaTdnn:
    """The network above WavLM, with its weights of a published state. Raises RuntimeError for another one."""
    network = EcapaTdnn(state)
    known = network.state_dict()
    network.load_state_dict({name: weight for name, weight in state.items() if name in known})
    return network.eval()
