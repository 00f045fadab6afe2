# SPDX-License-Identifier: Apache-2.0
"""Where voices are kept: a folder of this machine, or one of a storage that several machines share, by fsspec."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

FILE = "file://"


class VoiceFolder(Protocol):
    """Files by their names; each appears whole or not at all."""

    def names(self, suffix: str) -> list[str]:
        """The sorted names, without the suffix, of the files that have it; files being written have none."""
        ...

    def version(self, name: str) -> object:
        """Changes with the file. Raises FileNotFoundError if there is none."""
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

    def names(self, suffix: str) -> list[str]:
        return sorted(path.stem for path in self.path.glob(f"*{suffix}") if not path.name.startswith("."))

    def version(self, name: str) -> object:
        status = (self.path / name).stat()
        return self.path, name, status.st_mtime_ns, status.st_ino

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

        self.files: Any
        self.files, self.root = fsspec.core.url_to_fs(address, use_listings_cache=False)

    def names(self, suffix: str) -> list[str]:
        self.files.invalidate_cache()
        try:
            paths = self.files.ls(self.root, detail=False)
        except FileNotFoundError:
            return []
        names = (str(path).rpartition("/")[2] for path in paths)
        return sorted(name.removesuffix(suffix) for name in names if name.endswith(suffix) and name[0] != ".")

    def version(self, name: str) -> object:
        self.files.invalidate_cache()
        return self._at(name), self.files.ukey(self._at(name))

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(self.files.cat_file(self._at(name)))
            yield path

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            yield path
            self.files.makedirs(self.root, exist_ok=True)
            self.files.pipe_file(self._at(name), path.read_bytes())

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self.files.rm_file(self._at(name))

    def _at(self, name: str) -> str:
        return f"{self.root}/{name}"
