# SPDX-License-Identifier: Apache-2.0
"""How far the times of words are from what is known of them.

Three kinds of lists can be given, each as NAME=FILE:
  --times NAME=TIMES.jsonl          speech whose tokens lie at exact times (egs/small/local/timed_speech.py)
  --phones NAME=LIST.tsv,PHONES.jsonl  recordings that PocketSphinx aligned (egs/small/local/align_phones.py)

A word begins where its first sound does; where two words are less than 60 ms apart, in the middle between them.

usage: python benchmarks/alignment.py --times heart=TIMES.jsonl --phones others=LIST.tsv,PHONES.jsonl
"""

import argparse
import csv
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from zipvoice.audio.files import Audio, read
from zipvoice.audio.words import Word
from zipvoice.config.text import TokenizerConfig
from zipvoice.evaluation.aligner import builtin_aligner, read_aligner
from zipvoice.evaluation.alignment import align_words, text_words
from zipvoice.text.tokenizers import build_tokenizer
from zipvoice.text.words import WordToken, tokens_of_words

ONE_GAP = 0.06
TOKENIZER = build_tokenizer(TokenizerConfig(type="espeak", language="en-us"), ())

Aligner = Callable[[Audio, str], Sequence[Word]]


@dataclass(frozen=True)
class Known:
    """A recording and the starts of its words in seconds."""

    audio: Path
    text: str
    starts: Sequence[float]


def exact(path: Path) -> Iterator[Known]:
    for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        tokens = tokens_of_words(TOKENIZER, row["text"])
        spans: dict[int, tuple[float, float]] = {}
        for token, (_, start, end) in zip(tokens, row["tokens"], strict=True):
            if isinstance(token, WordToken):
                spans[token.number] = (spans.get(token.number, (start, end))[0], end)
        yield Known(path.parent / row["audio"], row["text"], starts(list(spans.values())))


def recognised(table: Path, phones: Path) -> Iterator[Known]:
    """Recordings whose text has as many words as the recogniser."""
    times = {row["id"]: row["words"] for row in map(json.loads, phones.read_text(encoding="utf-8").splitlines())}
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            words = times.get(row["id"], [])
            if words and len(row["text"].replace("--", " ").split()) == len(words):
                spans = [(phones[0][1], phones[-1][2]) for _, phones in words]
                yield Known(table.parent / row["audio"], row["text"], starts(spans))


def starts(spans: Sequence[tuple[float, float]]) -> list[float]:
    """Where words begin: in the middle of a short gap to the word before."""
    found = [spans[0][0]]
    for (_, end), (start, _) in pairwise(spans):
        found.append((start + end) / 2 if start - end < ONE_GAP else start)
    return found


def errors(aligner: Aligner, known: Iterable[Known]) -> tuple[np.ndarray, int, float]:
    """Differences of starts in seconds, how many recordings were left out, and seconds of work for one of sound."""
    found, left_out, worked, lasted = [], 0, 0.0, 0.0
    for one in known:
        audio = read(one.audio)
        begun = time.process_time()
        words = aligner(audio, one.text)
        worked += time.process_time() - begun
        lasted += audio.seconds
        if len(words) == len(one.starts):
            found += [word.start - start for word, start in zip(words, one.starts, strict=True)]
        else:
            left_out += 1
    return np.array(found), left_out, worked / lasted


def row(name: str, aligner: Aligner, known: Iterable[Known]) -> str:
    found, left_out, load = errors(aligner, known)
    size = np.abs(found)
    shares = " | ".join(f"{100 * np.mean(size <= limit):.1f} %" for limit in (0.025, 0.05, 0.1))
    return (
        f"| {name} | {len(found)} | {1000 * size.mean():.1f} | {1000 * np.median(size):.1f} "
        f"| {1000 * found.mean():+.1f} | {shares} | {1000 * load:.1f} | {left_out} |"
    )


HEADER = (
    "| speech | words | mean (ms) | median | bias | within 25 ms | 50 ms | 100 ms | ms of work a second | left out |\n"
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--aligner", type=Path, help="folder of another than the package's")
    parser.add_argument("--times", nargs="*", default=[])
    parser.add_argument("--phones", nargs="*", default=[])
    options = parser.parse_args()
    network = read_aligner(options.aligner) if options.aligner else builtin_aligner()

    def align(audio: Audio, text: str) -> Sequence[Word]:
        return align_words(audio, text_words(text), network)

    print(HEADER)
    for argument in options.times:
        name, _, path = argument.partition("=")
        print(row(name, align, exact(Path(path))), flush=True)
    for argument in options.phones:
        name, _, paths = argument.partition("=")
        print(row(name, align, recognised(*map(Path, paths.split(",")))), flush=True)


if __name__ == "__main__":
    main()
