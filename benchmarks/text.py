# SPDX-License-Identifier: Apache-2.0
"""Characters per second of each tokenizer, and the time to load what it needs.

    python benchmarks/text.py [--characters 100000]

Prints one line per tokenizer: start-up in a fresh process (imports, dictionaries, the first sentence) and throughput
afterwards on sentences that all differ, so that no cache helps. One thread.
"""

import argparse
import platform
import random
import subprocess
import sys
import time

from zipvoice.config.text import TokenizerConfig
from zipvoice.text.tokenizers import build_tokenizer

ENGLISH = [
    "time", "river", "morning", "letter", "window", "garden", "music", "winter", "silver", "answer", "market",
    "bridge", "story", "harbor", "candle",
]  # fmt: skip
CHINESE = [
    "时间", "河流", "早晨", "信件", "窗户", "花园", "音乐", "冬天", "银色", "回答", "市场", "桥梁", "故事", "港口",
    "蜡烛", "我们", "昨天", "看见", "非常", "漂亮",
]  # fmt: skip

CASES = {
    "emilia, English": (TokenizerConfig("emilia"), "english"),
    "emilia, Chinese": (TokenizerConfig("emilia"), "chinese"),
    "espeak, en-us": (TokenizerConfig("espeak", "en-us"), "english"),
    "libritts": (TokenizerConfig("libritts"), "english"),
    "simple": (TokenizerConfig("simple"), "english"),
}


def sentences(language: str, characters: int) -> list[str]:
    """Sentences of ten words with a number, some `characters` long together; the same on every run."""
    rng = random.Random(0)
    words, space, stop = (CHINESE, "", "。") if language == "chinese" else (ENGLISH, " ", ".")
    result: list[str] = []
    while sum(map(len, result)) < characters:
        parts = [rng.choice(words) for _ in range(9)]
        parts.insert(rng.randrange(9), str(rng.randrange(10000)))
        result.append(space.join(parts) + stop)
    return result


def start_up_seconds(config: TokenizerConfig, text: str) -> float:
    """From nothing to the tokens of the first sentence, in a process of its own, without Python's own start."""
    code = (
        "import time; start = time.perf_counter(); "
        "from zipvoice.config.text import TokenizerConfig; from zipvoice.text.tokenizers import build_tokenizer; "
        f"build_tokenizer({config!r}).tokens({text!r}); print(time.perf_counter() - start)"
    )
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def characters_per_second(config: TokenizerConfig, texts: list[str]) -> float:
    tokenizer = build_tokenizer(config)
    tokenizer.tokens(texts[0])
    start = time.process_time()  # of one thread, whatever else the machine does
    for text in texts:
        tokenizer.tokens(text)
    return sum(map(len, texts)) / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--characters", type=int, default=100_000, help="length of the text (default: %(default)s)")
    characters = parser.parse_args().characters
    print(f"Python {platform.python_version()}, {platform.machine()}, one thread, {characters} characters")
    print(f"{'tokenizer':<18}{'start-up, s':>12}{'characters/s':>14}")
    for name, (config, language) in CASES.items():
        texts = sentences(language, characters)
        start_up, speed = start_up_seconds(config, texts[0]), characters_per_second(config, texts)
        print(f"{name:<18}{start_up:>12.2f}{speed:>14,.0f}")


if __name__ == "__main__":
    main()
