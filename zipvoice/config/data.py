# SPDX-License-Identifier: Apache-2.0
"""How a corpus is prepared, checked and read."""

import math
from dataclasses import dataclass
from typing import Literal

from zipvoice.config.rules import is_above_zero, require
from zipvoice.config.text import TokenizerConfig


@dataclass(frozen=True)
class PrepareOptions:
    """How a corpus becomes a manifest that training reads."""

    source: str
    """List of utterances: TSV or JSON lines with id, text, audio file and, optionally, start and end in seconds,
    speaker and language; or a lhotse cut manifest (.jsonl or .jsonl.gz). Audio paths are relative to the list, else to
    the current folder."""
    output_dir: str = "data/manifests"
    """Folder of the manifest {prefix}_cuts_{subset}.jsonl.gz and of the features, or of the shards
    {prefix}_shar_{subset}."""
    prefix: str = "custom"
    """Name of the corpus."""
    subset: str = "train"
    """Name of the part, such as train or dev."""
    tokenizer: TokenizerConfig | None = None
    """Store tokens made by this tokenizer; without it training makes them on the fly. A row's own language replaces
    that of the espeak tokenizer."""
    tokens: str | None = None
    """Token table of the model (tokens.txt), for the tokenizer: its tags can be used in texts, and a text with tokens
    that it lacks is a bad row."""
    features: bool = False
    """Compute and store acoustic features; without them training computes them on the fly."""
    storage: Literal["lilcom_chunky", "numpy_files"] | None = None
    """Feature storage: lilcom_chunky is compact and rounds to 1/32, numpy_files is exact. By default the former where
    the package lilcom is installed."""
    stereo: bool = False
    """Keep the channels apart, for the stereo dialogue model: left, right and mixture. Otherwise they are averaged."""
    shar: bool = False
    """Write a folder of shards (lhotse Shar), for a corpus of more files than a disk likes: with the features if they
    are stored, else with the audio, as FLAC of 24 kHz."""
    shard_size: int = 1000
    """Utterances in a shard."""
    skip_bad_rows: bool = False
    """Leave out what cannot be used and report it, rather than stop."""
    num_workers: int = 0
    """Worker processes; 0 works in this process."""

    def __post_init__(self) -> None:
        if self.tokens is not None and self.tokenizer is None:
            raise ValueError("a token table (tokens) is of use with a tokenizer only: choose one (--tokenizer)")
        if self.shard_size < 1:
            raise ValueError(f"shard_size must be at least 1, not {self.shard_size}")
        for name, part in (("prefix", self.prefix), ("subset", self.subset)):
            if "/" in part or "\\" in part:
                raise ValueError(
                    f"{name} is a part of the names of files, not {part!r}; --output-dir names their folder"
                )
        _check_workers(self.num_workers)


def _check_workers(num_workers: int) -> None:
    if num_workers < 0:
        raise ValueError(f"num_workers must be 0 or more, not {num_workers}")


@dataclass(frozen=True)
class ManifestConfig:
    """One manifest of a mixture.

    An epoch is all that the manifests without `replay` hold, each `repeat` times, interleaved by `weight`. With equal
    weights that is their concatenation, evenly mixed as long as all of them last.
    """

    path: str
    """Cut manifest (.jsonl, .jsonl.gz) or folder of shards (lhotse Shar)."""
    weight: float = 1.0
    """How often, relative to the others, the next utterance is taken from here, as long as there are some."""
    repeat: int = 1
    """How many times an epoch reads it."""
    replay: float | None = None
    """Against forgetting in fine-tuning: share of all utterances that comes from here, 0.2 for one in five. Such a
    manifest never ends, and does not lengthen an epoch; each epoch starts at another place of it."""

    def __post_init__(self) -> None:
        if self.replay is not None and not 0 < self.replay < 1:
            raise ValueError(f"the share of {self.path} (replay) must be between 0 and 1, not {self.replay}")
        if self.replay is not None and (self.weight, self.repeat) != (1.0, 1):
            raise ValueError(f"{self.path} is replayed by its share, without weight and repeat")
        if not 0 < self.weight < float("inf"):
            raise ValueError(f"the weight of {self.path} must be above 0, not {self.weight}")
        if self.repeat < 1:
            raise ValueError(f"{self.path} must be read at least once (repeat), not {self.repeat} times")


@dataclass(frozen=True)
class DataConfig:
    """What a model is trained on, and how batches are made of it."""

    train: tuple[ManifestConfig, ...] = ()
    """Training manifests."""
    dev: tuple[ManifestConfig, ...] = ()
    """Validation manifests."""
    max_duration: float = 200.0
    """Seconds in a batch on each device, padding included; exceeded where the last utterance is the longest."""
    min_len: float = 1.0
    """Shorter utterances, in seconds, are left out."""
    max_len: float = 30.0
    """Longer utterances, in seconds, are left out."""
    num_buckets: int = 30
    """Groups of similar duration that batches are drawn from; a small corpus gets fewer."""
    shuffle: bool = True
    """Draw the training utterances in random order, another in each epoch."""
    buffer_size: int = 100_000
    """Utterances that are held to draw from, without sound and features, some 4 kB each: what bounds memory, and how
    far apart in the manifests the utterances of a batch can be."""
    on_the_fly: bool = False
    """Compute features from the audio rather than read stored ones."""
    stereo: bool = False
    """Features of the left channel, the right channel and their mixture side by side, for the stereo dialogue model."""
    unknown_tokens: Literal["error", "skip", "add"] = "error"
    """What to do with an utterance that has tokens unknown to the model: stop, leave it out and count it, or add all
    such tokens of the data, but for what is replayed, to the end of the token table."""
    num_workers: int = 8
    """Loader processes; 0 loads in the training process."""

    def __post_init__(self) -> None:
        rules = (
            ("max_duration", is_above_zero(self.max_duration), "above 0"),
            ("min_len", self.min_len >= 0, "0 or more"),
            ("max_len", self.min_len < self.max_len < math.inf, f"above min_len, {self.min_len}"),
            ("num_buckets", self.num_buckets >= 1, "at least 1"),
            ("buffer_size", self.buffer_size >= 1, "at least 1"),
            ("num_workers", self.num_workers >= 0, "0 or more"),
        )
        require(self, rules)
        for manifests in (self.train, self.dev):
            shares = [item.replay or 0.0 for item in manifests]
            if shares and (sum(shares) >= 1 or all(shares)):
                raise ValueError("shares of replayed manifests (replay) must leave something for others to fill")


@dataclass(frozen=True)
class CheckOptions:
    """What a corpus is examined for before training."""

    source: str
    """List of utterances, as for preparation, or a prepared manifest or folder of shards."""
    tokenizer: TokenizerConfig | None = None
    """Make tokens with this tokenizer; a prepared manifest may hold them already. A row's own language replaces that of
    the espeak tokenizer."""
    tokens: str | None = None
    """Token table of the model (tokens.txt), to find tokens that it lacks."""
    min_len: float = DataConfig.min_len
    """Training leaves out shorter utterances, in seconds."""
    max_len: float = DataConfig.max_len
    """Training leaves out longer utterances, in seconds."""
    audio: bool = True
    """Listen to all of the audio; otherwise only the heads of the files are read."""
    num_workers: int = 0
    """Worker processes; 0 works in this process."""

    def __post_init__(self) -> None:
        for name in ("min_len", "max_len"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)}")
        _check_workers(self.num_workers)
