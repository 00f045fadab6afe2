# SPDX-License-Identifier: Apache-2.0
"""A corpus, listed in a TSV file or a lhotse manifest -> one checked manifest with tokens and features.

The whole list is checked before any work starts, and every fault is reported with its line. The work is done in pieces
of some hundred utterances. A finished piece is a manifest of its own, so that a preparation broken off goes on where it
was; the result is the pieces joined.
"""

import hashlib
import json
import logging
import math
import multiprocessing
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch
from tqdm import tqdm

from zipvoice.audio.mel import SAMPLING_RATE, LogMel
from zipvoice.config import PrepareOptions, TokenizerConfig, read_json, write_json
from zipvoice.files import whole_file
from zipvoice.text.tokenizers import build_tokenizer
from zipvoice.training.cuts import (
    check_supervision,
    extract_features,
    feature_writer,
    listed,
    make_cut,
    read_cuts,
    recording,
    recording_of,
    require_lhotse,
    with_tokens,
    write_cuts,
)

if TYPE_CHECKING:
    from lhotse import Recording
    from lhotse.cut import Cut

PIECE = 500
"""Utterances prepared at a time: minutes of work, which is what breaking off can lose."""
ROUNDING_SECONDS = 0.01
"""A segment may end this much after its file: times in corpora are often rounded to two places."""

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Prepared:
    """What was prepared; kept beside the manifest as {prefix}_cuts_{subset}.json."""

    manifest: str
    """The manifest for training."""
    utterances: int
    """Number of utterances in it."""
    hours: float
    """Their total duration."""
    seconds_99: float
    """99 % of them are no longer than this; a good `max_len`."""
    skipped: int
    """Rows left out because they could not be used."""
    fingerprint: str
    """Hash of the rows, the sizes and times of the audio files, and the options."""


@dataclass(frozen=True)
class _Checked(Generic[T]):
    """The usable part of a list, each item with its place, and a sentence for each thing that is not usable."""

    good: list[tuple[str, T]]
    faults: list[str]


def prepare(options: PrepareOptions) -> Prepared:
    """Check a corpus and write its manifest, with tokens and features if the options ask for them.

    A TSV file has three or five tab-separated columns: id, text, audio file, and optionally start and end in seconds.
    Audio paths are relative to the TSV file's folder, else to the current folder. In the text runs of white space
    become one space, and so do underscores, because `_` is the padding token. Sound is resampled to 24 kHz when read.

    Nothing is done if the result of the same rows, audio files (by size and time) and options is there already.
    Features of an earlier, different preparation stay in the folder {prefix}_feats_{subset}.

    Raises:
        ValueError: with all that is wrong with the rows, each with its place, unless `skip_bad_rows` is set.
    """
    checked = _checked_cuts(options.source)
    _report(checked.faults, options)
    if not checked.good:
        raise ValueError(f"{options.source} lists no usable utterance")
    cuts = [cut for _, cut in checked.good]
    fingerprint = _fingerprint(cuts, options)
    pieces = _pieces(cuts, options, fingerprint)
    manifest = Path(options.output_dir) / f"{options.prefix}_cuts_{options.subset}.jsonl.gz"
    summary = manifest.with_name(f"{options.prefix}_cuts_{options.subset}.json")
    if all(piece.has_features for piece in pieces) and (earlier := _up_to_date(manifest, summary, fingerprint)):
        return earlier
    _finish_pieces(pieces, options)
    summary.unlink(missing_ok=True)  # it describes the manifest that is replaced now
    _join([piece.manifest for piece in pieces], manifest)
    prepared = _summary(manifest, len(cuts) + len(checked.faults), fingerprint)
    write_json(prepared, summary)
    shutil.rmtree(pieces[0].manifest.parent)
    return prepared


def _up_to_date(manifest: Path, summary: Path, fingerprint: str) -> Prepared | None:
    """What an earlier run with the same fingerprint left, if anything."""
    if not (manifest.is_file() and summary.is_file()):
        return None
    earlier = replace(read_json(Prepared, summary), manifest=str(manifest))
    if earlier.fingerprint != fingerprint:
        return None
    logger.info("%s is up to date", manifest)
    return earlier


# ---------------------------------------------------------------- the list


@dataclass(frozen=True)
class _Row:
    """One line of a TSV file."""

    utterance: str
    text: str
    audio: str
    start: float = 0.0
    end: float | None = None


def _checked_cuts(source: str) -> _Checked["Cut"]:
    path = Path(source)
    if not path.is_file():
        raise ValueError(f"there is no file {path}; give a TSV file or a cut manifest (.jsonl, .jsonl.gz)")
    read = _cuts_of_manifest if path.name.endswith((".jsonl", ".jsonl.gz")) else _cuts_of_tsv
    return read(path)


def _cuts_of_tsv(path: Path) -> _Checked["Cut"]:
    rows = _unique(_each(_row, _lines(path)), lambda row: row.utterance)
    audio_of = {row.audio: _resolved(row.audio, path.parent) for _, row in rows.good}
    recordings = _recordings(audio_of.values())
    cuts = _each(lambda row: _cut(row, recordings[audio_of[row.audio]]), rows.good)
    return _Checked(cuts.good, rows.faults + cuts.faults)


def _cuts_of_manifest(path: Path) -> _Checked["Cut"]:
    placed = ((f"{path}:{number}", cut) for number, cut in enumerate(read_cuts(path), start=1))
    return _unique(_each(_usable, placed), lambda cut: cut.id)


def _each(check: Callable[[Any], T], placed: Iterable[tuple[str, Any]]) -> _Checked[T]:
    """`check` of each item; what it raises is a fault, and begins with the item's place."""
    good, faults = [], []
    for place, item in placed:
        try:
            good.append((place, check(item)))
        except ValueError as error:
            faults.append(f"{place}: {error}")
    return _Checked(good, faults)


def _unique(checked: _Checked[T], name: Callable[[T], str]) -> _Checked[T]:
    """Items with a name that came before are faults."""
    first: dict[str, str] = {}
    good, faults = [], [*checked.faults]
    for place, item in checked.good:
        if (earlier := first.setdefault(name(item), place)) == place:
            good.append((place, item))
        else:
            faults.append(f"{place}: the id {name(item)!r} was used before, at {earlier}")
    return _Checked(good, faults)


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Place and content of each line that is not blank."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from None
    return ((f"{path}:{number}", line.removesuffix("\r")) for number, line in enumerate(lines, 1) if line.strip())


def _row(line: str) -> _Row:
    columns = [column.strip() for column in line.split("\t")]
    if len(columns) not in (3, 5):
        expected = "expected id, text, audio file and optionally start and end"
        raise ValueError(f"{len(columns)} tab-separated columns; {expected}")
    utterance, text, audio, *span = columns
    row = _Row(utterance, clean_text(text), audio, *_span(span))
    for name, value in (("id", row.utterance), ("text", row.text), ("audio file", row.audio)):
        if not value:
            raise ValueError(f"the {name} is empty")
    return row


def clean_text(text: str) -> str:
    """Text with underscores (the padding token) and any white space as single spaces."""
    return " ".join(text.replace("_", " ").split())


def _span(columns: Sequence[str]) -> tuple[float, ...]:
    try:
        span = tuple(map(float, columns))
    except ValueError:
        raise ValueError(f"start and end must be seconds, found {' and '.join(map(repr, columns))}") from None
    if span and not 0 <= span[0] < span[1] < math.inf:
        raise ValueError(f"the segment from {span[0]} to {span[1]} s must have 0 <= start < end")
    return span


def _resolved(audio: str, folder: Path) -> Path:
    """The path from the TSV file's folder if there is such a file, else from the current folder if there is."""
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
        opened_all = tqdm(threads.map(opened, distinct), "checking audio", len(distinct), disable=None, leave=False)
        return dict(zip(distinct, opened_all, strict=True))


def _cut(row: _Row, source: "Recording | ValueError") -> "Cut":
    if isinstance(source, ValueError):
        raise source
    end = row.end
    if end is not None and end > source.duration:
        if end > source.duration + ROUNDING_SECONDS or row.start >= source.duration:
            raise ValueError(f"the segment ends at {end} s, but {row.audio} at {source.duration:.3f} s")
        end = source.duration
    return make_cut(row.utterance, row.text, source, row.start, end)


def _usable(cut: "Cut") -> "Cut":
    """A cut of a manifest, checked, with clean text, to be read at 24 kHz."""
    check_supervision(cut)
    if not clean_text(cut.supervisions[0].text or ""):
        raise ValueError(f"the text of {cut.id!r} is empty")
    for path in _audio_files(cut):
        if not path.is_file():
            raise ValueError(f"there is no file {path}")
    cleaned = cut.map_supervisions(lambda supervision: supervision.transform_text(clean_text))
    return cleaned if cut.sampling_rate == SAMPLING_RATE else cleaned.resample(SAMPLING_RATE)


def _audio_files(cut: "Cut") -> list[Path]:
    return [Path(source.source) for source in recording_of(cut).sources if source.type == "file"]


def _report(faults: Sequence[str], options: PrepareOptions) -> None:
    """Raise all faults as one error, or warn of them if bad rows are to be skipped."""
    if faults and options.skip_bad_rows:
        logger.warning("bad rows of %s left out: %s", options.source, listed(faults))
    elif faults:
        raise ValueError(f"bad rows in {options.source} (skip_bad_rows leaves them out): {listed(faults)}")


def _fingerprint(cuts: Iterable["Cut"], options: PrepareOptions) -> str:
    """Hash of all that determines the result."""
    shaping = (options.tokenizer, options.features, _storage(options), options.stereo)
    digest = hashlib.sha256(repr(shaping).encode())
    for cut in cuts:
        files = [(stat.st_size, stat.st_mtime_ns) for stat in map(Path.stat, _audio_files(cut))]
        digest.update(json.dumps([cut.to_dict(), files]).encode())
    return digest.hexdigest()


def _storage(options: PrepareOptions) -> str:
    return options.storage or ("lilcom_chunky" if find_spec("lilcom") else "numpy_files")


# ---------------------------------------------------------------- the work


@dataclass(frozen=True)
class _Piece:
    """Some of the utterances; done when its manifest and its features exist."""

    cuts: list["Cut"]
    manifest: Path
    features: Path | None
    """File or folder of the features, if any are stored."""

    @property
    def has_features(self) -> bool:
        return self.features is None or self.features.exists()


def _pieces(cuts: list["Cut"], options: PrepareOptions, fingerprint: str) -> list[_Piece]:
    folder = Path(options.output_dir).absolute()
    manifests = folder / f"{options.prefix}_pieces_{options.subset}"
    features = folder / f"{options.prefix}_feats_{options.subset}"
    suffix = ".lca" if _storage(options) == "lilcom_chunky" else ""
    pieces = []
    for start in range(0, len(cuts), PIECE):
        name = f"{fingerprint[:16]}-{start // PIECE:08d}"
        stored = features / f"{name}{suffix}" if options.features else None
        pieces.append(_Piece(cuts[start : start + PIECE], manifests / f"{name}.jsonl.gz", stored))
    return pieces


def _finish_pieces(pieces: Sequence[_Piece], options: PrepareOptions) -> None:
    """Finish the pieces that are not done yet, here or in worker processes. Raises ValueError for bad utterances."""
    finish = partial(_finish, options=options)
    total = sum(len(piece.cuts) for piece in pieces)
    with tqdm(desc="preparing", total=total, disable=None) as progress, _mapping(options.num_workers) as mapping:
        for piece, faults in zip(pieces, mapping(finish, pieces), strict=True):
            _report(faults, options)
            progress.update(len(piece.cuts))


@contextmanager
def _mapping(num_workers: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """Yield `map`, or one that works in processes; they are spawned, as the copy of a process with threads can hang."""
    if num_workers == 0:
        yield map
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(num_workers, context, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)


def _finish(piece: _Piece, options: PrepareOptions) -> list[str]:
    """Write the manifest of a piece, and its features before that. Gives what is wrong with its utterances.

    With faults that may not be skipped nothing is written.
    """
    if piece.manifest.is_file() and piece.has_features:
        return []
    checked = _Checked([(f"the utterance {cut.id!r}", cut) for cut in piece.cuts], [])
    if options.tokenizer:
        checked = _tokenised(checked, options.tokenizer)
    if piece.features:
        checked = _featurised(checked, piece.features, options)
    if options.skip_bad_rows or not checked.faults:
        write_cuts(piece.manifest, (cut for _, cut in checked.good))
    return checked.faults


def _tokenised(checked: _Checked["Cut"], config: TokenizerConfig) -> _Checked["Cut"]:
    """Cuts with the tokens of their texts; a text without tokens is a fault."""
    tokenizer = build_tokenizer(config)

    def tokenised(cut: "Cut") -> "Cut":
        text = cut.supervisions[0].text
        tokens = tokenizer.tokens(text)
        if not tokens:
            raise ValueError(f"nothing of its text is spoken: {text!r}")
        return with_tokens(cut, tokens)

    cuts = _each(tokenised, checked.good)
    return _Checked(cuts.good, checked.faults + cuts.faults)


def _featurised(checked: _Checked["Cut"], path: Path, options: PrepareOptions) -> _Checked["Cut"]:
    """Cuts with stored features."""
    log_mel = LogMel()
    with feature_writer(path, _storage(options)) as store:
        cuts = _each(lambda cut: store(cut, extract_features(cut, log_mel, options.stereo)), checked.good)
    return _Checked(cuts.good, checked.faults + cuts.faults)


# ---------------------------------------------------------------- the result


def _join(parts: Sequence[Path], manifest: Path) -> None:
    """Write the manifests `parts` as one: gzip files may follow each other."""
    with whole_file(manifest) as temporary, temporary.open("wb") as joined:
        for part in parts:
            with part.open("rb") as file:
                shutil.copyfileobj(file, joined)


def _summary(manifest: Path, listed: int, fingerprint: str) -> Prepared:
    seconds = np.sort([cut.duration for cut in read_cuts(manifest)])
    if len(seconds) == 0:
        raise ValueError(f"none of the {listed} utterances could be used, {manifest} is empty")
    return Prepared(
        manifest=str(manifest),
        utterances=len(seconds),
        hours=round(float(seconds.sum()) / 3600, 4),
        seconds_99=round(float(seconds[math.ceil(0.99 * len(seconds)) - 1]), 2),
        skipped=listed - len(seconds),
        fingerprint=fingerprint,
    )
