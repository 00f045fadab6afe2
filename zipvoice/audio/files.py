# SPDX-License-Identifier: Apache-2.0
"""Sound in memory and in files: wav, flac, ogg, opus, mp3 at any rate and with any number of channels."""

import io
import os
from dataclasses import dataclass
from html import escape
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from zipvoice.audio.opened import BLOCK, blocks, open_sound
from zipvoice.audio.playback import html_player, play
from zipvoice.audio.words import Word
from zipvoice.files import whole_file

ENCODINGS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}
"""Container and codec by suffix."""

MOST_CHANNELS = {"VORBIS": 255}
"""By the specification of the codec; libsndfile tells of more in those that are not here."""
CHANNELS_OF_FILES = 1024
"""The most that libsndfile reads or writes in any format."""
ADVISING = 512
"""Bytes at the beginning of a file that tell web pages and the like."""
UNRECOGNISED_FORMAT = 1
"""libsndfile's error code for content of no format it knows."""

CANCELLED = 0.1
"""Level of the average of channels, in relation to the loudest, below which they are one sound in opposite phase."""


@dataclass(frozen=True, eq=False)
class Audio:
    """A sound: samples (channels, N) float32, nominally in [-1, 1], their rate in hertz, and its words.

    Example:
        >>> Audio(np.zeros((1, 24000), np.float32), 24000).seconds
        1.0
    """

    samples: NDArray[np.float32]
    sampling_rate: int
    words: tuple[Word, ...] = ()
    """The words of speech and their times, where they were asked for."""

    def __post_init__(self) -> None:
        samples, rate = self.samples, self.sampling_rate
        if not isinstance(samples, np.ndarray) or samples.ndim != 2 or samples.shape[0] == 0:
            shown = samples.shape if isinstance(samples, np.ndarray) else f"a {type(samples).__name__}"
            raise ValueError(f"audio samples must be a NumPy array (channels, N), one channel is (1, N); got {shown}")
        if samples.dtype != np.float32:
            raise ValueError(f"audio samples must be float32 in [-1, 1], got {samples.dtype}")
        if samples.shape[0] > CHANNELS_OF_FILES:
            raise ValueError(
                f"audio samples are (channels, N), and these would be {samples.shape[0]} channels; transpose them: "
                "samples.T"
            )
        if not isinstance(rate, Integral) or isinstance(rate, bool) or rate <= 0:
            raise ValueError(f"the sampling rate must be a positive whole number of hertz, got {rate!r}")
        object.__setattr__(self, "sampling_rate", int(rate))  # of NumPy, too

    @property
    def num_channels(self) -> int:
        return self.samples.shape[0]

    @property
    def num_samples(self) -> int:
        return self.samples.shape[1]

    @property
    def seconds(self) -> float:
        return self.num_samples / self.sampling_rate

    def __repr__(self) -> str:
        channels = f"{self.num_channels} channel{'s' if self.num_channels > 1 else ''}"
        return f"Audio({self.seconds:.2f} s, {channels}, {self.sampling_rate} Hz)"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """The samples (channels, N), for NumPy."""
        return np.array(self.samples, dtype) if copy else np.asarray(self.samples, dtype)

    def _repr_html_(self) -> str:
        """A player, for notebooks."""
        return html_player(self) if self.num_samples and np.isfinite(self.samples).all() else escape(repr(self))

    def mono(self) -> "Audio":
        """The average of all channels as one channel; of channels that cancel each other out, the loudest."""
        average = self.samples.mean(axis=0, keepdims=True)
        if self.num_channels > 1 and self.num_samples:
            levels = np.square(self.samples, dtype=np.float64).mean(axis=1)
            if np.square(average, dtype=np.float64).mean() < CANCELLED**2 * levels.max():
                average = self.samples[[levels.argmax()]]
        return Audio(average, self.sampling_rate, self.words)

    def play(self) -> None:
        """Play the sound and wait for its end. Raises OSError where that is not possible."""
        play(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the sound to a file; see `write`."""
        write(path, self)


def read(path: str | os.PathLike[str]) -> Audio:
    """The sound of a file, with the file's own rate and channels.

    Raises FileNotFoundError, or ValueError that names the file and says why it is not a usable recording.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give an audio file")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such audio file")
    if path.is_char_device():
        raise ValueError(f"{path} is a device, whose sound may never end; give an audio file")
    return decode(path.read_bytes(), str(path))


def decode(data: bytes, name: str = "the audio") -> Audio:
    """The sound of an audio file's content, in any format that `read` knows; `name` is what errors call it."""
    if not data:
        raise ValueError(f"{name} is empty (0 bytes); record or download it again")
    try:
        with open_sound(io.BytesIO(data), name) as sound:
            decoded = np.concatenate([np.empty((0, sound.channels), np.float32), *blocks(sound)])
            samples, rate = np.ascontiguousarray(decoded.T), sound.samplerate
    except soundfile.LibsndfileError as error:
        raise unreadable(name, data[:ADVISING], error) from None
    if samples.shape[1] == 0:
        raise ValueError(f"{name} holds no samples; record or download it again")
    if not np.isfinite(samples).all():
        first = int((~np.isfinite(samples)).any(axis=0).argmax())
        raise ValueError(f"{name} holds NaN or infinite samples, first at {first / rate:.3f} s; export it again")
    return Audio(samples, rate)


def write(path: str | os.PathLike[str], audio: Audio) -> None:
    """Write a sound in the format that the suffix names, whole or not at all; the folder is made if missing.

    Raises ValueError for an unknown suffix or a rate or channel count that the format does not have.
    """
    data = encode(audio, Path(path).suffix, str(path))
    with whole_file(path) as temporary:
        temporary.write_bytes(data)


def encode(audio: Audio, suffix: str, name: str = "the audio") -> bytes:
    """The content of an audio file of the format of `suffix`, one of `ENCODINGS`; see `write`.

    Samples outside [-1, 1] are clipped. wav and flac have 16 bits, and give back exactly what came from 16 bits.
    """
    if suffix.lower() not in ENCODINGS:
        raise ValueError(f"{name}: no known audio format has the suffix {suffix!r}; known: {', '.join(ENCODINGS)}")
    container, codec = ENCODINGS[suffix.lower()]
    if audio.num_samples == 0:
        raise ValueError(f"{name} is not written: there are no samples")
    if not np.isfinite(audio.samples).all():
        raise ValueError(f"{name} is not written: the samples contain NaN or infinity")
    if audio.num_channels > (most := MOST_CHANNELS.get(codec, audio.num_channels)):
        raise ValueError(
            f"{name}: {suffix} holds at most {most} channels, not {audio.num_channels}; is it (channels, N)?"
        )
    samples = pcm16(audio) if codec == "PCM_16" else audio.samples.T.clip(-1, 1)
    buffer = io.BytesIO()
    try:
        with soundfile.SoundFile(buffer, "w", audio.sampling_rate, audio.num_channels, codec, format=container) as file:
            for start in range(0, len(samples), BLOCK):
                file.write(samples[start : start + BLOCK])
    except soundfile.LibsndfileError as error:
        raise ValueError(
            f"{name}: {suffix} cannot hold {audio.num_channels} channels at {audio.sampling_rate} Hz"
            f" ({_reason(error)}); resample, mix down or choose .wav"
        ) from None
    return buffer.getvalue()


def pcm16(audio: Audio) -> NDArray[np.int16]:
    """The samples as 16-bit integers (N, channels), rounded (halves to even) and clipped; reading is the inverse."""
    scaled = (audio.samples.T * 32768).round().clip(-32768, 32767)
    return np.ascontiguousarray(scaled, dtype=np.int16)


def resample(audio: Audio, sampling_rate: int) -> Audio:
    """The sound at another rate, of N · sampling_rate / audio.sampling_rate samples, rounded.

    soxr's "very high quality": linear phase, 28 bits; the same input gives the same bits.
    """
    if sampling_rate == audio.sampling_rate:
        return audio
    wave = audio.samples.T.copy()  # (N, channels); of one sample, `ascontiguousarray` is none to soxr
    wave = soxr.resample(wave, audio.sampling_rate, sampling_rate, quality="VHQ")
    return Audio(np.ascontiguousarray(wave.T), sampling_rate, audio.words)


def unreadable(name: str, start: bytes, error: soundfile.LibsndfileError) -> ValueError:
    """The error for content that is not audio, with what to do by its first `ADVISING` bytes."""
    return ValueError(f"{name} is not readable as audio: {_reason(error)}; {_advice(start.lstrip().lower(), error)}")


def _advice(start: bytes, error: soundfile.LibsndfileError) -> str:
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page: download the recording itself, not its page"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer: run `git lfs pull`"
    if error.code == UNRECOGNISED_FORMAT:
        return f"known formats are {', '.join(ENCODINGS)}; convert others to wav, for example with ffmpeg"
    return "the file seems damaged; record or download it again"


def _reason(error: soundfile.LibsndfileError) -> str:
    return error.error_string.removeprefix("Error : ").rstrip(".")
