# SPDX-License-Identifier: Apache-2.0
"""tokens.txt: which tokens a model knows, and their ids."""

import logging
import math
import os
import statistics
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from zipvoice.config.model import Vocabulary
from zipvoice.files import write_text

PAD = "_"
SPEAKER_TAGS = ("[S1]", "[S2]")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TokenTable:
    """Tokens in the order of their ids: 0, 1, … without gaps."""

    tokens: tuple[str, ...]
    durations: tuple[float, ...] | None = None
    """How long each token typically is, for a model that lays out texts by it."""
    _index: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        index = {token: i for i, token in enumerate(self.tokens)}
        if len(index) < len(self.tokens):
            twice = next(token for i, token in enumerate(self.tokens) if index[token] != i)
            raise ValueError(f"the token {twice!r} appears twice")
        if PAD not in index:
            raise ValueError(f"the padding token {PAD!r} is missing")
        if self.durations is not None and len(self.durations) != len(self.tokens):
            raise ValueError(f"{len(self.durations)} durations for {len(self.tokens)} tokens")
        object.__setattr__(self, "_index", index)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "TokenTable":
        """The table of a UTF-8 file with one `token<TAB>id` or `token<TAB>id<TAB>duration` per line.

        Raises ValueError that names the line.
        """
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
            return cls.parse(text)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    @classmethod
    def parse(cls, text: str) -> "TokenTable":
        """The table written in `text`; other columns are ignored, and the lines may come in any order."""
        by_id: dict[int, _Entry] = {}
        for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
            entry = _entry(line.removesuffix("\r"), number)
            if entry.id in by_id:
                earlier = by_id[entry.id].token
                raise ValueError(f"line {number}: the id {entry.id} of {entry.token!r} already belongs to {earlier!r}")
            by_id[entry.id] = entry
        missing = next((i for i in range(len(by_id)) if i not in by_id), None)
        if missing is not None:
            raise ValueError(f"{len(by_id)} tokens need the ids 0 to {len(by_id) - 1}, but {missing} is missing")
        entries = [by_id[i] for i in range(len(by_id))]
        return cls(tuple(entry.token for entry in entries), _durations(entries))

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the table, whole or not at all; `read` gives it back."""
        ends = [""] * len(self) if self.durations is None else [f"\t{duration:g}" for duration in self.durations]
        write_text(
            path, "".join(f"{token}\t{i}{end}\n" for i, (token, end) in enumerate(zip(self.tokens, ends, strict=True)))
        )

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: str) -> bool:
        return token in self._index

    @property
    def vocabulary(self) -> Vocabulary:
        """What a model needs to know of this table."""
        speaker_a, speaker_b = (self._index.get(tag) for tag in SPEAKER_TAGS)
        return Vocabulary(len(self), self._index[PAD], speaker_a, speaker_b, self.durations)

    @property
    def tags(self) -> tuple[str, ...]:
        """The bracketed tokens: speakers and sounds such as `[LAUGHS]`."""
        return tuple(token for token in self.tokens if len(token) > 2 and token[0] == "[" and token[-1] == "]")

    def extended(self, tokens: Iterable[str]) -> "TokenTable":
        """This table with those of `tokens` that it lacks at its end, so that all ids stay.

        Of a table with durations the new tokens get the median one.
        """
        new = self.unknown(tokens)
        durations = self.durations and (*self.durations, *[statistics.median(self.durations)] * len(new))
        return TokenTable((*self.tokens, *new), durations)

    def unknown(self, tokens: Iterable[str]) -> list[str]:
        """The tokens that the table lacks, each once, in order of appearance."""
        return list(dict.fromkeys(token for token in tokens if token not in self._index))

    def ids(self, tokens: Sequence[str], skip_unknown: bool = False) -> list[int]:
        """The ids of `tokens`.

        Marks without a sound of their own (quotation marks, brackets, dashes: `is_silent`) that the table lacks are
        left out. Any other unknown token is a ValueError that shows it in its surroundings; with `skip_unknown` it is
        left out with a warning that says the same.
        """
        missing = [i for i, token in enumerate(tokens) if token not in self._index and not is_silent(token)]
        if missing:
            message = _unknown_message(tokens, missing)
            if not skip_unknown:
                raise ValueError(message)
            logger.warning("%s; left out", message)
        return [self._index[token] for token in tokens if token in self._index]


def is_silent(token: str) -> bool:
    """True for marks that are not read aloud: quotation marks, brackets, dashes, stops; not for % & @ #."""
    return all(unicodedata.category(c) in _SILENT and c not in _READ_ALOUD for c in token)


_SILENT = frozenset(("Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Zs"))
_READ_ALOUD = frozenset("%&@#*/\\％＆＠＃＊／＼§†‡‰")


@dataclass(frozen=True)
class _Entry:
    """A line of a table."""

    line: int
    token: str
    id: int
    duration: float | None


def _entry(line: str, number: int) -> _Entry:
    token, *rest = line.split("\t")
    if not rest:
        raise ValueError(f"line {number}: expected token, tab and id, found {line[:60]!r}")
    if not token:
        raise ValueError(f"line {number}: the token is empty")
    try:
        return _Entry(number, token, int(rest[0]), _positive(rest[1]) if len(rest) > 1 else None)
    except ValueError:
        raise ValueError(f"line {number}: the id {rest[0][:60]!r} of {token!r} is not a whole number") from None


def _positive(text: str) -> float | None:
    """The number that is written there, None for anything else."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 < number < math.inf else None


def _durations(entries: Sequence[_Entry]) -> tuple[float, ...] | None:
    """The third column, if it holds positive numbers; other content is ignored."""
    lacking = [entry for entry in entries if entry.duration is None]
    if len(lacking) == len(entries):
        return None
    if lacking:
        raise ValueError(f"line {lacking[0].line}: {lacking[0].token!r} has no duration, as other tokens have")
    return tuple(entry.duration for entry in entries if entry.duration is not None)


def _unknown_message(tokens: Sequence[str], missing: Sequence[int]) -> str:
    distinct = list(dict.fromkeys(tokens[i] for i in missing))
    shown = ", ".join(map(repr, distinct[:10])) + (f" and {len(distinct) - 10} more" if len(distinct) > 10 else "")
    first = missing[0]
    before, after = " ".join(tokens[max(0, first - 5) : first]), " ".join(tokens[first + 1 : first + 6])
    place = f"{before} >{tokens[first]}< {after}".strip()
    return f"the model has no token for {shown} (first at position {first}: {place})"
