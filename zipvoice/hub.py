# SPDX-License-Identifier: Apache-2.0
"""Files of the model hub: fetched once, compared with their names there, and kept in the cache of its client."""

import hashlib
import logging
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

PATIENCE = 5.0
"""Seconds in which the hub must have answered, where HF_HUB_ETAG_TIMEOUT sets no others."""

logger = logging.getLogger(__name__)


def download(
    repository: str, folder: str, files: tuple[str, ...], either: tuple[str, ...], revision: str | None = None
) -> Path:
    """Fetch `files` and the first of `either` that the repository has; returns the local folder.

    The first of `either` is of safetensors, the others hold weights that only PyTorch reads, and are kept as that too.
    Raises OSError that says what could not be had and what to do, ImportError where the hub's client is missing.
    """
    prefix = f"{folder}/" if folder else ""
    try:
        paths = [_fetch(repository, prefix + name, revision) for name in files]
        weights = _fetch_first(repository, [prefix + name for name in either], revision)
    except ImportError:
        raise
    except Exception as error:  # the client lets errors of the connection through, of whatever library it uses
        wanted = f"{repository}/{folder}".rstrip("/") + (f" at revision {revision}" if revision else "")
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise OSError(
            f"could not download {wanted}: {reason}. Check the connection (HF_ENDPOINT names a mirror), "
            "or give a local directory instead"
        ) from error
    _keep_as(either[0], weights)
    return paths[0].parent


def _fetch_first(repository: str, names: Sequence[str], revision: str | None) -> Path:
    """Have the first file that the repository has in the cache; what is there already is not asked for again."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError

    for name in names:
        if isinstance(cached := try_to_load_from_cache(repository, name, revision=revision), str):
            return Path(cached)
    for name in names[:-1]:
        with suppress(EntryNotFoundError):
            return _fetch(repository, name, revision)
    return _fetch(repository, names[-1], revision)


def _fetch(repository: str, name: str, revision: str | None) -> Path:
    """A file in the hub's cache, fetched once; one that was downloaded just now is checked against its name there.

    The hub is not asked whether there is a newer one: a released model stays what it was when it was downloaded.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    cached = try_to_load_from_cache(repository, name, revision=revision)
    if isinstance(cached, str):
        return Path(cached)
    _require_answer(repository, name, revision)
    path = Path(hf_hub_download(repository, name, revision=revision))
    _check_download(path)
    return path


def _require_answer(repository: str, name: str, revision: str | None) -> None:
    """Raise at once what keeps the hub from answering; its client would try for half a minute before it tells.

    Asked in a thread, because to look up a name and to try all addresses of a host can take longer than any limit.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    seconds = constants.HF_HUB_ETAG_TIMEOUT if "HF_HUB_ETAG_TIMEOUT" in os.environ else PATIENCE
    answer: Queue[Exception | None] = Queue()

    def ask() -> None:
        try:
            get_hf_file_metadata(hf_hub_url(repository, name, revision=revision), timeout=seconds)
            answer.put(None)
        except Exception as error:
            answer.put(error)

    Thread(target=ask, daemon=True).start()
    try:
        error = answer.get(timeout=seconds)
    except Empty:
        raise TimeoutError(f"no answer within {seconds} s (HF_HUB_ETAG_TIMEOUT=60 waits longer)") from None
    if error is not None and not isinstance(error, EntryNotFoundError):
        raise error


def _check_download(path: Path) -> None:
    """Remove the file and raise OSError unless its content is what the hub's identifier says.

    The cache keeps a file under its identifier: SHA-256 for large files, for others that of git, SHA-1 with a header.
    """
    blob = path.resolve()
    header = b"" if len(blob.name) == 64 else b"blob %d\0" % blob.stat().st_size
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", blob.name):
        return
    digest = hashlib.sha1(header) if header else hashlib.sha256()
    with blob.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != blob.name:
        path.unlink()
        blob.unlink(missing_ok=True)
        raise OSError(f"{path.name} arrived damaged and was removed; try again")


def _keep_as(name: str, path: Path) -> None:
    """Write weights that only PyTorch reads as safetensors too, from which graphs speak; once, where PyTorch is.

    Weights that cannot be read are left to whoever loads them, who tells why; so is a cache that takes no files.
    """
    target = path.with_name(name)
    if target.is_file():
        return
    with suppress(ImportError, OSError, ValueError):
        from zipvoice.weights import read_weights, write_weights

        weights = {name: value.clone() for name, value in read_weights(path).items()}  # some lie in the same memory
        write_weights(weights, target)
        logger.info("%s is kept as %s as well, from which graphs speak without PyTorch", path, name)
