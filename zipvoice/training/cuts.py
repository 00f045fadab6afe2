# SPDX-License-Identifier: Apache-2.0
"""What an utterance is: a lhotse cut with exactly one supervision. Its manifest, its sound, its features.

Sound is read with soundfile and resampled with soxr, not with lhotse's loaders: those depend on which of torchaudio and
scipy happens to be installed, and a corpus must not change with that.

Shapes: N samples, T frames, C features of one frame (100, or 300 in stereo).
"""

import gzip
import itertools
import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from zipvoice.audio.files import Audio, resample
from zipvoice.audio.mel import HOP, SAMPLING_RATE, LogMel
from zipvoice.files import whole_file

if TYPE_CHECKING:
    from lhotse import Recording
    from lhotse.cut import Cut

SHOWN_FAULTS = 20
"""Of a long list of bad utterances the first ones teach what is wrong."""


def require_lhotse() -> Any:
    """The package lhotse, imported when first needed because that takes seconds."""
    try:
        import lhotse
    except ImportError as error:
        raise ImportError(f'manifests need lhotse ({error}): pip install "zipvoice-tts[training]"') from None
    return lhotse


# ---------------------------------------------------------------- manifests


def read_cuts(path: str | os.PathLike[str]) -> Any:
    """The cuts of a manifest, read line by line each time they are iterated over."""
    if not Path(path).is_file():
        raise ValueError(f"there is no manifest {path}; make it with `zipvoice prepare`")
    return require_lhotse().CutSet.from_jsonl_lazy(path)


def write_cuts(path: str | os.PathLike[str], cuts: Iterable["Cut"]) -> None:
    """Write a manifest (.jsonl.gz), whole or not at all; the same cuts give the same bytes."""
    lines = "".join(json.dumps(cut.to_dict(), ensure_ascii=False) + "\n" for cut in cuts)
    with whole_file(path) as temporary:
        temporary.write_bytes(gzip.compress(lines.encode(), mtime=0))


def recording(path: Path) -> "Recording":
    """The lhotse recording of an audio file, to be resampled to 24 kHz when it is read.

    Its id is the path with `/` written as `%2F` (and `%` as `%25`), so that different files have different ids.
    Raises ValueError if the file is missing, is not audio or has no samples.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        info = soundfile.info(path)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{path} is not readable as audio ({error.error_string})") from None
    if info.frames == 0:
        raise ValueError(f"{path} holds no samples")
    lhotse = require_lhotse()
    channels = list(range(info.channels))
    return lhotse.Recording(
        id=str(path).replace("%", "%25").replace("/", "%2F"),
        sources=[lhotse.audio.AudioSource(type="file", channels=channels, source=str(path))],
        sampling_rate=info.samplerate,
        num_samples=info.frames,
        duration=info.frames / info.samplerate,
        channel_ids=channels,
    ).resample(SAMPLING_RATE)


def make_cut(utterance: str, text: str, source: "Recording", start: float = 0.0, end: float | None = None) -> "Cut":
    """All channels of a recording from `start` to `end` seconds, by default all of it, with its text."""
    lhotse = require_lhotse()
    channels = source.channel_ids
    mono = len(channels) == 1
    span = {
        "duration": source.duration if end is None else round(end - start, ndigits=8),
        "channel": channels[0] if mono else channels,
    }
    supervision = lhotse.SupervisionSegment(id=utterance, recording_id=source.id, start=0.0, text=text, **span)
    kind = lhotse.MonoCut if mono else lhotse.MultiCut
    return kind(id=utterance, start=start, supervisions=[supervision], recording=source, **span)


def check_supervision(cut: "Cut") -> None:
    """Raises ValueError unless the cut has exactly one supervision."""
    if len(cut.supervisions) != 1:
        raise ValueError(
            f"the cut {cut.id!r} has {len(cut.supervisions)} supervisions, and needs exactly one; "
            "lhotse's CutSet.trim_to_supervisions(keep_overlapping=False) makes such cuts"
        )


def recording_of(cut: "Cut") -> "Recording":
    """The recording that the cut is a part of. Raises ValueError if there is none, or the cut is a mixture."""
    if getattr(cut, "recording", None) is None:
        raise ValueError(f"the cut {cut.id!r} is not part of one recording")
    return cut.recording


def listed(faults: Sequence[str]) -> str:
    """The end of a message: how many faults there are, and the first of them."""
    more = [f"... and {len(faults) - SHOWN_FAULTS} more"] if len(faults) > SHOWN_FAULTS else []
    return "\n  ".join([str(len(faults)), *faults[:SHOWN_FAULTS], *more])


def stored_tokens(cut: "Cut") -> list[str] | None:
    """The tokens that preparation stored, or None."""
    return (cut.supervisions[0].custom or {}).get("tokens")


def with_tokens(cut: "Cut", tokens: list[str]) -> "Cut":
    """The cut with these tokens in its supervision, where `stored_tokens` finds them."""
    (supervision,) = cut.supervisions
    fastcopy = require_lhotse().utils.fastcopy
    custom = {**(supervision.custom or {}), "tokens": tokens}
    return fastcopy(cut, supervisions=[fastcopy(supervision, custom=custom)])


# ---------------------------------------------------------------- sound


def load_audio(cut: "Cut") -> Audio:
    """The sound of a cut, its channels (channels, N), at 24 kHz.

    Resampling transforms of the recording are not executed: the file's own samples are resampled once. A recording that
    is not one file, or has other transforms, is loaded by lhotse.
    """
    recorded = recording_of(cut)
    source, transforms = recorded.sources[0], recorded.transforms or []
    names = {item["name"] if isinstance(item, dict) else type(item).__name__ for item in transforms}
    if len(recorded.sources) == 1 and source.type == "file" and names <= {"Resample"}:
        audio = _read_span(source.source, cut.start, cut.duration)
        channels = cut.channel if isinstance(cut.channel, list) else [cut.channel]
        rows = [source.channels.index(channel) for channel in channels]
        audio = Audio(audio.samples[rows], audio.sampling_rate)
    else:
        audio = Audio(torch.from_numpy(np.atleast_2d(cut.load_audio()).astype(np.float32)), cut.sampling_rate)
    return resample(audio, SAMPLING_RATE)


def _read_span(path: str, start: float, duration: float) -> Audio:
    """`duration` seconds of a file from `start`; the end may lack what rounding to samples at 24 kHz has added."""
    try:
        with soundfile.SoundFile(path) as file:
            first, count = round(start * file.samplerate), round(duration * file.samplerate)
            file.seek(first)
            samples, rate = file.read(count, dtype="float32", always_2d=True), file.samplerate
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{path} is not readable as audio ({error.error_string})") from None
    if count - len(samples) > max(1, rate / SAMPLING_RATE):
        found = len(samples) / rate
        raise ValueError(f"{path} ends {found:.3f} s after {start:.3f} s, {duration:.3f} s were expected")
    if not np.isfinite(samples).all():
        raise ValueError(f"{path} holds NaN or infinite samples; export it again")
    return Audio(torch.from_numpy(np.ascontiguousarray(samples.T)), rate)


# ---------------------------------------------------------------- features


def extract_features(cut: "Cut", log_mel: LogMel, stereo: bool) -> Tensor:
    """Log-mel features (T, C) of a cut, unscaled.

    Several channels are averaged, unless in `stereo`: there two channels give left, right and their mean side by side,
    and three are taken to be left, right and mixture.
    """
    samples = load_audio(cut).samples
    if not stereo:
        samples = samples.mean(dim=0, keepdim=True)
    elif len(samples) == 2:
        samples = torch.cat([samples, samples.mean(dim=0, keepdim=True)])
    elif len(samples) != 3:
        raise ValueError(f"stereo features need two or three channels, the utterance {cut.id!r} has {len(samples)}")
    with torch.no_grad():
        return torch.cat(list(log_mel(samples)), dim=-1)  # (T, C)


def load_features(cut: "Cut", width: int) -> Tensor:
    """Stored features (T, C) of a cut, unscaled. Raises ValueError if there are none, or not `width` to a frame."""
    if not cut.has_features:
        raise ValueError(
            f"the utterance {cut.id!r} has no stored features; prepare the manifest with features, "
            "or let training compute them (on_the_fly)"
        )
    whole = math.isclose(cut.duration, cut.features.duration) and math.isclose(cut.start, cut.features.start)
    features = torch.from_numpy(np.array(cut.features.load() if whole else cut.load_features(), dtype=np.float32))
    if features.shape[1] != width:
        raise ValueError(f"the utterance {cut.id!r} has {features.shape[1]} stored features per frame, not {width}")
    return features


@contextmanager
def feature_writer(path: Path, storage: str) -> Iterator[Any]:
    """Yield a function (cut, features (T, C)) -> cut that stores features in `path`.

    `lilcom_chunky` makes one .lca file, there when all is written; `numpy_files` a folder with a file per utterance.
    """
    lhotse = require_lhotse()

    def storing(writer: Any) -> Any:
        def store(cut: "Cut", features: Tensor) -> "Cut":
            key = writer.write(f"{next(numbers):06d}", features.numpy())
            return lhotse.utils.fastcopy(cut, features=_feature_manifest(cut, features, storage, path, key))

        return store

    numbers = itertools.count()
    if storage == "numpy_files":
        yield storing(lhotse.NumpyFilesWriter(path))
        return
    with whole_file(path) as temporary, lhotse.LilcomChunkyWriter(temporary) as writer:
        yield storing(writer)


def _feature_manifest(cut: "Cut", features: Tensor, storage: str, path: Path, key: str) -> Any:
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
