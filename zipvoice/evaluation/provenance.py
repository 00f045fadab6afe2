# SPDX-License-Identifier: Apache-2.0
"""Which model gave a score: its name and the hash of its weights."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

BLOCK = 1 << 20


@dataclass(frozen=True)
class JudgedBy:
    """A model that judged recordings. Scores of two runs compare only where these are equal."""

    model: str
    """Its name."""
    sha256: str
    """Of the file of its weights."""
    detail: str = ""
    """What else moves its scores: numbers, search, library and version."""


def sha256_of(*paths: Path) -> str:
    """The hash of the contents of files, one after the other, in hexadecimal."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    return digest.hexdigest()
