# SPDX-License-Identifier: Apache-2.0
"""Times of words in files: JSON, subtitles that follow each word, and Praat's TextGrid."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

from zipvoice.audio.words import Word, rounded
from zipvoice.files import write_text

LINE_CHARACTERS = 42
"""Of a line of subtitles."""
WORD_JOINER = "\u2060"
LINE_GAP_SECONDS = 0.5
"""A silence as long as this ends a line."""


def write_words(path: str | os.PathLike[str], words: Sequence[Word], seconds: float) -> None:
    """Write the words of a sound of so many seconds in the format that the suffix names, whole or not at all.

    .json is a list of {"word", "start", "end"}; .srt has a cue for each word; .vtt has a cue for each line, in which
    players show each word when it is spoken; .TextGrid has a tier of words. Raises ValueError for another suffix.
    Words end with the sound at the latest; the silence that was behind them may have been cut.
    """
    write_text(path, format_of(path)(rounded(words, seconds), seconds))


def format_of(path: str | os.PathLike[str]) -> Callable[[Sequence[Word], float], str]:
    """What makes the content of a file; ValueError for a suffix that it does not know."""
    suffix = Path(path).suffix or Path(path).name
    known = {kind.lower(): make for kind, make in FORMATS.items()}
    if suffix.lower() not in known:
        raise ValueError(f"{path}: times of words are written as {', '.join(FORMATS)}, not as {suffix!r}")
    return known[suffix.lower()]


def words_json(words: Sequence[Word], seconds: float) -> str:
    return json.dumps([asdict(word) for word in words], ensure_ascii=False) + "\n"


def srt(words: Sequence[Word], seconds: float) -> str:
    cues = (
        f"{i}\n{_clock(word.start, ',')} --> {_clock(word.end, ',')}\n{_unmarked(word.word)}\n"
        for i, word in enumerate(words, 1)
    )
    return "\n".join(cues)


def vtt(words: Sequence[Word], seconds: float) -> str:
    cues = []
    for line in lines(words):
        later = "".join(f" <{_clock(word.start)}>{_escaped(word.word)}" for word in line[1:])
        times = f"{_clock(line[0].start)} --> {_clock(line[-1].end)}"
        cues.append(f"{times}\n{_escaped(line[0].word)}{later}\n")
    return "\n".join(["WEBVTT\n", *cues])


def text_grid(words: Sequence[Word], seconds: float) -> str:
    """Praat's long format: intervals of words, and empty ones between them, from 0 to the end."""
    intervals = list(_intervals(words, seconds))
    rows = [
        f'        intervals [{i}]:\n            xmin = {start}\n            xmax = {end}\n            text = "{text}"\n'
        for i, (start, end, text) in enumerate(intervals, 1)
    ]
    head = ('File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {seconds}")
    tiers = ("tiers? <exists>", "size = 1", "item []:", "    item [1]:")
    tier = (
        'class = "IntervalTier"',
        'name = "words"',
        "xmin = 0",
        f"xmax = {seconds}",
        f"intervals: size = {len(rows)}",
    )
    return "\n".join([*head, *tiers, *(f"        {line}" for line in tier), ""]) + "".join(rows)


FORMATS: dict[str, Callable[[Sequence[Word], float], str]] = {
    ".json": words_json,
    ".srt": srt,
    ".vtt": vtt,
    ".TextGrid": text_grid,
}
"""By suffix."""


def lines(words: Sequence[Word]) -> list[list[Word]]:
    """The words in lines of subtitles: at most so long, and ended by a silence."""
    made = [list(words[:1])] if words else []
    for before, word in pairwise(words):
        length = sum(len(one.word) + 1 for one in made[-1]) + len(word.word)
        if length > LINE_CHARACTERS or word.start - before.end >= LINE_GAP_SECONDS:
            made.append([])
        made[-1].append(word)
    return made


def _intervals(words: Sequence[Word], seconds: float) -> Iterator[tuple[float, float, str]]:
    """Words and what is between them; one that takes no time has no interval."""
    position = 0.0
    for word in words:
        if word.start > position:
            yield position, word.start, ""
        if word.end > word.start:
            yield word.start, word.end, word.word.replace('"', '""')
        position = max(position, word.end)
    if position < seconds:
        yield position, seconds, ""


def _clock(seconds: float, point: str = ".") -> str:
    """00:01:02.345."""
    thousandths = round(1000 * seconds)
    minutes, rest = divmod(thousandths, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{point}{rest % 1000:03}"


def _unmarked(text: str) -> str:
    """Text that no player takes for marks. SubRip has no way to say so: a character that nobody sees parts them."""
    for mark in ("\\", "<", "--"):
        text = text.replace(mark, mark + WORD_JOINER)
    return text


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
