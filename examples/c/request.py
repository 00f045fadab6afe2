# SPDX-License-Identifier: Apache-2.0
"""What speak.c reads: python request.py FOLDER RECORDING TRANSCRIPT TEXT writes request.txt and voice.wav.

FOLDER is one of `zipvoice export MODEL -o FOLDER --for sherpa`.
"""

import sys
from pathlib import Path

import zipvoice

NUMBERS = ("feat_scale", "t_shift", "target_rms", "guidance_scale")


def main(folder: str, recording: str, transcript: str, text: str) -> None:
    """Write both files into the current folder."""
    texts = zipvoice.sherpa(folder)
    voice = texts.voice(recording, transcript)
    numbers = [texts.settings[name] for name in NUMBERS]
    lines = [[*map(str, numbers), str(texts.num_steps)], *texts.tokens(text, voice)]
    Path("request.txt").write_text("".join(" ".join(line) + "\n" for line in lines), encoding="utf-8")
    zipvoice.Audio(voice.samples[None], voice.sampling_rate).save("voice.wav")


if __name__ == "__main__":
    main(*sys.argv[1:])
