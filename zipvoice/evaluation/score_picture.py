# SPDX-License-Identifier: Apache-2.0
"""A picture of scores: a panel for each metric, in it every recording of each folder, folders side by side."""

import os
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zipvoice.evaluation.scores import ROWS, FolderScores
from zipvoice.evaluation.statistics import figure
from zipvoice.files import whole_file

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#666666")
"""Of folders, in turn; told apart by the colour-blind (Okabe and Ito)."""
COLUMNS = 4
LONGEST_NAME = 48
GOLDEN = (5**0.5 - 1) / 2
"""Multiples of it, without their whole parts, are spread evenly however many there are."""


def require_picture(path: str | os.PathLike[str]) -> None:
    """Raises ValueError unless the suffix names a format of pictures, ImportError, with what to install, without
    matplotlib.
    """
    formats = _figure(1, 1).canvas.get_supported_filetypes()
    if Path(path).suffix.removeprefix(".").lower() not in formats:
        raise ValueError(f"{path}: a picture can be {', '.join(formats)}; choose one of these suffixes")


def draw_scores(path: str | os.PathLike[str], folders: Mapping[str, FolderScores]) -> None:
    """Write a picture of how the scores of folders are distributed.

    A dot is a recording; a box holds the middle half of them, with the median; the black mark is the figure of the
    folder with its interval of 95 %. Raises ValueError without scores, and errors as `require_picture`.

    Example:
        >>> draw_scores("scores.png", {"base": read_results(Path("base.jsonl"))})
    """
    require_picture(path)
    rows = [row for row in ROWS if not row.startswith("mean_") and any(row in one.rows for one in folders.values())]
    if not rows:
        raise ValueError(f"{path} is not drawn: there are no scores")
    columns = min(COLUMNS, len(rows))
    drawn = _figure(columns, -(-len(rows) // columns), len(folders))
    panels = drawn.subplots(-(-len(rows) // columns), columns, squeeze=False).flat
    for axes, row in zip_longest(panels, rows):
        if row:
            _panel(axes, row, list(folders.values()))
        else:
            axes.remove()
    drawn.legend(handles=_keys(list(folders)), loc="outside lower center", ncols=2, frameon=False)
    with whole_file(path) as temporary:
        drawn.savefig(temporary, dpi=120)


def _figure(columns: int, lines: int, num_folders: int = 1) -> "Figure":
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("pictures need matplotlib: pip install 'zipvoice-tts[evaluation]'") from None
    width = max(2.6, 1.0 + 0.45 * num_folders)
    return Figure(figsize=(max(5.0, columns * width), 2.8 * lines + 0.5), layout="constrained")


def _panel(axes: "Axes", row: str, folders: Sequence[FolderScores]) -> None:
    factor = 100 if ROWS[row].percent else 1
    for place, folder in enumerate(folders):
        scored = folder.scored(row)
        if scored:
            values = factor * np.array([score.value for _, score in scored])
            _dots(axes, place, values)
            mean = figure(scored)
            interval = factor * np.array([[mean.value - mean.low], [mean.high - mean.value]])
            axes.errorbar(place, factor * mean.value, np.maximum(interval, 0), fmt="D", color="black", ms=4, capsize=4)
    better = {True: "higher is better", False: "lower is better", None: ""}[ROWS[row].higher_is_better]
    axes.set_title(ROWS[row].title + (" (%)" if ROWS[row].percent else ""), fontsize=10)
    axes.set(xlim=(-0.6, len(folders) - 0.4), xticks=[])
    axes.set_xlabel(better, fontsize=8, color="#555555")
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def _dots(axes: "Axes", place: int, values: np.ndarray) -> None:
    color = COLORS[place % len(COLORS)]
    across = place + 0.56 * ((GOLDEN * np.arange(len(values))) % 1 - 0.5)
    axes.scatter(across, values, s=9, color=color, alpha=max(0.25, min(0.8, 20 / len(values))), linewidths=0)
    box = {"facecolor": "none", "edgecolor": color, "linewidth": 1.2}
    lines = {"color": color, "linewidth": 1.2}
    axes.boxplot(
        values, positions=[place], widths=0.7, showfliers=False, patch_artist=True, boxprops=box, medianprops=lines,
        whiskerprops=lines, capprops=lines, manage_ticks=False,
    )  # fmt: skip


def _keys(names: Sequence[str]) -> "list[Artist]":
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    folders = [Patch(color=COLORS[n % len(COLORS)], label=_shown(name)) for n, name in enumerate(names)]
    mark = Line2D([], [], color="black", marker="D", markersize=4, label="figure of the folder, interval of 95 %")
    return [*folders, mark]


def _shown(name: str) -> str:
    """The end of a long name, which tells folders apart."""
    return name if len(name) <= LONGEST_NAME else f"…{name[-LONGEST_NAME:]}"
