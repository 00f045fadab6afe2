# SPDX-License-Identifier: Apache-2.0
"""Recordings that clients send, decoded where nothing of theirs can do harm: in a process of its own with limits.

What a file is, its first bytes say; its name and its declared type and length are not believed. The process has a
limited time, memory and length of sound, opens no other file, and its end is not the server's.
"""

import asyncio
import base64
import binascii
import json
import re
import sys
from contextlib import suppress

import numpy as np

from zipvoice.audio.files import Audio
from zipvoice.server import decoding
from zipvoice.server.errors import ApiError, busy, invalid

DEMUXERS = {
    "wav": re.compile(rb"RIFF....WAVE", re.DOTALL),
    "flac": re.compile(rb"fLaC"),
    "ogg": re.compile(rb"OggS"),
    "matroska": re.compile(rb"\x1aE\xdf\xa3"),
    "mov": re.compile(rb"....ftyp", re.DOTALL),
    "aac": re.compile(rb"\xff[\xf0\xf1\xf8\xf9]"),
    "mp3": re.compile(rb"ID3|\xff[\xe2-\xf7\xfa-\xff]"),
}
"""FFmpeg's demuxers of the formats that are taken, and how such files begin; none of them opens another file."""
MEDIA_TYPES = {"mp3": "audio/mpeg", "matroska": "audio/webm", "mov": "audio/mp4"}
"""Where they are not audio/NAME."""
AT_A_TIME = 2
"""Recordings that are decoded together."""
MOST_WAITING = 32
"""And recordings that wait for it, or are decoded: more would come to their turn when nobody waits for it any more."""
NAMES = "wav, mp3, flac, ogg (Opus or Vorbis), aac, webm and mp4"

_DATA_URL = re.compile(r"data:(?:[\w.+-]+/[\w.+-]+)?(?:;[\w.+-]+=[^;,]*)*;base64,", re.ASCII | re.IGNORECASE)


def demuxer_of(data: bytes) -> str:
    """What a file is. Raises ApiError for anything that is no recording of a known format."""
    for name, beginning in DEMUXERS.items():
        if beginning.match(data):
            return name
    raise invalid(f"the recording is of no format that is taken: {NAMES}", code="unsupported_audio")


def media_type(data: bytes) -> str:
    """The content type that the content has."""
    name = demuxer_of(data)
    return MEDIA_TYPES.get(name, f"audio/{name}")


def of_data_url(url: str, max_bytes: int, param: str = "ref_audio") -> bytes:
    """The content of a data URL. Raises ApiError for any other address: nothing is fetched, no file is opened."""
    head = _DATA_URL.match(url)
    if head is None:
        raise invalid(
            f"{param} must be a data URL, data:audio/wav;base64,…; this server fetches nothing and opens no files for "
            "clients",
            param,
        )
    if (len(url) - head.end()) * 3 // 4 - url[-2:].count("=") > max_bytes:
        raise ApiError(413, f"{param} is larger than {max_bytes} bytes", "too_large", param)
    try:
        return base64.b64decode(url[head.end() :], validate=True)
    except binascii.Error as error:
        raise invalid(f"{param} is not valid base64: {error}", param) from None


class Decoders:
    """Decode a few recordings at a time, and let a few more wait."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_A_TIME)
        self._num = 0

    async def decode(self, data: bytes, max_seconds: float) -> Audio:
        """The sound of a recording. Raises ApiError as `decode`, or where too many wait already."""
        if self._num >= MOST_WAITING:
            seconds = self._num / AT_A_TIME  # one takes a second at most, by far the most of it to start a process
            raise busy("many recordings wait to be decoded; try again later", seconds, "busy")
        self._num += 1
        try:
            async with self._turns:
                return await decode(data, max_seconds)
        finally:
            self._num -= 1


async def decode(data: bytes, max_seconds: float) -> Audio:
    """The sound of a recording. Raises ApiError for what is broken, too long or takes too long."""
    demuxer = demuxer_of(data)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", decoding.__name__, demuxer, str(max_seconds)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(data), decoding.LONGEST_SECONDS)
    except asyncio.TimeoutError:
        raise invalid("the recording takes too long to decode; send it as wav", code="unsupported_audio") from None
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    head, newline, samples = output.partition(b"\n")
    if process.returncode != 0 or not newline:
        raise invalid("the recording is damaged: its decoder gave up", code="unsupported_audio")
    said = json.loads(head)
    if "error" in said:
        raise invalid(f"the recording {said['error']}", code="unsupported_audio")
    return Audio(np.frombuffer(samples, np.float32).reshape(said["channels"], -1).copy(), said["rate"])
