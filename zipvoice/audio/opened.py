# SPDX-License-Identifier: Apache-2.0
"""Sound files open for reading, with their true length: libsndfile believes what a header says.

Programs that write into a pipe cannot go back to fill in the length, so mp3, FLAC and wav files are found without it.
"""

import io
import os
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from zipvoice.audio.mp3 import with_length
from zipvoice.audio.ogg import check_pages

BLOCK = 1 << 16
"""Samples passed to the codec at a time: given minutes at once, libsndfile's Vorbis encoder overflows its stack."""
UNKNOWN_LENGTH = 2**63 - 1
"""libsndfile's number of samples of a FLAC file that does not tell."""
LARGEST_HEADER = 4096
"""Bytes of a file without sound; one that has more must have some."""
FIRST_PAGE = b"OggS\0\2"
"""How a stream begins in an Ogg file."""
COPY_AGAIN = "copy it again, or keep what is there: `ffmpeg -i {} mended.wav`"
RATES = 1000, 768_000
"""Samples per second of what may be a sound."""
MISSING_SECONDS = 0.1
"""What may be missing of the length that is announced: the delay of codecs, and rounding."""
OPEN_END = 0x7000_0000
"""From here on the number of bytes in a wav file is what programs write that do not know it."""
BYTES = {"PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8, "ULAW": 1, "ALAW": 1}
"""Of a sample."""
STREAMED_IN_BLOCKS = (b"RIFF", b"RF64", b"fLaC", b"FORM", b".snd", b"riff", b"caff")
"""Beginnings of files that tell their length, and are read in parts."""


def open_sound(content: BinaryIO, name: str) -> soundfile.SoundFile:
    """A sound file's content, open for reading; its `frames` are all that are in it. Errors call it by `name`.

    Raises:
        ValueError: for a file without a length that cannot be found out, one that breaks off before the end that it
            names, or several one after the other.
        soundfile.LibsndfileError: the content is no sound.
    """
    if content.read(4) not in STREAMED_IN_BLOCKS:
        content.seek(0)
        data = content.read()
        content.close()
        _check_single(data, name)
        try:
            check_pages(data)
            content = io.BytesIO(with_length(data))
        except ValueError as error:
            raise ValueError(f"{name} {error}; {COPY_AGAIN.format(name)}") from None
    content.seek(0)
    sound = soundfile.SoundFile(content)
    _check_whole(sound, content, name)
    if sound.frames == UNKNOWN_LENGTH or sound.format == "MP3":
        sound.close()
        content.seek(0)
        forward = _Forward(content)
        return forward if forward.format == "MP3" else _in_memory(forward)
    if sound.frames == 0 and content.seek(0, os.SEEK_END) > LARGEST_HEADER:
        raise ValueError(
            f"{name} says that it holds no samples, but has {content.tell()} bytes: its writer was stopped, or wrote "
            f"into a pipe, and left the length open. Write it anew: `ffmpeg -i {name} mended.wav`"
        )
    return sound


def read_span(sound: soundfile.SoundFile, first: int, count: int) -> NDArray[np.float32]:
    """Samples (N, channels) from the `first` on, of a file just opened; `count` of them, or as many as there are.

    In mp3 files of variable rate libsndfile guesses places, so what comes before is decoded.
    """
    if sound.seekable():
        sound.seek(min(first, sound.frames))
        return sound.read(count, dtype="float32", always_2d=True)
    while first and (passed := len(sound.read(min(first, BLOCK), dtype="float32", always_2d=True))):
        first -= passed
    return sound.read(count, dtype="float32", always_2d=True)


def blocks(sound: soundfile.SoundFile) -> Iterator[NDArray[np.float32]]:
    """All samples (n, channels), in blocks, because a broken header may announce any number of them."""
    while len(block := sound.read(BLOCK, dtype="float32", always_2d=True)):
        yield block


class _Forward(soundfile.SoundFile):
    """A sound that is read from its beginning to its end, which is not known in advance."""

    def seekable(self) -> bool:
        """No: soundfile goes to the end of each block, which libsndfile guesses, or which lies behind the end."""
        return False


def _in_memory(sound: soundfile.SoundFile) -> soundfile.SoundFile:
    """The same sound, decoded."""
    with sound:
        decoded = np.concatenate([np.empty((0, sound.channels), np.float32), *blocks(sound)])
        rate = sound.samplerate
    content = io.BytesIO()
    soundfile.write(content, decoded, rate, format="WAV", subtype="FLOAT")
    content.seek(0)
    return soundfile.SoundFile(content)


def _check_single(data: bytes, name: str) -> None:
    """Raise ValueError for Ogg streams behind each other, of which libsndfile reads the first."""
    if data[:4] != b"OggS":
        return
    starts = [at for at in _places(data, FIRST_PAGE) if at]
    if any(data.find(b"OggS\0\0", 0, at) >= 0 for at in starts):
        raise ValueError(
            f"{name} holds several Ogg streams one after the other, of which the first alone would be read; "
            f"write it anew: `ffmpeg -i {name} joined.wav`"
        )


def _check_whole(sound: soundfile.SoundFile, content: BinaryIO, name: str) -> None:
    """Raise ValueError for a rate that no sound has, and for content that ends before the header says or in a gap."""
    if not sound.samplerate or not RATES[0] <= sound.samplerate <= RATES[1]:
        raise ValueError(f"{name} has {sound.samplerate} samples per second, which no sound has; it is damaged")
    place = content.tell()
    announced = _announced(sound, content)
    content.seek(place)  # where libsndfile goes on
    if announced and sound.frames:
        _require_whole(sound.frames, announced, sound.samplerate, name)


def _require_whole(found: int, announced: int, rate: int, name: str) -> None:
    """Raise ValueError if so many samples are too few of those that a file says it has."""
    if announced - found > MISSING_SECONDS * rate:
        times = f"{found / rate:.2f} of {announced / rate:.2f} s"
        raise ValueError(f"{name} breaks off, or is damaged: it has {times}; {COPY_AGAIN.format(name)}")


def _announced(sound: soundfile.SoundFile, content: BinaryIO) -> int | None:
    """How many samples a wav file says that it has; None where it does not."""
    if sound.format in ("WAV", "WAVEX"):
        size = _data_size(content)
        frame = sound.channels * BYTES.get(sound.subtype, 0)
        return size // frame if frame and 0 < size < OPEN_END else None
    return None


def _data_size(content: BinaryIO) -> int:
    """Bytes of samples that a wav file announces; 0 where it announces none."""
    content.seek(12)
    while len(head := content.read(8)) == 8:
        size = int.from_bytes(head[4:], "little")
        if head[:4] == b"data":
            return size
        content.seek(size + size % 2, os.SEEK_CUR)
    return 0


def _places(data: bytes, pattern: bytes) -> Iterator[int]:
    at = data.find(pattern)
    while at >= 0:
        yield at
        at = data.find(pattern, at + 1)
