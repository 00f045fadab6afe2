# SPDX-License-Identifier: Apache-2.0
"""Speech written while it is made, to a file or to a pipe."""

import os
import struct
from collections.abc import Iterable
from io import FileIO
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import soundfile

from zipvoice.audio.files import ENCODINGS, Audio, pcm16
from zipvoice.audio.mel import SAMPLING_RATE
from zipvoice.files import whole_file

UNKNOWN_SIZE = 0xFFFFFFFF
"""What a wav header says of a length that is not known yet; players read on until the end."""


def check_length(path: str | os.PathLike[str], seconds: float, num_channels: int) -> None:
    """Raise ValueError if a file of the format that the suffix names cannot hold so much speech."""
    if Path(path).suffix.lower() == ".wav" and seconds * SAMPLING_RATE * 2 * num_channels >= UNKNOWN_SIZE - 4096:
        hours = UNKNOWN_SIZE / (SAMPLING_RATE * 2 * num_channels) / 3600
        raise ValueError(f"{path}: wav holds {hours:.1f} hours, not {seconds / 3600:.1f}; write .flac")


def check_output(path: Path) -> None:
    """Raise OSError that says what to do if speech cannot be put there, because a folder, a pipe or a device is."""
    if path.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a folder; name a file in it, such as {path / 'out.wav'}")
    if path.exists() and not path.is_file():
        raise OSError(f"cannot write {path}: it is a pipe or a device; say -o - > {path} writes wav there")


def write_parts(path: str | os.PathLike[str], parts: Iterable[Audio], comment: str = "") -> float:
    """Write parts of one sound in the format that the suffix names, whole or not at all; returns its seconds.

    Gives the file that `Audio.save` gives of all parts together, without holding them in memory; a `comment` is noted
    in it, where the format has such notes. Raises ValueError for
    an unknown suffix, OSError naming the file where it cannot be written.

    Example:
        >>> seconds = write_parts("out.flac", synthesizer.parts(long_text, prompt))
    """
    path = Path(path)
    check_output(path)
    if path.suffix.lower() not in ENCODINGS:
        raise ValueError(f"{path}: no known audio format has that suffix; known: {', '.join(ENCODINGS)}")
    try:
        with whole_file(path) as temporary, _Written(temporary) as file:
            return _write_file(file, parts, *ENCODINGS[path.suffix.lower()], comment)
    except soundfile.LibsndfileError as error:
        raise OSError(f"cannot write {path}: {error.error_string.strip()}") from None
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror or error}") from None


class _Written(FileIO):
    """A file that raises the first error in writing when it is closed, unless another one is raised then.

    libsndfile does not tell the reason, and where the last block cannot be written, as on a full disk, not even that.
    """

    _error: OSError | None = None

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")

    def write(self, data: Any) -> int:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self._error = self._error or error
        return len(data) - len(rest)

    def __exit__(self, *_: object) -> None:
        self.close()
        if self._error is not None:
            raise self._error


def _write_file(stream: FileIO, parts: Iterable[Audio], container: str, codec: str, comment: str) -> float:
    parts = iter(parts)
    first = next(parts)
    rate, channels = first.sampling_rate, first.num_channels
    with soundfile.SoundFile(stream, "w", rate, channels, codec, format=container) as file:
        if comment:
            file.comment = comment
        for part in chain([first], parts):
            file.write(pcm16(part) if codec == "PCM_16" else part.samples.T.clip(-1, 1))
        return len(file) / rate


def write_wav(stream: BinaryIO, parts: Iterable[Audio]) -> float:
    """Write parts of one sound as 16-bit wav to a pipe, each as soon as it is made; returns the seconds."""
    seconds = 0.0
    for part in parts:
        if not seconds:
            stream.write(wav_header(part.sampling_rate, part.num_channels))
        stream.write(pcm16(part).astype("<i2").tobytes())
        stream.flush()
        seconds += part.seconds
    return seconds


def wav_header(sampling_rate: int, num_channels: int) -> bytes:
    """The header of a 16-bit wav stream of unknown length."""
    frame = 2 * num_channels
    form = struct.pack("<HHIIHH", 1, num_channels, sampling_rate, sampling_rate * frame, frame, 16)
    return (
        struct.pack("<4sI4s4sI", b"RIFF", UNKNOWN_SIZE, b"WAVE", b"fmt ", len(form))
        + form
        + struct.pack("<4sI", b"data", UNKNOWN_SIZE)
    )
