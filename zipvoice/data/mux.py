# SPDX-License-Identifier: Apache-2.0
"""Which utterances an epoch has: those of all manifests, interleaved, that a model can learn from."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, repeat
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from zipvoice.audio.mel import SAMPLING_RATE, num_frames
from zipvoice.config.data import DataConfig, ManifestConfig
from zipvoice.data.corpus_list import listed
from zipvoice.data.cuts import make_tokens, read_cuts, spoken, stored_tokens
from zipvoice.data.manifest import Manifest, placed_lines
from zipvoice.data.overlap import Sound
from zipvoice.text.token_table import TokenTable
from zipvoice.text.tokenizers import Tokenizer

if TYPE_CHECKING:
    from lhotse.cut import Cut

SURVEYED = 10_000
"""Utterances that the durations of the buckets are estimated from."""

NO_MANIFEST = "data.train names no manifest; give one, as `zipvoice prepare` writes it"

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TokenizedCut:
    """A cut, and the token ids of its text."""

    cut: "Cut"
    token_ids: list[int]

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.cut.duration


@dataclass(frozen=True)
class Survey:
    """What the first utterances of a corpus are like."""

    seconds: list[float]
    """Duration of each one that can be used."""
    whole: bool
    """Whether there are no others."""
    sounds: list[Sound]
    """Where the sound of each one is from."""


class TokenizedCuts:
    """The usable utterances of a mixture of manifests; what is left out is counted and told once.

    Raises:
        ValueError: naming the utterance, for one that has more tokens than frames or, unless they are to be skipped,
            unknown tokens.
    """

    def __init__(
        self,
        config: DataConfig,
        manifests: Sequence[ManifestConfig],
        table: TokenTable,
        tokenizer: Tokenizer,
        report: bool,
    ) -> None:
        if not manifests:
            raise ValueError(NO_MANIFEST)
        self._config = config
        self._manifests = manifests
        self._table = table
        self._tokenizer = tokenizer
        self._report = report

    def epoch(self, order: Random | None = None) -> Iterator[TokenizedCut]:
        """The utterances of one epoch; `order` as for `mux`."""
        dropped: Counter[str] = Counter()
        yield from mux(self._manifests, lambda cuts: self._of(cuts, dropped), order)
        self._tell(dropped, "")

    def survey(self) -> Survey:
        """Look at the first utterances. Raises ValueError that names all of them that cannot be used."""
        dropped: Counter[str] = Counter()
        seconds, sounds, faults = [], [], []
        for listed_cut in islice(mux(self._manifests, iter), SURVEYED):
            try:
                cut = spoken(listed_cut)
                if self._permitted(cut, dropped) and self._usable(cut, dropped):
                    seconds.append(cut.duration)
                    sounds.append(Sound.of(cut))
            except ValueError as error:
                faults.append(str(error))
        if faults:
            raise ValueError(f"unusable utterances in {self._names()}: {listed(faults)}")
        if not seconds:
            raise ValueError(f"no usable utterance in {self._names()}; left out: {_counts(dropped) or 'none'}")
        whole = len(seconds) + sum(dropped.values()) < SURVEYED
        if self._report and (count := sum(duration > self._config.max_duration for duration in seconds)):
            logger.warning(
                "%d of the%s utterances in %s are longer than data.max_duration, %g s: each is a batch of its own",
                count, "" if whole else f" first {SURVEYED}", self._names(), self._config.max_duration,
            )  # fmt: skip
        self._tell(dropped, "" if whole else f" first {SURVEYED}")
        return Survey(seconds, whole, sounds)

    def _of(self, cuts: Iterable["Cut"], dropped: Counter[str]) -> Iterator[TokenizedCut]:
        """The usable ones of some cuts."""
        for cut in map(spoken, cuts):
            if self._permitted(cut, dropped) and (usable := self._usable(cut, dropped)):
                yield usable

    def _permitted(self, cut: "Cut", dropped: Counter[str]) -> bool:
        """Whether the duration is within the limits."""
        if cut.duration < self._config.min_len:
            dropped[f"shorter than {self._config.min_len} s"] += 1
        elif cut.duration > self._config.max_len:
            dropped[f"longer than {self._config.max_len} s"] += 1
        else:
            return True
        return False

    def _usable(self, cut: "Cut", dropped: Counter[str]) -> TokenizedCut | None:
        """The utterance with its tokens; None if it has unknown ones and such are to be skipped."""
        try:
            ids = self._table.ids(stored_tokens(cut) or make_tokens(cut, self._tokenizer))
        except ValueError as error:
            if self._config.unknown_tokens == "skip":
                dropped["with unknown tokens"] += 1
                return None
            raise ValueError(f"the utterance {cut.id!r}: {error}") from None
        frames = num_frames(round(cut.duration * SAMPLING_RATE))
        if not 0 < len(ids) <= frames:
            raise ValueError(
                f"the utterance {cut.id!r} has {len(ids)} tokens in {frames} frames ({cut.duration:.2f} s), and needs "
                "at least one token, and one frame for each; its text and its audio do not belong together"
            )
        return TokenizedCut(cut, ids)

    def _tell(self, dropped: Counter[str], which: str) -> None:
        """Log what was left out, once."""
        if dropped and self._report:
            logger.warning("of the%s utterances in %s are left out: %s", which, self._names(), _counts(dropped))
            self._report = which != ""

    def _names(self) -> str:
        return ", ".join(item.path for item in self._manifests)


def _counts(dropped: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in dropped.items())


# ---------------------------------------------------------------- several manifests


def mux(
    manifests: Sequence[ManifestConfig], usable: Callable[[Any], Iterator[T]], order: Random | None = None
) -> Iterator[T]:
    """What is `usable` of the cuts of each manifest, for one epoch.

    As long as all of them last, each has its share of any stretch, to within one: its `replay`, or its weight among
    those without it, whose ends end the epoch. `order` draws the order of shards, and where replayed manifests begin.

    Example:
        >>> cuts = mux([ManifestConfig("a.jsonl.gz", weight=2), ManifestConfig("b.jsonl.gz")], iter, Random(1))
    """
    read = [item for item in manifests if item.replay is None]
    replayed = [item for item in manifests if item.replay is not None]
    streams = [usable(chain.from_iterable(repeat(read_cuts(item.path, order), item.repeat))) for item in read]
    endless = [_endless(item.path, usable, order) for item in replayed]
    shares = [item.replay or 0.0 for item in replayed]
    due = [0.0] * len(endless)
    for own in _interleaved(streams, [item.weight for item in read]):
        yield own
        for i, share in enumerate(shares):
            due[i] += share / (1 - sum(shares))
            yield from islice(endless[i], int(due[i]))
            due[i] %= 1


def _interleaved(streams: Sequence[Iterator[T]], weights: Sequence[float]) -> Iterator[T]:
    """All streams to their ends; the next item is of the one that is furthest behind its share."""
    taken = dict.fromkeys(range(len(streams)), 0)
    while taken:
        i = min(taken, key=lambda i: (taken[i] + 0.5) / weights[i])
        for item in islice(streams[i], 1):
            taken[i] += 1
            yield item
            break
        else:
            del taken[i]


def _endless(path: str, usable: Callable[[Any], Iterator[T]], order: Random | None) -> Iterator[T]:
    """A manifest over and over; with `order` from a random line on, or its shards in random order."""
    if order and Path(path).is_file():
        yield from usable(Manifest(path, order.randrange(sum(1 for _ in placed_lines(path)))))
    while True:
        for item in (some := usable(read_cuts(path, order))):
            yield item
            yield from some
            break
        else:
            raise ValueError(f"no usable utterance in {path}, which is to be replayed")
