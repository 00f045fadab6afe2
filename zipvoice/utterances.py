# SPDX-License-Identifier: Apache-2.0
"""Lists of what to say and in whose voice, as synthesis speaks them and evaluation scores them.

It is a module of its own, beside the rooms, because both read the same lists and neither imports the other.
"""

import csv
import io
import json
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from zipvoice.config.strict_json import from_dict, suggestion, unique_keys
from zipvoice.config.synthesis import SynthesisOptions

SHOWN_ERRORS = 20
NUMBERS: dict[str, Callable[[str], Any]] = {"duration": float, "speed": float, "seed": int}
"""Columns of a table that hold numbers."""
RESERVED_NAMES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in "123456789¹²³")}
"""What Windows takes for a device, whatever the suffix."""
JOINERS = "\u200c\u200d"
"""Format characters that belong to the spelling of words, in Persian and Indian scripts."""

Options = TypeVar("Options", bound=SynthesisOptions)


@dataclass(frozen=True)
class Utterance:
    """Something to be said in somebody's voice: a line of a list."""

    id: str
    """Names the file, {id}.wav."""
    text: str
    """What to say."""
    ref_audio: str | tuple[str, ...] | None = None
    """Recording of the voice; of a dialogue one with both voices, or one of each."""
    ref_text: str | tuple[str, ...] | None = None
    """What the recording says, or each of the two."""
    language_id: str | None = None
    """Checked against the language of the model."""
    duration: float | None = None
    """Seconds, to the sample; wins over speed."""
    speed: float | None = None
    """Instead of the one of the options."""
    seed: int | None = None
    """Instead of the one of the options."""
    voice: str | None = None
    """Name of a voice, or a voice file, instead of a recording; without either, the voice of the whole list speaks."""

    def options(self, common: Options) -> Options:
        """The options of this utterance. Raises ValueError for a value out of range."""
        own = {name: getattr(self, name) for name in ("duration", "speed", "seed")}
        return replace(common, **{name: value for name, value in own.items() if value is not None})


KEYS = tuple(field.name for field in fields(Utterance))


NumberedLines = Iterable[tuple[int, str]]


def read_list(
    path: str | os.PathLike[str], text_lines: Callable[[str], NumberedLines] | None = None
) -> dict[int, Utterance]:
    """The utterances of a list by line number.

    - JSON lines (.jsonl), with the fields of `Utterance` as keys.
    - A table whose first line names its columns, by those names: .csv, with commas, semicolons or tabs, or .tsv.
      Without a column `id`, texts are named 0001, 0002 and so on.
    - Lines with tabs: id, text; or name, transcript, recording, text; or, for dialogues of two recordings, name, two
      transcripts, two recordings, text.
    - Lines without tabs, unless the file is a .tsv: each is a text, named by its number among them. `text_lines` gives
      those of a content that has others too, as Markdown has.

    Raises ValueError with the number and the fault of every bad line.

    Example:
        >>> read_list("test.tsv")[1]
        Utterance(id='one', text='Hello.', ref_audio='me.wav', ref_text='I said this.', language_id=None, ...)
    """
    utterances, errors = _parsed(path, content_of(path), text_lines)
    first: dict[str, tuple[int, str]] = {}
    for number, utterance in utterances:
        before, name = first.setdefault(_folded(utterance.id), (number, utterance.id))
        if before != number:
            same = "is" if name == utterance.id else f"names the same file on some systems as {name!r},"
            errors[number] = f"the id {utterance.id!r} {same} that of line {before} already"
    raise_bad_lines(path, errors)
    if not utterances:
        raise ValueError(f"{path} has no lines")
    return dict(utterances)


def content_of(path: str | os.PathLike[str]) -> str:
    """The text of a file in UTF-8, which may begin with a mark of that. Raises ValueError for another encoding."""
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None


def _parsed(
    path: str | os.PathLike[str], content: str, text_lines: Callable[[str], NumberedLines] | None
) -> tuple[list[tuple[int, Utterance]], dict[int, str]]:
    suffix = Path(path).suffix.lower()
    # Lines end as in files, not where str.splitlines ends them: U+2028 and others are characters of a text.
    lines = [(n, line) for n, line in enumerate(io.StringIO(content, None), start=1) if line.strip()]
    lines = [(n, line.rstrip("\n")) for n, line in lines]
    if suffix == ".jsonl":
        return each_line(lines, _from_json)
    separator = _header_separator(lines[0][1]) if lines else None
    if suffix == ".csv" and separator is None:
        raise ValueError(
            f"{path}, line 1: the first line of a table names its columns, among them text; known: {', '.join(KEYS)}"
        )
    if suffix == ".csv" or separator == "\t":
        return _table(path, content, separator or ",")
    lines = list(text_lines(content)) if text_lines and suffix != ".tsv" else lines
    if suffix == ".tsv" or any("\t" in line for _, line in lines):
        return each_line(lines, _from_columns)
    return each_line(((n, (i, line)) for i, (n, line) in enumerate(lines, start=1)), _from_text)


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
        raise ValueError("\n  ".join([f"{path} has {len(errors)} bad line(s), so nothing is done:", *shown, *rest]))


# ---------------------------------------------------------------- lines


def _from_json(line: str) -> Utterance:
    try:
        data = json.loads(line, object_pairs_hook=unique_keys)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not valid JSON: {error}") from None
    except RecursionError:
        raise ValueError("it is not valid JSON: too many brackets within each other") from None
    return _valid(from_dict(Utterance, data))


def _from_columns(line: str) -> Utterance:
    match line.split("\t"):
        case [name, text]:
            return _valid(Utterance(name, text))
        case [name, ref_text, ref_audio, text]:
            return _valid(Utterance(name, text, ref_audio, ref_text))
        case [name, first_text, second_text, first_audio, second_audio, text]:
            return _valid(Utterance(name, text, (first_audio, second_audio), (first_text, second_text)))
        case columns:
            raise ValueError(
                f"it has {len(columns)} column(s); needed are 2 (id, text), 4 (name, transcript, recording, text) or, "
                "for dialogues, 6 (name, two transcripts, two recordings, text), with tabs between them"
            )


def _from_text(numbered: tuple[int, str]) -> Utterance:
    return _valid(Utterance(f"{numbered[0]:04d}", numbered[1]))


# ---------------------------------------------------------------- tables


def _header_separator(line: str) -> str | None:
    """What stands between the names of columns, if this line is one of those."""
    for separator in "\t,;":
        names = [name.strip().strip('"') for name in line.split(separator)]
        if "text" in names and (len(names) > 1 or separator == ",") and len(set(names) & set(KEYS)) * 2 >= len(names):
            return separator
    return None


def _table(
    path: str | os.PathLike[str], content: str, separator: str
) -> tuple[list[tuple[int, Utterance]], dict[int, str]]:
    rows = csv.reader(io.StringIO(content, newline=""), delimiter=separator, strict=True)
    try:
        header = [name.strip() for name in next(row for row in rows if any(row))]
        for name in header:
            if name not in KEYS or header.count(name) > 1:
                fault = "stands there twice" if name in KEYS else f"is not known{suggestion(name, KEYS)}"
                raise ValueError(f"{path}, line {rows.line_num}: the column {name!r} {fault}")
        numbered = list(_numbered_rows(rows, header))
    except csv.Error as error:
        raise ValueError(f"{path}, line {rows.line_num}: it is no row of a table ({error})") from None
    return each_line(numbered, lambda row: _from_row(header, *row))


def _numbered_rows(rows: Any, header: list[str]) -> Iterator[tuple[int, tuple[int, list[str]]]]:
    """The line on which each row begins, the row's number and its cells."""
    line, index = rows.line_num + 1, 0
    for row in rows:
        if any(cell.strip() for cell in row):
            index += 1
            yield line, (index, row)
        line = rows.line_num + 1


def _from_row(header: list[str], index: int, cells: list[str]) -> Utterance:
    if len(cells) != len(header):
        raise ValueError(f"it has {len(cells)} cell(s) and the first line {len(header)}; quote a cell that has a comma")
    row = {name: _cell(name, cell) for name, cell in zip(header, cells, strict=True) if cell.strip()}
    return _valid(from_dict(Utterance, {"id": f"{index:04d}", "text": "", **row}))


def _cell(name: str, cell: str) -> Any:
    if name not in NUMBERS:
        return cell
    try:
        return NUMBERS[name](cell)
    except ValueError:
        raise ValueError(f"{name} must be a number, not {cell!r}") from None


# ---------------------------------------------------------------- what is right


def _valid(utterance: Utterance) -> Utterance:
    if fault := _name_fault(utterance.id):
        raise ValueError(f"{utterance.id!r} cannot be the name of a file: {fault}")
    if not utterance.text.strip():
        raise ValueError("the text is empty")
    if _characters(utterance.text, ("Cs",)):
        raise ValueError("the text has half of a character (a lone surrogate); save it as UTF-8 again")
    audio, text = utterance.ref_audio, utterance.ref_text
    if utterance.voice is not None and (audio is not None or text is not None):
        raise ValueError("give voice, or ref_audio and ref_text, not both")
    if (audio is None) != (text is None):
        raise ValueError(f"the key {'ref_audio' if audio is None else 'ref_text'!r} is missing")
    if [len(given) if isinstance(given, tuple) else 1 for given in (audio, text)] not in ([1, 1], [2, 2]):
        raise ValueError("ref_audio and ref_text must both be one, or both be two")
    utterance.options(SynthesisOptions())
    return utterance


def _name_fault(name: str) -> str | None:
    """Why a name is none for a file, on any system."""
    if not name or name != name.strip():
        return "it is empty, or has a space at an end"
    if bad := _characters(name, ("Cc", "Cs", "Zl", "Zp")) or [
        c for c in _characters(name, ("Cf",)) if c not in JOINERS
    ]:
        return f"it has the invisible character U+{ord(bad[0]):04X}"
    if bad := [character for character in name if character in '/\\:*?"<>|']:
        return f"it has {bad[0]!r}"
    if name.startswith("."):
        return "it begins with a dot"
    if name.split(".")[0].rstrip().lower() in RESERVED_NAMES:
        return "Windows reserves it"
    return "it is longer than 200 bytes" if len(name.encode()) > 200 else None


def _characters(text: str, categories: tuple[str, ...]) -> list[str]:
    return [character for character in text if unicodedata.category(character) in categories]


def _folded(name: str) -> str:
    """What names have in common that some file systems do not tell apart."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
