# SPDX-License-Identifier: Apache-2.0
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_models import FAST, RATE, make_model, make_vocoder, tone

from zipvoice.audio.files import read, write
from zipvoice.cli import lists
from zipvoice.config.text import TokenizerConfig
from zipvoice.synthesis import batch, voices
from zipvoice.synthesis.batch import ListWork, check_language, check_list, share, speak_list
from zipvoice.synthesis.synthesizer import Synthesizer
from zipvoice.utterances import Utterance, read_list


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("voices")
    write(folder / "low.wav", tone(0.6))
    write(folder / "high.wav", tone(0.8, hertz=500))
    return [str(folder / "low.wav"), str(folder / "high.wav")]


@pytest.fixture
def utterances(recordings):
    texts = ["hello", "good morning, dear listeners.", "one two three. " * 12, "hi!", "five, six"]
    return [
        Utterance(f"u{i}", text, recordings[i % 2], ["a low tone", "and a high one"][i % 2])
        for i, text in enumerate(texts)
    ]


OPTIONS = replace(FAST, max_chunk_seconds=6.0)


def speak(synthesizer, utterances, folder, options=OPTIONS):
    return {outcome.id: outcome for outcome in speak_list(synthesizer, utterances, folder, options)}


def sounds(folder):
    return {path.stem: read(path).samples for path in folder.glob("*.wav")}


def assert_same_sounds(first, second):
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], atol=2 / 32768, rtol=0)


# ---------------------------------------------------------------- reading


def test_columns_and_json_lines_say_the_same(tmp_path):
    (tmp_path / "list.tsv").write_text("a\tsaid\tme.wav\thello there\n\nb\tsaid too\tyou.wav\thi\n")
    rows = [
        {"id": "a", "text": "hello there", "ref_audio": "me.wav", "ref_text": "said"},
        {"id": "b", "text": "hi", "ref_audio": "you.wav", "ref_text": "said too"},
    ]
    (tmp_path / "list.jsonl").write_text("\n\n".join(map(json.dumps, rows)))
    expected = {1: Utterance("a", "hello there", "me.wav", "said"), 3: Utterance("b", "hi", "you.wav", "said too")}
    assert read_list(tmp_path / "list.tsv") == read_list(tmp_path / "list.jsonl") == expected


def test_six_columns_are_a_dialogue_of_two_recordings(tmp_path):
    (tmp_path / "list.tsv").write_text("a\tfirst\tsecond\t1.wav\t2.wav\t[S1] hi [S2] ho\n")
    row = {"id": "a", "text": "[S1] hi [S2] ho", "ref_audio": ["1.wav", "2.wav"], "ref_text": ["first", "second"]}
    (tmp_path / "list.jsonl").write_text(json.dumps(row))
    expected = Utterance("a", "[S1] hi [S2] ho", ("1.wav", "2.wav"), ("first", "second"))
    assert read_list(tmp_path / "list.tsv") == read_list(tmp_path / "list.jsonl") == {1: expected}


def test_an_utterance_may_have_options_of_its_own():
    utterance = Utterance("a", "hi", "a.wav", "b", duration=2.5, speed=2.0, seed=7)
    assert utterance.options(FAST) == replace(FAST, duration=2.5, speed=2.0, seed=7)
    assert replace(utterance, duration=None, speed=None, seed=None).options(FAST) == FAST


GOOD = {"id": "a", "text": "hi", "ref_audio": "me.wav", "ref_text": "said"}


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("l.tsv", "a\tb\tc", r"line 2: it has 3 column\(s\)"),
        ("l.tsv", "a\tb\tc.wav\t ", "line 2: the text is empty"),
        ("l.tsv", "../a\tb\tc.wav\thi", "line 2: '../a' cannot be the name of a file"),
        ("l.tsv", "x\tb\tc.wav\thi", "line 2: the id 'x' is that of line 1 already"),
        ("l.jsonl", "{", "line 2: it is not valid JSON"),
        ("l.jsonl", json.dumps({**GOOD, "sped": 2}), "line 2: unknown key 'sped'; did you mean 'speed'"),
        (
            "l.jsonl",
            json.dumps({"id": "a", "text": "hi", "ref_text": "said"}),
            "line 2: the key 'ref_audio' is missing",
        ),
        ("l.jsonl", json.dumps({**GOOD, "voice": "me"}), "line 2: give voice, or ref_audio and ref_text, not both"),
        (
            "l.jsonl",
            json.dumps({"id": "a", "text": "hi", "voice": "me", "ref_audio": "me.wav"}),
            "line 2: give voice, or ref_audio",
        ),
        (
            "l.jsonl",
            json.dumps({"id": "a", "text": "hi", "voice": "me", "ref_text": "said"}),
            "line 2: give voice, or ref_audio",
        ),
        ("l.jsonl", '{"id": "a", "id": "b", "text": "hi"}', "line 2: the key 'id' stands there twice"),
        ("l.jsonl", json.dumps({**GOOD, "text": "hi \ud800"}), "line 2: the text has half of a character"),
        ("l.jsonl", json.dumps({**GOOD, "speed": "fast"}), "line 2: at speed: expected float"),
        ("l.jsonl", json.dumps({**GOOD, "speed": -1.0}), "line 2: speed must be above 0"),
        ("l.jsonl", json.dumps({**GOOD, "ref_audio": ["a", "b"]}), "line 2: ref_audio and ref_text must both"),
    ],
)
def test_a_bad_line_is_named_with_its_number_and_reason(tmp_path, name, line, message):
    first = json.dumps({**GOOD, "id": "x"}) if name.endswith("jsonl") else "x\tsaid\tme.wav\thi"
    (tmp_path / name).write_text(f"{first}\n{line}\n")
    with pytest.raises(ValueError, match=message) as error:
        read_list(tmp_path / name)
    assert "has 1 bad line(s), so nothing is done" in str(error.value)


def test_all_bad_lines_are_named_at_once(tmp_path):
    (tmp_path / "l.tsv").write_text("a\n" * 30)
    with pytest.raises(ValueError, match="30 bad line") as error:
        read_list(tmp_path / "l.tsv")
    assert str(error.value).count("\n") == 21
    assert str(error.value).endswith("and 10 more")


def test_files_that_are_no_lists_are_named(tmp_path):
    (tmp_path / "l.tsv").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"l\.tsv is not UTF-8"):
        read_list(tmp_path / "l.tsv")
    (tmp_path / "l.tsv").write_text("\n")
    with pytest.raises(ValueError, match="has no lines"):
        read_list(tmp_path / "l.tsv")
    with pytest.raises(FileNotFoundError):
        read_list(tmp_path / "none.tsv")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": "дом"}, "line 4: the text: .*no token"),
        ({"ref_audio": "none.wav"}, r"line 4: there is no recording none\.wav"),
        ({"ref_audio": __file__}, r"line 4: .*test_batch\.py is not readable as audio"),
        ({"speed": -2.0}, "line 4: speed must be above 0"),
        ({"ref_audio": (__file__, __file__)}, "line 4: two recordings are for a dialogue"),
        ({"voice": "kathlen"}, "line 4: there is no voice 'kathlen'; did you mean 'kathleen'"),
        ({"voice": "none.safetensors"}, r"line 4: none\.safetensors: no such voice file"),
    ],
)
def test_what_the_model_cannot_speak_is_found_before_work_starts(synthesizer, recordings, changes, message):
    good = Utterance("a", "hello", recordings[0], "a low tone")
    with pytest.raises(ValueError, match=message):
        check_list("l", {3: good, 4: replace(good, id="b", **changes)}, synthesizer, FAST)
    check_list("l", {3: good}, synthesizer, FAST)
    with pytest.raises(ValueError, match="line 3: raw speech has the length that the model predicts"):
        check_list("l", {3: replace(good, duration=2.0)}, synthesizer, replace(FAST, raw=True))


@pytest.mark.parametrize(
    ("language", "tokenizer", "is_spoken"),
    [
        ("EN", TokenizerConfig(), True),
        ("zh-TW", TokenizerConfig(), True),
        ("en_US", TokenizerConfig("espeak", "en-us"), True),  # as Wyoming has them
        ("de", TokenizerConfig(), False),
        ("de-AT", TokenizerConfig("espeak", "de"), True),
        ("en", TokenizerConfig("espeak", "en-us"), True),
        ("zh", TokenizerConfig("libritts"), False),
        ("fi", TokenizerConfig("simple"), True),  # of which nobody knows what it speaks
    ],
)
def test_a_language_is_spoken_whatever_its_region(language, tokenizer, is_spoken):
    if is_spoken:
        check_language(language, tokenizer)
    else:
        with pytest.raises(ValueError, match=f"the language '{language}' is not one that the model speaks: en"):
            check_language(language, tokenizer)


# ---------------------------------------------------------------- speaking


def test_a_list_is_spoken_as_its_members_are_alone(synthesizer, utterances, tmp_path):
    pauses = "[pause 0.5s] one. [pause 0.3s] [pause 0.4s] two"
    utterances = [*utterances, replace(utterances[0], id="pauses", text=pauses)]
    outcomes = speak(synthesizer, utterances, tmp_path)
    assert {outcome.error for outcome in outcomes.values()} == {None}
    for utterance in utterances:
        prompt = synthesizer.prompt(utterance.ref_audio, utterance.ref_text)
        alone = synthesizer.synthesize(utterance.text, prompt, OPTIONS, name=utterance.id)
        written = read(tmp_path / f"{utterance.id}.wav")
        assert written.sampling_rate == RATE
        assert outcomes[utterance.id].seconds == pytest.approx(written.seconds)
        torch.testing.assert_close(written.samples, alone.samples, atol=2 / 32768, rtol=0)


def test_utterances_keep_their_own_length_speed_and_seed(synthesizer, utterances, tmp_path):
    first, second, third = utterances[:3]
    changed = [replace(first, duration=1.25), replace(second, speed=2.0), replace(third, seed=1)]
    speak(synthesizer, changed, tmp_path / "changed")
    speak(synthesizer, utterances[:3], tmp_path / "plain")
    changed, plain = sounds(tmp_path / "changed"), sounds(tmp_path / "plain")
    assert changed["u0"].shape[1] == 1.25 * RATE
    assert changed["u1"].shape[1] < 0.6 * plain["u1"].shape[1]
    assert not np.array_equal(changed["u2"], plain["u2"])


def test_lists_are_spoken_in_batches_and_raw_ones_one_by_one(synthesizer, utterances, tmp_path, monkeypatch):
    sizes, pieces = [], Synthesizer.pieces
    monkeypatch.setattr(Synthesizer, "pieces", lambda *given: sizes.append(len(given[1])) or pieces(*given))
    speak(synthesizer, utterances[:2], tmp_path / "together")
    raw = replace(FAST, raw=True)
    speak(synthesizer, utterances[:2], tmp_path, raw)
    assert sizes == [2, 1, 1]
    prompt = synthesizer.prompt(utterances[0].ref_audio, utterances[0].ref_text, raw=True)
    alone = synthesizer.synthesize(utterances[0].text, prompt, raw, name="u0")
    torch.testing.assert_close(sounds(tmp_path)["u0"], alone.samples, atol=1 / 32768, rtol=0)


def test_two_processes_make_the_files_of_one(synthesizer, utterances, tmp_path):
    speak(synthesizer, utterances, tmp_path / "one")
    halves = [share(utterances, rank, 2) for rank in range(2)]
    assert sorted(u.id for half in halves for u in half) == [u.id for u in utterances]
    for half in halves:
        speak(synthesizer, half, tmp_path / "two")
    assert_same_sounds(sounds(tmp_path / "one"), sounds(tmp_path / "two"))


def test_an_interrupted_list_goes_on_where_it_was(synthesizer, utterances, tmp_path):
    speak(synthesizer, utterances, tmp_path / "whole")
    outcomes = speak_list(synthesizer, utterances, tmp_path / "parts", replace(OPTIONS, max_batch_seconds=1e-3))
    done = {next(outcomes).id, next(outcomes).id}
    outcomes.close()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").iterdir()}
    assert {path.stem for path in before} == done
    rest = speak(synthesizer, utterances, tmp_path / "parts")
    assert rest.keys() == {u.id for u in utterances} - done
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    assert_same_sounds(sounds(tmp_path / "whole"), sounds(tmp_path / "parts"))


def test_a_killed_list_ends_with_the_bits_of_an_undisturbed_run(synthesizer, utterances, tmp_path, monkeypatch):
    monkeypatch.setattr("zipvoice.synthesis.batch.BLOCK", 4)
    speak(synthesizer, utterances, tmp_path / "whole")
    for missing in (["u0"], ["u1", "u3"], ["u2"], ["u4"]):
        shutil.copytree(tmp_path / "whole", tmp_path / "parts", dirs_exist_ok=True)
        for name in missing:
            (tmp_path / f"parts/{name}.wav").unlink()
        outcomes = speak(synthesizer, utterances, tmp_path / "parts")
        assert sorted(outcomes) == missing
        for path in (tmp_path / "whole").iterdir():
            assert (tmp_path / "parts" / path.name).read_bytes() == path.read_bytes()


def test_blocks_that_are_done_cost_nothing(synthesizer, utterances, tmp_path, monkeypatch):
    monkeypatch.setattr("zipvoice.synthesis.batch.BLOCK", 2)
    speak(synthesizer, utterances, tmp_path)
    (tmp_path / "u4.wav").unlink()
    spoken = []
    pieces = Synthesizer.pieces
    monkeypatch.setattr(Synthesizer, "pieces", lambda *given: spoken.extend(given[1]) or pieces(*given))
    speak(synthesizer, utterances, tmp_path)
    assert {chunk.seed[1] for chunk in spoken} == {"u4"}


def test_what_a_kill_left_is_swept_away_but_not_what_is_of_others(synthesizer, utterances, tmp_path):
    left = [tmp_path / ".u0.abcd_f12.tmp.wav", tmp_path / ".u1.abcd_f12.tmp.srt"]
    others = [tmp_path / name for name in (".x.abcd_f12.tmp.wav", ".u0.wav", "u0.tmp.wav", ".u0.abcd_f12.tmp.flac")]
    for path in (*left, *others):
        path.write_bytes(b"half")
    options = replace(OPTIONS, word_times=True)
    for outcome in speak_list(synthesizer, utterances, tmp_path, options, words=".srt"):
        assert outcome.error is None
    assert not any(path.exists() for path in left) and all(path.exists() for path in others)


def test_files_from_before_there_was_an_option_have_its_default(synthesizer, utterances, tmp_path, monkeypatch):
    def changed(options):
        work = ListWork(synthesizer, utterances, tmp_path, synthesizer.resolved(options))
        return {one.changed for one in work.kept()}

    speak(synthesizer, utterances, tmp_path)
    note = batch._read_note

    def older(path):
        seconds, found = note(path)
        return seconds, {name: value for name, value in found.items() if name not in ("loudness", "model", "voice")}

    now = changed(OPTIONS)
    monkeypatch.setattr(batch, "_read_note", older)
    assert {"loudness" in names for names in now | changed(OPTIONS)} == {False}
    assert {"loudness" in names for names in changed(replace(OPTIONS, loudness=-16.0))} == {True}


def test_kept_files_tell_what_they_were_spoken_with(synthesizer, utterances, tmp_path):
    def work(utterances, options=OPTIONS, **settings):
        return ListWork(synthesizer, utterances, tmp_path, synthesizer.resolved(options), **settings)

    assert {outcome.error for outcome in work(utterances, model_name="m").outcomes()} == {None}
    assert {one.changed for one in work(utterances, model_name="m").kept()} == {()}
    first = next(work(utterances).kept())
    assert first.id == "u0" and first.seconds == read(first.path).seconds
    more = replace(OPTIONS, max_batch_seconds=7.0, word_times=True)
    assert {one.changed for one in work(utterances, more, model_name="m").kept()} == {()}, "it does not change speech"
    for changes, what in (({"speed": 1.2}, "speed"), ({"seed": 1}, "seed"), ({"duration": 2.0}, "duration")):
        options = replace(OPTIONS, **changes)
        assert {one.changed for one in work(utterances, options, model_name="m").kept()} == {(what,)}
    other = [replace(utterances[0], text="hello you"), replace(utterances[1], voice="kathleen", ref_audio=None)]
    assert [one.changed for one in work(other, model_name="n").kept()] == [("text", "model"), ("voice", "model")]
    corrected = [replace(utterance, ref_text="what it says, really") for utterance in utterances[:1]]
    assert [one.changed for one in work(corrected, model_name="m").kept()] == [("voice",)]
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    options = replace(OPTIONS, seed=1)
    assert len(list(work(utterances, options, overwrite=True).outcomes())) == len(utterances)
    assert all(path.read_bytes() != data for path, data in before.items())
    assert not list(work(utterances, overwrite=True).kept())


def test_files_of_other_programs_are_kept_without_a_guess(synthesizer, utterances, tmp_path):
    write(tmp_path / "u0.wav", tone(0.5))
    (tmp_path / "u1.wav").write_bytes(b"no sound")
    work = ListWork(synthesizer, utterances, tmp_path, synthesizer.resolved(OPTIONS))
    assert [(one.id, one.seconds, one.changed) for one in work.kept()] == [("u0", 0.5, ()), ("u1", 0.0, ())]


def test_voices_by_name_and_by_file_speak_in_lists(synthesizer, recordings, tmp_path, monkeypatch):
    monkeypatch.setenv("ZIPVOICE_VOICES", str(tmp_path / "voices"))
    low, high = (synthesizer.prompt(*pair) for pair in zip(recordings, ["a low tone", "and a high one"], strict=True))
    voices.save("low", low)
    high.save(tmp_path / "high.safetensors")
    listed = [
        Utterance("name", "hello", voice="low"),
        Utterance("file", "hello", voice=str(tmp_path / "high.safetensors")),
        Utterance("package", "hello", voice=voices.builtin.VOICE),
        Utterance("none", "hello"),
    ]
    check_list("l", dict(enumerate(listed, start=1)), synthesizer, FAST)
    for given, default in ((high, high), (None, voices.default())):
        outcomes = speak_list(synthesizer, listed, tmp_path / "out", OPTIONS, voice=given, overwrite=True)
        assert {outcome.error for outcome in outcomes} == {None}
        for utterance, prompt in zip(listed, (low, high, voices.default(), default), strict=True):
            alone = synthesizer.synthesize("hello", prompt, OPTIONS, name=utterance.id)
            np.testing.assert_allclose(read(tmp_path / f"out/{utterance.id}.wav").samples, alone.samples, atol=1e-4)


def test_failures_are_told_and_do_not_stop_the_others(synthesizer, utterances, tmp_path):
    bad = [
        replace(utterances[0], id="fast", speed=100.0),
        replace(utterances[0], id="lost", ref_audio=str(tmp_path / "none.wav")),
    ]
    outcomes = speak(synthesizer, [bad[0], *utterances, bad[1]], tmp_path / "out")
    failed = {name: outcome.error for name, outcome in outcomes.items() if outcome.error}
    assert failed.keys() == {"fast", "lost"}
    assert "more tokens" in failed["fast"] and "none.wav" in failed["lost"]
    assert sounds(tmp_path / "out").keys() == {u.id for u in utterances}


def test_the_chunk_that_breaks_a_batch_is_found(synthesizer, utterances, tmp_path, monkeypatch):
    pieces = Synthesizer.pieces

    def break_down(self, chunks, options):
        if any(chunk.seed[1] == "u3" for chunk in chunks):
            raise torch.OutOfMemoryError("out of memory")
        return pieces(self, chunks, options)

    monkeypatch.setattr(Synthesizer, "pieces", break_down)
    outcomes = speak(synthesizer, utterances, tmp_path)
    assert {name: outcome.error for name, outcome in outcomes.items() if outcome.error} == {"u3": "out of memory"}
    assert len(sounds(tmp_path)) == len(utterances) - 1


def test_a_full_disk_stops_the_list_with_one_line(synthesizer, utterances, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"cannot write .*u0\.wav: No space left on device"):
        speak(synthesizer, utterances, tmp_path)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- processes


NUM_LISTED = 400  # far more than are spoken before a kill arrives, also on a busy machine


@pytest.fixture
def command(tmp_path, recordings):
    make_model(tmp_path / "model")
    make_vocoder(tmp_path / "vocoder")
    lines = [f"u{i}\ta low tone\t{recordings[0]}\t{'word ' * (3 + i % 4)}\n" for i in range(NUM_LISTED)]
    (tmp_path / "list.tsv").write_text("".join(lines))
    arguments = ["batch", "list.tsv", "--model", "model", "--vocoder", "vocoder", "--device", "cpu"]
    return [*arguments, "--num-steps", "1", "--guidance-scale", "0", "--max-batch-seconds", "3"]


def test_the_voice_of_the_command_is_made_at_the_level_that_is_asked_for(command, recordings, tmp_path, monkeypatch):
    def prompt(self, recording, text, **settings):
        raise ValueError(f"{text} at {settings['target_rms']}, raw {settings['raw']}")

    monkeypatch.setattr(Synthesizer, "prompt", prompt)
    monkeypatch.chdir(tmp_path)
    voice = ["--voice", recordings[1], "--voice-text", "and a high one", "--target-rms", "0.2", "--raw"]
    with pytest.raises(ValueError, match=r"and a high one at 0.2, raw True"):
        lists.batch([*command[1:], *voice])


def test_a_process_of_several_speaks_its_share(command, tmp_path, monkeypatch):
    spoken = []
    monkeypatch.setattr(lists, "_speak_list", lambda work, *others: spoken.append([u.id for u in work.utterances]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "3")
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        lists.batch(command[1:])
    assert [len(ids) for ids in spoken] == [134, 133, 133]
    assert {name for ids in spoken for name in ids} == {f"u{i}" for i in range(NUM_LISTED)}


@pytest.mark.slow
def test_a_kill_leaves_only_whole_files(tmp_path, command):
    process = subprocess.Popen([sys.executable, "-m", "zipvoice", *command, "-q"], cwd=tmp_path)
    while not list(tmp_path.glob("results/u*.wav")):  # not the hidden file that is being written
        assert process.poll() is None, "it ended before it wrote anything"
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    files = [path for path in (tmp_path / "results").iterdir() if not path.name.startswith(".")]
    assert 0 < len(files) < NUM_LISTED
    assert all(read(path).seconds > 0.5 for path in files)


@pytest.mark.slow
def test_two_torchrun_workers_make_the_files_of_one(tmp_path, command):
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--no-python"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    zipvoice = [sys.executable, "-m", "zipvoice", *command, "-q"]
    lines = (tmp_path / "list.tsv").read_text().splitlines()[:6]
    (tmp_path / "list.tsv").write_text("\n".join(lines))
    subprocess.run([*zipvoice, "-o", "one"], cwd=tmp_path, env=environment, check=True)
    subprocess.run([*run, *zipvoice, "-o", "two"], cwd=tmp_path, env=environment, check=True)
    one, two = sounds(tmp_path / "one"), sounds(tmp_path / "two")
    assert len(one) == 6
    assert_same_sounds(one, two)
