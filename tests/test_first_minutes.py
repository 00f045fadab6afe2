# SPDX-License-Identifier: Apache-2.0
"""What a newcomer tries first, in Python."""

import base64
import io
import re
import sys

import numpy as np
import pytest
import soundfile
from tiny_models import FAST, tone

import zipvoice
from zipvoice import Audio
from zipvoice.audio import playback
from zipvoice.audio.files import pcm16, read, write


@pytest.fixture(autouse=True)
def voices(tmp_path, monkeypatch):
    monkeypatch.setenv("ZIPVOICE_VOICES", str(tmp_path / "voices"))


def test_the_first_line_speaks_in_the_voice_of_the_package():
    synthesizer = zipvoice.load()
    audio = synthesizer.synthesize("Hello", num_steps=1)
    assert 0.4 < audio.seconds < 2
    assert np.array_equal(audio.samples, synthesizer.synthesize("Hello", "heart", num_steps=1).samples)
    assert repr(synthesizer) == "Synthesizer(zipvoice_distill, tokenizer espeak en-us with 159 tokens, 24000 Hz)"


def test_a_voice_is_a_name_a_file_a_recording_or_a_sound_with_its_text(synthesizer, tmp_path):
    recording = tone(0.6)
    write(tmp_path / "me.wav", recording)
    prompt = synthesizer.prompt(tmp_path / "me.wav", "a low tone")
    zipvoice.synthesis.voices.save("me", prompt)
    prompt.save(tmp_path / "me.safetensors")
    expected = synthesizer.synthesize("hello", prompt, FAST).samples
    sound = read(tmp_path / "me.wav")
    for voice in ("me", tmp_path / "me.safetensors", str(tmp_path / "me.safetensors"), (sound, "a low tone")):
        assert np.array_equal(synthesizer.synthesize("hello", voice, FAST).samples, expected)
    for voice in (sound, tmp_path / "me.wav", str(tmp_path / "me.wav")):
        spoken = synthesizer.synthesize("hello", voice, FAST, voice_text="a low tone")
        assert np.array_equal(spoken.samples, expected)
        streamed = list(synthesizer.stream("hello", voice, FAST, voice_text="a low tone"))
        assert np.array_equal(np.concatenate([part.samples for part in streamed], axis=1), expected)


@pytest.mark.parametrize(
    ("voice", "message"),
    [
        ("kathlen", "there is no voice 'kathlen'; did you mean 'kathleen'"),
        (tone(0.6), "say what the recording says"),
        ("none.wav", "none.wav: no such recording or voice file"),
        (__file__, "test_first_minutes.py is not readable as audio"),
    ],
)
def test_a_voice_that_lacks_something_says_what(synthesizer, voice, message, no_ear):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        synthesizer.synthesize("hello", voice, FAST)


def test_what_helps_with_a_text_of_another_language_is_an_option_here():
    remedy = r".*; --skip-unknown \(skip_unknown\) leaves out such characters; another language needs a model of it$"
    speaker = zipvoice.load()
    with pytest.raises(ValueError, match=f"^the text: {remedy}"):
        speaker.check_text("hi ש")
    with pytest.raises(ValueError, match=f"^the transcript of the voice: {remedy}"):
        speaker.prompt(tone(1.0), "ש")


def test_voices_lists_names(synthesizer):
    packaged = ["heart", "kathleen", "libri26", "lj"]
    assert zipvoice.voices() == packaged
    zipvoice.synthesis.voices.save("me", synthesizer.prompt(tone(0.6), "a low tone"))
    assert zipvoice.voices() == [*packaged, "me"]


def test_the_public_names_are_shown_and_each_is_there():
    names = dir(zipvoice)
    assert {"Audio", "Prompt", "Synthesizer", "load", "voices", "__version__"} <= set(names)
    assert all(getattr(zipvoice, name) for name in names)


def test_a_sound_and_a_voice_tell_what_they_are_in_a_line(synthesizer):
    assert repr(tone(1.5)) == "Audio(1.50 s, 1 channel, 24000 Hz)"
    assert repr(tone(1.5, channels=2, rate=8000)) == "Audio(1.50 s, 2 channels, 8000 Hz)"
    assert repr(synthesizer.prompt(tone(0.6), "a low tone")) == "Prompt(0.80 s, 'a low tone')"
    long = repr(synthesizer.prompt(tone(9.0), "word " * 100))
    assert len(long) < 100 and long.endswith("…')")


def test_a_sound_is_an_array_for_numpy():
    audio = tone(0.1, channels=2)
    assert np.asarray(audio) is audio.samples
    assert np.array(audio, dtype=np.float64).dtype == np.float64
    copied = np.array(audio)
    copied[:] = 0
    assert audio.samples.any()
    assert np.abs(audio).max() == np.abs(audio.samples).max()


def test_a_notebook_shows_a_player_with_the_sound():
    audio = tone(0.2, channels=2)
    page = audio._repr_html_()
    data = re.fullmatch(r'<audio controls src="data:audio/wav;base64,(.+)"></audio>', page)[1]
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(data)), dtype="int16")
    assert rate == 24000 and np.array_equal(samples, pcm16(audio))
    assert Audio(np.zeros((1, 0), np.float32), 8000)._repr_html_() == "Audio(0.00 s, 1 channel, 8000 Hz)"


# ---------------------------------------------------------------- playing


def test_a_sound_is_played_by_a_program_of_the_machine(tmp_path, monkeypatch):
    keep = f"import sys, shutil; shutil.copy(sys.argv[1], {str(tmp_path / 'heard.wav')!r})"
    monkeypatch.setattr(playback, "PLAYERS", (("no-such-player",), (sys.executable, "-c", keep)))
    audio = tone(0.2)
    audio.play()
    assert np.array_equal(pcm16(read(tmp_path / "heard.wav")), pcm16(audio))


def test_where_nothing_plays_it_is_said(monkeypatch):
    monkeypatch.setattr(playback, "PLAYERS", (("no-such-player",),))
    with pytest.raises(OSError, match=r"no program that plays sound \(no-such-player\); save the sound"):
        tone(0.2).play()
    fail = "import sys; sys.exit('no sound card')"
    monkeypatch.setattr(playback, "PLAYERS", ((sys.executable, "-c", fail),))
    with pytest.raises(OSError, match="could not play the sound: no sound card"):
        tone(0.2).play()


# ---------------------------------------------------------------- channels that cancel


def test_of_channels_in_opposite_phase_one_is_used():
    audio = tone(0.2)
    noise = 0.01 * np.random.default_rng(0).standard_normal(audio.samples.shape, np.float32)
    both = Audio(np.concatenate([0.9 * audio.samples, noise - audio.samples]), audio.sampling_rate)
    assert np.array_equal(both.mono().samples, both.samples[1:])
    same = Audio(np.concatenate([audio.samples, 0.5 * audio.samples]), audio.sampling_rate)
    np.testing.assert_allclose(same.mono().samples, 0.75 * audio.samples, atol=1e-7)
    weaker = Audio(np.concatenate([audio.samples, -0.5 * audio.samples]), audio.sampling_rate)
    np.testing.assert_allclose(weaker.mono().samples, 0.25 * audio.samples, atol=1e-7)  # enough is left
