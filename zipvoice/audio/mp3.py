# SPDX-License-Identifier: Apache-2.0
"""The length of mp3 files, which have no header: MPEG-1, 2 and 2.5 audio, layer III (ISO/IEC 11172-3 and 13818-3).

An mp3 file is a sequence of frames, each with a header of 4 bytes. Encoders that can go back to the beginning put a
table with the number of frames into the first one ("Xing" or "Info"). Those that write into a pipe cannot, and decoders
take the length from the bit rate of the first frame, which is wrong at a variable rate. So frames are counted here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

BIT_RATES = {
    1: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Kilobits per second by their index, from 1, of MPEG-1 and of both others."""
SAMPLING_RATES = (44100, 48000, 32000)
DIVISORS = {3: 1, 2: 2, 0: 4}
"""Of the sampling rates, by the version in the header: MPEG-1, 2, 2.5."""
TABLE_BIT_RATE = 64
"""Of a frame that has room for a table."""
TABLE_NAMES = (b"Xing", b"Info")
TOLERANCE = 256
"""Bytes of tags that a file may have beside the frames that its table counts, before they are counted anew."""
MOST_MISSING = 5
"""Frames, a tenth of a second, that a table may count beyond those that are found."""
MOST_JUNK = 1 << 16
"""Bytes before the first frame, behind an ID3 tag."""


@dataclass(frozen=True)
class _Kind:
    """What all frames of a file have in common, and the length of one."""

    version: int
    rate: int
    length: int


def with_length(data: bytes) -> bytes:
    """An mp3 file's content with a table that counts all of its frames; itself if its table does, or it is no mp3.

    Raises ValueError if there are fewer frames than its table counts.

    Example:
        >>> soundfile.SoundFile(io.BytesIO(with_length(piped))).frames
        193536
    """
    start = _first(data)
    if start is None:
        return data
    place = _place_of_table(data, start)
    named = data[place : place + 4] in TABLE_NAMES
    if named and abs(_bytes_in_table(data, place) - (len(data) - start)) <= TOLERANCE:
        return data
    frames = list(_frames(data, start))
    count = len(frames) - named
    announced = _count_in_table(data, place) if named else 0
    if announced > count + MOST_MISSING:
        raise ValueError(f"breaks off, or is damaged: it has {count} of {announced} frames")
    if announced >= count > 0:
        return data
    body = data[start:place] + bytes(4) + data[place + 4 :] if named else data[start:]
    return _table(data, start, len(frames), len(body)) + body


def _first(data: bytes) -> int | None:
    """Where the first of two frames in a row begins, behind tags; None if there is none near the beginning."""
    start = _after_tags(data, 0)
    return next((at for at in _candidates(data, start, start + MOST_JUNK) if _is_followed(data, at)), None)


def _after_tags(data: bytes, at: int) -> int:
    """Where ID3v2 tags that begin at a place end; their length is in 4 times 7 bits."""
    while data[at : at + 3] == b"ID3" and len(data) >= at + 10:
        size = sum((byte & 127) << shift for byte, shift in zip(data[at + 6 : at + 10], (21, 14, 7, 0), strict=True))
        at += 10 + size + (10 if data[at + 5] & 16 else 0)
    return at


def _candidates(data: bytes, start: int, end: int) -> Iterator[int]:
    """Places that may be the beginning of a frame."""
    at = data.find(b"\xff", start, end)
    while at >= 0:
        if _kind(data[at + 1 : at + 3]):
            yield at
        at = data.find(b"\xff", at + 1, end)


def _is_followed(data: bytes, at: int) -> bool:
    """Whether a frame of the same kind stands behind the one at a place."""
    own = _kind(data[at + 1 : at + 3])
    following = own and data[at + own.length : at + own.length + 3]
    other = _kind(following[1:]) if following and following[0] == 0xFF else None
    return own is not None and other is not None and (own.version, own.rate) == (other.version, other.rate)


def _frames(data: bytes, at: int) -> Iterator[int]:
    """Where each whole frame begins, from the first one on; what lies between frames is passed over."""
    first = _kind(data[at + 1 : at + 3])
    assert first is not None
    while at + 4 <= len(data):
        kind = _kind(data[at + 1 : at + 3]) if data[at] == 0xFF else None
        if kind and (kind.version, kind.rate) == (first.version, first.rate):
            if at + kind.length <= len(data):
                yield at
            at += kind.length
            continue
        behind = _after_tags(data, at)
        if behind == at:
            behind = next((place for place in _candidates(data, at + 1, len(data)) if _is_followed(data, place)), -1)
        if behind < 0:
            return
        at = behind


@lru_cache(maxsize=4096)
def _kind(header: bytes) -> _Kind | None:
    """What the second and third byte of a header tell; None if they are none of layer III at a fixed bit rate."""
    if len(header) < 2 or header[0] & 0xE6 != 0xE2:
        return None
    version, bit_rate, rate, padding = header[0] >> 3 & 3, header[1] >> 4, header[1] >> 2 & 3, header[1] >> 1 & 1
    if version == 1 or rate == 3 or not 0 < bit_rate < 15:
        return None
    sampling_rate = SAMPLING_RATES[rate] // DIVISORS[version]
    kilobits = BIT_RATES[1 if version == 3 else 2][bit_rate - 1]
    return _Kind(version, sampling_rate, (144 if version == 3 else 72) * kilobits * 1000 // sampling_rate + padding)


# ---------------------------------------------------------------- tables


def _place_of_table(data: bytes, start: int) -> int:
    """Where the name of a table stands in a frame, behind its header and its empty side information."""
    is_mono, is_first_version = data[start + 3] >> 6 == 3, data[start + 1] >> 3 & 3 == 3
    return (
        start
        + 4
        + {(True, False): 9, (True, True): 17, (False, False): 17, (False, True): 32}[is_mono, is_first_version]
    )


def _count_in_table(data: bytes, place: int) -> int:
    return _number(data, place + 8) if data[place + 7] & 1 else 0


def _bytes_in_table(data: bytes, place: int) -> int:
    flags = data[place + 7]
    return _number(data, place + 8 + 4 * (flags & 1)) if flags & 3 == 3 else 0


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")


def _table(data: bytes, start: int, num_frames: int, num_bytes: int) -> bytes:
    """A frame without sound, of the kind of the one at `start`, that holds a table."""
    rates = BIT_RATES[1 if data[start + 1] >> 3 & 3 == 3 else 2]
    index = rates.index(TABLE_BIT_RATE) + 1
    header = bytes((0xFF, data[start + 1] | 1, index << 4 | data[start + 2] & 0x0C, data[start + 3]))
    kind = _kind(header[1:3])
    assert kind is not None
    side = bytes(_place_of_table(data, start) - start - 4)
    numbers = b"".join(value.to_bytes(4, "big") for value in (3, num_frames, num_bytes + kind.length))
    return (header + side + b"Info" + numbers).ljust(kind.length, b"\0")
