# SPDX-License-Identifier: Apache-2.0
"""Commands about text."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from zipvoice.cli.parsing import parse
from zipvoice.config.text import TokenizerConfig


@dataclass(frozen=True)
class Tokenize:
    """Show what becomes of a text: languages, words as spoken, tokens and their ids."""

    text: tyro.conf.Positional[str]
    """The text."""
    tokens: Path | None = None
    """The tokens.txt of a model, to see ids and which tokens the model lacks."""
    explain: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Show which rule read what is not read as written."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""
    tokenizer: Annotated[TokenizerConfig, tyro.conf.arg(name="")] = field(default_factory=TokenizerConfig)


def tokenize(arguments: list[str]) -> None:
    command = parse(Tokenize, "tokenize", arguments, spelled={"--tokenizer": "--type"})
    from zipvoice.text.explain import inspect_text, render, to_json
    from zipvoice.text.token_table import TokenTable
    from zipvoice.text.tokenizers import build_tokenizer

    table = None if command.tokens is None else TokenTable.read(command.tokens)
    tokenizer = build_tokenizer(command.tokenizer, None if table is None else table.tags)
    inspection = inspect_text(command.text, tokenizer, table)
    shown = json.dumps(to_json(inspection), ensure_ascii=False) if command.json else render(inspection, command.explain)
    sys.stdout.write(f"{shown}\n")
