# SPDX-License-Identifier: Apache-2.0
"""How many sentences of tests/data/text/reading_en.json or reading_zh.json are read right, by kind, ours and others.

    python benchmarks/reading.py [--language en] [--readers ours wetext nemo espeak num2words inflect] [--wrong ours]

The others are asked only if they are installed: `pip install wetext nemo_text_processing num2words inflect`, best in an
environment of their own. `espeak` is the text as it is, as the engine hears it; `num2words` and `inflect` replace each
run of digits. Each is asked for the words of every sentence; docs/text.md says what ours does.
"""

import argparse
import re
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from reading_table import Reader, rows, verdicts

from zipvoice.config.text import TokenizerConfig
from zipvoice.text.g2p.espeak import phonemes
from zipvoice.text.normalizer.english.letters import for_the_engine
from zipvoice.text.tokenizers import build_tokenizer


def ours() -> Reader:
    tokenizer = build_tokenizer(TokenizerConfig("emilia"))
    return lambda text: "".join(piece.text for piece in tokenizer.pieces(text))


def compatible() -> Reader:
    """The reference's rules; where its segments would be dropped, the text has no reading."""
    tokenizer = build_tokenizer(TokenizerConfig("emilia", compatible=True))
    return lambda text: "".join(piece.text for piece in tokenizer.pieces(text) if piece.tokens)


def wetext(language: str = "en") -> Reader:
    from wetext import Normalizer

    return Normalizer(lang=language, operator="tn").normalize


def wetext_zh() -> Reader:
    return wetext("zh")


def nemo() -> Reader:
    from nemo_text_processing.text_normalization.normalize import Normalizer

    return Normalizer(input_case="cased", lang="en").normalize


def espeak() -> Reader:
    return lambda text: text


def num2words() -> Reader:
    from num2words import num2words as to_words

    return lambda text: re.sub(r"\d+(?:\.\d+)?", lambda m: str(to_words(m[0])), text)


def inflect() -> Reader:
    from inflect import engine

    number_to_words = engine().number_to_words
    return lambda text: re.sub(r"\d[\d,]*(?:\.\d+)?(?:st|nd|rd|th)?", lambda m: str(number_to_words(m[0])), text)


READERS: dict[str, Callable[[], Reader]] = {
    f.__name__: f for f in (ours, compatible, wetext, wetext_zh, nemo, espeak, num2words, inflect)
}


def sound(text: str) -> list[str]:
    return phonemes(for_the_engine(text), "en-us")


def shares(name: str, language: str, part: str, show_wrong: bool) -> dict[str, tuple[int, int]]:
    """Right and all rows of each kind."""
    counts: dict[str, list[bool]] = defaultdict(list)
    heard = sound if language == "en" else list  # the English voice has one sound for all Chinese characters
    for row, spoken, right in verdicts(rows(f"reading_{language}.json", part), READERS[name](), heard):
        counts[row.kind].append(right)
        if show_wrong and not right:
            print(f"{part} {row.kind}: {row.text!r}\n    read {spoken!r}\n    not  {row.read!r}")
    return {kind: (sum(found), len(found)) for kind, found in counts.items()}


def percent(counts: dict[str, tuple[int, int]], kind: str | None = None) -> str:
    found = [counts[kind]] if kind else list(counts.values())
    right, total = (sum(column) for column in zip(*found, strict=True))
    return f"{100 * right / total:.0f}" if kind else f"{100 * right / total:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--language", choices=["en", "zh"], default="en")
    parser.add_argument("--readers", nargs="+", choices=READERS, default=["ours"])
    parser.add_argument("--wrong", choices=READERS, help="print what this reader gets wrong")
    parser.add_argument("--part", nargs="+", choices=["tuned", "held_out"], default=["tuned", "held_out"])
    options = parser.parse_args()
    for part in options.part:
        table = {name: shares(name, options.language, part, name == options.wrong) for name in options.readers}
        kinds = next(iter(table.values()))
        print(f"\n| {part} | sentences | " + " | ".join(table) + " |\n| --- |" + " --- |" * (len(table) + 1))
        for kind, (_, total) in kinds.items():
            print(f"| {kind} | {total} | " + " | ".join(percent(counts, kind) for counts in table.values()) + " |")
        total = sum(total for _, total in kinds.values())
        print(f"| **all** | {total} | " + " | ".join(f"**{percent(counts)}**" for counts in table.values()) + " |")


if __name__ == "__main__":
    main()
