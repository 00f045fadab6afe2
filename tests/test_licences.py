# SPDX-License-Identifier: Apache-2.0
"""The page of licences: what an extra brings, and what is said of it."""

import runpy
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

DOCS = Path(__file__).resolve().parents[1] / "docs"
lister = runpy.run_path(str(DOCS / "list_licences.py"))


def test_the_closure_of_a_requirement_has_what_it_needs_and_not_what_is_known():
    whole = lister["closure"]([Requirement("fastapi")], {})
    assert {"fastapi", "starlette", "pydantic", "pydantic-core"} <= set(whole)
    added = lister["closure"]([Requirement("fastapi")], {"pydantic": None})
    assert "pydantic" not in added and "pydantic-core" not in added and "starlette" in added


def test_an_extra_is_asked_for_by_its_name_alone():
    project = distribution("zipvoice-tts")
    core, server = ({each.name for each in lister["needed"](project, extra)} for extra in ("", "server"))
    assert "numpy" in core and "onnxruntime" in core and "torch" not in core
    assert "fastapi" in server and "numpy" not in server


def test_what_is_not_installed_is_said():
    found = lister["closure"]([Requirement("no-such-package-anywhere")], {})
    assert list(lister["rows"](found)) == ["| no-such-package-anywhere | not installed where this table was made |"]


@pytest.mark.parametrize(("name", "expected"), [("numpy", "BSD"), ("soxr", "LGPL-2.1"), ("tqdm", "MPL-2.0")])
def test_a_licence_is_what_the_metadata_says(name, expected):
    assert expected in lister["licence"](distribution(name))


def test_the_page_names_every_package_that_the_core_asks_for():
    """In the table, or in the text: what other Pythons need."""
    page = (DOCS / "licences.md").read_text(encoding="utf-8").lower().replace("_", "-")
    names = {each.name.lower().replace("_", "-") for each in lister["needed"](distribution("zipvoice-tts"))}
    assert [name for name in names if f"| {name} " not in page and f"`{name}`" not in page] == []
    assert "gpl-3.0" in page
