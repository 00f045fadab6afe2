# SPDX-License-Identifier: Apache-2.0
"""Figures that the authors of ZipVoice print, and the table that sets measured ones beside them."""

from collections.abc import Mapping

from zipvoice.evaluation.report import markdown
from zipvoice.evaluation.scores import ROWS, FolderScores
from zipvoice.evaluation.statistics import figure

PUBLISHED: dict[str, dict[str, dict[str, float]]] = {
    "librispeech-pc": {
        "ZipVoice, 16 steps": {"word_error_rate": 0.0164, "sim_o": 0.668, "utmos": 3.98},
        "distilled, 4 steps": {"word_error_rate": 0.0151, "sim_o": 0.657, "utmos": 4.05},
    },
    "seedtts-en": {"ZipVoice, 16 steps": {"mean_word_error_rate": 0.0170, "sim_o": 0.697}},
    "seedtts-zh": {"ZipVoice, 16 steps": {"mean_character_error_rate": 0.0140, "sim_o": 0.751}},
    "dialogue-en": {
        "ZipVoice-Dialog": {
            "word_error_rate": 0.0325,
            "cp_word_error_rate": 0.0327,
            "cp_similarity": 0.437,
            "utmos": 3.07,
        }
    },
}
"""Suite -> model -> row -> figure: Zhu et al. 2025, ZipVoice and ZipVoice-Dialog."""


def beside_published(suite: str, folders: Mapping[str, FolderScores]) -> str:
    """A Markdown table of the published figures of a suite, and those of folders.

    Raises ValueError for a suite without published figures.
    """
    if suite not in PUBLISHED:
        raise ValueError(f"the suite {suite!r} has no published figures; those that have: {', '.join(PUBLISHED)}")
    models = PUBLISHED[suite]
    rows = [["", *(f"{model} (published)" for model in models), *folders]]
    for name, row in ROWS.items():
        if any(name in figures for figures in models.values()):
            printed = [row.shown(figures[name]) if name in figures else "" for figures in models.values()]
            rows.append([row.title, *printed, *(_measured(name, folder) for folder in folders.values())])
    return markdown(rows)


def _measured(row: str, folder: FolderScores) -> str:
    scored = folder.scored(row)
    return ROWS[row].shown(figure(scored).value) if scored else ""
