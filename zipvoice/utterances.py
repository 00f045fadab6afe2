# SPDX-License-Identifier: Apache-2.0
"""Lists of what to say and in whose voice, as synthesis speaks them and evaluation scores them.

It is a module of its own, beside the rooms, because both read the same lists and neither imports the other.
"""

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from zipvoice.config.strict_json import from_dict
from zipvoice.config.synthesis import SynthesisOptions

SHOWN_ERRORS = 20

Options = TypeVar("Options", bound=SynthesisOptions)


@dataclass(frozen=True)
class Utterance:
    """Something to be said in somebody's voice: a line of a JSON list; a TSV list has the first four."""

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


def read_list(path: str | os.PathLike[str]) -> dict[int, Utterance]:
    """The utterances of a list by line number: JSON lines (.jsonl), else tab-separated columns.

    The columns are name, transcript, recording, text; or, for dialogues of two recordings, name, two transcripts, two
    recordings, text. Raises ValueError with the number and the fault of every bad line.

    Example:
        >>> read_list("test.tsv")[1]
        Utterance(id='one', text='Hello.', ref_audio='me.wav', ref_text='I said this.', language_id=None, ...)
    """
    parse = _from_json if Path(path).suffix == ".jsonl" else _from_columns
    lines = [(n, line) for n, line in enumerate(_read_lines(path), start=1) if line.strip()]
    utterances, errors = each_line(lines, parse)
    first: dict[str, int] = {}
    for number, utterance in utterances:
        if first.setdefault(utterance.id, number) != number:
            errors[number] = f"the id {utterance.id!r} is that of line {first[utterance.id]} already"
    raise_bad_lines(path, errors)
    if not utterances:
        raise ValueError(f"{path} has no lines")
    return dict(utterances)


def _read_lines(path: str | os.PathLike[str]) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None


def each_line(
    lines: Iterable[tuple[int, Any]], work: Callable[[Any], Any]
) -> tuple[list[tuple[int, Any]], dict[int, str]]:
    """The result of `work` for each numbered line, or why there is none."""
    results, errors = [], {}
    for number, line in lines:
        try:
            results.append((number, work(line)))
        except (ValueError, OSError) as error:
            errors[number] = str(error)
    return results, errors


def raise_bad_lines(path: str | os.PathLike[str], errors: dict[int, str]) -> None:
    """Raise ValueError with the first of the errors, by line number, if there are any."""
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
