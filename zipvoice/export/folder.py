# SPDX-License-Identifier: Apache-2.0
"""Folders of graphs: what they may not replace, and what an earlier export leaves in them."""

import logging
from collections.abc import Collection
from pathlib import Path

from zipvoice.config.export import SHERPA_LEXICON, SHERPA_TEXT
from zipvoice.pretrained import has_weights
from zipvoice.runtime.graphs import SUFFIXES, graph_file

TITLE = "# Graphs of "
"""What the card of such a folder, its README.md, begins with."""
OPENVINO_WEIGHTS = ".bin"
GRAPHS = tuple(
    graph_file(name, suffix)
    for name in ("condition", "velocity", "vocoder")
    for suffix in (*SUFFIXES["auto"], OPENVINO_WEIGHTS)
)
"""Files that this package would speak with."""
SHERPA_FILES = (*map(graph_file, ("encoder", "decoder", "vocoder")), SHERPA_LEXICON)
"""Those of a folder for sherpa-onnx."""

logger = logging.getLogger(__name__)


def check_folder(folder: Path, written: Collection[str], for_sherpa: bool = False) -> None:
    """Raise ValueError if the folder has what graphs would replace or speak in place of, their tokens.txt for one.

    So are graphs that are not among the files to be `written` and that no card calls those of an earlier export, for
    they would speak together with the new ones.
    """
    card = folder / "README.md"
    if card.exists() and not card.read_text(encoding="utf-8").startswith(TITLE):
        raise ValueError(f"{card} is of another model and would be replaced; choose another --output-dir")
    if has_weights(folder):
        raise ValueError(
            f"{folder} holds the weights of a model; graphs there would speak in their place, also when training has "
            "changed them since. Choose another --output-dir"
        )
    if (folder / ("model.json" if for_sherpa else SHERPA_TEXT)).exists():
        there, new = ("this package", "sherpa-onnx") if for_sherpa else ("sherpa-onnx", "this package")
        raise ValueError(
            f"{folder} holds graphs for {there}, and those for {new} have another tokens.txt; choose another "
            "--output-dir"
        )
    if not card.exists() and (others := _others(folder, written, for_sherpa)):
        raise ValueError(
            f"{others[0]} would speak together with the new graphs, and no README.md tells that an earlier export "
            "made it: delete it, or choose another --output-dir"
        )


def clear(folder: Path, written: Collection[str], for_sherpa: bool = False) -> None:
    """Delete the graphs of earlier exports, which else would speak together with those just `written`."""
    for path in _others(folder, written, for_sherpa):
        path.unlink()
        logger.warning("deleted %s, which an earlier export had written and this one does not", path)


def _others(folder: Path, written: Collection[str], for_sherpa: bool) -> list[Path]:
    names = SHERPA_FILES if for_sherpa else GRAPHS
    return [folder / name for name in names if name not in written and (folder / name).is_file()]
