# SPDX-License-Identifier: Apache-2.0
"""A text that is still being written, as a language model writes it: spoken clause by clause."""

import re
import threading
from collections.abc import Iterator

SENTENCE_CHARACTERS = 12
"""A sentence is spoken by itself from this length on; a shorter one together with the next."""
CLAUSE_CHARACTERS = 40
"""And so is a part of one that ends with a comma."""

_ENDS = re.compile(r"[.!?;:…]+[\"'”’)\]]*(?=\s)|[。！？；：…]+[”’）」』]*|\n|,(?=\s)|[，、]")
_COMMAS = ",，、"


class TextFeed:
    """Words written by one thread, clauses read by another; iterating waits for the next whole clause.

    Example:
        >>> feed = TextFeed()
        >>> feed.write("Hello to all of you. And wel")
        >>> feed.write("come!")
        >>> feed.end()
        >>> list(feed)
        ['Hello to all of you.', ' And welcome!']
    """

    def __init__(self) -> None:
        self.text = ""
        """All that was written."""
        self._changed = threading.Condition()
        self._unread = ""
        self._is_over = False

    def write(self, text: str) -> None:
        """Add what comes next, a word or a part of one, or of a character. Raises ValueError after the end."""
        with self._changed:
            if self._is_over:
                raise ValueError("the text has ended; write to a new feed")
            self.text, self._unread = _joined(self.text, text), _joined(self._unread, text)
            self._changed.notify()

    def end(self) -> None:
        """Say that nothing follows: what was written is spoken to its end."""
        with self._changed:
            self._is_over = True
            self._changed.notify()

    def close(self) -> None:
        """Forget what was not read, and end."""
        with self._changed:
            self._unread, self._is_over = "", True
            self._changed.notify()

    def __iter__(self) -> Iterator[str]:
        while clause := self._next():
            yield clause

    def _next(self) -> str:
        with self._changed:
            while not (length := self._clause_length()) and not self._is_over:
                self._changed.wait()
            length = length or len(self._unread)
            clause, self._unread = self._unread[:length], self._unread[length:]
            return clause

    def _clause_length(self) -> int:
        """Characters of the first clause that is long enough to be spoken by itself; 0 while there is none."""
        for match in _ENDS.finditer(self._unread):
            least = CLAUSE_CHARACTERS if match[0] in _COMMAS else SENTENCE_CHARACTERS
            if len(self._unread[: match.end()].strip()) >= least:
                return match.end()
        return 0


def _joined(before: str, text: str) -> str:
    """One text, in which the halves of a character are one again: writers of UTF-16 may cut between them."""
    if "\udc00" <= text[:1] <= "\udfff":
        return (before + text).encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    return before + text
