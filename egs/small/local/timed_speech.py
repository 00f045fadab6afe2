# SPDX-License-Identifier: Apache-2.0
"""Have the teacher say texts and write down when it says each token: speech from which an aligner learns.

Each text is said at a speed of its own, and each sound of it somewhat longer or shorter than the teacher would have it.
A line of TIMES.jsonl is {"id": "...", "audio": "...", "text": "...", "tokens": [["h", 0.03, 0.1], ...]}: the tokens of
the text, one after the other, with the seconds at which each starts and ends. Recordings are beside it in a folder of
the same name.

usage: python local/timed_speech.py TEXTS.txt TIMES.jsonl HOURS [SEED]
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
from teacher import EARLY_SECONDS, FRAMES_PER_SECOND, LEAD_FRAMES, TAIL_FRAMES, Teacher, load_teacher, spelt_symbols

from zipvoice.audio.files import Audio, write
from zipvoice.audio.mel import SAMPLING_RATE
from zipvoice.config.text import TokenizerConfig
from zipvoice.files import write_text
from zipvoice.text.tokenizers import build_tokenizer

SPEEDS = (0.7, 1.35)
JITTER = 0.2
"""Standard deviation of the logarithm of what the duration of a sound is multiplied by."""
PAUSE_SHARE = 0.15
"""Of the gaps between words that become pauses, as of somebody who thinks."""
PAUSE_SECONDS = (0.1, 0.7)
MAX_TOKENS = 180
"""Of a text; two short ones are said together half of the time."""


def main(texts: Path, target: Path, hours: float, seed: int = 1) -> None:
    teacher, rng = load_teacher(), Random(f"{seed} {target.stem}")
    tokenizer = build_tokenizer(TokenizerConfig(type="espeak", language="en-us"), ())
    lines, rows, seconds = texts.read_text(encoding="utf-8").splitlines(), [], 0.0
    while seconds < 3600 * hours:
        text = " ".join(rng.sample(lines, rng.choice((1, 2))))
        tokens = tokenizer.tokens(text)
        if len(tokens) > MAX_TOKENS:
            continue
        name = f"{target.stem}_{len(rows):05d}"
        sound, ends = said(teacher, rng, tokens)
        write(target.parent / target.stem / f"{name}.flac", Audio(sound[None], SAMPLING_RATE))
        times = [[token, round(a, 4), round(b, 4)] for token, a, b in zip(tokens, [0.0, *ends], ends, strict=False)]
        rows.append({"id": name, "audio": f"{target.stem}/{name}.flac", "text": text, "tokens": times})
        seconds += len(sound) / SAMPLING_RATE
    write_text(target, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    print(f"{target}: {len(rows)} texts, {seconds / 3600:.2f} hours")


def said(teacher: Teacher, rng: Random, tokens: Sequence[str]) -> tuple[np.ndarray, list[float]]:
    """Samples (N,) and the seconds at which each token ends (S,)."""
    owners, symbols = owned_symbols(teacher, tokens)
    ids = np.array([[0, *(teacher.vocabulary[symbol] for symbol in symbols), 0]], np.int64)
    (natural,) = teacher.planner.run(None, {"ids": ids, "speed": np.array([rng.uniform(*SPEEDS)], np.float32)})
    frames = [varied(rng, symbol, count) for symbol, count in zip(symbols, natural.reshape(-1)[1:-1], strict=True)]
    sound = teacher._sound(ids, np.array([LEAD_FRAMES, *frames, TAIL_FRAMES], np.int64))
    owned = np.zeros(len(tokens))  # frames of each token; of a symbol for several tokens each has its share
    for places, count in zip(owners, frames, strict=True):
        owned[list(places)] += count / len(places)
    start = LEAD_FRAMES / FRAMES_PER_SECOND - EARLY_SECONDS
    lead = round(start * SAMPLING_RATE)
    return sound[lead:].astype(np.float32), (owned.cumsum() / FRAMES_PER_SECOND).tolist()


def varied(rng: Random, symbol: str, count: int) -> int:
    """Frames of a symbol: about as many as the teacher gives it, and more where somebody pauses."""
    frames = max(1, round(int(count) * float(np.exp(rng.gauss(0, JITTER)))))
    pause = symbol == " " and rng.random() < PAUSE_SHARE
    return frames + round(rng.uniform(*PAUSE_SECONDS) * FRAMES_PER_SECOND) * pause


def owned_symbols(teacher: Teacher, tokens: Sequence[str]) -> tuple[list[tuple[int, ...]], list[str]]:
    """The teacher's symbols, and for each the places of the tokens that it stands for.

    A token without a symbol has no time of its own.
    """
    owners, symbols, place = [], [], 0
    for spelt, size in spelt_symbols(tokens, np.ones(len(tokens))):
        places = tuple(range(place, place + round(size)))
        sounding = tuple(p for p in places if tokens[p] not in "ːʲ\u0329") or places
        for symbol in spelt:
            if symbol in teacher.vocabulary:
                owners.append(sounding)
                symbols.append(symbol)
        place += round(size)
    return owners, symbols


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), *map(int, sys.argv[4:]))
