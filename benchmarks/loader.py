# SPDX-License-Identifier: Apache-2.0
"""How fast training data come from a core, beside how fast the full-size model takes them.

python benchmarks/loader.py
python benchmarks/loader.py --padding data/*/utterances.tsv

The corpus is that of the five-minute recipe, many times over, kept in four ways. What is measured is processor time of
one thread, so that the result holds on a machine that does other work too, and for any number of loader processes: to
read so many batches, and for a training step of the full-size base model, of two utterances of 10 seconds in float32.

With --padding nothing is loaded: the share of padding in the batches of tables that have a column of seconds, of the
five-minute recipe and of the sounds that the first line of the other table is of, for batches of several sizes.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from random import Random

import soundfile
import torch

from zipvoice.config.data import DataConfig, ManifestConfig, PrepareOptions
from zipvoice.config.model import ModelConfig, Vocabulary
from zipvoice.config.text import TokenizerConfig
from zipvoice.data.collate import Batch
from zipvoice.data.dataset import TrainingData
from zipvoice.data.prepare import prepare
from zipvoice.data.sampler import BucketSampler, bucket_begins
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.text.token_table import TokenTable
from zipvoice.text.tokenizers import build_tokenizer
from zipvoice.training.objectives import BASE_MASK, ConditionMask, FlowMatching
from zipvoice.training.optimizer import ScaledAdam, parameter_groups

CORPUS = Path(__file__).parents[1] / "egs/mini/corpus"
LISTS = ("train.tsv", "lj_train.tsv")
NUM_SIMULATED = 20_000
LIMITS, NUM_EPOCHS = (16.0, 60.0, 200.0, 500.0), 5
FRAMES, FRAMES_PER_SECOND, NUM_TOKENS = 937, 93.75, 150
TOKENIZER = TokenizerConfig("simple")
WAYS = {  # name -> whether features are stored, and whether in shards
    "features in a manifest": (True, False),
    "features in shards": (True, True),
    "sound in files": (False, False),
    "sound in shards": (False, True),
}


@dataclass(frozen=True)
class Rate:
    """How much comes in a second of processor time."""

    first: float
    """Seconds to the first batch: the corpus is looked through, and the buffer filled."""
    batches: float
    audio: float
    """Seconds of audio, without padding."""


def main() -> None:
    """Print a row for each way to keep the corpus."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copies", type=int, default=50, help="how many times over the corpus is")
    parser.add_argument("--batches", type=int, default=50, help="how many are read")
    parser.add_argument("--steps", type=int, default=3, help="how many training steps the fastest is taken of")
    parser.add_argument("--padding", nargs="*", type=Path, metavar="TABLE", help="tables with a column of seconds")
    arguments = parser.parse_args()
    if arguments.padding is not None:
        print("\n".join(padding_table(arguments.padding)))
        return
    torch.set_num_threads(1)
    consumed = 2 * FRAMES / FRAMES_PER_SECOND / min(islice(training_steps(), arguments.steps))
    print(f"training takes {consumed:.2f} s of audio in a second of one core", flush=True)
    print(packing(NUM_SIMULATED, 8))
    print(f"batches of {DataConfig.max_duration:.0f} s with padding; rates are those of one core")
    print("data                    prepared  first batch  batches/s  audio s/s  / training")
    with tempfile.TemporaryDirectory() as folder:
        source, table = write_list(Path(folder), arguments.copies)
        for name, (features, shar) in WAYS.items():
            options = PrepareOptions(str(source), str(Path(folder) / name), tokenizer=TOKENIZER)
            start = time.process_time()
            corpus = prepare(replace(options, features=features, shar=shar))
            speed = 3600 * corpus.hours / (time.process_time() - start)
            config = DataConfig((ManifestConfig(corpus.manifest),), on_the_fly=not features, num_workers=0)
            rate = read(config, table, arguments.batches)
            print(
                f"{name:22}  {speed:4.0f} s/s  {rate.first:9.2f} s  {rate.batches:9.2f}  {rate.audio:9.0f}"
                f"  {rate.audio / consumed:10.0f}",
                flush=True,
            )


@dataclass(frozen=True)
class Sound:
    """What lasts so long."""

    duration: float


def packing(number: int, world_size: int) -> str:
    """How well so many sounds fill the batches for some processes."""
    random = Random(0)
    sounds = simulated(number, random)
    limit, seconds = DataConfig.max_duration, [sound.duration for sound in sounds]
    start = time.process_time()
    batches = bucketed(sounds, limit, world_size, random)
    took = time.process_time() - start
    padded = [padded_seconds(batch) for batch in batches]
    busiest = world_size * sum(max(padded[i : i + world_size]) for i in range(0, len(padded), world_size))
    return (
        f"{number} sounds for {world_size} processes: {1000 * took / len(batches):.2f} ms a batch, batches are "
        f"{sum(padded) / len(batches) / limit:.1%} full, {sum(seconds) / sum(padded):.1%} of that is speech, "
        f"{1 - sum(padded) / busiest:.1%} of the time is spent waiting for others"
    )


def simulated(number: int, random: Random) -> list[Sound]:
    """Sounds of 1 to 30 seconds, most of them of 4 to 9."""
    return [Sound(min(30.0, max(1.0, random.lognormvariate(1.8, 0.6)))) for _ in range(number)]


def bucketed(sounds: Sequence[Sound], limit: float, world_size: int, random: Random) -> list[list[Sound]]:
    """The batches of an epoch of a corpus as training makes them."""
    seconds = [sound.duration for sound in sounds]
    begins = bucket_begins(seconds, len(sounds) < NUM_SIMULATED, DataConfig.num_buckets, limit, world_size)
    return list(BucketSampler(begins, limit, DataConfig.buffer_size).batches(sounds, world_size, random))


def padded_seconds(batch: Sequence[Sound]) -> float:
    """Of a batch, padding included."""
    return len(batch) * max(sound.duration for sound in batch)


def padding_table(tables: Sequence[Path]) -> Iterator[str]:
    """The share of padding of each corpus, and of all together, in batches of some sizes."""
    corpora = {table.parent.name: seconds_of(table) for table in tables}
    corpora["all of these"] = [seconds for each in corpora.values() for seconds in each]
    corpora["simulated"] = [sound.duration for sound in simulated(NUM_SIMULATED, Random(0))]
    corpora["egs/mini"] = [
        soundfile.info(CORPUS / line.split("\t")[2]).duration
        for line in (CORPUS / "train.tsv").read_text(encoding="utf-8").splitlines()
    ]
    yield f"{'padding':<20}{'utterances':>10}" + "".join(f"{f'{limit:g} s':>9}" for limit in LIMITS)
    for name, seconds in corpora.items():
        sounds = [Sound(each) for each in seconds if DataConfig.min_len <= each <= DataConfig.max_len]
        if sounds:
            shares = [padding(sounds, limit) for limit in LIMITS]
            yield f"{name:<20}{len(sounds):>10}" + "".join(f"{share:>9.1%}" for share in shares)


def padding(sounds: Sequence[Sound], limit: float) -> float:
    """The share of padding in the batches of some epochs."""
    batches = [batch for epoch in range(NUM_EPOCHS) for batch in bucketed(sounds, limit, 1, Random(epoch))]
    return 1 - NUM_EPOCHS * sum(sound.duration for sound in sounds) / sum(map(padded_seconds, batches))


def seconds_of(table: Path) -> list[float]:
    """The column of seconds of a table with a header."""
    header, *rows = (line.split("\t") for line in table.read_text(encoding="utf-8").splitlines())
    return [float(row[header.index("seconds")]) for row in rows]


def write_list(folder: Path, copies: int) -> tuple[Path, TokenTable]:
    """The list of all recordings so many times over, and a table of its characters."""
    rows = [line.split("\t") for name in LISTS for line in (CORPUS / name).read_text(encoding="utf-8").splitlines()]
    lines = [f"{copy}-{name}\t{text}\t{CORPUS / audio}" for copy in range(copies) for name, text, audio in rows]
    (folder / "list.tsv").write_text("\n".join(lines), encoding="utf-8")
    return folder / "list.tsv", TokenTable(("_", *sorted({c for _, text, _ in rows for c in text})))


def read(config: DataConfig, table: TokenTable, num_batches: int) -> Rate:
    """Take a first batch and then so many more."""
    start = time.process_time()
    data = TrainingData(config, table, build_tokenizer(TOKENIZER), seed=0)
    next(data)
    ready = time.process_time()
    frames = sum(int(next(data).feature_lens.sum()) for _ in range(num_batches))
    took = time.process_time() - ready
    return Rate(ready - start, num_batches / took, frames / FRAMES_PER_SECOND / took)


def training_steps() -> Iterator[float]:
    """The seconds of processor time of training steps, without end."""
    torch.manual_seed(0)
    model = ZipVoice(ModelConfig(), Vocabulary(360)).train()
    model.set_batch_count(20_000)
    objective = FlowMatching(ConditionMask(BASE_MASK, "span"))
    optimizer = ScaledAdam(parameter_groups(model, 1e-3), clipping_scale=2.0)
    tokens = torch.randint(1, 360, (2, NUM_TOKENS)).tolist()
    batch = Batch(torch.randn(2, FRAMES, 100), torch.full((2,), FRAMES), tokens, ["a", "b"], ["a", "b"])
    generator = torch.Generator().manual_seed(0)
    while True:
        start = time.process_time()
        objective(model, batch, generator).value.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        yield time.process_time() - start


if __name__ == "__main__":
    main()
