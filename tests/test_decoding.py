# SPDX-License-Identifier: Apache-2.0
"""Recordings that are sent to a server: their samples as they are, or what is wrong with them."""

import asyncio
import io

import numpy as np
import pytest
import soundfile

pytest.importorskip("av")
pytest.importorskip("fastapi")
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
