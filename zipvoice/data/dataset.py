# SPDX-License-Identifier: Apache-2.0
"""Manifests -> batches: which utterances (mixture), in which order (buckets), and what is loaded of them.

Shapes: B utterances, T frames, C features of one frame (100, or 300 in stereo).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from random import Random
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from zipvoice.audio.mel import NUM_MELS, LogMel
from zipvoice.config.data import DataConfig
from zipvoice.config.model import FeatureConfig
from zipvoice.data.collate import Batch, collate
from zipvoice.data.cuts import extract_features, load_features
from zipvoice.data.mux import Utterance, Utterances
from zipvoice.data.sampler import Buckets, bucket_begins, rounds
from zipvoice.text.token_table import TokenTable
from zipvoice.text.tokenizers import Tokenizer

if TYPE_CHECKING:
    from lhotse.cut import Cut


class TrainingData:
    """Batches for ever, epoch after epoch; the same ones after `load_state_dict` as without the interruption.

    Of w processes, number r gets the batches r, r + w, r + 2w, ... of one sequence, and all get the same number of them
    in an epoch: the last ones are divided to make it so, and nothing is left out. What is in them depends on the data,
    the settings, the seed and w only. A run may go on with another number of processes; these share what the earlier
    ones have left of the epoch.

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
        self._position = _Position(0, world_size)
        self._rank, self._world_size = rank, world_size
        utterances = Utterances(config, config.train, table, tokenizer, report=rank == 0)
        self._order = _Order(utterances, config, seed if config.shuffle else None)
        self._dataset = _Loading(config, scale)
        self._num_workers = config.num_workers
        self._loaded: Iterator[_Loaded] | None = None

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if self._loaded is None:
            self._loaded = _loader(self._dataset, self._selections(self.epoch, self._position), self._num_workers)
        loaded = next(self._loaded)
        self._position = replace(self._position, batches=self._position.batches + self._world_size)
        if loaded.is_last:
            self.epoch, self._position = self.epoch + 1, _Position(0, self._world_size)
        return loaded.batch

    def _selections(self, epoch: int, position: "_Position") -> Iterator["_Selection"]:
        """This process's batches from a position on; loader processes make this run ahead of what is handed out."""
        while True:
            rest = self._order.batches(epoch, position)
            yield from _marked(taken[self._rank] for taken in rounds(rest, self._world_size))
            epoch, position = epoch + 1, _Position(0, self._world_size)

    def state_dict(self) -> dict[str, int]:
        """The position in the data: epochs completed, batches that all processes have had of the current one, and the
        number of processes that its sequence of batches was made for.
        """
        return {"epoch": self.epoch, "batches": self._position.batches, "world_size": self._position.world_size}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go to the position of `state_dict`; the utterances before it are passed over without loading them."""
        self.epoch, self._position = state["epoch"], _Position(state["batches"], state["world_size"])
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
        utterances = Utterances(config, config.dev, table, tokenizer, report=rank == 0)
        self._order = _Order(utterances, config, seed=None)
        self._rank, self._world_size = rank, world_size
        self._dataset = _Loading(config, scale)
        self._num_workers = min(config.num_workers, 2)

    def __iter__(self) -> Iterator[Batch]:
        share = islice(self._order.batches(0, _Position(0, 1)), self._rank, None, self._world_size)
        return (loaded.batch for loaded in _loader(self._dataset, map(_Selection, share), self._num_workers))


# ---------------------------------------------------------------- in which order


@dataclass(frozen=True)
class _Position:
    """A place in the batches of an epoch."""

    batches: int
    """Batches before it."""
    world_size: int
    """Processes that the batches were made for."""


def _marked(batches: Iterator[list[Utterance]]) -> Iterator["_Selection"]:
    """Batches, with a mark on the last one."""
    previous = next(batches, None)
    if previous is None:
        raise ValueError("the epoch ends before the place to go on from; have the manifests changed since?")
    for utterances in batches:
        yield _Selection(previous)
        previous = utterances
    yield _Selection(previous, is_last=True)


class _Order:
    """The batches of each epoch, drawn with a seed. Without one they are the same in all epochs."""

    def __init__(self, utterances: Utterances, config: DataConfig, seed: int | None) -> None:
        self._utterances = utterances
        self._config = config
        self._seed = seed
        self._survey = utterances.survey()

    def batches(self, epoch: int, position: _Position) -> Iterator[list[Utterance]]:
        """The batches of an epoch from a position on."""
        config, survey, world_size = self._config, self._survey, position.world_size
        begins = bucket_begins(survey.seconds, survey.whole, config.num_buckets, config.max_duration, world_size)
        buckets = Buckets(begins, config.max_duration, config.buffer_size)
        utterances = self._utterances.epoch(self._random(epoch, "manifests"))
        return islice(buckets.batches(utterances, world_size, self._random(epoch, "batches")), position.batches, None)

    def _random(self, epoch: int, use: str) -> Random | None:
        return None if self._seed is None else Random(f"{self._seed} {epoch} {use}")


# ---------------------------------------------------------------- loading


@dataclass(frozen=True)
class _Selection:
    """The utterances of one batch to be."""

    utterances: list[Utterance]
    is_last: bool = False
    """Whether it is the last one of its epoch."""


@dataclass(frozen=True)
class _Loaded:
    """A selection, loaded."""

    batch: Batch
    is_last: bool


class _Loading(Dataset[_Loaded]):
    """Makes batches of selections, in a loader process."""

    def __init__(self, config: DataConfig, scale: float) -> None:
        self._on_the_fly, self._stereo = config.on_the_fly, config.stereo
        self._scale = scale
        self._log_mel = LogMel()

    def __getitem__(self, selection: _Selection) -> _Loaded:
        cuts = [utterance.cut for utterance in selection.utterances]
        batch = collate(
            features=[self._features(cut) for cut in cuts],
            tokens=[utterance.token_ids for utterance in selection.utterances],
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
