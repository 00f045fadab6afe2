# SPDX-License-Identifier: Apache-2.0
"""Corpora in shards: written as lhotse reads them, read without their contents, trained on like any manifest."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from zipvoice.config.data import CheckOptions, DataConfig, ManifestConfig, PrepareOptions
from zipvoice.config.text import TokenizerConfig
from zipvoice.text.token_table import TokenTable
from zipvoice.text.tokenizers import build_tokenizer

lhotse = pytest.importorskip("lhotse")
from zipvoice.data.cuts import load_audio, load_features, read_cuts, stored_tokens  # noqa: E402
from zipvoice.data.dataset import TrainingData  # noqa: E402
from zipvoice.data.prepare import prepare  # noqa: E402
from zipvoice.data.shar import SharFolder  # noqa: E402
from zipvoice.data.validation.stats import measure_corpus  # noqa: E402

CORPUS = Path(__file__).parent / "data" / "corpus"
TABLE = TokenTable(("_", *sorted(set(" ',.ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"))))


def prepared(folder: Path, **options) -> str:
    options = {"storage": "numpy_files", "tokenizer": TokenizerConfig("simple"), **options}
    return prepare(PrepareOptions(str(CORPUS / "utterances.tsv"), str(folder), **options)).manifest


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> str:
    return prepared(tmp_path_factory.mktemp("manifest"), features=True)


@pytest.fixture(scope="module")
def features(tmp_path_factory) -> str:
    """Three shards of two, with features."""
    return prepared(tmp_path_factory.mktemp("features"), features=True, shar=True, shard_size=2)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> str:
    """Two shards of four and two, with sound."""
    return prepared(tmp_path_factory.mktemp("sounds"), shar=True, shard_size=4)


def test_a_shard_has_a_manifest_and_one_tar_file(features, sounds):
    assert sorted(path.name for path in Path(features).iterdir()) == [
        *(f"cuts.00000{i}.jsonl.gz" for i in range(3)),
        *(f"features.00000{i}.tar" for i in range(3)),
    ]
    assert sorted(path.name for path in Path(sounds).iterdir())[2:] == ["recording.000000.tar", "recording.000001.tar"]
    assert not list(Path(features).parent.glob("*pieces*"))


def test_stored_features_are_those_of_a_manifest(manifest, features):
    for one, other in zip(read_cuts(manifest), read_cuts(features), strict=True):
        assert (one.id, one.duration, stored_tokens(one)) == (other.id, other.duration, stored_tokens(other))
        assert np.array_equal(load_features(one, 100), load_features(other, 100))


def test_stored_sound_is_that_of_the_files_to_16_bits(manifest, sounds):
    for one, other in zip(read_cuts(manifest), read_cuts(sounds), strict=True):
        np.testing.assert_allclose(load_audio(one).samples, load_audio(other).samples, atol=2**-15, rtol=0)


@pytest.mark.skipif(sys.platform == "win32", reason="names of files have no colon there")
def test_a_folder_may_have_a_colon_in_its_name(features, tmp_path):
    moved = shutil.copytree(features, tmp_path / "2024-05-01 12:30")
    for one, other in zip(read_cuts(features), read_cuts(moved), strict=True):
        assert np.array_equal(load_features(one, 100), load_features(other, 100))


@pytest.mark.parametrize("features", [False, True])
def test_a_part_of_a_recording_is_the_whole_of_what_its_shard_holds(tmp_path, features):
    audio = next(CORPUS.glob("*.ogg"))
    rows = [f"{name}\tone\t{audio}\t{start}\t{end}" for name, start, end in (("a", 0.5, 1.0), ("b", 0.25, 0.75))]
    (tmp_path / "list.tsv").write_text("\n".join(rows))
    options = PrepareOptions(
        str(tmp_path / "list.tsv"), str(tmp_path / "out"), features=features, storage="numpy_files"
    )
    listed, sharded = (list(read_cuts(prepare(replace(options, shar=shar)).manifest)) for shar in (False, True))
    assert [cut.start for cut in listed] == [0.5, 0.25]
    for one, other in zip(listed, sharded, strict=True):
        assert (one.id, one.duration) == (other.id, other.duration)
        if features:
            np.testing.assert_array_equal(load_features(other, 100), load_features(one, 100))
        else:
            np.testing.assert_allclose(load_audio(other).samples, load_audio(one).samples, atol=1 / 32768)


def test_lhotse_reads_what_we_write(features, sounds):
    for own, theirs in zip(read_cuts(features), lhotse.CutSet.from_shar(in_dir=features), strict=True):
        np.testing.assert_array_equal(load_features(own, 100), theirs.load_features())
    for own, theirs in zip(read_cuts(sounds), lhotse.CutSet.from_shar(in_dir=sounds), strict=True):
        np.testing.assert_array_equal(load_audio(own).samples, theirs.load_audio())


@pytest.mark.parametrize("compression", ["lilcom", "numpy"])
def test_we_read_what_lhotse_writes(manifest, tmp_path, compression):
    cuts = list(read_cuts(manifest))
    cuts[1] = cuts[1].drop_features()
    lhotse.CutSet.from_cuts(cuts).to_shar(tmp_path, {"features": compression, "recording": "flac"}, shard_size=4)
    for own, cut in zip(read_cuts(tmp_path), cuts, strict=True):
        np.testing.assert_allclose(load_audio(own).samples, load_audio(cut).samples, atol=2**-15, rtol=0)
        assert own.has_features == cut.has_features
        if cut.has_features:
            np.testing.assert_allclose(load_features(own, 100), load_features(cut, 100), atol=2**-6 + 1e-4, rtol=0)


def test_shards_of_others_are_checked_like_manifests(manifest, tmp_path):
    cuts = [cut.drop_features() for cut in read_cuts(manifest)]
    cuts[1] = cuts[1].drop_supervisions()
    cuts[2] = cuts[2].map_supervisions(lambda s: s.transform_text(lambda text: None))
    lhotse.CutSet.from_cuts(cuts).to_shar(tmp_path, {"recording": "flac"}, shard_size=4)
    found = measure_corpus(CheckOptions(str(tmp_path)))
    assert [one.id for one in found.utterances] == [cuts[0].id, *(cut.id for cut in cuts[3:])]
    assert len(found.bad_rows) == 2
    assert f"{cuts[1].id!r} has 0 supervisions" in found.bad_rows[0]
    assert found.bad_rows[1].endswith(f"the text of {cuts[2].id!r} is empty")


def test_reading_holds_no_contents(features, monkeypatch):
    monkeypatch.setattr("zipvoice.data.shar.read_place", None)
    assert all(len(cut.features.storage_key) < 1000 for cut in read_cuts(features))


def test_shards_come_in_random_order_whole(features):
    ids = [cut.id for cut in SharFolder(features)]
    order = Random(0)
    shuffled = [[cut.id for cut in SharFolder(features, order)] for _ in range(4)]
    assert len({tuple(some) for some in shuffled}) > 1
    pairs = {tuple(ids[i : i + 2]) for i in (0, 2, 4)}
    assert all({tuple(some[i : i + 2]) for i in (0, 2, 4)} == pairs for some in shuffled)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("shuffle", [False, True])
def test_training_on_shards_is_training_on_a_manifest(manifest, features, num_workers, shuffle):
    """The same batches in order of the list; at random the same utterances."""

    def epoch(path):
        settings = DataConfig((ManifestConfig(path),), max_duration=3.0, min_len=0.1, shuffle=shuffle)
        settings = replace(settings, num_workers=num_workers)
        data = TrainingData(settings, TABLE, build_tokenizer(TokenizerConfig("simple")), seed=0)
        batches = []
        while data.epoch == 0:
            batches.append(next(data))
        return batches

    one, other = epoch(manifest), epoch(features)
    if shuffle:
        assert sorted(name for batch in one for name in batch.ids) == sorted(
            name for batch in other for name in batch.ids
        )
        return
    for batch, same in zip(one, other, strict=True):
        assert (batch.ids, batch.tokens) == (same.ids, same.tokens)
        assert np.array_equal(batch.features, same.features)


# ---------------------------------------------------------------- what can be wrong with a copy


@pytest.fixture
def copy(features, tmp_path) -> Path:
    return Path(shutil.copytree(features, tmp_path / "copy"))


def test_a_missing_file_is_an_error(copy):
    (copy / "features.000001.tar").unlink()
    with pytest.raises(ValueError, match=r"copy has cuts\.000001\.jsonl\.gz, but no features of that number"):
        read_cuts(copy)


def test_a_file_of_another_shard_is_an_error(copy):
    shutil.copy(copy / "features.000001.tar", copy / "features.000000.tar")
    with pytest.raises(
        ValueError, match=r"features\.000000\.tar holds 'arctic_\w+' where cuts\.000000\.jsonl\.gz lists 'arc"
    ):
        list(read_cuts(copy))


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.6, 0.9])
def test_a_file_that_breaks_off_is_an_error(copy, keep):
    whole = (copy / "features.000000.tar").read_bytes().rstrip(b"\0")
    (copy / "features.000000.tar").write_bytes(whole[: round(keep * len(whole))])
    with pytest.raises(ValueError, match=r"features\.000000\.tar (is not a whole tar file|ends where)"):
        list(read_cuts(copy))


def test_a_folder_without_shards_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="there is no manifest"):
        read_cuts(tmp_path)
