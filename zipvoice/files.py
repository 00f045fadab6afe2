# SPDX-License-Identifier: Apache-2.0
"""Files appear whole or not at all, and the same content is written alike."""

import errno
import json
import os
import re
import tempfile
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows, where nobody can delete the file that another one writes
    fcntl = None  # type: ignore[assignment]

UNWRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES)
"""Why a file cannot be written: a full disk, a quota, a limit, a broken or read-only disk, permissions."""
LEFT_OVER = re.compile(r"\.(.+)\.[a-z0-9_]{8}\.tmp(\.[^.]+)?", re.DOTALL)
"""Names of the temporary files of `whole_file`, with stem and suffix of the file that each was to become."""


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it becomes `path` on success and is removed on any failure.

    The temporary name keeps the suffix, so that writers which look at it still work. Missing parent folders are made.
    A failed write (full disk, interrupt) leaves an older file of that name untouched. Raises as `check_target` does.
    """
    target = Path(path)
    check_target(target)
    make_folder(target.parent)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.stem}.", suffix=f".tmp{target.suffix}", dir=target.parent)
    except OSError as error:
        raise _of_target(error, target) from error
    temporary = Path(name)
    try:
        with _locked(handle):
            yield temporary
            _flush_to_disk(temporary)
            temporary.chmod(0o666 & ~_umask())  # mkstemp makes private files
            os.replace(temporary, target)
    except OSError as error:
        if error.errno in UNWRITTEN and error.filename in (None, name):
            raise _of_target(error, target) from error
        raise
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def _of_target(error: OSError, target: Path) -> OSError:
    """The error with the name of the file that was to appear, which is the one that somebody knows."""
    return OSError(error.errno, error.strerror, str(target))


@contextmanager
def _locked(handle: int) -> Iterator[None]:
    """Hold an open file, so that no other process takes it for a left-over, and close it; Windows closes it first."""
    if fcntl is None:
        os.close(handle)
        yield
        return
    try:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def hold(file: IO[Any]) -> bool:
    """Lock an open file for this process, not for those forked from it, until it is closed or the process ends.

    False if another process holds it, so that two programs that write the same folder can tell; True where there are no
    locks.
    """
    if fcntl is None:
        return True
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # some network file systems have no locks
        pass
    return True


def _is_held(path: Path) -> bool:
    """Whether a living process writes this temporary file."""
    try:
        with path.open("rb") as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def check_target(path: Path) -> None:
    """Raise OSError that says what to do if a file cannot be put there, because a folder, a pipe or a device is."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, f"it is a folder; name a file in it, such as {path / 'out'}", str(path))
    is_stream = path.parent in (Path("/dev"), Path("/dev/fd"))  # a link to a file, if one is written there
    if is_stream or (path.exists() and not path.is_file()):
        raise OSError(errno.EINVAL, "it is a pipe or a device; name a file", str(path))


def sweep(folder: str | os.PathLike[str], names: Container[str] | None = None) -> None:
    """Delete what is left of files whose writing was broken off when the process or the machine went down.

    What a process still writes stays.

    Args:
        folder: need not exist.
        names: of the files that only the caller writes; None: all in this folder.
    """
    for path in Path(folder).glob(".*.tmp*"):
        parts = LEFT_OVER.fullmatch(path.name)
        if parts and (names is None or parts[1] + (parts[2] or "") in names) and not _is_held(path):
            path.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make a folder and those above it. Raises OSError that names what stands in its place."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sort_metadata(path: Path) -> None:
    """Put a safetensors file's metadata in order; their library writes them in another one each time."""
    with path.open("rb+") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        file.seek(8)
        file.write(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(length))


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
