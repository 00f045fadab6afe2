# SPDX-License-Identifier: Apache-2.0
import logging
import math
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file
from tiny_models import FAST, RATE, sequence, silence, tone

from zipvoice import Audio, Prompt
from zipvoice.audio.files import read, write
from zipvoice.audio.silence import remove_silence
from zipvoice.config.text import TokenizerConfig
from zipvoice.synthesis.prompt import recording_complaints, trimmed
from zipvoice.synthesis.voices import heard

# ---------------------------------------------------------------- trimming and level


def test_a_recording_is_trimmed_as_published(synthesizer):
    recording = sequence(silence(0.5), tone(0.5), silence(3.0), tone(0.5), silence(0.7))
    prompt = synthesizer.prompt(recording, "a low tone")
    expected = remove_silence(recording, trail_ms=200)
    np.testing.assert_allclose(trimmed(recording).samples, expected.samples)
    assert prompt.num_frames == round((0.1 + 0.5 + 2.0 + 0.5 + 0.1 + 0.2) * RATE / 256)


@pytest.mark.parametrize("level", [1.0, 0.01, 3e-4, 2e-5])
def test_trimming_never_removes_the_voice_however_quiet_nor_raises_it(level):
    recording = sequence(silence(0.5), tone(1.0, level), silence(0.5))
    kept = trimmed(recording)
    assert kept.seconds == pytest.approx(0.1 + 1.0 + 0.1 + 0.2, abs=0.02)
    assert kept.samples.max() == pytest.approx(recording.samples.max(), rel=0.01), "as loud as before"


def test_a_quiet_recording_gives_the_voice_of_the_loud_one_and_remembers_its_level(synthesizer):
    loud = synthesizer.prompt(tone(1.0, level=0.1), "a low tone")
    quiet = synthesizer.prompt(tone(1.0, level=0.02), "a low tone")
    # 0.2 s of silence behind 1 s lower the level by the square root of 1.2.
    assert loud.gain == pytest.approx(0.1 / (0.1 / math.sqrt(2 * 1.2)), rel=1e-2)
    assert quiet.gain == pytest.approx(5 * loud.gain, rel=1e-2)
    np.testing.assert_allclose(loud.features[:70, 5:12], quiet.features[:70, 5:12], atol=0.02, rtol=0)


def test_any_rate_and_channel_count_of_a_recording_gives_the_same_voice(synthesizer):
    plain = synthesizer.prompt(tone(1.0), "a low tone", raw=True)
    other = synthesizer.prompt(tone(1.0, rate=44100, channels=2), "a low tone", raw=True)
    np.testing.assert_allclose(other.features[2:-2, :15], plain.features[2:-2, :15], atol=0.05, rtol=0)


def test_a_file_and_its_sound_give_the_same_voice(synthesizer, tmp_path):
    write(tmp_path / "voice.wav", tone(1.0))
    from_file = synthesizer.prompt(tmp_path / "voice.wav", "a low tone")
    from_sound = synthesizer.prompt(read(tmp_path / "voice.wav"), "a low tone")
    assert np.array_equal(from_file.features, from_sound.features)


def test_the_transcript_gets_punctuation_and_loses_pauses(synthesizer):
    tokens = {
        text: synthesizer.prompt(tone(1.0), text).tokens
        for text in ("a tone", "a tone.", "a tone.[pause 1s]", "a tone ")
    }
    assert set(tokens.values()) == {tuple("a tone.")}


# ---------------------------------------------------------------- warnings


@pytest.mark.parametrize(
    ("recording", "text", "complaint"),
    [
        (tone(12.0), "x" * 150, "lasts 12.0 s, which is too long"),
        (tone(25.0), "x" * 300, "lasts 25.0 s, which is far too long"),
        (tone(3.0, level=0.001), "x" * 45, "is quiet, -63 dBFS"),
        (Audio((2 * tone(3.0, level=1.0).samples).clip(-1, 1), RATE), "x" * 45, "is clipped: 66.8 %"),
        (tone(3.0), "x" * 120, "40.0 letters per second"),
        (tone(3.0), "hello", "1.7 letters per second"),
        (tone(3.0), "你好" * 20, "40.0 letters per second"),
    ],
)
def test_a_poor_recording_is_complained_about_with_numbers(recording, text, complaint):
    (message,) = recording_complaints(recording, text, 10.0)
    assert complaint in message


@pytest.mark.parametrize("text", ["x" * 45, "你好吗" * 5])
def test_a_good_recording_is_not(text):
    samples = tone(3.0).samples.copy()
    samples[0, 1000:1050] = 1.0  # less than a thousandth
    assert recording_complaints(Audio(samples, RATE), text, 10.0) == []


def clipped(share):
    """Three seconds of which a share is at full scale."""
    samples = tone(3.0).samples.copy()
    samples[0, : round(share * samples.shape[1])] = -1.0
    return Audio(samples, RATE)


@pytest.mark.parametrize(
    ("recording", "text", "complaint"),
    [
        (tone(10.0), "x" * 150, None),
        (tone(10.01), "x" * 150, "10.0 s, which is too long"),
        (tone(20.0), "x" * 300, "20.0 s, which is too long"),
        (tone(20.01), "x" * 300, "20.0 s, which is far too long"),
        (tone(3.0, level=0.0142), "x" * 45, None),  # a square root of two above 0.01
        (tone(3.0, level=0.0141), "x" * 45, "-40 dBFS"),
        (clipped(0.001), "x" * 45, None),
        (clipped(0.0015), "x" * 45, "is clipped: 0."),
        (tone(3.0), "x" * 15, None),
        (tone(3.0), "x" * 14, "4.7 letters"),
        (tone(3.0), "你" * 30, None),
        (tone(3.0), "x" * 91, "30.3 letters"),
        (tone(1.0), "x" * 15, None),
        (tone(0.9), "x" * 15, "lasts 0.9 s, which is too short"),
        (tone(3.0), "x " * 8, None),  # spaces count, signs do not
        (tone(3.0), "x" * 90 + "." * 20, None),
    ],
)
def test_complaints_begin_at_their_limits(recording, text, complaint):
    found = recording_complaints(recording, text, 10.0)
    assert len(found) == (complaint is not None) and all(complaint in message for message in found)


def test_complaints_are_logged_as_warnings_with_the_name(synthesizer, tmp_path, caplog):
    write(tmp_path / "me.wav", tone(3.0))
    with caplog.at_level(logging.WARNING):
        synthesizer.prompt(tmp_path / "me.wav", "a low tone")
    assert "me.wav and its transcript do not seem to belong together" in caplog.text
    caplog.clear()
    synthesizer.prompt(tmp_path / "me.wav", "a low tone", raw=True)
    synthesizer.prompt(tmp_path / "me.wav", "a low tone", check=False)
    assert not caplog.text


# ---------------------------------------------------------------- bad recordings


@pytest.mark.parametrize(
    ("audio", "text", "message"),
    [
        (Audio(np.zeros((1, RATE), np.float32), RATE), "silence", "is silent"),
        (Audio(np.zeros((1, 0), np.float32), RATE), "nothing", "no samples"),
        (Audio(np.full((1, RATE), math.nan, np.float32), RATE), "nan", "NaN"),
        (tone(0.01), "a", "it lasts 0.01 s"),
        (tone(0.099), "a", "it lasts 0.10 s; a voice needs at least 0.1 s, best 3 to 10"),
        (tone(0.2), "much too long a transcript for this recording", "fewer than the transcript's 46 tokens"),
        (tone(1.0), "", "transcript of the voice"),
        (tone(1.0), "   ", "transcript of the voice"),
        (tone(1.0), "привет", "transcript of the voice.*no token for 'п'"),
    ],
)
def test_a_useless_recording_is_refused_with_the_reason(synthesizer, audio, text, message):
    with pytest.raises(ValueError, match=message):
        synthesizer.prompt(audio, text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!doctype html><title>404</title>", r"voice\.wav.*web page"),
        (b"", r"voice\.wav is empty \(0 bytes\)"),
        (b"\0\0\0\x20ftypisom" + bytes(100), r"voice\.wav is not readable as audio.*convert others to wav"),
    ],
)
def test_a_file_that_is_no_recording_is_named(synthesizer, tmp_path, content, message):
    (tmp_path / "voice.wav").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        synthesizer.prompt(tmp_path / "voice.wav", "hello")


def test_a_missing_file_and_a_folder_are_named(synthesizer, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.wav"):
        synthesizer.prompt(tmp_path / "missing.wav", "hello")
    with pytest.raises(ValueError, match="is a folder"):
        synthesizer.prompt(tmp_path, "hello")


# ---------------------------------------------------------------- voice files


def test_the_same_voice_is_written_alike(synthesizer, tmp_path):
    voice = replace(synthesizer.prompt(tone(1.0), "a low tone"), text='a "low" \\ tone,\n\t\x01\x7f\u2028 ß 高 🎵')
    path, written = tmp_path / "voice.safetensors", set()
    for _ in range(12):
        voice.save(path)
        written.add(path.read_bytes())
    assert len(written) == 1 and (Prompt.load(path).text, Prompt.load(path).tokens) == (voice.text, voice.tokens)


def test_a_voice_is_heard_as_loud_as_it_was_recorded_and_not_beyond_full_scale(synthesizer):
    soft, loud = (heard(synthesizer.prompt(tone(1.0, level), "a low tone", raw=True)) for level in (0.2, 1.0))
    assert np.abs(soft.samples[:, 3000:-3000]).max() == pytest.approx(0.2, rel=0.05)
    assert 0.999 < np.abs(loud.samples).max() <= 1


def test_a_saved_voice_speaks_the_same_samples(synthesizer, tmp_path):
    prompt = synthesizer.prompt(tone(0.6, level=0.02), "a löw tone".replace("ö", "o"))
    prompt.save(tmp_path / "me.safetensors")
    loaded = Prompt.load(tmp_path / "me.safetensors")
    assert np.array_equal(loaded.features, prompt.features)
    assert replace(loaded, features=prompt.features).__dict__ == prompt.__dict__
    first, second = (synthesizer.synthesize("hello", voice, FAST) for voice in (prompt, loaded))
    assert np.array_equal(first.samples, second.samples)


def test_a_voice_of_another_tokenizer_is_tokenized_again(synthesizer):
    prompt = synthesizer.prompt(tone(0.6), "a low tone")
    foreign = replace(prompt, tokens=("ə", "l"), tokenizer=TokenizerConfig("espeak", "en-us"))
    assert synthesizer.voice(foreign).ids == synthesizer.voice(prompt).ids


def test_a_file_that_is_no_voice_is_named(synthesizer, tmp_path):
    path = tmp_path / "me.safetensors"
    with pytest.raises(FileNotFoundError, match="no such voice file"):
        Prompt.load(path)
    with pytest.raises(ValueError, match=r"has the suffix \.safetensors"):
        synthesizer.prompt(tone(0.6), "a low tone").save(tmp_path / "me.pt")
    path.write_bytes(b"<html>")
    with pytest.raises(ValueError, match="damaged or no voice file"):
        Prompt.load(path)
    save_file({"features": np.zeros((3, 100), np.float32)}, path)
    with pytest.raises(ValueError, match="is no voice file; `zipvoice voice save` makes one"):
        Prompt.load(path)
    save_file(
        {"features": np.zeros((3, 100), np.float32)}, path, {"format": "zipvoice-voice-1", "voice": '{"text": "hi"}'}
    )
    with pytest.raises(ValueError, match="the key 'tokens' is missing"):
        Prompt.load(path)


@pytest.mark.parametrize(
    ("features", "gain"),
    [
        (np.zeros(100, np.float32), 1.0),
        (np.zeros((3, 100)), 1.0),
        (np.full((3, 100), math.nan, np.float32), 1.0),
        (np.float32([[0.0] * 99 + [math.inf]]), 1.0),
        (np.zeros((3, 100), np.float32), 0.0),
        (np.zeros((3, 100), np.float32), math.nan),
        (np.zeros((3, 100), np.float32), math.inf),
        (np.zeros((0, 100), np.float32), 1.0),
        (np.zeros((3, 50), np.float32), 1.0),
    ],
)
def test_a_voice_file_with_impossible_values_is_named(synthesizer, tmp_path, features, gain):
    path = tmp_path / "me.safetensors"
    replace(synthesizer.prompt(tone(0.6), "a low tone"), features=features, gain=gain).save(path)
    with pytest.raises(ValueError, match=r"me\.safetensors is a damaged voice file \((its features are not|.*gain)"):
        Prompt.load(path)


def test_a_voice_file_without_tokens_or_of_another_version_is_named(synthesizer, tmp_path):
    path = tmp_path / "me.safetensors"
    replace(synthesizer.prompt(tone(0.6), "a low tone"), tokens=()).save(path)
    with pytest.raises(ValueError, match=r"me\.safetensors is a damaged voice file \(.*no tokens"):
        Prompt.load(path)
    save_file({"features": np.zeros((3, 100), np.float32)}, path, {"format": "zipvoice-voice-2"})
    with pytest.raises(ValueError, match=r"another version \(zipvoice-voice-2, not"):
        Prompt.load(path)


@pytest.mark.parametrize("size", [8, 1000, -10])
def test_a_truncated_voice_file_is_named(synthesizer, tmp_path, size):
    path = tmp_path / "me.safetensors"
    synthesizer.prompt(tone(0.6), "a low tone").save(path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"me\.safetensors is damaged"):
        Prompt.load(path)
