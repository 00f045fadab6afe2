# SPDX-License-Identifier: Apache-2.0
"""Commands about voices."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated

import tyro

from zipvoice.cli.parsing import EXIT_ERROR, EXIT_USAGE, note, parse
from zipvoice.cli.synthesis import Machine
from zipvoice.config.strict_json import suggestion

if TYPE_CHECKING:
    from zipvoice.synthesis.voices import KnownVoice


@dataclass(frozen=True)
class SaveVoice:
    """Make a voice of a recording and save it under a name."""

    name: tyro.conf.Positional[str]
    """Name of the voice."""
    recording: tyro.conf.Positional[str]
    """A recording of the voice, best 3 to 10 seconds of clean speech."""
    text: tyro.conf.Positional[str | None] = None
    """What the recording says; without it a recogniser hears it, if one is installed, and tells the words."""
    voice_text: str | None = None
    """The same as TEXT, as other commands have it."""
    voice_start: float | None = None
    """Seconds into the recording at which the part begins that is used; the text is what that part says."""
    voice_end: float | None = None
    """Seconds into the recording at which the part ends that is used."""
    force: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Replace a voice of that name, or take the place of the package's, without asking."""
    machine: Annotated[Machine, tyro.conf.arg(name="")] = field(default_factory=Machine)


@dataclass(frozen=True)
class ListVoices:
    """List the voices: name, length, when saved, what the recording says."""

    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""


@dataclass(frozen=True)
class PlayVoice:
    """Hear a voice again, as a model hears it: its recording made from the features that were kept."""

    name: tyro.conf.Positional[str]
    """Name of the voice, or a voice file."""
    output: Annotated[str | None, tyro.conf.arg(aliases=["-o"])] = None
    """Write it to this file instead."""


@dataclass(frozen=True)
class RemoveVoice:
    """Forget a saved voice."""

    name: tyro.conf.Positional[str]
    """Name of the voice."""


def voice(arguments: list[str]) -> int:
    """`voice save`, `voice list`, `voice play` and `voice remove`."""
    action, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if action in ACTIONS:
        return ACTIONS[action](rest) or 0
    if action in ("-h", "--help"):
        sys.stdout.write(f"{_USAGE}\n")
        return 0
    note(_USAGE)
    if action:
        note(f"zipvoice: there is no action {action!r}{suggestion(action, ACTIONS)}")
    return EXIT_USAGE


_USAGE = """\
usage: zipvoice voice save NAME RECORDING [TEXT] | list | play NAME | remove NAME
`zipvoice voice save --help` explains an action."""


def _save(arguments: list[str]) -> None:
    command = parse(SaveVoice, "voice save", arguments)
    if command.text is not None and command.voice_text is not None:
        raise ValueError("give the transcript once, behind the recording or with --voice-text")
    from zipvoice.synthesis import voices

    text = command.voice_text if command.text is None else command.text
    replace = command.force or _agreed(command.name)
    voices.check_name(command.name, replace)  # before the work
    prompt = command.machine.load().prompt(command.recording, text, start=command.voice_start, end=command.voice_end)
    note(f"saved {voices.save(command.name, prompt, replace=replace)}")


def _agreed(name: str) -> bool:
    """Whether somebody at a terminal lets an existing voice be replaced."""
    from zipvoice.synthesis import voices

    if name not in voices.known() or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    sys.stderr.write(f"there is a voice {name!r} already; replace it? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _list(arguments: list[str]) -> int:
    command = parse(ListVoices, "voice list", arguments)
    from zipvoice.synthesis import voices

    known, faults = voices.describe()
    shown = json.dumps([asdict(one) for one in known], ensure_ascii=False, indent=2) if command.json else _table(known)
    sys.stdout.write(f"{shown}\n")
    for fault in faults:
        note(f"zipvoice: {fault}")
    return EXIT_ERROR if faults else 0


def _table(known: list["KnownVoice"]) -> str:
    """A line for each voice, in columns where somebody reads them, else with tabs."""
    when = [one.saved[:16].replace("T", " ") if one.saved else "in the package" for one in known]
    rows = [(one.name, f"{one.seconds:.1f} s", date, one.text) for one, date in zip(known, when, strict=True)]
    if not sys.stdout.isatty():
        return "\n".join(map("\t".join, rows))
    width = max(len(one.name) for one in known)
    return "\n".join(f"{name:{width}}  {length:>6}  {date:16}  {text}" for name, length, date, text in rows)


def _play(arguments: list[str]) -> None:
    command = parse(PlayVoice, "voice play", arguments)
    from zipvoice.synthesis import voices

    audio = voices.heard(voices.by_name(command.name))
    if command.output is None:
        audio.play()
    else:
        audio.save(command.output)
        note(f"{command.output}: {audio.seconds:.2f} s")


def _remove(arguments: list[str]) -> None:
    command = parse(RemoveVoice, "voice remove", arguments)
    from zipvoice.synthesis import voices

    voices.remove(command.name)


ACTIONS: dict[str, Callable[[list[str]], int | None]] = {"save": _save, "list": _list, "play": _play, "remove": _remove}
