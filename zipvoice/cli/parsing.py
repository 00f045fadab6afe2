# SPDX-License-Identifier: Apache-2.0
"""From arguments to a dataclass, and how a program ends."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import tyro

from zipvoice.cli.help import show_help, wants_help

EXIT_ERROR = 1
EXIT_USAGE = 2  # tyro leaves with it
EXIT_SOME_FAILED = 3
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


_registry = tyro.constructors.ConstructorRegistry()


@_registry.primitive_rule
def _optional(info: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec[Any] | None:
    """A value that may be left out is given like any other: the word None is a text."""
    kinds = [kind for kind in get_args(info.type) if kind is not NoneType]
    if get_origin(info.type) not in (Union, UnionType) or len(kinds) != 1 or kinds[0] not in _NAMES:
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar=_NAMES[kinds[0]],
        instance_from_str=lambda words: kinds[0](words[0]),
        is_instance=lambda value: value is None or isinstance(value, kinds[0]),
        str_from_instance=lambda value: [str(value)],
    )


_NAMES: dict[Any, str] = {str: "TEXT", int: "INT", float: "FLOAT", Path: "PATH"}


TOKENIZER = {"--tokenizer": "--tokenizer.type", "--language": "--tokenizer.language"}
"""How the tokenizer is chosen on every command line, for commands whose settings have it inside."""


def parse(
    kind: Any, name: str, arguments: Sequence[str], default: Any = None, spelled: Mapping[str, str] | None = None
) -> Any:
    """The dataclass `kind` from command-line arguments; prints help or a usage error and leaves when asked to.

    `spelled` gives options, by the spelling that people use, their names in the dataclass.
    """
    spelled = {**SHORT, **(spelled or {})}
    if wants_help(arguments):
        show_help(kind, name, spelled, default)
        sys.exit(0)
    extra = {} if default is None else {"default": default}
    arguments = [_named(argument, spelled) for argument in arguments]
    try:
        return tyro.cli(kind, prog=f"zipvoice {name}", args=arguments, registry=_registry, **extra)
    except SystemExit:
        _tell_stray_words(kind, arguments, extra)
        raise


def _tell_stray_words(kind: Any, arguments: Sequence[str], extra: dict[str, Any]) -> None:
    """A hint for those who write a text of several words without quotes."""
    with suppress(SystemExit):
        found = tyro.cli(
            kind, args=arguments, registry=_registry, return_unknown_args=True, console_outputs=False, **extra
        )
        if found[1] and not any(word.startswith("-") for word in found[1]):
            note(f"{found[1][0]!r} is one word too many; a text of several words stands in quotes")


SHORT = {"-s": "--speed"}


def _named(argument: str, spelled: Mapping[str, str]) -> str:
    option, equals, value = argument.partition("=")
    return spelled.get(option, option) + equals + value


def note(text: str) -> None:
    """A line on stderr, which is for people; stdout is for results."""
    sys.stderr.write(f"{text}\n")
