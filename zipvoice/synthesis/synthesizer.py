# SPDX-License-Identifier: Apache-2.0
"""Text and a voice in, speech out: the one object behind the command line and the Python interface."""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np

from zipvoice import builtin
from zipvoice.audio.files import Audio, resample
from zipvoice.audio.loudness import levelled, normalize_rms
from zipvoice.audio.mel import NUM_MELS, SAMPLING_RATE, features
from zipvoice.audio.postfilter import postfiltered
from zipvoice.config.model import Variant
from zipvoice.config.synthesis import ResolvedOptions, SamplingConfig, SynthesisOptions, changed
from zipvoice.config.text import TokenizerConfig
from zipvoice.model.duration import text_length
from zipvoice.pretrained import read_directory
from zipvoice.runtime.base import AcousticModel, Floats, Vocoder
from zipvoice.runtime.select import default_vocoder, load_model, load_vocoder
from zipvoice.synthesis import dialogue
from zipvoice.synthesis.chunk_planner import (
    ChunkPlanner,
    EncodedPrompt,
    SpeechChunk,
    Text,
    batches,
    for_stream,
    punctuated,
    refused,
)
from zipvoice.synthesis.crossfade import BareJoiner, ChunkAudio, Crossfader, ExactJoiner, Joiner, cut_to, joined
from zipvoice.synthesis.prompt import Prompt, recording_complaints, trimmed
from zipvoice.synthesis.recordings import Recording, audible, cut_at_pause, name_of, opened
from zipvoice.synthesis.sampling import Tokens, Trajectory, advance, begin, initial_noise, sample
from zipvoice.synthesis.transcripts import given_transcript, heard_transcript, transcript_complaints
from zipvoice.synthesis.turns import Voices, spoken_turns
from zipvoice.synthesis.voices import Voice, find_prompt
from zipvoice.text.markup import pause_seconds
from zipvoice.text.token_table import TokenTable
from zipvoice.text.tokenizers import build_tokenizer
from zipvoice.text.words import tokens_of_words

SUITS, SUITS_DIALOGUE = 10.0, 20.0
"""Seconds of a recording that suit a model."""

logger = logging.getLogger(__name__)


class Synthesizer:
    """Speaks texts in the voice of prompts, with one acoustic model and one vocoder of any runtime.

    Nothing in it changes after it is made: several threads may use it at once.

    Args:
        model: the acoustic model.
        vocoder: from its features to sound.
        tokenizer: what the model was trained with.
        table: the tokens that the model knows.

    Example:
        >>> synthesizer = zipvoice.load("zipvoice")
        >>> voice = synthesizer.prompt("me.wav", "What me.wav says.")
        >>> synthesizer.synthesize("Hello from my own voice.", voice, speed=1.1).save("out.wav")
    """

    def __init__(self, model: AcousticModel, vocoder: Vocoder, tokenizer: TokenizerConfig, table: TokenTable) -> None:
        description = model.description
        self.model = model
        self.vocoder = vocoder
        self.tokenizer = build_tokenizer(tokenizer, table.tags)
        self.tokenizer_config = tokenizer
        self.table = table
        self.feature = description.feature
        self.is_dialogue = description.is_dialogue
        self.num_channels = description.num_channels
        length = partial(text_length, durations=description.vocabulary.durations)
        frames, words = description.frame_multiple, partial(tokens_of_words, self.tokenizer)
        self.planner = ChunkPlanner(self.tokenizer.tokens, self._ids, length, frames, self.is_dialogue, words)

    def __repr__(self) -> str:
        description, tokenizer = self.model.description, self.tokenizer_config
        language = f" {tokenizer.language}" if tokenizer.type == "espeak" else ""
        tokens = f"tokenizer {tokenizer.type}{language} with {description.vocabulary.size} tokens"
        return f"Synthesizer({description.variant}, {tokens}, {description.feature.sampling_rate} Hz)"

    def resolved(self, options: SynthesisOptions | None = None) -> ResolvedOptions:
        """The options, with what suits the model and its device where they say nothing."""
        model, on_accelerator = self.model.description, self.model.computed_by.on_accelerator
        return (options or SynthesisOptions()).resolved(model.variant, model.sampling, model.fast, on_accelerator)

    # ------------------------------------------------------------ voices

    def prompt(
        self,
        recording: Recording,
        text: str | None = None,
        *,
        target_rms: float = SynthesisOptions.target_rms,
        raw: bool = False,
        start: float | None = None,
        end: float | None = None,
        check: bool = True,
    ) -> Prompt:
        """Make a voice of a recording (a file or a sound of any rate and channel count) and its transcript.

        `start` and `end`, in seconds, choose a part of the recording, whose words the transcript then is. A recording
        that is too long is cut at a pause where a clause of the transcript ends. It is trimmed, and what was done and
        what makes it a poor voice is logged, unless `check` is false; with `raw` it is taken as it is. For a dialogue
        model it holds both voices, and the transcript their turns, `[S1] … [S2] …`. A transcript that is not given is
        heard, if a recogniser is installed; a warning tells it, so that it can be corrected.

        Raises ValueError if the recording is silent, broken or too short for the transcript, or the transcript is empty
        or has a token that the model does not know.
        """
        audio = opened(recording, start, end, raw)
        if self.num_channels == 2 and audio.num_channels != 2:
            raise ValueError(
                f"{name_of(recording)} has {audio.num_channels} channel(s); the stereo model takes a two-channel "
                "recording with one speaker in each channel, or one recording of each speaker"
            )
        audio = resample(audio if self.num_channels == 2 else audio.mono(), self.feature.sampling_rate)
        if text is None and self.is_dialogue:
            raise ValueError(f"say what {name_of(recording)} says, with its turns, [S1] … [S2] …: they cannot be heard")
        text = self._transcript(audio, text, name_of(recording))
        return self._prompt(audio, text, name_of(recording), target_rms, raw, check)

    def dialog_prompt(
        self,
        recordings: Sequence[Recording],
        texts: Sequence[str | None] = (None, None),
        *,
        target_rms: float = SynthesisOptions.target_rms,
        raw: bool = False,
    ) -> Prompt:
        """Make the voices of a dialogue of one recording and transcript of each speaker, the first being `[S1]`.

        The transcripts have no speaker tags; one that is not given is heard, as by `prompt`. For the stereo model a
        speaker's channel is silent while the other speaks, unless the recordings are two-channel ones already. Raises
        ValueError as `prompt` does.
        """
        if len(recordings) != 2 or len(texts) != 2:
            raise ValueError(
                "a dialogue has two speakers: two recordings and two transcripts, "
                f"not {len(recordings)} and {len(texts)}"
            )
        sounds = [resample(opened(one, raw=raw), self.feature.sampling_rate) for one in recordings]
        names = [name_of(recording) for recording in recordings]
        audio = dialogue.joined_recordings(sounds, self.num_channels)
        said = [self._transcript(*one) for one in zip(sounds, texts, names, strict=True)]
        return self._prompt(audio, dialogue.joined_transcripts(said), " with ".join(names), target_rms, raw)

    def dialog_of(self, first: Prompt, second: Prompt) -> Prompt:
        """Two voices of a speaker each as that of a dialogue, `[S1]` first. Raises ValueError for voices of two."""
        text = dialogue.joined_transcripts([first.text, second.text])
        features = dialogue.joined_features(first.features, second.features, self.num_channels)
        return Prompt(features, self._transcript_tokens(text, raw=False), text, 1.0, self.tokenizer_config)

    def shortened(self, audio: Audio, text: str, name: str) -> tuple[Audio, str]:
        """A recording that is too long and its transcript, cut at a pause, which is logged; others as they are."""
        if self.is_dialogue or not (cut := cut_at_pause(audio, text, SUITS)):
            return audio, text
        logger.warning("%s %s", name, cut.note)
        return cut.audio, cut.text

    def complain(self, audio: Audio, text: str, name: str) -> None:
        """Log what makes a recording with its transcript a poor voice."""
        longest = SUITS_DIALOGUE if self.is_dialogue else SUITS
        of_transcript = transcript_complaints(audio, text, self.tokenizer_config)
        for complaint in recording_complaints(audio, text, longest) + of_transcript:
            logger.warning("%s %s", name, complaint)

    def _transcript(self, audio: Audio, text: str | None, name: str) -> str:
        return heard_transcript(audio, name, self.tokenizer_config) if text is None else given_transcript(text, name)

    def _prompt(self, audio: Audio, text: str, name: str, target_rms: float, raw: bool, check: bool = True) -> Prompt:
        try:
            audio, text = (audio, text) if raw else self.shortened(audio, text, name)
            kept = audio if raw else trimmed(audible(audio))
            normal, gain = normalize_rms(kept, target_rms)
            mel = features(normal, self.num_channels)  # (T, C)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        tokens = self._transcript_tokens(text, raw)
        if len(mel) < len(tokens):
            raise ValueError(
                f"{name} is too short for its transcript: {kept.seconds:.2f} s hold {len(mel)} frames, fewer than the "
                f"transcript's {len(tokens)} tokens; check that the text is what the recording says"
            )
        if check and not raw:
            self.complain(audio, text, name)
        return Prompt(mel, tokens, text, gain, self.tokenizer_config)

    def _transcript_tokens(self, text: str, raw: bool) -> tuple[str, ...]:
        """Those tokens of a transcript that the model knows, in a dialogue with the turns that voices hang on."""
        try:
            tokens = [t for t in self.tokenizer.tokens(text if raw else punctuated(text)) if pause_seconds(t) is None]
            tokens = dialogue.prompt_turns(tokens) if self.is_dialogue else tokens
            self._ids(tokens)
        except ValueError as error:
            raise refused("the transcript of the voice", error) from None
        known = tuple(token for token in tokens if token in self.table)
        if not known:
            raise ValueError(f"the transcript of the voice has nothing that can be spoken: {text[:80]!r}")
        return known

    def _ids(self, tokens: Sequence[str]) -> list[int]:
        return self.table.ids(tokens, self.tokenizer_config.skip_unknown)

    def voice(self, prompt: Prompt) -> EncodedPrompt:
        """The prompt for this model. Raises ValueError if it was made for one with other channels or tokens."""
        channels = prompt.features.shape[1] // NUM_MELS
        if channels != self.num_channels:
            raise ValueError(
                f"the voice has {channels} channel(s) and the model {self.num_channels}; make it with this model"
            )
        if prompt.tokenizer != self.tokenizer_config:
            prompt = replace(prompt, tokens=self._transcript_tokens(prompt.text, raw=False))
        return EncodedPrompt(prompt, tuple(self._ids(prompt.tokens)))

    # ------------------------------------------------------------ speech

    def check_text(self, text: Text) -> None:
        """Raise ValueError for a text that `synthesize` would refuse in any voice."""
        self.planner.check(text)

    def synthesize(
        self, text: Text, voice: Voice = None, options: SynthesisOptions | None = None, **changes: Any
    ) -> Audio:
        """Speak `text` in a voice, by default that of the package; `changes` replace single options, as in `speed=1.2`.

        A voice is one that `prompt` made, a voice file, the name of a voice, or a recording (a file or an Audio) with
        what it says as `voice_text`; a voice that is made once is ready sooner. The result depends on the seed and on
        `name` (an utterance's id), not on what was spoken before or is spoken at the same time. Raises ValueError for a
        text that cannot be spoken.
        """
        return joined(self.parts(text, voice, options, **changes))

    def dialog(
        self, text: Text, voice: Voices = None, options: SynthesisOptions | None = None, **changes: Any
    ) -> Audio:
        """As `synthesize`, `[S1] … [S2] …` in a voice of two, or turn by turn (`spoken_turns`) by a model of one."""
        if not self.is_dialogue:
            return joined(spoken_turns(self, text, voice, options, **changes))
        return self.synthesize(text, cast(Voice, voice), options, **changes)

    def stream(
        self,
        text: Text,
        voice: Voice = None,
        options: SynthesisOptions | None = None,
        *,
        voice_text: str | None = None,
        name: str = "",
        **changes: Any,
    ) -> Iterator[Audio]:
        """Speak `text` and give the sound out chunk by chunk, the first of which is short.

        Joined, the parts are what `synthesize` makes of the same text with the same `first_chunk_seconds`.
        """
        options = for_stream(changed(options, changes))
        return self.parts(text, voice, options, voice_text=voice_text, name=name, one_by_one=True)

    def parts(
        self,
        text: Text,
        voice: Voice = None,
        options: SynthesisOptions | None = None,
        *,
        voice_text: str | None = None,
        name: str = "",
        one_by_one: bool = False,
        **changes: Any,
    ) -> Iterator[Audio]:
        """The speech in parts, in bounded memory: as many chunks at a time as `max_batch_seconds`, or `one_by_one`."""
        resolved = self.resolved(changed(options, changes))
        prompt = find_prompt(self, voice, voice_text, target_rms=resolved.target_rms, raw=resolved.raw)
        return self.spoken(self.plan(text, prompt, resolved, name), resolved, one_by_one)

    # ------------------------------------------------------------ its stages, in order

    def spoken(self, chunks: Iterable[SpeechChunk], options: ResolvedOptions, one_by_one: bool) -> Iterator[Audio]:
        """The speech of the chunks of one text in parts; see `parts`."""
        groups = ([chunk] for chunk in chunks) if one_by_one else batches(chunks, options.max_batch_seconds)
        return self.joined_pieces((piece for group in groups for piece in self.pieces(group, options)), options)

    def plan(self, text: Text, prompt: Prompt, options: ResolvedOptions, name: str = "") -> Iterator[SpeechChunk]:
        """The chunks of a text as they are needed; see `ChunkPlanner.plan`."""
        return self.planner.plan(text, self.voice(prompt), options, name)

    def begin(self, chunks: Sequence[SpeechChunk], sampling: Sequence[SamplingConfig]) -> list[Trajectory]:
        """Chunks that have something to say before their first step, each with its own sampling."""
        return begin(self.model, *self._given(chunks), sampling)

    def _given(self, chunks: Sequence[SpeechChunk]) -> tuple[Tokens, Tokens, list[Floats], list[int], list[Floats]]:
        """What sampling is told of chunks: their texts, transcripts, prompts, lengths and noise."""
        return (
            [chunk.ids for chunk in chunks],
            [chunk.voice.ids for chunk in chunks],
            [chunk.voice.prompt.features * np.float32(self.feature.scale) for chunk in chunks],
            [chunk.num_frames for chunk in chunks],
            [initial_noise(chunk) for chunk in chunks],
        )

    def advance(self, trajectories: Sequence[Trajectory]) -> None:
        """Take each one step further, in one evaluation of the network."""
        advance(self.model, trajectories)

    def mel(self, chunk: SpeechChunk, trajectory: Trajectory) -> Floats:
        """Log-mel features (T, C) of a chunk after its last step. Raises ValueError for NaN or infinity."""
        return self._features(trajectory.speech(self.model), chunk, trajectory.sampling)

    def _features(self, scaled: Floats, chunk: SpeechChunk, sampling: SamplingConfig) -> Floats:
        """What the model made of a chunk (T, C), as the vocoder takes it."""
        if not np.isfinite(scaled).all():
            raise ValueError("the model produced NaN or infinite features; its weights are damaged or of another model")
        mel, prompt = scaled / np.float32(self.feature.scale), chunk.voice.prompt.features
        return postfiltered(mel, prompt, sampling.match_spectrum, sampling.contrast, sampling.time_contrast)

    def joiner(self, options: SynthesisOptions) -> Joiner:
        """What puts the pieces of one utterance together."""
        rate = self.feature.sampling_rate
        if options.raw:
            return BareJoiner(rate)
        if options.duration is not None:
            return ExactJoiner(rate, round(options.duration * rate))
        return Crossfader(rate, options.remove_long_silence or options.speed < 1)

    def joined_pieces(self, pieces: Iterable[ChunkAudio], options: SynthesisOptions) -> Iterator[Audio]:
        """The pieces of one utterance put together."""
        return self.joiner(options).join(pieces)

    def pieces(self, chunks: Sequence[SpeechChunk], options: ResolvedOptions) -> list[ChunkAudio]:
        """The sounds of chunks, made at the same time."""
        spoken = [chunk for chunk in chunks if chunk.ids]
        mels = iter(self.mels(spoken, options))
        return [self.piece(chunk, next(mels) if chunk.ids else None) for chunk in chunks]

    def mels(self, chunks: Sequence[SpeechChunk], options: ResolvedOptions) -> list[Floats]:
        """Log-mel features (T, C) of chunks, sampled at the same time."""
        if not chunks:
            return []
        scaled = sample(self.model, *self._given(chunks), options.sampling)
        return [self._features(*made, options.sampling) for made in zip(scaled, chunks, strict=True)]

    def piece(self, chunk: SpeechChunk, mel: Floats | None) -> ChunkAudio:
        """The sound of a chunk's features (T, C), or its pause; each channel is vocoded by itself, at its length."""
        if mel is None:
            return ChunkAudio(np.zeros((self.num_channels, 0), np.float32), chunk.pause)
        channels = np.split(mel.T, self.num_channels)  # (F, T) each
        samples = np.concatenate([self.vocoder(channel[None]) for channel in channels])  # (channels, N)
        sound = levelled(Audio(samples, SAMPLING_RATE), chunk.loudness, chunk.voice.prompt.gain)
        piece = ChunkAudio(sound.samples, chunk.pause, chunk.words)
        return piece if chunk.num_samples is None else cut_to(piece, chunk.num_samples)


def load(
    source: str | os.PathLike[str] = builtin.MODELS[0],
    *,
    vocoder: str | os.PathLike[str] | None = None,
    runtime: str = "auto",
    device: str | None = None,
    dtype: str | None = None,
    weights: str | os.PathLike[str] | None = None,
    variant: Variant | None = None,
    tokenizer: TokenizerConfig | None = None,
    skip_unknown: bool = False,
    revision: str | None = None,
) -> Synthesizer:
    """A synthesizer from a model directory or the name of a model, by default the one that comes with the package.

    Args:
        source: a directory, or the name of a model of the package or of a released one, which is downloaded once.
        vocoder: a directory of Vocos weights, the name of the package's ("vocos_small"), or "griffin-lim", which needs
            no weights; by default the latter for models of the package, the graph of a directory that has one, and the
            published Vocos, downloaded once, for all others.
        runtime: what computes: "torch", "onnx" for ONNX Runtime on a CPU, "openvino", or "auto": PyTorch on a GPU, for
            half precision and where there is no graph, else "onnx". `Synthesizer.model.computed_by` tells which it is.
        device: cpu, cuda, cuda:1, mps; by default the best there is.
        dtype: arithmetic of the model: "float32", "bfloat16", "float16", "int8" or "auto"; by default the first, but
            for OpenVINO bfloat16 on a processor that is made for it.
        weights: see `zipvoice.pretrained.load_network`.
        variant: see `zipvoice.pretrained.load_network`.
        tokenizer: instead of the one that the model directory names.
        skip_unknown: leave out what the model cannot speak, with a warning, rather than refuse the text.
        revision: branch, tag or commit of a released model.

    Example:
        >>> zipvoice.load("zipvoice_distill", device="cuda", dtype="float16")
    """
    directory = read_directory(source, revision)
    model = load_model(directory, runtime, device=device, dtype=dtype, weights=weights, variant=variant)
    tokenizer = directory.tokenizer(model.description.variant, tokenizer, skip_unknown)
    vocoder = vocoder or default_vocoder(source, directory, runtime)
    return Synthesizer(model, load_vocoder(vocoder, runtime, device=device), tokenizer, directory.table)
