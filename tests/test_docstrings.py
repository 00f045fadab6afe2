# SPDX-License-Identifier: Apache-2.0
"""Examples of docstrings that need no files and no models say what they give."""

import doctest
import importlib

import pytest

EXAMPLES = {
    "synthesis.chunk_planner": ("paragraphs", "merged_turns"),
    "synthesis.dialogue": ("joined_transcripts",),
    "evaluation.word_errors": ("word_errors", "word_error_rate"),
    "evaluation.normalizers": ("zipvoice_chinese",),
    "text.normalizer.markdown": ("unmarked", "plain", "plain_lines"),
    "text.normalizer.english.reader": ("spoken",),
}


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in EXAMPLES.items() for name in names])
def test_examples_give_what_they_say(module, name):
    loaded = importlib.import_module(f"zipvoice.{module}")
    (test,) = doctest.DocTestFinder(recurse=False).find(getattr(loaded, name), name, globs=dict(vars(loaded)))
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0
