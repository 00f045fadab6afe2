# SPDX-License-Identifier: Apache-2.0
"""Where sound and features may come from: files, and the shards of a Shar folder. Nothing else is ever opened.

A lhotse manifest can also name a shell command, a pipe, an address or bytes as a source, and lhotse runs or fetches
those when it loads the data. A manifest may come from a stranger. So each line passes `check_sources` before lhotse
sees it, and data are opened here, as plain files, not by lhotse's loaders.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import soundfile

from zipvoice.audio.files import ADVISING, unreadable
from zipvoice.audio.opened import open_sound
from zipvoice.data.schema import is_name, place, shown

STORED_FILES = ("lilcom_chunky", "lilcom_files", "numpy_files")
"""lhotse's kinds of feature storage that are read: one file of many matrices, or a folder of files."""
TRANSFORMS = ("Resample",)
"""lhotse's transforms of a recording that are read; all sound is resampled to 24 kHz anyway."""
SOURCE_KEYS = frozenset(("sources", "storage_type", "storage_path", "storage_key"))
"""An object that has one of these keys is made into a recording, or into stored features or arrays."""
REMEDY = "only files, and folders of shards, are sources: store the data in files and name those"


def check_sources(item: Any, where: tuple[str | int, ...] = ()) -> None:
    """Check every source that a line of a manifest names, at any depth, custom fields included.

    Permitted are recordings in files, features and arrays in `STORED_FILES`, and the empty placeholders of a shard.

    Args:
        item: the content of the line, or of a part of it.
        where: keys and numbers that lead to that part.

    Raises:
        ValueError: naming the field, what stands there, and what to do.

    Example:
        >>> check_sources({"sources": [{"type": "command", "source": "cat a.wav"}]})
        Traceback (most recent call last):
        ValueError: sources[0]: the data are of type 'command' ('cat a.wav'); only files, ...
    """
    if isinstance(item, dict):
        _check_object(item, where)
    for key, value in item.items() if isinstance(item, dict) else enumerate(item):
        if type(value) is dict or type(value) is list:  # as json makes them; most values are neither
            check_sources(value, (*where, key))


def is_permitted(item: Mapping[str, Any]) -> bool:
    """Whether what an object itself names as a source is one, whatever may be in its fields."""
    try:
        _check_object(item, ())
    except ValueError:
        return False
    return True


def _check_object(item: Mapping[str, Any], where: tuple[str | int, ...]) -> None:
    if "sources" in item:
        _check_recording(item, where)
    if "storage_type" in item or "storage_path" in item or "storage_key" in item:
        _check_stored(item, where)


def _check_recording(recording: Mapping[str, Any], where: tuple[str | int, ...]) -> None:
    sources, transforms = recording["sources"], recording.get("transforms") or []
    for kind, listed in (("sources", sources), ("transforms", transforms)):
        if not isinstance(listed, list) or not all(isinstance(one, Mapping) for one in listed):
            raise ValueError(f"{place((*where, kind))} must be a list of objects, found {shown(listed)}")
    for number, source in enumerate(sources):
        kind, name = source.get("type"), source.get("source")
        if not (kind == "file" and is_name(name)) and (kind, name) != ("shar", ""):
            raise ValueError(f"{place((*where, 'sources', number))}: {unknown_source(kind, name)}")
    check_transforms(transform.get("name") for transform in transforms)


def _check_stored(stored: Mapping[str, Any], where: tuple[str | int, ...]) -> None:
    kind, path, key = (stored.get(f"storage_{part}") for part in ("type", "path", "key"))
    is_file = kind in STORED_FILES and is_name(path) and isinstance(key, str)
    if not is_file and not (kind == "shar" and not path and not key):
        raise ValueError(
            f"{place(where) or 'the line'} is stored as {shown(kind)} ({shown(path)}, {shown(key)}); {REMEDY}, or make "
            f"features anew with `zipvoice prepare`; known kinds: {', '.join(STORED_FILES)}"
        )


def check_transforms(names: Iterable[Any]) -> None:
    """Raise ValueError for the first of the names of a recording's transforms that is not in `TRANSFORMS`."""
    for name in names:
        if name not in TRANSFORMS:
            raise ValueError(
                f"the recording is to be transformed by {shown(name)}, and only {', '.join(TRANSFORMS)} is known; "
                "store the transformed sound in files (lhotse's CutSet.save_audios) and list those"
            )


def require_file(name: str | os.PathLike[str]) -> Path:
    """The path of a file on disk. Raises ValueError if there is none, or it is a folder, a pipe or a device."""
    path = Path(name)
    if not path.is_file():
        raise ValueError(f"{name} is not a file" if path.exists() else f"there is no file {name}")
    return path


def unknown_source(kind: str, name: Any) -> ValueError:
    """The error for a source that is neither a file nor in a shard."""
    return ValueError(f"the data are of type {shown(kind)} ({shown(name)}); {REMEDY}")


def opened_sound(path: str | os.PathLike[str]) -> AbstractContextManager[soundfile.SoundFile]:
    """An audio file, open for reading. Raises ValueError that names the file if it is none, or not readable."""
    return decoded_sound(require_file(path).open("rb"), str(path))


@contextmanager
def decoded_sound(content: BinaryIO, name: str) -> Iterator[soundfile.SoundFile]:
    """The sound of a file's content, which is closed at the end. Raises ValueError with the name if it is no audio."""
    start = content.read(ADVISING)
    content.seek(0)
    try:
        with content, open_sound(content, name) as sound:
            yield sound
    except soundfile.LibsndfileError as error:
        raise unreadable(name, start, error) from None
