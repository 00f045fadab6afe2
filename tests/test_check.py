# SPDX-License-Identifier: Apache-2.0
import gzip
import json
import math
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import LETTERS, silence, tone

from zipvoice.audio.files import Audio, write
from zipvoice.cli import main
from zipvoice.config.data import CheckOptions, PrepareOptions
from zipvoice.config.text import TokenizerConfig
from zipvoice.data.prepare import prepare
from zipvoice.data.validation import checks
from zipvoice.data.validation.checks import (
    CHARACTER_RATE,
    SECONDS,
    Example,
    Finding,
    counts,
    outliers,
    run_checks,
    values,
)
from zipvoice.data.validation.report import INK, LIMIT, distributions, plot, render
from zipvoice.data.validation.stats import CorpusStats, SoundStats, UtteranceStats, measure_corpus, measure_sound


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_corpus(rows, columns=("id", "text", "audio", "speaker", "language")):
    """A list of utterances; sounds are written to `{id}.wav`, and strings in their place are names of files."""
    lines = ["\t".join(columns)]
    for name, text, sound, *more in rows:
        if isinstance(sound, Audio):
            write(f"{name}.wav", sound)
        lines.append("\t".join([name, text, sound if isinstance(sound, str) else f"{name}.wav", *more]))
    Path("corpus.tsv").write_text("\n".join(lines) + "\n")


def examine(**options):
    options = CheckOptions("corpus.tsv", **options)
    corpus = measure_corpus(options)
    return corpus, {finding.name: finding for finding in run_checks(corpus, options)}


def ids(finding):
    return [name for example in finding.examples for name in example.ids]


def good_rows(number=3):
    return [
        (f"good-{i}", f"number {i} is well", tone(1.5 + i / 10, hertz=200 + 10 * i), "anna", "en")
        for i in range(number)
    ]


# ---------------------------------------------------------------- what is sound


def test_a_good_corpus_is_described_and_nothing_is_found():
    write_corpus(good_rows())
    corpus, found = examine()
    assert found == {}
    first = corpus.utterances[0]
    assert (first.id, first.speaker, first.language) == ("good-0", "anna", "en")
    assert (first.seconds, first.num_characters, first.num_frames) == (
        1.5,
        len("number0iswell"),
        round(1.5 * 24000 / 256),
    )
    assert (first.sound.sampling_rate, first.sound.num_channels) == (24000, 1)
    assert first.sound.peak_db == pytest.approx(20 * math.log10(0.3), abs=0.01)
    assert first.sound.level_db == pytest.approx(20 * math.log10(0.3 / math.sqrt(2)), abs=0.01)
    assert distributions(corpus)["duration (s)"] == pytest.approx(
        {"least": 1.5, "1 %": 1.502, "10 %": 1.52, "median": 1.6, "90 %": 1.68, "99 %": 1.698, "most": 1.7}
    )


@pytest.mark.slow
def test_worker_processes_find_the_same(monkeypatch):
    monkeypatch.setattr("zipvoice.data.validation.stats.PIECE", 2)
    write_corpus(good_rows(5))
    assert (
        examine(tokenizer=TokenizerConfig("simple"))[0]
        == examine(tokenizer=TokenizerConfig("simple"), num_workers=2)[0]
    )


def test_without_listening_only_the_heads_of_files_are_read():
    write_corpus([*good_rows(), ("silent", "hush", silence(2.0), "", "")])
    corpus, found = examine(audio=False)
    assert found == {} and all(u.sound is None for u in corpus.utterances)


def test_a_prepared_manifest_is_examined_with_its_own_tokens():
    LETTERS.write("tokens.txt")
    write_corpus(good_rows())
    prepared = prepare(PrepareOptions("corpus.tsv", "out", tokenizer=TokenizerConfig("simple")))
    options = CheckOptions(prepared.manifest, tokens="tokens.txt")
    corpus = measure_corpus(options)
    assert run_checks(corpus, options) == []
    assert [u.num_tokens for u in corpus.utterances] == [len("number 0 is well")] * 3


@pytest.mark.parametrize("features", [False, True])
def test_shards_are_examined_as_far_as_they_hold_sound(features):
    write_corpus(good_rows())
    options = PrepareOptions("corpus.tsv", "out", shar=True, features=features, storage="numpy_files")
    corpus = measure_corpus(CheckOptions(prepare(options).manifest))
    assert [u.id for u in corpus.utterances] == ["good-0", "good-1", "good-2"]
    assert run_checks(corpus, CheckOptions("corpus.tsv")) == []
    assert [u.sound is None for u in corpus.utterances] == [features] * 3


# ---------------------------------------------------------------- where training stops


def test_rows_that_cannot_be_used_are_told_with_their_place():
    rows = good_rows()
    write_corpus([*rows, ("gone", "where is it", "gone.wav", "", ""), (*rows[0][:2], rows[0][2], "", "")])
    _, found = examine()
    details = [example.detail for example in found["unusable rows"].examples]
    assert len(details) == 2
    assert any(text.startswith("corpus.tsv:6: the id 'good-0' was used before") for text in details)
    assert any("there is no file" in text and "gone.wav" in text for text in details)


def test_audio_that_breaks_off_is_found_by_listening(folder):
    write_corpus(good_rows())
    whole = (folder / "good-1.wav").read_bytes()
    (folder / "good-1.wav").write_bytes(whole[: len(whole) // 2])
    with gzip.open("cuts.jsonl.gz", "wt") as file:  # a manifest that remembers the whole file
        file.write(manifest_line(folder / "good-1.wav", 1.6))
    options = CheckOptions("cuts.jsonl.gz")
    (finding,) = run_checks(measure_corpus(options), options)
    assert (finding.severity, finding.name) == ("error", "unreadable audio")
    assert "breaks off, or is damaged: it has 0.80 of 1.60 s" in finding.examples[0].detail


def manifest_line(path, seconds):
    recording = {
        "id": "recording",
        "sources": [{"type": "file", "channels": [0], "source": str(path)}],
        "sampling_rate": 24000,
        "num_samples": round(seconds * 24000),
        "duration": seconds,
        "channel_ids": [0],
    }
    supervision = {
        "id": "a", "recording_id": "recording", "start": 0.0, "duration": seconds, "channel": 0, "text": "well"
    }  # fmt: skip
    cut = {"id": "a", "start": 0.0, "duration": seconds, "channel": 0, "supervisions": [supervision]}
    return json.dumps({**cut, "recording": recording, "type": "MonoCut"}) + "\n"


def test_unknown_tokens_are_counted_with_an_example():
    LETTERS.write("tokens.txt")
    rows = [("a", "smörgås", tone(1.5), "", ""), ("b", "Öl and å", tone(1.6), "", ""), ("c", "beer", tone(1.7), "", "")]
    write_corpus(rows)
    _, found = examine(tokenizer=TokenizerConfig("simple"), tokens="tokens.txt")
    assert [(example.ids, example.detail) for example in found["unknown tokens"].examples] == [
        (("a", "b"), "'å' in 2 utterances, as in 'smörgås'"),
        (("a",), "'ö' in 1 utterance, as in 'smörgås'"),
        (("b",), "'Ö' in 1 utterance, as in 'Öl and å'"),
    ]


def test_texts_that_do_not_fit_are_errors_unless_their_utterances_are_left_out():
    LETTERS.write("tokens.txt")
    write_corpus([*good_rows(), ("full", "a" * 142, tone(1.5), "", "")])
    _, found = examine(tokenizer=TokenizerConfig("simple"), tokens="tokens.txt")
    assert found["more tokens than frames"].examples[0].detail.startswith("142 tokens in 141 frames: 'aaa")
    _, found = examine(tokenizer=TokenizerConfig("simple"), tokens="tokens.txt", min_len=1.55)
    assert "more tokens than frames" not in found
    assert ids(found["shorter than 1.55 s (min_len)"]) == ["good-0", "full"]


def test_what_the_remedy_of_a_refused_text_leaves_out_is_no_fault(capsys):
    write_corpus([*good_rows(2), ("mixed", "All is well, 朋友", tone(1.5), "anna", "en")])
    arguments = ["check", "corpus.tsv", "--no-audio", "--tokenizer", "espeak"]
    assert main(arguments) == 1
    assert "--skip-unknown leaves out such characters" in capsys.readouterr().out
    assert main([*arguments, "--skip-unknown"]) == 0
    assert main([*arguments[:-2], "--skip-unknown"]) == 1
    assert "choose that too, such as --tokenizer espeak" in capsys.readouterr().err


def test_a_text_that_the_tokenizer_refuses_is_told():
    write_corpus([*good_rows(), ("bad", "hello [S9] there", tone(1.5), "", "")])
    _, found = examine(tokenizer=TokenizerConfig("emilia"))
    (example,) = found["text without tokens"].examples
    assert example.ids == ("bad",)


def test_a_corpus_of_nothing_but_long_utterances_is_an_error():
    write_corpus(good_rows())
    _, found = examine(max_len=1.2)
    assert found["no utterance of permitted length"].severity == "error"
    assert ids(found["longer than 1.2 s (max_len)"]) == ["good-2", "good-1", "good-0"]


# ---------------------------------------------------------------- what is odd


def test_clipped_silent_and_quiet_audio_is_found():
    loud = Audio((3 * tone(1.5, level=0.5).samples).clip(-1, 1), 24000)
    nearly = tone(1.5, level=0.999, hertz=100)  # comes close to full scale, but is not flat there
    rows = [
        ("clipped", "a", loud),
        ("nearly", "b", nearly),
        ("silent", "c", silence(1.5)),
        ("quiet", "d", tone(1.5, 0.004)),
    ]
    write_corpus([(*row, "", "") for row in rows])
    corpus, found = examine()
    for name, utterance in (("clipped audio", "clipped"), ("silence", "silent"), ("very quiet audio", "quiet")):
        assert found[name].severity == "warning" and ids(found[name]) == [utterance]
    assert corpus.utterances[1].sound.clipped == 0
    share = 1 - 2 / math.pi * math.asin(1 / 1.5)  # of the time that the sine is beyond full scale
    assert corpus.utterances[0].sound.clipped == pytest.approx(share, abs=0.01)


def test_runs_at_full_scale_are_counted_in_each_channel():
    samples = np.zeros((2, 100), np.float32)
    samples[0, 10:15] = 1.0
    samples[0, 20:22] = 1.0  # too short
    samples[1, 96:] = -1.0
    assert measure_sound(samples, 24000).clipped == 9 / 200


@given(st.lists(st.sampled_from([0.0, 0.5, -0.98, 0.99, 1.0, 1.0, -1.0, 1.3]), min_size=1, max_size=60))
def test_flat_tops_are_what_counting_one_by_one_finds(values):
    heights = [min(abs(value), 1.0) for value in values]
    flat = run = 0
    for before, height in zip([None, *heights], [*heights, None], strict=True):
        if before is not None and before == height and height >= 0.98:
            run += 1
        else:
            flat += run + 1 if run + 1 >= 3 else 0
            run = 0
    sound = measure_sound(np.array([values], np.float32), 24000)
    assert sound.clipped == pytest.approx(flat / len(values))
    assert sound.level_db <= sound.peak_db + 1e-5


def utterance(name, seconds=2.0, text="", language=None, **changes):
    text = text or "abcdefghij" * round(seconds)
    known = UtteranceStats(name, seconds, text, None, language, len(text), 100, None, (), None, None, None)
    return replace(known, **changes)


SOUND = SoundStats(24000, 1, -6.0, -20.0, 0.0, "")


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"peak_db": -60.0, "level_db": -45.0}, None),
        ({"peak_db": -60.1, "level_db": -70.0}, "silence"),
        ({"level_db": -45.1}, "very quiet audio"),
        ({"clipped": 0.0005}, None),
        ({"clipped": 0.0006}, "clipped audio"),
        ({"sampling_rate": 23999}, "sampled at less than 24 kHz"),
        ({"num_channels": 2}, "several channels"),
    ],
)
def test_sound_is_odd_beyond_its_limits(changes, finding):
    corpus = CorpusStats("list", (utterance("a", sound=replace(SOUND, **changes)),), ())
    assert [one.name for one in run_checks(corpus, CheckOptions("list"))] == ([finding] if finding else [])


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"seconds": 1.0}, None),
        ({"seconds": 0.99}, "shorter than 1 s (min_len)"),
        ({"seconds": 3.0}, None),
        ({"seconds": 3.01}, "longer than 3 s (max_len)"),
        ({"num_tokens": 100}, None),
        ({"num_tokens": 101}, "more tokens than frames"),
        ({"sound_fault": "it breaks off"}, "unreadable audio"),
    ],
)
def test_utterances_are_learned_within_their_limits(changes, finding):
    corpus = CorpusStats("list", (utterance("a"), utterance("b", **{"text": "b", **changes})), ())
    found = run_checks(corpus, CheckOptions("list", min_len=1.0, max_len=3.0))
    assert [one.name for one in found] == ([finding] if finding else [])


def test_an_outlier_of_a_narrow_spread_is_1_6_times_as_much():
    usual = [utterance(str(i), 2.0, "a") for i in range(20)]
    others = [utterance(str(seconds), seconds, "a") for seconds in (2 / 1.61, 2 / 1.59, 3.18, 3.22)]
    assert [u.id for _, _, u in outliers([*usual, *others], SECONDS)] == [str(2 / 1.61), "3.22"]


def test_outliers_are_far_from_the_others_of_their_language():
    generator = np.random.default_rng(0)
    english = [utterance(f"en-{i}", 2.0, "a" * round(x), "en") for i, x in enumerate(generator.normal(26, 1.5, 100))]
    chinese = [utterance(f"zh-{i}", 2.0, "中" * round(x)) for i, x in enumerate(generator.normal(8, 0.4, 100))]
    german = [utterance(f"de-{i}", 2.0, "a" * round(x), "de") for i, x in enumerate(generator.normal(8, 0.4, 100))]
    odd = [utterance("slow", 6.0, "a" * 26, "en"), utterance("fast", 1.0, "中" * 9)]
    corpus = CorpusStats("list", (*english, *german, *chinese, *odd), ())
    found = {finding.name: finding for finding in run_checks(corpus, CheckOptions("list"))}
    assert ids(found["unusual characters per second"]) == ["slow", "fast"]
    assert found["unusual characters per second"].examples[0].detail.startswith("4.33, usually 13: 'aaa")
    assert ids(found["unusual duration"]) == ["slow", "fast"]


def test_an_outlier_is_more_than_four_deviations_away():
    """Durations whose logarithms are spread as a normal distribution of deviation 0.3, up to 3.1 deviations."""
    spread = [NormalDist(0, 0.3).inv_cdf((i + 0.5) / 500) for i in range(500)]
    usual = [utterance(str(i), 2 * math.exp(x), "a") for i, x in enumerate(spread)]
    others = [utterance(f"{d} deviations", 2 * math.exp(0.3 * d), "a") for d in (-4.1, -3.9, 3.9, 4.1)]
    assert [u.id for _, _, u in outliers([*usual, *others], SECONDS)] == ["-4.1 deviations", "4.1 deviations"]


def test_few_utterances_have_no_outliers():
    some = [utterance(str(i)) for i in range(18)]
    assert outliers([*some, utterance("odd", 2.0, "a")], CHARACTER_RATE) == []
    assert [u.id for _, _, u in outliers([*some, utterance("x"), utterance("odd", 2.0, "a")], CHARACTER_RATE)] == [
        "odd"
    ]


def test_copies_are_told_apart_from_several_takes():
    sound, other = tone(1.5), tone(1.5, hertz=300)
    rows = [
        ("a", "hello", sound),
        ("b", "hello", sound),
        ("c", "hello", other),
        ("d", "bye", tone(2.0)),
        ("e", "go", tone(2.0)),
        ("f", "one", silence(2.0)),
        ("g", "two", silence(2.0)),  # without sound they are no copies
    ]
    write_corpus([(*row, "", "") for row in rows])
    _, found = examine()
    assert found["the same audio and text again"].examples[0].ids == ("a", "b")
    assert [example.ids for example in found["the same audio with different texts"].examples] == [("d", "e")]
    takes = found["texts that are spoken more than once"]
    assert (takes.severity, takes.examples[0].ids) == ("note", ("a", "b", "c"))


def test_rates_and_channels_are_noted():
    write_corpus([("low", "a", tone(1.5, rate=16000), "", ""), ("wide", "b", tone(1.5, channels=2), "", "")])
    _, found = examine()
    assert [(e.ids, e.detail) for e in found["sampled at less than 24 kHz"].examples] == [(("low",), "16000 Hz")]
    assert ids(found["several channels"]) == ["wide"]


def test_utterances_are_counted_by_what_is_known_of_them():
    some = [
        utterance("a", sound=SOUND, speaker="anna", unknown=("x", "y")),
        utterance("b", sound=SOUND, language="en", unknown=("x",)),
        utterance("c", sound=replace(SOUND, num_channels=2, sampling_rate=8000)),
        utterance("d"),
    ]
    assert counts(some) == {
        "sampling rates": {"24000 Hz": 2, "8000 Hz": 1},
        "channels": {"1": 2, "2": 1},
        "speakers": {"anna": 1},
        "languages": {"en": 1},
        "unknown tokens": {"x": 2, "y": 1},
    }


def test_values_leave_out_what_is_not_known():
    assert values([utterance("a"), utterance("b", 4.0)], CHARACTER_RATE).tolist() == [10, 10]


# ---------------------------------------------------------------- what people and machines see


def test_the_command_tells_people_and_machines_the_same(capsys):
    LETTERS.write("tokens.txt")
    write_corpus([*good_rows(), ("odd", "smörgås", tone(1.5, rate=16000), "bob", "sv")])
    arguments = ["check", "corpus.tsv", "--tokenizer", "simple", "--tokens", "tokens.txt"]
    assert main(arguments) == 1
    shown = capsys.readouterr().out
    assert shown.startswith("corpus.tsv: 4 utterances, 0.1 minutes\n")
    assert "speakers        anna (3), bob (1)\n" in shown
    assert "ERROR  unknown tokens: 2; correct the texts" in shown
    assert shown.endswith("Training would stop at the errors.\n")
    assert main([*arguments, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["utterances"], told["counts"]["languages"]) == (4, {"en": 3, "sv": 1})
    assert told["findings"][0]["examples"][0] == {"ids": ["odd"], "detail": "'ö' in 1 utterance, as in 'smörgås'"}
    assert [finding["name"] for finding in told["findings"]] == ["unknown tokens", "sampled at less than 24 kHz"]


def test_exit_status(capsys):
    write_corpus([*good_rows(), ("silent", "hush", silence(2.0), "", "")])
    assert main(["check", "corpus.tsv"]) == 0  # a warning does not stop training
    assert capsys.readouterr().out.endswith("look at the warnings first.\n")
    assert main(["check", "corpus.tsv", "--no-audio", "--tokenizer", "simple"]) == 0
    shown = capsys.readouterr().out
    assert "audio           not examined\n" in shown and "tokens          not" not in shown
    assert shown.endswith("No fault was found.\n")
    assert main(["check", "nothing.tsv"]) == 1
    with pytest.raises(SystemExit) as stopped:
        main(["check", "corpus.tsv", "--tokeniser", "simple"])
    assert stopped.value.code == 2


def test_numbers_have_three_digits_or_all_before_the_point():
    shown = [checks._number(value) for value in (0.12345, 4.333, 99.94, 99.96, 100.0, 1234.6, 123456.0)]
    assert shown == ["0.123", "4.33", "99.9", "100", "100", "1235", "123456"]


def test_alike_examples_share_a_line():
    cases = tuple((f"u{i}", "16000 Hz") for i in range(10)) + tuple((f"v{i}", f"{i} Hz") for i in range(7))
    finding = Finding("note", "low", "dull", tuple(Example((name,), detail) for name, detail in cases))
    lines = render(CorpusStats("list", (), ()), [finding]).splitlines()[2:]
    assert lines[:3] == ["NOTE  low: 17; dull", "  u0, u1, u2, ...: 16000 Hz", "  v0: 0 Hz"]
    assert lines[6] == "  ... and 3 more; --json lists all"


def test_the_picture_has_four_distributions(folder, monkeypatch):
    from matplotlib.colors import to_hex
    from matplotlib.figure import Figure

    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: drawn.append(self))
    write_corpus(good_rows(12))
    options = CheckOptions("corpus.tsv", tokenizer=TokenizerConfig("simple"), min_len=2.0)
    plot("picture.png", measure_corpus(options), options)
    (figure,) = drawn
    labels = ["duration (s)", "characters per second", "level (dB)", "tokens per second"]
    assert [axes.get_xlabel() for axes in figure.axes] == labels
    assert all(sum(bar.get_height() for bar in axes.patches) == 12 for axes in figure.axes)
    (limit,) = figure.axes[0].lines  # min_len lies within the durations
    assert (limit.get_xdata()[0], limit.get_color(), limit.get_linestyle()) == (2.0, LIMIT, "--")
    assert all(to_hex(bar.get_facecolor()) == INK for axes in figure.axes for bar in axes.patches)
    assert not any(axes.spines[side].get_visible() for axes in figure.axes for side in ("top", "right"))
    main(["check", "corpus.tsv", "--tokenizer", "simple", "--plot", "picture.png"])
    assert len(drawn) == 2
    corpus = measure_corpus(options)
    plot("picture.png", replace(corpus, utterances=corpus.utterances[:1]), options)
    assert all(sum(bar.get_height() for bar in axes.patches) == 1 for axes in drawn[2].axes)


def test_a_picture_that_cannot_be_drawn_is_refused_before_the_work(capsys):
    write_corpus(good_rows())
    assert main(["check", "corpus.tsv", "--plot", "picture.txt"]) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and "picture.txt: a picture can be " in shown.err


def test_a_picture_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no utterances"):
        plot("picture.png", CorpusStats("list", (), ("all bad",)), CheckOptions("list"))
    with pytest.raises(ValueError, match=r"picture.txt: a picture can be .*png"):
        plot("picture.txt", CorpusStats("list", (), ("all bad",)), CheckOptions("list"))
