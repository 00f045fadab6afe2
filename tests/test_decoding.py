# SPDX-License-Identifier: Apache-2.0
"""Recordings that are sent to a server: their samples as they are, or what is wrong with them."""

import asyncio
import io
import json
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

pytest.importorskip("av")
pytest.importorskip("fastapi")
import av

from zipvoice.audio.files import Audio
from zipvoice.server import decoding, recordings
from zipvoice.server.decoding import decoded
from zipvoice.server.errors import ApiError
from zipvoice.server.recordings import decode

RATE = 16000
SOUND = 0.1 * np.random.default_rng(0).standard_normal((2, 3 * RATE), dtype=np.float32)  # 3 s


def file_of(samples, kind="WAV", subtype="FLOAT") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples.T, RATE, format=kind, subtype=subtype)
    return file.getvalue()


def test_samples_are_those_of_the_file():
    audio = decoded(file_of(SOUND), "wav", 3.0)
    assert audio.sampling_rate == RATE
    np.testing.assert_array_equal(audio.samples, SOUND)
    assert audio.samples.dtype == np.float32


def test_another_process_gives_the_same():
    audio = asyncio.run(decode(file_of(SOUND), 3.0))
    assert audio.sampling_rate == RATE
    np.testing.assert_array_equal(audio.samples, SOUND)
    with pytest.raises(ApiError, match=r"the recording lasts longer than 2\.9 s") as refused:
        asyncio.run(decode(file_of(SOUND), 2.9))
    assert (refused.value.status_code, refused.value.code) == (400, "unsupported_audio")


def without_a_number():
    samples = SOUND.copy()
    samples[1, 7] = np.nan
    return samples


@pytest.mark.parametrize(
    ("content", "demuxer", "message"),
    [
        (file_of(SOUND), "wav", r"^lasts longer than 2\.999 s; send a part"),
        (b"no sound at all, " * 20, "wav", "^is damaged: "),
        (file_of(SOUND, "FLAC", "PCM_16")[:4000], "flac", "^is damaged: "),
        (file_of(SOUND[:, :0]), "wav", "^holds no samples"),
        (file_of(without_a_number())[: 4 * RATE], "wav", "^holds NaN"),
    ],
    ids=["long", "no sound", "cut off", "empty", "not a number"],  # the files have the time in them
)
def test_what_is_wrong_is_told(content, demuxer, message):
    with pytest.raises(ValueError, match=message):
        decoded(content, demuxer, 2.999)


def test_how_far_a_damaged_recording_reaches_is_told():
    """Half of a FLAC file: frames of 4096 samples, the last of which is broken."""
    content = file_of(SOUND, "FLAC", "PCM_16")
    with pytest.raises(ValueError, match=r"^is damaged after \d\.\d\d s: ") as error:
        decoded(content[: len(content) // 2], "flac", 3.0)
    frames = float(str(error.value).split()[3]) * RATE / 4096
    assert 4 <= frames <= 6 and frames == pytest.approx(round(frames), abs=0.02)


class Frame:
    """So many samples of a recording, as FFmpeg gives them; `samples` counts those of a channel."""

    def __init__(self, samples, channels=1, rate=RATE):
        self.samples, self.sample_rate, self.channels = samples, rate, channels

    def to_ndarray(self):
        return np.full((self.channels, self.samples), 0.5, np.float32)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([Frame(RATE), Frame(RATE)], None),
        ([Frame(RATE), Frame(RATE + 1)], "^lasts longer than 2 s; send a part of it, best 3 to 10 s"),
        ([Frame(RATE), Frame(1, rate=8000)], "^changes its sampling rate; send it as wav"),
        ([Frame(RATE, 2), Frame(1, 1)], "^changes its number of channels; send it as wav"),
        ([], "^holds no samples"),
        (None, "^holds no sound"),
    ],
)
def test_a_recording_is_of_one_kind_throughout(monkeypatch, frames, message):
    streams = SimpleNamespace(audio=[] if frames is None else [SimpleNamespace(rate=RATE)])
    file = SimpleNamespace(streams=streams, decode=lambda audio: iter(frames))
    monkeypatch.setattr(av, "open", lambda *_, **known: nullcontext(file))
    monkeypatch.setattr(av, "AudioResampler", lambda format: SimpleNamespace(resample=lambda frame: [frame]))
    if message is None:
        sound = decoded(b"", "wav", 2.0)
        assert (sound.samples.shape, sound.samples.dtype, sound.sampling_rate) == ((1, 2 * RATE), np.float32, RATE)
    else:
        with pytest.raises(ValueError, match=message):
            decoded(b"", "wav", 2.0)


def test_the_process_may_use_little_and_write_nothing(monkeypatch):
    resource, limits = pytest.importorskip("resource"), {}
    monkeypatch.setattr(resource, "setrlimit", limits.__setitem__)
    decoding._limit()
    assert limits == {
        resource.RLIMIT_CPU: (10, 10),
        resource.RLIMIT_AS: (2 << 30, 2 << 30),
        resource.RLIMIT_FSIZE: (0, 0),
        resource.RLIMIT_CORE: (0, 0),
    }


@pytest.mark.parametrize("error", [None, ValueError("is damaged")])
def test_the_process_says_what_it_found_in_a_line_and_gives_the_samples(monkeypatch, error):
    done, out = [], io.TextIOWrapper(io.BytesIO(), write_through=False)

    def found(*given):
        done.append(given)
        if error:
            raise error
        return Audio(SOUND[:, :5], RATE)

    monkeypatch.setattr(decoding, "decoded", found)
    monkeypatch.setattr(decoding, "_limit", lambda: done.append("limited"))
    monkeypatch.setattr(decoding.sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"file")))
    monkeypatch.setattr(decoding.sys, "stdout", out)
    decoding.main("wav", 3.0)
    out.flush()
    line, _, samples = out.buffer.getvalue().partition(b"\n")
    assert done == ["limited", (b"file", "wav", 3.0)]
    assert json.loads(line) == ({"error": "is damaged"} if error else {"channels": 2, "rate": RATE})
    assert samples == (b"" if error else SOUND[:, :5].tobytes())


GOOD = b'{"channels": 2, "rate": 16000}\n' + SOUND[:, :5].tobytes()


@pytest.mark.parametrize(
    ("output", "code", "message"),
    [
        (GOOD, 0, None),
        (GOOD, 1, "the recording is damaged: its decoder gave up"),
        (b"", 0, "the recording is damaged: its decoder gave up"),
        (b'{"error": "holds no sound"}\n', 0, "the recording holds no sound"),
        (None, -9, "the recording takes too long to decode; send it as wav"),
    ],
)
def test_a_process_is_ended_whatever_it_did(monkeypatch, output, code, message):
    done = []

    class Process:
        returncode = code

        async def communicate(self, data):
            done.append(data)
            if output is None:
                await asyncio.sleep(60)
            return output, None

        def kill(self):
            done.append("killed")
            raise ProcessLookupError

        async def wait(self):
            done.append("waited")

    async def begin(*command, **pipes):
        done.append(command[1:])
        return Process()

    monkeypatch.setattr(recordings.asyncio, "create_subprocess_exec", begin)
    if output is None:
        monkeypatch.setattr(decoding, "LONGEST_SECONDS", 0.01)
    if message is None:
        sound = asyncio.run(decode(b"fLaC", 3.0))
        np.testing.assert_array_equal(sound.samples, SOUND[:, :5])
        assert sound.sampling_rate == RATE and sound.samples.flags.writeable
    else:
        with pytest.raises(ApiError, match=message) as refused:
            asyncio.run(decode(b"fLaC", 3.0))
        assert (refused.value.status_code, refused.value.code) == (400, "unsupported_audio")
    assert done == [("-m", "zipvoice.server.decoding", "flac", "3.0"), b"fLaC", "killed", "waited"]
