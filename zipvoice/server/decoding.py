# SPDX-License-Identifier: Apache-2.0
"""The program that decodes one recording of a stranger's, within limits, and ends: see `recordings`."""

import io
import json
import sys
from contextlib import suppress
from typing import Any

import numpy as np

from zipvoice.audio.files import Audio

LONGEST_SECONDS = 10.0
"""Of this process."""
ADDRESS_SPACE = 2 << 30
"""Bytes."""


def main(demuxer: str, max_seconds: float) -> None:
    """Decode standard input to standard output: a line of JSON, then float32 samples, channel by channel."""
    data = sys.stdin.buffer.read()
    _limit()
    try:
        audio = decoded(data, demuxer, max_seconds)
    except ValueError as error:
        sys.stdout.write(json.dumps({"error": str(error)}) + "\n")
        return
    sys.stdout.write(json.dumps({"channels": audio.num_channels, "rate": audio.sampling_rate}) + "\n")
    sys.stdout.flush()
    sys.stdout.buffer.write(np.ascontiguousarray(audio.samples).tobytes())


def decoded(data: bytes, demuxer: str, max_seconds: float) -> Audio:
    """The sound of a file's content. Raises ValueError for what is broken or lasts longer than `max_seconds`."""
    import av

    parts: list[Any] = []
    try:
        with av.open(io.BytesIO(data), "r", format=demuxer) as file:
            if not file.streams.audio:
                raise ValueError("holds no sound")
            rate = file.streams.audio[0].rate
            samples_left = max_seconds * rate
            resampler = av.AudioResampler(format="fltp")
            for frame in file.decode(audio=0):
                if frame.sample_rate != rate:
                    raise ValueError("changes its sampling rate; send it as wav")
                samples_left -= frame.samples
                if samples_left < 0:
                    raise ValueError(f"lasts longer than {max_seconds:g} s; send a part of it, best 3 to 10 s")
                parts += [part.to_ndarray() for part in resampler.resample(frame)]
    except (av.FFmpegError, EOFError) as error:
        if not parts:
            raise ValueError(f"is damaged: {error}") from None
        raise ValueError(f"is damaged after {sum(p.shape[1] for p in parts) / rate:.2f} s: {error}") from None
    if len({len(part) for part in parts}) > 1:
        raise ValueError("changes its number of channels; send it as wav")
    if not parts:
        raise ValueError("holds no samples")
    samples = np.concatenate(parts, axis=1, dtype=np.float32)
    if not np.isfinite(samples).all():
        raise ValueError("holds NaN or infinite samples; export it again")
    return Audio(samples, rate)


def _limit() -> None:
    """What this process may use; Windows knows no such limits, there time alone is limited, by the server."""
    with suppress(ImportError):
        import resource

        import av  # noqa: F401 - before files are forbidden

        resource.setrlimit(resource.RLIMIT_CPU, (int(LONGEST_SECONDS), int(LONGEST_SECONDS)))
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
