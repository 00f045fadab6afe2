# SPDX-License-Identifier: Apache-2.0
"""Commands that speak."""

import json
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO, TypeVar

import tyro

from zipvoice import builtin
from zipvoice.cli.parsing import EXIT_SOME_FAILED, note, parse
from zipvoice.config.synthesis import SynthesisOptions

if TYPE_CHECKING:
    from zipvoice.audio.words import Word
    from zipvoice.synthesis.batch import Kept, ListWork, Outcome
    from zipvoice.synthesis.prompt import Prompt
    from zipvoice.synthesis.subtitles import Fit
    from zipvoice.synthesis.synthesizer import Synthesizer

T = TypeVar("T")
Options = Annotated[SynthesisOptions, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class Machine:
    """What speaks."""

    model: str = builtin.MODELS[0]
    """A model directory, or the name of a model: one of the package, or a released one, which is downloaded once."""
    revision: str | None = None
    """Branch, tag or commit of a released model."""
    vocoder: str | None = None
    """A Vocos directory, vocos_small (of the package), or griffin-lim, which needs no weights. By default griffin-lim
    for models of the package, the graph of a directory that has one, and the published Vocos, downloaded once, for all
    others."""
    runtime: str = "auto"
    """What computes: torch, onnx (ONNX Runtime, on a CPU, without PyTorch), or auto: torch on a GPU, for half precision
    and where there is no graph, else onnx. --json tells which it was."""
    device: str | None = None
    """cpu, cuda, cuda:1, mps; by default the best there is, and under torchrun a GPU for each process."""
    dtype: str = "float32"
    """Arithmetic of the model: float32, bfloat16 or float16."""
    skip_unknown: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Leave out what the model cannot speak, with a warning, rather than refuse the text."""

    def load(self) -> "Synthesizer":
        from zipvoice.synthesis.synthesizer import load

        return load(
            self.model,
            vocoder=self.vocoder,
            runtime=self.runtime,
            device=self.device,
            dtype=self.dtype,
            skip_unknown=self.skip_unknown,
            revision=self.revision,
        )


# ---------------------------------------------------------------- say, dialog

Markdown = Literal["auto", "yes", "no"]


@dataclass(frozen=True)
class Result:
    """Where the speech goes, and what is told about it."""

    output: Annotated[str, tyro.conf.arg(aliases=["-o"])] = "out.wav"
    """Where to write the speech; the suffix names the format. - writes wav to standard output as it is made."""
    quiet: Annotated[bool, tyro.conf.arg(aliases=["-q"]), tyro.conf.FlagCreatePairsOff] = False
    """Say nothing about the speech on stderr."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print a JSON object about the speech: on stdout, or on stderr where the speech goes to stdout."""
    words: Path | None = None
    """Write when each word is spoken to this file: .json, .srt, .vtt or .TextGrid."""


@dataclass(frozen=True)
class Say:
    """Speak a text, in the voice of a recording or in that of the package.

    The transcript must be what the recording says, word for word.
    """

    text: tyro.conf.Positional[str | None] = None
    """What to say; - reads it from standard input."""
    file: Path | None = None
    """Read the text from this file instead. Blank lines part paragraphs, two or more part chapters."""
    markdown: Markdown = "auto"
    """Leave out the marks of Markdown and its blocks of code; auto does so for .md and .markdown files."""
    voice: str | None = None
    """A recording, best 3 to 10 seconds of clean speech, a voice file, or the name of a voice; by default kathleen,
    which comes with the package."""
    voice_text: str | None = None
    """What the recording says; a saved voice knows it. Without it a recogniser hears it, if one is installed."""
    voice_start: float | None = None
    """Seconds into the recording at which the part begins that is used; --voice-text is what that part says."""
    voice_end: float | None = None
    """Seconds into the recording at which the part ends that is used."""
    result: Annotated[Result, tyro.conf.arg(name="")] = field(default_factory=Result)
    machine: Annotated[Machine, tyro.conf.arg(name="")] = field(default_factory=Machine)
    options: Options = field(default_factory=SynthesisOptions)


def say(arguments: list[str]) -> None:
    command = parse(Say, "say", arguments)
    text = _text(command.text, command.file, command.markdown)
    from zipvoice.synthesis.voices import find_prompt

    synthesizer = command.machine.load()
    options = command.options
    part = {"start": command.voice_start, "end": command.voice_end}
    level = {"target_rms": options.target_rms, "raw": options.raw}
    prompt = find_prompt(synthesizer, command.voice, command.voice_text, **level, **part)
    _speak(synthesizer, text, prompt, command.options, command.result)


@dataclass(frozen=True)
class Dialog:
    """Speak a dialogue, "[S1] Hello. [S2] Hi, how are you?", in the voices of two speakers.

    The voices come from one recording of both, whose transcript has tags too, or from one recording of each.
    """

    text: tyro.conf.Positional[str | None] = None
    """What to say, beginning with [S1]; - reads it from standard input."""
    file: Path | None = None
    """Read the text from this file instead."""
    markdown: Markdown = "auto"
    """Leave out the marks of Markdown and its blocks of code; auto does so for .md and .markdown files."""
    voice: tuple[str, ...] = ()
    """The recording, or first that of [S1] and then that of [S2]; or a saved voice of both."""
    voice_text: tuple[str, ...] = ()
    """What the recording says, with tags, or what the two say, without."""
    result: Annotated[Result, tyro.conf.arg(name="")] = field(default_factory=Result)
    machine: Annotated[Machine, tyro.conf.arg(name="")] = field(
        default_factory=lambda: Machine(model="zipvoice_dialog")
    )
    options: Options = field(default_factory=SynthesisOptions)


def dialog(arguments: list[str]) -> None:
    command = parse(Dialog, "dialog", arguments)
    if len(command.voice) not in (1, 2) or len(command.voice_text) not in (0, len(command.voice)):
        raise ValueError("give --voice and --voice-text one recording and transcript of both speakers, or two of each")
    text = _text(command.text, command.file, command.markdown)
    from zipvoice.synthesis.voices import find_prompt

    synthesizer = command.machine.load()
    level = {"target_rms": command.options.target_rms, "raw": command.options.raw}
    if len(command.voice) == 2:
        prompt = synthesizer.dialog_prompt(command.voice, command.voice_text, **level)
    else:
        prompt = find_prompt(synthesizer, command.voice[0], next(iter(command.voice_text), None), **level)
    if not synthesizer.is_dialogue:
        raise ValueError(f"{command.machine.model} has one voice; --model zipvoice_dialog has two")
    _speak(synthesizer, text, prompt, command.options, command.result)


def _text(text: str | None, file: Path | None, markdown: Markdown) -> Iterable[str] | str:
    """What to say, a text or its lines; Markdown is read as a whole, since its blocks span paragraphs."""
    lines = _written(text, file)
    if not _is_markdown(markdown, file):
        return lines
    from zipvoice.text.normalizer.markdown import plain

    return plain("".join(lines))


def _is_markdown(given: Markdown, file: Path | None) -> bool:
    return given == "yes" or (given == "auto" and file is not None and file.suffix.lower() in (".md", ".markdown"))


def _written(text: str | None, file: Path | None) -> Iterable[str] | str:
    if (text is None) == (file is None):
        raise ValueError("what to say? Give a text, - for standard input, or --file, one of them")
    if text is not None:
        return sys.stdin if text == "-" else text
    assert file is not None
    return sys.stdin if str(file) == "-" else _lines(file.open(encoding="utf-8-sig"))


def _lines(file: TextIO) -> Iterable[str]:
    with file:
        try:
            yield from file
        except UnicodeDecodeError as error:
            raise ValueError(f"{file.name} is not UTF-8 text ({error.reason}); save it as UTF-8") from None


def _speak(
    synthesizer: "Synthesizer", text: Iterable[str] | str, prompt: "Prompt", options: SynthesisOptions, result: Result
) -> None:
    from zipvoice.synthesis.output import write_parts, write_wav
    from zipvoice.synthesis.word_times import collected

    words = WordFile(result.words)
    options = words.options(options)
    start, to_pipe = time.perf_counter(), result.output == "-"
    if to_pipe:
        length = write_wav(sys.stdout.buffer, collected(synthesizer.stream(text, prompt, options), words.found))
    else:
        length = write_parts(result.output, collected(synthesizer.parts(text, prompt, options), words.found))
    seconds = time.perf_counter() - start
    words.write(length)
    if result.json:
        about = {"output": result.output, "seconds": length, "took_seconds": seconds, **words.about()}
        about |= asdict(synthesizer.model.computed_by)
        (sys.stderr if to_pipe else sys.stdout).write(json.dumps(about) + "\n")
    elif not result.quiet:
        name = "stdout" if to_pipe else result.output
        note(f"{name}: {length:.2f} s of speech in {seconds:.2f} s (real-time factor {seconds / length:.2f})")
        if not to_pipe and (player := _player()):
            note(f"hear it with: {player} {result.output}")


@dataclass(frozen=True)
class WordFile:
    """The times of words on their way into a file, if one is asked for."""

    path: Path | None
    found: "list[Word]" = field(default_factory=list)

    def options(self, options: SynthesisOptions) -> SynthesisOptions:
        """The options with times of words, if they go into a file. Raises ValueError for a file of unknown format."""
        if self.path is None:
            return options
        from zipvoice.evaluation.word_files import format_of

        format_of(self.path)
        return replace(options, word_times=True)

    def write(self, seconds: float) -> None:
        if self.path is None:
            return
        from zipvoice.evaluation.word_files import write_words

        write_words(self.path, self.found, seconds)

    def about(self) -> dict[str, Any]:
        return {"words": [asdict(word) for word in self.found]} if self.found else {}


def _player() -> str | None:
    """A program of this machine that plays sound files."""
    import shutil

    players = ("afplay", "ffplay -autoexit -nodisp", "play", "mpv", "paplay", "aplay")
    return next((player for player in players if shutil.which(player.split()[0])), None)


# ---------------------------------------------------------------- batch


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
    """Speaks what names no voice of its own: a recording, a voice file, or the name of a voice; by default kathleen."""
    voice_text: str | None = None
    """What the recording says; a saved voice knows it. Without it a recogniser hears it, if one is installed."""
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Speak what has a file already anew."""
    markdown: Markdown = "auto"
    """Leave out the marks of Markdown and its blocks of code in each text; auto does so in .md and .markdown lists."""
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Check the whole list and speak nothing."""
    quiet: Annotated[bool, tyro.conf.arg(aliases=["-q"]), tyro.conf.FlagCreatePairsOff] = False
    """No progress bar and no summary on stderr."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print what became of each utterance as a JSON line on stdout."""
    machine: Annotated[Machine, tyro.conf.arg(name="")] = field(default_factory=Machine)
    options: Options = field(default_factory=SynthesisOptions)


def batch(arguments: list[str]) -> int:
    command = parse(BatchCommand, "batch", arguments)
    from zipvoice.synthesis.batch import ListWork, check_list, share
    from zipvoice.synthesis.voices import find_prompt
    from zipvoice.text.normalizer.markdown import plain
    from zipvoice.utterances import read_list

    utterances, options = read_list(command.list), command.options
    if _is_markdown(command.markdown, command.list):
        utterances = {line: replace(one, text=plain(one.text)) for line, one in utterances.items()}
    rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    synthesizer = command.machine.load()
    check_list(command.list, utterances, synthesizer, options)
    voice = find_prompt(synthesizer, command.voice, command.voice_text, target_rms=options.target_rms, raw=options.raw)
    if command.dry_run:
        note(f"{command.list}: all {len(utterances)} utterances can be spoken")
        return 0
    work = ListWork(
        synthesizer,
        share(utterances.values(), rank, world_size),
        command.output,
        synthesizer.resolved(options),
        voice,
        f"{command.voice} {command.voice_text}",
        f"{command.machine.model} {command.machine.vocoder or ''}".strip(),
        command.overwrite,
    )
    return _speak_list(work, command.json, command.quiet, rank)


def _speak_list(work: "ListWork", as_json: bool, quiet: bool, rank: int) -> int:
    kept = list(work.kept())
    _tell_kept(kept, quiet)
    total = len(work.utterances) - len(kept)
    failed = []
    for outcome in _watched(work.outcomes(), total, quiet or rank > 0):
        if as_json:
            sys.stdout.write(json.dumps({**asdict(outcome), "path": str(outcome.path)}) + "\n")
        if outcome.error is not None:
            failed.append(outcome)
    if not quiet:
        _summarise(failed, total)
    return EXIT_SOME_FAILED if failed else 0


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
    with tqdm(total=total, unit="utt", disable=quiet) as bar:
        for outcome in outcomes:
            spoken += outcome.seconds
            bar.set_postfix_str(f"{spoken / (time.perf_counter() - start):.1f} s of speech per second")
            bar.update()
            yield outcome


def _progress(items: Iterable[T], quiet: bool, unit: str) -> Iterable[T]:
    """The items, with a progress bar where somebody watches."""
    from tqdm import tqdm

    return tqdm(items, unit=unit, disable=quiet or not sys.stderr.isatty(), leave=False)


def _summarise(failed: list["Outcome"], total: int) -> None:
    for outcome in failed:
        note(f"{outcome.id}: {outcome.error}")
    note(f"{total - len(failed)} of {total} utterances are spoken" + (f", {len(failed)} failed" if failed else ""))


# ---------------------------------------------------------------- dub


@dataclass(frozen=True)
class DubCommand:
    """Speak subtitles (SRT, WebVTT, ASS, TTML and more), each cue in its time.

    Cues are spoken at the pace of the voice, and faster only where they must be; the rest of their time is silent. What
    does not fit takes time from the silence before the next cue, and is listed.
    """

    subtitles: tyro.conf.Positional[Path]
    """The file."""
    voice: Annotated[str | None, tyro.conf.arg(aliases=["-v"])] = None
    """The voice of cues that name no speaker: a recording, a voice file, or the name of a voice; by default kathleen,
    which comes with the package."""
    voice_text: str | None = None
    """What the recording says; a saved voice knows it. Without it a recogniser hears it, if one is installed."""
    speaker: tuple[str, ...] = ()
    """NAME=VOICE for cues that begin with "NAME: " or have the WebVTT tag <v NAME>; VOICE is a voice file or the
    name of a saved voice."""
    fit: Literal["natural", "stretch"] = "natural"
    """stretch speaks slower as well, so that each cue is filled."""
    output: Annotated[str, tyro.conf.arg(aliases=["-o"])] = "out.wav"
    """Where to write the speech."""
    quiet: Annotated[bool, tyro.conf.arg(aliases=["-q"]), tyro.conf.FlagCreatePairsOff] = False
    """No progress bar, and nothing about the speech on stderr."""
    machine: Annotated[Machine, tyro.conf.arg(name="")] = field(default_factory=Machine)
    options: Options = field(default_factory=SynthesisOptions)


def dub(arguments: list[str]) -> None:
    command = parse(DubCommand, "dub", arguments)
    speakers = dict(_assignment(item) for item in command.speaker)
    from zipvoice.synthesis.output import check_length, write_parts
    from zipvoice.synthesis.subtitles import dub_parts, plan_cues, read_subtitles
    from zipvoice.synthesis.voices import find_prompt

    cues, options = read_subtitles(command.subtitles, list(speakers)), command.options
    synthesizer = command.machine.load()
    check_length(command.output, max(cue.end for cue in cues), synthesizer.num_channels)
    settings = {"target_rms": options.target_rms, "raw": options.raw}
    voices: dict[str | None, Prompt] = {name: find_prompt(synthesizer, voice) for name, voice in speakers.items()}
    voices[None] = find_prompt(synthesizer, command.voice, command.voice_text, **settings)
    fits = plan_cues(synthesizer, cues, voices, options, command.fit)
    if not command.quiet:
        _tell_fits(fits)
    watched = _progress(fits, command.quiet, "cue")
    length = write_parts(command.output, dub_parts(synthesizer, watched, voices, options))
    if not command.quiet:
        note(f"{command.output}: {len(cues)} cues in {length:.2f} s")


def _tell_fits(fits: list["Fit"]) -> None:
    for fit in fits:
        if fit.is_unnatural or fit.is_too_long:
            how = f"{fit.stretch:.2f} times its natural {fit.natural_seconds:.2f} s"
            late = f", {fit.seconds - fit.cue.seconds:.2f} s after its end" if fit.is_too_long else ""
            note(f"  line {fit.cue.line}: {fit.cue.seconds:.2f} s are {how}{late}: {fit.cue.text[:50]!r}")


def _assignment(item: str) -> tuple[str, str]:
    name, equals, voice = item.partition("=")
    if not (name and equals and voice):
        raise ValueError(f"--speaker takes NAME=VOICE, not {item!r}")
    return name, voice
