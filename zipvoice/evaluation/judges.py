# SPDX-License-Identifier: Apache-2.0
"""The judges: each loads its models once and then scores recordings, one at a time."""

from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from itertools import chain
from statistics import fmean
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from zipvoice.audio.files import Audio, read
from zipvoice.evaluation.blur import detail
from zipvoice.evaluation.distillmos import DistillMos
from zipvoice.evaluation.dnsmos import dnsmos_sha256, predict_dnsmos
from zipvoice.evaluation.normalizers import Normalizer
from zipvoice.evaluation.provenance import JudgedBy
from zipvoice.evaluation.recognition import ClosedSetRecognizer, known_sentences, model_sha256
from zipvoice.evaluation.recognizers import Recognizer
from zipvoice.evaluation.scores import Expected, Judgement, Score
from zipvoice.evaluation.word_errors import count_errors

CLOSED_SET_SIZE = 20
"""Sentences that the recogniser chooses from: about as many as it tells apart in any clear recording."""


class VoiceEncoder(Protocol):
    """Turns a recording into a vector of length one that knows the voice."""

    by: tuple[JudgedBy, ...]

    def embed(self, audio: Audio) -> NDArray[np.float32]:
        """The voice of a recording (channels, N)."""
        ...


class ClosedSetJudge:
    """Whether a recogniser picks the right one of twenty sentences, in groups, in the order of the list.

    Sentences with words that it does not know are left out. The last group is filled up: a choice among few would be
    too easy.
    """

    def __init__(self, expected: Sequence[Expected]) -> None:
        known = set(known_sentences([item.text for item in expected]))
        tested = [item for item in expected if item.text in known]
        groups = [tested[start : start + CLOSED_SET_SIZE] for start in range(0, len(tested), CLOSED_SET_SIZE)]
        if len(groups) > 1 and len(groups[-1]) < CLOSED_SET_SIZE:
            groups[-1] = tested[-CLOSED_SET_SIZE:]
        texts = [tuple(dict.fromkeys(item.text for item in group)) for group in groups]
        self._choices = {item.name: among for group, among in zip(groups, texts, strict=True) for item in group}
        self._recognizer = cache(ClosedSetRecognizer)
        self.among = str(sorted(self._choices.items()))
        self.by: tuple[JudgedBy, ...] = (
            JudgedBy("PocketSphinx en-us", model_sha256(), f"pocketsphinx {version('pocketsphinx')}, closed set"),
        )

    def __call__(self, expected: Expected, audio: Audio) -> Judgement:
        if expected.name not in self._choices:
            return Judgement({})
        choice = self._recognizer(self._choices[expected.name]).choose(audio)
        return Judgement({"closed_set_accuracy": Score(float(choice == expected.text))})


class WordErrorJudge:
    """Errors of a recogniser that is told nothing: of the corpus, and the mean of the utterances."""

    def __init__(self, recognizer: Recognizer, normalizer: Normalizer, count_spaces: bool = False) -> None:
        self._recognizer, self._normalizer, self._count_spaces = recognizer, normalizer, count_spaces
        self._unit = "character" if normalizer.characters else "word"
        about = normalizer.about + (", spaces count" if count_spaces else "")
        self.by = (recognizer.by, JudgedBy(f"normaliser {normalizer.name}", "", about))

    def __call__(self, expected: Expected, audio: Audio) -> Judgement:
        heard = self._recognizer.hear(audio)
        reference = self._normalizer(expected.text)
        errors = count_errors(reference, self._normalizer(heard))
        if errors.words == 0:
            raise ValueError(f"its text {expected.text!r} has no {self._unit} to count errors by")
        counted = len(reference.split(" ")) if self._count_spaces else errors.words
        return Judgement(
            {
                f"{self._unit}_error_rate": Score(errors.errors / counted, counted),
                f"mean_{self._unit}_error_rate": Score(errors.rate),
            },
            heard,
        )


class SimilarityJudge:
    """Inner product of speaker embeddings with the prompt, and the mean of those with the other prompts of the list."""

    def __init__(
        self, encoder: VoiceEncoder, expected: Sequence[Expected], row: str, row_of_others: str | None = None
    ) -> None:
        prompts = dict.fromkeys(chain.from_iterable(item.prompts for item in expected))
        if any(len(item.prompts) != 1 for item in expected):
            raise ValueError(
                f"{row} needs a list with one recording of the voice in each line; dialogues have cpsim, and --metrics "
                "leaves out what a list does not have"
            )
        self._encoder, self._row, self._row_of_others = encoder, row, row_of_others
        self._prompts = {prompt: encoder.embed(read(prompt)) for prompt in prompts}
        self.by = encoder.by
        self.among = str([*prompts]) if row_of_others else ""

    def __call__(self, expected: Expected, audio: Audio) -> Judgement:
        voice = self._encoder.embed(audio)
        with_prompts = {prompt: float(voice @ known) for prompt, known in self._prompts.items()}
        own = with_prompts.pop(expected.prompts[0])
        scores = {self._row: Score(own)}
        if self._row_of_others and with_prompts:
            scores[self._row_of_others] = Score(fmean(with_prompts.values()), len(with_prompts))
        return Judgement(scores)


class DnsmosJudge:
    """Opinions predicted by DNSMOS."""

    def __init__(self) -> None:
        self.by = (JudgedBy("DNSMOS P.835 and P.808", dnsmos_sha256(), f"speechmos {version('speechmos')}"),)

    def __call__(self, expected: Expected, audio: Audio) -> Judgement:
        opinion = predict_dnsmos(audio)
        return Judgement({"dnsmos_overall": Score(opinion.overall), "dnsmos_p808": Score(opinion.p808)})


class OpinionPredictor(Protocol):
    """A model that predicts one opinion score."""

    by: tuple[JudgedBy, ...]

    def predict(self, audio: Audio) -> float:
        """The opinion of a recording (channels, N)."""
        ...


class OpinionJudge:
    """Opinions predicted by one model."""

    def __init__(self, predictor: OpinionPredictor, row: str) -> None:
        self._predictor, self._row = predictor, row
        self.by = predictor.by

    def __call__(self, expected: Expected, audio: Audio) -> Judgement:
        return Judgement({self._row: Score(self._predictor.predict(audio))})


class BlurJudge:
    """The detail of the spectrogram."""

    by: tuple[JudgedBy, ...] = ()

    def __call__(self, expected: Expected, audio: Audio) -> Judgement:
        found = detail(audio)
        return Judgement({"detail_in_time": Score(found.in_time), "detail_in_frequency": Score(found.in_frequency)})


class SpeedJudge:
    """Characters of the text, without spaces, by seconds."""

    by: tuple[JudgedBy, ...] = ()

    def __call__(self, expected: Expected, audio: Audio) -> Judgement:
        characters = len("".join(expected.text.split()))
        return Judgement({"characters_per_second": Score(characters / audio.seconds, audio.seconds)})


def distillmos_judge() -> OpinionJudge:
    """Opinions predicted by DistillMOS."""
    return OpinionJudge(DistillMos(), "distillmos")
