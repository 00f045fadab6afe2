# SPDX-License-Identifier: Apache-2.0
"""Stretch and squeeze the features of recordings until their tokens come at an even pace.

ZipVoice lays out a text with the same number of frames for each token. In a recording at an even pace each token then
lies beside its own sound, from which a small model learns more easily what sounds like what. Lengths change a little,
as layout.py explains. PHONES.jsonl has the times of phones, as align_phones.py writes them. Left out are recordings
without them, and those whose phones are not what espeak reads in the text.

usage: python local/even_pace.py PHONES.jsonl CUTS.jsonl.gz TARGET.jsonl.gz
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from layout import frames_per_token, stored
from phones import fit, joined, share_out, spoken_groups
from torch import Tensor

from zipvoice.audio.mel import NUM_MELS
from zipvoice.training.cuts import feature_writer, load_features, read_cuts, stored_tokens, write_cuts

MOST_COST = 0.35
"""Of matching phones to tokens, per token; above that the recording says something else than the tokens."""
PAUSE_SECONDS = 0.06
"""From this on, what comes between two groups of tokens is a pause, which is given to the marks between them."""
LEADING_SECONDS = 0.08
"""From this on, what comes before the first token is silence, which takes half of the token if no mark is before it."""
EDGE_SECONDS = 0.02
"""From this on, what comes before the first and after the last spoken token is given to the marks there."""

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


def main(phones: Path, source: Path, target: Path) -> None:
    times, made, left_out = read_times(phones), [], Counter[str]()
    with feature_writer(Path(str(target.absolute()).removesuffix(".jsonl.gz") + ".lca"), "lilcom_chunky") as store:
        for cut in read_cuts(source):
            tokens = stored_tokens(cut)
            if cut.id not in times:
                left_out["without times of phones"] += 1
            elif anchors := find_anchors(tokens, times[cut.id], cut.duration):
                features = load_features(cut, NUM_MELS)
                num_frames = frames_per_token(len(features), len(tokens)) * len(tokens)
                made.append(stored(store, cut, warp(features, anchors, num_frames)))
            else:
                left_out["whose phones do not fit the tokens"] += 1
    write_cuts(target, made)
    counts = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items())) or "none"
    print(f"{target}: {len(made)} recordings; left out: {counts}")


def read_times(path: Path) -> dict[str, list[Word]]:
    """The words of each recording, as align_phones.py wrote them."""
    return {row["id"]: row["words"] for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())}


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


def warp(features: Tensor, anchors: Anchors, num_frames: int) -> Tensor:
    """Features (T, F) at an even pace, (num_frames, F)."""
    even, spoken = (values / values[-1] for values in (anchors.positions, anchors.seconds))
    centres = (np.arange(num_frames) + 0.5) / num_frames  # of the new frames; the centre of frame i is i + 0.5
    place = np.interp(centres, even, spoken) * len(features) - 0.5
    place = torch.from_numpy(place).clamp(0, len(features) - 1)
    earlier = place.long()
    later = (earlier + 1).clamp(max=len(features) - 1)
    return torch.lerp(features[earlier], features[later], (place - earlier)[:, None].to(features.dtype))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
