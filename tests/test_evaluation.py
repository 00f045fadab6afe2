# SPDX-License-Identifier: Apache-2.0
"""Word errors, mel distance and the closed-set accuracy, on closed forms and on the recordings of egs/mini."""

import math
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zipvoice.audio.files import Audio, read
from zipvoice.cli import evaluation as command
from zipvoice.evaluation.mel_distance import mel_distance, warped_distance
from zipvoice.evaluation.word_errors import WordErrors, normalize, word_error_rate, word_errors

CORPUS = Path(__file__).parents[1] / "egs/mini/corpus"


# ---------------------------------------------------------------- word errors

WORDS = st.lists(st.sampled_from("abc"), max_size=6)


@cache
def levenshtein(first: tuple[str, ...], second: tuple[str, ...]) -> int:
    """The textbook recursion."""
    if not first or not second:
        return len(first) + len(second)
    return min(
        levenshtein(first[1:], second[1:]) + (first[0] != second[0]),
        levenshtein(first[1:], second) + 1,
        levenshtein(first, second[1:]) + 1,
    )


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("Will we ever forget it.", "will we ever forget it", WordErrors(0, 0, 0, 5)),
        ("a b c d", "a x c d", WordErrors(1, 0, 0, 4)),
        ("a b c d", "a c d", WordErrors(0, 1, 0, 4)),
        ("a b c d", "a b b c d", WordErrors(0, 0, 1, 4)),
        ("a b c d", "b c d e f", WordErrors(0, 1, 2, 4)),
        ("a b", "", WordErrors(0, 2, 0, 2)),
        ("", "a b", WordErrors(0, 0, 2, 0)),
    ],
)
def test_word_errors_are_counted_by_kind(reference, hypothesis, expected):
    assert word_errors(reference, hypothesis) == expected


@given(WORDS, WORDS)
def test_word_errors_are_the_fewest_possible(reference, hypothesis):
    counts = word_errors(" ".join(reference), " ".join(hypothesis))
    assert counts.errors == levenshtein(tuple(reference), tuple(hypothesis))
    assert counts.words - counts.deletions + counts.insertions == len(hypothesis)


def test_corpus_rate_weighs_utterances_by_their_words():
    assert word_error_rate([("a", "b"), ("a b c d e f g", "a b c d e f g")]) == 1 / 8


def test_no_reference_word_has_no_rate():
    with pytest.raises(ValueError, match="without a reference word"):
        word_error_rate([("...", "a")])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Nope, not the slightest idea.", "nope not the slightest idea"),
        ("It’s  the\taurora -- borealis!", "it's the aurora borealis"),
        ("'Come here,' said the boys' aunt", "come here said the boys aunt"),
        ("twenty-seventh of 1837", "twenty seventh of eighteen thirty seven"),
        ("IN THE 1990S", "in the nineteen nineties"),
        ("!?", ""),
    ],
)
def test_normalize(text, expected):
    assert normalize(text) == expected


@pytest.mark.parametrize(
    ("written", "heard"),
    [
        ("50", "fifty"),
        ("$5", "five dollars"),
        ("It cost $5.50.", "it cost five dollars and fifty cents"),
        ("105 cats", "one hundred and five cats"),
        ("5%", "five percent"),
        ("the 2nd", "the second"),
        ("THE 2ND", "the second"),
        ("Café, naïve, Zürich", "cafe naive zurich"),
        ("Mr. Smith", "mister smith"),
        ("salt & pepper", "salt and pepper"),
    ],
)
def test_what_is_written_otherwise_and_sounds_the_same_is_no_error(written, heard):
    assert word_errors(written, heard).errors == word_errors(heard, written).errors == 0


def test_other_words_stay_errors():
    assert word_errors("black and white", "black white") == WordErrors(deletions=1, words=3)
    assert word_errors("50", "fifteen").errors == 1


@given(st.text())
def test_normalizing_twice_changes_nothing(text):
    assert normalize(normalize(text)) == normalize(text)


# ---------------------------------------------------------------- mel distance


def frames(num_frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((num_frames, 5), np.float32)


def plainly_warped(first: np.ndarray, second: np.ndarray) -> float:
    """The recursion of the docstring, cell by cell."""
    best = {(-1, -1): 0.0}
    for i, a in enumerate(first.astype(np.float64)):
        for j, b in enumerate(second.astype(np.float64)):
            here = float(np.sqrt(np.square(a - b).mean()))
            steps = {(i - 1, j - 1): 2 * here, (i - 1, j): here, (i, j - 1): here}
            best[i, j] = min(best.get(cell, math.inf) + cost for cell, cost in steps.items())
    return best[len(first) - 1, len(second) - 1] / (len(first) + len(second))


def test_equal_frames_are_no_distance_apart():
    assert warped_distance(frames(30), frames(30)) == 0


def test_repeated_frames_are_free():
    assert warped_distance(frames(30), frames(30).repeat(3, axis=0)) == 0


@pytest.mark.parametrize("num_frames", [1, 7, 20])
def test_constant_offset_is_the_distance(num_frames):
    still = frames(1).repeat(10, axis=0)
    assert warped_distance(still, frames(1).repeat(num_frames, axis=0) + 0.5) == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize(("first", "second"), [(1, 1), (1, 9), (9, 1), (12, 12), (17, 8), (8, 17)])
def test_warping_equals_the_cell_by_cell_recursion(first, second):
    a, b = frames(first, seed=1), frames(second, seed=2)
    assert warped_distance(a, b) == pytest.approx(plainly_warped(a, b), rel=1e-12)
    assert warped_distance(a, b) == pytest.approx(warped_distance(b, a), rel=1e-12)


@pytest.mark.parametrize("second", [np.zeros((3, 4)), np.zeros((0, 5)), np.zeros(5)])
def test_frames_that_cannot_be_compared_are_an_error(second):
    with pytest.raises(ValueError, match=r"found \(3, 5\) and"):
        warped_distance(np.zeros((3, 5)), second)


def tone(seconds: int, amplitude: float, sampling_rate: int = 24000, num_channels: int = 1) -> Audio:
    """937.5 Hz: ten periods in each hop, and symmetric about both ends, so that all frames are equal."""
    time = np.arange(seconds * sampling_rate + 1) / sampling_rate
    wave = amplitude * np.cos(2 * math.pi * 937.5 * time)
    return Audio(np.tile(wave.astype(np.float32), (num_channels, 1)), sampling_rate)


def test_level_difference_in_decibels():
    assert mel_distance(tone(1, 0.4), tone(2, 0.1)) == pytest.approx(20 * math.log10(4), abs=1e-3)


def test_rate_and_channels_do_not_matter():
    assert mel_distance(tone(1, 0.4), tone(1, 0.4, sampling_rate=48000, num_channels=2)) < 0.5


def test_another_take_is_nearer_than_another_sentence():
    (first, _), (other, _) = recordings("train")[:2]
    take, _ = recordings("dev")[0]
    assert mel_distance(read(first), read(take)) < 0.75 * mel_distance(read(first), read(other))


# ---------------------------------------------------------------- recognition


def recordings(subset: str) -> list[tuple[Path, str]]:
    rows = [line.split("\t") for line in (CORPUS / f"{subset}.tsv").read_text(encoding="utf-8").splitlines()]
    return [(CORPUS / path, text) for _, text, path in rows]


@pytest.fixture(scope="module")
def recognition():
    pytest.importorskip("pocketsphinx")
    from zipvoice.evaluation import recognition

    return recognition


@pytest.mark.parametrize("subset", ["train", "dev", "heldout", "lj_train", "lj_heldout"])
def test_real_recordings_are_all_recognised(recognition, subset):
    result = recognition.recognize_closed_set(recordings(subset))
    assert [choice.heard for choice in result.choices] == [text for _, text in recordings(subset)]
    assert result.accuracy == 1


def test_reversed_speech_is_not_recognised(recognition):
    test = recognition.ClosedSetRecognizer([text for _, text in recordings("lj_train")])
    backwards = [(Audio(read(path).samples[:, ::-1], 24000), text) for path, text in recordings("lj_train")]
    assert sum(test.choose(audio) == text for audio, text in backwards) <= 3  # of 24; one by chance


def test_silence_and_noise_are_no_sentence(recognition):
    test = recognition.ClosedSetRecognizer([text for _, text in recordings("train")])
    noise = 0.1 * np.random.default_rng(0).standard_normal((1, 24000), np.float32)
    assert test.choose(Audio(np.zeros((1, 24000), np.float32), 24000)) is None
    assert test.choose(Audio(noise, 24000)) is None
    assert test.choose(Audio(noise[:, :1], 24000)) is None


def test_wrong_recordings_lower_the_accuracy(recognition):
    (first, text), (second, other) = recordings("train")[:2]
    result = recognition.recognize_closed_set([(first, text), (second, text)], sentences=[text, other])
    assert [(choice.heard, choice.correct) for choice in result.choices] == [(text, True), (other, False)]
    assert (result.num_correct, result.accuracy) == (1, 0.5)


def test_what_is_heard_does_not_depend_on_what_was_heard_before(recognition):
    spoken = recordings("lj_train")[:3]
    test = recognition.ClosedSetRecognizer([text for _, text in recordings("lj_train")])
    noisy = [noisy_take(read(path)) for path, _ in spoken]
    assert [test.choose(a) for a in noisy] == [test.choose(a) for a in reversed(noisy)][::-1]


def noisy_take(audio: Audio) -> Audio:
    noise = np.random.default_rng(1).standard_normal(audio.samples.shape, np.float32)
    return Audio(audio.samples + 0.5 * audio.samples.std() * noise, audio.sampling_rate)


def test_pronunciations_extend_the_dictionary(recognition):
    with pytest.raises(ValueError, match="cannot pronounce 'zorgleblat', 'blix'"):
        recognition.ClosedSetRecognizer(["Zorgleblat blix in 1837", "hello"])
    spelled = {"knaif": "N AY F", "kanu": "K AH N UW"}
    path = next(path for path, text in recordings("train") if text == "I can see that knife now.")
    test = recognition.ClosedSetRecognizer(["I can see that kanu now", "I can see that knaif now"], spelled)
    assert test.choose(read(path)) == "I can see that knaif now"
    with pytest.raises(ValueError, match="'Q1' is no pronunciation of 'zorgleblat'"):
        recognition.ClosedSetRecognizer(["zorgleblat"], {"zorgleblat": "Q1"})


@pytest.mark.parametrize(
    ("sentences", "message"),
    [(["hello", "你好"], "no English word"), (["Hello!", "hello"], "sound the same"), ([], "at least one sentence")],
)
def test_sentences_that_cannot_be_told_apart_are_an_error(recognition, sentences, message):
    with pytest.raises(ValueError, match=message):
        recognition.ClosedSetRecognizer(sentences)


def test_recordings_that_cannot_be_judged_are_an_error(recognition):
    with pytest.raises(ValueError, match="at least one recording"):
        recognition.recognize_closed_set([])
    with pytest.raises(ValueError, match=r"did you mean 'hello there'\?"):
        recognition.recognize_closed_set([("a.wav", "hello their")], sentences=["hello there", "goodbye"])


def test_missing_recogniser_names_the_install_command(recognition, monkeypatch):
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(ImportError, match=r"pip install 'zipvoice-tts\[evaluation\]'"):
        recognition.known_sentences(["hello"])


def test_one_process_scores_without_pytorch(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setitem(sys.modules, "zipvoice.training.distributed", None)
    with command._team("cpu") as (team, device):
        assert (team.rank, device) == (0, "cpu")
