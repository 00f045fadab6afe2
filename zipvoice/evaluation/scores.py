# SPDX-License-Identifier: Apache-2.0
"""A table of scores: several folders that say the same list of texts, side by side.

One folder may be what a model spoke, another the real recordings, a third a vocoder's copy of them: what the scores of
a folder mean shows beside the scores of the real thing.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from zipvoice.audio.files import ENCODINGS, Audio, read
from zipvoice.config.strict_json import suggestion
from zipvoice.evaluation.dnsmos import predict_dnsmos
from zipvoice.evaluation.recognition import ClosedSetRecognizer, Dictation, known_sentences
from zipvoice.evaluation.similarity import SpeakerEncoder
from zipvoice.evaluation.word_errors import WordErrors, word_errors

CLOSED_SET_SIZE = 20
"""Sentences that the recogniser chooses from: about as many as it tells apart in any clear recording."""


@dataclass(frozen=True)
class Expected:
    """What a recording should be."""

    name: str
    """Its file is {name}.wav, or has another suffix of an audio file."""
    text: str
    """What it should say."""
    prompt: Path | None = None
    """A recording of the voice it should have."""


@dataclass(frozen=True)
class Scores:
    """Means over the recordings of a folder; None is what was not measured."""

    num_recordings: int
    """Recordings."""
    seconds: float
    """Their length in all."""
    closed_set_accuracy: float | None = None
    """Share of recordings for which a recogniser picks the right one of twenty sentences."""
    word_error_rate: float | None = None
    """Errors per word of the same recogniser when it is told nothing."""
    similarity: float | None = None
    """To the voice of the prompt."""
    similarity_to_others: float | None = None
    """To the voices of the other prompts of the list."""
    dnsmos_overall: float | None = None
    """Predicted opinion, 1 to 5 (DNSMOS P.835)."""
    dnsmos_p808: float | None = None
    """Predicted opinion, 1 to 5 (DNSMOS P.808)."""


TITLES = {
    "num_recordings": "recordings",
    "seconds": "seconds",
    "closed_set_accuracy": "closed-set accuracy",
    "word_error_rate": "word error rate",
    "similarity": "similarity to the prompt",
    "similarity_to_others": "similarity to other prompts",
    "dnsmos_overall": "DNSMOS overall",
    "dnsmos_p808": "DNSMOS P.808",
}
PERCENT = ("closed_set_accuracy", "word_error_rate")

Sounds = Sequence[tuple[Expected, Audio]]


def closed_set_accuracy(sounds: Sounds) -> dict[str, float]:
    """In groups of twenty sentences, in the order of the list. Sentences with unknown words are left out."""
    known = set(known_sentences([expected.text for expected, _ in sounds]))
    tested = [(expected, audio) for expected, audio in sounds if expected.text in known]
    groups = [tested[start : start + CLOSED_SET_SIZE] for start in range(0, len(tested), CLOSED_SET_SIZE)]
    if len(groups) > 1 and len(groups[-1]) < CLOSED_SET_SIZE:  # a choice among few would be too easy
        groups[-1] = tested[-CLOSED_SET_SIZE:]
    verdicts: dict[str, bool] = {}
    for group in groups:
        test = ClosedSetRecognizer(list(dict.fromkeys(expected.text for expected, _ in group)))
        verdicts |= {expected.name: test.choose(audio) == expected.text for expected, audio in group}
    return {"closed_set_accuracy": fmean(verdicts.values())} if verdicts else {}


def dictation_errors(sounds: Sounds) -> dict[str, float]:
    """Errors of general dictation, over all words."""
    dictation = Dictation()
    errors = (word_errors(expected.text, dictation.transcribe(audio)) for expected, audio in sounds)
    return {"word_error_rate": sum(errors, WordErrors()).rate}


def similarities(sounds: Sounds) -> dict[str, float]:
    """Inner products of speaker embeddings, with the prompt of each recording and with those of the others."""
    encoder = SpeakerEncoder()
    prompts = {prompt: encoder.embed(read(prompt)) for prompt in {e.prompt for e, _ in sounds} if prompt}
    voices = [(expected.prompt, _embedded(encoder, expected, audio)) for expected, audio in sounds if expected.prompt]
    own = [float(voice @ prompts[prompt]) for prompt, voice in voices]
    others = [float(voice @ other) for prompt, voice in voices for name, other in prompts.items() if name != prompt]
    means = {"similarity": own, "similarity_to_others": others}
    return {name: fmean(values) for name, values in means.items() if values}


def predicted_opinions(sounds: Sounds) -> dict[str, float]:
    """Means of DNSMOS."""
    opinions = [predict_dnsmos(audio) for _, audio in sounds]
    return {"dnsmos_overall": fmean(o.overall for o in opinions), "dnsmos_p808": fmean(o.p808 for o in opinions)}


METRICS: dict[str, Callable[[Sounds], dict[str, float]]] = {
    "closed_set": closed_set_accuracy,
    "wer": dictation_errors,
    "similarity": similarities,
    "dnsmos": predicted_opinions,
}
"""Name of a group of scores -> how it is measured."""


def score(expected: Sequence[Expected], folder: Path, metrics: Iterable[str] = tuple(METRICS)) -> Scores:
    """The scores of the recordings in a folder.

    Raises ValueError for an unknown metric, and FileNotFoundError that names the recordings that are missing: a mean
    over the ones that are there would flatter a model that failed at the rest.
    """
    metrics = list(metrics)
    for name in metrics:
        if name not in METRICS:
            raise ValueError(f"there is no metric {name!r}{suggestion(name, METRICS)}; known: {', '.join(METRICS)}")
    sounds = [(item, read(path)) for item, path in zip(expected, _recordings(expected, folder), strict=True)]
    if not sounds:
        raise ValueError("nothing to score: the list is empty")
    values = {key: value for name in metrics for key, value in METRICS[name](sounds).items()}
    return Scores(len(sounds), math.fsum(audio.seconds for _, audio in sounds), **values)


def table(scores: Mapping[str, Scores]) -> str:
    """A Markdown table with a row for each score that was measured and a column for each folder."""
    rows = [["", *scores], ["---"] + ["---:"] * len(scores)]
    for field in fields(Scores):
        values = [asdict(one)[field.name] for one in scores.values()]
        if any(value is not None for value in values):
            rows.append([TITLES[field.name], *(_shown(field.name, value) for value in values)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(scores) + 1)]
    return "".join(f"| {' | '.join(_padded(row, widths))} |\n" for row in rows)


def _recordings(expected: Sequence[Expected], folder: Path) -> list[Path]:
    found = [next((p for s in ENCODINGS if (p := folder / f"{e.name}{s}").is_file()), None) for e in expected]
    missing = [item.name for item, path in zip(expected, found, strict=True) if path is None]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise FileNotFoundError(f"{folder} has no recording of {', '.join(missing[:5])}{more}")
    return [path for path in found if path]


def _embedded(encoder: SpeakerEncoder, expected: Expected, audio: Audio) -> NDArray[np.float32]:
    try:
        return encoder.embed(audio)
    except ValueError as error:
        raise ValueError(f"{expected.name}: {error}") from None


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return ""
    if name in PERCENT:
        return f"{100 * value:.1f} %"
    return str(value) if isinstance(value, int) else f"{value:.1f}" if name == "seconds" else f"{value:.2f}"


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *rest = row
    return [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))]
