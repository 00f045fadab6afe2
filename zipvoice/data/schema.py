# SPDX-License-Identifier: Apache-2.0
"""What the fields of a line of a cut manifest are, for those that this package uses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

LONGEST = 1e7
"""Seconds of a recording, some hundred days; more is a damaged number."""


@dataclass(frozen=True)
class Kind:
    """What a value must be."""

    name: str
    holds: Callable[[Any], bool]
    required: bool = True
    fields: "Mapping[str, Kind] | None" = None
    """Of the value, or of each item of it if it is a list."""


def _number(low: float, high: float, *types: type) -> Callable[[Any], bool]:
    return lambda value: type(value) in types and low <= value <= high


def _list_of(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(holds, value))


def _optional(kind: Kind) -> Kind:
    return Kind(kind.name, lambda value: value is None or kind.holds(value), False, kind.fields)


def is_name(value: Any) -> bool:
    """Whether this is text that can name a file."""
    return isinstance(value, str) and value != "" and "\0" not in value


_is_channel = _number(0, 1000, int)
TEXT = Kind("text", lambda value: isinstance(value, str))
NAME = Kind("text that is not empty", is_name)
TIME = Kind("seconds", _number(-LONGEST, LONGEST, int, float))
START = Kind("seconds, 0 or more", _number(0, LONGEST, int, float))
LENGTH = Kind("seconds, above 0", _number(1e-9, LONGEST, int, float))
COUNT = Kind("a whole number above 0", _number(1, 2**40, int))
CHANNELS = Kind("a list of channel numbers", _list_of(_is_channel))
CHANNEL = Kind("a channel number, or a list of them", lambda value: _is_channel(value) or CHANNELS.holds(value))
TOKENS = Kind("a list of tokens", _list_of(TEXT.holds), required=False)


def _object(fields: Mapping[str, Kind]) -> Kind:
    return Kind("an object", lambda value: isinstance(value, Mapping), True, fields)


def _objects(fields: Mapping[str, Kind]) -> Kind:
    return Kind("a list of objects", _list_of(lambda value: isinstance(value, Mapping)), True, fields)


RECORDING = {
    "id": TEXT,
    "sources": _objects({"channels": CHANNELS}),
    "sampling_rate": COUNT,
    "num_samples": COUNT,
    "duration": LENGTH,
    "channel_ids": _optional(CHANNELS),
}
FEATURES = {
    "num_frames": COUNT,
    "num_features": COUNT,
    "frame_shift": LENGTH,
    "sampling_rate": COUNT,
    "start": START,
    "duration": LENGTH,
}
SUPERVISION = {
    "id": TEXT,
    "recording_id": TEXT,
    "start": TIME,
    "duration": LENGTH,
    "text": _optional(TEXT),
    "speaker": _optional(TEXT),
    "language": _optional(TEXT),
    "custom": _optional(_object({"tokens": TOKENS})),
}
CUT = {
    "id": NAME,
    "start": START,
    "duration": LENGTH,
    "channel": CHANNEL,
    "supervisions": _optional(_objects(SUPERVISION)),
    "recording": _optional(_object(RECORDING)),
    "features": _optional(_object(FEATURES)),
    "custom": _optional(_object({})),
}


def check_fields(content: Mapping[str, Any], fields: Mapping[str, Kind], where: tuple[str | int, ...] = ()) -> None:
    """Raise ValueError for the first of the fields that is missing, or is not what it must be.

    Example:
        >>> check_fields({"id": "a", "start": -1, "duration": 2.0, "channel": 0}, CUT)
        Traceback (most recent call last):
        ValueError: start must be seconds, 0 or more, found -1
    """
    for name, kind in fields.items():
        if name not in content:
            if kind.required:
                raise ValueError(f"{place((*where, name))} is missing; it must be {kind.name}")
            continue
        value = content[name]
        if not kind.holds(value):
            raise ValueError(f"{place((*where, name))} must be {kind.name}, found {shown(value)}")
        if not kind.fields or value is None:
            continue
        if isinstance(value, list):
            for number, item in enumerate(value):
                check_fields(item, kind.fields, (*where, name, number))
        else:
            check_fields(value, kind.fields, (*where, name))


def place(where: tuple[str | int, ...]) -> str:
    """A place in a line, from its keys and numbers: `recording.sources[0]`."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in where).removeprefix(".")


def shown(value: Any) -> str:
    """A value in a message, shortened if it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole numbers of more than 4300 digits
        text = f"a number of more than {value.bit_length() // 4} digits"
    return text if len(text) <= 80 else f"{text[:77]}..."
