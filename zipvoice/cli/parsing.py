# SPDX-License-Identifier: Apache-2.0
"""From arguments to a dataclass, and how a program ends."""

import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import tyro

from zipvoice.cli.help import options_of, respelled, show_help, wants_help
from zipvoice.cli.usage import typed, usage_error

EXIT_ERROR = 1
EXIT_USAGE = 2  # tyro leaves with it
EXIT_SOME_FAILED = 3
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


_registry, _registry_of_runs = tyro.constructors.ConstructorRegistry(), tyro.constructors.ConstructorRegistry()


@_registry.primitive_rule
def _optional(info: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec[Any] | None:
    """A value that may be left out is given like any other: the word None is a text."""
    return _left_out(info, lambda word: False)


@_registry_of_runs.primitive_rule
def _unset(info: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec[Any] | None:
    """The word None leaves out what a run file gives."""
    return _left_out(info, lambda word: word == "None")


def _left_out(
    info: tyro.constructors.PrimitiveTypeInfo, is_none: Callable[[str], bool]
) -> tyro.constructors.PrimitiveConstructorSpec[Any] | None:
    kinds = [kind for kind in get_args(info.type) if kind is not NoneType]
    if get_origin(info.type) not in (Union, UnionType) or len(kinds) != 1 or kinds[0] not in _NAMES:
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar=_NAMES[kinds[0]],
        instance_from_str=lambda words: None if is_none(words[0]) else kinds[0](words[0]),
        is_instance=lambda value: value is None or isinstance(value, kinds[0]),
        str_from_instance=lambda value: [str(value)],
    )


_NAMES: dict[Any, str] = {str: "TEXT", int: "INT", float: "FLOAT", Path: "PATH"}


TOKENIZER = {
    "--tokenizer": "--tokenizer.type",
    **{
        f"--{negation}{name}": f"--tokenizer.{negation}{name}"
        for name in ("language", "skip-unknown", "compatible", "markdown")
        for negation in ("", "no-")
    },
}
"""How the tokenizer is chosen on every command line, for commands whose settings have it inside."""


def parse(
    kind: Any,
    name: str,
    arguments: Sequence[str],
    default: Any = None,
    spelled: Mapping[str, str] | None = None,
    config: Sequence[Any] = (),
    of_run: bool = False,
) -> Any:
    """The dataclass `kind` from command-line arguments; prints help or a usage error and leaves when asked to.

    `spelled` gives options, by the spelling that people use, their names in the dataclass; `config` is for tyro.
    With `of_run` the word None leaves out what a run file gives.
    """
    spelled = {**SHORT, **(spelled or {})}
    if wants_help(arguments):
        show_help(kind, name, spelled, default, config)
        sys.stdout.flush()  # so that an error in writing is told
        sys.exit(0)
    if empty := _given_empty(arguments, kind, spelled, default, config):
        note(f"{typed(name)}: {empty} is empty; give it a value, or leave it out (is a variable of the shell unset?)")
        sys.exit(EXIT_USAGE)
    settings: dict[str, Any] = {"config": config, "registry": _registry_of_runs if of_run else _registry}
    settings |= {} if default is None else {"default": default}
    arguments = [_named(argument, spelled) for argument in arguments]
    if twice := _given_twice(arguments, kind, default, config):
        note(f"{typed(name)}: {twice} is given twice; give all its values behind one: {twice} FIRST SECOND")
        sys.exit(EXIT_USAGE)
    said = io.StringIO()
    try:
        with redirect_stderr(said), _wide_terminal():
            return tyro.cli(kind, prog=f"zipvoice {name}", args=arguments, **settings)
    except SystemExit:
        if said.getvalue():  # and not at a signal
            options = [respelled(option, spelled) for option in options_of(kind, default, config)]
            note(usage_error(said.getvalue(), name, options, spelled))
        raise


def _given_twice(arguments: Sequence[str], kind: Any, default: Any, config: Sequence[Any]) -> str | None:
    """An option of several values of which the parser would take those behind its last mention alone."""
    flags = [argument.partition("=")[0] for argument in arguments if argument.startswith("-")]
    flags = ["--voice" if flag == "-v" else flag for flag in flags]
    if len(set(flags)) == len(flags):
        return None  # nothing is there twice, so the parser need not be asked
    several = [flag for option in options_of(kind, default, config) if "..." in option.value for flag in option.flags]
    return next((flag for flag in flags if flag in several and flags.count(flag) > 1), None)


def _given_empty(
    arguments: Sequence[str], kind: Any, spelled: Mapping[str, str], default: Any, config: Sequence[Any]
) -> str | None:
    """An option whose value is an empty word, which as a path would mean the current folder."""
    following = pairwise([*arguments, "-"])
    empty = [
        word.removesuffix("=") for word, value in following if word.startswith("-") and (value == "" or word[-1] == "=")
    ]
    if not empty:
        return None
    takes_value = {flag for option in options_of(kind, default, config) if option.value for flag in option.flags}
    return next((flag for flag in empty if spelled.get(flag, flag) in takes_value), None)


@contextmanager
def _wide_terminal() -> Iterator[None]:
    """So that the parser breaks no line of what it says."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "10000"
    try:
        yield
    finally:
        del os.environ["COLUMNS"]
        os.environ.update({} if before is None else {"COLUMNS": before})


SHORT = {"-s": "--speed"}
SOURCE_FIRST = (tyro.conf.PositionalRequiredArgs, tyro.conf.AvoidSubcommands)
"""For commands that take a source of data, anywhere among their options."""


def without_flag(arguments: Sequence[str], flag: str) -> list[str]:
    """The arguments, in which a positional one may be given by a flag as well."""
    return [argument.removeprefix(f"{flag}=") for argument in arguments if argument != flag]


def chooses_tokenizer(arguments: Sequence[str]) -> bool:
    """Whether a tokenizer is chosen. Raises ValueError for arguments that only say how it reads."""
    given = {argument.partition("=")[0] for argument in arguments} & {*TOKENIZER, *TOKENIZER.values()}
    if given and not given & {"--tokenizer", "--tokenizer.type"}:
        raise ValueError(f"{min(given)} says how a tokenizer reads; choose that too, such as --tokenizer espeak")
    return bool(given)


def _named(argument: str, spelled: Mapping[str, str]) -> str:
    option, equals, value = argument.partition("=")
    return spelled.get(option, option) + equals + value


def note(text: str) -> None:
    """A line on stderr, which is for people; stdout is for results."""
    sys.stderr.write(f"{text}\n")
