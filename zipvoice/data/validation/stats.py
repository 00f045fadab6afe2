# SPDX-License-Identifier: Apache-2.0
"""What the utterances of a corpus are like: each one's sound and text, measured before anything is trained on them."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from zipvoice.audio.mel import SAMPLING_RATE, num_frames
from zipvoice.config.data import CheckOptions
from zipvoice.data.corpus_list import Checked, checked_cuts, each, spoken_text
from zipvoice.data.cuts import make_tokens, read_cuts, recorded_audio, stored_tokens
from zipvoice.data.shar import is_shar
from zipvoice.data.workers import worker_map
from zipvoice.text.token_table import TokenTable, is_silent
from zipvoice.text.tokenizers import Tokenizer, build_tokenizer

if TYPE_CHECKING:
    from lhotse.cut import Cut

PIECE = 50
"""Utterances measured at a time in a worker process."""
LOUD, FLAT, FLAT_RUN = 0.98, 1e-4, 3
"""A flat top is a run of samples above the first, each at most the second from the next. A tone has none that long."""
FLOOR = 1e-5
"""Amplitude that digital silence counts as, -100 dB."""


@dataclass(frozen=True)
class SoundStats:
    """Measurements of the samples of an utterance."""

    sampling_rate: int
    """Of the file."""
    num_channels: int
    peak_db: float
    """Largest absolute value, in decibels of full scale."""
    level_db: float
    """Root mean square, in decibels of full scale."""
    clipped: float
    """Share of samples in flat tops near full scale."""
    digest: str
    """Equal for equal samples."""


@dataclass(frozen=True)
class UtteranceStats:
    """What is known of one utterance."""

    id: str
    seconds: float
    text: str
    speaker: str | None
    language: str | None
    num_characters: int
    """Letters and digits."""
    num_frames: int
    """Frames of its features."""
    num_tokens: int | None
    """None without tokenizer and stored tokens."""
    unknown: tuple[str, ...]
    """Its tokens that the token table lacks."""
    text_fault: str | None
    """Why it has no tokens although there is a tokenizer."""
    sound: SoundStats | None
    """None if the audio was not looked at, or cannot be read."""
    sound_fault: str | None
    """Why it cannot be read."""


@dataclass(frozen=True)
class CorpusStats:
    """All utterances of a list, and the rows that are none."""

    source: str
    utterances: tuple[UtteranceStats, ...]
    bad_rows: tuple[str, ...]
    """Each with its place in the list, and what is wrong with it."""


def measure_corpus(options: CheckOptions) -> CorpusStats:
    """Measure every utterance of a list, in worker processes if wanted.

    Raises ValueError if there is no such list, or it is empty.

    Example:
        >>> options = CheckOptions("corpus/train.tsv", tokenizer=TokenizerConfig("espeak"))
        >>> corpus = measure_corpus(options)
        >>> [finding.name for finding in run_checks(corpus, options)]
        ['clipped audio', 'sampled at less than 24 kHz']
    """
    checked = _read(options.source)
    cuts = [cut for _, cut in checked.good]
    if not cuts and not checked.faults:
        raise ValueError(f"{options.source} lists no utterance")
    pieces = [cuts[start : start + PIECE] for start in range(0, len(cuts), PIECE)]
    utterances: list[UtteranceStats] = []
    with (
        tqdm(desc="looking at utterances", total=len(cuts), disable=None, leave=False) as progress,
        worker_map(options.num_workers) as mapped,
    ):
        for piece in mapped(partial(_measured, options=options), pieces):
            utterances += piece
            progress.update(len(piece))
    return CorpusStats(options.source, tuple(utterances), tuple(checked.faults))


def _read(source: str) -> Checked["Cut"]:
    """The utterances of a list, a manifest or a folder of shards."""
    if is_shar(source):
        return each(spoken_text, ((source, cut) for cut in read_cuts(source)))
    return checked_cuts(source)


def _measured(cuts: Iterable["Cut"], options: CheckOptions) -> list[UtteranceStats]:
    table = TokenTable.read(options.tokens) if options.tokens else None
    tokenizer: Tokenizer | None = None
    if options.tokenizer:
        tokenizer = build_tokenizer(options.tokenizer, table.tags if table else None)
    return [measure(cut, tokenizer, table, options.audio) for cut in cuts]


def measure(cut: "Cut", tokenizer: Tokenizer | None, table: TokenTable | None, audio: bool = True) -> UtteranceStats:
    """One utterance, a cut with one supervision. Faults of its text and its sound become part of the result.

    Example:
        >>> stats = [measure(cut, tokenizer, table) for cut in read_cuts("train.jsonl.gz")]
    """
    (supervision,) = cut.supervisions
    tokens, text_fault = _tokens(cut, tokenizer)
    sound, sound_fault = _sound(cut) if audio else (None, None)
    unknown = table.unknown(tokens) if table and tokens else []
    return UtteranceStats(
        id=cut.id,
        seconds=cut.duration,
        text=supervision.text,
        speaker=supervision.speaker,
        language=supervision.language,
        num_characters=sum(character.isalnum() for character in supervision.text),
        num_frames=num_frames(round(cut.duration * SAMPLING_RATE)),
        num_tokens=None if tokens is None else len(tokens),
        unknown=tuple(token for token in unknown if not is_silent(token)),
        text_fault=text_fault,
        sound=sound,
        sound_fault=sound_fault,
    )


def _tokens(cut: "Cut", tokenizer: Tokenizer | None) -> tuple[list[str] | None, str | None]:
    """The tokens, stored ones before made ones, or why there are none."""
    try:
        tokens = stored_tokens(cut) or (make_tokens(cut, tokenizer) if tokenizer else None)
    except ValueError as error:
        return None, str(error)
    return (None, "nothing of the text is spoken") if tokens == [] else (tokens, None)


# ---------------------------------------------------------------- sound


def _sound(cut: "Cut") -> tuple[SoundStats | None, str | None]:
    """The measurements, or why there are none; neither for shards that hold features only."""
    if cut.has_features and not cut.has_recording:
        return None, None
    try:
        audio = recorded_audio(cut)
        samples, rate = audio.samples, audio.sampling_rate
    except (ValueError, OSError) as error:
        return None, str(error)
    if samples.size == 0:
        return None, "there are no samples"
    return measure_sound(samples, rate), None


def measure_sound(samples: np.ndarray, sampling_rate: int) -> SoundStats:
    """Measurements of samples (channels, N)."""
    peak, level = np.abs(samples).max(), np.sqrt(np.mean(np.square(samples, dtype=np.float64)))
    return SoundStats(
        sampling_rate=sampling_rate,
        num_channels=len(samples),
        peak_db=_decibels(peak),
        level_db=_decibels(level),
        clipped=_clipped(samples),
        digest=hashlib.blake2b(samples.tobytes(), digest_size=16).hexdigest(),
    )


def _decibels(amplitude: float) -> float:
    return float(20 * np.log10(max(amplitude, FLOOR)))


def _clipped(samples: np.ndarray) -> float:
    """Share of samples (channels, N) that lie in flat tops; what a codec has put beyond full scale counts as at it."""
    heights = np.minimum(np.abs(samples), 1)
    level = (heights[:, 1:] >= LOUD) & (np.abs(np.diff(heights)) <= FLAT)  # pairs of neighbours
    edges = np.diff(np.pad(level, ((0, 0), (1, 1))).astype(np.int8))
    lengths = 1 + np.nonzero(edges == -1)[1] - np.nonzero(edges == 1)[1]  # of each run, channel after channel
    return float(lengths[lengths >= FLAT_RUN].sum() / samples.size)
