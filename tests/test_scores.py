# SPDX-License-Identifier: Apache-2.0
"""Scores of folders of speech, on the recordings of egs/mini: two women, several takes of a sentence."""

import json
from pathlib import Path

import numpy as np
import pytest

from zipvoice.audio.files import Audio, read, write
from zipvoice.cli import main
from zipvoice.evaluation import scores
from zipvoice.evaluation.dnsmos import predict_dnsmos
from zipvoice.evaluation.scores import Expected, Scores, closed_set_accuracy, dictation_errors, score, table

CORPUS = Path(__file__).parents[1] / "egs/mini/corpus"


def recordings(name: str, number: int) -> list[tuple[str, str, Path]]:
    lines = (CORPUS / f"{name}.tsv").read_text(encoding="utf-8").splitlines()[:number]
    return [(i, text, CORPUS / path) for i, text, path in (line.split("\t") for line in lines)]


def sounds(name: str, number: int) -> list[tuple[Expected, Audio]]:
    return [(Expected(i, text), read(path)) for i, text, path in recordings(name, number)]


def test_real_recordings_are_understood():
    spoken = sounds("train", 6)
    assert closed_set_accuracy(spoken) == {"closed_set_accuracy": 1.0}
    assert dictation_errors(spoken)["word_error_rate"] < 0.4


def test_recordings_of_other_sentences_are_not():
    spoken = sounds("train", 4)
    shifted = [(expected, audio) for (expected, _), (_, audio) in zip(spoken, spoken[1:] + spoken[:1], strict=True)]
    assert closed_set_accuracy(shifted) == {"closed_set_accuracy": 0.0}
    assert dictation_errors(shifted)["word_error_rate"] > 0.8


def test_sentences_the_recogniser_cannot_know_are_left_out_of_the_closed_set():
    spoken = sounds("train", 2)
    odd = [(Expected("odd", "Zxqwv brgfl."), spoken[0][1])]
    assert closed_set_accuracy(spoken + odd) == {"closed_set_accuracy": 1.0}
    assert closed_set_accuracy(odd) == {}


def test_the_last_group_of_the_closed_set_is_filled_up(monkeypatch):
    monkeypatch.setattr(scores, "CLOSED_SET_SIZE", 4)
    sizes = []

    class Recorder(scores.ClosedSetRecognizer):
        def __init__(self, sentences):
            sizes.append(len(sentences))
            super().__init__(sentences)

    monkeypatch.setattr(scores, "ClosedSetRecognizer", Recorder)
    assert closed_set_accuracy(sounds("train", 6)) == {"closed_set_accuracy": 1.0}
    assert sizes == [4, 4]


@pytest.mark.slow  # as the next one: librosa compiles for many seconds
def test_noise_is_heard_as_worse_quality():
    clean = read(recordings("train", 1)[0][2])
    noise = np.random.default_rng(0).standard_normal(clean.samples.shape, np.float32)
    noisy = Audio(clean.samples + 0.3 * clean.samples.std() * noise, clean.sampling_rate)
    assert predict_dnsmos(clean).overall > 2.5
    assert predict_dnsmos(noisy).overall < predict_dnsmos(clean).overall - 0.5
    assert predict_dnsmos(noisy).p808 < predict_dnsmos(clean).p808 - 0.5


@pytest.mark.slow
def test_loud_sound_is_scaled_for_the_quality_model_only_where_needed():
    clean = read(recordings("train", 1)[0][2])
    loud = Audio(clean.samples / np.abs(clean.samples).max() * 2, clean.sampling_rate)
    full = Audio(loud.samples / 2, clean.sampling_rate)
    assert predict_dnsmos(loud).overall == pytest.approx(predict_dnsmos(full).overall, abs=0.05)


@pytest.mark.slow  # the speaker encoder compiles for many seconds
def test_the_voice_of_a_speaker_is_closer_to_her_own_than_to_another_one():
    (_, _, first), *_ = recordings("train", 1)
    (_, _, other), *_ = recordings("lj_train", 1)
    spoken = [
        *((Expected(f"k{n}", text, first), read(path)) for n, (_, text, path) in enumerate(recordings("dev", 2))),
        *(
            (Expected(f"l{n}", text, other), read(path))
            for n, (_, text, path) in enumerate(recordings("lj_train", 3)[1:])
        ),
    ]
    means = scores.similarities(spoken)
    assert means["similarity"] > 0.75
    assert means["similarity_to_others"] < 0.7
    silent = Audio(np.zeros((1, 24000), np.float32), 24000)
    with pytest.raises(ValueError, match=r"nothing: only 0\.00 s of speech"):
        scores.similarities([(Expected("nothing", "Nothing.", first), silent)])


def test_a_missing_recording_is_named(tmp_path):
    write(tmp_path / "a.flac", Audio(np.zeros((1, 100), np.float32), 24000))
    with pytest.raises(FileNotFoundError, match=r"has no recording of b, c$"):
        score([Expected(name, name) for name in "abc"], tmp_path, ["wer"])
    with pytest.raises(FileNotFoundError, match=r"1, 2, 3, 4, 5 and 4 more$"):
        score([Expected(name, name) for name in "123456789"], tmp_path, ["wer"])


def test_unknown_metrics_and_empty_lists_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no metric 'were'.*wer"):
        score([], tmp_path, ["were"])
    with pytest.raises(ValueError, match="the list is empty"):
        score([], tmp_path)


def test_the_table_has_the_rows_that_were_measured():
    shown = table(
        {"real": Scores(12, 34.56, closed_set_accuracy=1.0), "ours": Scores(12, 36.0, closed_set_accuracy=0.955)}
    )
    assert shown == (
        "|                     |    real |   ours |\n"
        "| ---                 |    ---: |   ---: |\n"
        "| recordings          |      12 |     12 |\n"
        "| seconds             |    34.6 |   36.0 |\n"
        "| closed-set accuracy | 100.0 % | 95.5 % |\n"
    )


def test_the_command_scores_folders_side_by_side(tmp_path, capsys):
    chosen = recordings("train", 3)
    voice = recordings("dev", 1)[0]
    listed = "".join(f"{name}\t{voice[1]}\t{voice[2]}\t{text}\n" for name, text, _ in chosen)
    (tmp_path / "list.tsv").write_text(listed, encoding="utf-8")
    for folder, paths in (("right", chosen), ("turned", chosen[1:] + chosen[:1])):
        for (name, _, _), (_, _, path) in zip(chosen, paths, strict=True):
            write(tmp_path / folder / f"{name}.wav", read(path))
    folders = [str(tmp_path / "right"), str(tmp_path / "turned")]
    assert main(["evaluate", str(tmp_path / "list.tsv"), *folders, "--metrics", "closed_set", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [printed[folder]["closed_set_accuracy"] for folder in folders] == [1.0, 0.0]
    assert main(["evaluate", str(tmp_path / "list.tsv"), folders[0], "--metrics", "closed_set"]) == 0
    assert "| closed-set accuracy | 100.0 % |" in " ".join(capsys.readouterr().out.split())
