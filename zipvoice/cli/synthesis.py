# SPDX-License-Identifier: Apache-2.0
"""Commands that speak."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO, TypeVar

import tyro

from zipvoice import builtin
from zipvoice.audio.playback import play_file, player, require_player
from zipvoice.cli.parsing import note, parse
from zipvoice.config.synthesis import ResolvedOptions, SynthesisOptions
from zipvoice.text.token_table import SPEAKER_TAGS

if TYPE_CHECKING:
    from zipvoice.audio.files import Audio
    from zipvoice.audio.words import Word
    from zipvoice.synthesis.chunk_planner import SpeechChunk
    from zipvoice.synthesis.synthesizer import Synthesizer

    Plan = Callable[[ResolvedOptions], Iterator[SpeechChunk]]

T = TypeVar("T")
Options = Annotated[SynthesisOptions, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class Machine:
    """What speaks."""

    model: Annotated[str, tyro.conf.arg(aliases=["-m"])] = builtin.MODELS[0]
    """A model directory, or the name of a model: one of the package, or a released one, which is downloaded once."""
    revision: str | None = None
    """Branch, tag or commit of a released model."""
    vocoder: str | None = None
    """A Vocos directory, vocos_small (of the package), or griffin-lim, which needs no weights. By default griffin-lim
    for models of the package, the graph of a directory that has one, and the published Vocos, downloaded once, for all
    others."""
    runtime: str = "auto"
    """What computes: torch, onnx (ONNX Runtime, on a CPU, without PyTorch), openvino, or auto: torch on a GPU, for half
    precision and where there is no graph, else onnx. --json tells which it was."""
    device: str | None = None
    """cpu, cuda, cuda:1, mps; by default the best there is, and under torchrun a GPU for each process."""
    dtype: str | None = None
    """Arithmetic of the model: float32, bfloat16, float16, int8 (on a CPU), or auto: what the device computes
    fastest; by default the first, but for openvino auto. --json tells which it was."""
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
    play: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Play the speech once it is written."""
    quiet: Annotated[bool, tyro.conf.arg(aliases=["-q"]), tyro.conf.FlagCreatePairsOff] = False
    """Say nothing about the speech on stderr."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print a JSON object about the speech, with its length, real-time factor, seed, model and voice: on stdout, or on
    stderr where the speech goes to stdout."""
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
    voice: Annotated[str | None, tyro.conf.arg(aliases=["-v"])] = None
    """A recording, best 3 to 10 seconds of clean speech, a voice file, or the name of a voice; by default heart,
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
    spare_inputs(command.result, command.voice, command.file)
    text = _text(command.text, command.file, command.markdown)
    from zipvoice.synthesis.voices import find_prompt

    synthesizer = command.machine.load()
    options = command.options
    part = {"start": command.voice_start, "end": command.voice_end}
    level = {"target_rms": options.target_rms, "raw": options.raw}
    prompt = find_prompt(synthesizer, command.voice, command.voice_text, **level, **part)
    about = {"model": command.machine.model, "voice": command.voice or builtin.VOICE}
    plan = partial(synthesizer.plan, text, prompt)
    _speak(_Speech(synthesizer, plan, options, about), command.result)


@dataclass(frozen=True)
class Dialog:
    """Speak a dialogue, "[S1] Hello. [S2] Hi, how are you?".

    The model of the package has one voice, and so have others of `say`: they speak turn by turn, in a voice for each
    speaker. A dialogue model (--model zipvoice_dialog) speaks both at once; its voices come from a recording of each
    speaker, or from one of both, whose transcript has tags too.
    """

    text: tyro.conf.Positional[str | None] = None
    """What to say, beginning with [S1]; - reads it from standard input."""
    file: Path | None = None
    """Read the text from this file instead."""
    markdown: Markdown = "auto"
    """Leave out the marks of Markdown and its blocks of code; auto does so for .md and .markdown files."""
    voice: Annotated[tuple[str, ...], tyro.conf.arg(aliases=["-v"])] = ()
    """The voice of [S1], then that of [S2]: a recording, a voice file, or the name of a voice; by default heart and
    libri26. A dialogue model takes two recordings, or one of both speakers, or a saved voice of both."""
    voice_text: tuple[str, ...] = ()
    """What each recording says; with tags, where one holds both speakers."""
    result: Annotated[Result, tyro.conf.arg(name="")] = field(default_factory=Result)
    machine: Annotated[Machine, tyro.conf.arg(name="")] = field(default_factory=Machine)
    options: Options = field(default_factory=SynthesisOptions)


def dialog(arguments: list[str]) -> None:
    command = parse(Dialog, "dialog", arguments)
    if len(command.voice_text) not in (0, len(command.voice)):
        raise ValueError("give as many of --voice-text as of --voice, in the same order, or none for saved voices")
    spare_inputs(command.result, command.file, *command.voice)
    text = _text(command.text, command.file, command.markdown)
    synthesizer = command.machine.load()
    voices = command.voice or (() if synthesizer.is_dialogue else builtin.DIALOGUE_VOICES)
    about = {"model": command.machine.model, "voice": " ".join(voices)}
    plan = (_plan_of_both if synthesizer.is_dialogue else _plan_of_turns)(synthesizer, text, command)
    _speak(_Speech(synthesizer, plan, command.options, about), command.result)


def _plan_of_both(synthesizer: "Synthesizer", text: Iterable[str] | str, command: Dialog) -> "Plan":
    from zipvoice.synthesis.voices import find_prompt

    level: dict[str, Any] = {"target_rms": command.options.target_rms, "raw": command.options.raw}
    if len(command.voice) not in (1, 2):
        raise ValueError("give --voice and --voice-text one recording and transcript of both speakers, or two of each")
    if len(command.voice) == 2:
        prompt = synthesizer.dialog_prompt(command.voice, command.voice_text or (None, None), **level)
    else:
        prompt = find_prompt(synthesizer, command.voice[0], next(iter(command.voice_text), None), **level)
    return partial(synthesizer.plan, text, prompt)


def _plan_of_turns(synthesizer: "Synthesizer", text: Iterable[str] | str, command: Dialog) -> "Plan":
    from zipvoice.synthesis.turns import plan_turns, turn_voices, turns_of

    if any(tag in said for said in command.voice_text for tag in SPEAKER_TAGS):
        raise ValueError(
            f"{command.machine.model} has one voice; give a recording of each speaker, or --model zipvoice_dialog "
            "for one recording of both"
        )
    turns = turns_of(text := "".join(text))
    if len(command.voice) > max(2, *(turn.speaker + 1 for turn in turns)):
        *_, spare = command.voice
        raise ValueError(f"no turn of the dialogue is of [S{len(command.voice)}]; leave out --voice {spare}")
    voices = list(zip(command.voice, command.voice_text, strict=True)) if command.voice_text else command.voice
    prompts = turn_voices(synthesizer, voices, target_rms=command.options.target_rms, raw=command.options.raw)
    return partial(plan_turns, synthesizer, text, prompts)


def _text(text: str | None, file: Path | None, markdown: Markdown) -> Iterable[str] | str:
    """What to say, a text or its lines; Markdown is read as a whole, since its blocks span paragraphs."""
    lines = _written(text, file)
    if not is_markdown(markdown, file):
        return lines
    from zipvoice.text.normalizer.markdown import plain

    return plain("".join(lines))


def is_markdown(given: Markdown, file: Path | None) -> bool:
    return given == "yes" or (given == "auto" and file is not None and file.suffix.lower() in (".md", ".markdown"))


def _written(text: str | None, file: Path | None) -> Iterable[str] | str:
    if (text is None) == (file is None):
        raise ValueError("what to say? Give a text, - for standard input, or --file, one of them")
    if text is not None:
        return sys.stdin if text == "-" else text
    assert file is not None
    return sys.stdin if str(file) == "-" else lines_of(file)


def lines_of(path: Path) -> Iterable[str]:
    """The lines of a text file. Raises OSError at once, ValueError where it is not UTF-8."""
    return _lines(path.open(encoding="utf-8-sig"))


def _lines(file: TextIO) -> Iterable[str]:
    with file:
        try:
            yield from file
        except UnicodeDecodeError as error:
            raise ValueError(f"{file.name} is not UTF-8 text ({error.reason}); save it as UTF-8") from None


@dataclass(frozen=True)
class _Speech:
    """What is spoken, and by what."""

    synthesizer: "Synthesizer"
    plan: "Plan"
    options: SynthesisOptions
    about: dict[str, Any]
    """What is told of it that the command line says."""


def _speak(speech: _Speech, result: Result) -> None:
    from zipvoice.synthesis.chunk_planner import for_stream

    delivery, synthesizer = Delivery(result), speech.synthesizer
    options = delivery.words.options(speech.options)
    resolved = synthesizer.resolved(for_stream(options) if delivery.to_pipe else options)
    steps = steps_taken(synthesizer, resolved, result.quiet)
    chunks: list[str] = []
    counted = (chunk for chunk in speech.plan(resolved) if not chunks.append(chunk.seed[1]))  # type: ignore[func-returns-value]
    parts = synthesizer.spoken(counted, resolved, delivery.to_pipe)
    length = delivery.write(progress(parts, result.quiet or result.json, "part"))
    about = {"chunks": len(chunks), "seed": options.seed, **steps, **speech.about}
    delivery.tell(synthesizer, length, about, f"{length:.2f} s of speech")


def steps_taken(synthesizer: "Synthesizer", options: "ResolvedOptions", quiet: bool) -> dict[str, Any]:
    """What speech takes from noise on; where --fast was asked for a note tells it, or that the model has no such."""
    from zipvoice.synthesis.sampling import evaluations

    description = synthesizer.model.description
    count = evaluations(options.sampling, description.variant == "zipvoice_distill")
    is_fast = options.fast and description.fast is not None
    if options.fast and not quiet:
        what = "fast" if is_fast else "the model has no fast steps (zipvoice search-steps finds some), so as usual"
        note(f"{what}: {options.num_steps} steps, {count} evaluations of the network")
    return {"fast": is_fast, "num_steps": options.num_steps, "evaluations": count}


def spare_inputs(result: Result, *inputs: str | Path | None) -> None:
    """Raise ValueError if what is read would be replaced by the speech or its words."""
    for flag, output in (("--output", result.output), ("--words", result.words)):
        for path in inputs:
            if path and output and Path(output).is_file() and Path(path).exists() and Path(path).samefile(output):
                raise ValueError(f"{path} is read, and would be replaced; name another file with {flag}")


class Delivery:
    """Speech on its way to a file or a pipe, and what is told of it then.

    Raises ValueError if it is to be played and cannot.
    """

    def __init__(self, result: Result) -> None:
        self.to_pipe = result.output == "-"
        if result.play and self.to_pipe:
            raise ValueError("--play plays a file; leave out -o - or pipe the speech to a player")
        if result.play:
            require_player()  # before the work
        self.words = WordFile(result.words)
        self._result = result
        self._start = time.perf_counter()

    def write(self, parts: "Iterable[Audio]") -> float:
        """Write the parts of the speech as they come, and the times of its words; returns its seconds."""
        from zipvoice.synthesis.output import write_parts, write_wav
        from zipvoice.synthesis.word_times import collected

        spoken = collected(parts, self.words.found)
        length = write_wav(sys.stdout.buffer, spoken) if self.to_pipe else write_parts(self._result.output, spoken)
        self.words.write(length)
        return length

    def tell(self, synthesizer: "Synthesizer", length: float, about: dict[str, Any], what: str) -> None:
        """Tell of the speech what was asked for, and play it."""
        result, took = self._result, time.perf_counter() - self._start
        if result.json:
            told = {
                "output": result.output,
                "seconds": length,
                "took_seconds": took,
                "real_time_factor": took / length,
                "sampling_rate": synthesizer.feature.sampling_rate,
                **about,
                **self.words.about(length),
                **asdict(synthesizer.model.computed_by),
            }
            (sys.stderr if self.to_pipe else sys.stdout).write(json.dumps(told) + "\n")
        elif not result.quiet:
            name = "stdout" if self.to_pipe else result.output
            note(f"{name}: {what} in {took:.2f} s (real-time factor {took / length:.2f})")
            if not self.to_pipe and not result.play and (command := player()):
                note(f"hear it with: {' '.join(command)} {result.output}")
        if result.play:
            play_file(result.output)


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

    def about(self, seconds: float) -> dict[str, Any]:
        from zipvoice.audio.words import rounded

        return {"words": [asdict(word) for word in rounded(self.found, seconds)]} if self.found else {}


def progress(items: Iterable[T], quiet: bool, unit: str) -> Iterable[T]:
    """The items, with a progress bar where somebody watches."""
    from tqdm import tqdm

    return tqdm(items, unit=unit, disable=quiet or not sys.stderr.isatty(), leave=False)
