# SPDX-License-Identifier: Apache-2.0
"""Tables of scores: folders side by side, whether they differ, and which recordings are worst. Markdown and data."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import fsum
from typing import Any
from urllib.parse import quote

from zipvoice.evaluation.scores import ROWS, FolderScores, ScoredRecording
from zipvoice.evaluation.statistics import Figure, common, difference, figure


def figures(folder: FolderScores) -> dict[str, Figure]:
    """The figures of a folder by row."""
    return {row: figure(folder.scored(row)) for row in folder.rows}


def as_data(folders: Mapping[str, FolderScores]) -> dict[str, Any]:
    """The figures of folders for JSON: numbers, intervals and the models that judged."""
    return {
        name: {
            "recordings": len(folder.recordings),
            "seconds": fsum(recording.seconds for recording in folder.recordings),
            "figures": {row: asdict(one) for row, one in figures(folder).items()},
            "by": [asdict(model) for model in folder.by],
        }
        for name, folder in folders.items()
    }


def table(folders: Mapping[str, FolderScores]) -> str:
    """A Markdown table with a row for each score and a column for each folder; in brackets the interval of 95 %."""
    measured = [figures(folder) for folder in folders.values()]
    rows = [
        ["", *folders],
        ["recordings", *(str(len(folder.recordings)) for folder in folders.values())],
        ["seconds", *(f"{fsum(r.seconds for r in folder.recordings):.1f}" for folder in folders.values())],
    ]
    for name, row in ROWS.items():
        if any(name in found for found in measured):
            rows.append([row.title, *(_cell(name, found.get(name)) for found in measured)])
    return markdown(rows)


def comparisons(folders: Mapping[str, FolderScores]) -> str:
    """A Markdown table of what each folder has more than the first one, with the chance of such a difference."""
    (first, base), *others = folders.items()
    titles = [f"{name} minus {first}" for name, _ in others]
    rows = [["", *titles]]
    for name in base.rows:
        if any(common(base, folder, name) for _, folder in others):
            rows.append([ROWS[name].title, *(_compared(base, folder, name) for _, folder in others)])
    return markdown(rows) if len(rows) > 1 and others else ""


def worst(folder: FolderScores, number: int) -> str:
    """A Markdown table of the recordings with most errors, or the least of the first score that has a better end.

    Each is a link to the sound, with what it should say and what was heard.
    """
    rows = [name for name in folder.rows if ROWS[name].higher_is_better is not None]
    errors = [name for name in rows if name.endswith("error_rate") and not name.startswith("mean_")]
    if not rows:
        return f"{folder.folder} has no worst recordings: none of its scores is better high or low\n"
    row = (errors or rows)[0]
    having = [recording for recording in folder.recordings if row in recording.scores]
    chosen = sorted(having, key=lambda recording: _badness(row, recording), reverse=True)[:number]
    shown = [[ROWS[row].shown(r.scores[row].value), _link(r), _line(r.text), _line(r.heard)] for r in chosen]
    return markdown([[ROWS[row].title, "recording", "text", "heard"], *shown])


def judged_by(folders: Mapping[str, FolderScores]) -> str:
    """A line for each model that judged: name, what else moves its scores, hash."""
    models = dict.fromkeys(model for folder in folders.values() for model in folder.by)
    lines = (f"{m.model} ({m.detail}){f', sha256 {m.sha256[:16]}' if m.sha256 else ''}" for m in models)
    return "".join(f"- {line}\n" for line in lines)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first row is its head, the first column is to the left."""
    head, *body = rows
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *body]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "".join(f"| {' | '.join(_padded(line, widths))} |\n" for line in lines)


def _badness(row: str, recording: ScoredRecording) -> float:
    score = recording.scores[row]
    return -score.value if ROWS[row].higher_is_better else score.value * score.weight


def _link(recording: ScoredRecording) -> str:
    return f"[{_line(recording.name)}]({quote(recording.path.as_posix())})"


def _line(text: str) -> str:
    """A text as it may stand in a cell."""
    return " ".join(text.replace("|", "/").split())


def _cell(name: str, found: Figure | None) -> str:
    return _range(name, found) if found else ""


def _compared(base: FolderScores, folder: FolderScores, name: str) -> str:
    if not common(base, folder, name):
        return ""
    found = difference(base, folder, name)
    return f"{_range(name, found)}, {_chance(found.p_value)}"


def _range(name: str, found: Any) -> str:
    low, high = (ROWS[name].shown(edge).removesuffix(" %") for edge in (found.low, found.high))
    return f"{ROWS[name].shown(found.value)} [{low}, {high}]"


def _chance(p_value: float) -> str:
    return f"p = {p_value:.3f}" if p_value >= 0.001 else "p < 0.001"


def _padded(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *rest = line
    return [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))]
