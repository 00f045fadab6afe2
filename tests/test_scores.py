# SPDX-License-Identifier: Apache-2.0
"""Scores of folders of speech, on the recordings of egs/mini: two women, several takes of a sentence."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from zipvoice.audio.files import Audio, read, write
from zipvoice.cli import main
from zipvoice.config.evaluation import SuiteOptions
from zipvoice.evaluation import judges, recognizers, report, score_picture
from zipvoice.evaluation.blur import Detail, detail, mel_detail
from zipvoice.evaluation.distillmos import DistillMos
from zipvoice.evaluation.dnsmos import predict_dnsmos
from zipvoice.evaluation.judges import ClosedSetJudge, SimilarityJudge, SpeedJudge, WordErrorJudge
from zipvoice.evaluation.level import require_sound
from zipvoice.evaluation.normalizers import find_normalizer
from zipvoice.evaluation.provenance import JudgedBy
from zipvoice.evaluation.run import find_recordings, read_results, score_folder
from zipvoice.evaluation.scores import Expected, FolderScores, Judgement, Score, ScoredRecording
from zipvoice.evaluation.similarity import SpeakerEncoder
from zipvoice.evaluation.statistics import DRAWS, difference, figure
from zipvoice.evaluation.suites import settled

CORPUS = Path(__file__).parents[1] / "egs/mini/corpus"


def recordings(name: str, number: int) -> list[tuple[str, str, Path]]:
    lines = (CORPUS / f"{name}.tsv").read_text(encoding="utf-8").splitlines()[:number]
    return [(i, text, CORPUS / path) for i, text, path in (line.split("\t") for line in lines)]


def sounds(name: str, number: int) -> list[tuple[Expected, Audio]]:
    return [(Expected(i, text), read(path)) for i, text, path in recordings(name, number)]


def noise(seconds: float = 1.0, level: float = 0.1) -> Audio:
    samples = level * np.random.default_rng(0).standard_normal((1, int(24000 * seconds)))
    return Audio(samples.astype(np.float32), 24000)


def folder(name: str, scores: list[dict[str, Score]], speakers: list[str] | None = None) -> FolderScores:
    own = speakers or [""] * len(scores)
    named = [
        ScoredRecording(f"r{n}", speaker, Path(name, f"r{n}.wav"), 2.0, row, f"heard {n}", f"said {n}")
        for n, (row, speaker) in enumerate(zip(scores, own, strict=True))
    ]
    return FolderScores(Path(name), tuple(named), (JudgedBy("ear", "abc", "v1"),))


class Ear:
    """Hears what the length of a recording says."""

    by = JudgedBy("ear", "0123", "beam 5")

    def __init__(self, heard: dict[int, str]) -> None:
        self._heard = heard

    def hear(self, audio: Audio) -> str:
        return self._heard[audio.num_samples]


# ---------------------------------------------------------------- judges


def choices(spoken: list[tuple[Expected, Audio]]) -> list[float | None]:
    judge = ClosedSetJudge([expected for expected, _ in spoken])
    found = [judge(expected, audio).scores.get("closed_set_accuracy") for expected, audio in spoken]
    return [score.value if score else None for score in found]


def test_real_recordings_are_understood():
    assert choices(sounds("train", 6)) == [1.0] * 6


def test_recordings_of_other_sentences_are_not():
    spoken = sounds("train", 4)
    shifted = [(expected, audio) for (expected, _), (_, audio) in zip(spoken, spoken[1:] + spoken[:1], strict=True)]
    assert choices(shifted) == [0.0] * 4


def test_sentences_the_recogniser_cannot_know_are_left_out_of_the_closed_set():
    spoken = sounds("train", 2)
    assert choices([*spoken, (Expected("odd", "Zxqwv brgfl."), spoken[0][1])]) == [1.0, 1.0, None]


def test_the_last_group_of_the_closed_set_is_filled_up(monkeypatch):
    monkeypatch.setattr(judges, "CLOSED_SET_SIZE", 4)
    sizes = []

    class Recorder(judges.ClosedSetRecognizer):
        def __init__(self, sentences):
            sizes.append(len(sentences))
            super().__init__(sentences)

    monkeypatch.setattr(judges, "ClosedSetRecognizer", Recorder)
    assert choices(sounds("train", 6)) == [1.0] * 6
    assert sizes == [4, 4]


def test_word_errors_have_a_corpus_rate_and_a_mean_of_utterances():
    judge = WordErrorJudge(Ear({24000: "one", 48000: "one two three for"}), find_normalizer("zipvoice"))
    first = judge(Expected("a", "Two."), noise())
    second = judge(Expected("b", "One, two, three, four."), noise(2))
    assert (first.heard, second.heard) == ("one", "one two three for")
    scored = [("a", first.scores["word_error_rate"]), ("b", second.scores["word_error_rate"])]
    assert figure(scored).value == pytest.approx(2 / 5)
    means = [("a", first.scores["mean_word_error_rate"]), ("b", second.scores["mean_word_error_rate"])]
    assert figure(means).value == pytest.approx((1 + 1 / 4) / 2)
    assert [model.model for model in judge.by] == ["ear", "normaliser zipvoice"]


def test_a_text_without_words_is_an_error_not_a_score():
    judge = WordErrorJudge(Ear({24000: "one"}), find_normalizer("zipvoice"))
    with pytest.raises(ValueError, match=r"its text '\.\.\.' has no word"):
        judge(Expected("a", "..."), noise())


def test_speed_counts_characters_without_spaces():
    assert SpeedJudge()(Expected("a", "Ab c  d."), noise(2)).scores["characters_per_second"] == Score(2.5, 2.0)


class Directions:
    """A voice encoder that knows three lengths."""

    by = (JudgedBy("directions", ""),)

    def embed(self, audio: Audio) -> np.ndarray:
        angle = {24000: 0.0, 48000: 60.0, 72000: 90.0}[audio.num_samples]
        return np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))], np.float32)


def test_similarity_is_with_ones_own_prompt_and_with_the_others(tmp_path):
    for name, seconds in (("a", 1), ("b", 2), ("c", 3)):
        write(tmp_path / f"{name}.wav", noise(seconds))
    expected = [Expected(name, name, (tmp_path / f"{name}.wav",)) for name in "abc"]
    judge = SimilarityJudge(Directions(), expected, "similarity", "similarity_to_others")
    found = judge(expected[1], noise(1)).scores
    assert found["similarity"].value == pytest.approx(0.5, abs=1e-6)
    assert found["similarity_to_others"] == Score(pytest.approx(0.5, abs=1e-6), 2)
    for number in (3, 2):  # of prompts: what is kept of more of them is judged anew
        judge = SimilarityJudge(Directions(), expected[:number], "similarity", "similarity_to_others")
        kept = score_folder(expected[:number], tmp_path, [judge], tmp_path / "kept.jsonl").recordings[0]
        assert kept.scores["similarity_to_others"].weight == number - 1
    with pytest.raises(ValueError, match="dialogues have cpsim"):
        SimilarityJudge(Directions(), [Expected("d", "d", expected[0].prompts * 2)], "similarity")


# ---------------------------------------------------------------- detail


def test_a_plane_has_no_detail_and_a_ripple_has_that_of_its_height():
    frames, bins = np.ogrid[:60, :100]
    assert mel_detail((0.1 * frames + 0.2 * bins).astype(np.float32)) == Detail(
        pytest.approx(0, abs=1e-5), pytest.approx(0, abs=1e-5)
    )
    ripple = 0.5 * (-1.0) ** frames + 0.25 * (-1.0) ** bins + 0.1 * frames
    found = mel_detail(ripple)  # second differences of h (-1)^n are 4 h
    assert found == Detail(pytest.approx(2.0, rel=0.02), pytest.approx(1.0, rel=1e-6))


def test_detail_does_not_depend_on_the_level():
    audio = read(recordings("train", 1)[0][2])
    soft = Audio(audio.samples * np.float32(0.001), audio.sampling_rate)
    assert detail(soft) == Detail(*(pytest.approx(x, rel=1e-4) for x in vars(detail(audio)).values()))
    assert detail(audio).in_time > 0.5


def test_frames_that_are_not_voiced_have_no_detail():
    """The soft frames ripple over the bins, the loud ones are a plane."""
    frames, bins = np.ogrid[:60, :100]
    soft = (frames >= 45) * (-5.0 + 0.3 * (-1.0) ** bins)
    assert mel_detail((0.1 * np.minimum(frames, 44) + soft).astype(np.float32)).in_frequency == pytest.approx(
        0, abs=1e-5
    )


def test_blurring_a_spectrogram_takes_its_detail():
    mel = np.random.default_rng(0).standard_normal((80, 100))
    smooth = (mel[:-2] + mel[1:-1] + mel[2:]) / 3
    assert mel_detail(smooth).in_time < 0.6 * mel_detail(mel).in_time


def test_too_few_frames_have_no_detail():
    with pytest.raises(ValueError, match="too few to tell blur"):
        mel_detail(np.zeros((3, 100)))


# ---------------------------------------------------------------- models of packages


@pytest.mark.parametrize(("level", "is_sound"), [(1.01e-4, True), (0.99e-4, False)])
def test_sound_moves_by_three_steps_of_16_bits(level, is_sound):
    samples = np.float32([[0.5, 0.5 + level, 0.5 - level]])
    if is_sound:
        require_sound(Audio(samples, 24000))
    else:
        with pytest.raises(ValueError, match="is silent; there is nothing to hear"):
            require_sound(Audio(samples, 24000))


class Fake:
    """A model of a package that notes what it hears."""

    def __init__(self, answer) -> None:
        self.answer, self.heard = answer, []

    def __call__(self, wave, **settings):
        self.heard.append((np.array(wave), settings))
        return self.answer


@pytest.mark.parametrize(("level", "peak"), [(0.25, 0.25), (4.0, 1.0)])
def test_dnsmos_hears_16_khz_within_full_scale(monkeypatch, level, peak):
    model = Fake({"ovrl_mos": 3.5, "p808_mos": 4.5, "sig_mos": 1.0})
    monkeypatch.setitem(sys.modules, "speechmos", SimpleNamespace(dnsmos=SimpleNamespace(run=model)))
    tone = Audio(level * np.sin(np.arange(24000, dtype=np.float32) / 20)[None].repeat(2, axis=0), 24000)
    found = predict_dnsmos(tone)
    assert (found.overall, found.p808) == (3.5, 4.5)
    ((wave, settings),) = model.heard
    assert wave.shape == (16000,) and settings == {"sr": 16000}
    assert np.abs(wave).max() == pytest.approx(peak, rel=0.01)
    monkeypatch.setattr(judges, "dnsmos_sha256", lambda: "ab")
    monkeypatch.setattr(judges, "version", lambda name: "1")
    scores = judges.DnsmosJudge()(Expected("a", "a"), tone).scores
    assert scores == {"dnsmos_overall": Score(3.5), "dnsmos_p808": Score(4.5)}


@pytest.mark.parametrize(("count", "is_enough"), [(7999, False), (8000, True)])
def test_a_voice_is_known_by_half_a_second_of_speech(monkeypatch, count, is_enough):
    encoder = object.__new__(SpeakerEncoder)
    encoder._encoder = SimpleNamespace(embed_utterance=Fake(np.ones(3)))
    speech = Fake(np.zeros(count, np.float32))
    monkeypatch.setitem(sys.modules, "resemblyzer", SimpleNamespace(preprocess_wav=speech))
    if is_enough:
        assert np.array_equal(encoder.embed(noise(2.0, 0.001)), np.ones(3))
        ((wave, _),) = speech.heard
        assert len(wave) == 32000 and np.sqrt(np.square(wave).mean()) == pytest.approx(
            10 ** (-26 / 20) * (2 / 3) ** 0.5, rel=0.05
        )
    else:
        with pytest.raises(ValueError, match=r"only 0\.50 s of speech were found, too little to know a voice by"):
            encoder.embed(noise(2.0))


def test_an_opinion_is_that_of_its_model():
    predictor = SimpleNamespace(by=(JudgedBy("ear", "ab"),), predict=lambda audio: audio.seconds)
    judge = judges.OpinionJudge(predictor, "utmos")
    assert judge(Expected("a", "a"), noise(2.0)).scores == {"utmos": Score(2.0)} and judge.by == predictor.by


@pytest.mark.slow  # as the next ones: models load, librosa and numba compile for many seconds
def test_noise_is_heard_as_worse_quality():
    clean = read(recordings("train", 1)[0][2])
    noisy = Audio(clean.samples + 0.3 * clean.samples.std() * noise(clean.seconds, 1.0).samples, clean.sampling_rate)
    assert predict_dnsmos(clean).overall > 2.5
    assert predict_dnsmos(noisy).overall < predict_dnsmos(clean).overall - 0.5
    assert predict_dnsmos(noisy).p808 < predict_dnsmos(clean).p808 - 0.5


@pytest.mark.slow
def test_loud_sound_is_scaled_for_the_quality_model_only_where_needed():
    clean = read(recordings("train", 1)[0][2])
    loud = Audio(clean.samples / np.abs(clean.samples).max() * 2, clean.sampling_rate)
    full = Audio(loud.samples / 2, clean.sampling_rate)
    assert predict_dnsmos(loud).overall == pytest.approx(predict_dnsmos(full).overall, abs=0.05)


@pytest.mark.slow
def test_distillmos_parts_clean_from_noisy_and_hears_no_level():
    predictor = DistillMos()
    clean = read(recordings("train", 1)[0][2])
    noisy = Audio(clean.samples + 0.3 * clean.samples.std() * noise(clean.seconds, 1.0).samples, clean.sampling_rate)
    soft = Audio(clean.samples * np.float32(0.01), clean.sampling_rate)
    assert predictor.predict(clean) > 3.5
    assert predictor.predict(noisy) < predictor.predict(clean) - 1
    assert predictor.predict(soft) == pytest.approx(predictor.predict(clean), abs=1e-3)
    assert len(predictor.by[0].sha256) == 64


@pytest.mark.parametrize("predict", [predict_dnsmos, detail])
def test_silence_is_refused_instead_of_scored(predict):
    pytest.importorskip("speechmos")
    with pytest.raises(ValueError, match="silent"):
        predict(Audio(np.zeros((1, 24000), np.float32), 24000))


@pytest.mark.slow
def test_the_voice_of_a_speaker_is_closer_to_her_own_than_to_another_one():
    (_, _, first), *_ = recordings("train", 1)
    (_, _, other), *_ = recordings("lj_train", 1)
    hers = [(Expected(f"k{n}", text, (first,)), read(p)) for n, (_, text, p) in enumerate(recordings("dev", 2))]
    lj = recordings("lj_train", 3)[1:]
    theirs = [(Expected(f"l{n}", text, (other,)), read(p)) for n, (_, text, p) in enumerate(lj)]
    judge = SimilarityJudge(
        SpeakerEncoder(), [expected for expected, _ in hers + theirs], "similarity", "similarity_to_others"
    )
    found = [judge(expected, audio).scores for expected, audio in hers + theirs]
    assert figure([("", scores["similarity"]) for scores in found]).value > 0.72
    assert figure([("", scores["similarity_to_others"]) for scores in found]).value < 0.7


@pytest.mark.slow
@pytest.mark.parametrize("gain", [1e-5, 0.01, 1.0, 50.0])
def test_a_recording_is_entirely_like_itself_at_any_level(gain):
    audio = read(recordings("train", 1)[0][2])
    encoder = SpeakerEncoder()
    scaled = Audio(audio.samples * np.float32(gain), audio.sampling_rate)
    assert float(encoder.embed(scaled) @ encoder.embed(audio)) == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(ValueError, match="silent"):
        encoder.embed(Audio(0 * audio.samples, audio.sampling_rate))


# ---------------------------------------------------------------- error bars


def test_equal_scores_have_no_error_bar():
    found = figure([(f"s{n}", Score(0.25, n + 1)) for n in range(8)])
    assert (found.value, found.low, found.high, found.num_recordings) == (0.25, 0.25, 0.25, 8)


def test_the_error_bar_is_that_of_the_normal_distribution():
    values = np.random.default_rng(5).standard_normal(400)
    found = figure([(f"s{n}", Score(value)) for n, value in enumerate(values)])
    half = 1.96 * values.std() / 20
    assert found.low == pytest.approx(values.mean() - half, abs=0.015)
    assert found.high == pytest.approx(values.mean() + half, abs=0.015)


def test_recordings_of_one_speaker_count_as_one_draw():
    values = np.random.default_rng(5).standard_normal(20)
    alone = figure([(f"s{n}", Score(value)) for n, value in enumerate(values)])
    tenfold = figure([(f"s{n}", Score(value)) for n, value in enumerate(values) for _ in range(10)])
    apart = figure([(f"{n} {m}", Score(value)) for n, value in enumerate(values) for m in range(10)])
    assert (tenfold.low, tenfold.high) == pytest.approx((alone.low, alone.high))
    assert apart.high - apart.low < 0.5 * (tenfold.high - tenfold.low)


@pytest.mark.parametrize(("num_speakers", "recordings_drawn"), [(1, True), (4, True), (5, False)])
def test_with_few_speakers_recordings_are_drawn(num_speakers, recordings_drawn):
    values = np.random.default_rng(5).standard_normal(20)
    found = figure([(f"s{n % num_speakers}", Score(value)) for n, value in enumerate(values)])
    of_recordings = figure([(f"s{n}", Score(value)) for n, value in enumerate(values)])
    assert (found == of_recordings) == recordings_drawn


def test_a_difference_of_all_recordings_is_no_chance_and_none_is():
    base = [Score(value, 10) for value in np.random.default_rng(5).random(30)]
    first = folder("a", [{"word_error_rate": score} for score in base])
    second = folder("b", [{"word_error_rate": Score(score.value + 0.1, 10)} for score in base])
    found = difference(first, second, "word_error_rate")
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))
    assert found.p_value == 1 / (DRAWS + 1)
    same = difference(first, first, "word_error_rate")
    assert (same.value, same.p_value) == (0, 1)
    assert difference(second, first, "word_error_rate").value == pytest.approx(-0.1)


def test_without_a_recording_in_common_there_is_no_difference():
    first, second = folder("a", [{"utmos": Score(3.0)}]), folder("b", [{"sim_o": Score(0.5)}])
    with pytest.raises(ValueError, match="a and b have no recording with utmos in common"):
        difference(first, second, "utmos")


def test_chance_is_that_of_the_signs():
    first = folder("a", [{"sim_o": Score(0.5)} for _ in range(6)])
    second = folder("b", [{"sim_o": Score(0.6)} for _ in range(6)])
    assert difference(first, second, "sim_o").p_value == pytest.approx(2 / 2**6, abs=0.01)


def test_intervals_and_chances_are_those_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(3)
    a, b = random.random(12), random.random(12) + 0.15
    first, second = (folder(name, [{"sim_o": Score(value)} for value in one]) for name, one in (("a", a), ("b", b)))
    found = difference(first, second, "sim_o")
    tested = stats.permutation_test((a, b), lambda x, y: np.mean(y - x), permutation_type="samples", n_resamples=np.inf)
    assert found.p_value == pytest.approx(tested.pvalue, abs=0.02)
    assert difference(second, first, "sim_o").p_value == found.p_value  # of both tails
    drawn = stats.bootstrap((b - a,), np.mean, method="percentile", n_resamples=5000, rng=random).confidence_interval
    assert (found.low, found.high) == pytest.approx((drawn.low, drawn.high), abs=0.02)


# ---------------------------------------------------------------- folders


class Counting:
    """Scores lengths, and counts what it was asked."""

    by = (JudgedBy("counting", "ff"),)

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, expected: Expected, audio: Audio) -> Judgement:
        self.asked.append(expected.name)
        if expected.name == "bad":
            raise ValueError("the recording is silent")
        return Judgement({"utmos": Score(audio.seconds)}, "heard | it")


def written(path: Path, names: str) -> list[Expected]:
    for number, name in enumerate(names, start=1):
        write(path / f"{name}.wav", noise(0.1 * number))
    return [Expected(name, name, (), f"speaker {name}") for name in names]


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path):
    expected = written(tmp_path / "f", "abc")
    results = tmp_path / "kept" / "f.jsonl"
    whole = score_folder(expected, tmp_path / "f", [Counting()], results)
    lines = results.read_text(encoding="utf-8").splitlines(keepends=True)
    results.write_text("".join(lines[:3]) + lines[3][:20], encoding="utf-8")  # broke off in the third recording
    judge = Counting()
    assert score_folder(expected, tmp_path / "f", [judge], results) == whole
    assert judge.asked == ["c"]
    assert results.read_text(encoding="utf-8") == "".join(lines)
    assert read_results(results).recordings == whole.recordings


def test_a_text_with_a_separator_of_lines_in_it_ends_no_line(tmp_path):
    expected = [replace(item, text="one\u2028two\x85three") for item in written(tmp_path / "f", "ab")]
    whole = score_folder(expected, tmp_path / "f", [Counting()], tmp_path / "f.jsonl")
    assert read_results(tmp_path / "f.jsonl").recordings == whole.recordings
    for content in ("", "[]", "oh"):
        (tmp_path / "other.jsonl").write_text(content)
        with pytest.raises(ValueError, match=r"other\.jsonl has no scores"):
            read_results(tmp_path / "other.jsonl")


def test_what_changed_is_judged_anew(tmp_path):
    expected = written(tmp_path / "f", "abc")
    results = tmp_path / "f.jsonl"
    score_folder(expected, tmp_path / "f", [Counting()], results)
    write(tmp_path / "f" / "b.wav", noise(0.7))
    judge = Counting()
    scored = score_folder([expected[0], expected[1], Expected("c", "other")], tmp_path / "f", [judge], results)
    assert judge.asked == ["b", "c"]
    assert scored.recordings[1].scores["utmos"].value == pytest.approx(0.7)
    other = Counting()
    other.by = (JudgedBy("counting", "00"),)
    score_folder(expected, tmp_path / "f", [other], results)
    assert other.asked == ["a", "b", "c"]


def test_what_is_kept_has_the_speaker_and_the_path_of_the_list(tmp_path):
    expected = written(tmp_path / "f", "ab")
    results = tmp_path / "f.jsonl"
    score_folder(expected, tmp_path / "f", [Counting()], results)
    (tmp_path / "f").rename(tmp_path / "moved")
    judge = Counting()
    renamed = [Expected(item.name, item.text, (), "another") for item in expected]
    scored = score_folder(renamed, tmp_path / "moved", [judge], results)
    assert judge.asked == []
    assert [(one.speaker, one.path) for one in scored.recordings] == [
        ("another", tmp_path / "moved" / "a.wav"), ("another", tmp_path / "moved" / "b.wav"),
    ]  # fmt: skip
    assert read_results(results).recordings == scored.recordings
    assert read_results(results).folder == tmp_path / "f"
    of_a_voice = [Expected("a", "a", (tmp_path / "moved" / "b.wav",)), *expected[1:]]
    score_folder(of_a_voice, tmp_path / "moved", [judge], results)
    assert judge.asked == ["a"]


def test_a_file_without_scores_is_named_and_other_judges_judge_anew(tmp_path):
    (tmp_path / "odd.jsonl").write_text('{"format": "other"}\n')
    with pytest.raises(ValueError, match=r"odd\.jsonl has no scores: its first line is not that of zipvoice-scores-1"):
        read_results(tmp_path / "odd.jsonl")

    class Other(Counting):
        pass

    expected = written(tmp_path / "f", "a")
    score_folder(expected, tmp_path / "f", [Counting()], tmp_path / "f.jsonl")
    judge = Other()
    score_folder(expected, tmp_path / "f", [judge], tmp_path / "f.jsonl")
    assert judge.asked == ["a"]


def test_a_recording_that_cannot_be_judged_is_named(tmp_path):
    expected = written(tmp_path, "a")
    write(tmp_path / "bad.wav", noise())
    with pytest.raises(ValueError, match=r"bad\.wav cannot be judged: the recording is silent"):
        score_folder([*expected, Expected("bad", "bad")], tmp_path, [Counting()])


def test_a_missing_recording_is_named(tmp_path):
    write(tmp_path / "a.flac", noise())
    with pytest.raises(FileNotFoundError, match=r"has no recording of b, c$"):
        find_recordings([Expected(name, name) for name in "abc"], tmp_path)
    with pytest.raises(FileNotFoundError, match=r"1, 2, 3, 4, 5 and 4 more$"):
        score_folder([Expected(name, name) for name in "123456789"], tmp_path, [Counting()])
    with pytest.raises(FileNotFoundError, match=r"1, 2, 3, 4, 5$"):
        find_recordings([Expected(name, name) for name in "12345"], tmp_path)
    write(tmp_path / "a.wav", noise())
    assert find_recordings([Expected("a", "a")], tmp_path) == [tmp_path / "a.wav"]
    with pytest.raises(ValueError, match="the list is empty"):
        score_folder([], tmp_path, [])


class Second:
    """The second of two processes; the first judged nothing."""

    rank, size = 1, 2

    def of_first(self, item: dict) -> dict:
        return {}

    def gathered(self, item: list) -> list:
        return [self.others, item]


class First(Second):
    """The first of two processes; the second judged `others`."""

    rank = 0

    def of_first(self, item: dict) -> dict:
        return item


def test_processes_share_a_folder_and_leave_the_file_of_one(tmp_path):
    expected = written(tmp_path / "f", "abcd")
    alone = score_folder(expected, tmp_path / "f", [Counting()], tmp_path / "alone.jsonl")
    lines = (tmp_path / "alone.jsonl").read_text(encoding="utf-8").splitlines()
    second, judge = Second(), Counting()
    second.others = [json.loads(lines[number]) for number in (1, 3)]
    assert score_folder(expected, tmp_path / "f", [judge], tmp_path / "f.jsonl", second) == alone
    assert judge.asked == ["b", "d"]
    assert not (tmp_path / "f.jsonl").exists()  # the first one writes it; the share of the second lies beside it
    first, judge = First(), Counting()
    first.others = [json.loads(lines[3])]
    assert score_folder(expected, tmp_path / "f", [judge], tmp_path / "f.jsonl", first) == alone
    assert judge.asked == ["a"]  # what the second left is not judged anew, and the rest is shared
    assert (tmp_path / "f.jsonl").read_bytes() == (tmp_path / "alone.jsonl").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone.jsonl", "f", "f.jsonl"]


def test_a_shorter_list_leaves_no_scores_of_others_in_the_file(tmp_path):
    expected = written(tmp_path / "f", "abc")
    score_folder(expected, tmp_path / "f", [Counting()], tmp_path / "f.jsonl")
    judge = Counting()
    scored = score_folder(expected[1:], tmp_path / "f", [judge], tmp_path / "f.jsonl")
    assert judge.asked == []
    assert read_results(tmp_path / "f.jsonl").recordings == scored.recordings
    assert [recording.name for recording in scored.recordings] == ["b", "c"]


@pytest.mark.slow  # two processes import torch
def test_torchrun_scores_as_one_process_does(tmp_path):
    chosen = recordings("train", 5)
    voice = recordings("dev", 1)[0]
    listed = "".join(f"{name}\t{voice[1]}\t{voice[2]}\t{text}\n" for name, text, _ in chosen)
    (tmp_path / "list.tsv").write_text(listed, encoding="utf-8")
    for name, _, path in chosen:
        write(tmp_path / "f" / f"{name}.wav", read(path))
    zipvoice = ["-m", "zipvoice", "evaluate", "list.tsv", "f", "--metrics", "closed_set", "blur", "speed", "--json"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    printed = [
        subprocess.run(
            [sys.executable, *launcher, *zipvoice, "--save", kept],
            cwd=tmp_path, env=environment, check=True, capture_output=True, text=True,
        ).stdout
        for launcher, kept in (([], "one"), (torchrun, "two"))
    ]  # fmt: skip
    assert json.loads(printed[0])["f"]["recordings"] == 5
    assert printed[1] == printed[0]
    assert (tmp_path / "two/f.jsonl").read_bytes() == (tmp_path / "one/f.jsonl").read_bytes()
    assert [path.name for path in (tmp_path / "two").iterdir()] == ["f.jsonl"]


@pytest.mark.parametrize(
    ("suite", "options", "message"),
    [
        ("ofline", SuiteOptions(), "no suite 'ofline'.*did you mean 'offline'"),
        ("offline", SuiteOptions(metrics=("were",)), "no metric 'were'.*known: .*closed_set"),
        ("offline", SuiteOptions(recognizer="ear"), "no recogniser 'ear'"),
        ("offline", SuiteOptions(normalizer="mine"), "no normaliser 'mine'"),
        ("offline", SuiteOptions(quirks=("mine",)), "no quirk 'mine'"),
    ],
)
def test_unknown_names_are_refused(suite, options, message):
    with pytest.raises(ValueError, match=message):
        settled(suite, options)


def test_kept_scores_tell_the_language_that_was_asked_for(monkeypatch):
    model = SimpleNamespace(name="ear", sha256="ab", compute_type="int8")
    monkeypatch.setattr(recognizers, "Whisper", lambda *_: model)
    monkeypatch.setattr(recognizers, "version", lambda name: "1")
    found = [recognizers.FasterWhisper(language=language).by.detail for language in ("en", "zh")]
    assert found == ["faster-whisper 1, int8, beam 5", "faster-whisper 1, int8, beam 5, zh"]


def test_options_win_over_the_suite_and_none_of_the_quirks_is_none():
    found = settled("offline", SuiteOptions(metrics=("speed",), quirks=("none",), whisper="large-v3"))
    assert (found.metrics, found.quirks, found.whisper) == (("speed",), (), "large-v3")
    assert (found.recognizer, found.normalizer) == ("whisper", "zipvoice")


# ---------------------------------------------------------------- tables


def test_tables_show_figures_differences_worst_and_models():
    real = folder("real", [{"word_error_rate": Score(0.0, 4), "utmos": Score(4.0)} for _ in range(3)])
    scores = [{"word_error_rate": Score(rate, 4), "utmos": Score(3.0)} for rate in (0.25, 0.25, 0.25)]
    ours = folder("ours", scores)
    both = {"real": real, "ours": ours}
    assert report.table(both) == (
        "|                 |                real |                   ours |\n"
        "| ---             |                ---: |                   ---: |\n"
        "| recordings      |                   3 |                      3 |\n"
        "| seconds         |                 6.0 |                    6.0 |\n"
        "| word error rate | 0.00 % [0.00, 0.00] | 25.00 % [25.00, 25.00] |\n"
        "| UTMOS           |   4.00 [4.00, 4.00] |      3.00 [3.00, 3.00] |\n"
    )
    compared = report.comparisons(both).splitlines()
    assert compared[0].split("|")[2].strip() == "ours minus real"
    assert compared[2].split("|")[2].strip().startswith("25.00 % [25.00, 25.00], p = 0.2")
    assert report.comparisons({"real": real}) == ""
    base, more = ([{"utmos": Score(n / 20 + shift)} for n in range(20)] for shift in (0, 1))
    assert "1.00 [1.00, 1.00], p < 0.001 " in report.comparisons({"a": folder("a", base), "b": folder("b", more)})
    worst = [cell.strip() for cell in report.worst(ours, 1).splitlines()[2].split("|")[1:-1]]
    assert worst == ["25.00 %", "[r0](ours/r0.wav)", "said 0", "heard 0"]
    assert report.judged_by(both) == "- ear (v1), sha256 abc\n"


def test_tables_leave_empty_what_cannot_be_said():
    first = folder("a", [{"utmos": Score(4.0)}, {"speed": Score(9.0)}])
    second, third = folder("b", [{}, {"utmos": Score(3.0)}]), folder("c", [{"utmos": Score(3.0)}])
    compared = report.comparisons({"a": first, "b": second, "c": third}).splitlines()
    assert [cell.strip() for cell in compared[2].split("|")[1:-1]] == ["UTMOS", "", "-1.00 [-1.00, -1.00], p = 1.000"]
    speeds = folder("d", [{"characters_per_second": Score(9.0)}])
    assert report.worst(speeds, 3) == "d has no worst recordings: none of its scores is better high or low\n"


def test_the_worst_recording_is_the_one_with_most_errors_not_the_highest_rate():
    ours = folder("ours", [{"word_error_rate": Score(1.0, 1)}, {"word_error_rate": Score(0.5, 10)}])
    assert "r1.wav" in report.worst(ours, 1)


def test_a_picture_has_a_panel_for_each_metric_and_every_recording_in_it(tmp_path, monkeypatch):
    figures = []
    made = score_picture._figure
    monkeypatch.setattr(score_picture, "_figure", lambda *sizes: figures.append(made(*sizes)) or figures[-1])
    real = folder(
        "real", [{"word_error_rate": Score(n / 10, 4), "mean_word_error_rate": Score(n / 10)} for n in range(8)]
    )
    ours = folder("ours", [{"word_error_rate": Score(0.5, 4), "utmos": Score(3.0 + n)} for n in range(2)])
    score_picture.draw_scores(tmp_path / "out.png", {"real": real, "ours": ours})
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    errors, opinions = figures[-1].axes
    assert [axes.get_title() for axes in (errors, opinions)] == ["word error rate (%)", "UTMOS"]
    shown = [dots.get_offsets()[:, 1].tolist() for dots in errors.collections if hasattr(dots, "get_sizes")]
    assert [sorted(values) for values in shown if len(values)] == [pytest.approx([10 * n for n in range(8)]), [50, 50]]
    with pytest.raises(ValueError, match="no scores"):
        score_picture.draw_scores(tmp_path / "none.png", {"f": folder("f", [{}])})
    with pytest.raises(ValueError, match=r"a picture can be .*png"):
        score_picture.draw_scores(tmp_path / "out.txt", {"real": real})


def test_the_command_scores_folders_side_by_side(tmp_path, capsys, monkeypatch):
    chosen = recordings("train", 3)
    voice = recordings("dev", 1)[0]
    listed = "".join(f"{name}\t{voice[1]}\t{voice[2]}\t{text}\n" for name, text, _ in chosen)
    (tmp_path / "list.tsv").write_text(listed, encoding="utf-8")
    for where, paths in (("right", chosen), ("turned", chosen[1:] + chosen[:1])):
        for (name, _, _), (_, _, path) in zip(chosen, paths, strict=True):
            write(tmp_path / where / f"{name}.wav", read(path))
    folders = [str(tmp_path / "right"), str(tmp_path / "turned")]
    command = ["evaluate", str(tmp_path / "list.tsv"), *folders, "--metrics", "closed_set", "blur"]
    assert main([*command, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [printed[one]["figures"]["closed_set_accuracy"]["value"] for one in folders] == [1.0, 0.0]
    assert [len(model["sha256"]) for model in printed[folders[0]]["by"]] == [64]
    picture = tmp_path / "scores.svg"
    assert main([*command, "--worst", "1", "--save", str(tmp_path / "kept"), "--plot", str(picture)]) == 0
    assert "<svg" in picture.read_text(encoding="utf-8")
    shown = " ".join(capsys.readouterr().out.split())
    assert "| closed-set accuracy | 100.0 % [100.0, 100.0] | 0.0 % [0.0, 0.0] |" in shown
    assert "heard" in shown
    monkeypatch.setattr("zipvoice.evaluation.suites.make_judges", None)
    assert main([*command[:3], str(tmp_path / "rigth"), *command[4:]]) == 1  # before the other folder is judged
    assert f"there is no folder {tmp_path / 'rigth'}" in capsys.readouterr().err
    assert "- PocketSphinx en-us (pocketsphinx" in shown
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["right.jsonl", "turned.jsonl"]


def test_scores_of_two_folders_of_one_name_are_not_saved_in_one_file(tmp_path, capsys):
    name, text, path = recordings("train", 1)[0]
    for where in ("one", "two"):
        write(tmp_path / where / "same" / f"{name}.wav", read(path))
    (tmp_path / "list.tsv").write_text(f"{name}\tx\t{path}\t{text}\n", encoding="utf-8")
    folders = [str(tmp_path / where / "same") for where in ("one", "two")]
    command = ["evaluate", str(tmp_path / "list.tsv"), *folders, "--metrics", "speed"]
    assert main([*command, "--save", str(tmp_path / "kept")]) == 1
    assert "two of the folders are called same; save their scores one after the other" in capsys.readouterr().err
    assert main(command) == 0
    assert main([*command[:3], *command[4:], "--save", str(tmp_path / "kept")]) == 0
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["same.jsonl"]


def test_transcripts_stand_in_for_the_texts_of_the_list(tmp_path, capsys):
    name, text, path = recordings("train", 1)[0]
    write(tmp_path / f"f/{name}.wav", read(path))
    (tmp_path / "list.tsv").write_text(f"{name}\tx\t{path}\t{text}\n", encoding="utf-8")
    command = ["evaluate", str(tmp_path / "list.tsv"), str(tmp_path / "f"), "--metrics", "speed", "--json"]
    transcripts = tmp_path / "transcript.tsv"
    transcripts.write_text(f"other\tX\n{name}\tspeaker\tAB CD\n", encoding="utf-8")
    assert main([*command, "--transcripts", str(transcripts)]) == 0
    found = json.loads(capsys.readouterr().out)[str(tmp_path / "f")]["figures"]["characters_per_second"]["value"]
    assert found == pytest.approx(4 / read(path).seconds, rel=1e-3)
    transcripts.write_text("other\tX\n", encoding="utf-8")
    assert main([*command, "--transcripts", str(transcripts)]) == 1
    assert f"transcript.tsv has no transcript of {name}" in capsys.readouterr().err
    transcripts.write_bytes(f"\ufeff{name}\tAB\u2028CD\r\n\r\n".encode())  # as Windows writes it
    assert main([*command, "--transcripts", str(transcripts)]) == 0
    assert (
        json.loads(capsys.readouterr().out)[str(tmp_path / "f")]["figures"]["characters_per_second"]["value"] == found
    )
    transcripts.write_text(f"{name}\tX\n{name}\tY\n", encoding="utf-8")
    assert main([*command, "--transcripts", str(transcripts)]) == 1
    assert f"transcript.tsv, line 2: {name} has another transcript" in capsys.readouterr().err
    transcripts.write_text("other\tX\nalone\n", encoding="utf-8")
    assert main([*command, "--transcripts", str(transcripts)]) == 1
    assert "transcript.tsv, line 2: a name and its transcript are wanted" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("written", "heard"),
    [
        ("涨了50%。", "涨了百分之五十"),
        ("2024年5月1日，9:05开门", "二零二四年五月一日九点零五分开门"),
        ("我有2个iPhone！", "我有两个 IPHONE"),
        ("请拨打110", "请拨打幺幺零"),
        ("３只猫", "三只猫"),
    ],
)
def test_chinese_is_compared_as_it_is_read(written, heard):
    normalize = find_normalizer("zipvoice-zh")
    assert normalize(written) == normalize(heard)
    assert normalize(written) != normalize(heard + "吗")
    assert normalize("OK吗，A4纸") == "ok 吗 a 四 纸"
