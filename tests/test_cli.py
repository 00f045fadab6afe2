# SPDX-License-Identifier: Apache-2.0
import io
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_models import FAST, make_model, make_vocoder, sequence, tone

from zipvoice import builtin, load
from zipvoice.audio import playback
from zipvoice.audio.files import Audio, decode, read, write
from zipvoice.audio.loudness import loudness
from zipvoice.audio.mel import features
from zipvoice.cli import COMMANDS, main
from zipvoice.cli.voices import ACTIONS
from zipvoice.synthesis.voices import default as builtin_voice

MACHINE = ["--model", "model", "--vocoder", "vocoder", "--device", "cpu"]
QUICK = ["--num-steps", "1", "--guidance-scale", "0"]
TWO = ["--voice", "me.wav", "you.wav", "--voice-text", "low", "high"]
VOICE = ["--voice", "me.wav", "--voice-text", "a low tone"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("models")
    make_model(path / "model")
    make_model(path / "dialog", "zipvoice_dialog")
    make_vocoder(path / "vocoder")
    return path


@pytest.fixture(autouse=True)
def folder(tmp_path, model, monkeypatch):
    """A working folder with models and recordings."""
    for name in ("model", "dialog", "vocoder"):
        (tmp_path / name).symlink_to(model / name)
    write(tmp_path / "me.wav", tone(0.6))
    write(tmp_path / "you.wav", tone(0.7, hertz=500))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZIPVOICE_VOICES", str(tmp_path / "voices"))
    return tmp_path


@pytest.fixture
def expected():
    """What "hello" sounds like through Python."""
    synthesizer = load("model", vocoder="vocoder", device="cpu")
    return synthesizer.synthesize("hello", synthesizer.prompt("me.wav", "a low tone"), FAST).samples


def same(path, expected):
    torch.testing.assert_close(read(path).samples, expected, atol=1 / 32768, rtol=0)


# ---------------------------------------------------------------- one text, many ways


def test_a_text_from_an_argument_a_file_and_standard_input_gives_what_python_gives(expected, folder, monkeypatch):
    (folder / "text.txt").write_text("hello\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("hello\n"))
    sources = {"a": ["hello"], "b": ["--file", "text.txt"], "c": ["-"]}
    for name, source in sources.items():
        assert main(["say", *source, *VOICE, "-o", f"{name}.wav", *MACHINE, *QUICK, "-q"]) == 0
        same(f"{name}.wav", expected)


def test_standard_output_gets_the_same_speech_as_a_wav_stream(expected, capfdbinary):
    assert main(["say", "hello", *VOICE, "-o", "-", *MACHINE, *QUICK]) == 0
    out, err = capfdbinary.readouterr()
    torch.testing.assert_close(decode(out).samples, expected, atol=1 / 32768, rtol=0)
    assert err.startswith(b"stdout: ") and b"real-time factor" in err


def test_a_saved_voice_and_a_voice_file_speak_like_the_recording(expected, folder, capsys):
    assert main(["voice", "save", "me", "me.wav", "a low tone", *MACHINE]) == 0
    assert main(["voice", "list"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]  # after the voices of the package
    assert re.fullmatch(r"me\t0\.8 s\t\d{4}-\d\d-\d\d \d\d:\d\d\ta low tone", line)
    for voice in ("me", "voices/me.safetensors"):
        assert main(["say", "hello", "--voice", voice, *MACHINE, *QUICK, "-q"]) == 0
        same("out.wav", expected)
    assert main(["voice", "remove", "me"]) == 0
    assert main(["voice", "list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(builtin.voices())
    assert main(["say", "hello", "--voice", "me", *MACHINE]) == 1
    assert "there is no voice 'me'; known: heart, kathleen" in capsys.readouterr().err


def test_a_part_of_a_recording_is_the_voice(folder, expected):
    write(folder / "long.wav", sequence(tone(0.5, hertz=500), read("me.wav"), tone(0.5, hertz=900)))
    voice = ["--voice", "long.wav", "--voice-text", "a low tone", "--voice-start", "0.5", "--voice-end", "1.1"]
    assert main(["say", "hello", *voice, *MACHINE, *QUICK, "-q"]) == 0
    same("out.wav", expected)
    save = ["voice", "save", "me", "long.wav", "a low tone", "--voice-start", "0.5", "--voice-end", "1.1"]
    assert main([*save, *MACHINE]) == 0
    assert main(["say", "hello", "--voice", "me", *MACHINE, *QUICK, "-q"]) == 0
    same("out.wav", expected)


def test_loudness_can_be_set_or_kept(folder):
    write(folder / "quiet.wav", tone(1.0, level=0.05))
    voice = ["--voice", "quiet.wav", "--voice-text", "a low tone"]
    for more, low, high in (([], -20.5, -19.5), (["--loudness", "-26"], -26.5, -25.5), (["--keep-level"], -70, -30)):
        assert main(["say", "hello", *voice, *MACHINE, *QUICK, *more, "-q"]) == 0
        assert low < loudness(read("out.wav")) < high


def test_a_batch_speaks_like_python_with_the_name_as_id(folder):
    (folder / "list.tsv").write_text("x\ta low tone\tme.wav\thello\n")
    assert main(["batch", "list.tsv", "-o", "spoken", *MACHINE, *QUICK, "-q"]) == 0
    synthesizer = load("model", vocoder="vocoder", device="cpu")
    prompt = synthesizer.prompt("me.wav", "a low tone")
    same("spoken/x.wav", synthesizer.synthesize("hello", prompt, FAST, name="x").samples)


def test_a_model_of_one_voice_speaks_a_dialogue_turn_by_turn(folder, capsys):
    text = "[S1] hello. [S2] hi!"
    voices = ["--voice", "me.wav", "you.wav", "--voice-text", "low tone", "high tone"]
    assert main(["dialog", text, *voices, "-o", "turns.wav", *MACHINE, *QUICK, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["chunks"] == 2
    expected = load("model", vocoder="vocoder", device="cpu").dialog(
        text, [("me.wav", "low tone"), ("you.wav", "high tone")], FAST
    )
    same("turns.wav", expected.samples)


def test_a_dialogue_of_two_recordings_or_one(folder):
    machine = ["--model", "dialog", *MACHINE[2:]]
    write(folder / "both.wav", sequence(tone(0.6), tone(0.7, hertz=500)))
    text = "[S1] hello. [S2] hi."
    two = ["--voice", "me.wav", "you.wav", "--voice-text", "low tone", "high tone"]
    one = ["--voice", "both.wav", "--voice-text", "[S1] low tone [S2] high tone"]
    assert main(["dialog", text, *two, "-o", "two.wav", *machine, *QUICK]) == 0
    assert main(["dialog", text, *one, "-o", "one.wav", *machine, *QUICK]) == 0
    same("two.wav", read("one.wav").samples)
    synthesizer = load("dialog", vocoder="vocoder", device="cpu")
    prompt = synthesizer.dialog_prompt(["me.wav", "you.wav"], ["low tone", "high tone"])
    same("two.wav", synthesizer.dialog(text, prompt, FAST).samples)


def test_subtitles_are_spoken_in_their_time(folder, capsys):
    (folder / "talk.srt").write_text(
        "1\n00:00:00,500 --> 00:00:01,500\nhello\n\n00:00:02,000 --> 00:00:06,000\nBo: hi\n"
    )
    main(["voice", "save", "you", "you.wav", "a high tone", *MACHINE])
    assert main(["dub", "talk.srt", *VOICE, "--speaker", "Bo=you", *MACHINE, *QUICK]) == 0
    audio = read("out.wav")
    assert audio.seconds == 6.0
    assert (audio.samples[:, :12000] == 0).all()
    assert "out.wav: 2 cues, 6.00 s in " in capsys.readouterr().err
    assert main(["dub", "talk.srt", *VOICE, "--speaker", "Bo=you", *MACHINE, *QUICK, "--fit", "stretch"]) == 0
    assert "line 5: 4.00 s are" in capsys.readouterr().err
    assert main(["dub", "talk.srt", *VOICE, "--speaker", "Bo=you", *MACHINE, *QUICK, "--fit", "stretch", "-q"]) == 0
    assert capsys.readouterr().err == ""
    (folder / "talk.srt").write_text("1\n00:00:00,000 --> 00:00:09,000\nhello\n")
    assert main(["dub", "talk.srt", *VOICE, "--speaker", "Bo=you", *MACHINE, *QUICK]) == 0
    assert "no cue is Bo's; --speaker Bo=... is not used" in capsys.readouterr().err


def test_a_dub_is_told_as_json_with_its_words_and_streamed(folder, capfdbinary):
    (folder / "talk.srt").write_text(
        "1\n00:00:00,500 --> 00:00:03,500\nhello you\n\n00:00:04,000 --> 00:00:09,000\nhi\n"
    )
    assert main(["dub", "talk.srt", *VOICE, *MACHINE, *QUICK, "--json", "--words", "words.json", "--seed", "3"]) == 0
    out, err = capfdbinary.readouterr()
    told = json.loads(out)
    assert err == b"" and (told["seconds"], told["seed"], told["voice"], told["runtime"]) == (9.0, 3, "me.wav", "torch")
    assert [(cue["line"], cue["text"], cue["too_long"]) for cue in told["cues"]] == [
        (2, "hello you", False),
        (5, "hi", False),
    ]
    assert [word["word"] for word in told["words"]] == ["hello", "you", "hi"]
    first, second, third = told["words"]
    assert 0.5 <= first["start"] <= second["start"] < 3.5 and 4.0 <= third["start"] < third["end"] <= 9.0
    assert json.loads((folder / "words.json").read_text())[2]["word"] == "hi"
    assert main(["dub", "talk.srt", *VOICE, *MACHINE, *QUICK, "-q", "--seed", "3", "-o", "-"]) == 0
    np.testing.assert_array_equal(decode(capfdbinary.readouterr()[0]).samples, read("out.wav").samples)


def test_subtitles_without_speakers_are_spoken_by_the_voice_of_the_package(folder):
    (folder / "talk.srt").write_text("1\n00:00:00,500 --> 00:00:09,500\nhello\n")
    assert main(["dub", "talk.srt", *MACHINE, *QUICK]) == 0
    spoken = read("out.wav").samples
    synthesizer = load("model", vocoder="vocoder", device="cpu")
    alone = synthesizer.synthesize("hello", builtin.VOICE, FAST, name="cue at 0.500 s").samples
    np.testing.assert_allclose(spoken[:, 12000 : 12000 + alone.shape[1]], alone, atol=1 / 32768)


def test_tokens_of_a_text_are_shown(capsys):
    assert main(["tokenize", "hi [pause 1s]", "--type", "simple", "--tokens", "model/tokens.txt"]) == 0
    out = capsys.readouterr().out
    assert "h i" in out and "[pause 1s]" in out
    assert main(["tokenize", "hi", "--type", "simple", "--tokens", "model/tokens.txt", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tokens"] == ["h", "i"]


def test_a_saved_voice_is_not_replaced_unasked(folder, capsys, monkeypatch):
    save = ["voice", "save", "me", "me.wav", "a low tone", *MACHINE]
    assert main(save) == 0
    before = (folder / "voices/me.safetensors").read_bytes()
    other = ["voice", "save", "me", "you.wav", "a high tone", *MACHINE]
    assert main(other) == 1
    assert "there is a voice 'me' already; --force replaces it" in capsys.readouterr().err
    for answer, status in (("\n", 1), ("n\n", 1), ("y\n", 0)):
        terminal = io.StringIO(answer)
        terminal.isatty = lambda: True
        monkeypatch.setattr("sys.stdin", terminal)
        monkeypatch.setattr("sys.stderr.isatty", lambda: True)
        assert main(other) == status
        assert ((folder / "voices/me.safetensors").read_bytes() == before) == (status == 1)
        assert "replace it? [y/N]" in capsys.readouterr().err
    monkeypatch.undo()


def test_a_voice_of_the_package_is_not_shadowed_unasked(folder, capsys):
    save = ["voice", "save", "kathleen", "me.wav", "a low tone", *MACHINE]
    assert main(save) == 1
    assert "the voice 'kathleen' comes with the package; --force lets yours" in capsys.readouterr().err
    assert not (folder / "voices").exists()
    assert main([*save, "--force"]) == 0
    assert main(["voice", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)[1]
    assert listed["name"] == "kathleen" and listed["text"] == "a low tone" and listed["saved"]
    assert listed["seconds"] == pytest.approx(0.8, abs=0.02)


def test_a_damaged_voice_file_hides_no_other(folder, capsys):
    (folder / "voices").mkdir()
    (folder / "voices/a.safetensors").write_bytes(b"half")
    assert main(["voice", "list", "--json"]) == 1
    out, err = capsys.readouterr()
    assert [voice["name"] for voice in json.loads(out)] == list(builtin.voices())
    assert "voices/a.safetensors is damaged or no voice file" in err


def test_a_list_spares_what_it_reads(folder, capsys):
    (folder / "list.tsv").write_text("me\tlow\tyou.wav\thello\nyou\tlow\t./me.wav\thi\n")
    (folder / "own.tsv").write_text("me\tlow\tme.wav\thello\n")
    (folder / "0001.json").write_text("hello")
    shutil.copy(folder / "me.wav", folder / "0001.wav")
    before = {path: path.read_bytes() for path in folder.glob("*.*")}
    for arguments, told in (
        (["list.tsv", "--overwrite"], "./me.wav is read, and 'me' would replace it; name another folder"),
        (["list.tsv", "--overwrite", "--dry-run"], "./me.wav is read, and 'me' would replace it"),
        (["list.tsv"], "2 files are there already and kept"),
        (["own.tsv"], "me.wav is read, and 'me' would replace it"),
        (["0001.json", "--words", "json", "--overwrite"], "0001.json is read, and '0001' would replace it"),
        (["0001.json", "-v", "0001.wav", "--voice-text", "low", "--overwrite"], "0001.wav is read, and '0001' would"),
    ):
        assert main(["batch", *arguments, "-o", ".", *MACHINE, *QUICK]) == (0 if "kept" in told else 1)
        assert told in capsys.readouterr().err
        assert {path: path.read_bytes() for path in folder.glob("*.*")} == before


def test_a_voice_can_be_heard_again(folder, capsys):
    assert main(["voice", "play", builtin.VOICE, "-o", "again.wav"]) == 0
    heard, voice = read("again.wav"), builtin_voice()
    assert heard.seconds == pytest.approx(voice.seconds, abs=0.02)
    again = features(heard, 1)
    close = np.abs(again[:-2] - voice.features[: len(again) - 2])
    assert np.median(close) < 0.2


@pytest.mark.parametrize(
    ("name", "flags", "spoken"),
    [
        ("text.md", [], "hello\n\nold code."),
        ("TEXT.MARKDOWN", [], "hello\n\nold code."),
        ("text.txt", ["--markdown", "yes"], "hello\n\nold code."),
    ],
)
def test_markdown_files_are_read_without_their_marks(name, flags, spoken, folder):
    """Comments and blocks of code span paragraphs, and are left out as a whole."""
    (folder / name).write_text("# hello\n\nold `code`.\n\n```\n\nx = 1\n\n```\n<!-- see\n\nend -->\n")
    (folder / "plain.txt").write_text(spoken)
    assert main(["say", "--file", name, *flags, *VOICE, *MACHINE, *QUICK]) == 0
    marked = read("out.wav").samples
    assert main(["say", "--file", "plain.txt", *VOICE, *MACHINE, *QUICK]) == 0
    same("out.wav", marked)


def test_markdown_of_a_file_that_says_no_stays(folder, capsys):
    (folder / "text.md").write_text("# hello\n")
    assert main(["say", "--file", "text.md", "--markdown", "no", *VOICE, *MACHINE, *QUICK]) == 1
    assert "no token for '#'" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "flags"), [("list.md", []), ("list.txt", ["--markdown", "yes"])])
def test_markdown_in_lists(name, flags, folder):
    (folder / name).write_text("**hello** <!-- not this -->\n\n```\nx\t= [1]\n```\n\n---\n")
    (folder / "plain.txt").write_text("hello\n")
    assert main(["batch", name, *flags, *VOICE, *MACHINE, *QUICK, "-o", "marked", "--quiet"]) == 0
    assert main(["batch", "plain.txt", *VOICE, *MACHINE, *QUICK, "-o", "plain", "--quiet"]) == 0
    assert [read(f).samples.shape for f in sorted((folder / "marked").glob("*.wav"))] == [
        read(f).samples.shape for f in sorted((folder / "plain").glob("*.wav"))
    ]


@pytest.mark.parametrize("command", ["voice", "completion"])
def test_help_that_was_asked_for_goes_to_stdout(command, capsys):
    assert main([command, "--help"]) == 0
    asked = capsys.readouterr()
    assert asked.out.startswith(f"usage: zipvoice {command} ") and not asked.err
    assert main([command]) == 2
    assert capsys.readouterr() == ("", asked.out)


# ---------------------------------------------------------------- reports


def test_the_report_goes_to_stderr_and_json_to_stdout(capsys):
    main(["say", "hello", *VOICE, *MACHINE, *QUICK])
    out, err = capsys.readouterr()
    assert not out and err.startswith("out.wav: ") and "real-time factor" in err
    main(["say", "hello", *VOICE, *MACHINE, *QUICK, "--json"])
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told["seconds"] == pytest.approx(read("out.wav").seconds)
    assert told["real_time_factor"] == pytest.approx(told["took_seconds"] / told["seconds"])
    expected = {
        "seed": 666,
        "model": "model",
        "voice": "me.wav",
        "sampling_rate": 24000,
        "chunks": 1,
        "output": "out.wav",
    }
    assert expected.items() <= told.items()
    main(["say", "hello", *VOICE, *MACHINE, *QUICK, "-q"])
    assert capsys.readouterr() == ("", "")


def test_a_batch_with_failures_lists_them_and_ends_with_3(folder, capsys):
    rows = [
        {"id": "good", "text": "hello", "ref_audio": "me.wav", "ref_text": "a low tone"},
        {"id": "bad", "text": "hello there", "ref_audio": "me.wav", "ref_text": "a low tone", "speed": 200.0},
    ]
    (folder / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert main(["batch", "list.jsonl", *MACHINE, *QUICK, "--json"]) == 3
    out, err = capsys.readouterr()
    assert {row["id"]: row["error"] is None for row in map(json.loads, out.splitlines())} == {
        "good": True,
        "bad": False,
    }
    assert "bad: there are more tokens" in err and "1 of 2 utterances are spoken, 1 failed" in err
    assert [path.name for path in (folder / "results").iterdir()] == ["good.wav"]
    assert main(["batch", "list.jsonl", *MACHINE, *QUICK]) == 3
    assert capsys.readouterr().out == ""


def test_a_batch_prints_what_became_of_files_that_stay(folder, capsys):
    line = ["batch", "list.tsv", *VOICE, *MACHINE, *QUICK, "--json"]
    rows = []
    for text in ("a\thello\n", "a\thello\nb\thello\n", "a\tother\n"):
        (folder / "list.tsv").write_text(text)
        assert main(line) == 0
        rows.append([json.loads(row) for row in capsys.readouterr().out.splitlines()])
    first, again, otherwise = rows
    assert [(row["id"], row["kept"]) for row in again] == [("a", True), ("b", False)]
    assert first[0]["path"] == again[0]["path"] and first[0]["seconds"] == pytest.approx(again[0]["seconds"])
    assert [(row["id"], row["kept"], row["changed"]) for row in otherwise] == [("a", True, ["text"])]


def test_a_dry_run_checks_and_writes_nothing(folder, capsys):
    (folder / "list.tsv").write_text("x\ta low tone\tme.wav\thello\n")
    assert main(["batch", "list.tsv", "--dry-run", *MACHINE]) == 0
    assert "all 1 utterances can be spoken" in capsys.readouterr().err
    (folder / "list.tsv").write_text("x\ta low tone\tnone.wav\thello\n")
    assert main(["batch", "list.tsv", "--dry-run", *MACHINE]) == 1
    assert "line 1: there is no recording none.wav" in capsys.readouterr().err
    assert not (folder / "results").exists()


def test_help_has_groups_with_the_rarely_used_last_examples_and_short_flags(capsys):
    with pytest.raises(SystemExit):
        main(["say", "--help"])
    text = capsys.readouterr().out
    titles = re.findall(r"^(\w.*):$", text, re.M)
    assert titles[0] == "examples" and titles[1:3] == ["arguments", "options"] and titles[-1] == "rarely used"
    assert "what speaks" in titles and "how a text is spoken" in titles
    assert "usage: zipvoice say [TEXT] [options]" in text
    for line in ("-m, --model MODEL", "-v, --voice VOICE", "-s, --speed FLOAT", "-o, --output OUTPUT", "-q, --quiet"):
        assert f"\n  {line}" in text
    rare = text.split("rarely used:")[1]
    assert "--t-shift" in rare and "--max-batch-seconds" in rare and "--voice" not in rare
    assert "(default: -20.0)" in text


def test_short_flags_mean_the_long_ones(folder):
    long = ["--voice", "me.wav", "--voice-text", "a low tone", "--speed", "1.5", *MACHINE, *QUICK, "-q"]
    assert main(["say", "hello", "--output", "a.wav", *long]) == 0
    short = ["-v", "me.wav", "--voice-text", "a low tone", "-s", "1.5", "-m", "model", *MACHINE[2:], *QUICK, "-q"]
    assert main(["say", "hello", "-o", "b.wav", *short]) == 0
    same("a.wav", read("b.wav").samples)


def test_the_tokenizer_is_spelled_one_way(folder, capsys):
    for command in (["tokenize", "hi"], ["check", "none.tsv"]):
        with pytest.raises(SystemExit):
            main([*command, "--help"])
        text = capsys.readouterr().out
        assert "--tokenizer {" in text and "--language " in text and "--type" not in text
    for name in ("train", "finetune"):
        with pytest.raises(SystemExit):
            main([name, "--help"])
        text = capsys.readouterr().out
        assert "  --tokenizer {" in text and "  --language " in text and "tokenizer.type" not in text
    assert main(["tokenize", "hi", "--tokenizer", "simple", "--tokens", "model/tokens.txt", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tokens"] == ["h", "i"]
    assert main(["tokenize", "hi", "--tokenizer=simple", "--json"]) == 0


def test_the_word_none_is_a_text(folder):
    assert main(["say", "None", *VOICE, *MACHINE, *QUICK, "-q"]) == 0
    synthesizer = load("model", vocoder="vocoder", device="cpu")
    same("out.wav", synthesizer.synthesize("None", synthesizer.prompt("me.wav", "a low tone"), FAST).samples)


def test_the_word_none_leaves_out_what_a_run_has(monkeypatch):
    runs = []
    monkeypatch.setattr("zipvoice.training.run.train_vocoder", lambda run: runs.append(run) or "finished")
    assert main(["train-vocoder", "--init-from", "None", "--device", "None"]) == 0
    assert (runs[0].init_from, runs[0].device) == (None, None)


def test_speech_is_played_where_it_can_be(folder, monkeypatch, capsys):
    run = ["say", "hello", *VOICE, *MACHINE, *QUICK, "-q", "--play"]
    keep = "import sys, shutil; shutil.copy(sys.argv[1], 'heard.wav')"
    monkeypatch.setattr(playback, "PLAYERS", ((sys.executable, "-c", keep),))
    assert main(run) == 0
    same("heard.wav", read("out.wav").samples)
    (folder / "out.wav").unlink()
    monkeypatch.setattr(playback, "PLAYERS", ())
    assert main(run) == 1
    assert "there is no program that plays sound" in capsys.readouterr().err
    assert not (folder / "out.wav").exists(), "said before the work"
    assert main([*run, "-o", "-"]) == 1


def test_a_model_directory_remembers_its_vocoder(folder):
    file = json.loads((folder / "model/model.json").read_text())
    (folder / "remembers").mkdir()
    for name in ("model.safetensors", "tokens.txt"):
        shutil.copy(folder / "model" / name, folder / "remembers" / name)
    (folder / "remembers/model.json").write_text(json.dumps({**file, "vocoder": "griffin-lim"}))
    assert main(["say", "hello", *VOICE, "-m", "remembers", *QUICK, "-q", "-o", "a.wav"]) == 0
    griffin = ["-m", "model", "--vocoder", "griffin-lim", "--device", "cpu"]
    assert main(["say", "hello", *VOICE, *griffin, *QUICK, "-q", "-o", "b.wav"]) == 0
    same("a.wav", read("b.wav").samples)


# ---------------------------------------------------------------- completion


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["sa"], ["say"]),
        (["voice", ""], ["save", "list", "play", "remove"]),
        (["voice", "save", "--fo"], ["--force"]),
        (["say", "--voice-"], ["--voice-text", "--voice-start", "--voice-end"]),
        (["say", "-v", "kat"], ["kathleen"]),
        (["say", "-m", "zipvoice_di"], ["zipvoice_distill", "zipvoice_dialog", "zipvoice_dialog_stereo"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["say", "hel"], []),
        (["sya", "--"], []),
    ],
)
def test_words_are_completed(words, expected, capsys):
    assert main(["completion", "words", *words]) == 0
    assert capsys.readouterr().out.split() == expected


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_nested_commands(folder, capsys):
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    program = f'zipvoice() {{ {sys.executable} -m zipvoice "$@"; }}\n'
    ask = 'COMP_WORDS=(zipvoice voice sa); COMP_CWORD=2; _zipvoice; echo "${COMPREPLY[@]}"\n'
    done = subprocess.run(["bash", "-c", program + script + ask], capture_output=True, text=True)
    assert done.stdout == "save\n"
    assert main(["completion", "tcsh"]) == 2


# ---------------------------------------------------------------- mistakes


def test_a_list_in_a_saved_voice_and_again_with_other_options(folder, capsys):
    main(["voice", "save", "me", "me.wav", "a low tone", *MACHINE])
    (folder / "list.txt").write_text("hello\nhi there\n")
    run = ["batch", "list.txt", "-v", "me", *MACHINE, *QUICK]
    assert main([*run, "-q"]) == 0
    assert sorted(path.name for path in (folder / "results").iterdir()) == ["0001.wav", "0002.wav"]
    synthesizer = load("model", vocoder="vocoder", device="cpu")
    same("results/0001.wav", synthesizer.synthesize("hello", "me", FAST, name="0001").samples)
    capsys.readouterr()
    assert main(run) == 0
    err = capsys.readouterr().err
    assert "2 files are there already and kept" in err and "utterances are spoken" not in err and "0utt" not in err
    assert "otherwise" not in err
    before = (folder / "results/0001.wav").read_bytes()
    assert main([*run, "--speed", "2", "-q"]) == 0
    err = capsys.readouterr().err
    assert "2 of them were spoken otherwise (speed), as results/0001.wav; --overwrite speaks anew" in err
    assert (folder / "results/0001.wav").read_bytes() == before
    (folder / "results/0002.vtt").touch()
    assert main([*run, "--words", "vtt"]) == 0
    err = capsys.readouterr().err
    assert "1 of them were spoken otherwise (words), as results/0001.wav; --overwrite speaks anew" in err
    (folder / "results/0002.vtt").unlink()
    assert main([*run, "--speed", "2", "-q", "--overwrite"]) == 0
    assert (folder / "results/0001.wav").read_bytes() != before


def test_all_rows_whose_voice_is_missing_are_named(folder, capsys):
    rows = [{"id": "a", "text": "hi", "voice": "m"}, {"id": "b", "text": "hi", "ref_audio": "n.wav", "ref_text": "x"}]
    (folder / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert main(["batch", "list.jsonl", *MACHINE]) == 1
    err = capsys.readouterr().err
    assert "line 1: there is no voice 'm'" in err and "line 2: there is no recording n.wav" in err


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["sya", "hello"], 2, "there is no command 'sya'; did you mean 'say'"),
        (
            ["say", "hello", "--voice-text", "hello", *MACHINE],
            1,
            "--voice-text (voice_text) goes with the recording it is the transcript of",
        ),
        (["say", *VOICE, *MACHINE], 1, "what to say? Give a text"),
        (["say", "hello", "--voice", "me.wav", *MACHINE], 1, "say what me.wav says with --voice-text"),
        (["say", "hello", "--voice", "none.wav", "--voice-text", "x", *MACHINE], 1, "none.wav: no such audio file"),
        (["say", "hello", *VOICE, "--model", "zipvoic"], 1, "did you mean 'zipvoice'"),
        (["say", "", *VOICE, *MACHINE], 1, "the text has nothing that can be spoken"),
        (["say", "hello", *VOICE, *MACHINE, "-o", "out.xyz"], 1, "out.xyz: no known audio format"),
        (["say", "hello", *VOICE, *MACHINE, "-o", "me.wav/out.wav"], 1, "cannot write me.wav/out.wav"),
        (["say", "hello", *VOICE, *MACHINE, "--dtype", "float23"], 1, "did you mean 'float32'"),
        (["say", "hello", *VOICE, *MACHINE, "--device", "gpu"], 1, "PyTorch has no device 'gpu' here"),
        (["say", "hello", *VOICE, *MACHINE, "--device", "cuda:99"], 1, "PyTorch has no device 'cuda:99' here"),
        (["say", "hello", *VOICE, *MACHINE, "--runtime", "onnx"], 1, "zipvoice export model --output-dir DIR"),
        (
            ["say", "hello", *VOICE, *MACHINE, "--revision", "v1"],
            1,
            "model is a directory, which has no revisions",
        ),
        (["say", "hello", "--revision", "v1"], 1, "zipvoice_small_distill is a model of the package, which has no rev"),
        (["say", "--file", "none.txt", *VOICE, *MACHINE], 1, "zipvoice: none.txt: No such file"),
        (["batch", "none.txt", *MACHINE], 1, "zipvoice: none.txt: No such file"),
        (["voice", "sav"], 2, "did you mean 'save'"),
        (["voice", "save", "a/b", "me.wav", "a low tone", *MACHINE], 1, "'a/b' is no name for a voice"),
        (["dialog", "[S1] hi", "--voice", "me.wav", "--voice-text", "a", "b", *MACHINE], 1, "as many of --voice-text"),
        (["dialog", "[S1] hi", "--voice", "me.wav", "--voice-text", "[S1]a[S2]b", *MACHINE], 1, "model has one voice"),
        (
            ["dialog", "[S2] hi", "--voice", "me.wav", "--voice-text", "low", *MACHINE],
            1,
            "turns of [S2], but there are 1",
        ),
        (
            ["dialog", "[S1] hi [S2] ho", "-v", "me.wav", "you.wav", "lj", *MACHINE],
            1,
            "no turn of the dialogue is of [S3",
        ),
        (["dialog", "hi", *TWO, *MACHINE], 1, "a dialogue begins with [S1], not with 'hi'"),
        (["say", "hello", "--voice", "kathleen", "--voice-text", "x", *MACHINE], 1, "knows what its recording says"),
        (["voice", "save", "me", "me.wav", "low", "--voice-text", "low", *MACHINE], 1, "give the transcript once"),
        (["align", "silent.wav", "hello"], 1, "the recording of 1.00 s is silent"),
        (["align", "me.wav", "--file", "latin.txt"], 1, "latin.txt is not UTF-8 text"),
        (["dub", "latin.txt", *MACHINE], 1, "latin.txt is not UTF-8 text"),
        (["dub", "one.srt", "--speed", "2", *MACHINE], 1, "in their times; leave out --speed"),
        (["dub", "one.srt", "--duration", "2", *MACHINE], 1, "in their times; leave out --duration"),
        (["dub", "one.srt", "--raw", *MACHINE], 1, "in their times; leave out --raw"),
        (["dub", "one.srt", "--speaker", "A=lj", "A=heart", *MACHINE], 1, "--speaker gives A more than one voice"),
        (["dub", "one.srt", "--words", "one.srt", *MACHINE], 1, "one.srt is read, and would be replaced; name another"),
        (["say", "hello", *VOICE, *MACHINE, "-o", "./me.wav"], 1, "name another file with --output"),
        (["dialog", "[S1] hi [S2] ho", *TWO, *MACHINE, "-o", "you.wav"], 1, "you.wav is read, and would be replaced"),
        (["align", "me.wav", "--file", "one.srt", "-o", "one.srt"], 1, "name another file with --output"),
        (
            ["say", "hello", *VOICE, "--voice-start", "0.7", "--voice-end", "inf", *MACHINE],
            1,
            "nothing from 0.7 to inf s",
        ),
        (["say", "hello", "--speed", "inf", *MACHINE], 1, "speed must be from 0.01 to 1000, not inf"),
        (["say", "hello", "--max-chunk-seconds", "inf", *MACHINE], 1, "must be a number of seconds above 0, not inf"),
        (
            ["voice", "save", "me.safetensors", "me.wav", "low", *MACHINE],
            1,
            "is no name for a voice, but that of a voice f",
        ),
        (["check", "x.tsv", "--min-len", "nan"], 1, "min_len must be 0 or more, not nan"),
        (["check", "x.tsv", "--num-workers", "-1"], 1, "num_workers must be 0 or more, not -1"),
        (["finetune", "a", "--train", "x", "--init-from", "b"], 1, "starts from a: leave out --init-from b"),
        (["prepare", "x.tsv", "--num-workers", "-1"], 1, "num_workers must be 0 or more, not -1"),
        (["prepare", "x.tsv", "--prefix", "a/b"], 1, "prefix is a part of the names of files, not 'a/b'; --output-dir"),
        (["evaluate", "list.tsv", "results", "--suite", "foo"], 1, "there is no suite 'foo'; known: offline"),
    ],
)
def test_a_mistake_is_one_line_and_a_status(arguments, status, message, capsys, no_ear, folder):
    write(folder / "silent.wav", Audio(np.full((1, 24000), 0.1, np.float32), 24000))
    (folder / "latin.txt").write_bytes("café".encode("latin-1"))
    (folder / "one.srt").write_text("1\n00:00:00,500 --> 00:00:01,500\nhello\n")
    before = {path: path.read_bytes() for path in folder.glob("*.*")}
    assert main(arguments) == status
    assert {path: path.read_bytes() for path in folder.glob("*.*")} == before
    err = capsys.readouterr().err
    assert message in err
    last = err.strip().splitlines()[-1]
    assert last.startswith("zipvoice: ") and last.count("known: ") <= 1


@pytest.mark.parametrize(
    ("command", "extra"),
    [("prepare list.tsv", "training"), ("check list.tsv", "training"), ("export model -o graphs", "export"),
     ("evaluate list.tsv results --suite seedtts-en", "evaluation,benchmarks")],
)  # fmt: skip
def test_a_missing_package_comes_with_the_line_that_installs_it(command, extra, folder, monkeypatch, capsys):
    (folder / "list.tsv").write_text("x\ta low tone\tme.wav\thello\n")

    def without_torch(_):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    name, *rest = command.split()
    monkeypatch.setitem(COMMANDS, name, COMMANDS[name]._replace(run=without_torch))
    assert main([name, *rest]) == 1
    assert capsys.readouterr().err == f"zipvoice: {name} needs torch: pip install 'zipvoice-tts[{extra}]'\n"


@pytest.mark.parametrize("arguments", [["voice", "list"], ["say", "Hello there.", "-q", "-o", "-"]])
def test_a_reader_that_has_enough_ends_the_program_without_a_word(arguments):
    program = subprocess.Popen(
        [sys.executable, "-m", "zipvoice", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    program.stdout.close()
    assert program.stderr.read() == b"" and program.wait() == 141


def test_an_output_that_cannot_show_a_sign_is_told_of_a_way(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "cp1252"))
    assert main(["tokenize", "hello"]) == 1
    said = r"encoding of the output, cp1252, has no '\u0259'; PYTHONIOENCODING=utf-8 in the environment"
    assert said in capsys.readouterr().err


def test_a_text_without_quotes_is_told_of_them(capsys):
    with pytest.raises(SystemExit):
        main(["say", "hello", "my", "friend", "--speed", "2"])
    assert "'my' is one word too many; a text of several words stands in quotes;" in capsys.readouterr().err


def test_a_list_whose_folder_cannot_be_made_is_refused_before_the_work(folder, monkeypatch, capsys):
    (folder / "list.txt").write_text("hello\n")
    monkeypatch.setattr("zipvoice.synthesis.batch.ListWork._spoken_block", None)  # nothing is spoken
    assert main(["batch", "list.txt", *MACHINE, "-o", "me.wav"]) == 1
    assert capsys.readouterr().err == "zipvoice: me.wav: Not a directory\n"


def test_a_voice_is_saved_with_the_transcript_as_other_commands_spell_it(folder, capsys):
    assert main(["voice", "save", "me", "me.wav", "--voice-text", "a low tone", *MACHINE]) == 0
    capsys.readouterr()
    main(["voice", "list", "--json"])
    assert json.loads(capsys.readouterr().out)[-1]["text"] == "a low tone"


def test_several_values_stand_behind_one_option(capsys):
    """The parser takes the last of two `--speaker`, and would leave the first one's cues to another voice."""
    for arguments, flag in (
        (["dub", "x.srt", "--speaker", "A=lj", "--speaker=B=heart"], "--speaker"),
        (["dialog", "[S1] a [S2] b", "-v", "lj", "--voice", "heart"], "--voice"),
        (["serve", "--allow-host", "a", "--allow-host", "b"], "--allow-host"),
    ):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == 2
        assert f"{flag} is given twice; give all its values behind one: {flag} FIRST" in capsys.readouterr().err


def test_an_empty_value_is_not_taken_for_the_current_folder(folder, capsys):
    """As `--output "$OUT"` gives it where OUT is not set."""
    (folder / "run.json").write_text("{}")
    for arguments, flag in (
        (["say", "a", "-o", ""], "zipvoice say: -o"),
        (["batch", "list.tsv", "--output="], "zipvoice batch: --output"),
        (["export", "zipvoice_small", "-o", ""], "zipvoice export: -o"),
        (["train", "run.json", "--exp-dir", ""], "zipvoice train: --exp-dir"),
        (["serve", "--voices", "", "--port", "1"], "zipvoice serve: --voices"),
    ):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == 2
        assert f"{flag} is empty; give it a value, or leave it out" in capsys.readouterr().err
    assert main(["say", "--word-times", ""]) == 1
    assert "at least one word" in capsys.readouterr().err  # the text is empty, not the option before it


def test_wrong_usage_ends_with_2(capsys):
    assert main(["voice"]) == 2
    with pytest.raises(SystemExit) as end:
        main(["say", "hello", "--sped", "2"])
    assert end.value.code == 2
    assert "--speed" in capsys.readouterr().err


def test_an_interrupt_ends_with_130_and_leaves_no_file(folder, monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("zipvoice.synthesis.synthesizer.sample", interrupt)
    assert main(["say", "hello", *VOICE, *MACHINE]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert not list(folder.glob("*out*"))


def test_every_command_has_help_and_none_needs_torch_for_it(capsys):
    assert main(["--help"]) == 0
    usage = capsys.readouterr().out
    assert all(f"  {name} " in usage for name in COMMANDS)
    for name in [*(f"voice {action}" for action in ACTIONS), *(set(COMMANDS) - {"voice"})]:
        with pytest.raises(SystemExit) as end:
            main([*name.split(), "--help"])
        assert end.value.code == 0
        text = capsys.readouterr().out
        assert text.startswith(f"usage: zipvoice {name}") and "options:" in text
        assert "examples:\n\n" not in text
        assert "{None" not in text and "default: None" not in text and "STR" not in text and "(default: )" not in text
        assert max(map(len, text.splitlines())) <= 120
    code = (
        "import sys, zipvoice.cli; zipvoice.cli.main(['--help']); sys.exit(bool({'torch', 'jieba'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_a_longer_text_is_the_same_in_a_file_and_through_python(folder):
    text = "one two three. four five six.\n\nseven eight.\n"
    (folder / "text.txt").write_text(text)
    assert main(["say", "--file", "text.txt", *VOICE, *MACHINE, *QUICK, "--max-chunk-seconds", "2"]) == 0
    synthesizer = load("model", vocoder="vocoder", device="cpu")
    prompt = synthesizer.prompt("me.wav", "a low tone")
    same("out.wav", synthesizer.synthesize(text, prompt, replace(FAST, max_chunk_seconds=2.0)).samples)
