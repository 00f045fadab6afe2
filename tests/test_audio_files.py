# SPDX-License-Identifier: Apache-2.0
import io
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zipvoice.audio import files
from zipvoice.audio.files import ENCODINGS, Audio, decode, encode, pcm16, read, resample, write
from zipvoice.synthesis.output import _Written, write_parts

RECORDING = Path(__file__).parent / "data/audio/recording.ogg"
LOSSLESS = (".wav", ".flac")


def tone(rate, seconds=0.5, hertz=440.0, channels=1):
    time = np.arange(round(rate * seconds)) / rate
    waves = [0.5 * np.sin(2 * math.pi * hertz * (1 + channel) * time) for channel in range(channels)]
    return Audio(np.float32(waves), rate)


def sixteen_bit(channels, rate=24000):
    """Every value of a 16-bit file, in a different order on each channel."""
    values = np.arange(-32768, 32768, dtype=np.float32) / 32768
    return Audio(np.stack([np.roll(values, 1000 * channel) for channel in range(channels)]), rate)


def test_samples_with_their_channels_last_are_told_and_rates_of_numpy_taken():
    with pytest.raises(ValueError, match=r"\(channels, N\), and these would be 2400 channels; transpose them"):
        Audio(np.zeros((2400, 1), np.float32), 24000)
    audio = Audio(np.zeros((1024, 1), np.float32), np.int64(24000))
    assert type(audio.sampling_rate) is int and audio.sampling_rate == 24000
    with pytest.raises(ValueError, match="positive whole number of hertz, got "):
        Audio(np.zeros((1, 1), np.float32), 24000.0)


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("suffix", LOSSLESS)
def test_sixteen_bits_survive_exactly(tmp_path, suffix, channels):
    audio = sixteen_bit(channels, 22050)
    write(tmp_path / f"a{suffix}", audio)
    again = read(tmp_path / f"a{suffix}")
    assert np.array_equal(again.samples, audio.samples) and again.sampling_rate == 22050


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("suffix", ENCODINGS)
def test_a_tone_survives_every_format(tmp_path, suffix, channels):
    audio = tone(24000, channels=channels)
    write(tmp_path / "folder" / f"a{suffix.upper()}", audio)
    again = read(tmp_path / "folder" / f"a{suffix.upper()}")
    assert again.samples.shape == audio.samples.shape and again.sampling_rate == 24000
    error = (again.samples - audio.samples)[:, 2400:-2400]
    assert error.std() < (2e-5 if suffix in LOSSLESS else 0.06)  # of 0.35


def test_samples_beyond_full_scale_are_clipped():
    audio = Audio(np.float32([[1.5, 1.0, 0.5, -1.0, -1.5]]), 24000)
    assert pcm16(audio).T.tolist() == [[32767, 32767, 16384, -32768, -32768]]
    assert decode(encode(audio, ".wav")).samples[0].tolist() == [32767 / 32768, 32767 / 32768, 0.5, -1, -1]
    loud = Audio(4 * tone(24000).samples, 24000)
    for suffix in (".ogg", ".opus", ".mp3"):
        heard = [decode(encode(one, suffix)).samples for one in (loud, Audio(loud.samples.clip(-1, 1), 24000))]
        np.testing.assert_array_equal(*heard)


def test_samples_between_two_steps_of_16_bits_are_rounded_halves_to_even():
    steps = [0.49, 0.5, 0.51, 1.49, 1.5, 2.5, -0.49, -0.5, -0.51, -1.5, -2.5]
    audio = Audio(np.float32([steps]) / 32768, 24000)
    assert pcm16(audio)[:, 0].tolist() == [0, 0, 1, 1, 2, 2, 0, 0, -1, -2, -2]


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_other_wav_encodings_are_read(tmp_path, subtype):
    wave = np.arange(-63, 64)[:, None] / 64 * np.array([1, -1, 1.0])
    soundfile.write(tmp_path / "a.wav", wave, 44100, subtype=subtype)
    audio = read(str(tmp_path / "a.wav"))
    assert audio.sampling_rate == 44100
    np.testing.assert_array_equal(audio.samples, wave.T.astype(np.float32))


def test_a_file_and_its_content_are_read_alike():
    audio = read(RECORDING)
    assert audio.num_channels == 1 and audio.sampling_rate == 24000 and 1.0 < audio.seconds < 1.3
    assert np.array_equal(decode(RECORDING.read_bytes()).samples, audio.samples)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"Transcript of the first recording\n" * 50, "known formats"),
        (b"\0\0\0\x18ftypmp42" + bytes(2000), "convert"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "damaged"),
        (RECORDING.read_bytes()[:1000], "a.wav"),
        (encode(sixteen_bit(1), ".wav")[:44], "no samples"),
    ],
)
def test_what_is_not_a_recording_is_refused_with_advice(tmp_path, content, message):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read(tmp_path / "a.wav")
    assert str(tmp_path / "a.wav") in str(error.value)


@settings(max_examples=50)
@given(st.binary(min_size=1, max_size=200), st.sampled_from([b"", b"RIFF", b"OggS", b"fLaC", b"ID3"]))
def test_random_bytes_raise_nothing_but_value_errors(content, start):
    with pytest.raises(ValueError):
        decode(start + content)


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read(tmp_path / "nowhere.wav")
    with pytest.raises(ValueError, match="is a folder"):
        read(tmp_path)
    with pytest.raises(ValueError, match="/dev/null is a device, whose sound may never end; give an audio file"):
        read("/dev/null")


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_samples_that_are_no_numbers_are_refused(tmp_path, bad):
    wave = np.zeros((2000, 2))
    wave[1000, 1] = bad
    soundfile.write(tmp_path / "a.wav", wave, 1000, subtype="FLOAT")
    with pytest.raises(ValueError, match=r"a\.wav holds NaN or infinite samples, first at 1\.000 s"):
        read(tmp_path / "a.wav")
    with pytest.raises(ValueError, match="NaN or infinity"):
        write(tmp_path / "b.wav", Audio(wave.T.astype(np.float32), 1000))
    assert not (tmp_path / "b.wav").exists()


def test_an_unknown_suffix_is_refused(tmp_path):
    for name in ("a.wave", "a"):
        with pytest.raises(ValueError, match=rf"{name}: .*known: \.wav, \.flac, \.ogg, \.opus, \.mp3"):
            write(tmp_path / name, tone(24000))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("suffix", "audio", "message"),
    [
        (".mp3", tone(24000, channels=3), "3 channels"),
        (".opus", tone(44100), "44100 Hz.*resample"),
        (".wav", Audio(np.zeros((1, 0), np.float32), 24000), "no samples"),
    ],
)
def test_a_refused_write_leaves_the_old_file(tmp_path, suffix, audio, message):
    path = tmp_path / f"a{suffix}"
    write(path, tone(24000))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        write(path, audio)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_more_channels_than_a_codec_has_never_reach_it(tmp_path, monkeypatch):
    monkeypatch.setitem(files.MOST_CHANNELS, "VORBIS", 2)
    with pytest.raises(ValueError, match=r"a\.ogg: \.ogg holds at most 2 channels, not 3; is it \(channels, N\)\?"):
        write(tmp_path / "a.ogg", Audio(np.zeros((3, 100), np.float32), 24000))
    write(tmp_path / "a.ogg", Audio(np.zeros((2, 100), np.float32), 24000))


def test_a_file_that_takes_a_part_at_a_time_gets_all(tmp_path):
    class Slow(io.FileIO):
        def write(self, data):
            return super().write(bytes(data)[:7])

    class SlowlyWritten(_Written, Slow):
        pass

    with SlowlyWritten(tmp_path / "a") as file:
        assert file.write(bytes(range(100))) == 100
    assert (tmp_path / "a").read_bytes() == bytes(range(100))


@pytest.mark.parametrize("writer", [write, lambda path, audio: audio.save(path), lambda *a: write_parts(a[0], [a[1]])])
def test_a_recording_is_replaced_by_a_new_file(tmp_path, writer):
    path = tmp_path / "a.wav"
    writer(path, tone(24000))
    older = path.read_bytes()
    with path.open("rb") as reader:
        writer(path, tone(24000, hertz=300))
        assert reader.read() == older != path.read_bytes()


def test_a_write_that_breaks_off_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    write(path, tone(24000))
    before = path.read_bytes()

    def full_disk(path, data):
        with path.open("wb") as file:
            file.write(data[:100])
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="no space left"):
        write(path, tone(24000, hertz=300))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (np.zeros(10, np.float32), 24000, r"\(channels, N\).*\(10,\)"),
        (np.zeros((0, 10), np.float32), 24000, r"\(0, 10\)"),
        (torch.zeros(1, 10), 24000, "NumPy array.*a Tensor"),
        ([0.0], 24000, "list"),
        (np.zeros((1, 10)), 24000, "float32"),
        (np.zeros((1, 10), np.float32), 0, "sampling rate"),
        (np.zeros((1, 10), np.float32), 24000.0, "sampling rate"),
    ],
)
def test_malformed_audio_is_refused(samples, rate, message):
    with pytest.raises(ValueError, match=message):
        Audio(samples, rate)


def test_a_sound_is_equal_to_itself_alone():
    first, second = tone(8000), tone(8000)
    assert first == first and first != second and len({first, second, first}) == 2


def test_mono_is_the_average():
    audio = Audio(np.float32([[1.0, 2.0], [3.0, 4.0], [5.0, 9.0]]), 24000).mono()
    assert audio.samples.tolist() == [[3.0, 5.0]]


@pytest.mark.parametrize(("second", "mono"), [(-0.79, 0.105), (-0.83, 1.0), (-0.99, 1.0)])
def test_channels_that_cancel_each_other_to_a_tenth_are_one_sound(second, mono):
    """The louder one; their average is at 0.105 or 0.085 of its level."""
    audio = Audio(np.float32([[second, second], [1.0, 1.0]]), 24000).mono()
    np.testing.assert_allclose(audio.samples, [[mono, mono]], rtol=1e-6)


@pytest.mark.parametrize("rates", [(16000, 24000), (44100, 24000), (24000, 16000), (8000, 24000)])
def test_a_resampled_tone_is_the_tone_at_the_new_rate(rates):
    expected = tone(rates[1], channels=2).samples
    found = resample(tone(rates[0], channels=2), rates[1]).samples
    edge = rates[1] // 20
    np.testing.assert_allclose(found[:, edge:-edge], expected[:, edge:-edge], atol=2e-5, rtol=0)


@pytest.mark.parametrize("rates", [(48000, 24000), (44100, 24000), (24000, 16000), (44100, 16000)])
def test_a_tone_above_the_new_nyquist_frequency_is_down_by_80_db_and_one_below_stays(rates):
    source, target = rates

    def level(hertz):
        inner = resample(tone(source, hertz=hertz), target).samples[0, target // 20 : -target // 20]
        return 20 * math.log10(float(np.sqrt(np.square(inner).mean())) / (0.5 * math.sqrt(0.5)))

    assert level(1.01 * target / 2) < -80 and level(1.2 * target / 2) < -80
    assert level(0.9 * target / 2) == pytest.approx(0, abs=0.01)


@settings(max_examples=50)
@given(
    st.integers(1, 5000),
    st.integers(1, 3),
    st.sampled_from([8000, 11025, 16000, 22050, 24000, 44100, 48000]),
    st.sampled_from([16000, 24000, 44100]),
)
@example(1, 2, 8000, 16000)
def test_resampling_keeps_the_duration_and_treats_channels_alike(num_samples, channels, source, target):
    samples = np.random.default_rng(num_samples).standard_normal((channels, num_samples), np.float32)
    audio = resample(Audio(samples, source), target)
    assert audio.sampling_rate == target and audio.num_channels == channels
    assert abs(audio.num_samples - num_samples * target / source) <= 0.5
    for channel in range(channels):
        alone = resample(Audio(samples[channel : channel + 1], source), target)
        assert np.array_equal(audio.samples[channel], alone.samples[0])


def test_resampling_to_the_same_rate_changes_nothing():
    audio = tone(24000)
    assert resample(audio, 24000) is audio


def test_long_recordings_do_not_crash_the_vorbis_encoder():
    audio = tone(8000, seconds=320)
    encoded = encode(audio, ".ogg")
    assert soundfile.info(io.BytesIO(encoded)).subtype == "VORBIS"
    assert decode(encoded).num_samples == audio.num_samples
