# SPDX-License-Identifier: Apache-2.0
"""The command that speaks subtitles."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from zipvoice import builtin
from zipvoice.cli.parsing import note, parse
from zipvoice.cli.synthesis import Delivery, Machine, Options, Result, progress, spare_inputs
from zipvoice.config.synthesis import SynthesisOptions

if TYPE_CHECKING:
    from zipvoice.synthesis.prompt import Prompt
    from zipvoice.synthesis.subtitles import Fit


@dataclass(frozen=True)
class DubCommand:
    """Speak subtitles (SRT, WebVTT, ASS, TTML and more), each cue in its time.

    Cues are spoken at the pace of the voice, and faster only where they must be; the rest of their time is silent. What
    does not fit takes time from the silence before the next cue, and is listed.
    """

    subtitles: tyro.conf.Positional[Path]
    """The file."""
    voice: Annotated[str | None, tyro.conf.arg(aliases=["-v"])] = None
    """The voice of cues that name no speaker: a recording, a voice file, or the name of a voice; by default heart,
    which comes with the package."""
    voice_text: str | None = None
    """What the recording says; a saved voice knows it. Without it a recogniser hears it, if one is installed."""
    speaker: tuple[str, ...] = ()
    """NAME=VOICE for cues that begin with "NAME: " or have the WebVTT tag <v NAME>; VOICE is a voice file or the
    name of a saved voice."""
    fit: Literal["natural", "stretch"] = "natural"
    """stretch speaks slower as well, so that each cue is filled."""
    result: Annotated[Result, tyro.conf.arg(name="")] = field(default_factory=Result)
    machine: Annotated[Machine, tyro.conf.arg(name="")] = field(default_factory=Machine)
    options: Options = field(default_factory=SynthesisOptions)


def dub(arguments: list[str]) -> None:
    command = parse(DubCommand, "dub", arguments)
    speakers = dict(_assignment(item) for item in command.speaker)
    _check(command)
    from zipvoice.synthesis.output import check_length
    from zipvoice.synthesis.subtitles import dub_parts, plan_cues, read_subtitles
    from zipvoice.synthesis.voices import find_prompt

    result = command.result
    cues, delivery = read_subtitles(command.subtitles, list(speakers)), Delivery(result)
    options = delivery.words.options(command.options)
    for name in speakers.keys() - {cue.speaker for cue in cues}:
        note(f"no cue is {name}'s; --speaker {name}=... is not used")
    synthesizer = command.machine.load()
    check_length(result.output, max(cue.end for cue in cues), synthesizer.num_channels)
    settings: dict[str, Any] = {"target_rms": options.target_rms, "raw": options.raw}
    voices: dict[str | None, Prompt] = {
        name: find_prompt(synthesizer, voice, **settings) for name, voice in speakers.items()
    }
    voices[None] = find_prompt(synthesizer, command.voice, command.voice_text, **settings)
    fits = plan_cues(synthesizer, cues, voices, options, command.fit)
    if not (result.quiet or result.json):
        _tell_fits(fits)
    watched = progress(fits, result.quiet or result.json, "cue")
    length = delivery.write(dub_parts(synthesizer, watched, voices, options))
    about = {"model": command.machine.model, "voice": command.voice or builtin.VOICE, "seed": options.seed}
    spoken = [_described(fit) for fit in fits]
    delivery.tell(synthesizer, length, {**about, "cues": spoken}, f"{len(cues)} cues, {length:.2f} s")


def _described(fit: "Fit") -> dict[str, Any]:
    """A cue and how it is spoken, for JSON; a cue that is too long takes time from what follows it."""
    cue = fit.cue
    described = {"line": cue.line, "start": cue.start, "end": cue.end, "speaker": cue.speaker, "text": cue.text}
    return {**described, "seconds": fit.seconds, "natural_seconds": fit.natural_seconds, "too_long": fit.is_too_long}


def _tell_fits(fits: list["Fit"]) -> None:
    for fit in fits:
        if fit.is_unnatural or fit.is_too_long:
            how = f"{fit.stretch:.2f} times its natural {fit.natural_seconds:.2f} s"
            late = f", {fit.seconds - fit.cue.seconds:.2f} s after its end" if fit.is_too_long else ""
            note(f"  line {fit.cue.line}: {fit.cue.seconds:.2f} s are {how}{late}: {fit.cue.text[:50]!r}")


def _check(command: DubCommand) -> None:
    """Raise ValueError for what dubbing cannot heed."""
    names = [_assignment(item)[0] for item in command.speaker]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"--speaker gives {name} more than one voice; leave one")
    for given in ("duration", "speed", "raw"):
        if getattr(command.options, given) == getattr(SynthesisOptions, given):
            continue
        raise ValueError(f"cues are spoken at the pace of the voice, in their times; leave out --{given}")
    spare_inputs(command.result, command.subtitles, command.voice, *(_assignment(item)[1] for item in command.speaker))


def _assignment(item: str) -> tuple[str, str]:
    name, equals, voice = item.partition("=")
    if not (name and equals and voice):
        raise ValueError(f"--speaker takes NAME=VOICE, not {item!r}")
    return name, voice
