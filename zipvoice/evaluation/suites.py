# SPDX-License-Identifier: Apache-2.0
"""Which metrics a benchmark has, and by which models and rules: the suites whose figures papers print, and ours."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import TypeVar

from zipvoice.config.evaluation import SuiteOptions
from zipvoice.config.strict_json import suggestion
from zipvoice.evaluation import judges
from zipvoice.evaluation.normalizers import find_normalizer
from zipvoice.evaluation.recognizers import FasterWhisper, Recognizer
from zipvoice.evaluation.scores import Expected, Judge
from zipvoice.evaluation.similarity import SpeakerEncoder

Found = TypeVar("Found")

QUIRKS = {
    "count-spaces": "spaces that the normaliser leaves in the reference count as words of the corpus rate",
    "turn-parity": "cpWER takes turns of a dialogue for those of two speakers by turns, whatever their tags say",
    "skip-over-30s": "dialogues over 30 s are left out of word errors",
}
"""What the published procedures do and do not say; a suite has those of its figures."""


SUITES = {
    "offline": SuiteOptions(
        ("closed_set", "wer", "similarity", "distillmos", "blur", "speed"), "whisper", None, "zipvoice", (), "en"
    ),
}
"""The settings of each suite."""

RECOGNIZERS: dict[str, Callable[[SuiteOptions], Recognizer]] = {
    "whisper": lambda options: FasterWhisper(options.whisper, options.language or "en", options.device),
}

METRICS: dict[str, Callable[[SuiteOptions, Sequence[Expected]], Judge]] = {
    "closed_set": lambda _, expected: judges.ClosedSetJudge(expected),
    "wer": lambda options, _: _word_errors(options),
    "similarity": lambda _, expected: judges.SimilarityJudge(
        SpeakerEncoder(), expected, "similarity", "similarity_to_others"
    ),
    "distillmos": lambda _, __: judges.distillmos_judge(),
    "dnsmos": lambda _, __: judges.DnsmosJudge(),
    "blur": lambda _, __: judges.BlurJudge(),
    "speed": lambda _, __: judges.SpeedJudge(),
}
"""Name of a metric -> its judge."""


def settled(suite: str, options: SuiteOptions) -> SuiteOptions:
    """The options with what the suite says where they say nothing.

    Raises ValueError for an unknown suite, metric, recogniser, normaliser or quirk.
    """
    base = _named("suite", suite, SUITES)
    given = {f.name: value for f in fields(options) if (value := getattr(options, f.name)) is not None}
    if given.get("quirks") == ("none",):
        given["quirks"] = ()
    full = replace(base, **given)
    for metric in full.metrics or ():
        _named("metric", metric, METRICS)
    for quirk in full.quirks or ():
        _named("quirk", quirk, QUIRKS)
    _named("recogniser", full.recognizer or "", RECOGNIZERS)
    find_normalizer(full.normalizer or "")
    return full


def make_judges(options: SuiteOptions, expected: Sequence[Expected]) -> list[Judge]:
    """The judges of settled options, with their models loaded."""
    return [METRICS[metric](options, expected) for metric in options.metrics or ()]


def _word_errors(options: SuiteOptions) -> Judge:
    recognizer = RECOGNIZERS[options.recognizer or ""](options)
    normalizer = find_normalizer(options.normalizer or "")
    return judges.WordErrorJudge(recognizer, normalizer, "count-spaces" in (options.quirks or ()))


def _named(kind: str, name: str, known: dict[str, Found]) -> Found:
    if name not in known:
        raise ValueError(f"there is no {kind} {name!r}{suggestion(name, known)}; known: {', '.join(known)}")
    return known[name]
