# SPDX-License-Identifier: Apache-2.0
"""Corpora in shards: folders of lhotse Shar, read and written.

A shard is a manifest, cuts.000000.jsonl.gz, and a tar file for each kind of content, features.000000.tar or
recording.000000.tar, with two members for each cut: the data and their description. Reading goes through descriptions
only; a cut knows where its data lie, and whoever needs them gets them from there. So a corpus in shards takes no more
memory than one of single files, however many cuts are held for shuffling, and what is passed over is never read.
"""

import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path, PurePosixPath
from random import Random
from typing import TYPE_CHECKING, Any

from zipvoice.data.manifest import Manifest, description_of
from zipvoice.data.sources import require_file, unknown_source
from zipvoice.files import whole_file

if TYPE_CHECKING:
    from lhotse.cut import Cut

CONTENTS = ("recording", "features")
"""What is read of a shard beside its cuts."""
FILE_SUFFIXES = {"numpy_files": ".npy", "lilcom_files": ".llc"}
"""Kind of the files of features, in a folder, by lhotse's name of that storage."""


@dataclass(frozen=True)
class SharFolder:
    """The cuts of a Shar folder, read one by one each time they are iterated over.

    Raises ValueError for a folder that is no Shar or lacks a file of a shard, and where a file does not fit the others.
    """

    path: str | os.PathLike[str]
    order: Random | None = None
    """Draws the order of the shards, another one each time."""
    shards: list[dict[str, Path]] = field(init=False)
    """The files of each shard: `cuts`, and `recording` or `features`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "shards", _shards(Path(self.path)))

    def __iter__(self) -> Iterator["Cut"]:
        shards = self.order.sample(self.shards, len(self.shards)) if self.order else self.shards
        for shard in shards:
            yield from _cuts(shard)


def is_shar(path: str | os.PathLike[str]) -> bool:
    """Whether this is a folder with the manifest of a shard in it."""
    return next(Path(path).glob("cuts.*.jsonl*"), None) is not None


def check_manifest(path: str | os.PathLike[str]) -> None:
    """Raise ValueError unless there is a manifest or a Shar folder at a path; it is not read."""
    if is_shar(path):
        return
    if not Path(path).is_file():
        raise ValueError(f"there is no manifest {path}; make it with `zipvoice prepare`")
    if Path(path).suffix in (".tsv", ".csv", ".txt"):
        raise ValueError(f"{path} is no manifest (.jsonl, .jsonl.gz); make one of a list with `zipvoice prepare`")


def _shards(folder: Path) -> list[dict[str, Path]]:
    by_number: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.iterdir()):
        kind, number, *_ = [*path.name.split("."), ""]
        if kind in ("cuts", *CONTENTS):
            by_number.setdefault(number, {})[kind] = path
    kinds = set().union(*by_number.values())
    for files in by_number.values():
        for kind in sorted(kinds - files.keys()):
            other = next(iter(files.values())).name
            raise ValueError(f"{folder} has {other}, but no {kind} of that number; is the copy complete?")
    return list(by_number.values())


def _cuts(shard: dict[str, Path]) -> Iterator["Cut"]:
    """The cuts of a shard, each with the places of its data."""
    contents = {kind: _contents(path) for kind, path in shard.items() if kind != "cuts"}
    for cut in Manifest(shard["cuts"]):
        for kind, described in contents.items():
            name, description = next(described)
            if name != cut.id:
                found = f"holds {name!r}" if name else "ends"
                raise ValueError(f"{shard[kind]} {found} where {shard['cuts'].name} lists {cut.id!r}; copy both again")
            if description is not None:
                setattr(cut, kind, description)
        yield cut


def _contents(path: Path) -> Iterator[tuple[str, Any]]:
    """Cut id and description of the data of each cut; then ("", None) without end."""
    kind = path.name.split(".")[0]
    try:
        with tarfile.open(path, "r:") as tar:
            while (data := tar.next()) and (description := tar.next()):
                name = data.name.removesuffix(PurePosixPath(data.name).suffix)
                content = tar.extractfile(description)
                if content is None or description.name.endswith(".nometa"):
                    yield name, None
                else:
                    yield name, _placed(_described(content.read(), kind, f"{path}:{description.name}"), path, data)
    except tarfile.TarError as error:
        raise ValueError(f"{path} is not a whole tar file ({error}); is the copy complete?") from None
    yield from repeat(("", None))


def _described(content: bytes, kind: str, place: str) -> Any:
    """The description of data that lie beside it. Raises ValueError that begins with its place."""
    try:
        return description_of(content, kind)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


# ---------------------------------------------------------------- where data lie


def _placed(description: Any, path: Path, data: tarfile.TarInfo) -> Any:
    """A description of data that says where they are: `read_place` of it reads them."""
    suffix = PurePosixPath(data.name).suffix
    place = f"{data.offset_data}:{data.size}:{suffix}:{path}"
    if hasattr(description, "sources"):
        description.sources[0].source = place
    else:
        description.storage_key = place
    return description


def read_place(place: str) -> tuple[bytes, str]:
    """The data at a place in a tar file, and the suffix that tells their kind."""
    offset, size, suffix, path = place.split(":", 3)
    with Path(path).open("rb") as file:
        file.seek(int(offset))
        return file.read(int(size)), suffix


def features_with_data(features: Any) -> Any:
    """The lhotse manifest of features in a shard, or in a file of their own, with the data in memory."""
    from lhotse.shar.utils import fill_shar_placeholder
    from lhotse.utils import fastcopy

    kind, key = features.storage_type, features.storage_key
    if kind == "shar" and key:
        data, suffix = read_place(key)
        if suffix not in FILE_SUFFIXES.values():
            known = " or ".join(FILE_SUFFIXES.values())
            raise ValueError(f"{key.split(':', 3)[3]} has features in files {suffix or 'without suffix'}, not {known}")
    elif kind in FILE_SUFFIXES:
        path = require_file(f"{features.storage_path}/{key.removeprefix('/')}")
        data, suffix = path.read_bytes(), FILE_SUFFIXES[kind]
    else:
        raise unknown_source(kind, features.storage_path)
    filled = fastcopy(features)
    fill_shar_placeholder(filled, data, f"features{suffix}")
    return filled


# ---------------------------------------------------------------- writing


@contextmanager
def tar_writer(path: Path) -> Iterator[Callable[["Cut", str, bytes], "Cut"]]:
    """Yield a function (cut, suffix, data) -> cut that adds the data of a cut to the tar file, as lhotse does.

    The tar file's name says which data they are. It is there when all is written; the same data give the same bytes.
    The returned cut is the one to be listed in the shard's manifest.
    """
    from lhotse.shar.utils import to_shar_placeholder
    from lhotse.utils import fastcopy

    kind = path.name.split(".")[0]
    with whole_file(path) as temporary, tarfile.open(temporary, "w") as tar:

        def write(cut: "Cut", suffix: str, data: bytes) -> "Cut":
            description = to_shar_placeholder(getattr(cut, kind), cut)
            for name, content in ((suffix, data), (".json", json.dumps(description.to_dict()).encode())):
                member = tarfile.TarInfo(f"{cut.id}{name}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            return fastcopy(cut, start=0.0, **{kind: description})

        yield write
