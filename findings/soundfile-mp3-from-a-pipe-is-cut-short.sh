#!/usr/bin/env bash
# soundfile 0.14.0 with libsndfile 1.2.2: an MP3 file without a table of its frames is read as if it were much shorter.
#
# The guess was that a reader which decodes frame after frame reads to the end, and that the length which it tells may be
# an estimate. Encoders write that table (Xing, Info) into the first frame when all is done, so a file that was written into
# a pipe has none; it is valid, and players play all of it. Seen: soundfile tells a length estimated from the first frames,
# which here are quiet and small, and its read ends there without an error: 1 s of 8 s. PyAV 18.0.0 (FFmpeg) decodes all.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 soundfile==0.14.0 av==18.0.0
"$folder/venv/bin/python" - <<'PYTHON'
import io

import av
import numpy as np
import soundfile

RATE, SECONDS = 24000, 8


class Pipe(io.RawIOBase):
    """Takes what is written and cannot go back."""

    def __init__(self):
        self.content = bytearray()

    def writable(self):
        return True

    def write(self, data):
        self.content += bytes(data)
        return len(data)


tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(SECONDS * RATE) / RATE)
tone[SECONDS * RATE * 3 // 4 :] += 0.2 * np.random.default_rng(0).standard_normal(SECONDS * RATE // 4)
pipe = Pipe()
with av.open(pipe, "w", format="mp3") as file:
    stream = file.add_stream("libmp3lame", rate=RATE)
    stream.layout = "mono"
    stream.codec_context.qscale, stream.codec_context.global_quality = True, 4 * 118  # a variable rate
    frame = av.AudioFrame.from_ndarray(tone[None].astype(np.float32), format="fltp", layout="mono")
    frame.sample_rate = RATE
    for packets in (stream.encode(frame), stream.encode(None)):
        file.mux(packets)

data = bytes(pipe.content)
read, rate = soundfile.read(io.BytesIO(data))
with av.open(io.BytesIO(data)) as file:
    decoded = sum(frame.samples for frame in file.decode(audio=0))
print(f"{soundfile.__libsndfile_version__}: {len(read) / rate:.2f} s are read of {decoded / RATE:.2f} s")
assert decoded >= SECONDS * RATE, "the file is not whole"
assert len(read) < decoded / 2, "it is read to its end now"
PYTHON
