# SPDX-License-Identifier: Apache-2.0
"""Frozen dataclasses from and to strict JSON: an unknown key is an error that names the nearest one."""

import dataclasses
import difflib
import json
import math
import os
import types
import typing
from collections import Counter
from pathlib import Path
from typing import Any, Literal, TypeVar

from zipvoice.files import write_text

T = TypeVar("T")

LONGEST_INTEGER = 20
"""Digits and sign of a number of 64 bits."""
LONGEST_SLIP = 1000
"""Characters: what is longer is nobody's slip, and comparing it would take long."""


class DoubledKeyError(ValueError):
    """A key that stands twice in an object, of which Python's reader keeps the last."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the key {key!r} stands there twice")
        self.key = key


def read_json(kind: type[T], path: str | os.PathLike[str]) -> T:
    """The dataclass `kind` from a JSON file.

    Raises ValueError naming the file and the key for anything that is not exactly a `kind`: broken JSON, an unknown key
    (with the nearest known one), a missing key, a value of another type.
    """
    try:
        data = loads(Path(path).read_text(encoding="utf-8-sig"))  # editors on Windows begin files with a mark
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None
    try:
        return from_dict(kind, data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def loads(text: str) -> Any:
    """The content of JSON text.

    Raises ValueError for text that is not JSON, keys that stand there twice, numbers beyond those of 64 bits, NaN and
    infinity, and nesting beyond reason.
    """
    try:
        return json.loads(
            text, object_pairs_hook=unique_keys, parse_int=_integer, parse_float=_number, parse_constant=_number
        )
    except RecursionError:
        raise ValueError("lists and objects are nested too deeply") from None


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of its pairs. Raises DoubledKeyError."""
    content = dict(pairs)
    if len(content) < len(pairs):
        raise DoubledKeyError(next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1))
    return content


def _integer(digits: str) -> int:
    if len(digits) > LONGEST_INTEGER:
        raise ValueError(f"a number of {len(digits)} digits ({digits[:10]}...)")
    return int(digits)


def _number(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text[:20]} is not a number that a file can have")
    return value


def write_json(value: Any, path: str | os.PathLike[str]) -> None:
    """Write a dataclass as JSON, whole or not at all; `read_json` gives it back unchanged."""
    write_text(path, json.dumps(to_dict(value), indent=2, ensure_ascii=False) + "\n")


def to_dict(value: Any) -> dict[str, Any]:
    """A dataclass as plain dictionaries, lists and scalars; optional fields that are None are left out."""

    def plain(item: Any) -> Any:
        if dataclasses.is_dataclass(item) and not isinstance(item, type):
            return {
                f.name: plain(getattr(item, f.name))
                for f in dataclasses.fields(item)
                if not (f.default is None and getattr(item, f.name) is None)
            }
        return [plain(part) for part in item] if isinstance(item, tuple | list) else item

    return plain(value)


def from_dict(kind: type[T], data: Any, where: str = "") -> T:
    """The dataclass `kind` from what `to_dict` gives. Raises ValueError that names the offending key."""
    place = f"at {where}: " if where else ""
    if not isinstance(data, dict):
        raise ValueError(f"{place}expected an object with the keys of {kind.__name__}, found {_shown(data)}")
    hints = typing.get_type_hints(kind)
    known = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in data:
        if key not in known:
            raise ValueError(f"{place}unknown key {key!r}{suggestion(key, known)}")
    for name, f in known.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in data:
            raise ValueError(f"{place}the key {name!r} is missing")
    return kind(**{key: _value(hints[key], item, f"{where}.{key}".lstrip(".")) for key, item in data.items()})


def suggestion(word: str, known: typing.Iterable[str], and_all: bool = False) -> str:
    """The end of an error message: the nearest of the known words, else, or as well, all of them."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5) if len(word) <= LONGEST_SLIP else []
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return hint if near and not and_all else f"{hint}; known: {', '.join(map(str, known))}"


def _value(kind: Any, item: Any, where: str) -> Any:
    """`item` as a value of the annotated type `kind`."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _union(arguments, item, where)
    if origin is Literal:
        if item not in arguments:
            raise ValueError(f"at {where}: {_shown(item)} is not one of {', '.join(map(repr, arguments))}")
        return item
    if origin is tuple:
        if not isinstance(item, list):
            raise ValueError(f"at {where}: expected a list, found {_shown(item)}")
        return tuple(_value(arguments[0], part, f"{where}[{i}]") for i, part in enumerate(item))
    if dataclasses.is_dataclass(kind):
        return from_dict(typing.cast(type, kind), item, where)
    if kind is float and type(item) is int:
        return float(item)
    if type(item) is not kind:
        raise ValueError(f"at {where}: expected {kind.__name__}, found {_shown(item)}")
    return item


def _union(kinds: tuple[Any, ...], item: Any, where: str) -> Any:
    """`item` as the first of `kinds` that accepts it; with one kind besides None, its own error is the clearest."""
    if item is None and type(None) in kinds:
        return None
    kinds = tuple(kind for kind in kinds if kind is not type(None))
    if len(kinds) == 1:
        return _value(kinds[0], item, where)
    errors = []
    for kind in kinds:
        try:
            return _value(kind, item, where)
        except ValueError as error:
            errors.append(str(error))
    raise ValueError("; or ".join(errors))


def _shown(item: Any) -> str:
    return f"{type(item).__name__} {json.dumps(item)[:60]}"
