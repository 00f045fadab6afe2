# SPDX-License-Identifier: Apache-2.0
"""What was found in a corpus, for people, for machines, and as a picture."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zipvoice.config.data import CheckOptions
from zipvoice.data.validation.checks import (
    CHARACTER_RATE,
    CHARACTERS,
    LEVEL,
    MEASURES,
    SECONDS,
    TOKEN_RATE,
    Finding,
    Measure,
    counts,
    values,
)
from zipvoice.data.validation.stats import CorpusStats
from zipvoice.files import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PERCENTILES = {"least": 0, "1 %": 1, "10 %": 10, "median": 50, "90 %": 90, "99 %": 99, "most": 100}
SHOWN_EXAMPLES = 5
SHOWN_IDS = 3
SHOWN_COUNTS = 8
INK, LIMIT = "#33658a", "#c8553d"


def distributions(corpus: CorpusStats) -> dict[str, dict[str, float]]:
    """Percentiles of each measure that is known, by its name and unit."""
    known = {_label(measure): values(corpus.utterances, measure) for measure in MEASURES}
    return {
        label: dict(zip(PERCENTILES, np.percentile(found, list(PERCENTILES.values())).tolist(), strict=True))
        for label, found in known.items()
        if len(found)
    }


def _label(measure: Measure) -> str:
    return f"{measure.name} ({measure.unit})" if measure.unit else measure.name


def _hours(corpus: CorpusStats) -> float:
    return sum(utterance.seconds for utterance in corpus.utterances) / 3600


def render(corpus: CorpusStats, findings: Sequence[Finding]) -> str:
    """A report as text for a terminal."""
    hours = _hours(corpus)
    length = f"{hours:.2f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes"
    blocks = [f"{corpus.source}: {len(corpus.utterances)} utterances, {length}"]
    if corpus.utterances:
        blocks += [_table(distributions(corpus)), _counts(corpus)]
    blocks += [_shown(finding) for finding in findings]
    blocks.append(_verdict(findings))
    return "\n\n".join(block for block in blocks if block)


def _table(rows: dict[str, dict[str, float]]) -> str:
    width = max(map(len, rows))
    lines = [" " * width + "".join(name.rjust(9) for name in PERCENTILES)]
    lines += [label.ljust(width) + "".join(f"{x:9.1f}" for x in row.values()) for label, row in rows.items()]
    return "\n".join(lines)


def _counts(corpus: CorpusStats) -> str:
    lines = []
    for name, table in counts(corpus.utterances).items():
        shown = ", ".join(f"{key} ({count})" for key, count in table.most_common(SHOWN_COUNTS))
        more = f" and {len(table) - SHOWN_COUNTS} more" if len(table) > SHOWN_COUNTS else ""
        lines.append(f"{name:<16}{shown}{more}")
    for name, measure in (("tokens", TOKEN_RATE), ("audio", LEVEL)):
        if not len(values(corpus.utterances, measure)):
            lines.append(f"{name:<16}not examined")
    return "\n".join(lines)


def _shown(finding: Finding) -> str:
    alike: dict[str, list[str]] = {}
    for example in finding.examples:
        alike.setdefault(example.detail, []).extend(example.ids)
    lines = [f"{finding.severity.upper()}  {finding.name}: {len(finding.examples)}; {finding.meaning}"]
    for detail, ids in list(alike.items())[:SHOWN_EXAMPLES]:
        shown = ", ".join(ids[:SHOWN_IDS]) + (", ..." if len(ids) > SHOWN_IDS else "")
        lines.append(f"{shown}: {detail}" if shown else detail)
    if len(alike) > SHOWN_EXAMPLES:
        lines.append(f"... and {len(alike) - SHOWN_EXAMPLES} more; --json lists all")
    return "\n  ".join(lines)


def _verdict(findings: Sequence[Finding]) -> str:
    severities = [finding.severity for finding in findings]
    if "error" in severities:
        return "Training would stop at the errors."
    if "warning" in severities:
        return "Training would run; look at the warnings first."
    return "No fault was found."


def to_json(corpus: CorpusStats, findings: Sequence[Finding]) -> dict[str, Any]:
    """A report as dictionaries, lists and scalars, with all examples."""
    return {
        "source": corpus.source,
        "utterances": len(corpus.utterances),
        "hours": round(_hours(corpus), 4),
        "distributions": distributions(corpus),
        "counts": {name: dict(table) for name, table in counts(corpus.utterances).items()},
        "findings": [
            {
                "severity": finding.severity,
                "name": finding.name,
                "meaning": finding.meaning,
                "count": len(finding.examples),
                "examples": [{"ids": list(example.ids), "detail": example.detail} for example in finding.examples],
            }
            for finding in findings
        ],
    }


def require_format(path: str | os.PathLike[str]) -> None:
    """Raises ValueError unless the suffix names a format of pictures, ImportError without matplotlib."""
    formats = _figure().canvas.get_supported_filetypes()
    if Path(path).suffix.removeprefix(".") not in formats:
        raise ValueError(f"{path}: a picture can be {', '.join(formats)}; choose one of these suffixes")


def plot(path: str | os.PathLike[str], corpus: CorpusStats, options: CheckOptions) -> None:
    """Write a picture of how durations, speaking rates, levels and tokens are distributed.

    Raises ValueError if there is nothing to draw, else as `require_format`.
    """
    require_format(path)
    if not corpus.utterances:
        raise ValueError(f"{path} is not drawn: there are no utterances")
    figure = _figure()
    axes = figure.subplots(2, 2).flat
    tokens = TOKEN_RATE if len(values(corpus.utterances, TOKEN_RATE)) else CHARACTERS
    limits = (options.min_len, options.max_len)
    for place, measure in zip(axes, (SECONDS, CHARACTER_RATE, LEVEL, tokens), strict=True):
        _histogram(place, values(corpus.utterances, measure), measure, limits if measure is SECONDS else ())
    figure.suptitle(f"{corpus.source}: {len(corpus.utterances)} utterances, {_hours(corpus):.2f} hours")
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _figure() -> "Figure":
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("pictures need matplotlib: pip install 'zipvoice-tts[training]'") from None
    return Figure(figsize=(9, 6), layout="constrained")


def _histogram(axes: "Axes", found: np.ndarray, measure: Measure, limits: Sequence[float]) -> None:
    axes.set(xlabel=_label(measure), ylabel="utterances")
    axes.spines[["top", "right"]].set_visible(False)
    if len(found) == 0:
        axes.text(0.5, 0.5, "not measured", ha="center", va="center", transform=axes.transAxes)
        return
    axes.hist(found, bins=min(60, max(10, int(np.sqrt(len(found))))), color=INK)
    for limit in limits:
        if found.min() <= limit <= found.max():
            axes.axvline(limit, color=LIMIT, linestyle="--")
