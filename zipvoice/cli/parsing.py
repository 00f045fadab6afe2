# SPDX-License-Identifier: Apache-2.0
"""From arguments to a dataclass, and how a program ends."""

import sys
from collections.abc import Sequence
from typing import Any

import tyro

EXIT_ERROR = 1
EXIT_USAGE = 2  # tyro leaves with it
EXIT_SOME_FAILED = 3
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def parse(kind: Any, name: str, arguments: Sequence[str], default: Any = None) -> Any:
    """The dataclass `kind` from command-line arguments; prints help or a usage error and leaves when asked to."""
    extra = {} if default is None else {"default": default}
    return tyro.cli(kind, prog=f"zipvoice {name}", args=list(arguments), **extra)


def note(text: str) -> None:
    """A line on stderr, which is for people; stdout is for results."""
    sys.stderr.write(f"{text}\n")
