# SPDX-License-Identifier: Apache-2.0
"""A cut manifest: lines of JSON, each of which describes a cut; read one by one, with checked sources."""

import gzip
import json
import os
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zipvoice.config.strict_json import unique_keys
from zipvoice.data.schema import CUT, FEATURES, RECORDING, check_fields, shown
from zipvoice.data.sources import SOURCE_KEYS, check_sources, is_permitted, require_file

if TYPE_CHECKING:
    from lhotse.cut import Cut

CUT_TYPES = ("MonoCut", "MultiCut")
"""lhotse's cuts of one recording; render mixtures of several (its CutSet.save_audios) before they are used."""


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
    """The cut that a line of a manifest describes.

    Raises ValueError for a line that is not whole, for a field that is missing or of another kind than in lhotse's
    manifests, for a mixture of several cuts, and for a source that is neither a file nor in a shard.
    """
    content = _parsed(line)
    if content.get("type") not in CUT_TYPES:
        rows = "" if "type" in content else "; of the rows of a list `zipvoice prepare` makes a manifest"
        raise ValueError(f"type is {shown(content.get('type'))}, and must be one of {', '.join(CUT_TYPES)}{rows}")
    check_fields(content, CUT)
    return _made(content)


def description_of(data: bytes, kind: str) -> Any:
    """The lhotse manifest of the `recording` or the `features` of a cut in a shard, whose data lie beside it.

    Raises ValueError as `cut_of` does, and if the data are said to be elsewhere.
    """
    content = _parsed(data)
    check_fields(content, RECORDING if kind == "recording" else FEATURES)
    stored = [source["type"] for source in content.get("sources", [])] or [content.get("storage_type")]
    if stored != ["shar"]:
        raise ValueError(f"the data are of type {stored}, and must be in the shard, ['shar']; write the shard again")
    return _made(content)


def _parsed(line: bytes) -> dict[str, Any]:
    """The content of a line, in which all sources are files or placeholders of a shard."""
    try:
        text = line.decode("utf-8-sig")
        content, named = _DECODER.decoded(text)
        if not isinstance(content, dict):
            raise ValueError(f"expected an object that describes a cut, found {shown(content)}")
        if not all(map(is_permitted, named)):
            check_sources(content)
        if "\\u" in text:
            json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("it holds half of a surrogate pair (\\ud800 to \\udfff), which is no text") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"not valid JSON ({error}); if the file was copied, copy it again") from None
    except RecursionError:
        raise ValueError("the lists and objects in it are nested too deeply") from None
    return content


class _Decoder(threading.local):
    """Decodes JSON, and collects the objects of any depth that name sources; made once, as that takes a while."""

    def __init__(self) -> None:
        self._named: list[dict[str, Any]] = []
        self._decode = json.JSONDecoder(object_pairs_hook=self._object, parse_constant=_constant).decode

    def decoded(self, text: str) -> tuple[Any, list[dict[str, Any]]]:
        """The content of a line, and the objects in it that have one of `SOURCE_KEYS`."""
        self._named = []
        return self._decode(text), self._named

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = unique_keys(pairs)
        if not SOURCE_KEYS.isdisjoint(content):
            self._named.append(content)
        return content


def _constant(name: str) -> None:
    raise ValueError(f"{name} is not a number that a manifest can have")


def _made(content: dict[str, Any]) -> Any:
    """What lhotse makes of a line; its constructors raise errors of many kinds for content that they do not expect."""
    from lhotse.serialization import deserialize_item

    try:
        return deserialize_item(content)
    except Exception as error:
        raise ValueError(f"lhotse cannot read it ({type(error).__name__}: {error}); write it again") from None


_DECODER = _Decoder()
