# SPDX-License-Identifier: Apache-2.0
"""Where in a recording its tokens are spoken, and recordings stretched until they are spoken where the model expects.

The times of phones come from align_phones.py. Anchors tie them to the tokens of a text; between two of them the time is
shared out in proportion to the typical durations of the tokens, by which the model lays out texts, too.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from phones import fit, joined, share_out, spoken_groups

from zipvoice.audio.mel import HOP, SAMPLING_RATE
from zipvoice.data.cuts import require_lhotse, stored_tokens
from zipvoice.text.token_table import TokenTable

MOST_COST = 0.35
"""Of matching phones to tokens, per token; above that the recording says something else than the tokens."""
PAUSE_SECONDS = 0.06
"""From this on, what comes between two groups of tokens is a pause, which is given to the marks between them."""
LEADING_SECONDS = 0.08
"""From this on, what comes before the first token is silence, which takes half of the token if no mark is before it."""
EDGE_SECONDS = 0.02
"""From this on, what comes before the first and after the last spoken token is given to the marks there."""

Cut = Any  # lhotse's, which takes seconds to import
Phone = tuple[str, float, float]
"""A phone, and the seconds at which it starts and ends."""
Word = tuple[str, Sequence[Phone]]
Point = tuple[float, float]
"""A place in the tokens, and the seconds at which it is reached."""


@dataclass(frozen=True)
class Anchors:
    """Places in the tokens, and the seconds at which they are reached. Both start at 0; places increase."""

    positions: np.ndarray
    seconds: np.ndarray


@dataclass(frozen=True)
class Group:
    """Tokens that are spoken together."""

    starts: Sequence[Point]
    """Of its phones, as far as they have tokens of their own."""
    end: Point
    cost: float
    """Of the match of its phones to its tokens."""


def read_times(path: Path) -> dict[str, list[Word]]:
    """The words of each recording, as align_phones.py wrote them."""
    return {row["id"]: row["words"] for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())}


def cut_anchors(cut: Cut, times: Mapping[str, list[Word]]) -> Anchors | None:
    """The anchors of a recording, None if its phones are unknown or do not fit its tokens."""
    return find_anchors(stored_tokens(cut), times[cut.id], cut.duration) if cut.id in times else None


# ---------------------------------------------------------------- phones and their tokens


def find_anchors(tokens: Sequence[str], words: Sequence[Word], seconds: float) -> Anchors | None:
    """The anchors of a recording of `seconds`: its ends, its pauses, and where one phone passes into the next.

    None if the phones do not fit the tokens.
    """
    groups = list(spoken(tokens, words))
    num_spoken = sum(end - start for start, end in spoken_groups(tokens))
    if not groups or sum(group.cost for group in groups) > MOST_COST * num_spoken:
        return None
    points = [(0.0, 0.0), *before(groups[0])]
    for group, following in pairwise(groups):
        points += [*group.starts[1:], *between(group.end, following.starts[0])]
    points += [*groups[-1].starts[1:], *after(groups[-1].end, len(tokens), seconds), (len(tokens), seconds)]
    positions, times = np.array(points, dtype=np.float64).T
    return Anchors(positions, times.clip(max=seconds))  # the recogniser's last frame may end after the recording


def spoken(tokens: Sequence[str], words: Sequence[Word]) -> Iterator[Group]:
    """The groups of tokens with the times of their phones; nothing if there are fewer words than groups."""
    spans = spoken_groups(tokens)
    characters = ["".join(tokens[start:end]) for start, end in spans]
    names = [[name for name, _, _ in phones] for _, phones in words]
    counts = share_out(names, characters)
    if counts is None:
        return
    taken = 0
    for (start, end), group, count in zip(spans, characters, counts, strict=True):
        found = fit(joined(names[taken : taken + count]), group)
        phones = [phone for _, phones in words[taken : taken + count] for phone in phones]
        starts = [(start + i, phone[1]) for i, phone in zip(found.starts, phones, strict=True) if i is not None]
        yield Group(starts, (end, phones[-1][2]), found.cost)
        taken += count


def before(group: Group) -> list[Point]:
    """The anchors before the second phone of the first group."""
    position, start = group.starts[0]
    if position > 0 and start >= EDGE_SECONDS:
        return [(position, start)]
    return [(0.5, start)] if start >= LEADING_SECONDS else []


def between(end: Point, start: Point) -> list[Point]:
    """The anchors between two groups: the ends of a pause, or else the middle of the marks."""
    if start[1] - end[1] >= PAUSE_SECONDS:
        return [end, start]
    return [((end[0] + start[0]) / 2, (end[1] + start[1]) / 2)]


def after(end: Point, num_tokens: int, seconds: float) -> list[Point]:
    """The anchor at the end of the last group, if there are marks and silence after it."""
    return [end] if end[0] < num_tokens and seconds - end[1] >= EDGE_SECONDS else []


# ---------------------------------------------------------------- features


def warp(features: np.ndarray, anchors: Anchors, durations: np.ndarray, num_frames: int) -> np.ndarray:
    """Features (T, F) stretched so that each token is spoken where the model lays it out, (num_frames, F).

    Args:
        features: of the recording.
        anchors: where its tokens are spoken.
        durations: typical ones of its tokens (S,).
        num_frames: how long the result is.
    """
    ends = np.concatenate([[0.0], durations.cumsum()])
    typical = np.interp(anchors.positions, np.arange(len(ends)), ends) / ends[-1]
    spoken = anchors.seconds / anchors.seconds[-1]
    centres = (np.arange(num_frames) + 0.5) / num_frames  # of the new frames; the centre of frame i is i + 0.5
    source = np.interp(centres, typical, spoken)
    place = (source * len(features) - 0.5).clip(0, len(features) - 1)
    earlier = place.astype(int)
    later = (earlier + 1).clip(max=len(features) - 1)
    weight = (place - earlier)[:, None].astype(features.dtype)
    return features[earlier] + weight * (features[later] - features[earlier])


def typical(table: TokenTable, tokens: Sequence[str]) -> np.ndarray:
    """The typical durations of some tokens. Raises ValueError for a table without any."""
    if table.durations is None:
        raise ValueError("the token table has no durations; token_durations.py finds them")
    return np.array(table.durations)[table.ids(tokens)]


def stored(store: Any, cut: Cut, features: np.ndarray) -> Cut:
    """The cut with these features, as long as they are, and without a recording, which they no longer follow."""
    copy = require_lhotse().utils.fastcopy
    cut, seconds = store(cut, features), len(features) * HOP / SAMPLING_RATE
    said, described = copy(cut.supervisions[0], duration=seconds), copy(cut.features, duration=seconds)
    return copy(cut, duration=seconds, supervisions=[said], features=described, recording=None)
