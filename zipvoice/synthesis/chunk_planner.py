# SPDX-License-Identifier: Apache-2.0
"""From a text to chunks: what is spoken in one go, how long it gets, and the silence behind it.

A text of any length is read paragraph by paragraph, and its chunks appear as they are needed.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from zipvoice.audio.mel import HOP, SAMPLING_RATE
from zipvoice.config.synthesis import ResolvedOptions, SynthesisOptions
from zipvoice.model.duration import MIN_FRAMES, SHORT_SECONDS, predicted_frames, short_text_floor
from zipvoice.synthesis.prompt import Prompt
from zipvoice.text.characters import UnspeakableError
from zipvoice.text.chunking import Chunk, chunks
from zipvoice.text.markup import pause_seconds, pause_token
from zipvoice.text.punctuation import add_punctuation
from zipvoice.text.token_table import SPEAKER_TAGS, is_silent
from zipvoice.text.words import SpokenWord, spoken_words


@dataclass(frozen=True)
class Clauses:
    """A text in clauses that come one by one: each is spoken as soon as it is read, and joined with the next."""

    clauses: Iterable[str]

    def __iter__(self) -> Iterator[str]:
        return iter(self.clauses)


Text = str | Iterable[str] | Clauses
"""A text, or its lines as a file gives them, or its clauses; both are read as they are needed."""
Tokenize = Callable[[str], list[str]]

PARAGRAPH_SECONDS = 0.7
"""Silence after a paragraph: at a blank line."""
CHAPTER_SECONDS = 1.5
"""Silence after a chapter: at two or more blank lines."""
FIRST_CHUNK_SECONDS = 3.0
"""Of a stream, unless the options say otherwise."""
LEAST_ROOM = 0.2
"""Share of a chunk that text gets however long the prompt is, and at least `SHORT_SECONDS`: less is swallowed."""
GROWTH = 2
"""From one chunk of a stream to the next."""


@dataclass(frozen=True, eq=False)
class EncodedPrompt:
    """A prompt and the ids of its tokens in one model."""

    prompt: Prompt
    ids: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class SpeechChunk:
    """The unit of sampling. What it sounds like depends on nothing but this and the options."""

    voice: EncodedPrompt
    ids: tuple[int, ...]
    """Token ids; none for a chunk that is just its pause."""
    num_frames: int
    """Frames to generate."""
    pause: float
    """Seconds of silence behind it; 0 joins it with the next."""
    seed: tuple[int, str, int]
    """The seed, the id of the utterance and the number of the chunk in it."""
    words: tuple[SpokenWord, ...] = ()
    """What it says, where the times of words are asked for."""
    num_samples: int | None = None
    """Exact length of its sound, where the length was asked for."""
    loudness: float | None = None
    """LUFS of its sound; None for the level of the recording of its voice."""

    @property
    def total_frames(self) -> int:
        """With the prompt."""
        return self.voice.prompt.num_frames + self.num_frames


@dataclass(frozen=True)
class ChunkPlanner:
    """Plans texts for one model.

    Lengths, prompt included, are rounded up to `frame_multiple`, the largest down-sampling factor of the model. A
    stack at a lower rate averages the last frames of an utterance with what follows them in the batch; where nothing
    but whole groups follow, no utterance feels its neighbours, and a batch gives what its members give alone. Up to 3
    frames are 32 ms, spread over the text like all others. Raw speech is not rounded, and sampled alone.
    """

    tokenize: Tokenize
    ids: Callable[[Sequence[str]], list[int]]
    """Of tokens; raises ValueError for unknown ones."""
    length: Callable[[Sequence[int]], float] = len
    """Of token ids, see `text_length`: speech lasts in proportion."""
    frame_multiple: int = 1
    dialogue: bool = False
    tokenize_words: Tokenize | None = None
    """Gives the same tokens, knowing their words; see `tokens_of_words`."""

    def plan(self, text: Text, voice: EncodedPrompt, options: ResolvedOptions, name: str = "") -> Iterator[SpeechChunk]:
        """The chunks of a text. Raises ValueError, at the chunk in question, for what cannot be spoken."""
        if options.word_times and self.tokenize_words is not None:
            yield from replace(self, tokenize=self.tokenize_words, tokenize_words=None).plan(text, voice, options, name)
        elif options.raw:
            yield self._raw(text, voice, options, name)
        elif options.duration is not None:
            yield from self._exactly(options.duration, list(self._paragraphs(text)), voice, options, name)
        else:
            yield from self._chunks(self._paragraphs(text), voice, options, name)

    def check(self, text: Text) -> None:
        """Raise ValueError for a text that cannot be spoken in any voice."""
        for _ in self._paragraphs(text):
            pass

    def _raw(self, text: Text, voice: EncodedPrompt, options: ResolvedOptions, name: str) -> SpeechChunk:
        """The whole text in one go, of the predicted length."""
        whole = whole_text(text)
        tokens = _spoken(self._tokens(whole))
        ids = tuple(self.ids(tokens))
        if not ids:
            raise ValueError(f"the text has nothing that can be spoken: {whole[:80]!r}")
        before, length = voice.prompt.num_frames, self.length(voice.ids)
        frames = predicted_frames(before, length, self.length(ids), options.speed)
        words = tuple(spoken_words(tokens))
        return _checked(SpeechChunk(voice, ids, max(frames, MIN_FRAMES), 0.0, (options.seed, name, 0), words))

    def _paragraphs(self, text: Text) -> Iterator[list[str]]:
        """The tokens of each paragraph, with its pause as the last token; a dialogue is one paragraph."""
        spoken = False
        for paragraph, pause in [(whole_text(text), 0.0)] if self.dialogue else paragraphs(text):
            tokens = self._tokens(punctuated(paragraph))
            spoken = spoken or _has_words(_spoken(tokens))
            own_pause = bool(tokens) and pause_seconds(tokens[-1]) is not None
            yield [*tokens, pause_token(pause)] if pause and not own_pause else tokens
        if not spoken:
            raise ValueError("the text has nothing that can be spoken; give at least one word")

    def _tokens(self, text: str) -> list[str]:
        """Tokens that the model knows, pauses among them, and in a dialogue only turns that change the speaker."""
        try:
            tokens = self.tokenize(text)
            self.ids(_spoken(tokens))
            if self.dialogue:
                check_turns(tokens)
        except ValueError as error:
            raise refused("the text", error) from None
        return merged_turns(tokens) if self.dialogue else tokens

    def _chunks(
        self, paragraphs: Iterable[list[str]], voice: EncodedPrompt, options: ResolvedOptions, name: str
    ) -> Iterator[SpeechChunk]:
        sizes = ChunkSizes.of(voice.prompt, options, self.dialogue)
        budgets = iter(sizes)
        parts = (part for tokens in paragraphs for part in _cut(tokens, budgets, sizes, self.dialogue))
        for index, part in enumerate(parts):
            yield self._chunk(part, voice, options, (options.seed, name, index))

    def _chunk(
        self, part: Chunk, voice: EncodedPrompt, options: ResolvedOptions, seed: tuple[int, str, int]
    ) -> SpeechChunk:
        ids = tuple(self.ids(part.tokens)) if _has_words(part.tokens) else ()
        frames = self._num_frames(voice, self.length(ids), options) if ids else 0
        words = tuple(spoken_words(part.tokens))
        return _checked(SpeechChunk(voice, ids, frames, part.pause_seconds, seed, words, loudness=options.level))

    def _num_frames(self, voice: EncodedPrompt, length: float, options: ResolvedOptions) -> int:
        """Frames for a text at the voice's rate, with the floor for short texts, rounded up."""
        before, prompt_length = voice.prompt.num_frames, self.length(voice.ids)
        natural = predicted_frames(before, prompt_length, length) * HOP / SAMPLING_RATE
        slow = natural / short_text_floor(natural) if options.short_text_floor else 1.0
        frames = max(MIN_FRAMES, predicted_frames(before, prompt_length, length, options.speed * slow))
        return frames + -(before + frames) % self.frame_multiple

    def _exactly(
        self, duration: float, paragraphs: list[list[str]], voice: EncodedPrompt, options: ResolvedOptions, name: str
    ) -> Iterator[SpeechChunk]:
        """Chunks that last `duration` seconds to the sample: the time without pauses in proportion to their texts."""
        tokens = [token for paragraph in paragraphs for token in paragraph]
        pauses = [seconds for token in tokens if (seconds := pause_seconds(token)) is not None]
        speech = duration - sum(pauses)
        if speech <= 0:
            raise ValueError(f"a duration of {duration:g} s leaves no time to speak: the pauses take {sum(pauses):g} s")
        natural = voice.prompt.seconds / self.length(voice.ids) * self.length(self.ids(_spoken(tokens)))
        even = replace(options, speed=natural / speech, short_text_floor=False)
        chunks = list(self._chunks(paragraphs, voice, even, name))
        total, start, spent = sum(self.length(chunk.ids) for chunk in chunks), 0, 0.0
        for chunk in chunks:
            spent += self.length(chunk.ids)
            end = round(speech * SAMPLING_RATE * spent / total)
            yield self._of_length(chunk, end - start)
            start = end

    def _of_length(self, chunk: SpeechChunk, num_samples: int) -> SpeechChunk:
        if not chunk.ids:
            return replace(chunk, num_samples=0)
        frames = max(MIN_FRAMES, 1 + -(-num_samples // HOP))
        frames += -(chunk.voice.prompt.num_frames + frames) % self.frame_multiple
        return _checked(replace(chunk, num_frames=frames, num_samples=num_samples))


def _has_words(tokens: Iterable[str]) -> bool:
    """False for tags of speakers and punctuation alone, of which a model would make some sound."""
    return any(token not in SPEAKER_TAGS and not is_silent(token) for token in tokens)


def _checked(chunk: SpeechChunk) -> SpeechChunk:
    if chunk.num_frames < len(chunk.ids):
        raise ValueError(
            f"there are more tokens ({len(chunk.ids)}) than frames ({chunk.num_frames}) to speak them in; "
            "lower the speed or lengthen the speech"
        )
    return chunk


def batches(chunks: Iterable[SpeechChunk], max_seconds: float) -> Iterator[list[SpeechChunk]]:
    """Consecutive chunks that last so long together, prompts and padding included; one alone may be longer."""
    max_frames = max_seconds * SAMPLING_RATE / HOP
    batch: list[SpeechChunk] = []
    longest = 0
    for chunk in chunks:
        longest = max(longest, chunk.total_frames)
        if batch and longest * (len(batch) + 1) > max_frames:
            yield batch
            batch, longest = [], chunk.total_frames
        batch.append(chunk)
    if batch:
        yield batch


# ---------------------------------------------------------------- sizes of chunks


def for_stream(options: SynthesisOptions) -> SynthesisOptions:
    """The options with a short first chunk."""
    return replace(options, first_chunk_seconds=options.first_chunk_seconds or FIRST_CHUNK_SECONDS)


@dataclass(frozen=True)
class ChunkSizes:
    """How many tokens go into each chunk, in order: from `first` growing up to `largest`."""

    first: int
    largest: int
    least: int
    """A chunk of fewer tokens is not cut off for the sake of the first sizes; the floor would slow it down."""

    @classmethod
    def of(cls, prompt: Prompt, options: ResolvedOptions, dialogue: bool = False) -> "ChunkSizes":
        """Sizes such that prompt and chunk last about `options.max_chunk_seconds`, if that leaves room for words."""
        token_seconds = prompt.seconds / len(prompt.tokens) / options.speed
        room = max(options.max_chunk_seconds - prompt.seconds, LEAST_ROOM * options.max_chunk_seconds)
        smallest = 3 if dialogue else 1
        least = int(SHORT_SECONDS / (token_seconds * options.speed))
        largest = max(smallest, least, int(room / token_seconds))
        first = largest if options.first_chunk_seconds is None else int(options.first_chunk_seconds / token_seconds)
        return cls(min(max(smallest, first), largest), largest, least)

    def __iter__(self) -> Iterator[int]:
        size = self.first
        while size < self.largest:
            yield size
            size *= GROWTH
        yield from itertools.repeat(self.largest)


def _cut(tokens: list[str], budgets: Iterator[int], sizes: ChunkSizes, dialogue: bool) -> Iterator[Chunk]:
    """Chunks of one paragraph, each of the next size."""
    for size in budgets:
        parts = chunks(tokens, size, dialogue)
        while (
            len(parts) > 1
            and len(parts[0].tokens) < sizes.least
            and not parts[0].pause_seconds
            and size < sizes.largest
        ):
            size = min(max(size + 1, len(parts[0].tokens) + len(parts[1].tokens)), sizes.largest)
            parts = chunks(tokens, size, dialogue)
        if size >= sizes.largest or len(parts) <= 1:
            yield from parts
            return
        yield parts[0]
        tokens = merged_turns([token for part in parts[1:] for token in _with_pause(part)])


def _with_pause(part: Chunk) -> list[str]:
    return [*part.tokens, pause_token(part.pause_seconds)] if part.pause_seconds else part.tokens


# ---------------------------------------------------------------- text


def refused(what: str, error: ValueError) -> ValueError:
    """An error about a text or a transcript, with what can be done about it where speech is made."""
    if not isinstance(error, UnspeakableError):
        return ValueError(f"{what}: {error}")
    remedy = "--skip-unknown (skip_unknown) leaves out such characters; another language needs a model of it"
    return ValueError(f"{what}: {error.fault}; {remedy}")


def paragraphs(text: Text) -> Iterator[tuple[str, float]]:
    r"""Paragraphs and the seconds of silence after each: they end at blank lines, chapters at two or more in a row.

    Example:
        >>> list(paragraphs("One.\nTwo.\n\nThree."))
        [('One.\nTwo.', 0.7), ('Three.', 0.0)]
    """
    if isinstance(text, Clauses):
        yield from ((clause, 0.0) for clause in text if clause.strip())
        return
    lines: list[str] = []
    blank = 0
    for line in _lines(text):
        if not line.strip():
            blank += 1
        elif blank and lines:
            yield "\n".join(lines), CHAPTER_SECONDS if blank > 1 else PARAGRAPH_SECONDS
            lines, blank = [line.rstrip("\n")], 0
        else:
            lines.append(line.rstrip("\n"))
            blank = 0
    if lines:
        yield "\n".join(lines), 0.0


def _spoken(tokens: Iterable[str]) -> list[str]:
    """Tokens without pauses."""
    return [token for token in tokens if pause_seconds(token) is None]


def whole_text(text: Text) -> str:
    """A text or its lines as one text. Raises ValueError for what is none."""
    return text if isinstance(text, str) else "".join(_lines(text))


def _lines(text: Text) -> Iterable[str]:
    """The lines or clauses of a text. Raises ValueError for what is none."""
    if isinstance(text, bytes) or not isinstance(text, Iterable):
        raise ValueError(f"a text is a str, or its lines, not a {type(text).__name__}")
    return text.splitlines() if isinstance(text, str) else text


_FINAL_PAUSES = re.compile(r"(?<!\s)(?:\s*\[pause\b[^\[\]]*\])+\s*$", re.IGNORECASE)


def punctuated(text: str) -> str:
    """The text with punctuation at its end, but before pauses there; a text of pauses alone stays."""
    match = _FINAL_PAUSES.search(text)
    if match is None:
        return add_punctuation(text)
    words = text[: match.start()]
    return (add_punctuation(words) if words.strip() else "") + match[0]


def check_turns(tokens: Sequence[str]) -> None:
    """Raise ValueError unless a dialogue begins with `[S1]`: models tell speakers by counting turns from there."""
    first = next(iter(_spoken(tokens)), "nothing")
    if first != SPEAKER_TAGS[0]:
        raise ValueError(f"a dialogue begins with [S1], not with {first!r}")


def merged_turns(tokens: Iterable[str]) -> list[str]:
    """Tokens without tags that repeat the current speaker, for whom a model would take the other one.

    Example:
        >>> merged_turns(["[S1]", "a", "[S1]", "b", "[S2]", "c"])
        ['[S1]', 'a', 'b', '[S2]', 'c']
    """
    result: list[str] = []
    speaker = None
    for token in tokens:
        if token in SPEAKER_TAGS and token == speaker:
            continue
        speaker = token if token in SPEAKER_TAGS else speaker
        result.append(token)
    return result
