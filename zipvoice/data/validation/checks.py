# SPDX-License-Identifier: Apache-2.0
"""What is worth knowing about a corpus before hours are spent on it: faults, oddities and plain facts."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from zipvoice.audio.mel import SAMPLING_RATE
from zipvoice.config.data import CheckOptions
from zipvoice.data.validation.stats import CorpusStats, SoundStats, UtteranceStats
from zipvoice.text.characters import is_han

SILENT_DB = -60.0
"""Sound whose peak is lower counts as silence."""
QUIET_DB = -45.0
"""Sound of a lower level is mostly noise when it is made louder."""
CLIPPED_SHARE = 0.0005
"""Flat tops of single loud vowels stay below."""
DEVIATIONS = 4.0
"""How many standard deviations, estimated from the middle half of the values, an outlier is from the median."""
FACTOR = 1.6
"""And it is at least this many times the median, or as small a part of it."""
FEW = 20
"""Among fewer utterances nothing is called unusual."""

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Example:
    """One case of a finding."""

    ids: tuple[str, ...]
    """The utterances, none for a row that is no utterance."""
    detail: str
    """What was found there."""


@dataclass(frozen=True)
class Finding:
    """Something found in some of the utterances."""

    severity: Severity
    """error: training stops there; warning: probably bad for the model; note: good to know."""
    name: str
    meaning: str
    """What follows from it, or what to do."""
    examples: tuple[Example, ...]
    """All cases, the worst first."""


@dataclass(frozen=True)
class Measure:
    """A number that utterances have."""

    name: str
    unit: str
    of: Callable[[UtteranceStats], float | None]
    """None where it is not known."""


def _sounding(of: Callable[[SoundStats], float]) -> Callable[[UtteranceStats], float | None]:
    return lambda utterance: of(utterance.sound) if utterance.sound else None


SECONDS = Measure("duration", "s", lambda u: u.seconds)
CHARACTERS = Measure("characters", "", lambda u: u.num_characters)
CHARACTER_RATE = Measure("characters per second", "", lambda u: u.num_characters / u.seconds)
TOKENS = Measure("tokens", "", lambda u: u.num_tokens)
TOKEN_RATE = Measure("tokens per second", "", lambda u: None if u.num_tokens is None else u.num_tokens / u.seconds)
LEVEL = Measure("level", "dB", _sounding(lambda sound: sound.level_db))
PEAK = Measure("peak", "dB", _sounding(lambda sound: sound.peak_db))
MEASURES = (SECONDS, CHARACTERS, CHARACTER_RATE, TOKENS, TOKEN_RATE, LEVEL, PEAK)


def run_checks(corpus: CorpusStats, options: CheckOptions) -> list[Finding]:
    """All findings, errors first.

    Example:
        >>> [finding.severity for finding in run_checks(corpus, CheckOptions("train.tsv"))]
    """
    found = [
        *_faults(corpus, options),
        *_odd_sound(corpus.utterances),
        *_outliers(corpus.utterances),
        *_repeated(corpus.utterances),
        *_facts(corpus.utterances, options),
    ]
    order = ("error", "warning", "note")
    return sorted((finding for finding in found if finding.examples), key=lambda finding: order.index(finding.severity))


def values(utterances: Iterable[UtteranceStats], measure: Measure) -> np.ndarray:
    """The known values of a measure, in order of the utterances."""
    return np.array([value for utterance in utterances if (value := measure.of(utterance)) is not None], dtype=float)


# ---------------------------------------------------------------- where training stops


def _faults(corpus: CorpusStats, options: CheckOptions) -> Iterable[Finding]:
    used = [u for u in corpus.utterances if options.min_len <= u.seconds <= options.max_len]
    rows = tuple(Example((), text) for text in corpus.bad_rows)
    yield Finding("error", "unusable rows", "preparation refuses them, or leaves them out if told so", rows)
    bad = _those(corpus.utterances, lambda u: u.sound_fault)
    yield Finding("error", "unreadable audio", "record, download or export it again", bad)
    untold = _those(used, lambda u: u.text_fault)
    yield Finding("error", "text without tokens", "correct the text, or leave it out", untold)
    yield Finding("error", "unknown tokens", "correct the texts, or extend the token table", tuple(_unknown(used)))
    crowded = _those(used, _crowded)
    yield Finding("error", "more tokens than frames", "text and audio do not belong together", crowded)
    if corpus.utterances and not used:
        example = Example((), f"none is from {options.min_len:g} to {options.max_len:g} s")
        yield Finding("error", "no utterance of permitted length", "change min_len or max_len", (example,))


def _unknown(utterances: Iterable[UtteranceStats]) -> Iterable[Example]:
    """One example for each unknown token, the most frequent first."""
    having: dict[str, list[UtteranceStats]] = defaultdict(list)
    for utterance in utterances:
        for token in utterance.unknown:
            having[token].append(utterance)
    for token, group in sorted(having.items(), key=lambda item: -len(item[1])):
        where = "1 utterance" if len(group) == 1 else f"{len(group)} utterances"
        yield _group(group, f"{token!r} in {where}, as in {_short(group[0].text)}")


def _crowded(u: UtteranceStats) -> str | None:
    if u.num_tokens is None or u.num_tokens <= u.num_frames:
        return None
    return f"{u.num_tokens} tokens in {u.num_frames} frames: {_short(u.text)}"


def _those(
    utterances: Iterable[UtteranceStats],
    detail: Callable[[UtteranceStats], Any],
    worst_first: Callable[[UtteranceStats], float] | None = None,
) -> tuple[Example, ...]:
    """What `detail` says of each utterance, nothing of those that are as they should be."""
    ordered = sorted(utterances, key=worst_first) if worst_first else utterances
    return tuple(Example((u.id,), text) for u in ordered if (text := detail(u)))


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


# ---------------------------------------------------------------- what is probably wrong


def _odd_sound(utterances: Sequence[UtteranceStats]) -> Iterable[Finding]:
    silent = _heard(utterances, lambda s: s.peak_db < SILENT_DB, lambda s: s.peak_db, "peak {0.peak_db:.0f} dB")
    yield Finding("warning", "silence", "there is text but nothing to be heard; leave it out", silent)
    quiet = _heard(
        utterances,
        lambda s: s.level_db < QUIET_DB and s.peak_db >= SILENT_DB,
        lambda s: s.level_db,
        "level {0.level_db:.0f} dB",
    )
    yield Finding("warning", "very quiet audio", "the voice may drown in noise; listen to it", quiet)
    clipped = _heard(
        utterances,
        lambda s: s.clipped > CLIPPED_SHARE,
        lambda s: -s.clipped,
        "{0.clipped:.2%} of it flat at full scale",
    )
    yield Finding("warning", "clipped audio", "the model learns the distortion; find a better recording", clipped)


def _heard(
    utterances: Iterable[UtteranceStats],
    odd: Callable[[SoundStats], bool],
    value: Callable[[SoundStats], float],
    form: str,
) -> tuple[Example, ...]:
    """Utterances of odd sound, by increasing value, with the measurements told in the form."""
    heard = [(value(u.sound), u.id, u.sound) for u in utterances if u.sound and odd(u.sound)]
    found = sorted(heard, key=lambda item: item[:2])
    return tuple(Example((name,), form.format(sound)) for _, name, sound in found)


def _outliers(utterances: Sequence[UtteranceStats]) -> Iterable[Finding]:
    """Utterances unlike the others of their language."""
    pace = "text and audio may not belong together; or there are long pauses"
    matters: tuple[tuple[Severity, Measure, str], ...] = (
        ("warning", CHARACTER_RATE, pace),
        ("warning", TOKEN_RATE, pace),
        ("note", SECONDS, "fine if the texts are accordingly short or long"),
        ("note", CHARACTERS, "fine if the recordings are accordingly short or long"),
    )
    groups: dict[str, list[UtteranceStats]] = defaultdict(list)
    for utterance in utterances:
        groups[_language(utterance)].append(utterance)
    for severity, measure, meaning in matters:
        odd = [item for group in groups.values() for item in outliers(group, measure)]
        odd.sort(key=lambda item: -abs(math.log(max(item[0], 1e-3) / item[1])))
        unit = measure.unit and f" {measure.unit}"
        examples = (
            Example((u.id,), f"{_number(value)}{unit}, usually {_number(usual)}{unit}: {_short(u.text)}")
            for value, usual, u in odd
        )
        yield Finding(severity, f"unusual {measure.name}", meaning, tuple(examples))


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _language(utterance: UtteranceStats) -> str:
    """The language that is written down, else what the script tells."""
    return utterance.language or ("Chinese" if any(map(is_han, utterance.text)) else "")


def outliers(utterances: Sequence[UtteranceStats], measure: Measure) -> list[tuple[float, float, UtteranceStats]]:
    """Values that are far from the median on a logarithmic scale, with the median, and the utterances."""
    known = [(value, u) for u in utterances if (value := measure.of(u)) is not None]
    if len(known) < FEW:
        return []
    logs = np.log(np.maximum([value for value, _ in known], 1e-3))
    low, median, high = np.percentile(logs, (25, 50, 75))
    limit = max(DEVIATIONS * (high - low) / 1.349, math.log(FACTOR))  # 1.349: that range of a normal distribution
    far = np.abs(logs - median) > limit
    return [(value, math.exp(median), u) for (value, u), is_far in zip(known, far, strict=True) if is_far]


# ---------------------------------------------------------------- what is there more than once


def _repeated(utterances: Sequence[UtteranceStats]) -> Iterable[Finding]:
    copies = _alike(utterances, lambda u: u.sound.digest if u.sound and u.sound.peak_db >= SILENT_DB else None)
    differing = [group for group in copies if len({u.text for u in group}) > 1]
    same = [group for group in copies if len({u.text for u in group}) == 1]
    takes = _alike(utterances, lambda u: u.text)
    yield Finding(
        "warning",
        "the same audio with different texts",
        "at most one of them is right",
        tuple(_group(group, " / ".join(dict.fromkeys(_short(u.text) for u in group))) for group in differing),
    )
    yield Finding(
        "warning",
        "the same audio and text again",
        "copies weigh more in training; leave them out",
        tuple(_group(group, _short(group[0].text)) for group in same),
    )
    yield Finding(
        "note",
        "texts that are spoken more than once",
        "several takes are fine for training; keep texts for validation out of it",
        tuple(_group(group, f"{len(group)} times {_short(group[0].text)}") for group in takes),
    )


def _alike(
    utterances: Iterable[UtteranceStats], what: Callable[[UtteranceStats], str | None]
) -> list[list[UtteranceStats]]:
    """Groups of several utterances that have the same, the largest first."""
    groups: dict[str, list[UtteranceStats]] = defaultdict(list)
    for u in utterances:
        if (key := what(u)) is not None:
            groups[key].append(u)
    return sorted((group for group in groups.values() if len(group) > 1), key=len, reverse=True)


def _group(utterances: Iterable[UtteranceStats], detail: str) -> Example:
    return Example(tuple(u.id for u in utterances), detail)


# ---------------------------------------------------------------- what is good to know


def _facts(utterances: Sequence[UtteranceStats], options: CheckOptions) -> Iterable[Finding]:
    out = "training leaves them out"
    short = _those(utterances, lambda u: u.seconds < options.min_len and f"{u.seconds:.2f} s", lambda u: u.seconds)
    yield Finding("note", f"shorter than {options.min_len:g} s (min_len)", out, short)
    long = _those(utterances, lambda u: u.seconds > options.max_len and f"{u.seconds:.2f} s", lambda u: -u.seconds)
    yield Finding("note", f"longer than {options.max_len:g} s (max_len)", out, long)
    dull = [u for u in utterances if u.sound and u.sound.sampling_rate < SAMPLING_RATE]
    yield Finding(
        "note",
        f"sampled at less than {SAMPLING_RATE // 1000} kHz",
        "nothing sounds above half the rate, and the model will speak like that too",
        _those(dull, lambda u: f"{u.sound.sampling_rate} Hz" if u.sound else None),
    )
    wide = [u for u in utterances if u.sound and u.sound.num_channels > 1]
    yield Finding(
        "note",
        "several channels",
        "they are averaged, or the loudest is taken where they cancel each other out, unless a stereo model is trained",
        _those(wide, lambda u: f"{u.sound.num_channels} channels" if u.sound else None),
    )


def counts(utterances: Iterable[UtteranceStats]) -> dict[str, Counter[str]]:
    """How many utterances there are of each sampling rate, number of channels, speaker and language that is known, and
    with each unknown token.
    """
    tables: dict[str, Counter[str]] = {
        name: Counter() for name in ("sampling rates", "channels", "speakers", "languages", "unknown tokens")
    }
    for u in utterances:
        if u.sound:
            tables["sampling rates"][f"{u.sound.sampling_rate} Hz"] += 1
            tables["channels"][str(u.sound.num_channels)] += 1
        if u.speaker:
            tables["speakers"][u.speaker] += 1
        if u.language:
            tables["languages"][u.language] += 1
        tables["unknown tokens"].update(u.unknown)
    return {name: table for name, table in tables.items() if table}
