# SPDX-License-Identifier: Apache-2.0
"""What a normaliser did: each stretch that is not read as it is written, and the rule that read it."""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple


class Reading(NamedTuple):
    """A stretch of the text that is read otherwise than written."""

    rule: str
    """What kind of expression it is, for instance date or money."""
    start: int
    """Where it starts in the text that the normaliser was given."""
    end: int
    words: str


class Said(NamedTuple):
    """What a rule makes of the text from some position on."""

    end: int
    words: str
    rule: str


Rule = Callable[[str, int], Said | None]
"""A rule tries to read a text from a position on; None if it does not apply there."""


REACH = 48
"""Characters before an expression that are looked at, so that time stays linear in the text."""


def just_before(pattern: re.Pattern[str], text: str, position: int, reach: int = REACH) -> re.Match[str] | None:
    """What a pattern finds in the `reach` characters before `position`."""
    return pattern.search(text, max(0, position - reach), position)


def spoken_text(text: str, readings: Iterable[Reading]) -> str:
    """`text` with its readings in place, and a space where a word would touch another."""
    parts: list[str] = []
    end = 0
    for reading in readings:
        words = _apart(text, reading)
        is_spaced = end == reading.start and parts[-1:] and parts[-1].endswith(" ")
        parts += (text[end : reading.start], words.removeprefix(" ") if is_spaced else words)
        end = reading.end
    return "".join([*parts, text[end:]])


def _apart(text: str, reading: Reading) -> str:
    """The words of a reading with the spaces that keep them from their neighbours."""
    words = reading.words
    before, after = text[reading.start - 1 : reading.start], text[reading.end : reading.end + 1]
    left = words[:1].isalnum() and (before.isalnum() or before in _CLOSING) and before != ""
    return " " * left + words + " " * (words[-1:].isalnum() and after.isalnum())


_CLOSING = frozenset(")]}%.,;:!?-–_\\")
