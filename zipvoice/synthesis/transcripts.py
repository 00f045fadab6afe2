# SPDX-License-Identifier: Apache-2.0
"""What the recording of a voice says: heard where nobody tells, and checked where somebody does.

A wrong transcript silently ruins the speech made from it, so each is compared with the sounds of the recording, which
takes some milliseconds. To hear what is said takes a recogniser, and a second or more.
"""

import logging

from zipvoice.audio.files import Audio
from zipvoice.config.text import TokenizerConfig
from zipvoice.text.characters import is_han

logger = logging.getLogger(__name__)


def transcript_complaints(audio: Audio, text: str, tokenizer: TokenizerConfig) -> list[str]:
    """The complaint that a recording says something else than `text`, with what is heard if that is possible."""
    if not _is_checked(text, tokenizer):
        return []
    from zipvoice.evaluation.transcription import transcript_warning

    warning = transcript_warning(audio, text)
    return [] if warning is None else [warning]


def _is_checked(text: str, tokenizer: TokenizerConfig) -> bool:
    """True for English, where it is known how well transcripts fit."""
    english = tokenizer.type in ("emilia", "dialog", "libritts") or tokenizer.language.startswith("en")
    return english and tokenizer.type != "simple" and not any(map(is_han, text))


def given_transcript(text: object, name: str) -> str:
    """A transcript itself. Raises ValueError for what is no text."""
    if not isinstance(text, str):
        raise ValueError(f"a transcript is a str, what {name} says, not a {type(text).__name__}")
    return text


def heard_transcript(audio: Audio, name: str, tokenizer: TokenizerConfig) -> str:
    """What a recogniser hears; its name, how sure it is and the words are told in a warning."""
    from zipvoice.evaluation.transcription import DOUBTFUL, transcribe

    language = tokenizer.language.split("-")[0] if tokenizer.type == "espeak" else None
    try:
        heard = transcribe(audio, language)
    except ImportError as error:
        raise ValueError(f"say what {name} says with --voice-text (voice_text), or have it heard: {error}") from None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    doubt = ", which is little: check the words" if heard.confidence < DOUBTFUL else ""
    logger.warning(
        "%s: %s hears (confidence %.0f %%%s): %s\nif that is not what it says, give its words with --voice-text",
        name,
        heard.model,
        100 * heard.confidence,
        doubt,
        heard.text,
    )
    return heard.text
