# SPDX-License-Identifier: Apache-2.0
"""Subtitle files -> cues: what is said, when, and by whom.

SRT and WebVTT are read here, as they are found rather than as they should be: pysubs2, which reads all other formats,
takes files without hours for empty, drops hours of three digits, speaks notes and repeats the captions of video sites.
"""

import html
import io
import os
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby, pairwise
from pathlib import Path

from zipvoice.synthesis.spoken_lines import spoken

TOUCHING = 0.1
"""Seconds between cues of which the second may repeat the first."""
TRANSITION = 0.05
"""Seconds of a cue that shows what was said while the lines roll up."""
OTHER_FORMATS = (".ass", ".ssa", ".ttml", ".dfxp", ".xml", ".sub", ".smi", ".sami", ".mpl", ".txt")
"""Suffixes of what the library reads, unless the content is SRT or WebVTT."""


@dataclass(frozen=True)
class Cue:
    """A text and when it is to be spoken."""

    line: int
    """Of the file, where its times stand."""
    start: float
    """Seconds."""
    end: float
    """Seconds."""
    text: str
    speaker: str | None = None
    """Who speaks, where the file says so."""

    @property
    def seconds(self) -> float:
        return self.end - self.start


def read_subtitles(path: str | os.PathLike[str], speakers: Sequence[str] = ()) -> list[Cue]:
    """The cues of a subtitle file, in the order of their times.

    SRT and WebVTT, and with pysubs2 ASS, SSA, TTML, SAMI, MicroDVD and MPL2. A cue's speaker is that of a WebVTT
    `<v name>` tag, or a leading `name:` where the name is one of `speakers`; a cue of several speakers becomes one of
    each, in proportion to their texts. Other tags are left out, and so is what is no speech, such as [music]. Of
    captions that roll up each phrase is taken once.

    Raises ValueError with the number of the bad line, ImportError with the install command where pysubs2 is needed.

    Example:
        >>> read_subtitles("talk.srt")[0]
        Cue(line=2, start=1.0, end=2.5, text='Hello there.', speaker=None)
    """
    content = _content(Path(path))
    try:
        cues = [cue for cue in _cues(Path(path), content) if cue.text]
    except ValueError as error:
        raise ValueError(f"{path}, {error}") from None
    heard = [part for cue in _each_phrase_once(cues) for part in _by_speaker(cue, speakers)]
    if not heard:
        raise ValueError(f"{path} has no cues; an SRT or WebVTT file has lines like 00:00:01,000 --> 00:00:04,000")
    return sorted(heard, key=lambda cue: (cue.start, cue.line))


def _content(path: Path) -> str:
    data = path.read_bytes()
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None


def _cues(path: Path, content: str) -> Iterator[Cue]:
    lines = [line.rstrip("\n") for line in io.StringIO(content, None)]
    is_webvtt = content.startswith("WEBVTT")
    if path.suffix.lower() in OTHER_FORMATS and not is_webvtt and not any(map(_TIMES.fullmatch, lines)):
        yield from _by_library(path, content, lines)
        return
    for cue, body in _blocks(lines, is_webvtt):
        yield replace(cue, text="\n".join(kept for line in body if (kept := line.strip())))


# ---------------------------------------------------------------- SRT and WebVTT

_TIME = r"(?:(\d{1,5}):)?(\d{1,2}):(\d{1,2})(?:[,.]\s?(\d{1,9}))?"
_TIMES = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?")
_CLOCK = re.compile(r"\d:\d")
_NO_CUE = re.compile(r"(?:NOTE|STYLE|REGION)(?:\s|$)")


def _blocks(lines: Sequence[str], is_webvtt: bool) -> Iterator[tuple[Cue, list[str]]]:
    """Each cue, without its text, and the lines up to the next one that are its own."""
    cue, number, body = None, None, list[str]()
    in_header, in_note, begins = is_webvtt, False, True
    for count, line in enumerate(lines, start=1):
        in_header, in_note = in_header and bool(line), in_note and bool(line)
        in_note = in_note or (is_webvtt and begins and bool(_NO_CUE.match(line)))
        begins = not line
        times = None if in_note else _times(count, line)
        if times is None:
            body += [] if in_header or in_note else [line]
            continue
        in_header = False
        label = _label(body, number, is_webvtt, cue is None)
        if cue is not None:
            yield cue, body[: len(body) - len(label)]
        number = _number(label[-1]) if label else None
        cue, body = Cue(count, *times, ""), []
    if cue is not None:
        yield cue, body


def _label(body: list[str], number: int | None, is_webvtt: bool, is_first: bool) -> list[str]:
    """The end of the lines before the times of a cue that is its number, or in WebVTT its name."""
    if not body or not body[-1].strip():
        return []
    own = _number(body[-1])
    is_next = own is not None and number is not None and own == number + 1
    after_blank = is_first or (len(body) > 1 and not body[-2].strip())
    return body[-1:] if is_next or (after_blank and (own is not None or is_webvtt)) else []


def _number(line: str) -> int | None:
    return int(line) if re.fullmatch(r"\s*\d{1,9}\s*", line) else None


def _times(number: int, line: str) -> tuple[float, float] | None:
    """Start and end in seconds, if this line has them. Raises ValueError if they cannot be read."""
    if "-->" not in line:
        return None
    match = _TIMES.fullmatch(line)
    times = [_seconds(*match.groups()[:4]), _seconds(*match.groups()[4:])] if match else [None, None]
    start, end = times
    if start is None or end is None:
        if not _CLOCK.search(line):
            return None  # an arrow in a text
        raise ValueError(f"line {number}: cannot read the times {line.strip()!r}; write 00:00:01,000 --> 00:00:04,000")
    if end <= start:
        raise ValueError(f"line {number}: the cue ends at {end:g} s, not after its start at {start:g} s")
    return start, end


def _seconds(hours: str | None, minutes: str, seconds: str, fraction: str | None) -> float | None:
    """None for what is no time, or could be minutes and seconds as well as hours and minutes."""
    if int(minutes) > 59 or int(seconds) > 59 or (hours is None and fraction is None):
        return None
    part = int(fraction) / 10 ** len(fraction) if fraction else 0.0
    return 3600 * int(hours or 0) + 60 * int(minutes) + int(seconds) + part


# ---------------------------------------------------------------- other formats


def _by_library(path: Path, content: str, lines: Sequence[str]) -> Iterator[Cue]:
    try:
        import pysubs2
    except ImportError:
        raise ImportError("subtitles other than SRT and WebVTT need pysubs2: pip install pysubs2") from None
    try:
        known = {**pysubs2.formats.FILE_EXTENSION_TO_FORMAT_IDENTIFIER, ".txt": None}  # of several formats
        kind = known.get(path.suffix.lower())
        events = list(pysubs2.SSAFile.from_string(content, kind))
    except pysubs2.exceptions.UnknownFPSError:
        raise ValueError(
            "which counts in frames, does not say how many a second has; {1}{1}25 as first line does"
        ) from None
    except Exception as error:  # each format has errors of its own
        raise ValueError(f"a file that is in no known format of subtitles, cannot be read: {error}") from None
    places = [number for number, line in enumerate(lines, start=1) if line.startswith(("Dialogue:", "Comment:"))]
    places = places if len(places) == len(events) else list(range(1, len(events) + 1))
    for place, event in zip(places, events, strict=True):
        if not (event.is_comment or event.is_drawing) and event.end > event.start:
            name = f"<v {event.name}>" if event.name else ""
            yield Cue(place, event.start / 1000, event.end / 1000, name + event.plaintext.strip())


# ---------------------------------------------------------------- captions that roll up

_WORD_TIME = re.compile(r"<\d[\d:.]*>")
_TAG = re.compile(r"</?(?:[a-zA-Z][^<>]*|[\d:.]+)>|\{\\[^{}]*\}")


def _each_phrase_once(cues: Sequence[Cue]) -> Iterator[Cue]:
    """Cues without the lines that repeat those of the cue before, in files where that is the rule."""
    cues = sorted(cues, key=lambda cue: (cue.start, cue.line))
    repeated = [_repeated(before, cue) for before, cue in pairwise(cues)]
    rolls = [
        count > 0 and (count < _num_lines(cue) or cue.seconds <= TRANSITION)
        for count, cue in zip(repeated, cues[1:], strict=True)
    ]
    has_word_times = any(_WORD_TIME.search(cue.text) for cue in cues)
    if not cues or not any(rolls) or not (has_word_times or 2 * sum(rolls) >= len(rolls)):
        yield from cues
        return
    yield cues[0]
    for count, cue in zip(repeated, cues[1:], strict=True):
        if text := "\n".join(cue.text.split("\n")[count:]):
            yield replace(cue, text=text)


def _repeated(before: Cue, cue: Cue) -> int:
    """How many lines at the start of a cue, of at most four, are the last ones of the cue before."""
    if cue.start - before.end > TOUCHING:
        return 0
    old, new = (_TAG.sub("", one.text).split("\n") for one in (before, cue))
    return next((n for n in range(min(len(old), len(new), 4), 0, -1) if old[-n:] == new[:n]), 0)


def _num_lines(cue: Cue) -> int:
    return cue.text.count("\n") + 1


# ---------------------------------------------------------------- speakers

_VOICE_TAG = re.compile(r"<v(?:\.[^\s<>]*)?\s([^<>]*)>")
_PREFIX = re.compile(r"(?:[-–—]\s?)?([^:\n]{1,40}):\s+")


def _by_speaker(cue: Cue, speakers: Sequence[str]) -> list[Cue]:
    """The cue, or one for each of its speakers in turn, for which its time is parted by the lengths of their texts."""
    turns = groupby(_spoken_parts(cue.text, speakers), key=lambda part: part[0])
    said = [(speaker, spoken("\n".join(text for _, text in lines))) for speaker, lines in turns]
    said = [(speaker, text) for speaker, text in said if text]
    ends = list(accumulate(len(text) for _, text in said))
    borders = [cue.start + cue.seconds * end / ends[-1] for end in [0, *ends]] if ends else []
    return [
        replace(cue, start=start, end=end, text=text, speaker=speaker)
        for (speaker, text), (start, end) in zip(said, pairwise(borders), strict=False)
    ]


def _spoken_parts(text: str, speakers: Sequence[str]) -> Iterator[tuple[str | None, str]]:
    before, *tagged = _VOICE_TAG.split(text)
    for name, body in zip([None, *tagged[::2]], [before, *tagged[1::2]], strict=True):
        speaker = " ".join(html.unescape(name).split()) or None if name else None
        for line in html.unescape(_TAG.sub("", body)).split("\n"):
            prefix = _PREFIX.match(line)
            if prefix and prefix[1] in speakers and name is None:
                speaker, line = prefix[1], line[prefix.end() :]
            yield speaker, line.strip()


def next_start(starts: Sequence[float], after: float) -> float:
    """The first of ordered times that is not before another; infinity if there is none."""
    place = bisect_left(starts, after)
    return starts[place] if place < len(starts) else float("inf")
