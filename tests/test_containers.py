# SPDX-License-Identifier: Apache-2.0
"""Sound as the bytes of a file that grows."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from tiny_models import tone

from zipvoice.audio.files import Audio, decode
from zipvoice.server.containers import FORMATS, container, media_type, whole_file

LATENCY = {"mp3": 0.15, "opus": 0.2, "aac": 0.15, "flac": 0.35, "wav": 0.0}
"""Seconds of sound that an encoder and its container hold back."""


def seconds(data: bytes) -> Fraction:
    """How much sound FFmpeg finds."""
    with av.open(io.BytesIO(data)) as file:
        return sum(Fraction(frame.samples, frame.sample_rate) for frame in file.decode(audio=0))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("name", [name for name in FORMATS if name != "pcm"])
def test_a_file_is_valid_at_every_moment(name, channels):
    sound = tone(2.0, channels=channels)
    file, data = container(name, 24000, channels), b""
    for start in range(0, 48000, 7001):
        part = np.ascontiguousarray(sound.samples[:, start : start + 7001])
        data += file.add(Audio(part, 24000))
        added = Fraction(start + part.shape[1], 24000)
        assert added < 0.4 or added - Fraction(LATENCY[name]) <= seconds(data)
    end = seconds(data + file.end())
    assert 2 <= end <= 2 + (Fraction(2 * 1152, 24000) if name in ("mp3", "aac") else 0)


@pytest.mark.parametrize("name", FORMATS)
def test_parts_without_samples_leave_no_trace(name):
    sound, nothing = tone(0.3), Audio(np.zeros((1, 0), np.float32), 24000)
    files = []
    for parts in ([sound, sound], [nothing, sound, nothing, nothing, sound, nothing]):
        file = container(name, 24000, 1)
        files.append(b"".join([*(file.add(part) for part in parts), file.end()]))
    if name == "opus":  # streams of Ogg have numbers of their own
        files = [np.concatenate(_decoded(data)) for data in files]
    assert np.array_equal(*(np.frombuffer(file, np.uint8) if isinstance(file, bytes) else file for file in files))


def _decoded(data: bytes) -> list[np.ndarray]:
    with av.open(io.BytesIO(data)) as file:
        return [frame.to_ndarray()[0] for frame in file.decode(audio=0)]


def test_pcm_is_the_samples_of_wav():
    sound = tone(0.3)
    assert whole_file("pcm", sound) == whole_file("wav", sound)[44:]


@pytest.mark.parametrize("name", ["wav", "flac"])
def test_a_whole_file_tells_its_length(name):
    sound = tone(0.3, channels=2)
    found = decode(whole_file(name, sound))
    np.testing.assert_allclose(found.samples, sound.samples, atol=1e-4)
    with av.open(io.BytesIO(whole_file(name, sound))) as file:
        assert file.duration == 300_000


def test_the_header_of_a_whole_wav_counts_what_follows_it():
    """RIFF, and its bytes behind this number; data, and its bytes."""
    data = whole_file("wav", tone(0.3))
    assert data[:4] + data[36:40] == b"RIFFdata"
    assert int.from_bytes(data[4:8], "little") == len(data) - 8
    assert int.from_bytes(data[40:44], "little") == len(data) - 44


@pytest.mark.parametrize(("name", "bits"), [("mp3", 96_000), ("aac", 96_000), ("opus", 48_000)])
def test_each_channel_has_its_bits(name, bits):
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, 48000), np.float32)
    for channels in (1, 2):
        assert container(name, 24000, channels)._stream.bit_rate == bits * channels
        data = whole_file(name, Audio(noise[:channels], 24000))
        assert 8 * len(data) / 2 == pytest.approx(bits * channels, rel=0.3)


def test_sound_beyond_full_scale_is_clipped():
    loud = Audio(np.full((1, 2400), 3, np.float32), 24000)
    assert set(whole_file("pcm", loud)) == {0xFF, 0x7F}


def test_a_format_has_a_media_type():
    types = {"mp3": "audio/mpeg", "opus": "audio/opus", "aac": "audio/aac", "flac": "audio/flac", "wav": "audio/wav"}
    assert {name: media_type(name) for name in FORMATS} == {**types, "pcm": "audio/pcm"}


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("name", [name for name in FORMATS if name != "pcm"])
def test_a_file_has_the_rate_and_the_channels_of_its_sound(name, channels):
    rate = 24000 if name == "opus" else 16000
    with av.open(io.BytesIO(whole_file(name, tone(0.5, rate=rate, channels=channels)))) as file:
        (stream,) = file.streams
        assert (stream.codec_context.layout.nb_channels, stream.rate) == (channels, 48000 if name == "opus" else rate)


def test_streams_have_no_head_that_would_be_written_at_the_end():
    assert not any(mark in whole_file("mp3", tone(0.5))[:600] for mark in (b"Xing", b"Info", b"ID3"))


def test_opus_comes_in_pages_of_a_tenth_of_a_second():
    pages = whole_file("opus", tone(2.0)).count(b"OggS")
    assert 20 <= pages <= 24  # two of them are heads


def test_a_header_comes_with_the_first_samples_or_alone():
    file = container("wav", 24000, 1)
    assert file.end()[:4] == b"RIFF"
    first, second = file.add(tone(0.1)), file.add(tone(0.1))
    assert first[:4] == b"RIFF" and len(first) == 44 + len(second) and file.end() == b""
    assert container("pcm", 24000, 1).end() == b""


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_is_closed_more_than_once_and_before_its_end(name):
    for last in (None, "end"):
        file = container(name, 24000, 1)
        file.add(tone(0.1))
        if last:
            file.end()
        file.close()
        assert getattr(file, "_file", None) is None  # nor a thread of its codec


def test_a_whole_file_is_closed(monkeypatch):
    file = container("pcm", 24000, 1)
    closed = []
    monkeypatch.setattr(file, "close", lambda: closed.append("closed"))
    monkeypatch.setattr("zipvoice.server.containers.container", lambda *about: file)
    assert whole_file("pcm", tone(0.1)) and closed == ["closed"]
