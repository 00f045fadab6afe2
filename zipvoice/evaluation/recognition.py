# SPDX-License-Identifier: Apache-2.0
"""Which sentence of a closed list was spoken, as an English speech recogniser hears it.

PocketSphinx and its bundled American English model decide, offline and within a fraction of a second per file. It is a
modest recogniser; told the possible sentences, it is right for nearly every clear recording. It is the check of small
models that needs no large package.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zipvoice.audio.files import Audio, pcm16, read, resample
from zipvoice.config.strict_json import suggestion
from zipvoice.evaluation.provenance import sha256_of
from zipvoice.evaluation.word_errors import normalize

RECOGNIZER_RATE = 16000
GRAMMAR = "closed set"


@dataclass(frozen=True)
class Choice:
    """Which sentence was recognised in one recording."""

    path: Path
    """The recording."""
    spoken: str
    """The sentence it should say."""
    heard: str | None
    """The sentence it sounds like, None if it sounds like none of them."""

    @property
    def correct(self) -> bool:
        return self.spoken == self.heard


@dataclass(frozen=True)
class ClosedSetResult:
    """One choice per recording, in their order."""

    choices: tuple[Choice, ...]

    @property
    def num_correct(self) -> int:
        return sum(choice.correct for choice in self.choices)

    @property
    def accuracy(self) -> float:
        return self.num_correct / len(self.choices)


class ClosedSetRecognizer:
    """Decides which of a list of English sentences was spoken."""

    def __init__(self, sentences: Sequence[str], pronunciations: Mapping[str, str] | None = None) -> None:
        """Prepare the recogniser for these sentences.

        `pronunciations` gives words that its dictionary lacks, in ARPABET: `{"zipvoice": "Z IH P V OY S"}`.

        Raises ValueError for words without a pronunciation, and for sentences that are empty or sound the same after
        normalisation.
        """
        self._sentences = _by_words(sentences)
        # Without the second pass over the word lattice, which drops about one clean recording in twenty.
        self._decoder = _decoder(lm=None, bestpath=False)
        self._teach(pronunciations or {})
        self._decoder.add_fsg(GRAMMAR, self._decoder.create_fsg(GRAMMAR, 0, 1, _branches(list(self._sentences))))
        self._decoder.activate_search(GRAMMAR)

    def choose(self, audio: Audio) -> str | None:
        """The sentence that `audio` (channels, N) sounds like, None if it sounds like none of them."""
        heard = _hear(self._decoder, audio)
        return self._sentences.get(tuple(heard.split()))

    def _teach(self, pronunciations: Mapping[str, str]) -> None:
        words = dict.fromkeys(word for sentence in self._sentences for word in sentence)
        missing = [word for word in words if self._decoder.lookup_word(word) is None]
        unknown = [word for word in missing if word not in pronunciations]
        if unknown:
            raise ValueError(
                f"the recogniser cannot pronounce {', '.join(map(repr, unknown))}; "
                "leave these sentences out, or pass `pronunciations`"
            )
        for word in missing:
            try:
                self._decoder.add_word(word, pronunciations[word])
            except RuntimeError:
                raise ValueError(
                    f"{pronunciations[word]!r} is no pronunciation of {word!r}; "
                    "expected ARPABET phonemes without stress marks, as in 'Z IH P V OY S'"
                ) from None


def recognize_closed_set(
    recordings: Iterable[tuple[str | os.PathLike[str], str]],
    sentences: Sequence[str] | None = None,
    pronunciations: Mapping[str, str] | None = None,
) -> ClosedSetResult:
    """Let the recogniser choose among `sentences` for each (path, spoken sentence).

    By default the choice is among the sentences of the recordings themselves. A recording that sounds like none of
    them counts as wrong.

    Example:
        >>> recognize_closed_set([("one.wav", "turn left"), ("two.wav", "turn right")]).accuracy
    """
    expected = [(Path(path), spoken) for path, spoken in recordings]
    if not expected:
        raise ValueError("closed-set recognition needs at least one recording")
    sentences = list(dict.fromkeys(spoken for _, spoken in expected)) if sentences is None else sentences
    for path, spoken in expected:
        if spoken not in sentences:
            raise ValueError(
                f"{path} should say {spoken!r}, which is not among the sentences{suggestion(spoken, sentences)}"
            )
    test = ClosedSetRecognizer(sentences, pronunciations)
    return ClosedSetResult(tuple(Choice(path, spoken, test.choose(read(path))) for path, spoken in expected))


def known_sentences(sentences: Iterable[str]) -> list[str]:
    """Those sentences of which the recogniser's dictionary has every word."""
    decoder = _decoder(lm=None)
    words = ((sentence, normalize(sentence).split()) for sentence in sentences)
    return [s for s, spoken in words if spoken and all(decoder.lookup_word(word) is not None for word in spoken)]


def model_sha256() -> str:
    """The hash of the recogniser's model and dictionary."""
    from pocketsphinx import get_model_path

    folder = Path(get_model_path("en-us"))
    return sha256_of(*sorted((folder / "en-us").iterdir()), folder / "cmudict-en-us.dict")


def _decoder(**settings: Any) -> Any:
    try:
        from pocketsphinx import Decoder
    except ImportError:
        raise ImportError("speech recognition needs PocketSphinx: pip install 'zipvoice-tts[evaluation]'") from None
    return Decoder(loglevel="FATAL", cmn="batch", **settings)


def _hear(decoder: Any, audio: Audio) -> str:
    decoder.reinit_feat()  # the noise estimated in one recording would pass into the next
    decoder.start_utt()
    decoder.process_raw(pcm16(resample(audio.mono(), RECOGNIZER_RATE)).tobytes(), full_utt=True)
    decoder.end_utt()
    hypothesis = decoder.hyp()
    return hypothesis.hypstr if hypothesis else ""


def _by_words(sentences: Sequence[str]) -> dict[tuple[str, ...], str]:
    """The sentences by their normalised words."""
    if not sentences:
        raise ValueError("closed-set recognition needs at least one sentence to choose from")
    known: dict[tuple[str, ...], str] = {}
    for sentence in sentences:
        words = tuple(normalize(sentence).split())
        if not words:
            raise ValueError(f"{sentence!r} has no English word to recognise")
        if words in known:
            raise ValueError(f"{known[words]!r} and {sentence!r} sound the same; keep one of them")
        known[words] = sentence
    return known


def _branches(sentences: Sequence[Sequence[str]]) -> list[tuple[int, int, float, str]]:
    """Word transitions of a grammar with one chain per sentence from state 0 to state 1, all equally likely."""
    transitions = []
    next_state = 2
    for words in sentences:
        inner = range(next_state, next_state + len(words) - 1)
        next_state = inner.stop
        for source, target, word in zip([0, *inner], [*inner, 1], words, strict=True):
            transitions.append((source, target, 1.0 if source else 1.0 / len(sentences), word))
    return transitions
