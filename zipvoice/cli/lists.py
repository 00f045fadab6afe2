# SPDX-License-Identifier: Apache-2.0
"""The command that speaks lists."""

import json
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from zipvoice.cli.parsing import EXIT_SOME_FAILED, note, parse
from zipvoice.cli.synthesis import Machine, Markdown, Options, is_markdown, steps_taken
from zipvoice.config.synthesis import SynthesisOptions

if TYPE_CHECKING:
    from zipvoice.synthesis.batch import Kept, ListWork, Outcome


@dataclass(frozen=True)
class BatchCommand:
    """Speak a list of texts, each into a file of its own.

    The list: a text per line; lines of id and text with a tab between them; a table (.csv, .tsv) whose first line
    names its columns; or JSON lines (.jsonl). Columns and keys are id, text, voice (a name or a voice file) or
    ref_audio and ref_text, language_id, duration, speed and seed. Files that exist are kept, so an interrupted list
    goes on where it was. Under torchrun each process speaks its share.
    """

    list: tyro.conf.Positional[Path]
    """The list."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("results")
    """Folder of the files, {id}.wav."""
    voice: Annotated[str | None, tyro.conf.arg(aliases=["-v"])] = None
    """Speaks what names no voice of its own: a recording, a voice file, or the name of a voice; by default heart."""
    voice_text: str | None = None
    """What the recording says; a saved voice knows it. Without it a recogniser hears it, if one is installed."""
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Speak what has a file already anew."""
    markdown: Markdown = "auto"
    """Leave out the marks of Markdown and its blocks of code in each text; auto does so in .md and .markdown lists."""
    words: Literal["json", "srt", "vtt", "TextGrid"] | None = None
    """Write when each word is spoken into a file of this format beside each sound."""
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Check the whole list and speak nothing."""
    quiet: Annotated[bool, tyro.conf.arg(aliases=["-q"]), tyro.conf.FlagCreatePairsOff] = False
    """No progress bar and no summary on stderr."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print what became of each utterance as a JSON line on stdout; of files that stay, what was spoken otherwise."""
    machine: Annotated[Machine, tyro.conf.arg(name="")] = field(default_factory=Machine)
    options: Options = field(default_factory=SynthesisOptions)


def batch(arguments: list[str]) -> int:
    command = parse(BatchCommand, "batch", arguments)
    from zipvoice.synthesis.batch import ListWork, check_list, share
    from zipvoice.synthesis.voices import find_prompt
    from zipvoice.text.normalizer.markdown import plain, plain_lines
    from zipvoice.utterances import read_list

    marked, options = is_markdown(command.markdown, command.list), command.options
    utterances = read_list(command.list, plain_lines if marked else None)
    if marked:
        utterances = {line: replace(one, text=plain(one.text)) for line, one in utterances.items()}
    rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    synthesizer = command.machine.load()
    check_list(command.list, utterances, synthesizer, options)
    voice = find_prompt(synthesizer, command.voice, command.voice_text, target_rms=options.target_rms, raw=options.raw)
    work = ListWork(
        synthesizer,
        list(utterances.values()),
        command.output,
        synthesizer.resolved(replace(options, word_times=options.word_times or bool(command.words))),
        voice,
        f"{command.voice} {command.voice_text}",
        f"{command.machine.model} {command.machine.vocoder or ''}".strip(),
        command.overwrite,
        f".{command.words}" if command.words else "",
    )
    work.spare_inputs(command.list, command.voice)
    if command.dry_run:
        note(f"{command.list}: all {len(utterances)} utterances can be spoken")
        return 0
    work = replace(work, utterances=share(utterances.values(), rank, world_size))
    steps = steps_taken(synthesizer, work.options, command.quiet or rank > 0)
    return _speak_list(work, steps if command.json else None, command.quiet, rank)


def _speak_list(work: "ListWork", about: dict[str, Any] | None, quiet: bool, rank: int) -> int:
    """The status of the command; what becomes of each utterance is printed with what is to be told `about` it."""
    kept = list(work.kept())
    _tell_kept(kept, quiet)
    total = len(work.utterances) - len(kept)
    if about is not None:
        for one in kept:
            _print_line(one, kept=True)
    failed = []
    for outcome in _watched(work.outcomes(), total, quiet or rank > 0):
        if about is not None:
            _print_line(outcome, kept=False, **about)
        if outcome.error is not None:
            failed.append(outcome)
    if not quiet and total:
        _summarise(failed, total)
    return EXIT_SOME_FAILED if failed else 0


def _print_line(became: "Kept | Outcome", **more: Any) -> None:
    sys.stdout.write(json.dumps({**asdict(became), "path": str(became.path), **more}) + "\n")


def _tell_kept(kept: list["Kept"], quiet: bool) -> None:
    """How many files are there already, and, also if `quiet`, how many of them are not what is asked for now."""
    if kept and not quiet:
        note(f"{len(kept)} files are there already and kept")
    changed = [one for one in kept if one.changed]
    if changed:
        what = ", ".join(dict.fromkeys(name for one in changed for name in one.changed))
        first = min(str(one.path) for one in changed)
        note(f"{len(changed)} of them were spoken otherwise ({what}), as {first}; --overwrite speaks anew")


def _watched(outcomes: Iterable["Outcome"], total: int, quiet: bool) -> Iterable["Outcome"]:
    """The outcomes, with a progress bar that tells how many seconds of speech a second makes."""
    from tqdm import tqdm

    start, spoken = time.perf_counter(), 0.0
    with tqdm(total=total, unit="utt", disable=quiet or not total or not sys.stderr.isatty()) as bar:
        for outcome in outcomes:
            spoken += outcome.seconds
            bar.set_postfix_str(f"{spoken / (time.perf_counter() - start):.1f} s of speech per second")
            bar.update()
            yield outcome


def _summarise(failed: list["Outcome"], total: int) -> None:
    for outcome in failed:
        note(f"{outcome.id}: {outcome.error}")
    note(f"{total - len(failed)} of {total} utterances are spoken" + (f", {len(failed)} failed" if failed else ""))
