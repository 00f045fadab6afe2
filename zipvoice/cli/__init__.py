# SPDX-License-Identifier: Apache-2.0
"""The command line: one table of sub-commands; each parses into a dataclass and makes one public call.

Nothing heavy is imported before a command runs, so `--help` answers at once. Exit status: 0 done, 1 a mistake or a
failure, 2 wrong usage, 3 some items of a batch failed, 130 interrupted.
"""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from zipvoice.cli import (
    alignment,
    bench,
    check,
    completion,
    diagnose,
    dubbing,
    evaluation,
    export,
    lists,
    serve,
    steps,
    synthesis,
    text,
    training,
    vocoder,
    voices,
)
from zipvoice.cli.parsing import EXIT_ERROR, EXIT_INTERRUPTED, EXIT_USAGE, note
from zipvoice.config.strict_json import suggestion
from zipvoice.files import UNWRITTEN


class Command(NamedTuple):
    """A row of the table."""

    summary: str
    run: Callable[[list[str]], int | None]
    """Takes the arguments behind the command's name; returns the exit status, None for 0."""
    extra: str = ""
    """What pip installs for it beside the package."""


COMMANDS = {
    "say": Command("speak a text in the voice of a recording", synthesis.say),
    "dialog": Command("speak a dialogue in the voices of two speakers", synthesis.dialog),
    "batch": Command("speak a list of texts", lists.batch),
    "dub": Command("speak subtitles, each in its time", dubbing.dub),
    "voice": Command("save, list, play and remove voices", voices.voice),
    "serve": Command("speak for other programs, over the network", serve.serve),
    "align": Command("find when each word of a recording is spoken", alignment.align),
    "tokenize": Command("show what becomes of a text", text.tokenize),
    "check": Command("examine a corpus before training", check.check, "training"),
    "prepare": Command("make training data from recordings and transcripts", training.prepare, "training"),
    "train": Command("train a model as a run file describes", training.train, "training"),
    "finetune": Command("fine-tune a model on other data", training.finetune, "training"),
    "merge": Command("make a model of a model and an adapter", training.merge, "training"),
    "export": Command("make graphs of a model, which speak without PyTorch", export.export, "export"),
    "bench": Command("measure how fast a model speaks on this machine", bench.bench),
    "search-steps": Command("find the times of few steps that suit a model, for --fast", steps.search_steps),
    "diagnose": Command(
        "look into a training run: statistics, values that are not finite, memory", diagnose.diagnose, "training"
    ),
    "average": Command("make a model from the checkpoints of a training run", training.average, "training"),
    "evaluate": Command("score speech: intelligibility, voice, quality", evaluation.evaluate, "evaluation,benchmarks"),
    "train-vocoder": Command("train a vocoder as a run file describes", vocoder.train_vocoder, "training"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command; returns the exit status.

    Mistakes of the user become one line on stderr; with ZIPVOICE_DEBUG set their traceback is shown too. Raises
    BrokenPipeError when nobody reads standard output any longer.
    """
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("-h", "--help"):
        sys.stdout.write(_usage())
        return 0
    if name == "--version":
        import zipvoice

        sys.stdout.write(f"{zipvoice.__version__}\n")
        return 0
    if name == "completion":
        return completion.completion(rest, {name: command.run for name, command in COMMANDS.items()})
    if name not in COMMANDS:
        note(f"zipvoice: there is no command {name!r}{suggestion(name, COMMANDS)}")
        return EXIT_USAGE
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("huggingface_hub.utils._http").setLevel(logging.ERROR)  # each try; in the end we tell the reason
    if COMMANDS[name].extra == "training":
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # or waiting threads take busy cores from working ones
    try:
        return COMMANDS[name].run(rest) or 0
    except KeyboardInterrupt:
        note("interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        raise
    except (ValueError, OSError, ImportError) as error:
        if os.environ.get("ZIPVOICE_DEBUG"):
            raise
        note(f"zipvoice: {_told(error, name)}")
        return EXIT_ERROR


def _told(error: Exception, name: str) -> str:
    """What went wrong: where, if the system says it, and what to install, if something is missing."""
    if isinstance(error, ModuleNotFoundError) and (extra := COMMANDS[name].extra):
        return f"{name} needs {error.name}: pip install 'zipvoice-tts[{extra}]'"
    if isinstance(error, UnicodeEncodeError):
        cannot = f"the encoding of the output, {sys.stdout.encoding}, has no {error.object[error.start]!a}"
        return f"{cannot}; PYTHONIOENCODING=utf-8 in the environment chooses another"
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, OSError) and error.errno in UNWRITTEN:
        return f"cannot write the output: {error.strerror}"
    return str(error)


def _usage() -> str:
    rows = "\n".join(f"  {name:<13} {command.summary}" for name, command in COMMANDS.items())
    rows += "\n  completion    complete commands and options in a shell"
    return (
        "Zero-shot text-to-speech by flow matching.\n\n"
        f"usage: zipvoice COMMAND [options]\n\n{rows}\n\n"
        "`zipvoice COMMAND --help` explains a command.\n"
    )
