# SPDX-License-Identifier: Apache-2.0
"""Lists of utterances: checked as a whole, spoken in batches, written one file each.

A file that exists is done. Files appear whole or not at all, so a list that was interrupted is started again to finish.
"""

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import soundfile

from zipvoice.config.synthesis import ResolvedOptions, SynthesisOptions
from zipvoice.config.text import TokenizerConfig
from zipvoice.synthesis.chunk_planner import EncodedPrompt, SpeechChunk
from zipvoice.synthesis.crossfade import ChunkAudio
from zipvoice.synthesis.output import write_parts
from zipvoice.synthesis.prompt import Prompt
from zipvoice.synthesis.synthesizer import Synthesizer, batches
from zipvoice.utterances import Utterance, each_line, raise_bad_lines


@dataclass(frozen=True)
class Outcome:
    """What became of an utterance."""

    id: str
    path: Path
    seconds: float = 0.0
    error: str | None = None
    """Why there is no file."""


# ---------------------------------------------------------------- checking


def check_list(
    path: str | os.PathLike[str], utterances: dict[int, Utterance], synthesizer: Synthesizer, options: SynthesisOptions
) -> None:
    """Raise ValueError with every line that this model cannot speak, before any work is done.

    Looks at texts, transcripts, languages, options and the headers of recordings.
    """
    check_recording = cache(_check_recording)  # many lines share one

    def check(utterance: Utterance) -> None:
        _check_language(utterance.language_id, synthesizer.tokenizer_config)
        utterance.options(options)
        for recording in _several(utterance.ref_audio):
            check_recording(recording)
        synthesizer.check_text(utterance.text)

    _, errors = each_line(utterances.items(), check)
    raise_bad_lines(path, errors)


def _check_recording(path: str) -> None:
    """Raise unless the header of a file is that of a recording."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no recording {path}")
    try:
        soundfile.info(path)
    except soundfile.LibsndfileError:
        from zipvoice.audio.files import read

        read(path)  # says in words what is wrong with it


def _check_language(language: str | None, tokenizer: TokenizerConfig) -> None:
    known = {"espeak": (tokenizer.language,), "emilia": ("en", "zh"), "dialog": ("en", "zh"), "libritts": ("en",)}
    spoken = known.get(tokenizer.type, ())
    if language and spoken and language.lower().split("-")[0] not in {name.split("-")[0] for name in spoken}:
        raise ValueError(f"the language {language!r} is not one that the model speaks: {', '.join(spoken)}")


def _several(one_or_more: str | tuple[str, ...]) -> tuple[str, ...]:
    return (one_or_more,) if isinstance(one_or_more, str) else one_or_more


# ---------------------------------------------------------------- speaking


def share(utterances: Iterable[Utterance], rank: int = 0, world_size: int = 1) -> list[Utterance]:
    """What one of several processes speaks, longest texts first, so that batches hold what is alike in length."""
    ordered = sorted(utterances, key=lambda utterance: (-len(utterance.text), utterance.id))
    return ordered[rank::world_size]


def speak_list(
    synthesizer: Synthesizer,
    utterances: Sequence[Utterance],
    output_dir: str | os.PathLike[str],
    options: SynthesisOptions | None = None,
) -> Iterator[Outcome]:
    """Speak those utterances that have no file yet, in batches, and tell what became of each as it is written.

    Raises OSError when files cannot be written; what is wrong with one utterance is its outcome.
    """
    work = _Work(synthesizer, Path(output_dir), synthesizer.resolved(options))
    todo = [utterance for utterance in utterances if not work.path(utterance.id).exists()]
    yield from work.outcomes(todo)


@dataclass(frozen=True)
class _Work:
    synthesizer: Synthesizer
    output_dir: Path
    options: ResolvedOptions

    def path(self, name: str) -> Path:
        return self.output_dir / f"{name}.wav"

    def outcomes(self, utterances: Sequence[Utterance]) -> Iterator[Outcome]:
        by_id = {utterance.id: utterance for utterance in utterances}
        failed: list[Outcome] = []
        chunks = self._chunks(utterances, failed)
        groups = ([chunk] for chunk in chunks) if self.options.raw else batches(chunks, self.options.max_batch_seconds)
        spoken = (pair for group in groups for pair in self._spoken(group))
        for name, pairs in itertools.groupby(spoken, key=lambda pair: pair[0].seed[1]):
            yield from self._flushed(failed)
            yield self._written(by_id[name], [piece for _, piece in pairs])
        yield from self._flushed(failed)

    def _flushed(self, failed: list[Outcome]) -> Iterator[Outcome]:
        while failed:
            yield failed.pop(0)

    def _chunks(self, utterances: Iterable[Utterance], failed: list[Outcome]) -> Iterator[SpeechChunk]:
        """The chunks of all utterances; those that cannot be planned are put among the failed ones."""
        voice = lru_cache(maxsize=64)(self._voice)
        for utterance in utterances:
            try:
                options = utterance.options(self.options)
                given = voice(utterance.ref_audio, utterance.ref_text)
                plan = list(self.synthesizer.planner.plan(utterance.text, given, options, utterance.id))
            except (ValueError, OSError) as error:
                failed.append(Outcome(utterance.id, self.path(utterance.id), error=str(error)))
            else:
                yield from plan

    def _voice(self, audio: str | tuple[str, ...], text: str | tuple[str, ...]) -> EncodedPrompt:
        return self.synthesizer.voice(make_prompt(self.synthesizer, audio, text, self.options))

    def _spoken(self, group: Sequence[SpeechChunk]) -> Iterator[tuple[SpeechChunk, ChunkAudio | Exception]]:
        """The sound of each chunk. When a batch fails its chunks are tried alone, to find the one at fault."""
        try:
            yield from zip(group, self.synthesizer.pieces(group, self.options), strict=True)
        except (ValueError, RuntimeError) as error:
            if len(group) == 1:
                yield group[0], error
                return
            for chunk in group:
                yield from self._spoken([chunk])

    def _written(self, utterance: Utterance, pieces: Sequence[ChunkAudio | Exception]) -> Outcome:
        path = self.path(utterance.id)
        for piece in pieces:
            if isinstance(piece, Exception):
                return Outcome(utterance.id, path, error=(str(piece).strip() or type(piece).__name__).splitlines()[0])
        sounds = [piece for piece in pieces if isinstance(piece, ChunkAudio)]
        parts = self.synthesizer.joined_pieces(sounds, utterance.options(self.options))
        return Outcome(utterance.id, path, write_parts(path, parts))


def make_prompt(
    synthesizer: Synthesizer, audio: str | tuple[str, ...], text: str | tuple[str, ...], options: SynthesisOptions
) -> Prompt:
    """A voice of one recording, or the voices of a dialogue of two."""
    if isinstance(audio, str) and isinstance(text, str):
        return synthesizer.prompt(audio, text, target_rms=options.target_rms, raw=options.raw)
    return synthesizer.dialog_prompt(_several(audio), _several(text), target_rms=options.target_rms, raw=options.raw)
