# SPDX-License-Identifier: Apache-2.0
"""sherpa-onnx speaks exported models as synthesis here does."""

import logging
import os
import runpy
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import sherpa_onnx
import torch
from tiny_models import make_model, make_vocoder, sequence, tone

import zipvoice
from zipvoice.audio.files import read as read_sound
from zipvoice.audio.mel import HOP, log_mel
from zipvoice.cli import main
from zipvoice.config.export import ExportOptions, SherpaOptions, sherpa_name
from zipvoice.config.strict_json import write_json
from zipvoice.config.synthesis import SamplingConfig, SynthesisOptions
from zipvoice.export.onnx import ExportedGraph
from zipvoice.export.sherpa import (
    SherpaDecoder,
    _entry,
    _lexicon,
    _plain_steps,
    _settings,
    _token_lines,
    export_sherpa,
)
from zipvoice.model.solver import time_grid
from zipvoice.pretrained import load_network, read_directory
from zipvoice.synthesis import voices
from zipvoice.text.token_table import TokenTable

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "c"
SENTENCE = "Hello there, I paid 25 dollars for this old book in 1984."


def set_sampling(directory, **changes):
    """Make the model of a folder be sampled so."""
    file = read_directory(directory).file
    write_json(replace(file, sampling=SamplingConfig(**changes)), directory / "model.json")


@pytest.fixture(scope="module")
def dialogue(tmp_path_factory):
    """A tiny dialogue model without noise, in which a text has one sound, and its folder for sherpa-onnx."""
    folder = tmp_path_factory.mktemp("dialogue")
    make_model(folder / "model", "zipvoice_dialog")
    set_sampling(folder / "model", num_steps=2, guidance_scale=1.5, temperature=0.0)
    make_vocoder(folder / "vocos")
    options = ExportOptions(str(folder / "model"), str(folder / "sherpa"), vocoder=str(folder / "vocos"))
    export_sherpa(options, SherpaOptions())
    return folder


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The distilled model of the package, with a lexicon."""
    folder = tmp_path_factory.mktemp("package")
    words = folder / "words.txt"
    words.write_text("He\nturned\nsharply\nand\nfaced\nGregson\nacross\nthe\ntable\n\n25\n", encoding="utf-8")
    arguments = ["zipvoice_small_distill", "-o", str(folder), "--for", "sherpa", "--lexicon", str(words)]
    assert main(["export", *arguments]) == 0
    return folder


def loaded(texts):
    model = sherpa_onnx.OfflineTtsModelConfig(zipvoice=sherpa_onnx.OfflineTtsZipvoiceModelConfig(**texts.settings))
    return sherpa_onnx.OfflineTts(sherpa_onnx.OfflineTtsConfig(model))


def spoken(speaker, texts, voice, tokens, speed=1.0, text="by tokens", num_steps=None):
    """What sherpa-onnx makes of token lists or, if there are none, of the text: samples (N,)."""
    request = sherpa_onnx.GenerationConfig()
    request.reference_audio, request.reference_sample_rate = voice.samples, voice.sampling_rate
    request.reference_text, request.num_steps = voice.text, num_steps or texts.num_steps
    request.tokens, request.speed, request.silence_scale = tokens, speed, 1.0
    return np.array(speaker.generate(text, request).samples, np.float32)


def spoken_here(synthesizer, text, voice, speed=1.0, seed=1):
    """The bare sound of a text of one chunk, samples (N,)."""
    options = synthesizer.resolved(
        SynthesisOptions(speed=speed, seed=seed, contrast=0.0, time_contrast=0.0, match_spectrum=0.0)
    )  # not in sherpa-onnx
    chunks = list(synthesizer.plan(text, voice.prompt, options))
    (mel,) = synthesizer.mels(chunks, options)
    assert len(mel) == chunks[0].num_frames
    return synthesizer.vocoder(mel.T[None])[0]


def distance(a, b):
    """Between log-mel features, in dB."""
    return 20 / np.log(10) * np.abs(log_mel(a) - log_mel(b)).mean()


@pytest.mark.slow
def test_sherpa_speaks_as_near_as_another_seed(package):
    texts = zipvoice.sherpa(package)
    default = voices.default()
    voice = texts.voice(voices.heard(default), default.text)
    assert 1 + len(voice.samples) // HOP == voice.prompt.num_frames
    synthesizer, speaker = zipvoice.load("zipvoice_small_distill", vocoder="vocos_small"), loaded(texts)
    for text, speed in ((SENTENCE, 1.0), ("Yes.", 0.7), ("Yes.", 1.0), (SENTENCE, 2.0)):
        tokens = texts.tokens(text, voice, speed)
        there = [spoken(speaker, texts, voice, tokens, speed) for _ in range(3)]  # its noise is another each time
        here = [spoken_here(synthesizer, text, voice, speed, seed) for seed in (1, 2, 3)]
        assert {*map(len, there)} == {*map(len, here)}
        of_seeds = np.mean([distance(one, other) for one, other in combinations(here, 2)])
        assert np.mean([distance(one, other) for one, other in product(there, here)]) < of_seeds + 1


@pytest.mark.slow
def test_sherpa_reads_words_of_a_lexicon(package):
    lines = (package / "lexicon.txt").read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["he ▁ h i ː", "turned ▁ t ˈ ɜ ː n d"] and len(lines) == 10
    texts = zipvoice.sherpa(package)
    voice = texts.voice(tone(2), "He turned sharply.")
    speaker = loaded(texts)
    read = spoken(speaker, texts, voice, [], text="He faced Gregson across the table.", num_steps=1)
    given = spoken(speaker, texts, voice, texts.tokens("He faced Gregson across the table.", voice), num_steps=1)
    assert 0.9 < len(read) / len(given) < 1.1
    assert len(spoken(speaker, texts, voice, [], text="25", num_steps=1)) > 8000


def test_sherpa_is_told_of_a_lexicon_where_there_is_one(dialogue, tmp_path):
    folder = tmp_path / "sherpa"
    shutil.copytree(dialogue / "sherpa", folder)
    texts = zipvoice.sherpa(folder)
    files = {"encoder": "encoder.onnx", "decoder": "decoder.onnx", "vocoder": "vocoder.onnx", "tokens": "tokens.txt"}
    numbers = {"feat_scale": 0.1, "t_shift": 0.5, "target_rms": 0.1, "guidance_scale": 1.5}
    for lexicon in ({}, {"lexicon": "lexicon.txt"}):
        for name in lexicon.values():
            (folder / name).touch()
        assert texts.settings == {option: str(folder / name) for option, name in {**files, **lexicon}.items()} | numbers


def test_sherpa_speaks_a_dialogue_of_tokens(dialogue):
    texts = zipvoice.sherpa(dialogue / "sherpa")
    recording = sequence(tone(1.5), tone(1.5, 0.2, hertz=330))
    voice = texts.voice(recording, "[S1]I am one.[S2]I am two.")
    assert texts.tokens("[pause 1s][S1]Hello.", voice) == texts.tokens("[S1]Hello.", voice)  # a pause has no tokens
    synthesizer = zipvoice.load(dialogue / "model", vocoder=dialogue / "vocos", runtime="torch", device="cpu")
    speaker = loaded(texts)
    for text, speed in (("[S1]Hello, you.[S2]Hi.", 1.0), ("[S1]Hello, you. He, Hi.", 0.7)):
        there = spoken(speaker, texts, voice, texts.tokens(text, voice, speed), speed)
        here = spoken_here(synthesizer, text, voice, speed)
        assert len(there) == len(here)
        assert distance(there, here) < 0.3
    with pytest.raises(ValueError, match=r"a dialogue begins with \[S1\]"):
        texts.tokens("Hello", voice)


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs a compiler: apt-get install gcc")
def test_the_example_in_c_speaks_a_dialogue_of_tokens(dialogue, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, origin in (("speech_sherpa", dialogue / "sherpa"), ("speak.c", EXAMPLE / "speak.c")):
        (tmp_path / name).symlink_to(origin)
    recording, transcript, text = (
        sequence(tone(1.5), tone(1.5, 0.2, hertz=330)),
        "[S1]One.[S2]Two.",
        "[S1]He, you.[S2]Hi.",
    )
    recording.save("me.wav")
    runpy.run_path(str(EXAMPLE / "request.py"))["main"]("speech_sherpa", "me.wav", transcript, text)

    commands = (
        (EXAMPLE / "README.md").read_text(encoding="utf-8").partition("request.txt, voice.wav\n")[2].partition("```")[0]
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(["bash", "-ec", commands], env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    there = read_sound("out.wav").samples[0]
    assert done.stdout == f"{len(there) / 24000:.2f} s\n"
    voice = zipvoice.sherpa("speech_sherpa").voice(recording, transcript)
    synthesizer = zipvoice.load(dialogue / "model", vocoder=dialogue / "vocos", runtime="torch", device="cpu")
    here = spoken_here(synthesizer, text, voice)
    assert len(there) == len(here)
    assert distance(there, here) < 0.3


def test_marks_do_not_part_a_text_and_pauses_are_told(dialogue, caplog):
    texts = zipvoice.sherpa(dialogue / "sherpa")
    voice = texts.voice(sequence(tone(1.5), tone(1.5)), "[S1]One[S2]Two")
    transcript, text = texts.tokens("[S1]A b[pause 0.5s], c![S2]D", voice)[:2]
    assert transcript == ["[S1]", "O", "n", "e", "[S2]", "T", "w", "o", "⟨.⟩"]
    assert text[:4] == ["[S1]", "A", "▁", "b"]
    with caplog.at_level(logging.WARNING):
        texts.tokens("[S1]A b.[pause 0.5s][S2]D", voice)
    assert "makes no pauses: 0.5 s" in caplog.text
    names = [line.split("\t") for line in (dialogue / "sherpa" / "tokens.txt").read_text(encoding="utf-8").splitlines()]
    ids = dict(names)
    assert all(len(line) == 2 for line in names) and len(ids) == len(names)
    table = read_directory(dialogue / "model").table
    assert [int(ids[sherpa_name(token)]) for token in table.tokens] == list(range(len(table)))
    assert ids["."] == ids["⟨.⟩"]


@pytest.mark.parametrize("variant", ["zipvoice", "zipvoice_distill"])
def test_the_first_step_has_the_temperature(tmp_path, variant):
    make_model(tmp_path, variant)
    network = load_network(read_directory(tmp_path))
    sampling = SamplingConfig(num_steps=3, guidance_scale=1.0, temperature=0.3)
    cool, plain = (SherpaDecoder(network, s, 0.1) for s in (sampling, replace(sampling, temperature=1.0)))
    x, text, speech = torch.randn(3, 1, 9, 100, generator=torch.Generator().manual_seed(0))
    step, scale, start = time_grid(3, 0.5)[1], torch.tensor([1.0]), torch.zeros(1)
    with torch.no_grad():
        there = x + step * cool(start, x, text, speech, scale)
        torch.testing.assert_close(there, 0.3 * x + step * plain(start, 0.3 * x, text, speech, scale))
        later = (torch.tensor([step]), x, text)
        torch.testing.assert_close(cool(*later, speech, scale), plain(*later, speech, scale))
        silent = plain(*later, torch.full_like(speech, -2.3), scale)
        torch.testing.assert_close(silent, plain(*later, torch.full_like(speech, -1.6118), scale), atol=1e-4, rtol=0)


def test_what_sherpa_cannot_express_is_refused(tmp_path, capsys):
    make_model(tmp_path / "model", "zipvoice_dialog_stereo")
    arguments = ["export", str(tmp_path / "model"), "-o", str(tmp_path / "sherpa")]
    assert main([*arguments, "--for", "sherpa"]) != 0
    assert "one channel, which cannot express zipvoice_dialog_stereo" in capsys.readouterr().err
    assert not (tmp_path / "sherpa").exists()
    assert main([*arguments, "--num-steps", "4"]) != 0
    assert "add --for sherpa" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="zipvoice export MODEL -o DIR --for sherpa"):
        zipvoice.sherpa(tmp_path / "model")


def test_steps_that_sherpa_does_not_take_are_refused(tmp_path):
    make_model(tmp_path / "model")
    set_sampling(tmp_path / "model", num_steps=3, guidance_scale=1.0, solver="adams-bashforth")
    with pytest.raises(ValueError, match="--num-steps 3 exports the model for as many of Euler's steps"):
        export_sherpa(ExportOptions(str(tmp_path / "model"), str(tmp_path / "out")), SherpaOptions())


def test_words_of_a_lexicon_begin_with_a_space_where_they_are_written_with_one():
    """Not in Chinese, nor where the model has no token for it; signs without a token are not said."""

    def entry(word, *tokens):
        table = TokenTable(("_", *tokens))
        return _entry(SimpleNamespace(table=table, tokenizer=SimpleNamespace(tokens=list)), word)

    assert entry("ab", " ", "a", "b") == "ab ▁ a b\n"
    assert entry("ab", "a", "b") == "ab a b\n"
    assert entry("你好", " ", "你", "好") == "你好 你 好\n"
    assert entry("a-b", " ", "a", "b") == "a-b ▁ a b\n"
    assert entry("a.", " ", "a", ".") == "a. ▁ a ⟨.⟩\n"
    assert entry("ж", " ", "ж") == "ж ▁ ж\n"
    assert entry("あ", " ", "あ") == "あ あ\n"
    with pytest.raises(ValueError, match="'--' has nothing that can be spoken"):
        entry("--", " ", "a")


def test_words_of_a_lexicon_stand_there_once_in_small_letters(tmp_path):
    table = TokenTable(("_", " ", *"abc"))
    model = SimpleNamespace(table=table, tokenizer=SimpleNamespace(tokens=list))
    (tmp_path / "words.txt").write_text(" Ab\n\nc\nAB \nab\n", encoding="utf-8")
    assert _lexicon(model, tmp_path / "words.txt") == "ab ▁ a b\nc ▁ c\n"


@pytest.mark.parametrize("token", ["a b", "\u3000", "▁"])
def test_tokens_that_a_line_cannot_hold_are_refused(token):
    with pytest.raises(ValueError, match=r"tokens\.txt of sherpa-onnx cannot hold the token"):
        _token_lines(SimpleNamespace(variant="zipvoice", table=TokenTable(("_", " ", token))))


def test_steps_of_sherpa_are_those_of_the_model_or_as_many_as_asked_for():
    suits = SamplingConfig(num_steps=5, guidance_scale=1.5, t_shift=0.7, temperature=0.8)
    assert _plain_steps(suits, None) == suits
    assert _plain_steps(suits, 3) == replace(suits, num_steps=3)
    assert _plain_steps(replace(suits, contrast=0.5, match_spectrum=1.0), None) == suits, "which it has not"
    assert _plain_steps(replace(suits, guidance_interval=(0.0, 0.5)), 5) == suits
    told = "feat_scale 0.1, t_shift 0.7, guidance_scale 1.5,\nnum_steps 5. Its temperature of 0.8 is right for these"
    assert told in _settings(suits, 0.1) and "temperature" not in _settings(replace(suits, temperature=1.0), 0.1)


def test_a_lexicon_names_the_line_that_cannot_be(tmp_path):
    make_model(tmp_path / "model")
    make_vocoder(tmp_path / "vocos")
    words = tmp_path / "words.txt"
    options = ExportOptions(str(tmp_path / "model"), str(tmp_path / "out"), vocoder=str(tmp_path / "vocos"))
    for word, message in (("two words", "line 2: 'two words' is more than one word"), ("ж", "line 2: .*no token")):
        words.write_text(f"one\n{word}\n", encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            export_sherpa(options, SherpaOptions(lexicon=str(words)))
    assert not (tmp_path / "out").exists()


def test_a_lexicon_that_is_not_asked_for_again_goes(dialogue, tmp_path, monkeypatch):
    shutil.copytree(dialogue / "sherpa", tmp_path / "sherpa")
    (tmp_path / "sherpa" / "lexicon.txt").touch()
    (tmp_path / "sherpa" / "notes.txt").touch()
    graph = ExportedGraph("encoder.onnx", "float32", 1.0, "", 0.0)
    monkeypatch.setattr("zipvoice.export.sherpa.write_graph", lambda source, output: graph)
    options = ExportOptions(str(dialogue / "model"), str(tmp_path / "sherpa"), vocoder=str(dialogue / "vocos"))
    export_sherpa(options, SherpaOptions())
    names = {path.name for path in (tmp_path / "sherpa").iterdir()}
    assert "notes.txt" in names and "vocoder.onnx" in names and "lexicon.txt" not in names
