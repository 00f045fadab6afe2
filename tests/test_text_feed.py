# SPDX-License-Identifier: Apache-2.0
"""A text that is still being written, clause by clause."""

import threading

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


def test_sentences_have_twelve_characters_and_their_parts_forty():
    assert (SENTENCE_CHARACTERS, CLAUSE_CHARACTERS) == (12, 40)


def test_a_text_is_remembered_as_it_was_written():
    feed = TextFeed()
    for text in ("Hello \ud83d", "\ude00", " and", "\ude00", "\ud800", "\udc00", "\udbff", "\udfff, \ud83d", "\udfff."):
        feed.write(text)
    assert feed.text == "Hello \U0001f600 and\ude00\U00010000\U0010ffff, \U0001f7ff."


@pytest.mark.parametrize("name", ["end", "close"])
def test_nothing_is_written_after_the_end(name):
    feed = TextFeed()
    feed.write("one")
    getattr(feed, name)()
    with pytest.raises(ValueError, match="the text has ended; write to a new feed"):
        feed.write("two")
    assert list(feed) == (["one"] if name == "end" else []) and feed.text == "one"


@pytest.mark.parametrize(
    ("last", "clauses"),
    [
        (lambda feed: feed.write("to all of you. And"), ["Hello to all of you.", " And"]),
        (lambda feed: feed.end(), ["Hello "]),
        (lambda feed: feed.close(), []),
    ],
)
def test_who_waits_for_a_clause_is_told_of_it_and_of_the_end(last, clauses):
    feed, waits, found = TextFeed(), threading.Event(), []
    wait = feed._changed.wait

    def noted():
        waits.set()
        return wait()

    feed._changed.wait = noted
    reading = threading.Thread(target=lambda: found.extend(feed), daemon=True)
    feed.write("Hello ")
    reading.start()
    assert waits.wait(30)  # which it does with the lock, so that what follows comes while it waits
    last(feed)
    if len(clauses) == 2:
        feed.end()
    reading.join(30)
    assert not reading.is_alive() and found == clauses


@pytest.mark.parametrize(
    ("written", "clauses"),
    [
        (["Hello to all of you. And wel", "come!"], ["Hello to all of you.", " And welcome!"]),
        (["It is 3.14 or so, I think"], ["It is 3.14 or so, I think"]),
        (["Yes. No. Perhaps we shall see."], ["Yes. No. Perhaps we shall see."]),
        ([20 * "\n", "Well. We shall see."], [20 * "\n" + "Well. We shall see."]),
        (["今天天气很好我们出去走一走吧。明天再说"], ["今天天气很好我们出去走一走吧。", "明天再说"]),
        ([""], []),
        (["Hello to all of you! \ud83d", "\ude00\ud83d", "\ude01"], ["Hello to all of you!", " \U0001f600\U0001f601"]),
    ],
)
def test_a_clause_is_whole_when_the_next_one_begins(written, clauses):
    feed = TextFeed()
    for text in written:
        feed.write(text)
    feed.end()
    assert list(feed) == clauses
