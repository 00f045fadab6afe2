# SPDX-License-Identifier: Apache-2.0
"""The corpora of the recipes, in the form they come in."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from corpus_trees import MINI, dialogue_text, make_emilia, make_libritts, make_opendialog, sentences
from hypothesis import given
from hypothesis import strategies as st

from zipvoice.config.data import PrepareOptions
from zipvoice.data.cuts import read_cuts
from zipvoice.data.prepare import prepare

EGS = Path(__file__).parents[1] / "egs"


def script(path):
    return runpy.run_path(str(EGS / path))


libritts = script("zipvoice/local/prepare_libritts.py")
emilia = script("zipvoice/local/prepare_emilia.py")
opendialog = script("zipvoice_dialog/local/prepare_opendialog.py")


def rows(path):
    """The lines of a list, without the names of its columns."""
    lines = [tuple(line.split("\t")) for line in path.read_text(encoding="utf-8").splitlines()]
    return lines[1:] if lines[0] == ("id", "text", "audio", "speaker") else lines


# ---------------------------------------------------------------- LibriTTS

PARTS = {"train-clean-100": 3, "train-clean-360": 2, "train-other-500": 1, "dev-clean": 2}


@pytest.fixture
def libritts_corpus(tmp_path):
    make_libritts(tmp_path / "LibriTTS", PARTS)
    return tmp_path / "LibriTTS"


def test_libritts_has_the_utterances_that_lhotse_finds(libritts_corpus, tmp_path):
    pytest.importorskip("lhotse")
    from lhotse.recipes.libritts import prepare_libritts

    libritts["prepare"](libritts_corpus, tmp_path / "lists")
    manifests = prepare_libritts(libritts_corpus, list(PARTS))
    found = {
        (s.id, s.text, manifest["recordings"][s.recording_id].sources[0].source, s.speaker, part)
        for part, manifest in manifests.items()
        for s in manifest["supervisions"]
    }
    train, dev = (rows(tmp_path / "lists" / f"libritts_{name}.tsv") for name in ("train-all-shuf", "dev-clean"))
    assert {row[:4] for row in found if row[4] == "dev-clean"} == set(dev)
    assert {row[:4] for row in found if row[4] != "dev-clean"} == set(train)
    assert (len(train), len(dev)) == (6, 2)


def test_libritts_is_shuffled_the_same_way_each_time(libritts_corpus, tmp_path):
    for lists in ("one", "two"):
        libritts["prepare"](libritts_corpus, tmp_path / lists)
    one, two = (tmp_path / lists / "libritts_train-all-shuf.tsv" for lists in ("one", "two"))
    assert one.read_text() == two.read_text()
    assert rows(one) != sorted(rows(one))


def test_a_missing_part_and_a_broken_transcript_are_named(libritts_corpus, tmp_path):
    with pytest.raises(ValueError, match=r"no transcript in .*/LibriTTS/train-clean-460"):
        libritts["prepare"](libritts_corpus, tmp_path / "lists", ["train-clean-460"])
    (transcript,) = libritts_corpus.glob("dev-clean/*/*/[0-9]*.trans.tsv")
    transcript.write_text("84_121123_000007_000001 spaces, not tabs\n")
    with pytest.raises(ValueError, match=r"\.trans\.tsv:1: 1 columns; expected name, text, normalised text"):
        libritts["prepare"](libritts_corpus, tmp_path / "lists")


def test_a_corpus_with_lost_and_damaged_recordings_is_prepared_without_them(libritts_corpus, tmp_path, caplog):
    pytest.importorskip("lhotse")
    first, second, *_ = sorted(libritts_corpus.glob("train-clean-100/*/*/*.wav"))
    first.unlink()
    second.write_bytes(b"RIFF")
    libritts["prepare"](libritts_corpus, tmp_path / "lists")
    source = str(tmp_path / "lists" / "libritts_train-all-shuf.tsv")
    made = prepare(PrepareOptions(source, str(tmp_path), "libritts", "train", skip_bad_rows=True))
    assert (made.utterances, made.skipped) == (4, 2)
    assert f"there is no file {first}" in caplog.text
    assert f"{second} is not readable as audio" in caplog.text


def test_the_scripts_end_with_a_sentence_rather_than_a_traceback(tmp_path):
    path = EGS / "zipvoice" / "local" / "prepare_libritts.py"
    command = [sys.executable, str(path), str(tmp_path / "nothing"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"there is no transcript in {tmp_path}/nothing/train-clean-100")


# ---------------------------------------------------------------- Emilia

ENGLISH = [sentence.text for sentence in sentences()[:7]]


def test_emilia_has_the_utterances_that_lhotse_finds(tmp_path):
    pytest.importorskip("lhotse")
    from lhotse.recipes.emilia import prepare_emilia

    make_emilia(tmp_path, "EN", ENGLISH)
    emilia["prepare"](tmp_path / "raw" / "EN", tmp_path / "lists", num_dev=2, piece=3)
    found = [
        (said.id, said.text.strip(), cut.recording.sources[0].source, said.speaker)
        for cut in prepare_emilia(tmp_path, "en", num_jobs=1)
        for said in cut.supervisions
    ]
    lists = [tmp_path / "lists" / f"emilia_EN{name}.tsv" for name in ("-dev", ".00000000", ".00000001")]
    assert [len(rows(path)) for path in lists] == [2, 3, 2]
    assert [row for path in lists for row in rows(path)] == sorted(found)


def test_emilia_leaves_out_what_does_not_suit_and_tells_how_much(tmp_path, capsys):
    make_emilia(tmp_path, "ZH", ["你好,世界,你们好吗", "カタカナ的世界", "안녕하세요", "12345", "我们今天去看电影"])
    emilia["prepare"](tmp_path / "raw" / "ZH", tmp_path / "lists", num_dev=1)
    assert [row[1] for row in rows(tmp_path / "lists" / "emilia_ZH.00000000.tsv")] == ["我们今天去看电影"]
    assert "1 utterances for training, 1 for validation; left out: " in (told := capsys.readouterr().out)
    for reason in ("1 with Japanese letters", "1 with Korean letters", "1 without Han or Latin letters"):
        assert reason in told


@pytest.mark.parametrize(
    ("text", "seconds", "reason"),
    [
        ("Hello there.", 1.0, None),
        ("한국", 1.0, "with Korean letters"),
        ("ㄱ and ㅎ", 1.0, "with Korean letters"),
        ("これは日本", 1.0, "with Japanese letters"),
        ("ﾊﾝｶｸ", 1.0, "with Japanese letters"),
        ("a ㈱", 1.0, "with Japanese letters"),
        ("50% ... 3.14", 1.0, "without Han or Latin letters"),
        ("Приве́т", 1.0, "without Han or Latin letters"),
        ("no " * 9, 3.0, None),
        ("no " * 10, 3.0, "with a word ten times in a row"),
        ("yes " + "no " * 10, 3.0, "with a word ten times in a row"),
        ("哈" * 10, 3.0, "with a word ten times in a row"),
        ("one two", 6.0, None),
        ("one two", 6.01, "slower than 20 words a minute"),
        ("你好 world", 9.0, None),
        ("don't", 3.1, "slower than 20 words a minute"),
        ("one two three", 0.3, None),
        ("one two three", 0.29, "faster than 600 words a minute"),
    ],
)
def test_what_suits_training(text, seconds, reason):
    assert emilia["unsuitable"](text, seconds) == reason


@given(st.lists(st.sampled_from(["good", "day", "你", "好"]), min_size=1, max_size=9), st.sampled_from(" ,.!?"))
def test_punctuation_and_spaces_do_not_change_the_number_of_words(words, mark):
    text = " ".join(word + mark for word in words)
    assert emilia["words_of"](text) == words


def test_a_broken_line_and_an_empty_folder_are_named(tmp_path):
    make_emilia(tmp_path, "EN", ENGLISH)
    folder = tmp_path / "raw" / "EN"
    with (folder / "EN_B00001.jsonl").open("a") as file:
        file.write('{"id": "EN_1", "wav": "a.mp3", "text": "no duration", "speaker": "EN_B"}\n')
    with pytest.raises(ValueError, match=r"EN_B00001\.jsonl:4: duration missing"):
        emilia["prepare"](folder, tmp_path / "lists", num_dev=1)
    with pytest.raises(ValueError, match=r"no \.jsonl file in .*raw/ZH"):
        emilia["prepare"](tmp_path / "raw" / "ZH", tmp_path / "lists")


def test_lists_of_an_earlier_larger_corpus_do_not_stay(tmp_path):
    for number, texts in enumerate((ENGLISH, ENGLISH[:3])):
        make_emilia(tmp_path / str(number), "EN", texts)
        emilia["prepare"](tmp_path / str(number) / "raw" / "EN", tmp_path / "lists", num_dev=1, piece=2)
    assert sorted(path.name for path in (tmp_path / "lists").iterdir()) == [
        "emilia_EN-dev.tsv",
        "emilia_EN.00000000.tsv",
    ]


# ---------------------------------------------------------------- OpenDialog


def test_the_first_dialogues_by_recording_are_for_validation(tmp_path, capsys):
    texts = [dialogue_text(i) for i in range(4)]
    make_opendialog(tmp_path, {"en": [*texts, "[S2] Who begins? [S1] I do."], "zh": ["[S1]你好。[S2]你好吗?", *texts]})
    for language in ("en", "zh"):
        manifest = tmp_path / f"manifest.{language}.jsonl"
        opendialog["prepare"](manifest, tmp_path / "lists", language.upper(), num_dev=2)
    # The fifth dialogue is en_0001, which does not begin with [S1].
    listed = [(i, texts[i], str(tmp_path / "audio" / "en" / f"en_{5 - i:04d}.wav")) for i in (3, 2, 1, 0)]
    expected = [(f"en-{i}", text, path) for i, text, path in listed]
    assert rows(tmp_path / "lists" / "opendialog_EN-dev.tsv") == expected[:2]
    assert rows(tmp_path / "lists" / "opendialog_EN-train.tsv") == expected[2:]
    assert [row[0] for row in rows(tmp_path / "lists" / "opendialog_ZH-train.tsv")] == ["zh-2", "zh-1", "zh-0"]
    assert "manifest.en.jsonl: left out: 1 that do not begin with [S1]" in capsys.readouterr().out


def test_a_corpus_too_small_or_broken_is_an_error(tmp_path):
    make_opendialog(tmp_path, {"en": [dialogue_text(0)]})
    manifest = tmp_path / "manifest.en.jsonl"
    with pytest.raises(ValueError, match="has 1 usable dialogues, 1000 are for validation"):
        opendialog["prepare"](manifest, tmp_path / "lists", "EN")
    manifest.write_text(json.dumps({"id": "one", "path": "audio/en/one.wav"}) + "\n")
    with pytest.raises(ValueError, match=r"manifest\.en\.jsonl:1: text missing"):
        opendialog["prepare"](manifest, tmp_path / "lists", "EN")
    with pytest.raises(ValueError, match=r"there is no .*manifest\.zh\.jsonl"):
        opendialog["prepare"](tmp_path / "manifest.zh.jsonl", tmp_path / "lists", "ZH")


# ---------------------------------------------------------------- manifests


def test_joined_manifests_have_the_utterances_of_all_parts(tmp_path):
    pytest.importorskip("lhotse")
    for name in ("train", "dev"):
        prepare(PrepareOptions(str(MINI / f"{name}.tsv"), str(tmp_path), "mini", name))
    parts = [tmp_path / f"mini_cuts_{name}.jsonl.gz" for name in ("train", "dev")]
    script("zipvoice/local/join_manifests.py")["main"](str(tmp_path / "all.jsonl.gz"), list(map(str, parts)))
    ids = [[cut.id for cut in read_cuts(path)] for path in (*parts, tmp_path / "all.jsonl.gz")]
    assert ids[2] == ids[0] + ids[1]
