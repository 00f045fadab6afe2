# SPDX-License-Identifier: Apache-2.0
"""The recipe of the small models that come with the package: its lists, phones, pace, pairs, text and commands."""

import csv
import importlib
import itertools
import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import tyro
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import LETTERS, TINY, make_model

from zipvoice.audio.files import Audio, read, write
from zipvoice.audio.loudness import rms
from zipvoice.cli import main
from zipvoice.config.data import DataConfig, ManifestConfig, PrepareOptions
from zipvoice.config.model import FeatureConfig
from zipvoice.config.model_file import ModelFile
from zipvoice.config.strict_json import read_json, write_json
from zipvoice.config.synthesis import SamplingConfig
from zipvoice.config.text import TokenizerConfig
from zipvoice.config.training import RunConfig
from zipvoice.model.condition import pad_tokens
from zipvoice.model.duration import timed_alignment
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.pretrained import load_pretrained
from zipvoice.text.token_table import TokenTable
from zipvoice.text.vocabularies import phone_table

RECIPE = Path(__file__).parents[1] / "egs" / "small"
CORPUS = Path(__file__).parent / "data" / "corpus"


def script(name):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(RECIPE / "local")  # where Python finds what a script imports from its folder
        return importlib.import_module(name)


def read_list(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def sentences():
    """Id, text and recording of real utterances of one speaker."""
    return [line.split("\t") for line in (CORPUS / "utterances.tsv").read_text(encoding="utf-8").splitlines()]


# ---------------------------------------------------------------- lists

list_corpora = script("list_corpora")


def word(number):
    """A word of its own for each number."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


def text(speaker, number):
    """A sentence of eight words; all but two are of this sentence only."""
    return f"Said {speaker}, " + " ".join(word(100 * number + i) + speaker for i in range(6)) + "."


def write_corpus(folder, name, rows):
    lines = [f"{key}\t{speaker}\ten\t1.00\taudio/{key}.ogg\t{said}\n" for key, speaker, said in rows]
    folder = folder / name
    folder.mkdir(parents=True)
    (folder / "utterances.tsv").write_text("id\tspeaker\tlanguage\tseconds\taudio\ttext\n" + "".join(lines))


def write_corpora(folder, order=1):
    takes = [(f"{number}_{take}", "kathleen", text("k", number)) for number in range(150) for take in range(2)]
    write_corpus(folder, "kathleen", takes[::order])
    read = [(f"LJ{number}", "lj", f'"{text("l", number)}') for number in range(20)]
    read += [(f"LJ{number}", "lj", f"{text('k', number - 100)} {text('l', number)}") for number in range(100, 250)]
    read += [(f"LJ{number}", "lj", text("k", number - 300)) for number in range(300, 450)]
    write_corpus(folder, "ljspeech", read)
    readers = [
        (f"{who}-{number}", who, text(f"q{word(who)}", number).upper()) for who in ("19", "26") for number in (1, 2)
    ]
    write_corpus(folder, "librispeech", readers)
    many = [(f"r{number}", f"{number:04}", text(f"z{word(number)}", number)) for number in range(12)]
    write_corpus(folder, "speechocean_adult", many)


FLITE_VOICES = "echo Voices available: awb kal16 rms slt"


@pytest.fixture
def flite(tmp_path, monkeypatch):
    """A program in the place of flite, which writes down who is to say what."""
    program = tmp_path / "bin" / "flite"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n[ "$1" = -lv ] && {FLITE_VOICES} || echo "$2: $4" > "$6"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return program


@pytest.fixture
def lists(tmp_path, flite):
    write_corpora(tmp_path / "corpora")
    list_corpora.list_corpora(tmp_path / "corpora", tmp_path / "data")
    return {path.stem: read_list(path) for path in (tmp_path / "data").glob("*.tsv")}


def texts(rows):
    return {row["text"] for row in rows}


def test_neither_texts_nor_speakers_of_training_are_evaluated(lists):
    trained = texts(lists["train_kathleen"]) | texts(lists["train_others"])
    assert [len(texts(lists[name])) for name in ("heldout", "dev", "train_kathleen")] == [100, 30, 20]
    assert [len(lists[name]) for name in ("heldout", "dev", "train_kathleen")] == [200, 60, 40]
    assert texts(lists["heldout"]) | texts(lists["dev"]) | texts(lists["train_kathleen"]) == {
        text("k", number) for number in range(150)
    }
    assert not (texts(lists["heldout"]) | texts(lists["dev"])) & trained
    assert not (texts(lists["heldout"]) | texts(lists["dev"])) & texts(lists["train_flite"])
    assert {row["speaker"] for row in lists["train_readers"]} == {f"{number:04}" for number in range(4)}
    assert Counter(row["speaker"] for row in lists["train_others"]) == {"lj": 20 + 150 + 20, "19": 2}
    assert {row["id"][:2] for row in lists["train_others"]} == {"l_", "s_"}
    assert {row["id"][:2] for name in ("heldout", "dev", "train_kathleen") for row in lists[name]} == {"k_"}


def test_capitals_are_lowered_quotation_marks_stay_and_every_text_ends_in_a_mark(lists):
    others = {row["id"]: row["text"] for row in lists["train_others"]}
    assert others["s_19-1"] == text("qbj", 1).lower()
    assert others["l_LJ3"] == f'"{text("l", 3)}'
    assert list_corpora.written("AND SO ON") == "and so on."


def test_what_is_held_out_does_not_depend_on_the_order_of_the_table(lists, tmp_path):
    write_corpora(tmp_path / "reversed", order=-1)
    list_corpora.list_corpora(tmp_path / "reversed", tmp_path / "other")
    for name in ("heldout", "dev"):
        assert texts(read_list(tmp_path / "other" / f"{name}.tsv")) == texts(lists[name])


def test_flite_says_phrases_of_the_training_texts(lists):
    spoken = lists["train_flite"]
    trained = [said.replace('"', "") for said in texts(lists["train_kathleen"]) | texts(lists["train_others"])]
    for row in spoken:
        assert any(row["text"].strip(".") in said for said in trained)
        assert Path(row["audio"]).read_text() == f"{row['speaker']}: {row['text']}\n"
    assert [row["speaker"] for row in spoken[:8]] == ["slt", "rms", "awb", "kal16"] * 2
    assert texts(spoken) >= {said for said in trained if len(said.split()) == 8 and "l" not in said}


def test_recordings_of_flite_are_reused(lists, tmp_path, flite):
    flite.write_text(f'#!/bin/sh\n[ "$1" = -lv ] && {FLITE_VOICES}\n')  # fails if it is to speak
    list_corpora.list_corpora(tmp_path / "corpora", tmp_path / "data")
    assert read_list(tmp_path / "data" / "train_flite.tsv") == lists["train_flite"]


def test_without_flite_it_is_said_how_to_install_it(tmp_path, monkeypatch):
    write_corpora(tmp_path / "corpora")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match=r"flite is not installed; .* apt-get install flite"):
        list_corpora.list_corpora(tmp_path / "corpora", tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_text_is_cut_into_phrases_without_losing_words():
    words = [word(number) for number in range(160)]
    cut_up = [piece.split() for piece in list_corpora.pieces(words, Random(0))]
    joined = [item for piece in cut_up for item in piece]
    assert joined == words or joined == words[:-1]  # a single word at the end is not said
    assert {len(piece) for piece in cut_up[:-1]} == set(range(3, 9))
    assert not list(list_corpora.pieces(words[:1], Random(0)))


def test_phrases_that_flite_and_espeak_read_differently_are_left_out():
    found = list_corpora.phrases(
        ['He said "no" -- twice.', "In 1900 it was so.", "Smith & Sons were there."], Random(0)
    )
    assert "He said no , twice." in found
    assert all(phrase.endswith(".") for phrase in found)
    assert not [phrase for phrase in found if "1900" in phrase or "&" in phrase or '"' in phrase]
    assert len(found) == len({list_corpora.letters(phrase) for phrase in found})


# ---------------------------------------------------------------- recordings

trim_and_level = script("trim_and_level")


def tone(seconds, amplitude, rate=24000):
    wave = amplitude * np.sin(2 * math.pi * 200 * np.arange(round(seconds * rate)) / rate)
    return wave.astype(np.float32)


def test_a_recording_is_trimmed_to_its_speech_and_brought_to_the_level(tmp_path):
    recording = np.concatenate([tone(0.3, 0.001), tone(0.5, 0.5), tone(0.4, 0.1), tone(0.2, 0.001)])
    write(tmp_path / "one.wav", Audio(recording[None], 24000))
    (tmp_path / "list.tsv").write_text("id\ttext\taudio\tspeaker\nx\tAh.\tone.wav\ts\n")
    trim_and_level.main(tmp_path / "list.tsv")
    assert read_list(tmp_path / "p_list.tsv") == [{"id": "x", "text": "Ah.", "audio": "audio/x.flac", "speaker": "s"}]
    made = read(tmp_path / "audio" / "x.flac")
    expected = recording[round(0.26 * 24000) : round(1.24 * 24000)]
    assert rms(made) == pytest.approx(0.1, abs=1e-4)
    np.testing.assert_allclose(made.samples[0], expected * 0.1 / expected.std(), atol=2e-4, rtol=0)


def test_peaks_are_clipped_rather_than_the_level_lowered():
    click = np.append(tone(1.0, 0.01), np.float32(1))
    levelled = trim_and_level.levelled(Audio(click[None], 24000)).samples[0]
    assert levelled[-1] == pytest.approx(0.99)
    np.testing.assert_allclose(levelled[:-1], click[:-1] * 0.1 / np.sqrt(np.square(click).mean()), rtol=1e-5)


@pytest.mark.parametrize(("num_samples", "fault"), [(2400, "silent"), (200, "shorter than 10 ms")])
def test_a_recording_without_speech_is_named(num_samples, fault, tmp_path):
    write(tmp_path / "one.wav", Audio(np.zeros((1, num_samples), np.float32), 24000))
    with pytest.raises(ValueError, match=rf"one\.wav: the recording is {fault}"):
        trim_and_level.processed(tmp_path / "one.wav")


# ---------------------------------------------------------------- times of phones

align_phones = script("align_phones")
DADDY = ["how", "old", "are", "you", "daddy"]


@pytest.fixture(scope="module")
def aligner():
    pytest.importorskip("pocketsphinx")
    return align_phones.aligner()


def test_phones_of_a_real_recording_are_found_in_order(aligner):
    audio = read(CORPUS / "arctic_a0379_1592708291.ogg")
    found = align_phones.align(aligner, DADDY, audio)
    assert [said for said, _ in found] == DADDY
    assert [[name for name, _, _ in phones] for _, phones in found] == [
        ["HH", "AW"], ["OW", "L", "D"], ["AA", "R"], ["Y", "UW"], ["D", "AE", "D", "IY"]
    ]  # fmt: skip
    times = [time for _, phones in found for _, start, end in phones for time in (start, end)]
    assert times == sorted(times) and times[0] >= 0 and times[-1] <= audio.seconds + 0.02
    assert all(end - start >= 0.029 for _, phones in found for _, start, end in phones)  # three states of 10 ms


def test_times_are_those_of_the_sound_and_silence_is_no_word(aligner):
    audio = read(CORPUS / "arctic_a0379_1592708291.ogg")
    noise = 1e-4 * np.random.default_rng(0).standard_normal((1, audio.sampling_rate), np.float32)
    later = Audio(np.concatenate([noise, audio.samples], axis=1), audio.sampling_rate)
    now, then = (align_phones.align(aligner, DADDY, sound) for sound in (audio, later))
    assert [said for said, _ in then] == DADDY
    starts = ([phones[0][1] for _, phones in found] for found in (now, then))
    np.testing.assert_allclose(np.diff(list(starts), axis=0), [[1.0] * 5], atol=0.05)


def test_a_recording_does_not_affect_the_next(aligner):
    noise = Audio(0.3 * np.random.default_rng(0).standard_normal((1, 48000), np.float32), 16000)
    words, audio = ["what", "the", "flaming"], read(CORPUS / "arctic_a0562_1592702344.ogg")
    before = align_phones.align(aligner, words, audio)
    align_phones.align(aligner, ["hello"], noise)
    assert align_phones.align(aligner, words, audio) == before


def test_what_is_left_out_is_counted_by_reason(tmp_path, capsys, aligner):
    path = CORPUS / "arctic_a0287_1592710495.ogg"
    long = "not at all what is said there but very much longer than that and something else " * 3
    said = ("Keep an eye on him.", "Keep an xyzzyx on him.", long, "Xyzzyx!")
    rows = [f"{i}\t{line}\t{path}\ts\n" for i, line in enumerate(said)]
    (tmp_path / "list.tsv").write_text("id\ttext\taudio\tspeaker\n" + "".join(rows))
    align_phones.main(tmp_path / "list.tsv", tmp_path / "phones.jsonl")
    (row,) = map(json.loads, (tmp_path / "phones.jsonl").read_text().splitlines())
    assert (row["id"], [said for said, _ in row["words"]]) == ("0", ["keep", "an", "eye", "on", "him"])
    assert capsys.readouterr().out.endswith(
        "1 recordings; left out: 1 that could not be aligned, 2 with words outside the dictionary\n"
    )


# ---------------------------------------------------------------- phones and characters

phones = script("phones")


@pytest.mark.parametrize(
    ("names", "characters", "expected"),
    [
        ("D EY N D", "dˈeɪnd", [0, 1, 4, 5]),  # the stress mark goes to its vowel
        ("S IY Z", "siːz", [0, 1, 3]),  # the length mark stays with its own
        ("IY AH AE T", "iːəˈæt", [0, 2, 3, 5]),  # also between vowels
        ("CH EH R", "tʃˈɛɹ", [0, 2, 4]),  # a consonant of two characters
        ("AO F T AH N", "ˈɔfən", [0, 2, None, 3, 4]),  # a phone without a character
        ("B AH T AH N", "bˈʌʔˌn̩", [0, 1, 3, None, 4]),  # a combining mark stays with its consonant
        ("W AH T", "wˈɑːt", [0, 1, 4]),  # a vowel that is written otherwise
        ("N IH R IY NG", "nˈɪɹɹɪŋ", [0, 1, 3, 5, 6]),  # characters of the same phone
        ("Z ER OW", "zˈiəɹoʊ", [0, 1, 5]),  # and does not go to the consonant before it
    ],
)
def test_phones_are_matched_to_characters(names, characters, expected):
    assert list(phones.fit(tuple(names.split()), characters).starts) == expected


@given(
    st.lists(st.sampled_from(["AH", "D", "ER", "IY", "N", "T"]), min_size=1, max_size=5),
    st.text("dəɹint", min_size=1, max_size=5),
)
def test_the_match_is_the_cheapest_of_all(names, characters):
    costs = [
        sum(phones.misspelling(names[j], character) for character, j in zip(characters, owners, strict=True))
        + 0.7 * (len(names) - len(set(owners)))
        for owners in itertools.combinations_with_replacement(range(len(names)), len(characters))
    ]
    assert phones.fit(tuple(names), characters).cost == pytest.approx(min(costs))


def test_every_phone_that_the_recogniser_knows_has_a_spelling():
    pocketsphinx = pytest.importorskip("pocketsphinx")
    dictionary = Path(pocketsphinx.get_model_path("en-us/cmudict-en-us.dict")).read_text(encoding="utf-8")
    assert {name for line in dictionary.splitlines() for name in line.split()[1:]} == set(phones.SPELLINGS)


OF, THE, REST, I_AM = ["AH", "V"], ["DH", "AH"], ["R", "EH", "S", "T"], ["AY", "M"]


def test_words_that_flow_together_share_a_group():
    assert phones.share_out([OF, THE, REST], ["ʌvðə", "ɹˈɛst"]) == [2, 1]
    assert phones.share_out([REST, OF, THE], ["ɹˈɛst", "ʌvðə"]) == [1, 2]
    assert phones.share_out([I_AM, REST, OF, THE, REST], ["aɪm", "ɹˈɛstʌvðə", "ɹˈɛst"]) == [1, 3, 1]
    assert phones.fit(phones.joined([OF, THE]), "ʌvðə").starts == (0, 1, 2, 3)


def test_a_word_of_two_groups_cannot_be_shared_out():
    assert phones.share_out([["M", "AH", "K", "D", "UW", "G", "AH", "L"]], ["mæk", "dˈuːɡəl"]) is None


def test_marks_part_groups_and_are_in_none():
    assert phones.spoken_groups(list('"bi , di!ki.')) == [(1, 3), (6, 8), (9, 11)]
    assert phones.spoken_groups(list(". ,")) == phones.spoken_groups([]) == []


# ---------------------------------------------------------------- tokens and times

anchors = script("anchors")
Anchors = anchors.Anchors


def syllable(consonant, start, middle, end):
    """A word of a consonant and IY."""
    return consonant.lower(), [(consonant, start, middle), ("IY", middle, end)]


def points(found):
    return list(zip(found.positions.tolist(), found.seconds.tolist(), strict=True))


def test_anchors_are_the_ends_the_pauses_and_the_passing_of_phones():
    words = [syllable("B", 0.01, 0.2, 0.5), syllable("D", 0.8, 0.9, 1.0), syllable("K", 1.02, 1.1, 1.4)]
    assert points(anchors.find_anchors(list("bi, diː ki."), words, 1.5)) == [
        (0, 0), (1, 0.2), (2, 0.5), (4, 0.8), (5, 0.9), (7.5, 1.01), (9, 1.1), (10, 1.4), (11, 1.5)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("tokens", "start", "expected"), [('"bi', 0.3, (1, 0.3)), ("bi", 0.3, (0.5, 0.3)), ('"bi', 0.01, None)]
)
def test_silence_before_the_first_word_is_given_to_the_marks_or_to_half_a_token(tokens, start, expected):
    found = anchors.find_anchors(list(tokens), [syllable("B", start, 0.5, 0.9)], 1.0)
    middle = (len(tokens) - 1, 0.5)
    assert points(found) == [(0, 0), *([expected] if expected else []), middle, (len(tokens), 1)]


def test_without_silence_the_marks_at_the_end_are_part_of_the_last_word():
    found = anchors.find_anchors(list("bi."), [syllable("B", 0.0, 0.5, 1.01)], 1.0)
    assert points(found) == [(0, 0), (1, 0.5), (3, 1)]


def test_phones_of_words_that_flow_together_have_anchors_of_their_own():
    words = [("of", [("AH", 0.0, 0.1), ("V", 0.1, 0.2)]), ("the", [("DH", 0.2, 0.3), ("AH", 0.3, 0.6)])]
    found = anchors.find_anchors(list("ʌvðə"), words, 0.6)
    assert points(found) == [(0, 0), (1, 0.1), (2, 0.2), (3, 0.3), (4, 0.6)]


def test_a_phone_without_a_token_is_part_of_the_one_before():
    words = [("often", [(name, i / 10, (i + 1) / 10) for i, name in enumerate(["AO", "F", "T", "AH", "N"])])]
    assert points(anchors.find_anchors(list("ɔfən"), words, 0.5)) == [(0, 0), (1, 0.1), (2, 0.3), (3, 0.4), (4, 0.5)]


@pytest.mark.parametrize("tokens", ["mæs", "bi di", ""])
def test_a_recording_of_something_else_has_no_anchors(tokens):
    assert anchors.find_anchors(list(tokens), [syllable("B", 0.0, 0.5, 1.0)], 1.0) is None


DURATIONS = np.array([0.1, 0.1, 0.2, 0.2, 0.2])
"""Of the five tokens below, seconds."""


@pytest.fixture
def spoken():
    """Five tokens in 60 frames, of which the first two take 15; each frame says at which place in the tokens it is."""
    found = Anchors(np.array([0.0, 2.0, 5.0]), np.array([0.0, 0.2, 0.8]))
    place = np.interp(np.arange(60) + 0.5, [0, 15, 60], found.positions)
    return np.repeat(place[:, None], 3, axis=1).astype(np.float32), found


@pytest.mark.parametrize("num_frames", [60, 55, 65])
def test_at_the_typical_pace_each_frame_has_the_sound_of_the_token_that_the_model_gives_it(spoken, num_frames):
    features, found = spoken
    slow = DURATIONS * np.array([2, 2, 1, 1, 1])  # the first two are typically longer than here
    warped = anchors.warp(features, found, slow, num_frames)
    assert warped.shape == (num_frames, 3) and warped.dtype == features.dtype
    durations = torch.tensor(slow)[None].float()
    laid_out = timed_alignment(
        torch.cat([durations, torch.ones(1, 1)], dim=1), torch.tensor([5]), torch.tensor([num_frames]), num_frames
    )[0]
    beside = warped[:, 0].astype(int) == laid_out.numpy()
    assert beside.mean() > 0.9, "but for frames in which one token passes into the next"


def test_a_recording_that_is_at_the_typical_pace_stays_as_it_is():
    found = Anchors(np.array([0.0, 2.0, 5.0]), np.array([0.0, 0.4, 1.0]))
    features = np.random.default_rng(0).standard_normal((60, 100), np.float32)
    np.testing.assert_allclose(anchors.warp(features, found, np.array([1, 1, 1, 1, 1]), 60), features, rtol=1e-5)


# ---------------------------------------------------------------- how long tokens are

token_durations = script("token_durations")


def test_durations_are_found_whatever_the_pace_of_a_recording():
    rng = np.random.default_rng(0)
    true, recordings = np.array([0.02, 0.05, 0.1, 0.3]), []
    for pace in (0.8, 1.0, 1.25, 1.0):
        ids = rng.integers(0, 4, 200)
        ends = np.concatenate([[0.0], true[ids].cumsum()]) * pace
        recordings.append(token_durations.sums(ids.tolist(), Anchors(np.arange(201.0), ends), 5))
    found = token_durations.typical_durations(recordings)
    np.testing.assert_allclose(found[:4] / found[:4].sum(), true / true.sum(), rtol=0.02)
    assert found[4] == np.median(found[:4]), "a token that is not there"
    assert token_durations.displacement(recordings, found) < 0.01 * token_durations.displacement(recordings, np.ones(5))


def test_time_between_anchors_is_that_of_the_parts_of_tokens_there():
    found = token_durations.sums([1, 0, 1], Anchors(np.array([0.0, 0.5, 2.0, 3.0]), np.array([0.0, 0.1, 0.4, 0.5])), 2)
    np.testing.assert_allclose(found.counts, [[0, 0.5], [1, 0.5], [0, 1]])
    np.testing.assert_allclose(found.seconds, [0.1, 0.3, 0.1])


def test_no_duration_is_negative():
    counts, seconds = np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 0.0]]), np.array([1.0, 0.5, 1.2])
    found = token_durations.non_negative_least_squares(counts, seconds)
    np.testing.assert_allclose(found, [0.9, 0.0], atol=1e-9)


# ---------------------------------------------------------------- other speakers

other_speakers = script("other_speakers")


def test_a_recording_played_faster_is_higher_and_shorter_and_so_are_its_phones(tmp_path):
    write(tmp_path / "audio" / "x.flac", Audio(tone(1.0, 0.5)[None], 24000))
    (tmp_path / "p_list.tsv").write_text("id\ttext\taudio\tspeaker\nx\tAh.\taudio/x.flac\ts\n")
    line = json.dumps({"id": "x", "words": [["ah", [["AA", 0.25, 0.75]]]]})
    (tmp_path / "phones_list.jsonl").write_text(f"{line}\n")
    other_speakers.make_list(tmp_path, "list", "1.25", num_jobs=1)
    (row,) = read_list(tmp_path / "p_list_1.25.tsv")
    assert row == {"id": "x@1.25", "text": "Ah.", "audio": "audio/x@1.25.flac", "speaker": "s@1.25"}
    (phones_of_row,) = map(json.loads, (tmp_path / "phones_list_1.25.jsonl").read_text().splitlines())
    assert phones_of_row == {"id": "x@1.25", "words": [["ah", [["AA", 0.2, 0.6]]]]}
    played = read(tmp_path / row["audio"]).samples[0]
    expected = 0.5 * np.sin(2 * math.pi * 250 * np.arange(19200) / 24000)
    assert len(played) == 19200
    np.testing.assert_allclose(played[1000:-1000], expected[1000:-1000], atol=0.01, rtol=0)


# ---------------------------------------------------------------- pairs

join_pairs = script("join_pairs")
typical_pace = script("typical_pace")


def cut(name, speaker, said, num_frames, num_tokens):
    supervision = SimpleNamespace(speaker=speaker, text=said, custom={"tokens": ["a"] * num_tokens})
    features = SimpleNamespace(num_frames=num_frames)
    return SimpleNamespace(id=name, duration=num_frames * 256 / 24000, supervisions=[supervision], features=features)


TIMED = TokenTable(("_", "a", "b"), (0.1, 0.1, 0.2))


def draw(rows, number=300):
    cuts = [cut(f"{speaker}{i}", speaker, *rest) for i, (speaker, *rest) in enumerate(rows)]
    speakers = join_pairs.by_speaker(cuts)
    return list(join_pairs.draw(TIMED, speakers, speakers, number, Random(0)))


def ids_of(pairs):
    return Counter((pair.prompt.id, pair.speech.id) for pair in pairs)


def test_pairs_are_of_one_speaker_and_two_texts_of_fitting_lengths():
    rows = [
        *(("a", "one", 141, 20), ("a", "two", 105, 16)),  # the second is too short to be a prompt
        *(("a", "three", 150, 60), ("a", "four", 160, 6)),  # of too many tokens and too few
        *(("b", "one", 141, 20), ("b", "one", 141, 20)),  # one text only
        *(("c", "one", 141, 20), ("c", "two", 100, 18), ("c", "three", 300, 19)),  # spoken too fast and too slowly
        ("c", "four", 190, 20),  # to be squeezed, but not too much
    ]
    drawn = ids_of(draw(rows))
    assert drawn.total() == 300
    assert set(drawn) == {("a0", "a1"), ("c6", "c9")}


def test_the_more_a_speaker_has_said_the_more_often_but_less_than_in_proportion():
    rows = [(who, said, 181, 25) for who, count in (("x", 2), ("y", 8)) for said in map(str, range(count))]
    drawn = ids_of(draw(rows, 3000))
    share = sum(count for (first, _), count in drawn.items() if first.startswith("y")) / 3000
    assert share == pytest.approx(4**0.7 / (1 + 4**0.7), abs=0.03)


def test_the_speech_of_a_pair_has_the_pace_of_its_prompt():
    rows = [("a", "one", 141, 20), ("a", "two", 141, 19)]
    for pair in draw(rows, 20):
        first, second = (len(one.supervisions[0].custom["tokens"]) for one in (pair.prompt, pair.speech))
        assert (pair.heard, pair.said) == (160, round(160 * second / first))


def test_what_cannot_be_paired_is_refused():
    with pytest.raises(ValueError, match="no speaker has two texts"):
        draw([("a", "one", 181, 25)] * 2)
    with pytest.raises(ValueError, match="'None0' has no speaker"):
        draw([(None, "one", 181, 25)])


# ---------------------------------------------------------------- real recordings through all of it


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The manifest of real recordings, with their tokens and features, and the times of their phones beside it."""
    pytest.importorskip("piper_phonemize")
    pytest.importorskip("lhotse")
    from zipvoice.data.prepare import prepare

    folder = tmp_path_factory.mktemp("small")
    rows = [f"{key}\t{said}\t{CORPUS / path}\tkathleen\n" for key, said, path in sentences()]
    (folder / "list.tsv").write_text("id\ttext\taudio\tspeaker\n" + "".join(rows))
    tokenizer = TokenizerConfig("espeak", "en-us")
    options = PrepareOptions(str(folder / "list.tsv"), str(folder), "small", "dev", tokenizer, features=True)
    return Path(prepare(options).manifest)


@pytest.fixture(scope="module")
def paced(prepared):
    """Their times of phones, the table of durations, and their manifest at the typical pace."""
    pytest.importorskip("pocketsphinx")
    times, table, manifest = (prepared.with_name(name) for name in ("phones.jsonl", "timed.txt", "paced.jsonl.gz"))
    align_phones.main(prepared.with_name("list.tsv"), times)
    phone_table().write(prepared.with_name("tokens.txt"))
    token_durations.time_tokens(prepared.with_name("tokens.txt"), table, [prepared], [times])
    typical_pace.main(table, times, prepared, manifest)
    words = {row["id"]: row["words"] for row in map(json.loads, times.read_text().splitlines())}
    return words, TokenTable.read(table), manifest


def load(path):
    from zipvoice.data.cuts import load_features, read_cuts, stored_tokens

    return {item.id: (load_features(item, 100), stored_tokens(item), item) for item in read_cuts(path)}


LILCOM = {"atol": 1 / 32, "rtol": 0}


def test_real_recordings_have_plausible_durations(paced):
    table = paced[1]
    seconds = dict(zip(table.tokens, table.durations, strict=True))
    assert 0.04 < np.mean([seconds[token] for token in "aɪnstk"]) < 0.15
    assert min(table.durations) >= 0.004 and max(table.durations) < 0.5


def test_real_recordings_at_the_typical_pace(prepared, paced):
    times, table, manifest = paced
    source, made = load(prepared), load(manifest)
    assert list(made) == list(source) == list(times)
    for key, (features, tokens, item) in source.items():
        found = anchors.find_anchors(tokens, times[key], item.duration)
        expected = anchors.warp(features, found, anchors.typical(table, tokens), len(features))
        np.testing.assert_allclose(made[key][0], expected, **LILCOM)
        assert made[key][1] == tokens
        assert made[key][2].duration == made[key][2].supervisions[0].duration == len(features) * 256 / 24000


def test_recordings_that_cannot_be_brought_to_it_are_counted(prepared, paced, capsys):
    (first, phones_of_first), (second, _), *_ = paced[0].items()
    lines = [{"id": first, "words": phones_of_first}, {"id": second, "words": [["she", [["SH", 0.1, 0.3]]]]}]
    times, target = prepared.with_name("other.jsonl"), prepared.with_name("other.jsonl.gz")
    times.write_text("".join(json.dumps(line) + "\n" for line in lines))
    typical_pace.main(prepared.with_name("timed.txt"), times, prepared, target)
    assert list(load(target)) == [first]
    assert capsys.readouterr().out.endswith(
        "1 recordings; left out: 1 whose phones do not fit the tokens, 4 without times of phones\n"
    )


@pytest.fixture(scope="module")
def pairs(prepared, paced):
    """The manifest of pairs of them."""
    target = prepared.with_name("pairs.jsonl.gz")
    join_pairs.join_pairs(paced[1], target, 12, [prepared], [prepared.with_name("phones.jsonl")])
    return target


def test_a_pair_is_a_prompt_silence_and_speech_at_the_pace_of_the_prompt(prepared, paced, pairs):
    times, table, _ = paced
    source, made = load(prepared), load(pairs)
    assert len(made) == 12
    for name, (features, tokens, pair) in made.items():
        key, other = sorted((key for key in source if key in name), key=name.index)
        (first, first_tokens, cut), (second, second_tokens, following) = source[key], source[other]
        before, after = (anchors.typical(table, some) for some in (first_tokens, second_tokens))
        speech = round((len(first) + 19) * after.sum() / before.sum())
        found = anchors.find_anchors(second_tokens, times[other], following.duration)
        expected = [first, np.full((19, 100), math.log(1e-7)), anchors.warp(second, found, after, speech)]
        np.testing.assert_allclose(features, np.concatenate(expected), **LILCOM)
        assert tokens == first_tokens + second_tokens
        said = following.supervisions[0].text
        assert pair.supervisions[0].text == f"{cut.supervisions[0].text} {said}"
        assert pair.duration == pair.supervisions[0].duration == len(features) * 256 / 24000


def test_text_is_laid_out_beside_its_speech(prepared, paced, pairs):
    source, table = load(prepared), paced[1]
    model = ZipVoice(TINY, table.vocabulary)
    for name, (features, tokens, _) in load(pairs).items():
        first, first_tokens, _ = source[min((key for key in source if key in name), key=name.index)]
        ids, num_tokens = map(torch.from_numpy, pad_tokens([table.ids(tokens)], 0))
        places = model.alignment(ids, num_tokens, torch.tensor([len(features)]), len(features))[0]
        begins = int((places >= len(first_tokens)).nonzero()[0])
        assert abs(begins - (len(first) + 19)) <= 1, "where the speech begins"
        assert places.max() == len(tokens) - 1


def test_a_recording_without_times_of_phones_is_only_a_prompt(prepared, paced, pairs):
    timed = next(key for key in paced[0] if any(name.endswith(key) for name in load(pairs)))
    times, target = prepared.with_name("one.jsonl"), prepared.with_name("one.jsonl.gz")
    times.write_text(json.dumps({"id": timed, "words": paced[0][timed]}) + "\n")
    join_pairs.join_pairs(paced[1], target, 5, [prepared], [times])
    assert all(name.endswith(timed) for name in load(target))


def test_training_reads_pairs(pairs):
    from zipvoice.data.dataset import ValidationData
    from zipvoice.text.tokenizers import build_tokenizer
    from zipvoice.text.vocabularies import corpus_table

    made = load(pairs)
    table = corpus_table(tokens for _, tokens, _ in made.values())
    data = DataConfig(dev=(ManifestConfig(str(pairs)),), num_workers=0)
    batches = list(ValidationData(data, table, build_tokenizer(TokenizerConfig("espeak", "en-us"), ()), scale=1.0))
    read_back = {name: item for batch in batches for name, item in zip(batch.ids, batch.tokens, strict=True)}
    assert read_back == {name: table.ids(tokens) for name, (_, tokens, _) in made.items()}


# ---------------------------------------------------------------- how tokens sound

teach_text = script("teach_text")
LETTER_SOUNDS = dict(zip("abcd", torch.randn(4, 100, generator=torch.Generator().manual_seed(1)).numpy(), strict=True))


def write_sounds(path, texts):
    """A manifest of texts, two frames for each letter, every text spoken by another voice."""
    lhotse = pytest.importorskip("lhotse")
    from zipvoice.data.cuts import feature_writer, make_cut, with_tokens, write_cuts

    made = []
    with feature_writer(path.with_suffix(".lca"), "lilcom_chunky") as store:
        for voice, said in enumerate(texts):
            features = np.stack([LETTER_SOUNDS[letter] + voice for letter in said for _ in range(2)])
            samples = len(features) * 256
            recording = lhotse.Recording(f"r{voice}", [], 24000, samples, samples / 24000, channel_ids=[0])
            made.append(store(with_tokens(make_cut(f"u{voice}", said, recording), list(said)), features))
    write_cuts(path, made)
    return str(path)


def shuffled_letters():
    """As all texts have the same letters, their means are the same but for the voice, so that letters have sounds."""
    texts = ["".join(letters) for letters in itertools.permutations("abcd")]
    Random(0).shuffle(texts)
    return texts


def test_the_text_encoder_learns_how_tokens_sound_and_nothing_else_changes(tmp_path, monkeypatch, capsys):
    texts = shuffled_letters()
    train, dev = (write_sounds(tmp_path / name, part) for name, part in (("t.gz", texts[:18]), ("d.gz", texts[18:])))
    make_model(tmp_path / "init")
    for name, value in (("PEAK_RATE", 2e-2), ("WARMUP_STEPS", 20), ("BATCH_SIZE", 16)):  # learns in seconds
        monkeypatch.setattr(teach_text, name, value)
    teach_text.teach_text(tmp_path / "init", tmp_path / "out", 200, [train], dev)

    spoken = np.stack(list(LETTER_SOUNDS.values()))
    variance = 0.1**2 * np.square(spoken - spoken.mean(axis=0)).mean()
    told = [float(number) for number in re.findall(r"0\.\d+", capsys.readouterr().out)]
    assert len(told) == 4 and told[1::2] == pytest.approx([variance] * 2, abs=1e-4)
    before, after = load_pretrained(tmp_path / "init"), load_pretrained(tmp_path / "out")
    assert teach_text.squared_error(after.model, teach_text.sentences([dev], after)) < 0.02 * variance
    changed = {
        name for name, value in before.model.state_dict().items() if not value.equal(after.model.state_dict()[name])
    }
    assert {name.split(".")[0] for name in changed} == {"embed", "text_encoder"}
    assert (after.file, after.table) == (before.file, before.table)


def test_a_token_sounds_like_the_mean_of_its_frames_less_that_of_the_utterance(tmp_path):
    make_model(tmp_path / "init")
    pupil = load_pretrained(tmp_path / "init")
    one, two = teach_text.sentences([write_sounds(tmp_path / "two.gz", ["ab", "bac"])], pupil)
    assert (one.ids, two.ids) == (LETTERS.ids("ab"), LETTERS.ids("bac"))
    expected = np.stack([LETTER_SOUNDS[letter] for letter in "bac"])
    np.testing.assert_allclose(two.sound, 0.1 * (expected - expected.mean(axis=0)), atol=0.1 / 16, rtol=0)
    both, of_one, of_two = (teach_text.squared_error(pupil.model, batch) for batch in ([one, two], [one], [two]))
    torch.testing.assert_close(both, (2 * of_one + 3 * of_two) / 5)  # the mean over five tokens, none of them padding


def test_tokens_count_by_their_frames_and_those_without_any_do_not(tmp_path):
    make_model(tmp_path / "init")
    pupil = load_pretrained(tmp_path / "init")
    durations = tuple(0.001 if token == "b" else 1.0 for token in LETTERS.tokens)
    model = ZipVoice(TINY, replace(LETTERS.vocabulary, durations=durations))
    model.load_state_dict(pupil.model.state_dict())
    timed = replace(pupil, model=model)
    (said,) = teach_text.sentences([write_sounds(tmp_path / "one.gz", ["aabaa"])], timed)  # ten frames for four letters
    assert said.num_frames.sum() == 10 and said.num_frames[2] == 0
    error = teach_text.squared_error(model, [said])
    encoded = model.encode_text(*map(torch.from_numpy, pad_tokens([said.ids], 0)))[0, :5]
    kept = [0, 1, 3, 4]
    errors = (encoded - said.sound)[kept].square().mean(dim=1)
    torch.testing.assert_close(error, (errors * said.num_frames[kept]).sum() / 10)


def test_a_run_describes_the_model_whose_weights_are_random(tmp_path):
    LETTERS.write(tmp_path / "tokens.txt")
    run = RunConfig(
        model=TINY,
        feature=FeatureConfig(scale=0.4),
        tokens=str(tmp_path / "tokens.txt"),
        init_from=str(tmp_path / "out"),
    )
    write_json(run, tmp_path / "run.json")
    train = write_sounds(tmp_path / "train.gz", shuffled_letters())
    teach_text.teach_text(tmp_path / "run.json", tmp_path / "out", 1, [train], train)
    made = load_pretrained(tmp_path / "out")
    assert made.file == ModelFile(TINY, FeatureConfig(scale=0.4), "zipvoice", run.tokenizer)
    torch.manual_seed(teach_text.SEED)
    fresh = ZipVoice(TINY, LETTERS.vocabulary)
    assert all(map(torch.equal, fresh.fm_decoder.parameters(), made.model.fm_decoder.parameters()))


def test_the_rate_rises_and_falls_along_lines():
    rates = [teach_text.rate(step, 500) for step in (0, 49, 99, 300, 499)]
    assert rates == pytest.approx([0.01, 0.5, 1.0, 0.5, 1 / 400])


# ---------------------------------------------------------------- the teacher

teacher = script("teacher")
teacher_speech = script("teacher_speech")
list_texts = script("list_texts")

SYMBOLS = {symbol: i for i, symbol in enumerate("AOIWYTʧʤəɹɜɔæᵊlntkbmspɪːˈ .,", start=1)} | {"ː": 99}


class Speaker:
    """In the place of the network: a frame of 600 samples, each with the id of its symbol."""

    def __init__(self):
        self.heard = []

    def run(self, _, inputs):
        self.heard.append(inputs)
        return [np.repeat(inputs["ids"][0], inputs["durs"])[None]] * 6


def fake_teacher(monkeypatch):
    def synth(ids, *_):
        return np.repeat(ids, 600).astype(np.float32)

    monkeypatch.setitem(sys.modules, "hibari", SimpleNamespace(dsp=SimpleNamespace(synth=synth)))
    planner = SimpleNamespace(run=lambda _, inputs: [np.full(inputs["ids"].shape, 4)])
    return teacher.Teacher(SYMBOLS, planner, Speaker())


def test_tokens_become_symbols_that_share_their_time():
    speaker = teacher.Teacher(SYMBOLS, None, None)
    tokens, seconds = list("ˈeɪtʃɜːɹsʔn̩ʲ"), np.arange(1, 14)
    found = speaker.symbols(tokens, seconds)
    assert "".join(symbol for symbol, _ in found) == "ˈAʧɜɹstn"
    assert [duration for _, duration in found] == [1, 2 + 3, 4 + 5, 10.5, 10.5, 9, 16.5, 16.5 + 13]
    assert sum(duration for _, duration in found) == seconds.sum()


def test_time_before_the_first_symbol_goes_to_it():
    speaker = teacher.Teacher(SYMBOLS, None, None)
    assert speaker.symbols(["(", "s"], [0.5, 1.0]) == [("s", 1.5)]


@given(st.lists(st.floats(0.0, 0.5), min_size=1, max_size=60))
def test_ends_in_frames_are_the_rounded_ends_where_each_symbol_has_a_frame(seconds):
    frames = teacher.whole_frames(seconds)
    ends = np.cumsum(seconds) * teacher.FRAMES_PER_SECOND
    assert min(frames) >= 1
    if all(np.diff(np.round([0, *ends])) >= 1):
        assert np.cumsum(frames) == pytest.approx(np.round(ends))


def test_forced_sounds_come_after_their_frames_by_what_the_network_is_early(monkeypatch):
    speaker = fake_teacher(monkeypatch)
    sound = speaker.forced(list("sɪt"), np.array([0.1, 0.2, 0.3]))
    assert speaker.speaker.heard[0]["durs"].tolist() == [3, 4, 8, 12, 2]
    assert len(sound) == 0.6 * 24000
    late = round(teacher.EARLY_SECONDS * 24000)
    assert (sound[:late] == 0).all() and (sound[late : late + 2400] == SYMBOLS["s"]).all()


def test_the_second_text_of_a_pair_has_the_pace_of_the_first_with_its_silence(monkeypatch):
    speaker = fake_teacher(monkeypatch)
    monkeypatch.setattr(teacher_speech, "trimmed", lambda audio: audio)
    first, second = (teacher_speech.Text(text, list(text), np.full(len(text), 0.1)) for text in ("sɪts", "tɪps"))
    natural = speaker.natural(first.tokens)
    pace = (len(natural) / 24000 + 0.2) / 0.4
    monkeypatch.setattr(teacher_speech, "PACES", (pace - 0.01, pace + 0.01))
    monkeypatch.setattr(Random, "random", lambda _: 0.9)
    sound = teacher_speech.said(speaker, Random(0), first, second).samples[0]
    assert (sound[: len(natural)] == natural).all() and (sound[len(natural) : len(natural) + 4800] == 0).all()
    assert len(sound) - len(natural) - 4800 == pytest.approx(pace * 0.4 * 24000, abs=300)
    monkeypatch.setattr(teacher_speech, "PACES", (pace - 0.02, pace - 0.01))
    assert teacher_speech.said(speaker, Random(0), first, second) is None


def test_texts_are_examples_and_transcripts_that_are_not_held_out(tmp_path, monkeypatch):
    for part in list_texts.PARTS:
        (tmp_path / f"data.{part}").write_text('  1 a licence; "He had it all along"\n')
    lines = [
        '1 | a gloss; "he walked home again"; "too short here"',
        '2 | none; "we SAW NASA go up"; "she sat very still"',
    ]
    (tmp_path / "data.noun").write_text("\n".join(lines))
    (tmp_path / "out.tsv").write_text("text\nShe sat very still!\n")
    (tmp_path / "in.tsv").write_text("text\nHe walked home again.\nAnd so did all the rest.\n")
    arguments = [str(tmp_path), str(tmp_path / "texts.txt"), "--held-out", str(tmp_path / "out.tsv")]
    monkeypatch.setattr(sys, "argv", ["list_texts.py", *arguments, "--transcripts", str(tmp_path / "in.tsv")])
    list_texts.main()
    assert (tmp_path / "texts.txt").read_text().splitlines() == ["He walked home again.", "And so did all the rest."]


# ---------------------------------------------------------------- the distilled model

move_distilled = script("move_distilled")


def test_a_distilled_model_moves_as_its_teacher_has():
    def weights(decoder, text, **others):
        return {"fm_decoder.a": torch.tensor([decoder]), "text_encoder.a": torch.tensor([text]), **others}

    pupil = weights(2.0, 5.0, **{"fm_decoder.guidance": torch.tensor([7.0]), "fm_decoder.n": torch.tensor(3)})
    number = {"fm_decoder.n": torch.tensor(4)}
    moved = move_distilled.moved(weights(1.0, 5.0, **number), weights(1.5, 6.0, **number), pupil)
    assert {name: weight.item() for name, weight in moved.items()} == {
        "fm_decoder.a": 2.5,
        "text_encoder.a": 6.0,
        "fm_decoder.guidance": 7.0,
        "fm_decoder.n": 4,
    }


package = script("package")


@pytest.mark.parametrize(("num_steps", "is_fast"), [(4, True), (3, False), (2, False)])
def test_a_packaged_model_is_hurried_by_fewer_steps_only(tmp_path, monkeypatch, num_steps, is_fast):
    monkeypatch.setattr(package, "write_model_graphs", lambda *given: None)  # they do not tell steps
    make_model(tmp_path / "run", "zipvoice_distill")
    (tmp_path / "shipped").mkdir()
    three = SamplingConfig(3, 0.7)
    write_json(ModelFile(variant="zipvoice_distill", fast=three), tmp_path / "shipped" / "model.json")
    package.package(tmp_path / "run", tmp_path / "shipped", SamplingConfig(num_steps, 1.2))
    file = read_json(ModelFile, tmp_path / "shipped" / "model.json")
    assert (file.sampling, file.fast) == (SamplingConfig(num_steps, 1.2), three if is_fast else None)


# ---------------------------------------------------------------- the commands


def commands(*options):
    done = subprocess.run(["bash", RECIPE / "run.sh", "--dry-run", *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [shlex.split(line) for line in done.stdout.splitlines()]


class ParsedError(Exception):
    """The arguments were accepted."""


def test_every_command_of_the_recipe_parses(tmp_path, monkeypatch):
    def parse_only(*args, **kwargs):
        raise ParsedError(cli(*args, **kwargs))

    cli = tyro.cli
    monkeypatch.setattr(tyro, "cli", parse_only)
    monkeypatch.chdir(tmp_path)
    for program, *arguments in commands():
        if program == "zipvoice":
            for path in [argument for argument in arguments if argument.endswith(".json")]:
                committed = RECIPE / path
                run = read_json(RunConfig, committed) if committed.is_file() else RunConfig()
                write_json(run, tmp_path / path)
            with pytest.raises(ParsedError):
                main(arguments)
        else:
            assert program == "python" and (RECIPE / arguments[0]).is_file()


def test_each_stage_reads_what_an_earlier_one_wrote():
    names = ("heldout", "dev", "train_kathleen", "train_others", "train_readers", "train_flite")
    there = {f"data/{name}.tsv" for name in names}
    first, *others = [
        *commands("--stop-stage", "5", "--corpora", "/corpora"),
        *commands("--stage", "9", "--corpora", "/corpora"),
    ]
    assert first == ["python", "local/list_corpora.py", "/corpora", "data", "--num-jobs", "2"]
    for _, *arguments in others:
        files = [argument for argument in arguments if argument.startswith("data/") and "." in argument]
        if arguments[0] == "train":
            run = read_json(RunConfig, RECIPE / arguments[1])
            files, made = [run.tokens, *(item.path for item in (*run.data.train, *run.data.dev))], set()
        elif arguments[0] == "average":
            made = set()
        elif arguments[0] == "prepare":
            subset = arguments[arguments.index("--subset") + 1]
            made = {f"data/fbank/small_cuts_{subset}.jsonl.gz"}
        elif arguments[0] == "local/trim_and_level.py":
            made = {path.replace("data/", "data/p_") for path in files}
        elif arguments[0] == "local/other_speakers.py":
            factor, names = arguments[2], arguments[3:6]
            files = [f"data/phones_{name}.jsonl" for name in names]
            made = {
                f"data/{kind}_{name}_{factor}.{end}"
                for name in names
                for kind, end in (("p", "tsv"), ("phones", "jsonl"))
            }
        elif arguments[0] in ("local/align_phones.py", "local/typical_pace.py"):
            made = {files.pop()}
        elif arguments[0] in ("local/teach_text.py", "local/move_distilled.py", "local/package.py", "voice"):
            made = set()
        elif arguments[0] == "local/teacher_voice.py":
            made = {files.pop()}
        elif arguments[0] == "local/list_texts.py":
            made = {files.pop(0)}
        elif arguments[0] == "local/teacher_speech.py":
            made = {files.pop()}
        else:  # a table with durations or pairs, after the table without
            made = {files.pop(0 if len(files) == 1 else 1)}
        assert set(files) <= there, arguments
        there |= made
    assert "data/timed_tokens.txt" in there


def test_help_explains_every_option():
    shown = subprocess.run(["bash", RECIPE / "run.sh", "--help"], capture_output=True, text=True).stdout
    for option in ("stage", "stop-stage", "corpora", "wordnet", "num-jobs", "num-gpus", "dry-run"):
        assert f"--{option} " in shown


def test_a_stage_that_was_broken_off_goes_on_where_it_was(tmp_path):
    """The first rate of a run that has finished must not be asked for again: `zipvoice train` refuses that."""
    (tmp_path / "egs" / "small").mkdir(parents=True)
    for name in ("stages.sh", "small/run.sh"):
        shutil.copy(RECIPE.parent / name, tmp_path / "egs" / name)
    (tmp_path / "zipvoice").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "zipvoice").chmod(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = ["bash", tmp_path / "egs/small/run.sh", "--stage", "6", "--stop-stage", "6"]

    def ran(*saved):
        for step in saved:
            (tmp_path / "egs/small/exp/distill").mkdir(parents=True, exist_ok=True)
            (tmp_path / f"egs/small/exp/distill/checkpoint-{step}.pt").touch()
        return subprocess.run(command, env=path, capture_output=True, text=True, check=True).stdout.splitlines()

    first, second, average = "300", "440 --optim.base-lr 0.003", "average --exp-dir exp/distill --num 1"
    legs = {leg: f"train conf/distill.json --num-steps {leg}" for leg in (first, second)}
    assert ran() == [*legs.values(), average]
    assert ran(90, 100) == [*legs.values(), average]
    assert ran(300) == [legs[second], average]
    assert ran(1000) == [average]


def test_stages_and_options_can_be_chosen():
    ran = commands("--stage", "5", "--stop-stage", "6", "--", "--seed", "7")
    trainings = [arguments for program, command, *arguments in ran if (program, command) == ("zipvoice", "train")]
    assert [arguments[0] for arguments in trainings] == [*["conf/voice.json"] * 4, *["conf/distill.json"] * 2]
    assert all(arguments[-2:] == ["--seed", "7"] for arguments in trainings)
