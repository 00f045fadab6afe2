# SPDX-License-Identifier: Apache-2.0
"""Sound heard: by a program of this machine, or in a page."""

import base64
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zipvoice.audio.files import Audio

PLAYERS = (
    ("afplay",),
    ("ffplay", "-autoexit", "-nodisp", "-loglevel", "error"),
    ("play", "-q"),
    ("mpv", "--really-quiet", "--no-video"),
    ("pw-play",),
    ("paplay",),
    ("aplay", "-q"),
)
"""Programs that play a wav file and then end, the likeliest first."""


def player() -> tuple[str, ...] | None:
    """A program of this machine that plays sound files, with its options."""
    return next((command for command in PLAYERS if shutil.which(command[0])), None)


def require_player() -> None:
    """Raise OSError unless this machine can play sound."""
    if player() is None and sys.platform != "win32":
        names = ", ".join(command[0] for command in PLAYERS)
        raise OSError(f"there is no program that plays sound ({names}); save the sound to a file instead")


def play(audio: "Audio") -> None:
    """Play a sound and wait for its end. Raises OSError where that is not possible."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sound.wav"
        audio.save(path)
        play_file(str(path))


def play_file(path: str) -> None:
    """Play a sound file and wait for its end. Raises OSError where that is not possible."""
    require_player()
    if command := player():
        _run([*command, path])
    elif sys.platform == "win32":
        import winsound

        winsound.PlaySound(path, winsound.SND_FILENAME)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
        raise OSError(f"{command[0]} could not play the sound: {reason}; save it to a file instead")


def html_player(audio: "Audio") -> str:
    """A player for a page, with the sound in it."""
    from zipvoice.audio.files import encode

    data = base64.b64encode(encode(audio, ".wav")).decode()
    return f'<audio controls src="data:audio/wav;base64,{data}"></audio>'
