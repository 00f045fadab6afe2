# SPDX-License-Identifier: Apache-2.0
"""Sound as bytes while it is made: each format's header with the first samples, and its last samples with its end.

What was given out is a valid file of its format at every moment, as far as it goes, so a client that stops listening
has lost nothing but the rest. Waves are (channels, N).
"""

import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, Protocol, get_args

from zipvoice.audio.files import Audio, pcm16
from zipvoice.synthesis.output import wav_header

Format = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]
FORMATS: tuple[Format, ...] = get_args(Format)

WAV_HEADER_BYTES = 44
FLAC_LENGTH_AT = 18
"""Behind the mark, a block's header and the sizes of blocks and frames."""


class Container(Protocol):
    """Makes one file of one sound."""

    def add(self, part: Audio) -> bytes:
        """What can be sent of the sound so far."""
        ...

    def end(self) -> bytes:
        """The rest: what the codec still held, and the end of the file."""
        ...

    def close(self) -> None:
        """Let go what the codec holds, at the end or before it."""
        ...


def media_type(name: Format) -> str:
    """The content type of a format's bytes."""
    return "audio/mpeg" if name == "mp3" else f"audio/{name}"


def container(name: Format, sampling_rate: int, num_channels: int) -> Container:
    """Begin a file.

    Example:
        >>> file = container("opus", 24000, 1)
        >>> data = b"".join([*(file.add(part) for part in parts), file.end()])
    """
    if name in ("wav", "pcm"):
        return PlainContainer(wav_header(sampling_rate, num_channels) if name == "wav" else b"")
    return CodedContainer(_CODED[name], sampling_rate, num_channels)


def whole_file(name: Format, audio: Audio) -> bytes:
    """The file of a sound that is there as a whole; unlike those of streams, wav and flac tell its length."""
    file = container(name, audio.sampling_rate, audio.num_channels)
    data = bytearray(file.add(audio) + file.end())
    file.close()
    if name == "wav":
        data[4:8] = struct.pack("<I", len(data) - 8)
        data[WAV_HEADER_BYTES - 4 : WAV_HEADER_BYTES] = struct.pack("<I", len(data) - WAV_HEADER_BYTES)
    if name == "flac":
        (word,) = struct.unpack_from(">Q", data, FLAC_LENGTH_AT)  # rate, channels, bits; 36 bits for the length
        struct.pack_into(">Q", data, FLAC_LENGTH_AT, word | audio.num_samples)
    return bytes(data)


@dataclass
class PlainContainer:
    """16-bit samples, behind a header or bare."""

    header: bytes

    def add(self, part: Audio) -> bytes:
        data, self.header = self.header + pcm16(part).astype("<i2").tobytes(), b""
        return data

    def end(self) -> bytes:
        return self.header

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class Coding:
    """How PyAV makes a format."""

    muxer: str
    codec: str
    bit_rate: int | None
    """Of each channel."""
    muxer_options: dict[str, str]


_CODED: dict[str, Coding] = {
    # Without the header that tells a length: it would have to be written when the end is known.
    "mp3": Coding("mp3", "libmp3lame", 96_000, {"write_xing": "0", "id3v2_version": "0"}),
    "opus": Coding("ogg", "libopus", 48_000, {"page_duration": "100000"}),  # microseconds
    "aac": Coding("adts", "aac", 96_000, {}),
    "flac": Coding("flac", "flac", None, {}),
}


class CodedContainer:
    """A file by FFmpeg's codecs and muxers."""

    def __init__(self, coding: Coding, sampling_rate: int, num_channels: int) -> None:
        import av

        self._sink = _Sink()
        self._file: Any = av.open(
            self._sink, "w", format=coding.muxer, options={"flush_packets": "1", **coding.muxer_options}
        )
        layout = "mono" if num_channels == 1 else "stereo"
        stream: Any = self._file.add_stream(coding.codec, rate=sampling_rate, layout=layout)
        if coding.bit_rate:
            stream.bit_rate = coding.bit_rate * num_channels
        self._stream = stream
        self._frame: Callable[..., Any] = av.AudioFrame.from_ndarray
        self._lock = threading.Lock()
        self._layout, self._time, self._count = layout, Fraction(1, sampling_rate), 0

    def add(self, part: Audio) -> bytes:
        if not part.num_samples:  # FFmpeg refuses such a frame for want of memory
            return b""
        with self._lock:
            frame = self._frame(pcm16(part).reshape(1, -1), format="s16", layout=self._layout)
            frame.sample_rate, frame.time_base, frame.pts = part.sampling_rate, self._time, self._count
            self._count += part.num_samples
            self._file.mux(self._stream.encode(frame))
            return self._sink.taken()

    def end(self) -> bytes:
        with self._lock:
            self._file.mux(self._stream.encode(None))
            self._file.close()
            return self._sink.taken()

    def close(self) -> None:
        with self._lock:  # what is cancelled may still be adding
            self._file.close()
            self._stream = self._file = None  # threads of the codec end with it


class _Sink:
    """What FFmpeg writes to; it cannot seek, so no header is written twice."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data
