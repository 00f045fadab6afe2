# SPDX-License-Identifier: Apache-2.0
"""Which characters of espeak stand for which phones of the CMU dictionary.

The two write the same speech differently, and not always the same speech: EY is written eɪ, the T of "better" as ɾ,
and "of the" as one group ʌvðə. So phones are matched to characters in order, at the least cost.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

SPELLINGS = {
    "AA": "ɑɔɒoa", "AE": "æaɐ", "AH": "ʌəɐɪ", "AO": "ɔoɑɒ", "AW": "aʊ", "AY": "aɪ", "EH": "ɛe", "ER": "ɜɚɹə",
    "EY": "eɪ", "IH": "ɪiɨᵻ", "IY": "iɪ", "OW": "oʊ", "OY": "ɔɪ", "UH": "ʊ", "UW": "uʊ",
    "B": "b", "CH": "tʃ", "D": "dɾ", "DH": "ð", "F": "f", "G": "ɡ", "HH": "h", "JH": "dʒ", "K": "k", "L": "lɫə",
    "M": "m", "N": "n", "NG": "ŋn", "P": "p", "R": "ɹɚɜ", "S": "s", "SH": "ʃ", "T": "tɾʔ", "TH": "θ", "V": "v",
    "W": "w", "Y": "jɪ", "Z": "zs", "ZH": "ʒ",
}  # fmt: skip
"""The characters with which espeak may write a phone, or a part of it."""
VOWELS = frozenset("aeiouæɐɑɒɔəɚɛɜɨɪʊʌᵻ")
MISSPELT, UNLIKE, MISSING = 1.0, 1.3, 0.7
"""Costs of a sound that a phone is not written with, of a vowel for a consonant or the reverse, and of a phone that is
not written at all."""
STRESS = "ˈˌ"
LENGTH = "ː"
MARKS = frozenset(" .,;:!?-\"'()…—–")
"""Tokens that are not spoken."""


@dataclass(frozen=True)
class Fit:
    """The best match of phones to characters."""

    starts: tuple[int | None, ...]
    """The first character of each phone; None for a phone without one."""
    cost: float


def spoken_groups(tokens: Sequence[str]) -> list[tuple[int, int]]:
    """Start and end of each run of tokens without marks."""
    spoken = [False, *(token not in MARKS for token in tokens), False]
    edges = np.flatnonzero(np.diff(spoken)).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def share_out(words: Sequence[Sequence[str]], groups: Sequence[str]) -> list[int] | None:
    """How many words, given by their phones, each group of characters takes, at least one, for the best fit of all.

    None if there are fewer words than groups.
    """
    spare = len(words) - len(groups)
    best: dict[int, tuple[float, list[int]]] = {0: (0.0, [])}  # of so many words: the cost, and how many to each group
    for number, group in enumerate(groups):
        candidates = [
            (cost + fit(joined(words[taken : taken + count]), group).cost, [*counts, count])
            for taken, (cost, counts) in best.items()
            for count in range(1, spare - (taken - number) + 2)
        ]
        best = {sum(counts): (cost, counts) for cost, counts in sorted(candidates, reverse=True)}
    return best[len(words)][1] if len(words) in best else None


def joined(words: Sequence[Sequence[str]]) -> tuple[str, ...]:
    return tuple(phone for word in words for phone in word)


@lru_cache(maxsize=100_000)
def fit(phones: tuple[str, ...], characters: str) -> Fit:
    """Match phones to a group of characters, in order; each sound of the group belongs to one phone."""
    sounds = sound_starts(characters)
    costs = np.array([[misspelling(phone, characters[i:]) for phone in phones] for i in sounds])
    order = np.arange(len(phones))
    ahead = order - order[:, None]  # from a row's phone to a column's
    passed_over = np.where(ahead < 0, np.inf, MISSING * np.maximum(ahead - 1, 0))
    total, came_from = costs[0] + MISSING * order, []
    for cost in costs[1:]:
        reached = total[:, None] + passed_over
        came_from.append(reached.argmin(axis=0))
        total = reached.min(axis=0) + cost
    total = total + MISSING * order[::-1]
    owners = [int(total.argmin())]
    for previous in reversed(came_from):
        owners.append(int(previous[owners[-1]]))
    first = dict(zip(owners, reversed(sounds), strict=True))  # the earliest comes last
    return Fit(tuple(first.get(j) for j in range(len(phones))), float(total.min()))


def misspelling(phone: str, characters: str) -> float:
    """The cost of the phone for the first sound of the characters."""
    sound = characters.lstrip(STRESS)[:1]
    if sound in SPELLINGS[phone]:
        return 0.0
    return MISSPELT if (sound in VOWELS) == (phone[0] in "AEIOU") else UNLIKE


def sound_starts(characters: str) -> list[int]:
    """Where sounds start. A stress mark belongs to the sound after it, a length or combining mark to the one before."""
    return [
        i
        for i, character in enumerate(characters)
        if i == 0 or not (characters[i - 1] in STRESS or character == LENGTH or unicodedata.combining(character))
    ]
