# SPDX-License-Identifier: Apache-2.0
"""The tables of sentences with their right readings, and what counts as right.

A reading is a list of words, `{a|b}` where several are equally good. Capitals, marks and the `and` of *hundred and
five* do not count, nor whether zero is called *oh*. Rows marked `"by": "sound"` compare phonemes without stress, since
letters and interjections are spelled in many ways.
"""

import itertools
import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).parent / "data" / "text"

Reader = Callable[[str], str]
"""Text to words; an error of any kind counts as a wrong reading."""


@dataclass(frozen=True)
class Row:
    """A sentence of a table."""

    kind: str
    text: str
    read: str
    by: str = "words"
    source: str = ""


def rows(name: str, part: str) -> list[Row]:
    """The rows of `tuned` or `held_out` of a table, for instance of reading_en.json."""
    return [Row(**row) for row in json.loads((DATA / name).read_text(encoding="utf-8"))[part]]


def readings(read: str) -> Iterator[str]:
    """All readings that a row accepts: `{a|b} c` is `a c` and `b c`."""
    parts = re.split(r"\{([^}]*)\}", read)
    choices = [part.split("|") if i % 2 else [part] for i, part in enumerate(parts)]
    return map("".join, itertools.product(*choices))


def words(text: str) -> str:
    """What of a reading is compared: words without capitals, marks, and the `and` within numbers."""
    if not text.isupper():
        text = re.sub(r"\b[A-Z]{2,5}\b", lambda m: " ".join(m[0]), text)
    plain = unicodedata.normalize("NFKC", text).lower().replace("’", "'").replace("'", "")
    plain = " ".join(re.sub(r"[^\w]|_", " ", plain).split())
    plain = re.sub(r" ?([\u4e00-\u9fff]) ?", r"\1", plain)  # spaces beside Chinese characters have no sound
    return re.sub(r"\boh\b", "zero", re.sub(r"\b(hundred|thousand|million|billion) and\b", r"\1", plain))


def is_right(row: Row, spoken: str, phonemes: Callable[[str], list[str]]) -> bool:
    """True if `spoken` has the words of the row, or their sound."""
    accepted = list(readings(row.read))
    if row.by != "sound" and words(spoken) in map(words, accepted):
        return True
    if len(accepted) > 32:
        return False
    heard = _sound(phonemes(spoken))
    return bool(heard) and any(heard == _sound(phonemes(reading)) for reading in accepted)


def _sound(phonemes: list[str]) -> str:
    """Phonemes without stress, length, spaces and punctuation."""
    return re.sub(r"[ˈˌː\s.,!?;:…]", "", "".join(phonemes)).replace("ɹɹ", "ɹ")


def verdicts(table: list[Row], read: Reader, phonemes: Callable[[str], list[str]]) -> Iterator[tuple[Row, str, bool]]:
    """Each row with what `read` made of it, and whether that is right."""
    for row in table:
        try:
            spoken = read(row.text)
        except Exception as error:  # a reader that refuses a text has not read it
            yield row, f"{type(error).__name__}: {error}", False
            continue
        yield row, spoken, is_right(row, spoken, phonemes)
