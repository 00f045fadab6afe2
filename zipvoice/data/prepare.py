# SPDX-License-Identifier: Apache-2.0
"""A corpus, as it is listed -> one checked manifest with tokens and features, or a folder of shards.

The whole list is checked before any work starts, and every fault is reported with its line. The work is done in pieces
of some hundred utterances. A finished piece is a manifest of its own, so that a preparation broken off goes on where it
was; the result is the pieces joined, or put together in a folder.
"""

import hashlib
import json
import logging
import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from glob import escape
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from zipvoice.config.data import PrepareOptions
from zipvoice.config.strict_json import read_json, write_json
from zipvoice.config.text import TokenizerConfig
from zipvoice.data.corpus_list import Checked, audio_files, checked_cuts, each, listed
from zipvoice.data.cuts import (
    audio_writer,
    extract_features,
    feature_writer,
    make_tokens,
    read_cuts,
    with_tokens,
    write_cuts,
)
from zipvoice.data.overlap import Sound, warn_of_shared
from zipvoice.data.workers import worker_map
from zipvoice.files import hold, make_folder, sweep, whole_file
from zipvoice.text.g2p import espeak
from zipvoice.text.token_table import TokenTable
from zipvoice.text.tokenizers import build_tokenizer

if TYPE_CHECKING:
    from lhotse.cut import Cut

PIECE = 500
"""Utterances prepared at a time: minutes of work, which is what breaking off can lose."""

TRAIN = "train"
"""What the part of a corpus that is trained on is called."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """What was prepared; kept beside the manifest as {prefix}_cuts_{subset}.json."""

    manifest: str
    """The manifest or folder of shards for training."""
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


def prepare(options: PrepareOptions) -> Prepared:
    """Check a corpus and write its manifest, with tokens and features if the options ask for them.

    A TSV file has three or five tab-separated columns: id, text, audio file, and optionally start and end in seconds;
    or else a first line with the names of its columns, which are the keys of JSON lines: id, text and audio are needed;
    start, end, speaker and language are optional; left and right, a file for each speaker of a dialogue, stand in place
    of audio. Audio paths are relative to the list's folder, else to the current folder. In the text runs of white space
    become one space, and so do underscores, because `_` is the padding token. Sound is resampled to 24 kHz when read.

    Nothing is done if there already is the result of the same rows, audio files (by size and time) and options.
    Features of an earlier, different preparation stay in the folder {prefix}_feats_{subset}. The result depends neither
    on the number of worker processes nor on whether the work was broken off in between.

    Raises:
        ValueError: with all that is wrong with the rows, each with its place, unless `skip_bad_rows` is set.

    Example:
        >>> prepared = prepare(PrepareOptions("corpus/train.tsv", tokenizer=TokenizerConfig("espeak"), features=True))
        >>> prepared.manifest, prepared.utterances
        ('data/manifests/custom_cuts_train.jsonl.gz', 13100)
    """
    name = f"{options.prefix}_{'shar' if options.shar else 'cuts'}_{options.subset}"
    manifest = Path(options.output_dir) / (name if options.shar else f"{name}.jsonl.gz")
    if manifest.resolve() == Path(options.source).resolve():
        raise ValueError(f"{manifest} would be replaced, which is read; choose another prefix, subset or output_dir")
    checked = checked_cuts(options.source)
    if options.tokenizer and options.tokenizer.type == "espeak":
        checked = _also(checked, _with_known_language)
    _report(checked.faults, options)
    if not checked.good:
        raise ValueError(f"{options.source} lists no usable utterance")
    fingerprint = _fingerprint((cut for _, cut in checked.good), options)
    pieces = _pieces(checked.good, options, fingerprint)
    summary = manifest.with_name(f"{name}.json")
    contents = options.shar or all(piece.has_content for piece in pieces)
    if contents and (earlier := _up_to_date(manifest, summary, fingerprint)):
        return earlier
    with _alone(_parts(options), options):
        _finish_pieces(pieces, options)
        prepared = _summary(pieces, manifest, len(checked.good) + len(checked.faults), fingerprint)
        summary.unlink(missing_ok=True)  # it describes the manifest that is replaced now
        if options.shar:
            _move(pieces[0].manifest.parent, manifest)
        else:
            _join([piece.manifest for piece in pieces], manifest)
        write_json(prepared, summary)
    shutil.rmtree(_parts(options))  # with the lock, which Windows does not let go of while it is open
    _compare(manifest, options)
    return prepared


def _parts(options: PrepareOptions) -> Path:
    """The folder of the pieces."""
    return Path(options.output_dir).absolute() / f"{options.prefix}_pieces_{options.subset}"


@contextmanager
def _alone(parts: Path, options: PrepareOptions) -> Iterator[None]:
    """Context of the only process that works on these pieces. Raises ValueError where another one does."""
    make_folder(parts)
    with (parts / "lock").open("a") as file:
        if not hold(file):
            raise ValueError(
                f"another process is preparing {options.prefix} {options.subset} in {options.output_dir}: wait until "
                "it ends, or choose another prefix, subset or output_dir"
            )
        yield


def _compare(manifest: Path, options: PrepareOptions) -> None:
    """Warn of sound that is both in the part called train and in another of the same corpus."""
    is_train = options.subset == TRAIN
    before, _, after = manifest.name.rpartition(options.subset)
    for other in manifest.parent.glob(escape(before) + ("*" if is_train else TRAIN) + after):
        if other != manifest:
            train, dev = (manifest, other) if is_train else (other, manifest)
            with suppress(ValueError):  # what the other part is, is not asked here
                warn_of_shared(map(Sound.of, read_cuts(train)), map(Sound.of, read_cuts(dev)), str(dev))


def _up_to_date(manifest: Path, summary: Path, fingerprint: str) -> Prepared | None:
    """What an earlier run with the same fingerprint left, if anything."""
    if not (manifest.exists() and summary.is_file()):
        return None
    earlier = replace(read_json(Prepared, summary), manifest=str(manifest))
    if earlier.fingerprint != fingerprint:
        return None
    logger.info("%s is up to date", manifest)
    return earlier


# ---------------------------------------------------------------- checks before the work


def _with_known_language(cut: "Cut") -> "Cut":
    """The cut, unless espeak-ng does not know its language."""
    if language := cut.supervisions[0].language:
        espeak.phonemes("a", language)
    return cut


def _report(faults: Sequence[str], options: PrepareOptions) -> None:
    """Raise all faults as one error, or warn of them if bad rows are to be skipped."""
    if faults and options.skip_bad_rows:
        logger.warning("bad rows of %s left out: %s", options.source, listed(faults))
    elif faults:
        raise ValueError(f"bad rows in {options.source} (--skip-bad-rows leaves them out): {listed(faults)}")


def _fingerprint(cuts: Iterable["Cut"], options: PrepareOptions) -> str:
    """Hash of all that determines the result."""
    table = TokenTable.read(options.tokens).tokens if options.tokens else None
    shards = options.shard_size if options.shar else None
    shaping = (options.tokenizer, table, options.features, _storage(options), options.stereo, shards)
    digest = hashlib.sha256(repr(shaping).encode())
    for cut in cuts:
        files = [(stat.st_size, stat.st_mtime_ns) for stat in map(Path.stat, audio_files(cut))]
        digest.update(json.dumps([cut.to_dict(), files]).encode())
    return digest.hexdigest()


def _storage(options: PrepareOptions) -> str:
    return options.storage or ("lilcom_chunky" if find_spec("lilcom") else "numpy_files")


# ---------------------------------------------------------------- the work


@dataclass(frozen=True)
class _Piece:
    """Some of the utterances; done when its manifest and its contents exist."""

    cuts: list[tuple[str, "Cut"]]
    """With the place of each in the list."""
    manifest: Path
    content: Path | None
    """File or folder of the features or, in a shard, of the sound; None if neither is stored."""

    @property
    def has_content(self) -> bool:
        return self.content is None or self.content.exists()

    @property
    def seconds(self) -> float:
        return sum(cut.duration for _, cut in self.cuts)


def _pieces(cuts: list[tuple[str, "Cut"]], options: PrepareOptions, fingerprint: str) -> list[_Piece]:
    """The pieces of a corpus: parts to be joined, or shards in a folder to be moved."""
    folder = Path(options.output_dir).absolute()
    parts, pieces = _parts(options), []
    size = options.shard_size if options.shar else PIECE
    for number, start in enumerate(range(0, len(cuts), size)):
        if options.shar:
            manifest = parts / fingerprint[:16] / f"cuts.{number:06d}.jsonl.gz"
            kind = "features" if options.features else "recording"
            content: Path | None = manifest.with_name(f"{kind}.{number:06d}.tar")
        else:
            name = f"{fingerprint[:16]}-{number:08d}"
            suffix = ".lca" if _storage(options) == "lilcom_chunky" else ""
            manifest = parts / f"{name}.jsonl.gz"
            content = (
                folder / f"{options.prefix}_feats_{options.subset}" / f"{name}{suffix}" if options.features else None
            )
        pieces.append(_Piece(cuts[start : start + size], manifest, content))
    return pieces


def _finish_pieces(pieces: Sequence[_Piece], options: PrepareOptions) -> None:
    """Finish the pieces that are not done yet, here or in worker processes. Raises ValueError for bad utterances."""
    _remove_unfinished(pieces)
    finish = partial(_finish, options=options)
    total = round(sum(piece.seconds for piece in pieces))
    with (
        tqdm(desc="preparing", total=total, unit=" s of audio", unit_scale=True, disable=None) as progress,
        worker_map(options.num_workers) as mapped,
    ):
        for piece, faults in zip(pieces, mapped(finish, pieces), strict=True):
            _report(faults, options)
            progress.update(piece.seconds)


def _remove_unfinished(pieces: Sequence[_Piece]) -> None:
    """Remove what a preparation that was killed had begun to write."""
    for folder in {path.parent for piece in pieces for path in (piece.manifest, piece.content) if path}:
        sweep(folder)


def _finish(piece: _Piece, options: PrepareOptions) -> list[str]:
    """Write the manifest of a piece, and its contents before that. Gives what is wrong with its utterances.

    With faults that may not be skipped there is no manifest.
    """
    if piece.manifest.is_file() and piece.has_content:
        return []
    checked = Checked(piece.cuts, [])
    if options.tokenizer:
        checked = _also(checked, _tokenised(options.tokenizer, options.tokens))
    if piece.content:
        with _content_writer(piece.content, options) as store:
            checked = _also(checked, store)
    if options.skip_bad_rows or not checked.faults:
        write_cuts(piece.manifest, (cut for _, cut in checked.good))
    return checked.faults


def _also(checked: Checked["Cut"], make: Callable[["Cut"], "Cut"]) -> Checked["Cut"]:
    """What `make` makes of the good ones."""
    made = each(make, checked.good)
    return Checked(made.good, checked.faults + made.faults)


def _tokenised(config: TokenizerConfig, tokens: str | None) -> Callable[["Cut"], "Cut"]:
    """A function that stores the tokens of a cut's text; a text without tokens, or with unknown ones, is a fault."""
    table = TokenTable.read(tokens) if tokens else None
    tokenizer = build_tokenizer(config, table.tags if table else None)

    def tokenised(cut: "Cut") -> "Cut":
        made = make_tokens(cut, tokenizer)
        if table:
            table.ids(made)
        if not made:
            raise ValueError(f"nothing of its text is spoken: {cut.supervisions[0].text!r}")
        return with_tokens(cut, made)

    return tokenised


@contextmanager
def _content_writer(path: Path, options: PrepareOptions) -> Iterator[Callable[["Cut"], "Cut"]]:
    """Yield a function that stores the features of a cut, or its sound."""
    if not options.features:
        with audio_writer(path) as store_audio:
            yield store_audio
        return
    with feature_writer(path, _storage(options)) as store:
        yield lambda cut: store(cut, extract_features(cut, options.stereo))


# ---------------------------------------------------------------- the result


def _join(parts: Sequence[Path], manifest: Path) -> None:
    """Write the manifests `parts` as one: gzip files may follow each other."""
    with whole_file(manifest) as temporary, temporary.open("wb") as joined:
        for part in parts:
            with part.open("rb") as file:
                shutil.copyfileobj(file, joined)


def _move(folder: Path, target: Path) -> None:
    """Put a folder in the place of another."""
    if target.is_dir():
        shutil.rmtree(target)
    folder.rename(target)


def _summary(pieces: Sequence[_Piece], manifest: Path, listed: int, fingerprint: str) -> Prepared:
    seconds = np.sort([cut.duration for piece in pieces for cut in read_cuts(piece.manifest)])
    if len(seconds) == 0:
        raise ValueError(f"none of the {listed} utterances could be used")
    return Prepared(
        manifest=str(manifest),
        utterances=len(seconds),
        hours=round(float(seconds.sum()) / 3600, 4),
        seconds_99=round(float(seconds[math.ceil(0.99 * len(seconds)) - 1]), 2),
        skipped=listed - len(seconds),
        fingerprint=fingerprint,
    )
