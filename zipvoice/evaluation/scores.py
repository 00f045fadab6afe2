# SPDX-License-Identifier: Apache-2.0
"""What is scored and what comes of it: a score for each recording, and the figure of a folder with its error bars.

Every figure is a weighted mean of the scores of its recordings. A corpus word error rate is the mean of the rates of
the utterances, each weighing as many as it has words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from zipvoice.audio.files import Audio
from zipvoice.evaluation.provenance import JudgedBy


@dataclass(frozen=True)
class Expected:
    """What a recording should be."""

    name: str
    """Its file is {name}.wav, or has another suffix of an audio file."""
    text: str
    """What it should say."""
    prompts: tuple[Path, ...] = ()
    """A recording of the voice it should have, or one of each voice of a dialogue."""
    speaker: str = ""
    """Whose voice that is. Recordings of one speaker err alike, so error bars draw speakers, not recordings."""


@dataclass(frozen=True)
class Score:
    """One score of one recording."""

    value: float
    """In the unit of its row."""
    weight: float = 1.0
    """How much it counts in the figure of the folder."""


@dataclass(frozen=True)
class Judgement:
    """What one judge says of one recording."""

    scores: Mapping[str, Score]
    """By row; a row is missing where it cannot be measured."""
    heard: str = ""
    """What a recogniser wrote down."""


class Judge(Protocol):
    """Scores recordings, one at a time."""

    @property
    def by(self) -> Sequence[JudgedBy]:
        """The models that judge. What else of a list the scores depend on is its `among`, if there is that."""
        ...

    def __call__(self, expected: Expected, audio: Audio) -> Judgement:
        """The scores of a recording. Raises ValueError for one that cannot be judged, such as silence."""
        ...


@dataclass(frozen=True)
class ScoredRecording:
    """All scores of one recording."""

    name: str
    """Of the list."""
    speaker: str
    """Of the list."""
    path: Path
    """Its file."""
    seconds: float
    """Its length."""
    scores: Mapping[str, Score]
    """By row."""
    heard: str = ""
    """What the recogniser wrote down."""
    text: str = ""
    """What it should say."""


@dataclass(frozen=True)
class FolderScores:
    """The scores of the recordings of a folder, in the order of the list."""

    folder: Path
    """The folder."""
    recordings: tuple[ScoredRecording, ...]
    """One for each line of the list."""
    by: tuple[JudgedBy, ...] = field(default=())
    """The models that judged."""

    @property
    def rows(self) -> list[str]:
        """The rows that were measured, in their order."""
        return [name for name in ROWS if any(name in recording.scores for recording in self.recordings)]

    def scored(self, row: str) -> list[tuple[str, Score]]:
        """Speaker (the recording, where the list has none) and score of each recording that has one."""
        having = [recording for recording in self.recordings if row in recording.scores]
        return [(recording.speaker or recording.name, recording.scores[row]) for recording in having]


@dataclass(frozen=True)
class Row:
    """How a score is shown."""

    title: str
    """In tables."""
    higher_is_better: bool | None
    """None where neither is."""
    percent: bool = False
    """Shown times 100."""
    digits: int = 2
    """After the point."""

    def shown(self, value: float) -> str:
        """The value as it stands in tables."""
        return f"{100 * value:.{self.digits}f} %" if self.percent else f"{value:.{self.digits}f}"


ROWS = {
    "closed_set_accuracy": Row("closed-set accuracy", True, percent=True, digits=1),
    "word_error_rate": Row("word error rate", False, percent=True),
    "mean_word_error_rate": Row("word error rate, mean of utterances", False, percent=True),
    "character_error_rate": Row("character error rate", False, percent=True),
    "mean_character_error_rate": Row("character error rate, mean of utterances", False, percent=True),
    "cp_word_error_rate": Row("cpWER", False, percent=True),
    "similarity": Row("similarity to the prompt", True),
    "similarity_to_others": Row("similarity to other prompts", False),
    "sim_o": Row("SIM-o", True, digits=3),
    "cp_similarity": Row("cpSIM", True, digits=3),
    "utmos": Row("UTMOS", True),
    "utmosv2": Row("UTMOSv2", True),
    "distillmos": Row("DistillMOS", True),
    "dnsmos_overall": Row("DNSMOS overall", True),
    "dnsmos_p808": Row("DNSMOS P.808", True),
    "detail_in_time": Row("detail over time", None),
    "detail_in_frequency": Row("detail over frequency", None),
    "characters_per_second": Row("characters a second", None, digits=1),
}
"""All scores, in the order of tables."""
