# SPDX-License-Identifier: Apache-2.0
"""Chinese and typographic punctuation in the forms that the models know, and punctuation at the end of a text."""

import re

PUNCTUATION = frozenset(";:,.!?；：，。！？")
"""The marks after which a text may be cut."""

_ASCII = str.maketrans("，。！？；：、‘’“”⋯", ",.!?;:,''\"\"…")
_LONG_PAUSE = re.compile(r"(?<=[^\s,.!?;:…—])\s*[…—][…—\s]*")
_ELLIPSIS = re.compile(r"···|・・・|\.\.\.")


def ascii_marks(text: str) -> str:
    """Punctuation of Chinese text as ASCII, any three dots as one ellipsis."""
    return _ELLIPSIS.sub("…", text.translate(_ASCII))


def with_pauses(text: str) -> str:
    """Chinese text with an ellipsis or dash inside as a comma, at the end as a full stop: the models have no other.

    Before another mark, which pauses too, nothing is left of it.
    """

    def pause(found: re.Match[str]) -> str:
        after = text[found.end() : found.end() + 1]
        return "." if not after else "" if after in ",.!?;:" else ","

    return _LONG_PAUSE.sub(pause, text)


def add_punctuation(text: str) -> str:
    """`text` without outer white space, and with a full stop unless it ends in punctuation.

    Raises ValueError for an empty text.
    """
    text = text.strip()
    if not text:
        raise ValueError("the text is empty")
    return text if text[-1] in PUNCTUATION else text + "."
