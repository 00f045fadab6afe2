# SPDX-License-Identifier: Apache-2.0
"""Validation utterances that are trained on too are told, with one of them."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_models import LETTERS

from zipvoice.config.data import DataConfig, ManifestConfig, PrepareOptions
from zipvoice.config.text import TokenizerConfig
from zipvoice.config.vocoder import VocoderRunConfig
from zipvoice.text.tokenizers import build_tokenizer

pytest.importorskip("lhotse")
from zipvoice.data.cuts import make_cut, recording
from zipvoice.data.dataset import TrainingData, ValidationData
from zipvoice.data.overlap import Sound, shared, warn_of_shared
from zipvoice.data.prepare import prepare
from zipvoice.data.segments import Segments, whole_recordings

CORPUS = Path(__file__).parent / "data" / "corpus"


def sound(name, recording, start, end):
    return Sound(name, recording, start, end)


@pytest.mark.parametrize(
    ("start", "end", "is_shared"),
    [
        (0.0, 1.0, False), (0.0, 2.04, False), (0.0, 2.1, True), (2.5, 2.7, True), (3.9, 9.0, True), (3.96, 6.0, False),
        (4.0, 7.04, False), (4.0, 7.1, True), (0.0, 99.0, True), (8.0, 8.5, True), (12.0, 13.0, False),
    ],
)  # fmt: skip
def test_sound_is_shared_that_is_heard_in_both(start, end, is_shared):
    """To within the tolerance of times. Trained on are 2 to 4 s, in two parts, and 7 to 12 s, one within another."""
    spans = [(7.0, 12.0), (3.0, 4.0), (2.0, 3.0), (8.0, 9.0)]
    train = [sound(f"train {i}", "talk.wav", *span) for i, span in enumerate(spans)]
    dev = [sound("dev", "talk.wav", start, end), sound("other", "other.wav", start, end)]
    if start == 3.9:
        train = train[1:3]
    assert shared(train, dev) == ["dev"] * is_shared


@pytest.fixture(scope="module")
def manifests(tmp_path_factory):
    """Manifests of six recordings, of three of them under other names and without the folder, and of one in shards."""
    folder = tmp_path_factory.mktemp("corpus")
    rows = (CORPUS / "utterances.tsv").read_text(encoding="utf-8").splitlines()
    named = [row.split("\t") for row in rows]
    lists = {"train": named, "dev": [["my " + row[0], *row[1:]] for row in named[1:4]]}
    made = {}
    for part, chosen in lists.items():
        for row in chosen:
            row[2] = str(CORPUS / row[2])
        path = folder / f"{part}.tsv"
        path.write_text("".join("\t".join(row) + "\n" for row in chosen), encoding="utf-8")
        made[part] = prepare(PrepareOptions(str(path), str(folder / part), subset=part)).manifest
    return made


def test_training_tells_how_many_it_validates_on(manifests, caplog):
    config = DataConfig(*((ManifestConfig(manifests[part]),) for part in ("train", "dev")), min_len=0.1, num_workers=0)
    tokenizer = build_tokenizer(TokenizerConfig("simple"))
    train = TrainingData(replace(config, unknown_tokens="skip"), LETTERS, tokenizer, seed=0)
    dev = ValidationData(replace(config, unknown_tokens="skip"), LETTERS, tokenizer)
    warn_of_shared(train.survey.sounds, dev.survey.sounds, "dev.jsonl.gz")
    first = dev.survey.sounds[0].utterance
    assert first.startswith("my ")
    assert f"3 of the 3 utterances in dev.jsonl.gz are trained on too, such as {first!r}: the" in caplog.text
    caplog.clear()
    warn_of_shared(train.survey.sounds[-1:], dev.survey.sounds, "dev.jsonl.gz")
    assert not caplog.text


def test_preparation_tells_of_it_whichever_part_comes_first(manifests, tmp_path, caplog):
    for first, second in (("train", "dev"), ("dev", "train")):
        folder = tmp_path / first
        for part in (first, second):
            assert "trained on too" not in caplog.text
            source = Path(manifests[part]).parents[1] / f"{part}.tsv"
            prepare(PrepareOptions(str(source), str(folder), subset=part))
        assert f"3 of the 3 utterances in {folder / 'custom_cuts_dev.jsonl.gz'} are trained on too" in caplog.text
        caplog.clear()
    source = Path(manifests["dev"]).parents[1] / "dev.tsv"
    prepare(PrepareOptions(str(source), str(folder), prefix="other", subset="dev"))
    assert not caplog.text


def test_parts_in_shards_are_compared_too(manifests, tmp_path, caplog):
    for part in ("train", "dev"):
        prepare(PrepareOptions(manifests["train"], str(tmp_path), subset=part, shar=True))
    assert f"utterances in {tmp_path / 'custom_shar_dev'} are trained on too" in caplog.text


def test_vocoders_are_validated_on_other_recordings(manifests, tmp_path, caplog):
    for name in ("one", "two"):
        tone = 0.1 * np.sin(np.arange(24_000) / 10)
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / f"{name}.wav", tone, 24_000)
    one, two = (str(tmp_path / name) for name in ("one", "two"))
    config = VocoderRunConfig(train=(one,), dev=(two,), num_workers=0)
    with caplog.at_level(logging.WARNING):
        whole_recordings(config, Segments(config).sounds)
        assert not caplog.text
        config = replace(config, train=(one, two))
        whole_recordings(config, Segments(config).sounds)
    assert f"1 of the 1 utterances in {two} are trained on too, such as '{two}/two.wav'" in caplog.text


def test_a_recording_is_its_file_however_that_is_named(tmp_path, monkeypatch):
    """In a shard it has the name of the file that it was."""
    monkeypatch.chdir(tmp_path)
    soundfile.write("100%.wav", np.zeros(24_000), 24_000)
    cuts = [make_cut("one", "", recording(path), 0.25, 0.5) for path in (Path("100%.wav"), tmp_path / "100%.wav")] * 2
    for source in cuts[3].recording.sources:
        source.type, source.source = "shar", "0:9:.flac:recording.000000.tar"
    assert {*map(Sound.of, cuts)} == {Sound("one", str(tmp_path / "100%.wav"), 0.25, 0.5)}
