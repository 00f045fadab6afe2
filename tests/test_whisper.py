# SPDX-License-Identifier: Apache-2.0
"""What Whisper hears of the recordings of egs/mini, and how its model is found."""

import hashlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from zipvoice.audio.files import Audio, read
from zipvoice.evaluation import whisper
from zipvoice.evaluation.level import JUDGED_RMS, evened, require_sound
from zipvoice.evaluation.provenance import sha256_of
from zipvoice.evaluation.whisper import VARIABLE, Transcript, Whisper, find_whisper

CORPUS = Path(__file__).parents[1] / "egs/mini/corpus"


def constant(value: float, seconds: float = 0.5) -> Audio:
    return Audio(np.full((1, int(16000 * seconds)), value, np.float32), 16000)


def tone(amplitude: float) -> Audio:
    wave = amplitude * np.sin(np.arange(16000) / 10)
    return Audio(wave.astype(np.float32)[None], 16000)


@pytest.fixture
def fake(monkeypatch):
    """faster-whisper, with a model that hears two segments."""

    class Model:
        def __init__(self, place, device, **settings):
            self.place, self.device, self.settings = place, device, settings

        def transcribe(self, samples, **settings):
            self.heard, self.asked = samples, settings
            word = SimpleNamespace(word=" One", start=0.0, end=0.5, probability=0.5)
            first = SimpleNamespace(text=" One", tokens=[1, 2, 3], avg_logprob=-1.0, words=[word])
            second = SimpleNamespace(text=" two. ", tokens=[1], avg_logprob=-3.0, words=None)
            return iter([first, second]), SimpleNamespace(language="en")

    monkeypatch.setitem(sys.modules, "faster_whisper", SimpleNamespace(WhisperModel=Model))


def folder_with_model(path: Path) -> Path:
    path.mkdir()
    (path / "model.bin").write_bytes(b"weights")
    return path


def test_a_transcript_has_text_words_and_the_mean_probability_of_tokens(fake, tmp_path):
    heard = Whisper(folder_with_model(tmp_path / "mine")).transcribe(tone(0.5), "en", words=True)
    assert heard == Transcript("One two.", "en", pytest.approx(np.exp(-10 / 6)), "mine", heard.words)
    assert [(word.text, word.start, word.end, word.confidence) for word in heard.words] == [("One", 0.0, 0.5, 0.5)]


def test_a_recording_is_heard_alike_each_time(fake, tmp_path):
    whisper = Whisper(folder_with_model(tmp_path / "mine"))
    whisper.transcribe(Audio(tone(0.5).samples.repeat(2, axis=0), 8000), "en")
    alike = {"beam_size": 5, "temperature": 0.0, "condition_on_previous_text": False}
    assert whisper._model.asked == {"language": "en", "word_timestamps": False, **alike}
    assert whisper._model.heard.shape == (32000,)
    whisper.transcribe(tone(0.5), words=True, beam_size=1)
    assert whisper._model.asked == {"language": None, "word_timestamps": True, **alike, "beam_size": 1}


def test_the_model_is_named_and_hashed(fake, tmp_path):
    loaded = Whisper(folder_with_model(tmp_path / "mine"))
    assert (loaded.name, loaded.compute_type) == ("mine", "int8")
    assert loaded.sha256 == hashlib.sha256(b"weights").hexdigest()


def test_the_variable_names_another_model_and_the_option_wins(monkeypatch, tmp_path):
    first, second = (folder_with_model(tmp_path / name) for name in ("first", "second"))
    monkeypatch.setenv(VARIABLE, str(first))
    assert find_whisper().name == "first"
    assert find_whisper(second).weights == (second / "model.bin",)


def test_a_folder_without_a_model_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"no model\.bin; convert"):
        find_whisper(tmp_path)
    with pytest.raises(ValueError, match="is no folder with a Whisper model"):
        find_whisper(tmp_path / "absent")


def test_missing_packages_name_the_install_command(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(whisper, "PACKAGES", ("no_such_package_1", "no_such_package_2"))
    with pytest.raises(ImportError, match=r"pip install 'zipvoice-tts\[evaluation\]'.*ZIPVOICE_WHISPER"):
        find_whisper()
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(ImportError, match=r"pip install 'zipvoice-tts\[evaluation\]'"):
        Whisper()


@pytest.mark.parametrize("audio", [constant(0.0), constant(0.3), constant(0.0, 0), tone(0.00005)])
def test_silence_is_refused(fake, tmp_path, audio):
    with pytest.raises(ValueError, match="is silent"):
        Whisper(folder_with_model(tmp_path / "mine")).transcribe(audio)


def test_soft_sound_is_not_silence():
    assert require_sound(quiet := tone(0.001)) is quiet


@pytest.mark.parametrize("amplitude", [1e-6, 0.01, 0.9, 30.0])
def test_levels_are_evened_up_and_down(amplitude):
    samples = evened(tone(amplitude)).samples
    assert np.sqrt(np.square(samples).mean()) == pytest.approx(JUDGED_RMS, rel=1e-5)
    assert samples == pytest.approx(evened(tone(1.0)).samples, abs=1e-6)


def test_a_hash_is_that_of_all_parts_in_order(tmp_path):
    for name, content in (("a", b"wei"), ("b", b"ghts"), ("whole", b"weights")):
        (tmp_path / name).write_bytes(content)
    assert sha256_of(tmp_path / "a", tmp_path / "b") == sha256_of(tmp_path / "whole")
    assert sha256_of(tmp_path / "b", tmp_path / "a") != sha256_of(tmp_path / "whole")


@pytest.mark.slow  # loads Whisper base
def test_the_packaged_model_hears_the_words_of_a_recording(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    name, text, path = (CORPUS / "dev.tsv").read_text(encoding="utf-8").splitlines()[0].split("\t")
    audio = read(CORPUS / path)
    loaded = Whisper()
    heard = loaded.transcribe(audio, words=True)
    assert (heard.text, heard.language, heard.model) == (text, "en", "whisper-base"), name
    assert " ".join(word.text for word in heard.words) == text
    edges = [edge for word in heard.words for edge in (word.start, word.end)]
    assert edges == sorted(edges)
    assert 0 <= edges[0] < edges[-1] <= audio.seconds + 0.05
    assert 0.5 < heard.confidence < 1
    assert loaded.transcribe(audio, "en").words == ()
    assert loaded.sha256.startswith("d01c3014881c9c6f")  # model.bin of Systran/faster-whisper-base
