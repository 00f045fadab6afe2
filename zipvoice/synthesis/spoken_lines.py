# SPDX-License-Identifier: Apache-2.0
"""What of a subtitle is said: without music, sounds and the labels of those who make them."""

import re

_MUSIC = re.compile(r"[♪♫♬♩🎵🎶]+")
_BRACKETS = re.compile(r"(?<!\[)\[(?!\[|pause\b|S[12]\])[^\[\]]*\]|【[^【】]*】|［[^［］]*］", re.IGNORECASE)
_CAPITALS = re.compile(r"[(（](?=[^()（）]*[A-Z])[^a-z()（）]*[)）]")
_ASIDE = re.compile(r"[(（]([^()（）]*)[)）]|\*([^*]*)\*")
_LABEL = re.compile(r"(?:[-–—]\s*)?[^:\n.!?]{1,40}:")
LONGEST_SOUND = 4
"""Words of a line in parentheses, without the end of a sentence, up to which it names a sound: (door opens)."""


def spoken(text: str) -> str:
    """The lines of a subtitle that are speech, or nothing; pauses and speaker tags of the markup stay."""
    heard = _CAPITALS.sub(" ", _BRACKETS.sub(" ", _MUSIC.sub(" ", text)))
    lines = [" ".join(line.split()) for line in heard.split("\n")]
    lines = [line for line in lines if line and not _is_sound(line) and not (heard != text and _LABEL.fullmatch(line))]
    joined = "\n".join(lines)
    return joined if any(character.isalnum() for character in re.sub(r"\[[^\[\]]*\]", "", joined)) else ""


def _is_sound(line: str) -> bool:
    match = _ASIDE.fullmatch(line)
    inner = (match[1] or match[2] or "") if match else ""
    return bool(match) and len(inner.split()) <= LONGEST_SOUND and not re.search(r"[.!?。！？]", inner)
