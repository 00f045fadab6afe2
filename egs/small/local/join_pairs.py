# SPDX-License-Identifier: Apache-2.0
"""Join recordings of the same speaker to pairs: one as it was spoken, silence, and another at the typical pace.

Such a pair is what a model hears and makes when it speaks: a voice prompt, and then new speech at the prompt's pace.
The silence is of digital zeros, 0.2 s, as the synthesizer puts behind voices. The new speech then gets as much time for
its text as the prompt with the silence takes for its own, so that its text is laid out from its first frame on.

The pairs are drawn at random; the more hours a speaker has the more pairs, but less than in proportion. PHONES.jsonl
has the times of phones, as align_phones.py writes them; a recording without them, or of other phones than its text, is
only ever the first of a pair.

usage: python local/join_pairs.py TIMED.txt TARGET.jsonl.gz NUMBER --cuts CUTS.jsonl.gz... --phones PHONES.jsonl...
"""

import argparse
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from anchors import Anchors, cut_anchors, read_times, stored, typical, warp

from zipvoice.audio.mel import FLOOR, NUM_MELS
from zipvoice.data.cuts import (
    feature_writer,
    load_features,
    read_cuts,
    require_lhotse,
    stored_tokens,
    with_tokens,
    write_cuts,
)
from zipvoice.text.token_table import TokenTable

SILENCE_FRAMES = 19
"""0.2 s, in frames of 10.7 ms."""
PROMPT_SECONDS = (1.2, 6.0)
"""How long the first recording may be."""
SPEECH_SHARE = (0.35, 0.7)
"""How much of a pair the second recording is."""
STRETCH = (0.8, 1.25)
"""By how much the second may be stretched; further, it would no longer sound as if it were spoken."""
MOST_SECONDS = 4000.0
"""More than this of a speaker gives no more pairs."""
FLATTENING = 0.7
"""Power of the seconds of a speaker that gives the share of pairs."""

Cut = Any  # lhotse's, which takes seconds to import
Speakers = Mapping[str, Sequence[Cut]]
"""The recordings of each."""


@dataclass(frozen=True)
class Pair:
    """What is joined."""

    prompt: Cut
    speech: Cut
    heard: int
    """Frames of the prompt and the silence."""
    said: int
    """Frames of the speech."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokens", type=Path, help="token table with durations")
    parser.add_argument("target", type=Path, help="manifest of the pairs")
    parser.add_argument("number", type=int, help="how many pairs")
    parser.add_argument("--cuts", type=Path, nargs="+", required=True, help="manifests of the recordings")
    parser.add_argument("--phones", type=Path, nargs="+", required=True, help="times of their phones")
    parser.add_argument("--seed", type=int, default=3, help="decides which pairs")
    options = parser.parse_args()
    table = TokenTable.read(options.tokens)
    join_pairs(table, options.target, options.number, options.cuts, options.phones, options.seed)


def join_pairs(
    table: TokenTable, target: Path, number: int, manifests: Iterable[Path], phones: Iterable[Path], seed: int = 3
) -> None:
    cuts = [cut for path in manifests for cut in read_cuts(path)]
    anchors = all_anchors(cuts, phones)
    speech = by_speaker(cut for cut in cuts if cut.id in anchors)
    pairs = enumerate(draw(table, by_speaker(cuts), speech, number, Random(seed)))
    with feature_writer(Path(str(target.absolute()).removesuffix(".jsonl.gz") + ".lca"), "lilcom_chunky") as store:
        made = [
            stored(store, described(pair, f"p{seed}_{i}"), joined(table, pair, anchors[pair.speech.id]))
            for i, pair in pairs
        ]
    write_cuts(target, made)
    print(f"{target}: {len(made)} pairs, {sum(cut.duration for cut in made) / 3600:.1f} hours")


def all_anchors(cuts: Iterable[Cut], phones: Iterable[Path]) -> dict[str, Anchors]:
    """The anchors of the recordings that have any."""
    times = {key: words for path in phones for key, words in read_times(path).items()}
    return {cut.id: anchors for cut in cuts if (anchors := cut_anchors(cut, times))}


# ---------------------------------------------------------------- which ones


def by_speaker(cuts: Iterable[Cut]) -> dict[str, list[Cut]]:
    """The recordings of each speaker. Raises ValueError for one of nobody's."""
    speakers: dict[str, list[Cut]] = {}
    for cut in cuts:
        speaker = cut.supervisions[0].speaker
        if not speaker:
            raise ValueError(f"the utterance {cut.id!r} has no speaker; the list needs a column `speaker`")
        speakers.setdefault(speaker, []).append(cut)
    return speakers


def draw(table: TokenTable, prompts: Speakers, speech: Speakers, number: int, rng: Random) -> Iterator[Pair]:
    """Pairs of fitting recordings. Raises ValueError if no speaker has any."""
    weights = {
        speaker: min(sum(cut.duration for cut in cuts), MOST_SECONDS) ** FLATTENING
        for speaker, cuts in prompts.items()
        if any(fitted(table, first, second) for first in cuts for second in speech.get(speaker, ()))
    }
    if not weights:
        raise ValueError("no speaker has two texts of fitting lengths to join")
    for speaker in rng.choices(list(weights), list(weights.values()), k=number):
        while not (pair := fitted(table, rng.choice(prompts[speaker]), rng.choice(speech[speaker]))):
            pass
        yield pair


def fitted(table: TokenTable, prompt: Cut, speech: Cut) -> Pair | None:
    """The two as a pair, unless they say the same or are not of good lengths."""
    shortest, longest = PROMPT_SECONDS
    if prompt.supervisions[0].text == speech.supervisions[0].text or not shortest <= prompt.duration <= longest:
        return None
    heard = prompt.features.num_frames + SILENCE_FRAMES
    lengths = [typical(table, stored_tokens(cut)).sum() for cut in (prompt, speech)]
    said = round(heard * lengths[1] / lengths[0])
    ranges = ((said / (heard + said), SPEECH_SHARE), (said / speech.features.num_frames, STRETCH))
    fits = all(least <= value <= most for value, (least, most) in ranges)
    return Pair(prompt, speech, heard, said) if fits else None


# ---------------------------------------------------------------- one pair


def joined(table: TokenTable, pair: Pair, anchors: Anchors) -> np.ndarray:
    """Features (T, F) of a pair, given the anchors of its speech."""
    prompt = load_features(pair.prompt, NUM_MELS)
    silence = np.full((pair.heard - len(prompt), NUM_MELS), math.log(FLOOR), np.float32)
    durations = typical(table, stored_tokens(pair.speech))
    return np.concatenate([prompt, silence, warp(load_features(pair.speech, NUM_MELS), anchors, durations, pair.said)])


def described(pair: Pair, name: str) -> Cut:
    """The cut of a pair: its name, text and tokens."""
    copy, cuts = require_lhotse().utils.fastcopy, (pair.prompt, pair.speech)
    name = f"{name}_{pair.prompt.id}_{pair.speech.id}"
    text = " ".join(cut.supervisions[0].text for cut in cuts)
    cut = with_tokens(pair.prompt, [token for cut in cuts for token in stored_tokens(cut)])
    return copy(cut, id=name, supervisions=[copy(cut.supervisions[0], id=name, text=text)])


if __name__ == "__main__":
    main()
