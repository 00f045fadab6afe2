# SPDX-License-Identifier: Apache-2.0
"""List one language of Emilia for `zipvoice prepare`, without what does not suit training.

The corpus is as published: raw/EN/EN_B00000.jsonl and the like, with id, wav, text, duration and speaker of an
utterance to a line, and the recordings below raw/EN/. It has tens of millions of utterances, so the list is written in
pieces, in the order of the files: first emilia_EN-dev.tsv, then emilia_EN.00000000.tsv and so on.

An utterance is left out, and counted, if its text has Korean or Japanese letters, or neither Han nor Latin ones, or one
word ten times in a row, or is spoken slower than 20 or faster than 600 words a minute, a Han letter being a word.

usage: python local/prepare_emilia.py download/Amphion___Emilia EN data/lists
"""

import argparse
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from itertools import groupby, islice
from pathlib import Path

from zipvoice.files import write_text

NUM_DEV = 1500
PIECE = 10_000
HEADER = "id\ttext\taudio\tspeaker\n"
HAN = "\u4e00-\u9fa5"
JAMO = re.compile("[\u1100-\u11ff\u3131-\u318e]")
KANA = re.compile("[\u3041-\u3096\u30a0-\u30ff\uff5f-\uff9f\u31f0-\u31ff\u3220-\u3243\u3280-\u337f]")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="folder that holds raw/")
    parser.add_argument("language", choices=("EN", "ZH"), help="folder below raw/")
    parser.add_argument("lists", type=Path, help="folder to write the lists into")
    parser.add_argument("--num-dev", type=int, default=NUM_DEV, help="utterances for validation")
    parser.add_argument("--piece", type=int, default=PIECE, help="utterances in each list of the others")
    options = parser.parse_args()
    prepare(options.corpus / "raw" / options.language, options.lists, options.num_dev, options.piece)


def prepare(folder: Path, lists: Path, num_dev: int = NUM_DEV, piece: int = PIECE) -> None:
    """Write the lists of one language. Raises ValueError if there is nothing to train on, or for a broken line."""
    name = f"emilia_{folder.name}"
    for earlier in lists.glob(f"{name}.*.tsv"):
        earlier.unlink()
    left_out: Counter[str] = Counter()
    rows = suitable(folder, left_out)
    write_text(lists / f"{name}-dev.tsv", HEADER + "".join(islice(rows, num_dev)))
    total = 0
    while part := list(islice(rows, piece)):
        write_text(lists / f"{name}.{total // piece:08d}.tsv", HEADER + "".join(part))
        total += len(part)
    counts = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items())) or "none"
    if not total:
        raise ValueError(f"{folder} has no more than {num_dev} suitable utterances; left out: {counts}")
    print(f"{lists}/{name}: {total} utterances for training, {num_dev} for validation; left out: {counts}")


def suitable(folder: Path, left_out: "Counter[str]") -> Iterator[str]:
    """A line of the list for each utterance that suits; the others are counted by reason."""
    for utterance in utterances(folder):
        text = " ".join(utterance["text"].split())
        reason = unsuitable(text, utterance["duration"])
        if reason is None:
            yield f"{utterance['id']}\t{text}\t{folder / utterance['wav']}\t{utterance['speaker']}\n"
        else:
            left_out[reason] += 1


def utterances(folder: Path) -> Iterator[dict]:
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        raise ValueError(f"there is no .jsonl file in {folder}; Emilia has them in raw/EN and raw/ZH")
    for path in files:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    utterance = json.loads(line)
                    if missing := {"id", "wav", "text", "duration", "speaker"} - set(utterance):
                        raise ValueError(f"{', '.join(sorted(missing))} missing")
                except ValueError as error:
                    raise ValueError(f"{path}:{number}: {error}") from None
                yield utterance


def unsuitable(text: str, seconds: float) -> str | None:
    """Why an utterance is to be left out, if it is."""
    words = words_of(text)
    if JAMO.search(unicodedata.normalize("NFD", text)):
        return "with Korean letters"
    if KANA.search(text):
        return "with Japanese letters"
    if not words:
        return "without Han or Latin letters"
    if any(len(list(same)) >= 10 for _, same in groupby(words)):
        return "with a word ten times in a row"
    if seconds > 3 * len(words):
        return "slower than 20 words a minute"
    if seconds < len(words) / 10:
        return "faster than 600 words a minute"
    return None


def words_of(text: str) -> list[str]:
    """Han letters and runs of Latin ones, which anything else but a space does not part."""
    return re.findall(f"[{HAN}]|[A-Za-z]+", re.sub(f"[^{HAN}A-Za-z ]", "", text))


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        raise SystemExit(str(error)) from None
