# SPDX-License-Identifier: Apache-2.0
"""Manifests -> batches: which utterances (`mux`), in which order (`sampler`), and what is loaded of them (`cuts`).

Shapes: B utterances, T frames, C features of one frame (100, or 300 in stereo).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from zipvoice.audio.mel import NUM_MELS
from zipvoice.config.data import DataConfig
from zipvoice.config.model import FeatureConfig
from zipvoice.data.collate import Batch, collate
from zipvoice.data.cuts import extract_features, load_features
from zipvoice.data.mux import Survey, TokenizedCut, TokenizedCuts
from zipvoice.data.sampler import BucketSampler, bucket_begins, rounds
from zipvoice.data.workers import fitting
from zipvoice.text.token_table import TokenTable
from zipvoice.text.tokenizers import Tokenizer

if TYPE_CHECKING:
    from lhotse.cut import Cut


class TrainingData:
    """Training batches without end, epoch after epoch; the same ones after `load_state_dict` as without interruption.

    Of w processes, number r gets the batches r, r + w, r + 2w, ... of one sequence, and all get the same number of
    batches in an epoch: the last ones are divided to make it so, and nothing is left out. Their content depends on the
    data, the settings, the seed and w only. A run may be resumed with another number of processes; these share what is
    left of the epoch.

    Texts without stored tokens are tokenised here, one after the other; prepare a large corpus with its tokens.

    Example:
        >>> config = DataConfig(train=(ManifestConfig("data/manifests/custom_cuts_train.jsonl.gz"),))
        >>> table = TokenTable.read("data/tokens.txt")
        >>> data = TrainingData(config, table, build_tokenizer(TokenizerConfig("espeak")), seed=42)
        >>> next(data).features.shape  # (B, T, C)
        torch.Size([31, 604, 100])

    Attributes:
        epoch: Complete passes over the data so far; it rises when the last batch of a pass is handed out.
        survey: What the first utterances are like.

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
        self._rank, self._world_size, self._max_duration = rank, world_size, config.max_duration
        utterances = TokenizedCuts(config, config.train, table, tokenizer, report=rank == 0)
        self.survey = utterances.survey()
        self._order = _Order(utterances, self.survey, config, seed if config.shuffle else None)
        self._dataset = _Loading(config, scale)
        self._num_workers = fitting(config.num_workers)
        self._loaded: Iterator[_Loaded] | None = None

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if self._loaded is None:
            selections = self._order.selections(self.epoch, self._position, self._rank, self._world_size)
            self._loaded = _loader(self._dataset, selections, self._num_workers)
        loaded = next(self._loaded)
        self._position = replace(self._position, batches=self._position.batches + self._world_size)
        if loaded.is_last:
            self.epoch, self._position = self.epoch + 1, _Position(0, self._world_size)
        return loaded.batch

    def state_dict(self) -> dict[str, Any]:
        """The position in the data: epochs completed, batches that all processes have had of the current one, and what
        its sequence of batches was made for: their `max_duration` and the number of processes.
        """
        batches, world_size = self._position.batches, self._position.world_size
        return {"epoch": self.epoch, "batches": batches, "world_size": world_size, "max_duration": self._max_duration}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to the position of `state_dict`; the utterances before it are passed over without loading them.

        With another `max_duration` it is the position before which about as many seconds lie.
        """
        self.epoch, self._position = state["epoch"], _Position(state["batches"], state["world_size"])
        if (before := state.get("max_duration", self._max_duration)) != self._max_duration:
            rounds_before = self._position.batches * before / self._max_duration / self._position.world_size
            self._position = replace(self._position, batches=int(rounds_before) * self._position.world_size)
            if next(self._order.batches(self.epoch, self._position), None) is None:
                self.epoch, self._position = self.epoch + 1, replace(self._position, batches=0)
        self._loaded = None


class ValidationData:
    """The batches of the validation manifests, the same ones in the same order each time they are iterated over.

    Each rank gets every `world_size`-th batch, so the numbers of batches of two ranks differ by one at most. Raises as
    `TrainingData` does.

    Example:
        >>> for batch in ValidationData(config, table, tokenizer):
        ...     loss = objective(model, batch, generator)
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
        utterances = TokenizedCuts(config, config.dev, table, tokenizer, report=rank == 0)
        self.survey = utterances.survey()
        self._order = _Order(utterances, self.survey, config, seed=None)
        self._rank, self._world_size = rank, world_size
        self._dataset = _Loading(config, scale)
        self._num_workers = min(fitting(config.num_workers), 2)

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


def _marked(batches: Iterator[list[TokenizedCut]]) -> Iterator["_Selection"]:
    """Batches, with a mark on the last one."""
    previous = next(batches, None)
    if previous is None:
        raise ValueError(
            "the epoch ends before the place to go on from, so the manifests or the settings of data have changed "
            "since; restore them, or start another run from the weights of this one (init_from)"
        )
    for utterances in batches:
        yield _Selection(previous)
        previous = utterances
    yield _Selection(previous, is_last=True)


class _Order:
    """The batches of each epoch, drawn with a seed. Without one they are the same in all epochs."""

    def __init__(self, utterances: TokenizedCuts, survey: Survey, config: DataConfig, seed: int | None) -> None:
        self._utterances = utterances
        self._config = config
        self._seed = seed
        self._survey = survey

    def batches(self, epoch: int, position: _Position) -> Iterator[list[TokenizedCut]]:
        """The batches of an epoch from a position on."""
        config, survey, world_size = self._config, self._survey, position.world_size
        begins = bucket_begins(survey.seconds, survey.whole, config.num_buckets, config.max_duration, world_size)
        buckets = BucketSampler(begins, config.max_duration, config.buffer_size)
        utterances = self._utterances.epoch(self._random(epoch, "manifests"))
        return islice(buckets.batches(utterances, world_size, self._random(epoch, "batches")), position.batches, None)

    def selections(self, epoch: int, position: _Position, rank: int, world_size: int) -> Iterator["_Selection"]:
        """The batches of process `rank` from a position on, without end; loader processes run ahead in it.

        It does not refer to whoever iterates over it: in a circle of references the loader would live on until some
        garbage collection, perhaps one in a forked process, and stop its processes there.
        """
        while True:
            yield from _marked(taken[rank] for taken in rounds(self.batches(epoch, position), world_size))
            epoch, position = epoch + 1, _Position(0, world_size)

    def _random(self, epoch: int, use: str) -> Random | None:
        return None if self._seed is None else Random(f"{self._seed} {epoch} {use}")


# ---------------------------------------------------------------- loading


@dataclass(frozen=True)
class _Selection:
    """The utterances of one batch to be."""

    utterances: list[TokenizedCut]
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

    def _features(self, cut: "Cut") -> NDArray[np.float32]:
        if self._on_the_fly:
            return extract_features(cut, self._stereo)
        return load_features(cut, NUM_MELS * 3 if self._stereo else NUM_MELS)


def _loader(dataset: _Loading, selections: Iterable[_Selection], num_workers: int) -> Iterator[_Loaded]:
    """Load selections in their order. With a generator of its own the loader leaves torch's default one alone."""
    return iter(
        DataLoader(dataset, batch_size=None, sampler=selections, num_workers=num_workers, generator=torch.Generator())
    )
