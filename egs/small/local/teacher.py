# SPDX-License-Identifier: Apache-2.0
"""A free synthesiser that says tokens of espeak, each for as long as it is told: hibari-tts, voice heart.

Its network takes phonemes and predicts how many frames of 25 ms each of them lasts. Here the network is cut there in
two: the first half gives the durations it would choose, the second speaks with any. Speech made so lies beside its
tokens to the frame, which no alignment of recordings does.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FRAMES_PER_SECOND = 40
LEAD_FRAMES, TAIL_FRAMES = 3, 2
"""Of silence at the ends; they are cut off."""
EARLY_SECONDS = 0.063
"""Its sounds come before the frames that stand for them, by this much in the mean (align_phones.py, 1 047 anchors)."""
DURATIONS = "/Cast_32_output_0"
"""The tensor of the durations in its graph."""

SPELLINGS = {
    "eɪ": "A", "e": "A", "oʊ": "O", "aɪ": "I", "tʃ": "ʧ", "aʊ": "W", "dʒ": "ʤ", "ɔɪ": "Y", "ɾ": "T", "ɚ": "əɹ",
    "ɜːɹ": "ɜɹ", "ɜː": "ɜɹ", "ɜ": "ɜɹ", "oːɹ": "ɔɹ", "o": "ɔ", "ɐ": "ə", "a": "æ", "ᵻ": "ə", "əl": "ᵊl", "n̩": "ᵊn",
    "ʔn̩": "tn", "ʔ": "t", "r": "ɹ", "x": "k", "ː": "", "ʲ": "", "̩": "",
}  # fmt: skip
"""Tokens of espeak that it writes otherwise."""
LONGEST = max(map(len, SPELLINGS))

Timed = tuple[str, float]
"""A symbol, and its seconds."""


@dataclass(frozen=True)
class Teacher:
    """The synthesiser, in two halves."""

    vocabulary: dict[str, int]
    planner: Any
    """From symbols to durations."""
    speaker: Any
    """From symbols and durations to sound."""

    def natural(self, tokens: Sequence[str], speed: float = 1.0) -> np.ndarray:
        """Samples at 24 kHz (N,) of the tokens with the durations that the network chooses, in frames of its own."""
        symbols = [symbol for symbol, _ in self.symbols(tokens, np.ones(len(tokens)))]
        ids = self._ids(symbols)
        (frames,) = self.planner.run(None, {"ids": ids, "speed": np.array([speed], np.float32)})
        return self._sound(ids, frames.reshape(-1))

    def forced(self, tokens: Sequence[str], seconds: np.ndarray) -> np.ndarray:
        """Samples at 24 kHz (N,) of the tokens, each lasting as told; seconds (S,)."""
        symbols = self.symbols(tokens, seconds)
        frames = whole_frames([duration for _, duration in symbols])
        ids = self._ids([symbol for symbol, _ in symbols])
        sound = self._sound(ids, np.array([LEAD_FRAMES, *frames, TAIL_FRAMES], np.int64))
        start = round((LEAD_FRAMES / FRAMES_PER_SECOND - EARLY_SECONDS) * 24_000)
        return sound[start : start + sum(frames) * 24_000 // FRAMES_PER_SECOND]

    def symbols(self, tokens: Sequence[str], seconds: Sequence[float] | np.ndarray) -> list[Timed]:
        """Its symbols for tokens, with their times; a token without a symbol lends its time to the one before."""
        found: list[Timed] = []
        owed = 0.0
        for spelt, duration in spelt_symbols(tokens, seconds):
            known = [symbol for symbol in spelt if symbol in self.vocabulary]
            if known:
                found += [(symbol, (duration + owed) / len(known)) for symbol in known]
                owed = 0.0
            elif found:
                found[-1] = (found[-1][0], found[-1][1] + duration)
            else:
                owed += duration
        return found

    def _ids(self, symbols: Sequence[str]) -> np.ndarray:
        return np.array([[0, *(self.vocabulary[symbol] for symbol in symbols), 0]], np.int64)

    def _sound(self, ids: np.ndarray, frames: np.ndarray) -> np.ndarray:
        from hibari import dsp

        inputs = {"ids": ids, "speed": np.ones(1, np.float32), "durs": frames.astype(np.int64)}
        parts = self.speaker.run(None, inputs)
        return np.asarray(dsp.synth(*(part[0] for part in parts), np.random.default_rng(0)))


def load_teacher() -> Teacher:
    """The synthesiser, on one core."""
    try:
        import onnx
        import onnxruntime
        from hibari.tts import ASSETS
    except ImportError:
        raise ImportError("the teacher needs hibari-tts and onnx: pip install hibari-tts==0.2.1 onnx") from None
    graph = onnx.load(str(Path(ASSETS) / "hibari.onnx"))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    planner, speaker = (
        onnxruntime.InferenceSession(half.SerializeToString(), options, providers=["CPUExecutionProvider"])
        for half in (planning(graph), speaking(graph))
    )
    vocabulary = json.loads((Path(ASSETS) / "vocab.json").read_text(encoding="utf-8"))
    return Teacher(vocabulary, planner, speaker)


def planning(graph: Any) -> Any:
    """The network up to the durations."""
    import onnx

    made = onnx.ModelProto()
    made.CopyFrom(graph)
    del made.graph.output[:]
    made.graph.output.append(onnx.helper.make_tensor_value_info(DURATIONS, onnx.TensorProto.INT64, None))
    return made


def speaking(graph: Any) -> Any:
    """The network with the durations as an input; the speed no longer matters."""
    import onnx

    made = onnx.ModelProto()
    made.CopyFrom(graph)
    for node in made.graph.node:
        node.input[:] = ["durs" if name == DURATIONS else name for name in node.input]
    made.graph.input.append(onnx.helper.make_tensor_value_info("durs", onnx.TensorProto.INT64, None))
    return made


def spelt_symbols(tokens: Sequence[str], seconds: Sequence[float] | np.ndarray) -> Iterator[tuple[str, float]]:
    """Pieces of the tokens as it writes them, longest match first, with their times."""
    place = 0
    while place < len(tokens):
        for size in range(LONGEST, 0, -1):
            piece = "".join(tokens[place : place + size])
            if size == 1 or (piece in SPELLINGS and len(tokens[place : place + size]) == size):
                break
        yield SPELLINGS.get(piece, piece), float(np.sum(seconds[place : place + size]))
        place += size


def whole_frames(seconds: Sequence[float]) -> list[int]:
    """Durations in frames: differences of the rounded ends, at least one frame each."""
    frames, end = [], 0
    for exact in np.cumsum(seconds) * FRAMES_PER_SECOND:
        frames.append(max(1, round(exact) - end))
        end += frames[-1]
    return frames
