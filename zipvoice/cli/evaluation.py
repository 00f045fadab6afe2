# SPDX-License-Identifier: Apache-2.0
"""The command that scores speech."""

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from zipvoice.cli.parsing import note, parse
from zipvoice.config.evaluation import SuiteOptions

if TYPE_CHECKING:
    from zipvoice.evaluation.scores import Expected, FolderScores
    from zipvoice.evaluation.team import Team


@dataclass(frozen=True)
class Evaluate:
    """Score folders of speech against the list they say: intelligibility, voice, quality, with error bars."""

    list: tyro.conf.Positional[Path | None] = None
    """The list that `zipvoice batch` spoke: TSV (name, transcript, recording, text) or JSON lines."""
    folders: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Folders with a recording {name}.wav (or .flac, .ogg, .opus, .mp3) of each line. The others are compared with the
    first."""
    suite: str = "offline"
    """offline: English, needs no download. Those that papers use: librispeech-pc, seedtts-en, seedtts-zh, dialogue-en,
    dialogue-zh."""
    options: tyro.conf.OmitArgPrefixes[SuiteOptions] = field(default_factory=SuiteOptions)
    """What a suite says may be said otherwise."""
    speaker: str | None = None
    """Regular expression; what it matches in the file name of a prompt is the speaker. Error bars draw speakers.
    Without it each prompt is one."""
    transcripts: Path | None = None
    """Compare what is heard with these transcripts instead of the texts of the list, as LibriSpeech-PC's figures do:
    TSV, the name first and the transcript last."""
    save: Path | None = None
    """Folder for a file of JSON lines for each scored folder, a line for each recording. An interrupted run goes on
    from there."""
    reproduce: tuple[Path, ...] = ()
    """Files of --save: print what is published for the suite beside their figures. Needs no list and no models."""
    worst: int = 0
    """Print as many of the worst recordings of each folder, with links to them, what they should say and what was
    heard."""
    plot: Path | None = None
    """Draw how the scores of each folder are distributed: .png, .svg or .pdf."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""

    def __post_init__(self) -> None:
        if self.worst < 0:
            raise ValueError(f"--worst must be 0 or more, not {self.worst}")
        try:
            re.compile(self.speaker or "")
        except re.error as error:
            raise ValueError(f"--speaker {self.speaker!r} is no regular expression: {error}") from None


def evaluate(arguments: list[str]) -> None:
    command = parse(Evaluate, "evaluate", arguments)
    if command.plot:
        from zipvoice.evaluation.score_picture import require_picture

        require_picture(command.plot)  # before any work
    if command.reproduce:
        sys.stdout.write(_beside_published(command))
        return
    if command.list is None or not command.folders:
        raise ValueError("give a list and the folders that say it: zipvoice evaluate LIST FOLDER...")
    from zipvoice.evaluation import report
    from zipvoice.evaluation.suites import settled

    options = settled(command.suite, command.options)
    with _team(options.device) as (team, device):
        scores = _scores(command, replace(options, device=device), team)
    if team.rank:
        return
    _draw(command, scores)
    if command.json:
        sys.stdout.write(json.dumps(report.as_data(scores)) + "\n")
        return
    shown = [report.table(scores), report.comparisons(scores), report.judged_by(scores)]
    shown += [report.worst(folder, command.worst) for folder in scores.values() if command.worst]
    sys.stdout.write("\n".join(part for part in shown if part))


@contextmanager
def _team(device: str) -> Iterator[tuple["Team", str]]:
    """The processes that torchrun started, and the device of this one."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        from zipvoice.evaluation.team import ALONE

        yield ALONE, device
        return
    from zipvoice.training.distributed import joined

    with joined(device) as world:
        yield world, str(world.device)


def _scores(command: Evaluate, options: SuiteOptions, team: "Team") -> dict[str, "FolderScores"]:
    from zipvoice.evaluation.run import find_recordings, score_folder
    from zipvoice.evaluation.suites import make_judges

    assert command.list
    results = {folder: _results(command, folder) for folder in command.folders}
    expected = _expected(command.list, command.speaker)
    if command.transcripts:
        expected = _transcribed(expected, command.transcripts)
    for folder in command.folders:
        find_recordings(expected, folder)  # before the work
    judges = make_judges(options, expected)
    return {str(folder): score_folder(expected, folder, judges, path, team) for folder, path in results.items()}


def _draw(command: Evaluate, scores: "dict[str, FolderScores]") -> None:
    if command.plot:
        from zipvoice.evaluation.score_picture import draw_scores

        draw_scores(command.plot, scores)
        note(f"wrote {command.plot}")


def _beside_published(command: Evaluate) -> str:
    from zipvoice.evaluation.published import beside_published
    from zipvoice.evaluation.run import read_results

    scores = {path.stem: read_results(path) for path in command.reproduce}
    _draw(command, scores)
    return beside_published(command.suite, scores)


def _results(command: Evaluate, folder: Path) -> Path | None:
    names = [other.resolve().name for other in command.folders]
    if command.save and names.count(folder.resolve().name) > 1:
        raise ValueError(f"two of the folders are called {folder.name}; save their scores one after the other")
    return command.save / f"{folder.resolve().name}.jsonl" if command.save else None


def _expected(path: Path, speaker: str | None) -> "list[Expected]":
    """The lines of a list, with their speakers."""
    from zipvoice.evaluation.scores import Expected
    from zipvoice.utterances import read_list

    found = []
    for utterance in read_list(path).values():
        audio = utterance.ref_audio or ()  # a line may name a saved voice instead
        prompts = audio if isinstance(audio, tuple) else (audio,)
        matched = [re.search(speaker, Path(prompt).name) if speaker else None for prompt in prompts]
        names = [match[0] if match else prompt for match, prompt in zip(matched, prompts, strict=True)]
        found.append(
            Expected(utterance.id, utterance.text, tuple(map(Path, prompts)), " ".join(names) or utterance.voice or "")
        )
    return found


def _transcribed(expected: "list[Expected]", path: Path) -> "list[Expected]":
    """The lines with other texts. Raises ValueError where one has none."""
    from zipvoice.utterances import content_of

    texts: dict[str, str] = {}
    for number, line in enumerate(content_of(path).split("\n"), 1):
        name, *rest = line.strip().split("\t")
        if name and not rest:
            raise ValueError(f"{path}, line {number}: a name and its transcript are wanted, with a tab between them")
        if rest and texts.setdefault(name, rest[-1]) != rest[-1]:
            raise ValueError(f"{path}, line {number}: {name} has another transcript before; leave one of them")
    missing = [item.name for item in expected if item.name not in texts]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise ValueError(f"{path} has no transcript of {', '.join(missing[:5])}{more}")
    return [replace(item, text=texts[item.name]) for item in expected]
