# SPDX-License-Identifier: Apache-2.0
"""Batches: what is in them, and in which order they come."""

import logging
import math
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from zipvoice.audio.mel import num_frames
from zipvoice.config.data import DataConfig, ManifestConfig, PrepareOptions
from zipvoice.config.text import TokenizerConfig
from zipvoice.text.token_table import TokenTable
from zipvoice.text.tokenizers import build_tokenizer

lhotse = pytest.importorskip("lhotse")
from zipvoice.data.collate import Batch, collate  # noqa: E402
from zipvoice.data.cuts import load_features, read_cuts, with_tokens, write_cuts  # noqa: E402
from zipvoice.data.dataset import TrainingData, ValidationData  # noqa: E402
from zipvoice.data.prepare import prepare  # noqa: E402

CORPUS = Path(__file__).parent / "data" / "corpus"
TOKENIZER = build_tokenizer(TokenizerConfig("simple"))
TABLE = TokenTable(("_", *sorted(set(" ',.ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"))))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> str:
    """The six utterances with exactly stored features, without tokens."""
    folder = tmp_path_factory.mktemp("manifests")
    options = PrepareOptions(str(CORPUS / "utterances.tsv"), str(folder), features=True, storage="numpy_files")
    return prepare(options).manifest


@pytest.fixture(scope="module")
def larger(manifest) -> str:
    """Twenty-four utterances of eight durations: the six and parts of them."""
    path = Path(manifest).with_name("larger.jsonl.gz")
    whole = list(read_cuts(manifest))
    parts = [cut.truncate(duration=seconds, preserve_id=False) for cut in whole for seconds in (0.5, 0.75, 0.9)]
    cuts = [cut.with_id(f"{i:02d}") for i, cut in enumerate(whole + parts)]
    write_cuts(path, cuts)
    return str(path)


def settings(*paths: str, **changes) -> DataConfig:
    manifests = tuple(map(ManifestConfig, paths))
    base = DataConfig(train=manifests, dev=manifests, max_duration=3.0, min_len=0.1, num_workers=0)
    return replace(base, **changes)


def training(config: DataConfig, **position) -> TrainingData:
    return TrainingData(config, TABLE, TOKENIZER, **{"seed": 0, **position})


def one_epoch(data: TrainingData) -> list[Batch]:
    before, batches = data.epoch, []
    while data.epoch == before:
        batches.append(next(data))
    return batches


def assert_same(batches: list[Batch], expected: list[Batch]):
    assert [batch.ids for batch in batches] == [batch.ids for batch in expected]
    for batch, other in zip(batches, expected, strict=True):
        assert batch.tokens == other.tokens
        assert batch.texts == other.texts
        assert np.array_equal(batch.features, other.features)
        assert torch.equal(batch.feature_lens, other.feature_lens)


# ---------------------------------------------------------------- one batch


def test_features_are_scaled_and_padded_with_the_logarithm_of_1e_10():
    short, long = np.full((2, 3), 5.0, np.float32), np.full((4, 3), -7.0, np.float32)
    batch = collate([short, long], [[1], [2, 3]], ["a", "b"], ["A", "B"], scale=0.1)
    expected = torch.tensor([[0.5, 0.5, math.log(1e-10) / 10, math.log(1e-10) / 10], [-0.7] * 4])
    torch.testing.assert_close(batch.features, expected[:, :, None].expand(2, 4, 3))
    assert batch.features.dtype == torch.float32
    assert batch.feature_lens.tolist() == [2, 4]
    assert batch.seconds == [0.02, 0.04]
    assert batch.feature_lens.dtype == torch.int64
    assert (batch.tokens, batch.ids, batch.texts) == ([[1], [2, 3]], ["a", "b"], ["A", "B"])


def test_a_batch_moves_but_for_what_the_cpu_must_know():
    batch = collate([np.zeros((2, 3), np.float32)], [[1]], ["a"], ["A"], scale=1.0).to("meta")
    assert (batch.features.device.type, batch.feature_lens.device.type) == ("meta", "cpu")
    assert batch.ids == ["a"]


def test_a_batch_holds_the_features_tokens_and_texts_of_its_utterances(manifest):
    cuts = {cut.id: cut for cut in read_cuts(manifest)}
    for batch in one_epoch(training(settings(manifest))):
        for row, utterance in enumerate(batch.ids):
            features, frames = load_features(cuts[utterance], 100), batch.feature_lens[row]
            assert np.array_equal(batch.features[row, :frames], features * np.float32(0.1))
            assert batch.texts[row] == cuts[utterance].supervisions[0].text
            assert batch.tokens[row] == TABLE.ids(list(batch.texts[row]))


def test_stored_tokens_are_used_rather_than_the_text(manifest, tmp_path):
    write_cuts(tmp_path / "t.jsonl.gz", [with_tokens(cut, ["A", "b"]) for cut in read_cuts(manifest)])
    for batch in one_epoch(training(settings(str(tmp_path / "t.jsonl.gz")))):
        assert batch.tokens == [TABLE.ids(["A", "b"])] * len(batch.ids)


def test_features_on_the_fly_equal_stored_ones(manifest):
    stored, computed = training(settings(manifest)), training(settings(manifest, on_the_fly=True))
    assert_same(one_epoch(computed), one_epoch(stored))


def test_lossy_stored_features_are_near(manifest, tmp_path):
    pytest.importorskip("lilcom")
    lossy = prepare(PrepareOptions(manifest, str(tmp_path), features=True, storage="lilcom_chunky")).manifest
    exact, rounded = one_epoch(training(settings(manifest))), one_epoch(training(settings(lossy)))
    for one, other in zip(exact, rounded, strict=True):
        torch.testing.assert_close(one.features, other.features, atol=0.1 * (2**-6 + 1e-4), rtol=0)


def test_missing_and_narrow_stored_features_are_errors(manifest, tmp_path):
    write_cuts(tmp_path / "bare.jsonl.gz", [cut.drop_features() for cut in read_cuts(manifest)])
    with pytest.raises(ValueError, match=r"'arctic_.*' has no stored features; .*on_the_fly"):
        next(training(settings(str(tmp_path / "bare.jsonl.gz"))))
    with pytest.raises(ValueError, match=r"'arctic_.*' has 100 stored features per frame, not 300; .*with --stereo"):
        next(training(settings(manifest, stereo=True)))


# ---------------------------------------------------------------- which utterances


def test_an_epoch_has_every_utterance_once(manifest, larger):
    for path in (manifest, larger):
        data = training(settings(path))
        for epoch in range(3):
            assert data.epoch == epoch
            ids = [utterance for batch in one_epoch(data) for utterance in batch.ids]
            assert sorted(ids) == sorted(cut.id for cut in read_cuts(path))


def test_a_corpus_smaller_than_a_batch_is_one_batch(manifest):
    batches = one_epoch(training(settings(manifest, max_duration=500)))
    assert [len(batch.ids) for batch in batches] == [6]


def test_batches_stay_within_max_duration(larger):
    seconds = {cut.id: cut.duration for cut in read_cuts(larger)}
    for batch in one_epoch(training(settings(larger, max_duration=3.0, num_buckets=1))):
        durations = [seconds[utterance] for utterance in batch.ids]
        assert len(durations) * max(durations) <= 3.0


def test_utterances_outside_the_limits_are_left_out_with_a_report(larger, caplog):
    with caplog.at_level(logging.WARNING):
        data = training(settings(larger, min_len=0.6, max_len=1.15))
    kept = {cut.id for cut in read_cuts(larger) if 0.6 <= cut.duration <= 1.15}
    longer = sum(cut.duration > 1.15 for cut in read_cuts(larger))
    for _ in range(2):
        assert {utterance for batch in one_epoch(data) for utterance in batch.ids} == kept
    assert caplog.text.count("left out") == 1
    assert f"{longer} longer than 1.15 s, 6 shorter than 0.6 s" in caplog.text


def test_the_limits_of_durations_are_permitted(larger):
    seconds = sorted({cut.duration for cut in read_cuts(larger)})
    data = training(settings(larger, min_len=seconds[1], max_len=seconds[-2]))
    kept = {cut.id for cut in read_cuts(larger) if cut.duration in seconds[1:-1]}
    assert {utterance for batch in one_epoch(data) for utterance in batch.ids} == kept


def test_nothing_left_is_an_error(manifest):
    with pytest.raises(ValueError, match=r"no usable utterance in .*; left out: 6 shorter than 10 s"):
        training(settings(manifest, min_len=10))
    with pytest.raises(ValueError, match=r"data\.train names no manifest"):
        training(settings())
    with pytest.raises(ValueError, match=r"there is no manifest nowhere.jsonl.gz"):
        training(settings("nowhere.jsonl.gz"))


def test_utterances_that_are_longer_than_a_batch_are_told(manifest, caplog):
    seconds = sorted(cut.duration for cut in read_cuts(manifest))
    training(settings(manifest, max_duration=seconds[-1]))
    assert "longer than data.max_duration" not in caplog.text
    batches = one_epoch(training(settings(manifest, max_duration=seconds[-1] - 0.01)))
    assert "1 of the utterances in" in caplog.text and "are longer than data.max_duration" in caplog.text
    assert sum(len(batch.ids) for batch in batches) == len(seconds)


def test_a_list_in_place_of_a_manifest_is_told_so(tmp_path):
    (tmp_path / "list.tsv").write_text("u\tHi.\ta.wav\n")
    with pytest.raises(ValueError, match=r"list\.tsv is no manifest .* make one of a list with `zipvoice prepare`"):
        training(settings(str(tmp_path / "list.tsv")))
    (tmp_path / "list.jsonl").write_text('{"id": "u", "text": "Hi.", "audio": "a.wav"}\n')
    with pytest.raises(
        ValueError, match=r"list\.jsonl:1: type is None.*of the rows of a list `zipvoice prepare` makes"
    ):
        training(settings(str(tmp_path / "list.jsonl")))


def test_unknown_tokens_are_an_error_that_names_tokens_and_utterances(manifest, tmp_path):
    first, second, *others = read_cuts(manifest)
    cuts = [with_tokens(first, ["A", "ß"]), with_tokens(second, ["ö"]), *others]
    write_cuts(tmp_path / "t.jsonl.gz", cuts)
    config = settings(str(tmp_path / "t.jsonl.gz"))
    with pytest.raises(ValueError, match=r"unusable utterances in .*: 2\n") as error:
        training(config)
    for name, token in ((first.id, "ß"), (second.id, "ö")):
        assert any(repr(name) in line and repr(token) in line for line in str(error.value).splitlines())


def test_unknown_tokens_can_be_skipped_with_a_count(manifest, tmp_path, caplog):
    first, *others = read_cuts(manifest)
    write_cuts(tmp_path / "t.jsonl.gz", [with_tokens(first, ["A", "ß"]), *others])
    with caplog.at_level(logging.WARNING):
        data = training(settings(str(tmp_path / "t.jsonl.gz"), unknown_tokens="skip"))
    assert {utterance for batch in one_epoch(data) for utterance in batch.ids} == {cut.id for cut in others}
    assert "1 with unknown tokens" in caplog.text


@pytest.mark.parametrize(("tokens", "message"), [(["a"] * 200, "has 200 tokens in 1"), (["—"], "has 0 tokens")])
def test_tokens_that_do_not_fit_the_audio_are_an_error(manifest, tmp_path, tokens, message):
    first, *others = read_cuts(manifest)
    write_cuts(tmp_path / "t.jsonl.gz", [*others, with_tokens(first, tokens)])
    with pytest.raises(ValueError, match=f"'{first.id}' {message}"):
        training(settings(str(tmp_path / "t.jsonl.gz")))


def test_a_token_for_each_frame_is_as_much_as_fits(manifest, tmp_path):
    first = next(iter(read_cuts(manifest)))
    frames = num_frames(round(first.duration * 24000))
    for count, fits in ((frames, True), (frames + 1, False)):
        write_cuts(tmp_path / "t.jsonl.gz", [with_tokens(first, ["a"] * count)])
        with nullcontext() if fits else pytest.raises(ValueError, match=f"has {count} tokens in {frames} frames"):
            assert training(settings(str(tmp_path / "t.jsonl.gz")))


def test_manifests_are_mixed_repeated_and_replayed(manifest, larger):
    mixture = (ManifestConfig(manifest, weight=3.0, repeat=2), ManifestConfig(larger))
    counts = Counter(utterance for batch in one_epoch(training(settings(train=mixture))) for utterance in batch.ids)
    assert {counts[cut.id] for cut in read_cuts(manifest)} == {2}
    assert {counts[cut.id] for cut in read_cuts(larger)} == {1}
    replayed = (ManifestConfig(manifest), ManifestConfig(larger, replay=0.25))
    counts = Counter(utterance for batch in one_epoch(training(settings(train=replayed))) for utterance in batch.ids)
    assert {counts[cut.id] for cut in read_cuts(manifest)} == {1}
    assert sum(counts[cut.id] for cut in read_cuts(larger)) == 2  # a quarter of 6 + 2


@pytest.mark.parametrize(
    "changes",
    [
        {"max_duration": 0.0},
        {"min_len": -1.0},
        {"max_len": 0.1},
        {"num_buckets": 0},
        {"num_workers": -1},
        {"buffer_size": 0},
    ],
)
def test_impossible_settings_are_errors(changes):
    with pytest.raises(ValueError, match=f"{next(iter(changes))} must be"):
        settings(**changes)


def test_impossible_mixtures_are_errors():
    with pytest.raises(ValueError, match=r"the weight of m\.jsonl must be above 0, not 0\.0"):
        ManifestConfig("m.jsonl", weight=0.0)
    with pytest.raises(ValueError, match=r"m\.jsonl must be read at least once"):
        ManifestConfig("m.jsonl", repeat=0)
    with pytest.raises(ValueError, match=r"the share of m\.jsonl \(replay\) must be between 0 and 1, not 1\.0"):
        ManifestConfig("m.jsonl", replay=1.0)
    with pytest.raises(ValueError, match=r"m\.jsonl is replayed by its share, without weight and repeat"):
        ManifestConfig("m.jsonl", repeat=2, replay=0.5)
    for shares in ([0.5], [None, 0.5, 0.5]):
        with pytest.raises(ValueError, match=r"\(replay\) must leave something for others to fill"):
            DataConfig(train=tuple(ManifestConfig("m.jsonl", replay=share) for share in shares))


# ---------------------------------------------------------------- in which order


def test_the_order_depends_on_seed_and_epoch(larger):
    def order(data):
        return [batch.ids for batch in one_epoch(data)]

    data, again, other = (training(settings(larger), seed=seed) for seed in (1, 1, 2))
    first = order(data)
    assert order(again) == first
    assert order(other) != first
    assert order(data) != first


def test_without_shuffling_every_epoch_is_the_same(larger):
    data = training(settings(larger, shuffle=False))
    assert_same(one_epoch(data), one_epoch(data))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_resumed_equals_uninterrupted(larger, num_workers):
    """From the start, within an epoch, at its last batch, and between epochs."""
    config = settings(larger, num_workers=num_workers)
    whole = training(config)
    states, batches = [], []
    while whole.epoch < 3:
        states.append(whole.state_dict())
        batches.append(next(whole))
    second = next(i for i, state in enumerate(states) if (state["epoch"], state["batches"]) == (1, 0))
    for taken in (0, second // 2, second - 1, second, second + 1):
        data = training(config)
        data.load_state_dict(states[taken])
        assert data.epoch == states[taken]["epoch"]
        assert_same(list(islice(data, 4)), batches[taken : taken + 4])


def test_a_position_beyond_the_end_is_an_error(larger):
    data = training(settings(larger))
    data.load_state_dict({"epoch": 0, "batches": 1000, "world_size": 1})
    with pytest.raises(ValueError, match="the manifests or the settings of data have changed since; restore them"):
        next(data)


def test_going_back_is_possible_while_loader_processes_run_ahead(larger):
    data = training(settings(larger, num_workers=2))
    state = data.state_dict()
    first = list(islice(data, 5))
    data.load_state_dict(state)
    assert_same(list(islice(data, 5)), first)


def test_loader_processes_do_not_change_the_batches(larger):
    alone, helped = training(settings(larger)), training(settings(larger, num_workers=2))
    assert_same(list(islice(helped, 9)), list(islice(alone, 9)))


def test_loading_leaves_the_default_random_numbers_alone(larger):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    next(training(settings(larger)))
    assert torch.equal(torch.rand(3), expected)


def assert_all(ids: list[str], manifest: str, world_size: int):
    """Every utterance comes once, but for fewer than `world_size` that are repeated to have a batch for each rank."""
    assert sorted(set(ids)) == sorted(cut.id for cut in read_cuts(manifest))
    assert len(ids) - len(set(ids)) < world_size


@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_ranks_share_the_data_without_overlap(larger, world_size):
    config = settings(larger, max_duration=4.0)
    ranks = [training(config, rank=rank, world_size=world_size) for rank in range(world_size)]
    for _ in range(2):
        shares = [one_epoch(data) for data in ranks]
        assert len({len(share) for share in shares}) == 1
        ids = [utterance for share in shares for batch in share for utterance in batch.ids]
        assert_all(ids, larger, world_size)


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 3), (3, 2), (4, 2)])
def test_another_number_of_ranks_shares_what_is_left_of_the_epoch(larger, before, after):
    config = settings(larger, max_duration=2.0)
    earlier = [training(config, rank=rank, world_size=before) for rank in range(before)]
    seen = [utterance for data in earlier for _ in range(2) for utterance in next(data).ids]
    states = [data.state_dict() for data in earlier]
    assert states == [{"epoch": 0, "batches": 2 * before, "world_size": before, "max_duration": 2.0}] * before
    later = [training(config, rank=rank, world_size=after) for rank in range(after)]
    for data in later:
        data.load_state_dict(states[0])
    seen += [utterance for data in later for utterance in next(data).ids]
    again = [training(config, rank=rank, world_size=after) for rank in range(after)]
    for data, interrupted in zip(again, later, strict=True):
        data.load_state_dict(interrupted.state_dict())  # stopped once more, and still in the first sequence
    shares = [one_epoch(data) for data in again]
    assert len({len(share) for share in shares}) == 1
    seen += [utterance for share in shares for batch in share for utterance in batch.ids]
    assert_all(seen, larger, max(before, after))
    assert again[0].state_dict() == {"epoch": 1, "batches": 0, "world_size": after, "max_duration": 2.0}


@pytest.mark.parametrize(("before", "after"), [(2.0, 6.0), (6.0, 2.0), (2.0, 5.0)])
def test_batches_of_another_length_go_on_at_about_the_same_place(larger, before, after):
    total = len(one_epoch(training(settings(larger, max_duration=after))))
    data, places = training(settings(larger, max_duration=before), world_size=2), []
    while data.epoch == 0:
        state = data.state_dict()
        later = training(settings(larger, max_duration=after), world_size=2)
        later.load_state_dict(state)
        places.append((later.epoch, later.state_dict()["batches"]))
        next(later), next(data)
        assert state["batches"] * before - 2 * after < places[-1][1] * after <= state["batches"] * before or later.epoch
    assert places[0] == (0, 0) and places == sorted(places) and all(n < total for _, n in places)
    assert data.state_dict() == {"epoch": 1, "batches": 0, "world_size": 2, "max_duration": before}


def test_more_ranks_than_batches_share_the_utterances(manifest):
    config = settings(manifest, max_duration=500)
    shares = [one_epoch(training(config, rank=rank, world_size=3)) for rank in range(3)]
    assert [[len(batch.ids) for batch in share] for share in shares] == [[2]] * 3
    assert len({utterance for share in shares for batch in share for utterance in batch.ids}) == 6


# ---------------------------------------------------------------- validation


def validation(config: DataConfig, **share) -> ValidationData:
    return ValidationData(config, TABLE, TOKENIZER, **share)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_validation_is_finite_and_repeatable(larger, num_workers):
    data = validation(settings(larger, num_workers=num_workers))
    batches = list(data)
    ids = [utterance for batch in batches for utterance in batch.ids]
    assert sorted(ids) == sorted(cut.id for cut in read_cuts(larger))
    assert_same(list(data), batches)
    assert_same(list(validation(settings(larger))), batches)


def test_ranks_share_the_validation_batches(larger):
    whole = list(validation(settings(larger)))
    shares = [list(validation(settings(larger), rank=rank, world_size=2)) for rank in (0, 1)]
    assert_same(shares[0], whole[0::2])
    assert_same(shares[1], whole[1::2])
