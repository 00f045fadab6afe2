# SPDX-License-Identifier: Apache-2.0
"""How many words an English recogniser gets wrong in dialogues, and in the real recordings of their voices.

The recogniser is a modest one that hears no speech perfectly, so compare the two, and models with each other. It is no
substitute for the large recognisers that published word error rates are measured with.

usage: python local/word_errors.py LIST RESULTS
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from zipvoice.audio.files import read
from zipvoice.evaluation.recognition import Dictation
from zipvoice.evaluation.word_errors import WordErrors, word_errors
from zipvoice.utterances import Utterance, read_list


def main(path: str, results: Path) -> None:
    utterances = list(read_list(path).values())
    spoken = count((utterance.text, str(results / f"{utterance.id}.wav")) for utterance in utterances)
    real = count(dict.fromkeys(pair for utterance in utterances for pair in recordings(utterance)))
    for errors, name in ((spoken, str(results)), (real, "recordings")):
        print(f"{name}: word error rate {errors.rate:.2%} ({errors.errors} of {errors.words} words)")


def count(pairs: Iterable[tuple[str, str]]) -> WordErrors:
    """The errors in recordings of texts, given as (text, recording); tags are not spoken."""
    recogniser = Dictation()
    heard = ((re.sub(r"\[[^]]*\]", " ", text), recogniser.transcribe(read(audio))) for text, audio in pairs)
    return sum((word_errors(*pair) for pair in heard), WordErrors())


def recordings(utterance: Utterance) -> list[tuple[str, str]]:
    """Transcript and path of each recording that the voice comes from."""
    if isinstance(utterance.ref_audio, str) and isinstance(utterance.ref_text, str):
        return [(utterance.ref_text, utterance.ref_audio)]
    return list(zip(utterance.ref_text, utterance.ref_audio, strict=True))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
