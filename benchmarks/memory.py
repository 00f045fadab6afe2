# SPDX-License-Identifier: Apache-2.0
"""Memory of this process over many short texts, and over one long text that is written while it is made.

python benchmarks/memory.py --plot docs/memory.png

The model is small and random: what is measured is everything around it, where memory could pile up. With --model it is
a real one. Linux only (/proc). The plot needs matplotlib, which comes with the extra `evaluation`.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from zipvoice import Audio, Prompt, SynthesisOptions, Synthesizer, load
from zipvoice.config.model import FeatureConfig, ModelConfig
from zipvoice.config.model_file import ModelFile
from zipvoice.config.text import TokenizerConfig
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.pretrained import save_pretrained
from zipvoice.synthesis.output import write_parts
from zipvoice.text.token_table import TokenTable

SMALL = ModelConfig(
    fm_decoder_num_layers=(1, 1, 1, 1, 1),
    fm_decoder_feedforward_dim=32,
    fm_decoder_dim=24,
    text_encoder_num_layers=1,
    text_encoder_feedforward_dim=24,
    text_encoder_dim=16,
    query_head_dim=4,
    value_head_dim=4,
    pos_head_dim=2,
    pos_dim=8,
    time_embed_dim=16,
    text_embed_dim=16,
)
SENTENCE = "the quick brown fox jumps over the lazy dog, and then it rests. "
QUICK = SynthesisOptions(num_steps=1, guidance_scale=0.0, max_batch_seconds=50.0)


def main() -> None:
    """Measure, print, and plot where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="model directory or released name; by default a small random one")
    parser.add_argument("--calls", type=int, default=1000, help="short texts")
    parser.add_argument("--characters", type=int, default=200_000, help="length of the long text")
    parser.add_argument("--plot", type=Path, help="write the curves to this picture")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        synthesizer = load(arguments.model or random_model(Path(folder)), vocoder="griffin-lim", device="cpu")
        if arguments.model is None:
            synthesizer.vocoder = quick_vocoder
        prompt = synthesizer.prompt(noise(1.0), "a recording of noise")
        curves = {
            f"{arguments.calls} short texts": list(short_texts(synthesizer, prompt, arguments.calls)),
            f"one text of {arguments.characters} characters": list(
                long_text(synthesizer, prompt, arguments.characters, Path(folder) / "long.wav")
            ),
        }
    for name, curve in curves.items():
        settled = curve[len(curve) // 10 :]
        sys.stdout.write(
            f"{name}: {settled[0]:.0f} MB after a tenth, {settled[-1]:.0f} MB at the end, at most {max(curve):.0f} MB\n"
        )
    if arguments.plot:
        plot(curves, arguments.plot)


def short_texts(synthesizer: Synthesizer, prompt: Prompt, num_calls: int) -> Iterator[float]:
    """Memory after each call; the texts differ in length."""
    for call in range(num_calls):
        synthesizer.synthesize(SENTENCE[: 5 + 7 * call % 50], prompt, QUICK, name=str(call))
        yield megabytes()


def long_text(synthesizer: Synthesizer, prompt: Prompt, num_characters: int, path: Path) -> Iterator[float]:
    """Memory after each part of a text of paragraphs, given line by line."""
    num_lines = num_characters // len(SENTENCE)
    lines = (SENTENCE + ("\n\n" if line % 10 == 9 else "\n") for line in range(num_lines))
    measured: list[float] = []

    def watched() -> Iterator[Audio]:
        for part in synthesizer.parts(lines, prompt, QUICK):
            measured.append(megabytes())
            yield part

    seconds = write_parts(path, watched())
    sys.stdout.write(f"the long text is {seconds / 3600:.2f} hours of speech\n")
    yield from measured


def quick_vocoder(log_mel: np.ndarray) -> np.ndarray:
    """Stands in for a vocoder: samples of the right number, from the lowest band."""
    return np.tanh(log_mel[:, 0, 1:].repeat(256, axis=1))


def noise(seconds: float) -> Audio:
    samples = np.random.default_rng(0).standard_normal((1, round(24000 * seconds)), np.float32)
    return Audio(np.float32(0.1) * samples, 24000)


def random_model(directory: Path) -> Path:
    table = TokenTable(("_", *" .,abcdefghijklmnopqrstuvwxyz"))
    model = ZipVoice(SMALL, table.vocabulary)
    file = ModelFile(SMALL, FeatureConfig(), "zipvoice", TokenizerConfig("simple"))
    save_pretrained(directory, model.state_dict(), file, table)
    return directory


def megabytes() -> float:
    """Memory of this process that is in use now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def plot(curves: dict[str, list[float]], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
    for name, curve in curves.items():
        axes.plot([100 * i / len(curve) for i in range(len(curve))], curve, label=name)
    axes.set(xlabel="% of the work", ylabel="memory of the process, MB", ylim=(0, None))
    axes.legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
