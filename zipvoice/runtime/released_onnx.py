# SPDX-License-Identifier: Apache-2.0
"""Graphs as the authors of ZipVoice publish them: text_encoder.onnx and fm_decoder.onnx, and int8 ones.

They take one utterance at a time and have no padding mask, so a batch is computed one by one. The text graph predicts
a length itself, with the speed applied to the prompt as well; here it is given numbers that make it the length that was
asked for. Shapes as in `zipvoice.runtime.base`.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zipvoice.audio.mel import NUM_MELS
from zipvoice.config.model import Variant
from zipvoice.model.arrays import Array
from zipvoice.model.condition import Condition, padding_mask
from zipvoice.pretrained import ModelDirectory
from zipvoice.runtime.base import ComputedBy, Floats, Integers, ModelDescription

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

TEXT_INPUTS = ("tokens", "prompt_tokens", "prompt_features_len", "speed")
VELOCITY_INPUTS = ("t", "x", "text_condition", "speech_condition", "guidance_scale")
VARIANTS: tuple[Variant, ...] = ("zipvoice", "zipvoice_distill")

logger = logging.getLogger(__name__)


def released_graphs(directory: Path) -> tuple[Path, Path] | None:
    """The files of text encoder and decoder, if there are both: those in float32, else those in 8 bits."""
    for end in (".onnx", "_int8.onnx"):
        found = directory / f"text_encoder{end}", directory / f"fm_decoder{end}"
        if all(path.is_file() for path in found):
            return found
    return None


def variant_of_release(directory: ModelDirectory, given: Variant | None) -> Variant:
    """The given variant, else that of model.json or the folder's name. Raises ValueError where none of them tells."""
    named = directory.path.name if directory.path.name in VARIANTS else None
    variant = given or directory.file.variant or next((name for name in VARIANTS if name == named), None)
    if variant not in VARIANTS:
        raise ValueError(
            f"{directory.path}: the published graphs are of zipvoice or zipvoice_distill, and these do not tell which; "
            'write "variant": "zipvoice" or "variant": "zipvoice_distill" into model.json'
        )
    return variant


class ReleasedOnnxModel:
    """The two graphs as an acoustic model; see `zipvoice.runtime.base.AcousticModel`.

    Args:
        text: session of text_encoder.onnx.
        velocity: session of fm_decoder.onnx, which has the rule of guidance inside, or is distilled.
        description: what they are.
        path: of their folder, for errors.
    """

    def __init__(
        self, text: "InferenceSession", velocity: "InferenceSession", description: ModelDescription, path: Path
    ) -> None:
        self.computed_by = ComputedBy("onnx", text.get_providers()[0])
        self.num_threads, self.evaluations_at_once = text.get_session_options().intra_op_num_threads, 1
        self.description = description
        self._text, self._velocity, self._path = text, velocity, path
        _check(text, path / "text_encoder.onnx", TEXT_INPUTS)
        _check(velocity, path / "fm_decoder.onnx", VELOCITY_INPUTS)
        logger.warning(
            "%s has the published graphs: utterances are computed one by one, not in batches; those that "
            "zipvoice export writes, and model.safetensors, are computed together",
            path,
        )

    def condition(self, tokens: Integers, num_tokens: Integers, num_frames: Integers, speech: Floats) -> Condition:
        text = np.zeros((*speech.shape[:2], NUM_MELS), np.float32)
        for row, ids, count, frames in zip(text, tokens, num_tokens, num_frames, strict=True):
            row[:frames] = self._spread(ids[:count], int(frames))
        return Condition(text, speech, padding_mask(num_frames, speech.shape[1]))

    def _spread(self, ids: Integers, frames: int) -> Floats:
        """Encoded text spread over frames. The graph makes ceil(P / S_prompt · S / speed) of them; here S = speed."""
        arguments = (ids[None, 1:], ids[None, :1], np.int64(frames), np.float32(len(ids)))
        (text,) = self._text.run(None, dict(zip(_names(self._text), map(np.asarray, arguments), strict=True)))
        if text.shape[1] != frames:
            raise ValueError(
                f"{self._path}: text_encoder.onnx made {text.shape[1]} frames where {frames} were asked for"
            )
        spread: Floats = text[0]
        return spread

    def velocity(
        self,
        t: float | Array,
        x: Array,
        condition: Condition,
        guidance_scale: float | Array,
        t_next: float | Array | None = None,
    ) -> Array:
        assert t_next is None, "no published graph takes the end of a step"
        velocity = np.zeros_like(x)
        times, scales = (_per_utterance(value, len(x)) for value in (t, guidance_scale))
        lengths = [x.shape[1]] * len(x) if condition.padding_mask is None else (~condition.padding_mask).sum(axis=1)
        for i, frames in enumerate(lengths):
            parts = [part[i : i + 1, :frames] for part in (x, condition.text, condition.speech)]
            arguments = (times[i], *parts, scales[i])
            feeds = dict(zip(_names(self._velocity), map(np.asarray, arguments), strict=True))
            velocity[i, :frames] = self._velocity.run(None, feeds)[0][0]
        return velocity

    def array(self, values: Floats) -> Array:
        return values

    def numpy(self, array: Array) -> Floats:
        floats: Floats = np.asarray(array, np.float32)
        return floats


def _per_utterance(value: float | Array, count: int) -> Floats:
    numbers: Floats = np.broadcast_to(np.asarray(value, np.float32).reshape(-1), count)
    return numbers


def _names(session: "InferenceSession") -> list[str]:
    return [argument.name for argument in session.get_inputs()]


def _check(session: "InferenceSession", path: Path, inputs: tuple[str, ...]) -> None:
    """Raise ValueError unless a graph takes what the published one takes."""
    if len(names := _names(session)) != len(inputs):
        raise ValueError(f"{path} takes {', '.join(names)}; the published graph takes {', '.join(inputs)}")
