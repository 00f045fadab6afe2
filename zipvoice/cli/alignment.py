# SPDX-License-Identifier: Apache-2.0
"""The command that finds the times of words."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from zipvoice.cli.parsing import note, parse
from zipvoice.cli.synthesis import Result, lines_of, spare_inputs


@dataclass(frozen=True)
class Align:
    """Find when each word of a recording is spoken, given what it says."""

    audio: tyro.conf.Positional[Path]
    """The recording."""
    text: tyro.conf.Positional[str | None] = None
    """What it says, word for word."""
    file: Path | None = None
    """Read the text from this file instead."""
    language: str = "en"
    """en, which knows Chinese too, or another language of espeak-ng, such as de."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Write the times to this file: .json, .srt, .vtt or .TextGrid."""
    plot: Path | None = None
    """Draw the sound and its words: .png, .svg or .pdf."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print a JSON list of word, start and end."""


def align(arguments: list[str]) -> None:
    command = parse(Align, "align", arguments)
    from zipvoice.audio.files import read
    from zipvoice.evaluation.alignment import align as find_words
    from zipvoice.evaluation.transcription import fits
    from zipvoice.evaluation.word_files import format_of, words_json, write_words
    from zipvoice.text.characters import is_han

    if (command.text is None) == (command.file is None):
        raise ValueError("what does the recording say? Give its text, or --file, one of them")
    if command.output is not None:
        format_of(command.output)  # before any work
        spare_inputs(Result(str(command.output)), command.audio, command.file)
    audio = read(command.audio)
    text = "".join(lines_of(command.file)) if command.file else command.text
    words = find_words(audio, text, command.language)
    if command.language == "en" and not any(map(is_han, text)) and not fits(audio, text):
        note(f"{command.audio} does not seem to say this text; where it does not, the times mean nothing")
    if command.json:
        sys.stdout.write(words_json(words, audio.seconds))
    elif command.output is None and command.plot is None:
        sys.stdout.write("".join(f"{one.start:8.3f} {one.end:8.3f}  {one.word}\n" for one in words))
    if command.output is not None:
        write_words(command.output, words, audio.seconds)
        note(f"wrote {command.output}")
    if command.plot is not None:
        from zipvoice.evaluation.word_picture import draw_words

        draw_words(command.plot, audio, words)
        note(f"wrote {command.plot}")
