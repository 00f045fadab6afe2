# SPDX-License-Identifier: Apache-2.0
"""Texts and voices for sherpa-onnx: the tokens and recordings that it is given, as synthesis here has them.

sherpa-onnx reads texts by a list of words. Given tokens, it speaks what this package would: in all languages, with
numbers, in dialogue. The networks are its own, so nothing here computes one.
"""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from zipvoice.audio.files import resample
from zipvoice.audio.griffin_lim import griffin_lim
from zipvoice.audio.mel import HOP, SAMPLING_RATE
from zipvoice.config.export import SHERPA_LEXICON, SHERPA_TEXT, sherpa_name
from zipvoice.config.synthesis import SynthesisOptions
from zipvoice.pretrained import read_directory
from zipvoice.runtime.base import AcousticModel, ComputedBy, ModelDescription
from zipvoice.synthesis.chunk_planner import Text, punctuated
from zipvoice.synthesis.prompt import Prompt, trimmed
from zipvoice.synthesis.recordings import Recording, audible, name_of, opened
from zipvoice.synthesis.synthesizer import Synthesizer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class SherpaVoice:
    """What sherpa-onnx is given of a voice."""

    samples: NDArray[np.float32]
    """The recording (N,) as synthesis here would hear it, for `reference_audio`: as many frames there as here."""
    sampling_rate: int
    """For `reference_sample_rate`."""
    text: str
    """The transcript, for `reference_text`."""
    prompt: Prompt
    """The same voice here."""


@dataclass(frozen=True)
class _Described:
    """A model of which nothing but the description is there."""

    description: ModelDescription
    computed_by: ComputedBy


class SherpaTexts:
    """Makes what sherpa-onnx is given, for a folder of `zipvoice export MODEL -o DIR --for sherpa`; see `sherpa`."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        if not (self.folder / SHERPA_TEXT).is_dir():
            raise FileNotFoundError(f"{folder} is no folder for sherpa-onnx; zipvoice export MODEL -o DIR --for sherpa")
        directory = read_directory(self.folder / SHERPA_TEXT)
        variant = directory.file.variant
        if variant is None:
            raise ValueError(f"{directory.path / 'model.json'} has no variant; export the model again")
        self.description = ModelDescription.of(directory.file, variant, directory.table.vocabulary)
        model = cast(AcousticModel, _Described(self.description, ComputedBy("sherpa-onnx", "cpu")))
        self._synthesizer = Synthesizer(model, griffin_lim, directory.tokenizer(variant), directory.table)

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments of `sherpa_onnx.OfflineTtsZipvoiceModelConfig`: the files and the numbers that suit them."""
        sampling = self.description.sampling
        names = {
            "encoder": "encoder.onnx",
            "decoder": "decoder.onnx",
            "vocoder": "vocoder.onnx",
            "tokens": "tokens.txt",
        }
        if (self.folder / SHERPA_LEXICON).is_file():
            names["lexicon"] = SHERPA_LEXICON
        return {option: str(self.folder / name) for option, name in names.items()} | {
            "feat_scale": self.description.feature.scale,
            "t_shift": sampling.t_shift,
            "target_rms": SynthesisOptions.target_rms,
            "guidance_scale": sampling.guidance_scale,
        }

    @property
    def num_steps(self) -> int:
        """The number of steps that the graphs were made for."""
        return self.description.sampling.num_steps

    def voice(self, recording: Recording, text: str) -> SherpaVoice:
        """A voice of a recording and its transcript, for a dialogue with its turns; see `Synthesizer.prompt`.

        It is mended, cut and trimmed as it is here, and ends where sherpa-onnx counts as many frames.
        """
        name, audio = name_of(recording), resample(opened(recording).mono(), SAMPLING_RATE)
        audio, text = self._synthesizer.shortened(audio, text, name)
        try:
            kept = trimmed(audible(audio))
            prompt = self._synthesizer.prompt(kept, punctuated(text), raw=True)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        self._synthesizer.complain(audio, text, name)
        return SherpaVoice(kept.samples[0, : prompt.num_frames * HOP - 1], SAMPLING_RATE, text, prompt)

    def tokens(self, text: Text, voice: SherpaVoice, speed: float = 1.0) -> list[list[str]]:
        """For `GenerationConfig.tokens`: those of the transcript, then those of each part of the text.

        sherpa-onnx joins the parts as they are: a warning tells of pauses that are lost. Raises ValueError for a text
        that cannot be spoken, and for more tokens than a speed leaves frames for.
        """
        options = self._synthesizer.resolved(SynthesisOptions(speed=speed))
        chunks = list(self._synthesizer.plan(text, voice.prompt, options))
        if pauses := sum(chunk.pause for chunk in chunks):
            logger.warning("sherpa-onnx makes no pauses: %.1f s of them are left out", pauses)
        return [self._named(ids) for ids in (chunks[0].voice.ids, *(chunk.ids for chunk in chunks)) if ids]

    def _named(self, ids: tuple[int, ...]) -> list[str]:
        return [sherpa_name(self._synthesizer.table.tokens[i]) for i in ids]


def sherpa(folder: str | os.PathLike[str]) -> SherpaTexts:
    """Texts and voices for a folder of `zipvoice export MODEL -o DIR --for sherpa`, from its sub-folder `text`.

    Raises FileNotFoundError or ValueError that names what is missing.

    Example:
        >>> texts = zipvoice.sherpa("DIR")
        >>> voice = texts.voice("me.wav", "What me.wav says.")
        >>> texts.tokens("Hello.", voice)  # the transcript, then the text
    """
    return SherpaTexts(folder)
