# SPDX-License-Identifier: Apache-2.0
"""A text that is still being written, clause by clause."""

import pytest

from zipvoice.server.text_feed import CLAUSE_CHARACTERS, SENTENCE_CHARACTERS, TextFeed


@pytest.mark.parametrize(
    ("mark", "least"),
    [(". ", SENTENCE_CHARACTERS), (", ", CLAUSE_CHARACTERS), ("。", SENTENCE_CHARACTERS), ("，", CLAUSE_CHARACTERS)],
)
def test_a_clause_is_spoken_by_itself_from_so_many_characters_on(mark, least):
    for length, number in ((least - 1, 1), (least, 2)):
        feed = TextFeed()
        feed.write(f"{'a' * (length - 1)}{mark}And b.")
        feed.end()
        assert len(list(feed)) == number
