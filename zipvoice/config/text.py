# SPDX-License-Identifier: Apache-2.0
"""How text becomes tokens."""

from dataclasses import dataclass
from typing import Literal

TokenizerType = Literal["emilia", "dialog", "espeak", "libritts", "simple"]


@dataclass(frozen=True)
class TokenizerConfig:
    """How text becomes tokens."""

    type: TokenizerType = "emilia"
    """emilia: Chinese and English; dialog: the same with speaker tags; espeak: any espeak-ng language;
    libritts: English characters; simple: one token per character."""
    language: str = "en-us"
    """espeak-ng voice, for the espeak tokenizer."""
    skip_unknown: bool = False
    """Leave out what cannot be spoken, with a warning, rather than refuse the text."""
    compatible: bool = False
    """Read text as the reference implementation does, with its losses; for comparison."""
    markdown: bool = False
    """The text is Markdown or a book: leave out also marks that could be meant otherwise, such as blocks of code."""

    def __post_init__(self) -> None:
        if self.language != TokenizerConfig.language and self.type != "espeak":
            raise ValueError(
                f"the language {self.language!r} is for the tokenizer espeak, not {self.type}: --tokenizer espeak "
                f"--language {self.language}"
            )
