# SPDX-License-Identifier: Apache-2.0
"""The notebooks run from end to end, and what they say of themselves holds."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = sorted((Path(__file__).resolve().parents[1] / "examples").glob("*.ipynb"))


def run(path, tmp_path) -> str:
    """What the cells print."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return "".join(output.text for output in outputs if output.output_type == "stream")


@pytest.mark.slow
def test_the_first_notebook_speaks(tmp_path):
    told = run(EXAMPLES[1], tmp_path)
    assert "same seed, same sound: True" in told
    assert "another seed, another sound: True" in told
    assert "{'duration': 3.0} 3.00 s" in told


@pytest.mark.slow
def test_the_second_notebook_looks_inside(tmp_path):
    told = run(EXAMPLES[0], tmp_path)
    assert "t = 0.25: 4.0 times the text" in told
    assert "t = 0.75: 2.5 times the text" in told


def test_notebooks_are_stored_without_output():
    assert [path.name for path in EXAMPLES] == ["inside_the_model.ipynb", "speak.ipynb"]
    for path in EXAMPLES:
        cells = nbformat.read(path, as_version=4).cells
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells), path.name
