# SPDX-License-Identifier: Apache-2.0
"""Where voices are kept: a folder of this machine, or one of a storage that several machines share, by fsspec."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

FILE = "file://"


class VoiceFolder(Protocol):
    """Files by their names; each appears whole or not at all."""

    def names(self) -> list[str]:
        """Of all files, sorted; those being written are not among them."""
        ...

    def versions(self, names: Sequence[str]) -> dict[str, object]:
        """What changes with a file, for each of these that is there."""
        ...

    def beginnings(self, names: Sequence[str], num_bytes: int) -> list[bytes]:
        """The first bytes of files; none of those that are gone."""
        ...

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        """Its content at a path of this machine. Raises FileNotFoundError if there is none."""
        ...

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """A path of this machine, and what is written there becomes the file."""
        ...

    def remove(self, name: str) -> None:
        """Delete a file, if there is one."""
        ...


def folder_at(where: str | Path) -> VoiceFolder:
    """The folder at a path, or at an address such as s3://bucket/voices.

    Raises ImportError naming the package that an address needs, ValueError for an address of no known kind.
    """
    address = str(where)
    if "://" in address and not address.startswith(FILE):
        return SharedFolder(address)
    return LocalFolder(Path(address.removeprefix(FILE)))


class LocalFolder:
    """A folder of this machine, or one that is mounted here. Writers make their files whole by themselves."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        try:
            return sorted(path.name for path in self.path.iterdir() if path.name[0] != ".")
        except FileNotFoundError:
            return []

    def versions(self, names: Sequence[str]) -> dict[str, object]:
        found: dict[str, object] = {}
        for name in names:
            with suppress(FileNotFoundError):
                status = (self.path / name).stat()
                found[name] = self.path, name, status.st_mtime_ns, status.st_ino
        return found

    def beginnings(self, names: Sequence[str], num_bytes: int) -> list[bytes]:
        return [self._beginning(self.path / name, num_bytes) for name in names]

    def _beginning(self, path: Path, num_bytes: int) -> bytes:
        try:
            with path.open("rb") as file:
                return file.read(num_bytes)
        except OSError:
            return b""

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        yield self.path / name

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        yield self.path / name

    def remove(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)


class SharedFolder:
    """A folder of any storage that fsspec knows. Nothing of it is remembered: other machines write there too."""

    def __init__(self, address: str) -> None:
        import fsspec

        self.storage: Any
        self.storage, self.root = fsspec.core.url_to_fs(address, use_listings_cache=False)

    def names(self) -> list[str]:
        return sorted(name for name in map(_name, self._entries()) if name[:1] not in ("", "."))

    def versions(self, names: Sequence[str]) -> dict[str, object]:
        found = {_name(entry): str(entry) for entry in self._entries(*(names if len(names) == 1 else ()))}
        return {name: found[name] for name in names if name in found}

    def _entries(self, *names: str) -> list[dict[str, Any]]:
        """What is known of a file, or of all: times, sizes, checksums."""
        self.storage.invalidate_cache()
        try:
            return [self.storage.info(self._at(name)) for name in names] or self.storage.ls(self.root, detail=True)
        except FileNotFoundError:
            return []

    def beginnings(self, names: Sequence[str], num_bytes: int) -> list[bytes]:
        paths = [self._at(name) for name in names]  # which storages on the network read side by side
        read = self.storage.cat_ranges(paths, [0] * len(paths), [num_bytes] * len(paths), on_error="return")
        return [part if isinstance(part, bytes) else b"" for part in read]

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(self.storage.cat_file(self._at(name)))
            yield path

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            yield path
            self.storage.makedirs(self.root, exist_ok=True)
            self.storage.pipe_file(self._at(name), path.read_bytes())

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self.storage.rm_file(self._at(name))

    def _at(self, name: str) -> str:
        return f"{self.root}/{name}"


def _name(entry: dict[str, Any]) -> str:
    return str(entry["name"]).rpartition("/")[2]
