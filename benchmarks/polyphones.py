# SPDX-License-Identifier: Apache-2.0
"""How many words of tests/data/text/polyphones.json are read right, and how fast: ours and others side by side.

    python benchmarks/polyphones.py [--readers ours words cut g2pm large_pinyin]

`words` is pypinyin on the words of jieba, as in the reference; `cut` is pypinyin with its own cut, `large_pinyin` that
with the largest dictionary of pypinyin-dict. The others are asked only if they are installed:
`pip install g2pM pypinyin-dict`. A word is right if all its syllables are, with or without the sandhi of third tones;
the second figure leaves the tones out.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from zipvoice.text.g2p import pinyin

TABLE = Path(__file__).resolve().parents[1] / "tests" / "data" / "text" / "polyphones.json"
Reader = Callable[[str], Sequence[str]]


def ours() -> Reader:
    return pinyin.readings


def words() -> Reader:
    return _pypinyin(pinyin.words)


def cut() -> Reader:
    return _pypinyin(lambda text: text)


def large_pinyin() -> Reader:
    """Loads its phrases into pypinyin for good, so it must be the last."""
    from pypinyin_dict.phrase_pinyin_data import large_pinyin

    large_pinyin.load()
    return cut()


def g2pm() -> Reader:
    from g2pM import G2pM

    model = G2pM()
    return lambda text: model(text, tone=True, char_split=False)


def _pypinyin(cutter: Callable[[str], str | list[str]]) -> Reader:
    from pypinyin import Style, lazy_pinyin

    return lambda text: lazy_pinyin(cutter(text), style=Style.TONE3, tone_sandhi=True, neutral_tone_with_five=True)


READERS = {f.__name__: f for f in (ours, words, cut, g2pm, large_pinyin)}


def is_right(found: Sequence[str], expected: str, with_tones: bool) -> bool:
    """True if every syllable is the expected one."""
    syllables = expected.replace("ü", "v").split()
    if len(found) != len(syllables):
        return False
    following = [*syllables[1:], "  "]
    for heard, right, after in zip(found, syllables, following, strict=True):
        heard = heard.replace("u:", "v")
        raised = right[:-1] + "2" if right[-1] == after[-1] == "3" else right
        if not (heard in (right, raised) if with_tones else heard[:-1] == right[:-1]):
            return False
    return True


def share(table: Sequence[dict[str, list[str]]], found: Sequence[Sequence[str]], with_tones: bool) -> float:
    pairs = zip(table, found, strict=True)
    right = [any(is_right(syllables, expected, with_tones) for expected in row["pinyin"]) for row, syllables in pairs]
    return 100 * sum(right) / len(right)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", nargs="+", choices=READERS, default=["ours", "words", "cut"])
    parser.add_argument("--wrong", choices=READERS, help="print what this reader gets wrong")
    options = parser.parse_args()
    table = json.loads(TABLE.read_text(encoding="utf-8"))["words"]
    parts = {"tuned": [r for r in table if not r.get("held_out")], "held out": [r for r in table if r.get("held_out")]}
    print("| reader | part | words | right, % | without tones, % | characters/s |\n" + "| --- " * 6 + "|")
    for name in options.readers:
        read = READERS[name]()
        read("热身")
        for part, rows in parts.items():
            start = time.process_time()
            found = [read(row["text"]) for row in rows]
            speed = sum(len(row["text"]) for row in rows) / (time.process_time() - start)
            figures = f"{share(rows, found, True):.1f} | {share(rows, found, False):.1f} | {speed:,.0f}"
            print(f"| {name} | {part} | {len(rows)} | {figures} |")
            for row, syllables in zip(rows, found, strict=True) if name == options.wrong else ():
                if not any(is_right(syllables, expected, True) for expected in row["pinyin"]):
                    print(row["text"], *syllables)


if __name__ == "__main__":
    main()
