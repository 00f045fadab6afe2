# SPDX-License-Identifier: Apache-2.0
"""The command that examines a corpus before training."""

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from zipvoice.cli.parsing import EXIT_ERROR, SOURCE_FIRST, TOKENIZER, chooses_tokenizer, note, parse, without_flag
from zipvoice.config.data import CheckOptions
from zipvoice.config.text import TokenizerConfig


@dataclass(frozen=True)
class Check:
    """Examine a corpus before training: faults that training would stop at, oddities, and what it is like.

    Exit status: 0 nothing that stops training was found, 1 something was, 2 wrong usage.
    """

    options: Annotated[CheckOptions, tyro.conf.arg(name="")]
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON, with all utterances of each finding."""
    plot: Path | None = None
    """Write a picture (.png, .pdf, .svg) of the distributions of durations, rates, levels and tokens."""


def check(arguments: list[str]) -> int:
    reading = Check(CheckOptions(tyro.MISSING, tokenizer=TokenizerConfig()))
    command = parse(Check, "check", without_flag(arguments, "--source"), reading, TOKENIZER, SOURCE_FIRST)
    options = command.options if chooses_tokenizer(arguments) else replace(command.options, tokenizer=None)
    from zipvoice.data.validation.checks import run_checks
    from zipvoice.data.validation.report import plot, render, require_format, to_json
    from zipvoice.data.validation.stats import measure_corpus

    if command.plot:
        require_format(command.plot)  # before the work
    corpus = measure_corpus(options)
    findings = run_checks(corpus, options)
    shown = json.dumps(to_json(corpus, findings), ensure_ascii=False) if command.json else render(corpus, findings)
    sys.stdout.write(f"{shown}\n")
    if command.plot:
        plot(command.plot, corpus, options)
        note(f"wrote {command.plot}")
    return EXIT_ERROR if any(finding.severity == "error" for finding in findings) else 0
