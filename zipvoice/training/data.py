# SPDX-License-Identifier: Apache-2.0
"""Manifests -> batches: utterances of similar duration together, in an order that depends on seed and epoch only.

Shapes: B utterances, T frames, C features of one frame (100, or 300 in stereo).
"""

import logging
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from zipvoice.audio.mel import NUM_MELS, SAMPLING_RATE, LogMel, num_frames
from zipvoice.config import DataConfig, FeatureConfig, ManifestConfig
from zipvoice.text.tokenizers import Tokenizer
from zipvoice.text.tokens import TokenTable
from zipvoice.training.cuts import (
    check_supervision,
    extract_features,
    listed,
    load_features,
    read_cuts,
    require_lhotse,
    stored_tokens,
    with_tokens,
)

if TYPE_CHECKING:
    from lhotse.cut import Cut

PADDING = math.log(1e-10)
"""Value of padding frames, before scaling; released models were trained with it."""
SURVEYED = 10_000
"""Utterances that the durations of the buckets are estimated from."""
BATCHES_PER_BUCKET = 4
"""A bucket that is not worth this many batches would fill few of them."""
BUFFERED_PER_BUCKET = 7_000
"""Utterances held in memory for shuffling, for each bucket."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Batch:
    """Some utterances, ready for a model."""

    features: Tensor
    """(B, T, C) float32, scaled, padded on the right with the scaled `PADDING`."""
    feature_lens: Tensor
    """(B,) int64, frames of each utterance."""
    tokens: list[list[int]]
    """Token ids of each utterance."""
    ids: list[str]
    """Names of the utterances."""
    texts: list[str]
    """Their texts."""

    def to(self, device: torch.device | str) -> "Batch":
        """The batch with its tensors on `device`."""
        return replace(self, features=self.features.to(device), feature_lens=self.feature_lens.to(device))


def collate(
    features: Sequence[Tensor], tokens: list[list[int]], ids: list[str], texts: list[str], scale: float
) -> Batch:
    """One batch of single utterances with unscaled features (T, C)."""
    padded = pad_sequence(list(features), batch_first=True, padding_value=PADDING) * scale  # (B, T, C)
    return Batch(padded, torch.tensor([len(item) for item in features]), tokens, ids, texts)


class TrainingData:
    """Batches for ever, epoch after epoch; the same ones after `load_state_dict` as without the interruption.

    Each rank gets its own utterances, and all ranks the same number of batches: if the last round of an epoch has fewer
    batches than there are ranks, its utterances are spread over them (and repeated only if they are fewer than ranks).
    Nothing else is left out at the end of an epoch.

    Texts without stored tokens are tokenised here, one after the other; for a large corpus let preparation do it.

    Attributes:
        epoch: Complete passes over the data so far; it rises when the last batch of a pass is handed out.

    Raises:
        ValueError: naming the utterance, for one that has more tokens than frames or, unless they are to be skipped,
            unknown tokens; if the manifests hold nothing of the permitted length.
    """

    def __init__(
        self,
        config: DataConfig,
        table: TokenTable,
        tokenizer: Tokenizer,
        *,
        scale: float = FeatureConfig.scale,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.epoch = 0
        self._handed_out = 0
        utterances = _Utterances(config, config.train, table, tokenizer, report=rank == 0)
        self._sampling = _Sampling(utterances, config, config.shuffle, seed, rank, world_size)
        self._dataset = _Loading(config, table, scale)
        self._num_workers = config.num_workers
        self._loaded: Iterator[_Loaded] | None = None

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if self._loaded is None:
            self._loaded = _loader(
                self._dataset, self._sampling.endless(self.epoch, self._handed_out), self._num_workers
            )
        loaded = next(self._loaded)
        self.epoch, self._handed_out = (self.epoch + 1, 0) if loaded.is_last else (self.epoch, self._handed_out + 1)
        return loaded.batch

    def state_dict(self) -> dict[str, int]:
        """The position in the data: epochs completed, and batches handed out in the current one."""
        return {"epoch": self.epoch, "batches": self._handed_out}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go to the position of `state_dict`; the utterances before it are passed over without loading them."""
        self.epoch, self._handed_out = state["epoch"], state["batches"]
        self._loaded = None


class ValidationData:
    """The batches of the validation manifests, the same ones in the same order each time they are iterated over.

    Each rank gets every `world_size`-th batch, so ranks may differ by one batch. Raises as `TrainingData` does.
    """

    def __init__(
        self,
        config: DataConfig,
        table: TokenTable,
        tokenizer: Tokenizer,
        *,
        scale: float = FeatureConfig.scale,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        utterances = _Utterances(config, config.dev, table, tokenizer, report=rank == 0)
        self._sampling = _Sampling(utterances, config, shuffle=False)
        self._share = slice(rank, None, world_size)
        self._dataset = _Loading(config, table, scale)
        self._num_workers = min(config.num_workers, 2)

    def __iter__(self) -> Iterator[Batch]:
        share = islice(self._sampling.selections(0), self._share.start, None, self._share.step)
        return (loaded.batch for loaded in _loader(self._dataset, share, self._num_workers))


# ---------------------------------------------------------------- which utterances


@dataclass(frozen=True)
class _Survey:
    """What the first utterances of a corpus are like."""

    seconds: list[float]
    """Duration of each one that can be used."""
    whole: bool
    """Whether there are no others."""


class _Utterances:
    """The usable utterances of a mixture of manifests, with tokens, read again in each iteration."""

    def __init__(
        self,
        config: DataConfig,
        manifests: Sequence[ManifestConfig],
        table: TokenTable,
        tokenizer: Tokenizer,
        report: bool,
    ) -> None:
        if not manifests:
            raise ValueError("the data settings name no manifest")
        self._config = config
        self._manifests = manifests
        self._table = table
        self._tokenizer = tokenizer
        self._report = report

    def __iter__(self) -> Iterator["Cut"]:
        """Raises ValueError at the first utterance that cannot be used."""
        dropped: Counter[str] = Counter()
        for cut in self._mixture():
            if self._permitted(cut, dropped) and (usable := self._usable(cut, dropped)):
                yield usable
        self._tell(dropped, "")

    def survey(self) -> "_Survey":
        """Look at the first utterances. Raises ValueError that names all of them that cannot be used."""
        dropped: Counter[str] = Counter()
        seconds, faults = [], []
        for cut in islice(self._mixture(), SURVEYED):
            try:
                if self._permitted(cut, dropped) and self._usable(cut, dropped):
                    seconds.append(cut.duration)
            except ValueError as error:
                faults.append(str(error))
        if faults:
            raise ValueError(f"unusable utterances in {self._names()}: {listed(faults)}")
        if not seconds:
            raise ValueError(f"no usable utterance in {self._names()}; left out: {_counts(dropped) or 'none'}")
        whole = len(seconds) + sum(dropped.values()) < SURVEYED
        self._tell(dropped, "" if whole else f" first {SURVEYED}")
        return _Survey(seconds, whole)

    def _mixture(self) -> Iterator["Cut"]:
        """All utterances, interleaved by weight."""
        cut_set = require_lhotse().CutSet
        sources = [read_cuts(item.path).repeat(item.repeat, preserve_id=True) for item in self._manifests]
        if len(sources) == 1:
            return iter(sources[0])
        return iter(cut_set.mux(*sources, weights=[item.weight for item in self._manifests]))

    def _permitted(self, cut: "Cut", dropped: Counter[str]) -> bool:
        """Whether the duration is within the limits."""
        check_supervision(cut)
        if cut.duration < self._config.min_len:
            dropped[f"shorter than {self._config.min_len} s"] += 1
        elif cut.duration > self._config.max_len:
            dropped[f"longer than {self._config.max_len} s"] += 1
        else:
            return True
        return False

    def _usable(self, cut: "Cut", dropped: Counter[str]) -> "Cut | None":
        """The utterance with tokens; None if it has unknown ones and such are to be skipped."""
        try:
            tokens = stored_tokens(cut) or self._tokenizer.tokens(cut.supervisions[0].text)
            ids = self._table.ids(tokens)
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
        return with_tokens(cut, tokens)

    def _tell(self, dropped: Counter[str], which: str) -> None:
        """Log what was left out, once."""
        if dropped and self._report:
            logger.warning("of the%s utterances in %s are left out: %s", which, self._names(), _counts(dropped))
            self._report = which != ""

    def _names(self) -> str:
        return ", ".join(item.path for item in self._manifests)


def _counts(dropped: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in dropped.items())


# ---------------------------------------------------------------- in which order


class _Sampling:
    """Groups of utterances of similar duration, drawn in an order that depends on seed and epoch only."""

    def __init__(
        self,
        utterances: _Utterances,
        config: DataConfig,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._utterances = utterances
        self._settings: dict[str, Any] = {
            "max_duration": config.max_duration,
            "shuffle": shuffle,
            "seed": seed,
            "rank": rank,
            "world_size": world_size,
        }
        self._duration_bins = _duration_bins(utterances.survey(), config, world_size)

    def endless(self, epoch: int, skip: int) -> Iterator["_Selection"]:
        """The batches of `epoch` after the first `skip`, then those of the following epochs.

        Loader processes make this run ahead of the batches that are handed out.
        """
        while True:
            yield from islice(self.selections(epoch), skip, None)
            epoch, skip = epoch + 1, 0

    def selections(self, epoch: int) -> Iterator["_Selection"]:
        """The batches of one epoch."""
        iterator = self._cut_sets(epoch)
        previous = next(iterator)
        for cuts in iterator:
            yield _Selection(previous, is_last=False)
            previous = cuts
        yield _Selection(previous, is_last=True)

    def _cut_sets(self, epoch: int) -> Iterator[Any]:
        require_lhotse()
        from lhotse.dataset.sampling import DynamicBucketingSampler, DynamicCutSampler

        if self._duration_bins:
            size = BUFFERED_PER_BUCKET * (len(self._duration_bins) + 1)
            bins = self._duration_bins
            sampler = DynamicBucketingSampler(self._utterances, duration_bins=bins, buffer_size=size, **self._settings)
        else:
            sampler = DynamicCutSampler(self._utterances, **self._settings)
        sampler.set_epoch(epoch)
        yield from sampler


def _duration_bins(survey: _Survey, config: DataConfig, world_size: int) -> list[float]:
    """The durations at which buckets begin, but the first.

    Buckets have equal shares of the total duration, fewer of them for a corpus that would not fill them. Besides, none
    has utterances of more than twice the duration of others: a long one after many short ones, which were chosen to
    fill the batch, makes all of them as long.
    """
    seconds = np.sort(survey.seconds)
    num_buckets = config.num_buckets
    if survey.whole:
        batches = seconds.sum() / (config.max_duration * world_size)
        num_buckets = min(num_buckets, max(1, int(batches / BATCHES_PER_BUCKET)))
    shares = np.cumsum(seconds) / seconds.sum()
    equal = seconds[np.searchsorted(shares, np.arange(1, num_buckets) / num_buckets, side="right")].tolist()
    begins = [float(seconds[0])]
    for end in [*equal, math.nextafter(seconds[-1], math.inf)]:
        while end > 2 * begins[-1]:
            begins.append(2 * begins[-1])
        begins.append(end)
    return sorted(set(begins))[1:-1]


# ---------------------------------------------------------------- loading


@dataclass(frozen=True)
class _Selection:
    """The cuts of one batch to be."""

    cuts: Any
    is_last: bool
    """Whether it is the last one of its epoch."""


@dataclass(frozen=True)
class _Loaded:
    """A selection, loaded."""

    batch: Batch
    is_last: bool


class _Loading(Dataset[_Loaded]):
    """Makes batches of selections, in a loader process."""

    def __init__(self, config: DataConfig, table: TokenTable, scale: float) -> None:
        self._on_the_fly, self._stereo = config.on_the_fly, config.stereo
        self._table = table
        self._scale = scale
        self._log_mel = LogMel()

    def __getitem__(self, selection: _Selection) -> _Loaded:
        cuts = list(selection.cuts)
        batch = collate(
            features=[self._features(cut) for cut in cuts],
            tokens=[self._table.ids(stored_tokens(cut) or []) for cut in cuts],
            ids=[cut.id for cut in cuts],
            texts=[cut.supervisions[0].text for cut in cuts],
            scale=self._scale,
        )
        return _Loaded(batch, selection.is_last)

    def _features(self, cut: "Cut") -> Tensor:
        if self._on_the_fly:
            return extract_features(cut, self._log_mel, self._stereo)
        return load_features(cut, NUM_MELS * 3 if self._stereo else NUM_MELS)


def _loader(dataset: _Loading, selections: Iterable[_Selection], num_workers: int) -> Iterator[_Loaded]:
    """Load selections in their order. Its generator keeps the loader from drawing on the default one."""
    return iter(
        DataLoader(dataset, batch_size=None, sampler=selections, num_workers=num_workers, generator=torch.Generator())
    )
