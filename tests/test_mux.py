# SPDX-License-Identifier: Apache-2.0
"""Several manifests, read together."""

import gc
import gzip
import json
from collections import Counter
from fractions import Fraction
from itertools import islice
from random import Random

import pytest

from zipvoice.config.data import DataConfig, ManifestConfig
from zipvoice.config.text import TokenizerConfig
from zipvoice.config.training import RunConfig
from zipvoice.text.token_table import TokenTable
from zipvoice.text.tokenizers import build_tokenizer

lhotse = pytest.importorskip("lhotse")
from zipvoice.data.cuts import make_cut, read_cuts, write_cuts  # noqa: E402
from zipvoice.data.dataset import TrainingData  # noqa: E402
from zipvoice.data.manifest import Manifest  # noqa: E402
from zipvoice.data.mux import mux  # noqa: E402
from zipvoice.data.vocabulary import count_tokens  # noqa: E402


def written(folder, name: str, count: int, suffix: str = ".jsonl.gz") -> str:
    """A manifest of cuts name0, name1, ... of a recording that nobody listens to."""
    source = lhotse.Recording("r", [lhotse.audio.AudioSource("file", [0], "none.wav")], 24000, 240000, 10.0, [0])
    cuts = (make_cut(f"{name}{i}", "a b", source, end=1.0 + i % 7) for i in range(count))
    path = folder / f"{name}{suffix}"
    write_cuts(path, cuts)
    if suffix == ".jsonl":
        path.write_bytes(gzip.decompress(path.read_bytes()))
    return str(path)


def ids(*manifests: ManifestConfig, order: Random | None = None) -> list[str]:
    return [cut.id for cut in mux(manifests, iter, order)]


def test_equal_weights_are_a_concatenation_evenly_mixed(tmp_path):
    a, b = (ManifestConfig(written(tmp_path, name, count)) for name, count in (("a", 3), ("b", 5)))
    assert ids(a, b) == ["a0", "b0", "a1", "b1", "a2", "b2", "b3", "b4"]


@pytest.mark.parametrize("weight", [0.5, 2.0, 3.0, 7.5])
def test_weights_hold_in_every_stretch_as_long_as_both_last(tmp_path, weight):
    a, b = ManifestConfig(written(tmp_path, "a", 300), weight), ManifestConfig(written(tmp_path, "b", 300))
    mixture = ids(a, b)
    assert sorted(mixture) == sorted([*(f"a{i}" for i in range(300)), *(f"b{i}" for i in range(300))])
    for length in range(1, 300):
        share = sum(name[0] == "a" for name in mixture[:length])
        assert abs(share - length * weight / (weight + 1)) <= 1


def test_a_repeated_manifest_comes_so_many_times(tmp_path):
    assert Counter(ids(ManifestConfig(written(tmp_path, "a", 3), repeat=4))) == {"a0": 4, "a1": 4, "a2": 4}


@pytest.mark.parametrize("share", ["0.01", "0.2", "0.5", "0.9"])
@pytest.mark.parametrize("order", [None, Random(1)])
def test_a_replayed_manifest_has_its_share_and_does_not_lengthen_an_epoch(tmp_path, share, order):
    """Of n utterances of the others' and m replayed, m / (n + m) is the share: m = n * share / (1 - share)."""
    own, old = written(tmp_path, "own", 1000), written(tmp_path, "old", 30)
    mixture = ids(ManifestConfig(own), ManifestConfig(old, replay=float(share)), order=order)
    assert [name for name in mixture if name.startswith("own")] == [f"own{i}" for i in range(1000)]
    expected = 1000 * Fraction(share) / (1 - Fraction(share))
    replayed = [int(name.removeprefix("old")) for name in mixture if name.startswith("old")]
    assert abs(len(replayed) - expected) <= 1
    assert replayed == [(replayed[0] + i) % 30 for i in range(len(replayed))]
    for length in range(100, len(mixture), 100):
        part = sum(name.startswith("old") for name in mixture[:length])
        assert abs(part - length * float(share)) <= max(1, float(share) / (1 - float(share)))


def test_shares_of_several_replayed_manifests_are_of_the_whole(tmp_path):
    own, old, older = (written(tmp_path, name, 100) for name in ("own", "old", "elder"))
    counts = Counter(
        name[:2]
        for name in ids(ManifestConfig(own), ManifestConfig(old, replay=0.25), ManifestConfig(older, replay=0.5))
    )
    assert counts == {"ow": 100, "ol": 100, "el": 200}


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
def test_a_manifest_is_read_from_any_line(tmp_path, suffix):
    path = written(tmp_path, "a", 5, suffix)
    assert [[cut.id for cut in Manifest(path, first)] for first in (0, 1, 4, 5)] == [
        ["a0", "a1", "a2", "a3", "a4"], ["a1", "a2", "a3", "a4"], ["a4"], []
    ]  # fmt: skip


def test_every_epoch_replays_another_part(tmp_path):
    own, old = written(tmp_path, "own", 4), written(tmp_path, "old", 1000, ".jsonl")
    manifests = ManifestConfig(own), ManifestConfig(old, replay=0.5)
    epochs = [tuple(ids(*manifests, order=Random(f"0 {epoch}"))) for epoch in range(3)]
    assert len(set(epochs)) == 3
    assert tuple(ids(*manifests, order=Random("0 1"))) == epochs[1]


def test_tokens_are_counted_where_they_are_learned(tmp_path):
    """Of two utterances of each length from 1 to 7 s: not in those left out, nor in what is replayed."""
    own, old = (ManifestConfig(written(tmp_path, "own", 14)), ManifestConfig(written(tmp_path, "old", 30), replay=0.5))
    data = DataConfig((own, old), (ManifestConfig(own.path),), min_len=2.0, max_len=5.0)
    config = RunConfig(data=data, tokenizer=TokenizerConfig("simple"))
    assert count_tokens(config, TokenTable(("_",))) == {"a": 8, " ": 8, "b": 8}


def test_a_cut_that_says_nothing_is_named_also_where_tokens_are_counted(tmp_path):
    cuts = [*read_cuts(written(tmp_path, "own", 2))]
    config = RunConfig(data=DataConfig((ManifestConfig(str(tmp_path / "odd.jsonl.gz")),)))
    for odd, told in (
        (cuts[1].drop_supervisions(), "'own1' has 0 supervisions, and needs exactly one"),
        (cuts[1].map_supervisions(lambda s: s.transform_text(lambda text: None)), "the text of 'own1' is empty"),
    ):
        write_cuts(tmp_path / "odd.jsonl.gz", [cuts[0], odd])
        with pytest.raises(ValueError, match=told):
            count_tokens(config, TokenTable(("_",)))
        with pytest.raises(ValueError, match=told):
            TrainingData(config.data, TokenTable(("_", *"ab ")), build_tokenizer(TokenizerConfig("simple")), seed=0)


def test_a_replayed_manifest_without_usable_utterances_is_an_error(tmp_path):
    own, old = written(tmp_path, "own", 50), written(tmp_path, "old", 1)  # of 1 s
    config = DataConfig((ManifestConfig(own), ManifestConfig(old, replay=0.5)), min_len=2.0, num_workers=0)
    with pytest.raises(ValueError, match=r"no usable utterance in .*old\.jsonl\.gz, which is to be replayed"):
        next(TrainingData(config, TokenTable(("_", "a", "b", " ")), build_tokenizer(TokenizerConfig("simple")), seed=0))


@pytest.mark.slow
def test_memory_holds_the_buffer_and_no_more(tmp_path, monkeypatch):
    """Of 20 000 cuts as many are alive at any time as the buffer holds, and a batch or two."""
    path = written(tmp_path, "many", 20_000, ".jsonl")
    config = DataConfig((ManifestConfig(path),), max_duration=60.0, buffer_size=500, num_buckets=3, num_workers=0)
    data = TrainingData(config, TokenTable(("_", "a", "b", " ")), build_tokenizer(TokenizerConfig("simple")), seed=0)
    selections = data._order.selections(0, data._position, 0, 1)
    needed = sum(60 // begin + 1 for begin in (1, 2, 4, 5))
    seen, most = 0, 0
    for number, selection in enumerate(islice(selections, 900)):
        seen += len(selection.utterances)
        if number % 100 == 0:
            most = max(most, sum(type(item) is lhotse.MonoCut for item in gc.get_objects()))
    assert seen > 10_000
    assert most <= 500 + needed + 2 * 60


def test_lines_are_cuts_whatever_wrote_them(tmp_path):
    """What lhotse writes is read alike, from a random line on too."""
    path = written(tmp_path, "a", 5)
    lhotse.CutSet.from_jsonl_lazy(path).to_file(tmp_path / "theirs.jsonl")
    assert [json.loads(line)["id"] for line in (tmp_path / "theirs.jsonl").read_text().splitlines()] == [
        f"a{i}" for i in range(5)
    ]
    own = ManifestConfig(path)
    theirs = ManifestConfig(str(tmp_path / "theirs.jsonl"), replay=0.5)
    assert sorted(ids(own, theirs, order=Random(3))[1::2]) == [f"a{i}" for i in range(5)]
