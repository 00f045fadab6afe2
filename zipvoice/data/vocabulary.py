# SPDX-License-Identifier: Apache-2.0
"""The token table of a run: that of the model it starts from, with the tokens that new data adds at its end."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator

from zipvoice.config.data import ManifestConfig
from zipvoice.config.training import RunConfig
from zipvoice.data.cuts import make_tokens, read_cuts, spoken, stored_tokens
from zipvoice.text.token_table import TokenTable
from zipvoice.text.tokenizers import build_tokenizer
from zipvoice.text.vocabularies import corpus_table

SHOWN_TOKENS = 100

logger = logging.getLogger(__name__)


def token_table(config: RunConfig, known: TokenTable | None) -> TokenTable:
    """The table that the run names, else that of the model it starts from; extended by its data if that is wanted.

    Tokens that are new to the model are told. Raises ValueError if a token of that model has another id in the run's
    table.

    Example:
        >>> table = token_table(read_json(RunConfig, "run.json"), known=None)
    """
    table = TokenTable.read(config.tokens) if config.tokens is not None else known
    assert table is not None, "which `check_inputs` tells"
    counts: Counter[str] = Counter()
    if config.data.unknown_tokens == "add":
        counts = count_tokens(config, table)
        table = table.extended(corpus_table([list(counts)]).tokens)
    if known is not None:
        check_extends(table, known, str(config.init_from or config.objective.teacher))
        if len(table) > len(known):
            logger.info("new tokens, whose embeddings start at random: %s", _difference(table, known, counts))
    return table


def check_extends(table: TokenTable, known: TokenTable, origin: str) -> None:
    """Raise ValueError unless the tokens of the model `origin` have the same ids in the run's table."""
    for number, token in enumerate(known.tokens):
        if number >= len(table) or table.tokens[number] != token:
            there = f"is {table.tokens[number]!r}" if number < len(table) else "does not exist"
            raise ValueError(
                f"token {number} is {token!r} in {origin} but {there} in the token table of the run; "
                "give the model's own tokens.txt, to which tokens can be added at the end"
            )


def count_tokens(config: RunConfig, table: TokenTable) -> Counter[str]:
    """How often each token of the run's own data, replayed data apart, appears in training: 0 if in validation only."""
    tokenizer = build_tokenizer(config.tokenizer, table.tags)

    def tokens(manifests: Iterable[ManifestConfig]) -> Iterator[str]:
        for manifest in manifests:
            for cut in map(spoken, read_cuts(manifest.path)) if manifest.replay is None else ():
                if config.data.min_len <= cut.duration <= config.data.max_len:
                    yield from stored_tokens(cut) or make_tokens(cut, tokenizer)

    counts = Counter(tokens(config.data.train))
    return Counter({**dict.fromkeys(tokens(config.data.dev), 0), **counts})


def _difference(table: TokenTable, known: TokenTable, counts: Counter[str]) -> str:
    """The tokens beyond the known ones with their ids and, if they were counted, how often they appear."""
    new = [
        f"{token!r} {number}" + (f" ({counts[token]} times)" if counts else "")
        for number, token in enumerate(table.tokens)
        if number >= len(known)
    ]
    more = f" and {len(new) - SHOWN_TOKENS} more" if len(new) > SHOWN_TOKENS else ""
    return ", ".join(new[:SHOWN_TOKENS]) + more
