# SPDX-License-Identifier: Apache-2.0
"""A corpus as people list it, TSV or JSON lines or a lhotse manifest -> checked cuts, and all that is wrong with it."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tqdm import tqdm

from zipvoice.audio.mel import SAMPLING_RATE
from zipvoice.config.strict_json import loads, suggestion
from zipvoice.data.cuts import (
    make_cut,
    recording,
    recording_of,
    require_lhotse,
    spoken,
    two_channels,
)
from zipvoice.data.manifest import cut_of, placed_lines
from zipvoice.data.sources import require_file

if TYPE_CHECKING:
    from lhotse import Recording
    from lhotse.cut import Cut

KEYS = ("id", "text", "audio", "left", "right", "start", "end", "speaker", "language")
"""What a row may say: `left` and `right`, one file for each speaker of a dialogue, in place of `audio`."""
COLUMNS = ("id", "text", "audio", "start", "end")
"""The columns of a TSV file without a line of column names: the first three, or all."""
ROUNDING_SECONDS = 0.01
"""A segment may end this much after its file: times in corpora are often rounded to two places."""
SHOWN_FAULTS = 20
"""Of a long list of bad utterances the first ones teach what is wrong."""

T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """One utterance of a list."""

    id: str
    text: str
    audio: tuple[str, ...]
    """One file, or one for each channel."""
    start: float = 0.0
    """Seconds from the beginning of the files."""
    end: float | None = None
    """Seconds from the beginning of the files; by default their end."""
    speaker: str | None = None
    language: str | None = None
    """A voice of espeak-ng, such as de, for the espeak tokenizer."""


@dataclass(frozen=True)
class Checked(Generic[T]):
    """The usable part of a list, each item with its place, and a sentence for each thing that is not usable."""

    good: list[tuple[str, T]]
    faults: list[str]


def checked_cuts(source: str) -> Checked["Cut"]:
    """The utterances of a list or manifest, checked, with clean text, to be read at 24 kHz.

    Example:
        >>> checked = checked_cuts("corpus/train.tsv")
    """
    path = Path(source)
    if not path.is_file():
        found = f"{path} is a folder" if path.is_dir() else f"there is no file {path}"
        raise ValueError(f"{found}; give a list (.tsv, .jsonl) or a cut manifest (.jsonl, .jsonl.gz)")
    if not path.name.endswith((".jsonl", ".jsonl.gz")):
        return _cuts_of_rows(each(parsed_row, _tsv_rows(path)), path.parent)
    if path.name.endswith(".gz") or _is_manifest(path):
        return _cuts_of_manifest(path)
    return _cuts_of_rows(each(_json_row, _lines(path)), path.parent)


def each(check: Callable[[Any], T], placed: Iterable[tuple[str, Any]]) -> Checked[T]:
    """`check` of each item; what it raises is a fault, and begins with the item's place."""
    good, faults = [], []
    for place, item in placed:
        try:
            good.append((place, check(item)))
        except ValueError as error:
            faults.append(f"{place}: {error}")
    return Checked(good, faults)


def listed(faults: Sequence[str]) -> str:
    """The end of a message: how many faults there are, and the first of them."""
    more = [f"... and {len(faults) - SHOWN_FAULTS} more"] if len(faults) > SHOWN_FAULTS else []
    return "\n  ".join([str(len(faults)), *faults[:SHOWN_FAULTS], *more])


def _unique(checked: Checked[T], name: Callable[[T], str]) -> Checked[T]:
    """Items with a name that came before are faults."""
    first: dict[str, str] = {}
    good, faults = [], [*checked.faults]
    for place, item in checked.good:
        if (earlier := first.setdefault(name(item), place)) == place:
            good.append((place, item))
        else:
            faults.append(f"{place}: the id {name(item)!r} was used before, at {earlier}")
    return Checked(good, faults)


# ---------------------------------------------------------------- rows


def _lines(path: Path) -> list[tuple[str, str]]:
    """Place and content of each line that is not blank."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from None
    return [(f"{path}:{number}", line.removesuffix("\r")) for number, line in enumerate(lines, 1) if line.strip()]


def _tsv_rows(path: Path) -> Iterator[tuple[str, tuple[Sequence[str], list[str]]]]:
    """Place, and names and contents of the columns, of each row."""
    lines = [(place, [column.strip() for column in line.split("\t")]) for place, line in _lines(path)]
    names: list[str] | None = None
    if lines and {"id", "text"} <= set(lines[0][1]):
        (place, names), *lines = lines
        for name in names:
            if name not in KEYS:
                raise ValueError(f"{place}: unknown column {name!r}{suggestion(name, KEYS)}")
            if names.count(name) > 1:
                raise ValueError(f"{place}: the column {name!r} stands there twice")
    return ((place, (names or (), columns)) for place, columns in lines)


def parsed_row(named: tuple[Sequence[str], Sequence[str]]) -> Row:
    """The row of a TSV line, given as names and contents of its columns; without names the usual ones."""
    names, columns = named
    if not names and len(columns) not in (3, 5):
        expected = "expected id, text, audio file and optionally start and end"
        raise ValueError(f"{len(columns)} tab-separated columns; {expected}")
    if names and len(columns) != len(names):
        raise ValueError(f"{len(columns)} tab-separated columns, but {len(names)} column names")
    content = dict(zip(names or COLUMNS, columns, strict=False))
    return row({key: value for key, value in content.items() if value or key not in ("start", "end")})


def _json_row(line: str) -> Row:
    try:
        content = loads(line)
    except ValueError as error:
        raise ValueError(f"not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"expected an object with the keys {', '.join(KEYS)}")
    return row({key: value for key, value in content.items() if value is not None})


def row(content: Mapping[str, Any]) -> Row:
    """The row that has these keys and values, with clean text. Raises ValueError for anything else than that."""
    for key, value in content.items():
        if key not in KEYS:
            raise ValueError(f"unknown key {key!r}{suggestion(key, KEYS)}")
        if not isinstance(value, str) and (key not in ("start", "end") or type(value) not in (int, float)):
            raise ValueError(f"the {key} must be {'seconds' if key in ('start', 'end') else 'text'}, found {value!r}")
        if any("\ud800" <= character <= "\udfff" for character in str(value)):
            raise ValueError(f"the {key} holds half of a surrogate pair: {value!r}")
    audio = ("left", "right") if "left" in content or "right" in content else ("audio",)
    if len(audio) == 2 and "audio" in content:
        raise ValueError("left and right, the files of two speakers, stand in place of audio")
    known = {key: clean_text(value) if key == "text" else value for key, value in content.items()}
    for key in ("id", "text", *audio):
        if not known.get(key):
            raise ValueError(
                f"the {'audio file' if key == 'audio' else key} is {'empty' if key in known else 'missing'}"
            )
    start, end = _span(known.get("start", 0.0), known.get("end"))
    files = tuple(known[key] for key in audio)
    return Row(
        known["id"], known["text"], files, start, end, known.get("speaker") or None, known.get("language") or None
    )


def clean_text(text: str) -> str:
    """Text with underscores (the padding token) and any white space as single spaces."""
    return " ".join(text.replace("_", " ").split())


def _span(start: str | float, end: str | float | None) -> tuple[float, float | None]:
    try:
        span = float(start), math.inf if end is None else float(end)
    except (ValueError, OverflowError):
        raise ValueError(f"start and end must be seconds, found {start!r} and {end!r}") from None
    if not 0 <= span[0] < span[1] or (end is not None and span[1] == math.inf) or span[0] == math.inf:
        raise ValueError(f"the segment from {span[0]} to {span[1]} s must have 0 <= start < end")
    return span[0], None if end is None else span[1]


# ---------------------------------------------------------------- cuts


def _cuts_of_rows(checked: Checked[Row], folder: Path) -> Checked["Cut"]:
    rows = _unique(checked, lambda row: row.id)
    path_of = {name: _resolved(name, folder) for _, row in rows.good for name in row.audio}
    recordings = _recordings(path_of.values())
    cuts = each(lambda row: _cut(row, [recordings[path_of[name]] for name in row.audio]), rows.good)
    return Checked(cuts.good, rows.faults + cuts.faults)


def _resolved(audio: str, folder: Path) -> Path:
    """The path from the list's folder if there is such a file, else from the current folder if there is."""
    beside, here = folder / audio, Path(audio)
    return (here if here.is_file() and not beside.is_file() else beside).absolute()


def _recordings(paths: Iterable[Path]) -> dict[Path, "Recording | ValueError"]:
    """The recording of each file, or what is wrong with it. Headers are read in threads."""

    def opened(path: Path) -> "Recording | ValueError":
        try:
            return recording(path)
        except ValueError as error:
            return error

    require_lhotse()  # once here, not at the same time in many threads
    distinct = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(8) as threads:
        results = threads.map(opened, distinct)
        shown = tqdm(results, "checking audio", len(distinct), unit="file", disable=None, leave=False)
        return dict(zip(distinct, shown, strict=True))


def _cut(row: Row, opened: Sequence["Recording | ValueError"]) -> "Cut":
    for result in opened:
        if isinstance(result, ValueError):
            raise result
    source: Any = two_channels(*opened) if len(opened) == 2 else opened[0]
    end = source.duration if row.end is None else row.end
    if row.start >= source.duration or end > source.duration + ROUNDING_SECONDS:
        what = f"ends at {row.end}" if row.start < source.duration else f"starts at {row.start}"
        raise ValueError(f"the segment {what} s, but {row.audio[0]} ends at {source.duration:.3f} s")
    return make_cut(row.id, row.text, source, row.start, min(end, source.duration), row.speaker, row.language)


def _is_manifest(path: Path) -> bool:
    """Whether the first line is a lhotse cut rather than a row."""
    with path.open("rb") as file:
        first = next((line for line in file if line.strip()), b"")
    return b'"supervisions"' in first


def _cuts_of_manifest(path: Path) -> Checked["Cut"]:
    require_lhotse()
    return _unique(each(_usable, placed_lines(path)), lambda cut: cut.id)


def _usable(line: bytes) -> "Cut":
    """The cut of a line of a manifest, checked, with clean text, to be read at 24 kHz."""
    cut = spoken_text(cut_of(line))
    for source in recording_of(cut).sources:
        require_file(source.source)
    return cut if cut.sampling_rate == SAMPLING_RATE else cut.resample(SAMPLING_RATE)


def spoken_text(cut: "Cut") -> "Cut":
    """The part of the cut that its one supervision is about, with clean text. Raises ValueError without either."""
    cut = spoken(cut)
    if not clean_text(cut.supervisions[0].text or ""):
        raise ValueError(f"the text of {cut.id!r} is empty")
    return cut.map_supervisions(lambda supervision: supervision.transform_text(clean_text))


def audio_files(cut: "Cut") -> list[Path]:
    """The files that the sound of a cut is in."""
    return [Path(source.source) for source in recording_of(cut).sources]
