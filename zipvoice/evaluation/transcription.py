# SPDX-License-Identifier: Apache-2.0
"""What a recording says, where nobody wrote it down, and whether what somebody wrote is what it says.

An ear (Whisper) hears the words. Whether a given text fits is cheaper to tell: the aligner, which comes with the
package, compares the sounds of the text with what it hears in each frame.
"""

from functools import cache
from textwrap import shorten

from zipvoice.audio.files import Audio
from zipvoice.evaluation.alignment import LANGUAGE, fit, text_words
from zipvoice.evaluation.whisper import Transcript, Whisper, find_whisper

DOUBTFUL = 0.5
"""Confidence below which a transcript is to be looked at."""
FITTING = -1.4
"""Log-likelihood ratio of a frame, in the mean, below which a text is not what a recording says."""
FEW_WORDS = 1
"""As many words that sound like something else are no sign: names are read wrongly."""
MOST_UNLIKE = 0.3
"""Share of words that sound like something else, and of frames that say what the text does not, together."""
MOST_UNHEARD = 0.22
"""Share of frames that say what the text does not."""


@cache
def ear() -> Whisper:
    """The recogniser that is installed, loaded once. Raises ImportError with the install line."""
    return Whisper()


def has_ear() -> bool:
    """True if a recogniser is installed."""
    from importlib.util import find_spec

    if find_spec("faster_whisper") is None:
        return False
    try:
        find_whisper()
    except (ImportError, ValueError):
        return False
    return True


def transcribe(audio: Audio, language: str | None = None) -> Transcript:
    """What a recording (channels, N) says, in `language` (two letters) or the one that is heard.

    Raises ImportError, with the install line, if no recogniser is installed, and ValueError if no word is heard.
    """
    heard = ear().transcribe(audio, language)
    if not heard.text:
        raise ValueError(f"{heard.model} hears no words in it; use a recording of speech, or say what it says")
    return heard


def fits(audio: Audio, text: str, language: str = LANGUAGE) -> bool:
    """False if a recording says something else than `text`, all of it or a good part; True if in doubt.

    It takes some milliseconds for a second of sound, and nothing that must be installed. Of native speech no right
    text is suspected (0 of 240 recordings), and of nine in ten with half of their words replaced, or half of them
    missing, it is told; of learners of English in noise one right text in eight is suspected. A text without words that
    can be checked does not fit.
    """
    try:
        found = fit(audio, text_words(text, language))
    except ValueError:
        return False
    unlike = found.num_unlikely > FEW_WORDS and found.unlikely + found.unheard > MOST_UNLIKE
    return found.likelihood >= FITTING and found.unheard <= MOST_UNHEARD and not unlike


def transcript_warning(audio: Audio, text: str, language: str = LANGUAGE) -> str | None:
    """What to tell of a recording that does not say `text`, with what is heard if a recogniser is installed."""
    if fits(audio, text, language):
        return None
    heard = f" but, by {ear().name}, {_shown(ear().transcribe(audio).text)}" if has_ear() else ""
    return f"does not seem to say {_shown(text)}{heard}; a wrong transcript ruins the speech made from it"


def _shown(text: str) -> str:
    """In a message: of noise a recogniser may hear one phrase a hundred times."""
    return repr(shorten(text, 300, placeholder=" …"))
