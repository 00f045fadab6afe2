# SPDX-License-Identifier: Apache-2.0
"""A cut manifest: lines of JSON, each of which describes a cut; read one by one, with checked sources."""

import gzip
import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zipvoice.data.sources import check_sources, require_file

if TYPE_CHECKING:
    from lhotse.cut import Cut


@dataclass(frozen=True)
class Manifest:
    """The cuts of a manifest (.jsonl, .jsonl.gz), read one by one each time they are iterated over.

    The path is a path, whatever it looks like: lhotse would run one that begins with `pipe:`.
    """

    path: str | os.PathLike[str]
    first: int = 0
    """Lines that are passed over."""

    def __iter__(self) -> Iterator["Cut"]:
        for place, line in placed_lines(self.path, self.first):
            try:
                yield cut_of(line)
            except ValueError as error:
                raise ValueError(f"{place}: {error}") from None


def placed_lines(path: str | os.PathLike[str], first: int = 0) -> Iterator[tuple[str, bytes]]:
    """Place and content of each line of a manifest but the `first` ones. Raises ValueError if the file breaks off."""
    path, number = require_file(path), 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if number > first:
                    yield f"{path}:{number}", line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}:{number + 1}: the file breaks off or is damaged ({error}); copy it again") from None


def cut_of(line: bytes) -> "Cut":
    """The cut that a line of a manifest describes. Raises ValueError for a source that is no file: `check_sources`."""
    from lhotse.serialization import deserialize_item

    content = json.loads(line)
    check_sources(content)
    return deserialize_item(content)
