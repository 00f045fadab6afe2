# SPDX-License-Identifier: Apache-2.0
"""Lists of utterances: checked as a whole, spoken in batches, written one file each.

A file that exists is done. Files appear whole or not at all, so a list that was interrupted is started again to finish;
then it has the files of an undisturbed run, bit for bit.
"""

import hashlib
import itertools
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import soundfile

from zipvoice.config.strict_json import to_dict
from zipvoice.config.synthesis import ResolvedOptions, SynthesisOptions
from zipvoice.config.text import TokenizerConfig
from zipvoice.files import make_folder, sweep
from zipvoice.synthesis.chunk_planner import EncodedPrompt, SpeechChunk
from zipvoice.synthesis.crossfade import ChunkAudio
from zipvoice.synthesis.output import write_parts
from zipvoice.synthesis.prompt import Prompt
from zipvoice.synthesis.synthesizer import Synthesizer, batches
from zipvoice.synthesis.voices import by_name, default
from zipvoice.synthesis.word_times import with_words_beside
from zipvoice.utterances import Utterance, each_line, raise_bad_lines

BLOCK = 64
"""Utterances whose chunks are batched together. Batches are formed within a block, whatever of it is done already, as
the last bits of a sound depend on its batch; a block that is done is passed over."""


@dataclass(frozen=True)
class Outcome:
    """What became of an utterance."""

    id: str
    path: Path
    seconds: float = 0.0
    error: str | None = None
    """Why there is no file."""


@dataclass(frozen=True)
class Kept:
    """A file that was there already."""

    id: str
    path: Path
    seconds: float
    changed: tuple[str, ...]
    """What it was spoken with that is different now: names of options, text, voice, model; words if they are wanted and
    have no file beside it."""


# ---------------------------------------------------------------- checking


def check_list(
    path: str | os.PathLike[str], utterances: dict[int, Utterance], synthesizer: Synthesizer, options: SynthesisOptions
) -> None:
    """Raise ValueError with every line that this model cannot speak, before any work is done.

    Looks at texts, transcripts, languages, options, names of voices and the headers of recordings.

    Example:
        >>> check_list("list.tsv", read_list("list.tsv"), synthesizer, SynthesisOptions())
    """
    check_recording, check_voice = cache(_check_recording), cache(by_name)  # many lines share one

    def check(utterance: Utterance) -> None:
        check_language(utterance.language_id, synthesizer.tokenizer_config)
        utterance.options(options)
        if isinstance(utterance.ref_audio, tuple) and not synthesizer.is_dialogue:
            raise ValueError("two recordings are for a dialogue, and this model has one voice; choose another --model")
        for recording in _several(utterance.ref_audio or ()):
            check_recording(recording)
        if utterance.voice is not None:
            check_voice(utterance.voice)
        synthesizer.check_text(utterance.text)

    _, errors = each_line(utterances.items(), check)
    raise_bad_lines(path, errors)


def _check_recording(path: str) -> None:
    """Raise unless the header of a file is that of a recording."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no recording {path}")
    try:
        with Path(path).open("rb") as file:
            soundfile.info(file)
    except soundfile.LibsndfileError:
        from zipvoice.audio.files import read

        read(path)  # says in words what is wrong with it


def spoken_languages(tokenizer: TokenizerConfig) -> tuple[str, ...]:
    """The languages of a model with this tokenizer; none where they are not known."""
    known = {"espeak": (tokenizer.language,), "emilia": ("en", "zh"), "dialog": ("en", "zh"), "libritts": ("en",)}
    return known.get(tokenizer.type, ())


def check_language(language: str | None, tokenizer: TokenizerConfig) -> None:
    """Raise ValueError for a language that the model does not speak, as en, en-US or en_US; None says nothing."""
    spoken = spoken_languages(tokenizer)
    without_region = {name.split("-")[0] for name in spoken}
    if language and spoken and re.split("[-_]", language.lower())[0] not in without_region:
        raise ValueError(f"the language {language!r} is not one that the model speaks: {', '.join(spoken)}")


def _several(one_or_more: str | tuple[str, ...]) -> tuple[str, ...]:
    return (one_or_more,) if isinstance(one_or_more, str) else one_or_more


# ---------------------------------------------------------------- speaking


_DEFAULTS = {each.name: each.default for each in fields(ResolvedOptions) if each.default is not MISSING}
"""What an option was before there was one of that name."""


def share(utterances: Iterable[Utterance], rank: int = 0, world_size: int = 1) -> list[Utterance]:
    """What one of several processes speaks, longest texts first, so that batches hold what is alike in length."""
    ordered = sorted(utterances, key=lambda utterance: (-len(utterance.text), utterance.id))
    return ordered[rank::world_size]


@dataclass(frozen=True)
class ListWork:
    """A list of utterances, or the share of one process, on its way into a folder."""

    synthesizer: Synthesizer
    utterances: Sequence[Utterance]
    output_dir: Path
    options: ResolvedOptions
    voice: Prompt | None = None
    """Speaks what names neither a voice nor a recording; by default that of the package."""
    voice_name: str = ""
    """What is noted of `voice` in the files."""
    model_name: str = ""
    """What is noted of the model in the files."""
    overwrite: bool = False
    """Speak what has a file anew."""
    words: str = ""
    """Suffix of a file beside each sound with the times of its words, one of `word_files.FORMATS`; none if empty."""

    def spare_inputs(self, *others: str | os.PathLike[str] | None) -> None:
        """Raise ValueError if a recording of the list, or one of `others`, would be replaced by speech."""
        recordings = [path for utterance in self.utterances for path in _several(utterance.ref_audio or ())]
        read = {_identity(path): str(path) for path in {*others, *recordings} if path and Path(path).is_file()}
        for utterance in self.utterances:
            sound = self._path(utterance.id)
            stays = sound.exists() and not self.overwrite
            for written in {sound, sound.with_suffix(self.words or ".wav")}:
                found = read.get(_identity(written)) if written.is_file() else None
                if found and not (stays and found not in _several(utterance.ref_audio or ())):
                    raise ValueError(f"{found} is read, and {utterance.id!r} would replace it; name another folder")

    def kept(self) -> Iterator[Kept]:
        """The files that are there already, and stay."""
        for utterance in [] if self.overwrite else self.utterances:
            path = self._path(utterance.id)
            if path.exists():
                seconds, note = _read_note(path)
                now = self._note(utterance)
                changed = [name for name in now | note if now.get(name) != note.get(name, _DEFAULTS.get(name))]
                lacks_words = bool(self.words) and not path.with_suffix(self.words).exists()
                yield Kept(utterance.id, path, seconds, (*(changed if note else ()), *["words"] * lacks_words))

    def outcomes(self) -> Iterator[Outcome]:
        """Speak what has no file yet, in batches, and tell what became of each utterance as it is written.

        What a killed run left half-written is swept away first. Raises OSError when files cannot be written, ValueError
        if what is read would be replaced; what is wrong with one utterance is its outcome.
        """
        self.spare_inputs()
        make_folder(self.output_dir)
        paths = [self._path(utterance.id) for utterance in self.utterances]  # other processes write theirs
        sweep(
            self.output_dir,
            {path.with_suffix(suffix).name for path in paths for suffix in {".wav", self.words or ".wav"}},
        )
        for start in range(0, len(self.utterances), BLOCK):
            block = self.utterances[start : start + BLOCK]
            todo = {u.id: u for u in block if self.overwrite or not self._path(u.id).exists()}
            if todo:
                yield from self._spoken_block(block, todo)

    def _spoken_block(self, block: Sequence[Utterance], todo: dict[str, Utterance]) -> Iterator[Outcome]:
        failed: list[Outcome] = []
        chunks = self._chunks(block, failed)
        groups = ([chunk] for chunk in chunks) if self.options.raw else batches(chunks, self.options.max_batch_seconds)
        needed = (group for group in groups if any(chunk.seed[1] in todo for chunk in group))
        spoken = (pair for group in needed for pair in self._spoken(group))
        for name, pairs in itertools.groupby(spoken, key=lambda pair: pair[0].seed[1]):
            if name in todo:
                yield from self._flushed(failed, todo)
                yield self._written(todo[name], [piece for _, piece in pairs])
        yield from self._flushed(failed, todo)

    def _flushed(self, failed: list[Outcome], todo: dict[str, Utterance]) -> Iterator[Outcome]:
        while failed:
            if (outcome := failed.pop(0)).id in todo:
                yield outcome

    def _chunks(self, utterances: Iterable[Utterance], failed: list[Outcome]) -> Iterator[SpeechChunk]:
        """The chunks of all utterances; those that cannot be planned are put among the failed ones."""
        voice = lru_cache(maxsize=64)(self._voice)
        for utterance in utterances:
            try:
                options = utterance.options(self.options)
                given = voice(utterance.ref_audio, utterance.ref_text, utterance.voice)
                plan = list(self.synthesizer.planner.plan(utterance.text, given, options, utterance.id))
            except (ValueError, OSError) as error:
                failed.append(Outcome(utterance.id, self._path(utterance.id), error=str(error)))
            else:
                yield from plan

    def _voice(
        self, audio: str | tuple[str, ...] | None, text: str | tuple[str, ...] | None, name: str | None
    ) -> EncodedPrompt:
        if audio is not None and text is not None:
            return self.synthesizer.voice(make_prompt(self.synthesizer, audio, text, self.options))
        return self.synthesizer.voice(by_name(name) if name is not None else self.voice or default())

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
        path = self._path(utterance.id)
        for piece in pieces:
            if isinstance(piece, Exception):
                return Outcome(utterance.id, path, error=(str(piece).strip() or type(piece).__name__).splitlines()[0])
        sounds = [piece for piece in pieces if isinstance(piece, ChunkAudio)]
        parts = self.synthesizer.joined_pieces(sounds, utterance.options(self.options))
        if self.words:
            parts = with_words_beside(parts, path.with_suffix(self.words))
        return Outcome(utterance.id, path, write_parts(path, parts, json.dumps(self._note(utterance))))

    def _note(self, utterance: Utterance) -> dict[str, Any]:
        """What an utterance is spoken with, as its file remembers it."""
        options = to_dict(utterance.options(self.options))
        del options["max_batch_seconds"], options["word_times"]  # the same speech
        voice = f"{utterance.voice or utterance.ref_audio or self.voice_name} {utterance.ref_text}"
        return {"text": _digest(utterance.text), "voice": _digest(voice), "model": self.model_name, **options}

    def _path(self, name: str) -> Path:
        return self.output_dir / f"{name}.wav"


def speak_list(
    synthesizer: Synthesizer,
    utterances: Sequence[Utterance],
    output_dir: str | os.PathLike[str],
    options: SynthesisOptions | None = None,
    **settings: Any,
) -> Iterator[Outcome]:
    """Speak those utterances that have no file yet; see `ListWork`, whose further fields `settings` are.

    Example:
        >>> for outcome in speak_list(synthesizer, share(read_list("list.tsv").values()), "results"):
        ...     print(outcome.id, outcome.seconds, outcome.error)
    """
    work = ListWork(synthesizer, utterances, Path(output_dir), synthesizer.resolved(options), **settings)
    return work.outcomes()


def _identity(path: str | os.PathLike[str]) -> tuple[int, int]:
    """What paths to the same file have in common."""
    status = Path(path).stat()
    return status.st_dev, status.st_ino


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _read_note(path: Path) -> tuple[float, dict[str, Any]]:
    """The seconds of a file and what it says that it was spoken with: nothing if something else made it."""
    try:
        with path.open("rb") as opened, soundfile.SoundFile(opened) as file:
            seconds, comment = len(file) / file.samplerate, file.comment
        note = json.loads(comment) if comment else {}
    except soundfile.LibsndfileError:
        return 0.0, {}
    except ValueError:
        return seconds, {}
    return seconds, note if isinstance(note, dict) else {}


def make_prompt(
    synthesizer: Synthesizer, audio: str | tuple[str, ...], text: str | tuple[str, ...], options: SynthesisOptions
) -> Prompt:
    """A voice of one recording, or the voices of a dialogue of two."""
    if isinstance(audio, str) and isinstance(text, str):
        return synthesizer.prompt(audio, text, target_rms=options.target_rms, raw=options.raw)
    return synthesizer.dialog_prompt(_several(audio), _several(text), target_rms=options.target_rms, raw=options.raw)
