# SPDX-License-Identifier: Apache-2.0
"""What a recording says, where nobody wrote it down, and whether what somebody wrote is what it says.

An ear (Whisper) hears the words. Whether a given text fits is cheaper to tell: the aligner, which comes with the
package, compares the sounds of the text with what it hears in each frame.
"""

from functools import cache

from zipvoice.audio.files import Audio
from zipvoice.evaluation.alignment import LANGUAGE, fit, text_words
from zipvoice.evaluation.whisper import Transcript, Whisper, find_whisper

DOUBTFUL = 0.5
"""Confidence below which a transcript is to be looked at."""
FITTING = -1.4
"""Log-likelihood ratio of a frame, in the mean, below which a text is not what a recording says."""


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
    """False if a recording says something else than `text`, grossly; True if in doubt.

    It takes some milliseconds for a second of sound, and nothing that must be installed. A text without words that can
    be checked fits.
    """
    try:
        return fit(audio, text_words(text, language)) >= FITTING
    except ValueError:
        return False


def transcript_warning(audio: Audio, text: str, language: str = LANGUAGE) -> str | None:
    """What to tell of a recording that does not say `text`, with what is heard if a recogniser is installed."""
    if fits(audio, text, language):
        return None
    heard = f" but, by {ear().name}, {ear().transcribe(audio).text!r}" if has_ear() else ""
    return f"does not seem to say {text!r}{heard}; a wrong transcript ruins the speech made from it"
