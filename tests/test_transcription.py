# SPDX-License-Identifier: Apache-2.0
"""Voices of recordings that come without their words, or with wrong ones."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_models import FAST, tone

from zipvoice.audio.files import read, write
from zipvoice.audio.words import Word
from zipvoice.config.text import TokenizerConfig
from zipvoice.evaluation import transcription
from zipvoice.evaluation.alignment import Fit
from zipvoice.evaluation.transcription import fits, transcript_warning
from zipvoice.evaluation.whisper import Transcript
from zipvoice.synthesis.batch import speak_list
from zipvoice.synthesis.prompt import Prompt
from zipvoice.synthesis.transcripts import transcript_complaints
from zipvoice.utterances import Utterance

AUDIO = Path(__file__).parents[1] / "egs/mini/corpus/audio"
SAID = {
    "kathleen/arctic_a0194_1592712879.ogg": "He drank of the water cautiously.",
    "kathleen/arctic_a0082_1592746529.ogg": "His face was streaming with blood.",
    "lj/LJ002-0142.ogg": "These courts were open to many and grave objections.",
    "lj/LJ001-0141.ogg": "The general solidity of a page is much to be sought for",
}


@pytest.fixture
def ear(monkeypatch):
    """A recogniser that hears a low tone in everything, as surely as `confidence` says."""
    heard = SimpleNamespace(name="an-ear", text="a low tone", confidence=0.93)
    heard.transcribe = lambda audio, language=None: Transcript(heard.text, "en", heard.confidence, heard.name)
    monkeypatch.setattr(transcription, "ear", lambda: heard)
    monkeypatch.setattr(transcription, "has_ear", lambda: True)
    return heard


def test_what_is_heard_becomes_the_transcript_and_is_told(synthesizer, ear, caplog, tmp_path):
    with caplog.at_level(logging.WARNING):
        prompt = synthesizer.prompt(tone(0.6))
    assert prompt.text == "a low tone"
    assert prompt.tokens == synthesizer.prompt(tone(0.6), "a low tone").tokens
    assert "an-ear hears (confidence 93 %): a low tone" in caplog.text
    prompt.save(tmp_path / "voice.safetensors")
    assert Prompt.load(tmp_path / "voice.safetensors").text == "a low tone"


def test_a_recogniser_that_is_not_sure_says_so(synthesizer, ear, caplog):
    ear.confidence = 0.49
    synthesizer.prompt(tone(0.6))
    assert "49 %, which is little: check the words" in caplog.text
    caplog.clear()
    ear.confidence = 0.5
    synthesizer.prompt(tone(0.6))
    assert "50 %): a low tone" in caplog.text


def test_what_is_heard_in_noise_is_told_in_part(ear):
    ear.text = "I am sorry. " * 100
    assert 300 < len(transcript_warning(tone(1.0), "hello there") or "") < 500


def test_a_recording_as_voice_needs_no_transcript_where_there_is_an_ear(synthesizer, ear):
    expected = synthesizer.synthesize("hello", tone(0.6), FAST, voice_text="a low tone")
    assert (synthesizer.synthesize("hello", tone(0.6), FAST).samples == expected.samples).all()


def test_speech_without_words_is_refused(synthesizer, ear):
    ear.text = ""
    with pytest.raises(ValueError, match="an-ear hears no words in it"):
        synthesizer.prompt(tone(0.6))


def test_without_an_ear_the_message_names_the_option_and_the_install_line(synthesizer, no_ear):
    with pytest.raises(ValueError, match=r"say what the recording says with --voice-text .*pip install"):
        synthesizer.prompt(tone(0.6))


@pytest.mark.parametrize(("name", "text"), SAID.items())
def test_recordings_fit_their_own_words_and_no_others(name, text, no_ear):
    audio = read(AUDIO / name)
    assert [other for other in SAID.values() if fits(audio, other)] == [text]
    assert transcript_warning(audio, text) is None


@pytest.mark.parametrize(
    ("said", "fits_still"),
    [
        ("The general solidity of a page is much to be sought for", True),
        ("the general solidity of a page, is much to be sought for!", True),
        ("THE GENERAL SOLIDITY OF A PAGE IS MUCH TO BE SOUGHT FOR", True),
        ("Thé general solidity of 1 page is much to be sought for.", True),
        ("The special quality of a book is hard to be reached there", False),
        ("The general solidity of a page", False),
        ("much to be sought for", False),
        ("The general solidity of a page is much to be sought for. Then they all went down to the river.", False),
        ("Die allgemeine Festigkeit einer Seite ist sehr zu wünschen", False),
        ("一页的坚固是非常需要的", False),
    ],
)
def test_a_transcript_that_is_wrong_in_part_is_told_from_one_written_otherwise(said, fits_still):
    assert fits(read(AUDIO / "lj/LJ001-0141.ogg"), said) == fits_still


@pytest.mark.parametrize(
    ("found", "fits_still"),
    [
        (Fit(-1.4, 0, 0.0, 0.22), True),
        (Fit(-1.41, 0, 0.0, 0.0), False),
        (Fit(0.0, 0, 0.0, 0.219), True),
        (Fit(0.0, 0, 0.0, 0.221), False),
        (Fit(0.0, 1, 0.5, 0.2), True),  # one word may sound like anything
        (Fit(0.0, 2, 0.15, 0.15), True),
        (Fit(0.0, 2, 0.2, 0.101), False),
    ],
)
def test_a_text_fits_up_to_its_limits(monkeypatch, found, fits_still):
    monkeypatch.setattr(transcription, "fit", lambda audio, words: found)
    assert fits(tone(1.0), "hello") == fits_still


def test_an_ear_needs_its_package_and_its_model(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not transcription.has_ear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr(transcription, "find_whisper", lambda: "model")
    assert transcription.has_ear()

    def missing():
        raise ValueError("no folder of a model")

    monkeypatch.setattr(transcription, "find_whisper", missing)
    assert not transcription.has_ear()


def test_a_wrong_transcript_is_a_warning_with_both_texts(ear):
    name, *others = SAID
    (complaint,) = transcript_complaints(read(AUDIO / name), SAID[others[2]], TokenizerConfig())
    assert SAID[others[2]] in complaint
    assert "by an-ear, 'a low tone'" in complaint


@pytest.mark.parametrize("config", [TokenizerConfig("espeak", "en-gb"), TokenizerConfig("libritts")])
def test_english_is_judged_whichever_tokenizer_reads_it(config, ear):
    assert len(transcript_complaints(tone(1.0), "something else entirely", config)) == 1
    assert transcript_complaints(tone(1.0), "something 不同", config) == []


@pytest.mark.parametrize("config", [TokenizerConfig("simple"), TokenizerConfig("espeak", "de")])
def test_what_is_not_english_is_not_judged(config, ear):
    assert transcript_complaints(tone(1.0), "etwas ganz anderes", config) == []


def test_lists_have_times_of_words_beside_their_sounds(synthesizer, tmp_path):
    write(tmp_path / "me.wav", tone(0.6))
    one = Utterance("one", "two words.", str(tmp_path / "me.wav"), "a low tone")
    options = synthesizer.resolved(FAST)
    plain = list(speak_list(synthesizer, [one], tmp_path / "plain", options))
    options = replace(options, word_times=True)
    timed = list(speak_list(synthesizer, [one], tmp_path / "timed", options, words=".json"))
    assert plain[0].error is timed[0].error is None
    assert read(plain[0].path).samples.tobytes() == read(timed[0].path).samples.tobytes()
    words = [Word(**word) for word in json.loads((tmp_path / "timed/one.json").read_text())]
    assert [word.word for word in words] == ["two", "words"]
    assert words[-1].end <= timed[0].seconds
