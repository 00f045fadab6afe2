# SPDX-License-Identifier: Apache-2.0
"""Which metrics a benchmark has, and by which models and rules: the suites whose figures papers print, and ours."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import cache
from typing import TypeVar

from zipvoice.config.evaluation import SuiteOptions
from zipvoice.config.strict_json import suggestion
from zipvoice.evaluation import judges
from zipvoice.evaluation.dialogue import CpSimilarityJudge, CpWordErrorJudge, ShortOnly
from zipvoice.evaluation.diarization import PyannoteDiarizer
from zipvoice.evaluation.normalizers import find_normalizer
from zipvoice.evaluation.paraformer import Paraformer
from zipvoice.evaluation.recognizers import FasterWhisper, Recognizer, Remembering, TransformersRecognizer
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
    "librispeech-pc": SuiteOptions(("sim_o", "wer", "utmos"), "hubert", None, "librispeech-pc", (), "en"),
    "seedtts-en": SuiteOptions(
        ("sim_o", "wer", "utmos"), "whisper-transformers", "large-v3", "seedtts-en", ("count-spaces",), "en"
    ),
    "seedtts-zh": SuiteOptions(("sim_o", "wer", "utmos"), "paraformer", None, "seedtts-zh", ("count-spaces",), "zh"),
    "dialogue-en": SuiteOptions(
        ("cpsim", "wer", "cpwer", "utmos"), "whisper-d", None, "dialogue-en", ("turn-parity", "skip-over-30s"), "en"
    ),
    "dialogue-zh": SuiteOptions(("cpsim", "wer", "utmos"), "paraformer", None, "dialogue-zh", (), "zh"),
}
"""The settings of each suite."""

RECOGNIZERS: dict[str, Callable[[SuiteOptions], Recognizer]] = {
    "whisper": lambda options: FasterWhisper(options.whisper, options.language or "en", options.device),
    "whisper-transformers": lambda options: TransformersRecognizer(
        options.models / "wer/whisper-large-v3", options.device, language=options.language or "en", fourier=True
    ),
    "whisper-d": lambda options: TransformersRecognizer(
        options.models / "wer/whisper-d-v1a", options.device, language=options.language or "en", chunked=True
    ),
    "hubert": lambda options: TransformersRecognizer(options.models / "wer/hubert-large-ls960-ft", options.device),
    "paraformer": lambda options: Paraformer(options.models / "wer/paraformer-zh", options.device),
}
"""Name of a recogniser -> how it is loaded."""

METRICS: dict[str, Callable[[SuiteOptions, Sequence[Expected]], Judge]] = {
    "sim_o": lambda options, expected: judges.SimilarityJudge(_wavlm(options), expected, "sim_o"),
    "utmos": lambda options, _: _utmos(options),
    "utmosv2": lambda options, _: _utmosv2(options),
    "cpwer": lambda options, _: _cp_word_errors(options),
    "cpsim": lambda options, expected: CpSimilarityJudge(
        _wavlm(options), PyannoteDiarizer(options.models, options.device), expected
    ),
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
    """The judges of settled options, with their models loaded.

    Example:
        >>> judges = make_judges(settled(SuiteOptions(metrics=("speed",))), expected)
    """
    return [METRICS[metric](options, expected) for metric in options.metrics or ()]


@cache
def _recognizer(options: SuiteOptions) -> Recognizer:
    """One for all metrics: they ask it for the same recordings."""
    return Remembering(RECOGNIZERS[options.recognizer or ""](options))


def _word_errors(options: SuiteOptions) -> Judge:
    quirks = options.quirks or ()
    normalizer = find_normalizer(options.normalizer or "")
    judge = judges.WordErrorJudge(_recognizer(options), normalizer, "count-spaces" in quirks)
    return ShortOnly(judge) if "skip-over-30s" in quirks else judge


def _cp_word_errors(options: SuiteOptions) -> Judge:
    quirks = options.quirks or ()
    normalizer = find_normalizer(options.normalizer or "")
    judge = CpWordErrorJudge(_recognizer(options), normalizer, "turn-parity" in quirks)
    return ShortOnly(judge) if "skip-over-30s" in quirks else judge


def _wavlm(options: SuiteOptions) -> judges.VoiceEncoder:
    from zipvoice.evaluation.wavlm_ecapa import WavlmEcapa

    return WavlmEcapa(options.models, options.device)


def _utmos(options: SuiteOptions) -> Judge:
    from zipvoice.evaluation.utmos import Utmos

    return judges.OpinionJudge(Utmos(options.models, options.device), "utmos")


def _utmosv2(options: SuiteOptions) -> Judge:
    from zipvoice.evaluation.utmosv2 import UtmosV2

    return judges.OpinionJudge(UtmosV2(options.models, options.device), "utmosv2")


def _named(kind: str, name: str, known: dict[str, Found]) -> Found:
    if name not in known:
        raise ValueError(f"there is no {kind} {name!r}{suggestion(name, known, and_all=True)}")
    return known[name]
