# SPDX-License-Identifier: Apache-2.0
"""What is said of a command line that cannot be read: one line, in the words of its help."""

import re
from collections.abc import Mapping, Sequence

from zipvoice.cli.help import Option

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
PLAIN = str.maketrans("\u2500\u2502\u256d\u256e\u2570\u256f", "-     ")
"""Lines and corners of the parser's boxes, as it draws them where there is ASCII only."""
RULE = re.compile(r" *-{4,} *")


def usage_error(box: str, name: str, options: Sequence[Option], spelled: Mapping[str, str]) -> str:
    """The parser's words about a mistake as a line: what is wrong, what may be meant, where more is to be read.

    Args:
        box: what the parser writes: boxes with parts, of which the first says what is wrong.
        name: of the command.
        options: as help shows them.
        spelled: names in the dataclass of options, by the spelling that people use.
    """
    for shown, flag in spelled.items():
        if shown.startswith("--"):
            box = re.sub(rf"(?<![\w-]){re.escape(flag)}(?![\w.-])", shown, box)
    said, *more = _parts(box)
    command = typed(name)
    if said[0].startswith("Missing from"):
        told = f"what is missing: {', '.join(_missing(said[1:], options))};"
    else:
        told = _told(" ".join(line.strip() for line in said), options) + (_meant(more) or ";")
    return f"{command}: {told} `{command} --help` explains"


def typed(name: str) -> str:
    """A command as it is typed, without the words that stand for its arguments.

    Example:
        >>> typed("train CONFIG.json")
        'zipvoice train'
    """
    return " ".join(["zipvoice", *(word for word in name.split() if word.islower())])


def _parts(box: str) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for line in COLOUR.sub("", box).translate(PLAIN).splitlines()[1:]:
        if RULE.fullmatch(line):
            parts.append([])
        elif line.strip():
            parts[-1].append(line[2:].rstrip())
    return [part for part in parts if part]


def _told(text: str, options: Sequence[Option]) -> str:
    if match := re.fullmatch(r"Unrecognized options: (.*)", text):
        words = match[1].split(", ")
        unknown = [word for word in words if word.startswith("-")]
        if unknown:
            return f"there is no option {', '.join(unknown)}"
        takes_text = any(option.value.strip("[]") == "TEXT" and not option.flags for option in options)
        hint = "; a text of several words stands in quotes" if takes_text else ""
        return f"{words[0]!r} is one word too many{hint}"
    if match := re.match(r"Error parsing [\w.]+: (.*)", text):
        return match[1]
    if match := re.match(r"Error parsing (\S+): .*?(?:[:\[] ?\[?('[^']*')\]?)?$", text):
        found = f", not {match[2]}" if match[2] else ""
        return f"{match[1].split('/')[-1]} takes {_value_of(match[1], options)}{found}"
    if match := re.match(r"Missing value for argument '([^']+)'", text):
        return _needs(match[1].split("/")[-1], _value_of(match[1], options))
    if match := re.match(r"invalid choice ('.*?') for argument '([^']+)'\. Expected one of ", text):
        choices = [choice for choice in _value_of(match[2], options).strip("{}").split(",") if choice]
        return f"{match[2].split('/')[-1]} is one of {', '.join(choices)}, not {match[1]}"
    return text[:1].lower() + text[1:].rstrip(".")


def _needs(name: str, value: str) -> str:
    """What is said of an option or a positional argument without a value; that may look like an option itself."""
    if not name.startswith("-"):
        return f"{name.split('.')[-1].upper()} needs a value; one that begins with - stands behind --"
    dashed = "" if value.startswith(("{", "INT", "FLOAT")) else f"; one that begins with - is written {name}=..."
    return f"{name} needs a value, {value}{dashed}"


def _value_of(flag: str, options: Sequence[Option]) -> str:
    """What help shows as the value of an option, or of a positional argument."""
    names = {*flag.split("/")}
    known = (option.value for option in options if not names.isdisjoint(option.flags or (option.field,)))
    return next(known, "another value")


def _missing(lines: Sequence[str], options: Sequence[Option]) -> list[str]:
    """The arguments that are listed with their help texts, as help names them."""
    texts: list[str] = []
    for line in lines:
        if line.startswith(" " * 8) and texts:
            texts[-1] += f" {line.strip()}"
        else:
            texts.append("")
    heads = {option.text.removesuffix(" (required)"): option for option in options}
    found = [heads[text] for each in texts if (text := each.strip().removesuffix(" (required)")) in heads]
    return [" ".join([*option.flags[-1:], option.value]) for option in found]


def _meant(parts: Sequence[Sequence[str]]) -> str:
    """The option that the parser finds most similar, of those that it lists with their texts."""
    listed = next((part for part in parts if part[0].startswith("Perhaps you meant")), [])
    flags = [match[1] for line in listed if (match := re.match(r"    (?:-\w, )?(--[^ ,]+)", line))]
    return f"; did you mean {flags[0]}?" if flags else ""
