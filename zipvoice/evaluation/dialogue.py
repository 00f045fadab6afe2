# SPDX-License-Identifier: Apache-2.0
"""Scores of dialogues, which do not ask who of the two is called the first: cpWER and cpSIM."""

import logging
import re
from collections.abc import Sequence
from itertools import permutations, zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zipvoice.audio.files import Audio, read, resample
from zipvoice.evaluation.diarization import Diarizer, Spans
from zipvoice.evaluation.judges import VoiceEncoder
from zipvoice.evaluation.level import require_sound
from zipvoice.evaluation.normalizers import Normalizer
from zipvoice.evaluation.provenance import JudgedBy
from zipvoice.evaluation.recognizers import Recognizer
from zipvoice.evaluation.scores import Expected, Judge, Judgement, Score
from zipvoice.evaluation.word_errors import WordErrors, count_errors

RATE = 16000
MAX_SECONDS = 120
TAG = re.compile(r"\[S([1-9])\]")

logger = logging.getLogger(__name__)


def by_tags(text: str) -> list[str]:
    """What each speaker says, by the tags [S1] to [S9]; what stands before the first tag belongs to S1.

    Example:
        >>> by_tags("[S1] Hello. [S2] Hi. [S1] Bye.")
        ['Hello. Bye.', 'Hi.']
    """
    before, *rest = TAG.split(text)
    turns: dict[str, list[str]] = {"1": [before]}
    for tag, turn in zip(rest[::2], rest[1::2], strict=True):
        turns.setdefault(tag, []).append(turn)
    return [" ".join(" ".join(said).split()) for _, said in sorted(turns.items())]


def by_parity(text: str) -> list[str]:
    """What two speakers say if each tag changes the speaker. With a leading tag the second one comes first.

    Example:
        >>> by_parity("[S1] Hello. [S2] Hi. [S2] Bye.")
        ['Hi.', 'Hello. Bye.']
    """
    pieces = TAG.split(text)[::2]
    return [" ".join(" ".join(pieces[start::2]).split()) for start in (0, 1)]


def cp_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> WordErrors:
    """Concatenated minimum-permutation word errors (Watanabe et al. 2020) of normalised texts.

    Each speaker's words are compared with those of the heard speaker that the best assignment of all gives them.
    """
    assignments = permutations([*hypothesis, *[""] * (len(reference) - len(hypothesis))])
    sums = (
        sum((count_errors(a, b) for a, b in zip_longest(reference, heard, fillvalue="")), WordErrors())
        for heard in assignments
    )
    return min(sums, key=lambda errors: errors.errors)


def parity_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> WordErrors:
    """The published figure: streams joined, the second order of the heard ones where it is not worse."""
    joined = " ".join(reference)
    straight, swapped = (count_errors(joined, " ".join(order)) for order in (hypothesis, hypothesis[::-1]))
    return swapped if swapped.errors <= straight.errors else straight


class CpWordErrorJudge:
    """Word errors of dialogues, by speaker."""

    def __init__(self, recognizer: Recognizer, normalizer: Normalizer, by_turns: bool = False) -> None:
        """`by_turns` takes turns for those of two speakers alternately, as the published figures do."""
        self._recognizer, self._normalizer = recognizer, normalizer
        self._split, self._count = (by_parity, parity_errors) if by_turns else (by_tags, cp_errors)
        how = "turns alternate" if by_turns else "speakers by tags"
        self.by = (recognizer.by, JudgedBy(f"normaliser {normalizer.name}", "", f"cpWER, {how}"))

    def __call__(self, expected: Expected, audio: Audio) -> Judgement:
        heard = self._recognizer.hear(audio)
        streams = ([self._normalizer(said) for said in self._split(text)] for text in (expected.text, heard))
        errors = self._count(*streams)
        return Judgement({"cp_word_error_rate": Score(errors.rate, errors.words)}, heard)


class ShortOnly:
    """Lets a judge score recordings up to 30 s; the others have no score."""

    def __init__(self, judge: Judge, seconds: float = 30.0) -> None:
        self._judge, self._seconds = judge, seconds
        self.by = (*judge.by, JudgedBy(f"only recordings up to {seconds:.0f} s", ""))

    def __call__(self, expected: Expected, audio: Audio) -> Judgement:
        return self._judge(expected, audio) if audio.seconds <= self._seconds else Judgement({})


class CpSimilarityJudge:
    """Similarity of both voices of a dialogue to their prompts, for the better of the two assignments."""

    def __init__(self, encoder: VoiceEncoder, diarizer: Diarizer, expected: Sequence[Expected]) -> None:
        self._encoder, self._diarizer = encoder, diarizer
        self._prompts = {prompts: self._voices_of(prompts) for prompts in {item.prompts for item in expected}}
        self.by = (*encoder.by, diarizer.by)

    def __call__(self, expected: Expected, audio: Audio) -> Judgement:
        (p1, p2), (g1, g2) = self._prompts[expected.prompts], self._parted(audio, expected.name)
        straight, crossed = float(p1 @ g1 + p2 @ g2), float(p1 @ g2 + p2 @ g1)
        return Judgement({"cp_similarity": Score(max(straight, crossed) / 2)})

    def _voices_of(self, prompts: tuple[Path, ...]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        if len(prompts) not in (1, 2):
            raise ValueError("cp_similarity needs a list with recordings of both voices in each line, or one with both")
        if len(prompts) == 1:
            return self._parted(read(prompts[0]), str(prompts[0]))
        first, second = (self._encoder.embed(read(prompt)) for prompt in prompts)
        return first, second

    def _parted(self, audio: Audio, name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The voices of both speakers; that of all the recording twice where they cannot be told apart."""
        mono = resample(require_sound(audio).mono(), RATE)
        mono = Audio(mono.samples[:, : MAX_SECONDS * RATE], RATE)
        try:
            first, second = (self._encoder.embed(_cut(mono, spans)) for spans in self._diarizer(mono))
        except (ValueError, RuntimeError) as error:
            logger.warning("%s: two speakers cannot be told apart, so all of it stands for both (%s)", name, error)
            first = second = self._encoder.embed(mono)
        return first, second


def _cut(audio: Audio, spans: Spans) -> Audio:
    """The spans one after the other. Raises ValueError where there are none."""
    edges = [(round(start * audio.sampling_rate), round(end * audio.sampling_rate)) for start, end in spans]
    pieces = [audio.samples[:, start:end] for start, end in edges]
    if not sum(piece.shape[1] for piece in pieces):
        raise ValueError("one speaker says nothing")
    return Audio(np.concatenate(pieces, axis=1), audio.sampling_rate)
