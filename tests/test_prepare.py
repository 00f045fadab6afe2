# SPDX-License-Identifier: Apache-2.0
"""A corpus becomes a manifest, or a list of what is wrong with it."""

import logging
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis.strategies import text

from zipvoice.audio.mel import log_mel
from zipvoice.cli import main
from zipvoice.config.data import PrepareOptions
from zipvoice.config.text import TokenizerConfig
from zipvoice.text.token_table import TokenTable
from zipvoice.text.tokenizers import EspeakTokenizer

lhotse = pytest.importorskip("lhotse")
from zipvoice.data import prepare as preparation  # noqa: E402
from zipvoice.data.corpus_list import clean_text  # noqa: E402
from zipvoice.data.cuts import extract_features, load_audio, load_features, make_tokens, read_cuts  # noqa: E402
from zipvoice.data.prepare import prepare  # noqa: E402

CORPUS = Path(__file__).parent / "data" / "corpus"


def tone(path: Path, seconds: float = 1.0, rate: int = 24000, channels: int = 1, hertz: float = 440.0) -> Path:
    """A file with sine tones of 1, 2, 3 times a frequency on its channels."""
    time = np.arange(round(seconds * rate)) / rate
    waves = [0.5 * np.sin(2 * np.pi * hertz * (i + 1) * time) for i in range(channels)]
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.stack(waves, axis=1), rate)
    return path


@pytest.fixture
def corpus(tmp_path):
    """A function (rows, options) -> PrepareOptions of a TSV file with these rows, beside a.wav of 1 s at 24 kHz."""
    tone(tmp_path / "a.wav")

    def options(*rows: str, **settings) -> PrepareOptions:
        (tmp_path / "list.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
        return PrepareOptions(str(tmp_path / "list.tsv"), output_dir=str(tmp_path / "out"), **settings)

    return options


def cuts_of(prepared) -> list:
    return list(read_cuts(prepared.manifest))


# ---------------------------------------------------------------- rows


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("u", "1 tab-separated columns; expected id, text, audio file"),
        ("u\ttext\ta.wav\t0.5", "4 tab-separated columns"),
        ("u\ttext\ta.wav\t0\t1\tmore", "6 tab-separated columns"),
        ("\ttext\ta.wav", "the id is empty"),
        ("u\t __ \ta.wav", "the text is empty"),
        ("u\ttext\t", "the audio file is empty"),
        ("good\ttext\ta.wav", "the id 'good' was used before, at {list}:1"),
        ("u\ttext\tmissing.wav", "there is no file {folder}/missing.wav"),
        ("u\ttext\tlist.tsv", "{folder}/list.tsv is not readable as audio: Format not recognised; known formats are"),
        ("u\ttext\tempty.wav", "{folder}/empty.wav holds no samples"),
        ("u\ttext\ta.wav\t0.5\t0.5", "the segment from 0.5 to 0.5 s must have 0 <= start < end"),
        ("u\ttext\ta.wav\t-1\t0.5", "the segment from -1.0 to 0.5 s"),
        ("u\ttext\ta.wav\tnan\t0.5", "the segment from nan to 0.5 s"),
        ("u\ttext\ta.wav\t0\t1,5", "start and end must be seconds, found '0' and '1,5'"),
        ("u\ttext\ta.wav\t0\t1.2", "the segment ends at 1.2 s, but a.wav ends at 1.000 s"),
    ],
)
def test_a_bad_row_is_an_error_with_its_place(corpus, tmp_path, row, message):
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 24000)
    options = corpus("good\ttext\ta.wav", row)
    with pytest.raises(ValueError, match=r"list.tsv \(--skip-bad-rows leaves them out\): 1\n") as error:
        prepare(options)
    place = f"{tmp_path}/list.tsv"
    assert f"{place}:2: {message.format(list=place, folder=tmp_path)}" in str(error.value)
    assert not (tmp_path / "out").exists()


def test_all_bad_rows_are_reported_at_once_up_to_a_limit(corpus):
    rows = [f"u{i}\ttext" for i in range(30)]
    with pytest.raises(ValueError, match=": 30\n") as error:
        prepare(corpus(*rows))
    assert ":20:" in str(error.value)
    assert ":21:" not in str(error.value)
    assert "... and 10 more" in str(error.value)


def test_bad_rows_can_be_skipped_with_a_report(corpus, caplog):
    options = corpus("a\ttext\ta.wav", "b\t\ta.wav", "c\ttext\tmissing.wav", skip_bad_rows=True)
    with caplog.at_level(logging.WARNING):
        prepared = prepare(options)
    assert (prepared.utterances, prepared.skipped) == (1, 2)
    assert "left out: 2" in caplog.text
    assert "list.tsv:2: the text is empty" in caplog.text
    assert "list.tsv:3: there is no file" in caplog.text


def test_a_corpus_without_a_usable_row_is_an_error(corpus):
    with pytest.raises(ValueError, match="lists no usable utterance"):
        prepare(corpus("a\t\ta.wav", skip_bad_rows=True))
    with pytest.raises(ValueError, match="lists no usable utterance"):
        prepare(corpus(""))


def test_text_that_is_not_utf8_is_an_error(corpus, tmp_path):
    options = corpus("a\ttext\ta.wav")
    (tmp_path / "list.tsv").write_bytes("a\tgrüß\ta.wav".encode("latin-1"))
    with pytest.raises(ValueError, match="is not UTF-8 text"):
        prepare(options)


def test_byte_order_mark_windows_line_ends_and_blank_lines_are_no_content(corpus, tmp_path):
    options = corpus()
    (tmp_path / "list.tsv").write_bytes(b"\xef\xbb\xbfa\tone\ta.wav\r\n\r\nb\ttwo\ta.wav\r\n")
    assert [(cut.id, cut.supervisions[0].text) for cut in cuts_of(prepare(options))] == [("a", "one"), ("b", "two")]


def test_white_space_and_underscores_become_single_spaces():
    assert clean_text("  a_b  c\u3000d_ ") == "a b c d"


@given(text())
def test_cleaning_changes_nothing_but_white_space_and_underscores(content):
    cleaned = clean_text(content)
    assert cleaned.split() == content.replace("_", " ").split()
    assert cleaned == " ".join(cleaned.split())


# ---------------------------------------------------------------- cuts


def test_a_full_disk_is_told(corpus, monkeypatch):
    def full(*args, **kwargs):
        raise OSError("28900 requested and 5088 written")  # as NumPy does

    monkeypatch.setattr("numpy.save", full)
    with pytest.raises(OSError, match=r"No space left on device: .*custom_feats_train"):
        prepare(corpus("u\tOh no.\ta.wav", features=True, storage="numpy_files"))


def test_every_cut_has_one_supervision_with_its_own_span(corpus):
    options = corpus("whole\tone\ta.wav", "part\ttwo\ta.wav\t0.25\t0.75", "rounded\tthree\ta.wav\t0.5\t1.005")
    whole, part, rounded = cuts_of(prepare(options))
    assert [(cut.start, cut.duration) for cut in (whole, part, rounded)] == [(0, 1), (0.25, 0.5), (0.5, 0.5)]
    for cut in (whole, part, rounded):
        (supervision,) = cut.supervisions
        assert (supervision.id, supervision.start, supervision.duration) == (cut.id, 0, cut.duration)
        lhotse.validate(cut)


def test_segments_are_the_samples_of_the_file(corpus, tmp_path):
    samples, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    (cut,) = cuts_of(prepare(corpus("part\ttwo\ta.wav\t0.25\t0.75")))
    np.testing.assert_array_equal(load_audio(cut).samples, samples[None, 6000:18000])


def test_paths_that_look_alike_stay_apart(corpus, tmp_path):
    """`a/b.wav` and `a_b.wav` were one recording when separators became underscores."""
    tone(tmp_path / "a" / "b.wav", 0.5)
    tone(tmp_path / "a_b.wav", 0.75)
    tone(tmp_path / "a%2Fb.wav", 0.25)
    cuts = cuts_of(prepare(corpus("x/1\tone\ta/b.wav", "x_1\ttwo\ta_b.wav", "x 1\tthree\ta%2Fb.wav")))
    assert [cut.duration for cut in cuts] == [0.5, 0.75, 0.25]
    assert len({cut.recording.id for cut in cuts}) == 3
    assert not any("/" in cut.recording.id for cut in cuts)


def test_audio_paths_are_relative_to_the_list_then_to_the_current_folder(corpus, tmp_path, monkeypatch):
    tone(tmp_path / "elsewhere" / "a.wav", 0.5)
    tone(tmp_path / "elsewhere" / "b.wav", 0.25)
    monkeypatch.chdir(tmp_path / "elsewhere")
    cuts = cuts_of(prepare(corpus("x\tone\ta.wav", "y\ttwo\tb.wav", f"z\tthree\t{tmp_path}/elsewhere/a.wav")))
    assert [cut.duration for cut in cuts] == [1.0, 0.25, 0.5]


@pytest.mark.parametrize(
    ("name", "rate"),
    [("t.wav", 8000), ("t.wav", 44100), ("t.wav", 192000), ("t.flac", 16000), ("t.ogg", 22050), ("t.mp3", 48000)],
)
def test_any_format_and_rate_becomes_24_khz(corpus, tmp_path, name, rate):
    """The tone keeps its frequency: the same features as the tone made at 24 kHz, in the band where it is."""
    tone(tmp_path / name, rate=rate)
    (cut,) = cuts_of(prepare(corpus(f"u\ttext\t{name}")))
    audio = load_audio(cut)
    assert audio.sampling_rate == cut.sampling_rate == 24000
    assert abs(audio.num_samples - 24000) <= 1200  # mp3 encoders add silence
    mel = extract_features(cut, stereo=False)
    assert mel[20].argmax() == 16
    assert mel[20, 14] == pytest.approx(1.2720, abs=0.1)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 32000, 44100, 48000, 192000])
def test_whole_files_of_any_length_are_read_whole(corpus, tmp_path, rate):
    """Durations are those of whole samples at 24 kHz, which may be a little more than what the file has."""
    names = [f"{rate}_{extra}.wav" for extra in range(9)]
    for extra, name in enumerate(names):
        tone(tmp_path / name, (rate + extra) / rate, rate)
    for extra, cut in enumerate(cuts_of(prepare(corpus(*(f"{name}\ttext\t{name}" for name in names))))):
        assert abs(load_audio(cut).num_samples - (rate + extra) * 24000 / rate) <= 1
        assert abs(load_audio(cut).num_samples - cut.num_samples) <= 1


def test_tokens_are_stored(corpus):
    options = corpus("u\tOh, no.\ta.wav", tokenizer=TokenizerConfig("simple"))
    (cut,) = cuts_of(prepare(options))
    assert cut.supervisions[0].tokens == list("Oh, no.")


def test_a_token_table_gives_the_tags_and_must_have_the_tokens(corpus, tmp_path):
    TokenTable(("_", "[S1]", "[HUMS]", *"Oh no.")).write(tmp_path / "tokens.txt")
    options = corpus("u\t[S1]Oh [HUMS] no.\ta.wav", tokenizer=TokenizerConfig("simple"))
    options = replace(options, tokens=str(tmp_path / "tokens.txt"))
    (cut,) = cuts_of(prepare(options))
    assert cut.supervisions[0].tokens == ["[S1]", *"Oh ", "[HUMS]", *" no."]
    rows = corpus("u\tOh no.\ta.wav", "v\tOh yes.\ta.wav", tokenizer=options.tokenizer, tokens=options.tokens)
    with pytest.raises(ValueError, match=r"list\.tsv:2: the model has no token for 'y', 'e', 's'"):
        prepare(rows)
    with pytest.raises(ValueError, match="is of use with a tokenizer only"):
        corpus("u\tOh no.\ta.wav", tokens=options.tokens)


def test_a_changed_token_table_is_seen(corpus, tmp_path):
    TokenTable(("_", "O", "h")).write(tmp_path / "tokens.txt")
    options = corpus("u\tOh\ta.wav", tokenizer=TokenizerConfig("simple"), tokens=str(tmp_path / "tokens.txt"))
    first = prepare(options)
    TokenTable(("_", "O", "h", "[HUMS]")).write(tmp_path / "tokens.txt")
    assert prepare(options).fingerprint != first.fingerprint


def test_every_row_is_spoken_in_its_own_language(corpus, tmp_path):
    """The digits are words of their languages, both when tokens are stored and when they are made for training."""
    pytest.importorskip("piper_phonemize")
    english, german = (EspeakTokenizer(language=language) for language in ("en-us", "de"))
    rows = ("id\ttext\taudio\tlanguage", "a\t21\ta.wav\tde", "b\t21\ta.wav\t")
    stored = cuts_of(prepare(corpus(*rows, tokenizer=TokenizerConfig("espeak", "en-us"))))
    assert [cut.supervisions[0].tokens for cut in stored] == [german.tokens("21"), english.tokens("21")]
    assert [make_tokens(cut, english) for cut in cuts_of(prepare(corpus(*rows)))] == [
        german.tokens("21"),
        english.tokens("21"),
    ]


def test_unknown_languages_are_told_before_the_work(corpus, monkeypatch):
    pytest.importorskip("piper_phonemize")
    monkeypatch.setattr(preparation, "_finish_pieces", None)
    rows = corpus("id\ttext\taudio\tlanguage", "a\tja\ta.wav\tde", "b\tja\ta.wav\txx-yy", "c\tja\ta.wav\tzz")
    with pytest.raises(ValueError, match=": 2\n") as error:
        prepare(replace(rows, tokenizer=TokenizerConfig("espeak")))
    assert "list.tsv:3: espeak-ng does not know the language 'xx-yy'" in str(error.value)
    assert "list.tsv:4: espeak-ng does not know the language 'zz'" in str(error.value)


def test_a_lhotse_manifest_is_a_source_too(corpus, tmp_path):
    first = prepare(corpus("u\tOh_no\ta.wav", features=True))
    options = PrepareOptions(first.manifest, str(tmp_path / "again"), tokenizer=TokenizerConfig("simple"))
    (before,), (after,) = cuts_of(first), cuts_of(prepare(options))
    assert before.has_features
    assert after.supervisions[0].tokens == list("Oh no")
    content = Path(first.manifest).read_bytes()
    with pytest.raises(
        ValueError, match=r"custom_cuts_train\.jsonl\.gz would be replaced, which is read; choose another"
    ):
        prepare(PrepareOptions(first.manifest, str(Path(first.manifest).parent)))
    assert Path(first.manifest).read_bytes() == content
    assert replace(after, supervisions=[]) == replace(before, supervisions=[])


def test_a_lhotse_manifest_is_checked(corpus, tmp_path):
    (cut,) = cuts_of(prepare(corpus("u\tOh no\ta.wav")))
    silent, unheard = replace(cut, id="silent", supervisions=[]), replace(cut, id="unheard", recording=None)
    lhotse.CutSet.from_cuts([cut, silent, cut, unheard]).to_file(tmp_path / "bad.jsonl")
    with pytest.raises(ValueError, match=": 3\n") as error:
        prepare(PrepareOptions(str(tmp_path / "bad.jsonl"), str(tmp_path / "out")))
    assert "bad.jsonl:2: the cut 'silent' has 0 supervisions" in str(error.value)
    assert "bad.jsonl:3: the id 'u' was used before" in str(error.value)
    assert "bad.jsonl:4: the cut 'unheard' is not part of one recording" in str(error.value)


def test_a_missing_package_is_an_error_that_says_how_to_install_it(corpus, monkeypatch):
    monkeypatch.setitem(sys.modules, "lhotse", None)
    with pytest.raises(ImportError, match=r'pip install "zipvoice-tts\[training\]"'):
        prepare(corpus("u\ttext\ta.wav"))


# ---------------------------------------------------------------- features


@pytest.mark.parametrize(("storage", "tolerance"), [("numpy_files", 0.0), ("lilcom_chunky", 2**-6 + 1e-4)])
def test_stored_features_are_those_computed_on_the_fly(tmp_path, storage, tolerance):
    if storage == "lilcom_chunky":
        pytest.importorskip("lilcom")
    options = PrepareOptions(str(CORPUS / "utterances.tsv"), str(tmp_path), features=True, storage=storage)
    cuts = cuts_of(prepare(options))
    assert len(cuts) == 6
    for cut in cuts:
        computed = extract_features(cut, stereo=False)
        np.testing.assert_allclose(load_features(cut, 100), computed, atol=tolerance, rtol=0)
        assert cut.num_frames == len(computed)
        np.testing.assert_array_equal(cut.load_features(), load_features(cut, 100))  # lhotse reads the same


def test_channels_are_averaged_or_side_by_side(corpus, tmp_path):
    tone(tmp_path / "two.wav", channels=2)
    tone(tmp_path / "three.wav", channels=3)
    two, three = cuts_of(prepare(corpus("two\ttext\ttwo.wav", "three\ttext\tthree.wav")))
    left, right, other = load_audio(three).samples
    np.testing.assert_allclose(extract_features(two, stereo=False), log_mel((left + right) / 2))
    parts = np.split(extract_features(two, stereo=True), 3, axis=1)
    for part, wave in zip(parts, (left, right, (left + right) / 2), strict=True):
        np.testing.assert_allclose(part, log_mel(wave))
    assert np.array_equal(extract_features(three, stereo=True)[:, 200:], log_mel(other))


def test_stereo_features_need_several_channels(corpus):
    with pytest.raises(ValueError, match=r"list.tsv:1: stereo features need two or three channels, .* 'u' has 1"):
        prepare(corpus("u\ttext\ta.wav", features=True, stereo=True))


def test_a_file_that_breaks_off_is_an_error_that_names_the_utterance(corpus, tmp_path):
    whole = (tmp_path / "a.wav").read_bytes()
    options = corpus("u\ttext\ta.wav", features=True)
    (cut,) = cuts_of(prepare(replace(options, features=False)))
    (tmp_path / "a.wav").write_bytes(whole[:20000])
    with pytest.raises(ValueError, match=r"a\.wav breaks off, or is damaged: it has 0\.42 of 1\.00 s"):
        load_audio(cut)


def test_samples_that_are_no_numbers_are_an_error(corpus, tmp_path):
    soundfile.write(tmp_path / "nan.wav", np.array([0.0] * 1000 + [np.nan]), 24000, "FLOAT")
    with pytest.raises(ValueError, match=r"list.tsv:1: .*nan\.wav holds NaN or infinite samples"):
        prepare(corpus("u\ttext\tnan.wav", features=True))


def test_what_cannot_be_spoken_or_heard_is_skipped_late(corpus, tmp_path):
    soundfile.write(tmp_path / "short.wav", np.zeros(512), 24000)
    options = corpus("a\ttext\ta.wav", "b\ttext\tshort.wav", features=True, skip_bad_rows=True)
    prepared = prepare(options)
    assert [cut.id for cut in cuts_of(prepared)] == ["a"]
    assert (prepared.utterances, prepared.skipped) == (1, 1)


# ---------------------------------------------------------------- again


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_second_run_changes_nothing(corpus, tmp_path, monkeypatch):
    options = corpus("a\tone\ta.wav", "b\ttwo\ta.wav\t0\t0.5", features=True, tokenizer=TokenizerConfig("simple"))
    first = prepare(options)
    before = everything(tmp_path)
    monkeypatch.setattr(preparation, "_finish", None)
    assert prepare(options) == first
    assert everything(tmp_path) == before


def test_a_changed_row_file_or_option_is_seen(corpus, tmp_path):
    first = prepare(corpus("a\tone\ta.wav"))
    second = prepare(corpus("a\ttwo\ta.wav"))
    tone(tmp_path / "a.wav", hertz=220)
    third = prepare(corpus("a\ttwo\ta.wav"))
    fourth = prepare(corpus("a\ttwo\ta.wav", features=True))
    assert len({first.fingerprint, second.fingerprint, third.fingerprint, fourth.fingerprint}) == 4
    assert cuts_of(fourth)[0].has_features


def test_each_option_that_shapes_the_result_is_seen(corpus, tmp_path):
    tone(tmp_path / "two.wav", channels=2)
    plain = corpus("a\tab\ttwo.wav", features=True, storage="numpy_files")
    tokenizer = TokenizerConfig("simple")
    TokenTable(("_", "a", "b")).write(tmp_path / "tokens.txt")
    shaped = [
        {"stereo": True},
        {"tokenizer": tokenizer},
        {"tokenizer": tokenizer, "tokens": str(tmp_path / "tokens.txt")},
        {"shar": True},
        {"shar": True, "shard_size": 2},
    ]
    made = [prepare(replace(plain, **change)) for change in [{}, *shaped]]
    assert len({prepared.fingerprint for prepared in made}) == len(made)
    assert [cuts_of(prepare(replace(plain, stereo=stereo)))[0].num_features for stereo in (False, True)] == [100, 300]


def test_features_that_were_removed_are_made_again(corpus, tmp_path):
    options = corpus("a\tone\ta.wav", features=True)
    first = prepare(options)
    whole = everything(tmp_path)
    shutil.rmtree(tmp_path / "out" / "custom_feats_train")
    assert prepare(options) == first
    assert everything(tmp_path) == whole


@pytest.mark.parametrize("storage", ["numpy_files", "lilcom_chunky"])
def test_broken_off_it_goes_on_with_the_same_result(tmp_path, monkeypatch, storage):
    options = PrepareOptions(str(CORPUS / "utterances.tsv"), str(tmp_path), features=True, storage=storage)
    monkeypatch.setattr(preparation, "PIECE", 2)
    prepared = prepare(options)
    whole = everything(tmp_path)
    Path(prepared.manifest).unlink()

    finish, finished = preparation._finish, []

    def interrupted(piece, options):
        if len(finished) == 2:
            raise KeyboardInterrupt
        finished.append(piece)
        return finish(piece, options)

    monkeypatch.setattr(preparation, "_finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(options)
    assert not Path(prepared.manifest).exists()
    monkeypatch.setattr(preparation, "extract_features", lambda cut, *_: recompute(cut))
    recomputed = []

    def recompute(cut):
        recomputed.append(cut.id)
        return extract_features(cut, stereo=False)

    monkeypatch.setattr(preparation, "_finish", finish)
    assert prepare(options) == prepared
    assert len(recomputed) == 2
    assert everything(tmp_path) == whole


def test_two_preparations_do_not_write_the_same_pieces(tmp_path, monkeypatch):
    options = PrepareOptions(str(CORPUS / "utterances.tsv"), str(tmp_path), prefix="mine", subset="dev")
    program = f"""
from zipvoice.data.prepare import PrepareOptions, prepare
prepare(PrepareOptions({options.source!r}, {options.output_dir!r}, "mine", "dev"))
"""
    finish, said = preparation._finish, []

    def meanwhile(piece, options):
        said.append(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False).stderr)
        return finish(piece, options)

    monkeypatch.setattr(preparation, "_finish", meanwhile)
    prepare(options)
    assert f"another process is preparing mine dev in {tmp_path}: wait until it ends, or choose another" in said[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine_cuts_dev.json", "mine_cuts_dev.jsonl.gz"]


def test_features_of_a_piece_that_were_removed_before_or_after_the_end_are_made_again(tmp_path, monkeypatch):
    options = PrepareOptions(str(CORPUS / "utterances.tsv"), str(tmp_path), features=True, storage="numpy_files")
    monkeypatch.setattr(preparation, "PIECE", 3)
    prepared = prepare(options)
    whole = everything(tmp_path)
    Path(prepared.manifest).unlink()
    with monkeypatch.context() as patch:
        patch.setattr(preparation, "_join", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            prepare(options)
    for _ in ("before", "after"):
        shutil.rmtree(next((tmp_path / "custom_feats_train").iterdir()))
        assert prepare(options) == prepared
        assert everything(tmp_path) == whole


def test_pieces_make_no_difference(tmp_path, monkeypatch):
    options = PrepareOptions(str(CORPUS / "utterances.tsv"), str(tmp_path / "whole"))
    whole = prepare(options)
    monkeypatch.setattr(preparation, "PIECE", 4)
    pieces = prepare(replace(options, output_dir=str(tmp_path / "pieces")))
    assert cuts_of(pieces) == cuts_of(whole)
    assert replace(pieces, manifest="") == replace(whole, manifest="")


KILLED = """
import sys, time
from zipvoice.config.data import PrepareOptions
from zipvoice.data import prepare as preparation
preparation.PIECE, extract = 2, preparation.extract_features
def slow(*arguments):
    time.sleep(0.5)
    return extract(*arguments)
preparation.extract_features = slow
preparation.prepare(PrepareOptions(sys.argv[1], sys.argv[2], features=True, shar=sys.argv[3] == "True", shard_size=2))
"""


@pytest.mark.slow
@pytest.mark.parametrize("shar", [False, True])
def test_killed_it_goes_on_with_the_same_result(tmp_path, monkeypatch, shar):
    """Killed without notice while the second of three pieces is being written."""
    pytest.importorskip("lilcom")
    monkeypatch.setattr(preparation, "PIECE", 2)
    options = PrepareOptions(
        str(CORPUS / "utterances.tsv"), str(tmp_path / "out"), features=True, shar=shar, shard_size=2
    )
    whole = prepare(options)
    expected = everything(tmp_path)
    shutil.rmtree(tmp_path / "out")
    process = subprocess.Popen([sys.executable, "-c", KILLED, options.source, options.output_dir, str(shar)])
    while not list(tmp_path.rglob("*-00000000.jsonl.gz" if not shar else "cuts.000000.jsonl.gz")):
        assert process.poll() is None
        time.sleep(0.05)
    while not list(tmp_path.rglob(".*.tmp*")):
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert list(tmp_path.rglob(".*.tmp*"))
    assert not Path(whole.manifest).exists()
    assert prepare(options) == whole
    assert everything(tmp_path) == expected


@pytest.mark.slow
@pytest.mark.parametrize("shar", [False, True])
def test_worker_processes_make_no_difference(tmp_path, monkeypatch, shar):
    monkeypatch.setattr(preparation, "PIECE", 2)
    options = PrepareOptions(str(CORPUS / "utterances.tsv"), str(tmp_path), features=True, shar=shar, shard_size=2)
    prepare(options)
    alone = everything(tmp_path)
    next(tmp_path.glob("custom_*_train.json")).unlink()
    prepare(replace(options, num_workers=2))
    assert everything(tmp_path) == alone


@pytest.mark.parametrize(("count", "expected"), [(1, 0.01), (99, 0.99), (100, 0.99), (101, 1.0), (150, 1.49)])
def test_99_of_100_utterances_are_no_longer(tmp_path, count, expected):
    tone(tmp_path / "a.wav", 2.0)
    rows = [f"{i}\tone\ta.wav\t0\t{i / 100}\n" for i in range(count, 0, -1)]
    (tmp_path / "list.tsv").write_text("".join(rows))
    prepared = prepare(PrepareOptions(str(tmp_path / "list.tsv"), str(tmp_path / "out")))
    assert (prepared.utterances, prepared.seconds_99) == (count, expected)


def test_the_summary_counts(tmp_path):
    prepared = prepare(PrepareOptions(str(CORPUS / "utterances.tsv"), str(tmp_path), "kathleen", "dev"))
    durations = [cut.duration for cut in cuts_of(prepared)]
    assert Path(prepared.manifest) == tmp_path / "kathleen_cuts_dev.jsonl.gz"
    assert prepared.utterances == 6
    assert prepared.hours == round(sum(durations) / 3600, 4)
    assert prepared.seconds_99 == round(max(durations), 2)


def test_the_command_tells_what_was_prepared(corpus, tmp_path, capsys):
    options = corpus("id\ttext\taudio", "one\thello\ta.wav", "two\thello\ta.wav", "bad\thello\tgone.wav")
    command = ["prepare", options.source, "--output-dir", options.output_dir]
    assert main(command) == 1
    assert main([*command, "--skip-bad-rows"]) == 0
    told = capsys.readouterr().err.splitlines()[-1]
    manifest = tmp_path / "out" / "custom_cuts_train.jsonl.gz"
    assert told == f"{manifest}: 2 utterances, 1 rows left out, 0.0 minutes, 99 % up to 1.0 s"


def test_a_corpus_of_which_nothing_can_be_used_is_an_error(corpus):
    for settings, message in (
        ({}, "nothing of its text is spoken: '♪'"),
        ({"skip_bad_rows": True}, "none of the 1 utterances could be used"),
    ):
        with pytest.raises(ValueError, match=message):
            prepare(corpus("one\t♪\ta.wav", tokenizer=TokenizerConfig("libritts"), **settings))


@pytest.mark.parametrize(("stored", "message"), [(b"no array", "cannot be read"), (None, r"have the shape \(7,\)")])
def test_stored_features_that_are_none_are_named(corpus, stored, message):
    made = prepare(corpus("one\thello\ta.wav", features=True, storage="numpy_files"))
    (path,) = Path(made.manifest).parent.rglob("*.npy")
    path.write_bytes(stored) if stored else np.save(path, np.zeros(7, np.float32))
    (cut,) = cuts_of(made)
    with pytest.raises(ValueError, match=rf"the stored features of 'one' {message}"):
        load_features(cut, 100)
