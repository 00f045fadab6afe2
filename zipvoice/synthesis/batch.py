# SPDX-License-Identifier: Apache-2.0
"""Lists of utterances: read and checked as a whole, spoken in batches, written one file each.

A file that exists is done. Files appear whole or not at all, so a list that was interrupted is started again to finish.
"""

import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeVar

import soundfile

from zipvoice.config.strict_json import from_dict
from zipvoice.config.synthesis import ResolvedOptions, SynthesisOptions
from zipvoice.config.text import TokenizerConfig
from zipvoice.synthesis.chunk_planner import EncodedPrompt, SpeechChunk
from zipvoice.synthesis.crossfade import Piece
from zipvoice.synthesis.output import write_parts
from zipvoice.synthesis.prompt import Prompt
from zipvoice.synthesis.synthesizer import Synthesizer, batches

SHOWN_ERRORS = 20

Options = TypeVar("Options", bound=SynthesisOptions)


@dataclass(frozen=True)
class Utterance:
    """A line of a JSON list; a TSV list has the first four."""

    id: str
    """Names the file, {id}.wav."""
    text: str
    """What to say."""
    ref_audio: str | tuple[str, ...]
    """Recording of the voice; of a dialogue one with both voices, or one of each."""
    ref_text: str | tuple[str, ...]
    """What the recording says, or each of the two."""
    language_id: str | None = None
    """Checked against the language of the model."""
    duration: float | None = None
    """Seconds, to the sample; wins over speed."""
    speed: float | None = None
    """Instead of the one of the options."""
    seed: int | None = None
    """Instead of the one of the options."""

    def options(self, common: Options) -> Options:
        """The options of this utterance. Raises ValueError for a value out of range."""
        own = {name: getattr(self, name) for name in ("duration", "speed", "seed")}
        return replace(common, **{name: value for name, value in own.items() if value is not None})


@dataclass(frozen=True)
class Outcome:
    """What became of an utterance."""

    id: str
    path: Path
    seconds: float = 0.0
    error: str | None = None
    """Why there is no file."""


# ---------------------------------------------------------------- reading


def read_list(path: str | os.PathLike[str]) -> dict[int, Utterance]:
    """The utterances of a list by line number: JSON lines (.jsonl), else tab-separated columns.

    The columns are name, transcript, recording, text; or, for dialogues of two recordings, name, two transcripts, two
    recordings, text. Raises ValueError with the number and the fault of every bad line.
    """
    parse = _from_json if Path(path).suffix == ".jsonl" else _from_columns
    lines = [(n, line) for n, line in enumerate(_read_lines(path), start=1) if line.strip()]
    utterances, errors = _each(lines, parse)
    first: dict[str, int] = {}
    for number, utterance in utterances:
        if first.setdefault(utterance.id, number) != number:
            errors[number] = f"the id {utterance.id!r} is that of line {first[utterance.id]} already"
    _raise(path, errors)
    if not utterances:
        raise ValueError(f"{path} has no lines")
    return dict(utterances)


def _read_lines(path: str | os.PathLike[str]) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None


def _each(lines: Iterable[tuple[int, Any]], work: Callable[[Any], Any]) -> tuple[list[tuple[int, Any]], dict[int, str]]:
    """The result of `work` for each numbered line, or why there is none."""
    results, errors = [], {}
    for number, line in lines:
        try:
            results.append((number, work(line)))
        except (ValueError, OSError) as error:
            errors[number] = str(error)
    return results, errors


def _raise(path: str | os.PathLike[str], errors: dict[int, str]) -> None:
    if errors:
        shown = [f"line {number}: {errors[number]}" for number in sorted(errors)[:SHOWN_ERRORS]]
        rest = [f"and {len(errors) - SHOWN_ERRORS} more"] if len(errors) > SHOWN_ERRORS else []
        raise ValueError("\n  ".join([f"{path} has {len(errors)} bad line(s), so nothing is spoken:", *shown, *rest]))


def _from_json(line: str) -> Utterance:
    try:
        data = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not valid JSON: {error}") from None
    return _valid(from_dict(Utterance, data))


def _from_columns(line: str) -> Utterance:
    match line.split("\t"):
        case [name, ref_text, ref_audio, text]:
            return _valid(Utterance(name, text, ref_audio, ref_text))
        case [name, first_text, second_text, first_audio, second_audio, text]:
            return _valid(Utterance(name, text, (first_audio, second_audio), (first_text, second_text)))
        case columns:
            raise ValueError(
                f"it has {len(columns)} column(s); needed are 4 (name, transcript, recording, text) or, for dialogues, "
                "6 (name, two transcripts, two recordings, text), with tabs between them"
            )


def _valid(utterance: Utterance) -> Utterance:
    name = utterance.id
    if not name or name.startswith(".") or set(name) & set('/\\\0:*?"<>|') or len(name.encode()) > 200:
        raise ValueError(f"{name!r} cannot be the name of a file")
    if not utterance.text.strip():
        raise ValueError("the text is empty")
    if isinstance(utterance.ref_audio, tuple) != isinstance(utterance.ref_text, tuple):
        raise ValueError("ref_audio and ref_text must both be one, or both be two")
    utterance.options(SynthesisOptions())
    return utterance


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

    _, errors = _each(utterances.items(), check)
    _raise(path, errors)


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

    def _spoken(self, group: Sequence[SpeechChunk]) -> Iterator[tuple[SpeechChunk, Piece | Exception]]:
        """The sound of each chunk. When a batch fails its chunks are tried alone, to find the one at fault."""
        try:
            yield from zip(group, self.synthesizer.pieces(group, self.options), strict=True)
        except (ValueError, RuntimeError) as error:
            if len(group) == 1:
                yield group[0], error
                return
            for chunk in group:
                yield from self._spoken([chunk])

    def _written(self, utterance: Utterance, pieces: Sequence[Piece | Exception]) -> Outcome:
        path = self.path(utterance.id)
        for piece in pieces:
            if isinstance(piece, Exception):
                return Outcome(utterance.id, path, error=str(piece).splitlines()[0])
        sounds = [piece for piece in pieces if isinstance(piece, Piece)]
        parts = self.synthesizer.joined_pieces(sounds, utterance.options(self.options))
        return Outcome(utterance.id, path, write_parts(path, parts))


def make_prompt(
    synthesizer: Synthesizer, audio: str | tuple[str, ...], text: str | tuple[str, ...], options: SynthesisOptions
) -> Prompt:
    """A voice of one recording, or the voices of a dialogue of two."""
    if isinstance(audio, str) and isinstance(text, str):
        return synthesizer.prompt(audio, text, target_rms=options.target_rms, raw=options.raw)
    return synthesizer.dialog_prompt(_several(audio), _several(text), target_rms=options.target_rms, raw=options.raw)
