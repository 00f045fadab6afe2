# SPDX-License-Identifier: Apache-2.0
"""Join recordings of the same speaker to pairs: one as it was spoken, silence, and another at an even pace.

Such a pair is what a model hears and makes when it speaks: a voice prompt, and then new speech at the prompt's pace.
The silence is of digital zeros, at least 0.2 s, up to a whole number of frames for each token of the prompt, as the
synthesizer shows voices to a model of even pace. The new speech then has the same number, so that its text is laid out
from its first frame on. After some pairs the last frame stays for a while: nothing is said beyond the text.

The pairs are drawn at random; the more hours a speaker has the more pairs, but less than in proportion. PHONES.jsonl
has the times of phones, as align_phones.py writes them; a recording without them, or of other phones than its text, is
only ever the first of a pair.

usage: python local/join_pairs.py TARGET.jsonl.gz NUMBER --cuts CUTS.jsonl.gz... --phones PHONES.jsonl...
"""

import argparse
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from even_pace import Anchors, find_anchors, read_times, warp
from layout import stored
from torch import Tensor

from zipvoice.audio.mel import FLOOR, NUM_MELS
from zipvoice.training.cuts import (
    feature_writer,
    load_features,
    read_cuts,
    require_lhotse,
    stored_tokens,
    with_tokens,
    write_cuts,
)

SILENCE_FRAMES = 19
"""0.2 s, in frames of 10.7 ms."""
PROMPT_SECONDS = (1.2, 6.0)
"""How long the first recording may be."""
SPEECH_SHARE = (0.42, 0.56)
"""How much of a pair the second recording is: about half."""
STRETCH = (0.8, 1.22)
"""By how much the second may be stretched; further, it would no longer sound as if it were spoken."""
TAIL = 0.2
"""Share of the pairs after which the last frame stays."""
MOST_SECONDS = 4000.0
"""More than this of a speaker gives no more pairs."""
FLATTENING = 0.7
"""Power of the seconds of a speaker that gives the share of pairs."""
FAVOURED = {"kathleen": 3.0}
"""Hers is the voice that comes with the package, so she is drawn more often by this factor."""

Cut = Any  # lhotse's, which takes seconds to import
Speakers = Mapping[str, Sequence[Cut]]
"""The recordings of each."""


@dataclass(frozen=True)
class Pair:
    """What is joined."""

    prompt: Cut
    speech: Cut
    tail: int
    """How many times the last frame is repeated."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path, help="manifest of the pairs")
    parser.add_argument("number", type=int, help="how many pairs")
    parser.add_argument("--cuts", type=Path, nargs="+", required=True, help="manifests of the recordings")
    parser.add_argument("--phones", type=Path, nargs="+", required=True, help="times of their phones")
    options = parser.parse_args()
    join_pairs(options.target, options.number, options.cuts, options.phones)


def join_pairs(target: Path, number: int, manifests: Iterable[Path], phones: Iterable[Path]) -> None:
    cuts = [cut for path in manifests for cut in read_cuts(path)]
    anchors = all_anchors(cuts, phones)
    speech = by_speaker(cut for cut in cuts if cut.id in anchors)
    pairs = enumerate(draw(by_speaker(cuts), speech, number, Random(3)))
    with feature_writer(Path(str(target.absolute()).removesuffix(".jsonl.gz") + ".lca"), "lilcom_chunky") as store:
        made = [stored(store, described(pair, i), joined(pair, anchors[pair.speech.id])) for i, pair in pairs]
    write_cuts(target, made)
    print(f"{target}: {len(made)} pairs, {sum(cut.duration for cut in made) / 3600:.1f} hours")


def all_anchors(cuts: Iterable[Cut], phones: Iterable[Path]) -> dict[str, Anchors]:
    """The anchors of the recordings that have any."""
    times = {key: words for path in phones for key, words in read_times(path).items()}
    found = {cut.id: find_anchors(stored_tokens(cut), times[cut.id], cut.duration) for cut in cuts if cut.id in times}
    return {key: anchors for key, anchors in found.items() if anchors is not None}


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


def draw(prompts: Speakers, speech: Speakers, number: int, rng: Random) -> Iterator[Pair]:
    """Pairs of fitting recordings. Raises ValueError if no speaker has any."""
    weights = {
        speaker: FAVOURED.get(speaker, 1.0) * min(sum(cut.duration for cut in cuts), MOST_SECONDS) ** FLATTENING
        for speaker, cuts in prompts.items()
        if any(fits(first, second) for first in cuts for second in speech.get(speaker, ()))
    }
    if not weights:
        raise ValueError("no speaker has two texts of fitting lengths to join")
    while number:
        (speaker,) = rng.choices(list(weights), list(weights.values()))
        first, second = rng.choice(prompts[speaker]), rng.choice(speech[speaker])
        if fits(first, second):
            # With a frame more for each token, the text would be laid out at another pace.
            most = len(stored_tokens(first)) + len(stored_tokens(second)) - 1
            yield Pair(first, second, rng.randint(1, most) if rng.random() < TAIL else 0)
            number -= 1


def fits(prompt: Cut, speech: Cut) -> bool:
    """Whether the texts differ, and the recordings are of good lengths."""
    shortest, longest = PROMPT_SECONDS
    if prompt.supervisions[0].text == speech.supervisions[0].text or not shortest <= prompt.duration <= longest:
        return False
    (least, most), (heard, said) = SPEECH_SHARE, lengths(prompt, speech)
    if not least <= said / (heard + said) <= most:
        return False
    least, most = STRETCH
    return least <= said / speech.features.num_frames <= most


# ---------------------------------------------------------------- one pair


def lengths(prompt: Cut, speech: Cut) -> tuple[int, int]:
    """Frames of the prompt with the silence after it, and of the speech at the same whole number for each token."""
    num_tokens = len(stored_tokens(prompt))
    frames_per_token = math.ceil((prompt.features.num_frames + SILENCE_FRAMES) / num_tokens)
    return frames_per_token * num_tokens, frames_per_token * len(stored_tokens(speech))


def joined(pair: Pair, anchors: Anchors) -> Tensor:
    """Features (T, F) of a pair, given the anchors of its speech."""
    heard, said = lengths(pair.prompt, pair.speech)
    prompt = load_features(pair.prompt, NUM_MELS)
    silence = torch.full((heard - len(prompt), NUM_MELS), math.log(FLOOR))
    speech = warp(load_features(pair.speech, NUM_MELS), anchors, said)
    return torch.cat([prompt, silence, speech, speech[-1:].expand(pair.tail, -1)])


def described(pair: Pair, number: int) -> Cut:
    """The cut of a pair: its name, text and tokens."""
    copy, cuts = require_lhotse().utils.fastcopy, (pair.prompt, pair.speech)
    name = f"p{number:05d}_{pair.prompt.id}_{pair.speech.id}"
    text = " ".join(cut.supervisions[0].text for cut in cuts)
    cut = with_tokens(pair.prompt, [token for cut in cuts for token in stored_tokens(cut)])
    return copy(cut, id=name, supervisions=[copy(cut.supervisions[0], id=name, text=text)])


if __name__ == "__main__":
    main()
