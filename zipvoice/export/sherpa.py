# SPDX-License-Identifier: Apache-2.0
"""A folder that sherpa-onnx speaks with: graphs in its form, tokens, and on request a lexicon.

sherpa-onnx feeds arguments by their position and knows neither durations nor guidance nor temperatures: they are part
of the graphs. Shapes: S tokens of the text, P of the transcript, T frames of prompt and speech, F mel bins.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zipvoice import builtin
from zipvoice.audio.mel import FLOOR, HOP, N_FFT, NUM_MELS, SAMPLING_RATE
from zipvoice.config.export import (
    SHERPA_LEXICON,
    SHERPA_SPACE,
    SHERPA_TEXT,
    ExportOptions,
    SherpaOptions,
    sherpa_name,
)
from zipvoice.config.synthesis import SamplingConfig
from zipvoice.export.folder import SHERPA_FILES, check_folder, clear
from zipvoice.export.network import TracedTextCondition, TracedVelocity
from zipvoice.export.onnx import (
    ExportedGraph,
    Source,
    Tensors,
    card,
    generator,
    require_onnx,
    write_graph,
)
from zipvoice.export.vocoder import TracedSpectrum
from zipvoice.files import write_text
from zipvoice.model.condition import Condition
from zipvoice.model.duration import (
    MIN_FRAMES,
    SHORT_SECONDS,
    lengthened,
    paced,
    predicted_frames,
    short_text_floor,
    text_length,
)
from zipvoice.model.guidance import classifier_free_guidance, guided_velocity
from zipvoice.model.solver import time_grid
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.pretrained import ModelDirectory, Pretrained, load_pretrained, read_directory, vocoder_folder
from zipvoice.runtime.select import GRIFFIN_LIM, default_vocoder
from zipvoice.vocoder.vocos import Vocos, load_vocos

FIRST_OF_CHINESE = "\u2e80"
"""Words from here on have no space between them."""


def export_sherpa(options: ExportOptions, sherpa: SherpaOptions) -> list[ExportedGraph]:
    """Write a folder for sherpa-onnx: encoder, decoder and vocoder, tokens.txt, a card, what `zipvoice.sherpa` reads.

    Raises ValueError where the model cannot be read or cannot speak there, a graph differs from it or another card
    would be replaced, ImportError with the install command where onnx is missing.

    Example:
        >>> export_sherpa(ExportOptions("zipvoice_small_distill", "exp/sherpa"), SherpaOptions())
    """
    require_onnx()
    output = Path(options.output_dir)
    written = [name for name in SHERPA_FILES if name != SHERPA_LEXICON or sherpa.lexicon is not None]
    check_folder(output, written, for_sherpa=True)
    directory = read_directory(options.model)
    model = load_pretrained(options.model, weights=options.weights)
    tokens = _token_lines(model)
    sampling = _plain_steps(model.file.sampling_of(model.variant), sherpa.num_steps)
    vocos = load_vocos(vocoder_folder(options.vocoder or _vocoder(options.model, directory)))
    lexicon = None if sherpa.lexicon is None else _lexicon(model, Path(sherpa.lexicon))

    sources = (
        encoder_source(model.model),
        decoder_source(model.model, sampling, model.file.feature.scale, options.int8),
        spectrum_source(vocos),
    )
    exported = [write_graph(source, output) for source in sources]
    write_text(output / "tokens.txt", tokens)
    if lexicon is not None:
        write_text(output / SHERPA_LEXICON, lexicon)
    clear(output, written, for_sherpa=True)
    file = replace(model.file, sampling=sampling)
    ModelDirectory(directory.path, file, model.table).write_description(output / SHERPA_TEXT, model.variant)
    write_text(output / "README.md", card(options.model, exported) + _settings(sampling, file.feature.scale))
    return exported


def _vocoder(model: str, directory: ModelDirectory) -> str | Path:
    suits = default_vocoder(model, directory, "torch")
    return builtin.VOCODER if suits == GRIFFIN_LIM else suits


def _plain_steps(suits: SamplingConfig, num_steps: int | None) -> SamplingConfig:
    """Steps as sherpa-onnx takes them, with nothing behind the last.

    Raises ValueError if those of the model differ and no number is asked for.
    """
    plain = SamplingConfig(num_steps or suits.num_steps, suits.guidance_scale, suits.t_shift, suits.temperature)
    if num_steps is None and plain != suits.unfiltered:
        raise ValueError(
            "model.json asks for a solver, a time grid or a guidance interval, which sherpa-onnx does not have; "
            f"--num-steps {suits.num_steps} exports the model for as many of Euler's steps"
        )
    return plain


def _settings(sampling: SamplingConfig, scale: float) -> str:
    exact = (
        "" if sampling.temperature == 1 else f" Its temperature of {sampling.temperature:g} is right for these alone."
    )
    return f"""
For sherpa-onnx 2: feat_scale {scale:g}, t_shift {sampling.t_shift:g}, guidance_scale {sampling.guidance_scale:g},
num_steps {sampling.num_steps}.{exact}
"""


# ---------------------------------------------------------------- text


def _token_lines(model: Pretrained) -> str:
    """Names and ids; marks and the space have two, one for sherpa-onnx itself, whose version 1 ends without a space.

    Raises ValueError for what it cannot express.
    """
    if model.variant == "zipvoice_dialog_stereo":
        raise ValueError(
            "sherpa-onnx makes sound of one channel, which cannot express zipvoice_dialog_stereo; zipvoice_dialog can"
        )
    lines = []
    for i, token in enumerate(model.table.tokens):
        name = sherpa_name(token)
        if name.split() != [name] or (name != token and name in model.table):
            raise ValueError(f"tokens.txt of sherpa-onnx cannot hold the token {token!r}, as {name!r}")
        lines += [f"{name}\t{i}\n"] + ([] if name == token else [f"{token}\t{i}\n"])
    return "".join(lines)


def _lexicon(model: Pretrained, path: Path) -> str:
    """Words and how they are read, those of letters with a space before them, which sherpa-onnx does not put there.

    Raises ValueError naming the line.
    """
    words = {line.strip().lower(): number for number, line in enumerate(_lines(path), start=1)}  # as it looks them up
    entries = []
    for word, number in words.items():
        try:
            entries += [_entry(model, word)] if word else []
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
    return "".join(entries)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8-sig").splitlines()


def _entry(model: Pretrained, word: str) -> str:
    if word.split() != [word]:
        raise ValueError(f"{word!r} is more than one word; give each a line")
    tokens = model.tokenizer.tokens(word)
    said = [model.table.tokens[i] for i in model.table.ids(tokens)]
    if not "".join(said).strip():
        raise ValueError(f"{word!r} has nothing that can be spoken")
    spaced = " " in model.table and word[0] < FIRST_OF_CHINESE
    return " ".join([word, *([SHERPA_SPACE] if spaced else []), *map(sherpa_name, said)]) + "\n"


# ---------------------------------------------------------------- graphs


class SherpaEncoder(nn.Module):
    """Ids of text (1, S) and transcript (1, P), prompt frames (1), speed (1) to the text of all frames (1, T, F).

    How long the text lasts is decided as by the planner of synthesis: at the pace of the prompt, whose own length has
    no speed, with the floor for short texts and rounded up to whole groups of frames.
    """

    lengths: Tensor

    def __init__(self, model: ZipVoice) -> None:
        super().__init__()
        self.condition = TracedTextCondition(model)
        self.pad_id = model.vocabulary.pad_id
        self.multiple = max(model.config.fm_decoder_downsampling_factor)
        durations = model.vocabulary.durations or [1.0] * model.vocabulary.size
        self.register_buffer("lengths", torch.tensor(durations, dtype=torch.float64))

    def forward(self, tokens: Tensor, prompt_tokens: Tensor, prompt_features_len: Tensor, speed: Tensor) -> Tensor:
        before = prompt_features_len.reshape(1)
        frames = before + self._new_frames(before, prompt_tokens, tokens, speed.reshape(1))
        ids = torch.cat([prompt_tokens, tokens, torch.full_like(tokens[:, :1], self.pad_id)], dim=1)
        num_tokens = torch.ones_like(ids).sum(dim=1) - 1
        text: Tensor = self.condition(ids, num_tokens, frames)
        return text

    def _new_frames(self, before: Tensor, prompt_tokens: Tensor, tokens: Tensor, speed: Tensor) -> Tensor:
        prompt_length, length = (self.lengths[ids].sum(dim=1).float() for ids in (prompt_tokens, tokens))
        pace = before.float(), prompt_length, length
        natural = paced(*pace, torch.ones_like(speed)).double() * HOP / SAMPLING_RATE
        slow = torch.where(natural >= SHORT_SECONDS, torch.ones_like(natural), natural / lengthened(natural))
        frames = paced(*pace, (speed.double() * slow).float()).long().clamp(min=MIN_FRAMES)
        return frames + -(before + frames) % self.multiple


def encoder_source(model: ZipVoice) -> Source:
    """The encoder; its graph takes the length of the text from the transcript's."""

    def example(frames: int) -> Tensors:
        random = generator(frames)
        tokens, prompt_tokens = (
            torch.randint(model.vocabulary.size, (1, max(1, frames // share)), generator=random) for share in (3, 4)
        )
        speed = torch.tensor([(0.7, 1.0, 1.3)[frames % 3]])
        return {
            "tokens": tokens,
            "prompt_tokens": prompt_tokens,
            "prompt_features_len": torch.tensor([frames]),
            "speed": speed,
        }

    def reference(tokens: Tensor, prompt_tokens: Tensor, prompt_frames: Tensor, speed: Tensor) -> Tensor:
        prompt, before, new = int(prompt_frames), prompt_tokens[0].tolist(), tokens[0].tolist()
        pace = prompt, text_length(before, model.vocabulary.durations), text_length(new, model.vocabulary.durations)
        natural = predicted_frames(*pace) * HOP / SAMPLING_RATE
        slow = natural / short_text_floor(natural)
        frames = prompt + max(MIN_FRAMES, predicted_frames(*pace, float(speed) * slow))
        frames += -frames % max(model.config.fm_decoder_downsampling_factor)
        return model.condition_text([[*before, *new]], [frames])

    axes = {"tokens": {1: "S"}, "prompt_tokens": {1: "P"}, "text_condition": {1: "T"}}
    return Source("encoder", SherpaEncoder(model), reference, example, ("text_condition",), axes)


class SherpaDecoder(nn.Module):
    """t (1), x, text and speech (1, T, F), guidance scale (1) to the velocity (1, T, F), under guidance.

    Noise of another temperature than 1 cannot be asked for. So the first velocity is that at temperature · x, and what
    leads from x there on the way of the first step: exact, for steps of that length. Speech is held above the floor of
    the features, below which sherpa-onnx puts silence.
    """

    def __init__(self, model: ZipVoice, sampling: SamplingConfig, feature_scale: float, int8: bool = False) -> None:
        super().__init__()
        self.velocity = TracedVelocity(model, int8=int8)
        self.is_distilled = model.is_distilled
        self.lowest = math.log(FLOOR) * feature_scale
        self.excess = 1 - sampling.temperature
        self.first_step = time_grid(sampling.num_steps, sampling.t_shift)[1]

    def forward(self, t: Tensor, x: Tensor, text: Tensor, speech: Tensor, guidance_scale: Tensor) -> Tensor:
        excess = x * (self.excess * (t <= 0).to(x.dtype)[:, None, None])
        condition = Condition(text, speech.clamp(min=self.lowest))
        if self.is_distilled:
            velocity = self._at(t, x - excess, condition, guidance_scale)
        else:
            guided = classifier_free_guidance(self._at, guidance_scale[:, None, None])
            velocity = guided(t[:, None, None], x - excess, condition)
        return velocity - excess / self.first_step

    def _at(self, t: Any, x: Tensor, condition: Condition, guidance_scale: Tensor | None = None) -> Tensor:
        nothing_padded = torch.zeros_like(x[:, :, 0], dtype=torch.bool)
        velocity: Tensor = self.velocity(
            t.reshape(-1), x, condition.text, condition.speech, nothing_padded, guidance_scale
        )
        return velocity


def decoder_source(model: ZipVoice, sampling: SamplingConfig, feature_scale: float, int8: bool = False) -> Source:
    """The decoder; it is compared behind its first step, where temperature has no part."""
    traced = SherpaDecoder(model, sampling, feature_scale, int8)

    def example(frames: int) -> Tensors:
        random = generator(frames)
        x, text, speech = torch.randn(3, 1, frames, model.config.feat_dim, generator=random)
        return {
            "t": torch.rand(1, generator=random),
            "x": x,
            "text_condition": 0.3 * text,
            "speech_condition": 0.3 * speech,
            "guidance_scale": torch.tensor([1.5]),
        }

    def reference(t: Tensor, x: Tensor, text: Tensor, speech: Tensor, scale: Tensor) -> Tensor:
        condition = Condition(text, speech.clamp(min=traced.lowest))
        velocity: Tensor = guided_velocity(model, float(scale))(float(t), x, condition)
        return velocity

    names = ("x", "text_condition", "speech_condition", "v")
    metadata = {"version": 1, "feat_dim": model.config.feat_dim, "num_mels": NUM_MELS, **_TRANSFORM}
    axes = {name: {1: "T"} for name in names}
    return Source("decoder", traced, reference, example, ("v",), axes, int8, _strings(metadata))


def spectrum_source(vocos: Vocos) -> Source:
    """Vocos without its inverse transform, which sherpa-onnx does."""

    def example(frames: int) -> Tensors:
        return {"mels": torch.randn(1, NUM_MELS, frames, generator=generator(frames)) - 3}

    def reference(mels: Tensor) -> tuple[Tensor, ...]:
        magnitude, *phase = traced(mels)
        return magnitude, *phase

    traced = TracedSpectrum(vocos)
    outputs = ("mag", "x", "y")
    axes = {name: {2: "T"} for name in ("mels", *outputs)}
    told = {"model_type": "vocos", "center": 1, "normalized": 0, "window_type": "hann", "pad_mode": "reflect"}
    metadata = {"version": 1, "win_length": N_FFT, **told, **_TRANSFORM}
    return Source("vocoder", traced, reference, example, outputs, axes, metadata=_strings(metadata))


_TRANSFORM = {"sample_rate": SAMPLING_RATE, "n_fft": N_FFT, "hop_length": HOP, "window_length": N_FFT}


def _strings(values: dict[str, int | str] | dict[str, int]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}
