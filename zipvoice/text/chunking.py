# SPDX-License-Identifier: Apache-2.0
"""Long token sequences in chunks that a model can speak in one go."""

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from zipvoice.text.markup import pause_seconds
from zipvoice.text.punctuation import PUNCTUATION
from zipvoice.text.token_table import SPEAKER_TAGS

Tokens = Sequence[str]


@dataclass(frozen=True)
class Chunk:
    """Tokens to be spoken in one go, and the silence after them."""

    tokens: list[str]
    pause_seconds: float = 0.0


def chunks(tokens: Tokens, max_tokens: int, dialogue: bool = False) -> list[Chunk]:
    """Cut `tokens` at pauses, and into chunks of at most `max_tokens`.

    Cuts fall, in this order of preference, after punctuation (in a dialogue before `[S1]`, then between turns, then
    after punctuation), after other marks, after words, and in text without spaces between syllables or letters. A
    dialogue chunk always begins with `[S1]` as the models need it, if need be with an `[S1]` turn that is empty.

    No token is lost, except the pauses, which become `Chunk.pause_seconds`; a pause before any other token stands
    after an empty chunk. Raises ValueError if `max_tokens` is below 1 (3 in a dialogue).
    """
    if max_tokens < (3 if dialogue else 1):
        raise ValueError(f"a chunk needs room for at least {3 if dialogue else 1} tokens, not {max_tokens}")
    result: list[Chunk] = []
    for stretch, pause in _between_pauses(tokens, dialogue):
        cut = _dialogue_chunks(stretch, max_tokens) if dialogue else _speech_chunks(stretch, max_tokens)
        result.extend(Chunk(chunk) for chunk in cut[:-1])
        if cut or pause:
            result.append(Chunk(cut[-1] if cut else [], pause))
    return result


def _filled(units: Sequence[list[str]], max_tokens: int) -> list[list[str]]:
    """Neighbouring units joined while they fit."""
    result: list[list[str]] = []
    for unit in units:
        if result and len(result[-1]) + len(unit) <= max_tokens:
            result[-1].extend(unit)
        else:
            result.append(list(unit))
    return result


def _sentences(tokens: Tokens) -> list[list[str]]:
    """They end after a token of `PUNCTUATION` and the punctuation and single spaces that follow it."""
    return _cut_after(tokens, lambda token: token in PUNCTUATION)


def _exchanges(tokens: Tokens) -> list[list[str]]:
    return _cut_before(tokens, lambda token: token == SPEAKER_TAGS[0])


def _cut_after(tokens: Tokens, ends: Callable[[str], bool]) -> list[list[str]]:
    """Units that end where `ends` says so; an end or a space that would begin a unit belongs to the one before."""
    units: list[list[str]] = []
    complete = True
    for token in tokens:
        if not complete or (units and (ends(token) or token == " ")):
            units[-1].append(token)
        else:
            units.append([token])
        complete = ends(units[-1][-1]) or (complete and token == " " and len(units[-1]) > 1)
    return units


def _cut_before(tokens: Tokens, begins: Callable[[str], bool]) -> list[list[str]]:
    units: list[list[str]] = []
    for token in tokens:
        if begins(token) or not units:
            units.append([])
        units[-1].append(token)
    return units


# ---------------------------------------------------------------- units longer than a chunk


def _speech_chunks(tokens: Tokens, max_tokens: int) -> list[list[str]]:
    return _filled([part for unit in _sentences(tokens) for part in _fitting(unit, max_tokens)], max_tokens)


def _fitting(unit: list[str], max_tokens: int, level: int = 0) -> Iterator[list[str]]:
    """A unit, or its parts by the finest level of cuts that is needed."""
    if len(unit) <= max_tokens:
        yield unit
    elif level == len(_FINER_CUTS):
        yield from (unit[i : i + max_tokens] for i in range(0, len(unit), max_tokens))
    else:
        parts = _FINER_CUTS[level](unit)
        for part in _filled(parts, max_tokens):
            yield from _fitting(part, max_tokens, level + 1)


def _is_other_mark(token: str) -> bool:
    """True for a mark of other punctuation, but not for one that opens something, or may."""
    return len(token) == 1 and unicodedata.category(token) in ("Pc", "Pd", "Pe", "Pf", "Po") and token not in "'-\"¿¡"


def _continues(token: str) -> bool:
    """True for a token that belongs to the one before it: a final after its initial, a length or combining mark."""
    return len(token) == 1 and unicodedata.category(token) in ("Mn", "Mc", "Me", "Lm") and token not in _STRESSES


_STRESSES = ("ˈ", "ˌ")
"""They stand before the vowel that they stress."""


def _syllables(tokens: Tokens) -> list[list[str]]:
    """Pinyin syllables, or single letters with their marks and stress."""
    units: list[list[str]] = []
    for token in tokens:
        last = units[-1][-1] if units else ""
        begins = last in _STRESSES or (len(last) > 1 and last.endswith("0"))
        if units and (begins or _continues(token)):
            units[-1].append(token)
        else:
            units.append([token])
    return units


_FINER_CUTS: tuple[Callable[[Tokens], list[list[str]]], ...] = (
    lambda tokens: _cut_after(tokens, _is_other_mark),
    lambda tokens: _cut_after(tokens, str.isspace),
    _syllables,
)


# ---------------------------------------------------------------- dialogue


def _dialogue_chunks(tokens: Tokens, max_tokens: int) -> list[list[str]]:
    """Whole exchanges joined; the parts of a longer one stay apart, since each has tags of its own."""
    result: list[list[str]] = []
    fitting: list[list[str]] = []
    for exchange in _exchanges(tokens):
        if len(exchange) <= max_tokens:
            fitting.append(exchange)
            continue
        result += [*_filled(fitting, max_tokens), *_turn_chunks(exchange, max_tokens)]
        fitting = []
    return result + _filled(fitting, max_tokens)


def _turn_chunks(exchange: list[str], max_tokens: int) -> Iterator[list[str]]:
    """The turns of an exchange cut to length, each part with the tags that say whose it is."""
    for turn in _cut_before(exchange, lambda token: token in SPEAKER_TAGS):
        tags = _opening(turn[0])
        words = turn[1:] if turn[0] in SPEAKER_TAGS else turn
        for part in _speech_chunks(words, max_tokens - len(tags)) or [[]]:
            yield [*tags, *part]


def _opening(token: str) -> list[str]:
    """The tags that begin a chunk in this speaker's voice; models tell the speakers by the parity of the tags."""
    return list(SPEAKER_TAGS) if token == SPEAKER_TAGS[1] else [token] if token in SPEAKER_TAGS else []


# ---------------------------------------------------------------- pauses


def _between_pauses(tokens: Tokens, dialogue: bool) -> Iterator[tuple[list[str], float]]:
    """Stretches of tokens and the pause after each; a pause within a turn does not change the speaker."""
    stretch: list[str] = []
    speaker = ""
    for token in tokens:
        seconds = pause_seconds(token)
        if seconds is None:
            if not stretch and dialogue:
                stretch.extend(_resumed(speaker, token))
            stretch.append(token)
            speaker = token if token in SPEAKER_TAGS else speaker
        else:
            yield stretch, seconds
            stretch = []
    if stretch:
        yield stretch, 0.0


def _resumed(speaker: str, token: str) -> list[str]:
    """What a stretch needs before its first token so that it is spoken by the same speaker as before the pause."""
    if token == SPEAKER_TAGS[0]:
        return []
    if token == SPEAKER_TAGS[1]:
        return [SPEAKER_TAGS[0]]
    return _opening(speaker) if speaker else []
