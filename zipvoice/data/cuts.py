# SPDX-License-Identifier: Apache-2.0
"""What an utterance is: a lhotse cut with exactly one supervision. Its manifest, its sound, its features.

Sound is read with soundfile and resampled with soxr, not with lhotse's loaders: those depend on which of torchaudio and
scipy happens to be installed, and a corpus must not change with that.

Shapes: N samples, T frames, C features of one frame (100, or 300 in stereo).
"""

import errno
import gzip
import io
import itertools
import json
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from zipvoice.audio.files import Audio, resample
from zipvoice.audio.mel import HOP, NUM_MELS, SAMPLING_RATE, log_mel
from zipvoice.audio.opened import read_span
from zipvoice.data.manifest import Manifest
from zipvoice.data.shar import SharFolder, check_manifest, features_with_data, is_shar, read_place, tar_writer
from zipvoice.data.sources import check_transforms, decoded_sound, opened_sound, require_file, unknown_source
from zipvoice.files import whole_file
from zipvoice.text.tokenizers import EspeakTokenizer, Tokenizer

if TYPE_CHECKING:
    from lhotse import Recording
    from lhotse.cut import Cut

Features = NDArray[np.float32]

TOLERANCE = 0.05
"""Seconds by which times of cuts, supervisions and recordings may differ."""
LONGER = 0.25
"""Seconds that a file may have beyond what a manifest says: the delay of codecs."""


def require_lhotse() -> Any:
    """The package lhotse, imported when first needed because that takes seconds."""
    try:
        import lhotse
    except ImportError as error:
        raise ImportError(f'manifests need lhotse ({error}): pip install "zipvoice-tts[training]"') from None
    return lhotse


# ---------------------------------------------------------------- manifests


def read_cuts(path: str | os.PathLike[str], order: Random | None = None) -> Any:
    """The cuts of a manifest (.jsonl, .jsonl.gz) or of a Shar folder, read one by one each time they are iterated over.

    With `order` the shards of a folder come in random order, another one each time.

    Example:
        >>> sum(cut.duration for cut in read_cuts("corpus/train.jsonl.gz")) / 3600  # hours
    """
    cut_set = require_lhotse().CutSet
    check_manifest(path)
    return cut_set(SharFolder(path, order) if is_shar(path) else Manifest(path))


def write_cuts(path: str | os.PathLike[str], cuts: Iterable["Cut"]) -> None:
    """Write a manifest (.jsonl.gz), whole or not at all; the same cuts give the same bytes.

    Example:
        >>> write_cuts("short.jsonl.gz", (cut for cut in read_cuts("train.jsonl.gz") if cut.duration < 10))
    """
    with (
        whole_file(path) as temporary,
        temporary.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=0) as compressed,
    ):
        for cut in cuts:
            compressed.write((json.dumps(cut.to_dict(), ensure_ascii=False) + "\n").encode())


def recording(path: Path) -> "Recording":
    """The lhotse recording of an audio file, to be resampled to 24 kHz when it is read.

    Its id is the path with `/` written as `%2F` (and `%` as `%25`), so that different files have different ids.
    Raises ValueError if the file is missing, is not audio or has no samples.
    """
    with opened_sound(path) as sound:
        rate, frames, channels = sound.samplerate, sound.frames, list(range(sound.channels))
    if frames == 0:
        raise ValueError(f"{path} holds no samples")
    lhotse = require_lhotse()
    return lhotse.Recording(
        id=str(path).replace("%", "%25").replace("/", "%2F"),
        sources=[lhotse.audio.AudioSource(type="file", channels=channels, source=str(path))],
        sampling_rate=rate,
        num_samples=frames,
        duration=frames / rate,
        channel_ids=channels,
    ).resample(SAMPLING_RATE)


def two_channels(left: "Recording", right: "Recording") -> "Recording":
    """Two one-channel recordings of the same conversation as one of two channels.

    Raises ValueError unless they have one channel each, and the same sampling rate and duration.
    """
    for one in (left, right):
        if one.num_channels != 1:
            raise ValueError(f"{one.sources[0].source} has {one.num_channels} channels, expected one speaker's own")
    if (left.num_samples, left.transforms) != (right.num_samples, right.transforms):
        lengths = " and ".join(f"{one.duration:.3f} s ({one.sources[0].source})" for one in (left, right))
        raise ValueError(f"the two channels must have the same length and sampling rate, found {lengths}")
    source = require_lhotse().audio.AudioSource
    return require_lhotse().utils.fastcopy(
        left,
        id=f"{left.id}&{right.id}",
        sources=[source("file", [i], one.sources[0].source) for i, one in enumerate((left, right))],
        channel_ids=[0, 1],
    )


def make_cut(
    utterance: str,
    text: str,
    source: "Recording",
    start: float = 0.0,
    end: float | None = None,
    speaker: str | None = None,
    language: str | None = None,
) -> "Cut":
    """All channels of a recording from `start` to `end` seconds, by default all of it, with its text."""
    lhotse = require_lhotse()
    channels = source.channel_ids
    mono = len(channels) == 1
    end = source.duration if end is None else end
    span = {
        "duration": round(end - start, ndigits=8) if start else end,
        "channel": channels[0] if mono else channels,
    }
    known = {"text": text, "speaker": speaker, "language": language}
    supervision = lhotse.SupervisionSegment(id=utterance, recording_id=source.id, start=0.0, **known, **span)
    kind = lhotse.MonoCut if mono else lhotse.MultiCut
    return kind(id=utterance, start=start, supervisions=[supervision], recording=source, **span)


def spoken(cut: "Cut") -> "Cut":
    """The part of the cut that its one supervision is about, which is all of it in most corpora.

    Raises ValueError unless there is exactly one supervision, and it overlaps the cut.
    """
    if len(cut.supervisions) != 1:
        raise ValueError(
            f"the cut {cut.id!r} has {len(cut.supervisions)} supervisions, and needs exactly one; "
            "lhotse's CutSet.trim_to_supervisions(keep_overlapping=False) makes such cuts"
        )
    (supervision,) = cut.supervisions
    start, end = max(supervision.start, 0), min(supervision.start + supervision.duration, cut.duration)
    if start >= end:
        raise ValueError(f"the supervision of the cut {cut.id!r} begins at {start} s, behind its {cut.duration} s")
    if start <= TOLERANCE and end >= cut.duration - TOLERANCE:
        return cut
    return cut.truncate(offset=start, duration=end - start, preserve_id=True)


def recording_of(cut: "Cut") -> "Recording":
    """The recording that the cut is a part of. Raises ValueError if there is none, or the cut is a mixture."""
    if getattr(cut, "recording", None) is None:
        raise ValueError(f"the cut {cut.id!r} is not part of one recording")
    return cut.recording


def stored_tokens(cut: "Cut") -> list[str] | None:
    """The tokens that preparation stored, or None."""
    return (cut.supervisions[0].custom or {}).get("tokens")


def make_tokens(cut: "Cut", tokenizer: Tokenizer) -> list[str]:
    """The tokens of the cut's text; the supervision's language, if it has one, replaces that of an espeak tokenizer."""
    (supervision,) = cut.supervisions
    if supervision.language and isinstance(tokenizer, EspeakTokenizer):
        tokenizer = replace(tokenizer, language=supervision.language)
    if not supervision.text:
        raise ValueError(f"the text of {cut.id!r} is empty")
    return tokenizer.tokens(supervision.text)


def with_tokens(cut: "Cut", tokens: list[str]) -> "Cut":
    """The cut with these tokens in its supervision, where `stored_tokens` finds them."""
    (supervision,) = cut.supervisions
    fastcopy = require_lhotse().utils.fastcopy
    custom = {**(supervision.custom or {}), "tokens": tokens}
    return fastcopy(cut, supervisions=[fastcopy(supervision, custom=custom)])


# ---------------------------------------------------------------- sound


def load_audio(cut: "Cut") -> Audio:
    """The sound of a cut, its channels (channels, N), at 24 kHz; errors as in `recorded_audio`."""
    return resample(recorded_audio(cut), SAMPLING_RATE)


def recorded_audio(cut: "Cut") -> Audio:
    """The sound of a cut, its channels (channels, N), at the rate of its file.

    Resampling transforms of the recording are not executed: the file's own samples are resampled once, by `load_audio`.
    Raises ValueError for other transforms, for a recording that lies elsewhere than in files and shards, and for files
    that are shorter or longer than they are said to be.
    """
    recorded = recording_of(cut)
    check_transforms(one["name"] if isinstance(one, dict) else type(one).__name__ for one in recorded.transforms or [])
    sources = recorded.sources
    is_end = abs(cut.end - recorded.duration) < TOLERANCE
    parts = [_read_span(source, cut.start, cut.duration, is_end) for source in sources]
    rows = {
        channel: row
        for source, part in zip(sources, parts, strict=True)
        for channel, row in zip(source.channels, part.samples, strict=False)
    }
    channels = cut.channel if isinstance(cut.channel, list) else [cut.channel]
    if not channels or not rows.keys() >= set(channels):
        raise ValueError(f"the cut {cut.id!r} has the channels {channels}, and its files hold {sorted(rows)}")
    return Audio(np.stack([rows[channel] for channel in channels]), parts[0].sampling_rate)


def _read_span(source: Any, start: float, duration: float, is_end: bool) -> Audio:
    """`duration` seconds of a file from `start`; the end may lack what rounding to samples at 24 kHz has added.

    After an `is_end` nothing may follow: programs that believe the header of an mp3 file list a part of it.
    """
    path = source.source
    with _opened(source) as file:
        first, count, rate = round(start * file.samplerate), round(duration * file.samplerate), file.samplerate
        samples, more = read_span(file, first, count), file.frames - first - count
    if count - len(samples) > max(1, rate / SAMPLING_RATE):
        found = len(samples) / rate
        raise ValueError(
            f"{path} ends {found:.3f} s after {start:.3f} s, {duration:.3f} s were expected: the file breaks off "
            f"{found:.3f} s into the utterance"
        )
    if is_end and source.type == "file" and more > LONGER * rate:
        raise ValueError(
            f"{path} goes on for {more / rate:.3f} s after the {start + duration:.3f} s of the manifest; list it "
            "anew (`zipvoice prepare`): what made the manifest believed a wrong header"
        )
    if not np.isfinite(samples).all():
        raise ValueError(f"{path} holds NaN or infinite samples; export it again")
    return Audio(np.ascontiguousarray(samples.T), rate)


def _opened(source: Any) -> AbstractContextManager[soundfile.SoundFile]:
    """The sound of a recording's source, a file or a place in a shard."""
    if source.type == "file":
        return opened_sound(source.source)
    if source.type != "shar" or not source.source:
        raise unknown_source(source.type, source.source)
    return decoded_sound(io.BytesIO(read_place(source.source)[0]), source.source)


# ---------------------------------------------------------------- features


def extract_features(cut: "Cut", stereo: bool) -> Features:
    """Log-mel features (T, C) of a cut, unscaled.

    Several channels become one as in `Audio.mono`, unless in `stereo`: there two channels give left, right and their
    mean side by side, and three are taken to be left, right and mixture.
    """
    audio = load_audio(cut)
    samples = audio.samples if stereo else audio.mono().samples
    if stereo and len(samples) == 2:
        samples = np.concatenate([samples, samples.mean(axis=0, keepdims=True)])
    elif stereo and len(samples) != 3:
        raise ValueError(f"stereo features need two or three channels, the utterance {cut.id!r} has {len(samples)}")
    return np.concatenate(log_mel(samples), axis=-1)  # (T, C)


def load_features(cut: "Cut", width: int) -> Features:
    """Stored features (T, C) of a cut, unscaled. Raises ValueError if there are none, or not `width` to a frame."""
    if not cut.has_features:
        raise ValueError(
            f"the utterance {cut.id!r} has no stored features; prepare the manifest with features, "
            "or let training compute them (on_the_fly)"
        )
    features = _read_features(cut)
    if features.shape[1] != width:
        remedy = f"prepare the manifest {'with' if width > NUM_MELS else 'without'} --stereo"
        found = f"{features.shape[1]} stored features per frame, not {width}"
        raise ValueError(f"the utterance {cut.id!r} has {found}; {remedy}")
    return features


def _read_features(cut: "Cut") -> Features:
    if cut.features.storage_type != "lilcom_chunky":  # which lhotse reads as a plain file, and in parts
        cut = require_lhotse().utils.fastcopy(cut, features=features_with_data(cut.features))
    else:
        require_file(cut.features.storage_path)
    whole = math.isclose(cut.duration, cut.features.duration) and math.isclose(cut.start, cut.features.start)
    try:
        features = np.array(cut.features.load() if whole else cut.load_features(), dtype=np.float32)
    except Exception as error:  # the decoders raise errors of many kinds
        raise ValueError(
            f"the stored features of {cut.id!r} cannot be read ({type(error).__name__}: {error}); prepare them again"
        ) from None
    if features.ndim != 2:
        raise ValueError(f"the stored features of {cut.id!r} have the shape {features.shape}, not (frames, bands)")
    return features


@contextmanager
def feature_writer(path: Path, storage: str) -> Iterator[Any]:
    """Yield a function (cut, features (T, C)) -> cut that stores features in `path`.

    A path .tar is a part of a shard, where the cut has only what the shard has. Else `lilcom_chunky` makes one .lca
    file, and `numpy_files` a folder with a file per utterance. Files are there when all is written.
    """
    lhotse = require_lhotse()

    def stored(cut: "Cut", features: Features, key: str) -> "Cut":
        return lhotse.utils.fastcopy(cut, features=_feature_manifest(cut, features, storage, path, key))

    def store(cut: "Cut", features: Features) -> "Cut":
        try:
            key = writer.write(f"{next(numbers):06d}", features)
        except OSError as error:  # NumPy tells of a full disk without a number
            number = error.errno or errno.ENOSPC
            raise OSError(number, os.strerror(number), str(path)) from error
        return stored(cut, features, key)

    def store_in_shard(cut: "Cut", features: Features) -> "Cut":
        return write(stored(cut, features, "").drop_recording(), *_encoded(features, storage))

    numbers = itertools.count()
    if path.suffix == ".tar":
        with tar_writer(path) as write:
            yield store_in_shard
    elif storage == "numpy_files":
        writer = lhotse.NumpyFilesWriter(path)
        yield store
    else:
        with whole_file(path) as temporary, lhotse.LilcomChunkyWriter(temporary) as writer:
            yield store


@contextmanager
def audio_writer(path: Path) -> Iterator[Any]:
    """Yield a function cut -> cut that stores the sound of a cut in a shard's `path`, as FLAC of 16 bits at 24 kHz."""
    fastcopy = require_lhotse().utils.fastcopy

    def store(cut: "Cut") -> "Cut":
        flac = io.BytesIO()
        soundfile.write(flac, load_audio(cut).samples.T, SAMPLING_RATE, format="FLAC", subtype="PCM_16")
        channels = cut.channel if isinstance(cut.channel, list) else [cut.channel]
        own = fastcopy(recording_of(cut), channel_ids=channels, sampling_rate=SAMPLING_RATE)
        return write(fastcopy(cut, recording=own).drop_features(), ".flac", flac.getvalue())

    with tar_writer(path) as write:
        yield store


def _encoded(features: Features, storage: str) -> tuple[str, bytes]:
    """The suffix and content of a file of features."""
    if storage == "numpy_files":
        data = io.BytesIO()
        np.save(data, features, allow_pickle=False)
        return ".npy", data.getvalue()
    import lilcom

    return ".llc", lilcom.compress(features, tick_power=-5)  # as in .lca files


def _feature_manifest(cut: "Cut", features: Features, storage: str, path: Path, key: str) -> Any:
    return require_lhotse().Features(
        type="VocosFbank",
        num_frames=features.shape[0],
        num_features=features.shape[1],
        frame_shift=HOP / SAMPLING_RATE,
        sampling_rate=SAMPLING_RATE,
        start=cut.start,
        duration=cut.duration,
        storage_type=storage,
        storage_path=str(path),
        storage_key=key,
        recording_id=recording_of(cut).id,
        channels=cut.channel,
    )
