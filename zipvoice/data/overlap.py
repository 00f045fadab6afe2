# SPDX-License-Identifier: Apache-2.0
"""Validation utterances whose sound is trained on too: a validation loss over them says nothing of other speech."""

import logging
import os
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from zipvoice.data.cuts import TOLERANCE

if TYPE_CHECKING:
    from lhotse.cut import Cut

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sound:
    """Where the sound of an utterance is from."""

    utterance: str
    recording: str
    """Its file or, in shards, the name by which `recording` calls the file."""
    start: float
    end: float
    """In seconds."""

    @classmethod
    def of(cls, cut: "Cut") -> "Sound":
        files = [source.source for source in cut.recording.sources] if cut.has_recording else []
        is_file = files and all(source.type == "file" for source in cut.recording.sources)
        names = files if is_file else [unquote(cut.recording_id)]
        return cls(cut.id, "&".join(map(os.path.abspath, names)), cut.start, cut.end)


def shared(train: Iterable[Sound], dev: Iterable[Sound]) -> list[str]:
    """The validation utterances that have sound in common with training.

    Example:
        >>> shared([Sound("a", "talk.wav", 0.0, 9.0)], [Sound("b", "talk.wav", 8.0, 12.0)])
        ['b']
    """
    spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for start, end, recording in sorted((sound.start, sound.end, sound.recording) for sound in train):
        heard = spans[recording]
        if heard and start <= heard[-1][1]:
            heard[-1] = heard[-1][0], max(end, heard[-1][1])
        else:
            heard.append((start, end))
    return [sound.utterance for sound in dev if _is_heard(sound, spans.get(sound.recording, []))]


def _is_heard(sound: Sound, spans: list[tuple[float, float]]) -> bool:
    """Whether one of some spans in order, which do not overlap, is heard in it."""
    after = bisect_right(spans, sound.start + TOLERANCE, key=lambda span: span[1])
    return after < len(spans) and spans[after][0] < sound.end - TOLERANCE


def warn_of_shared(train: Iterable[Sound], dev: Iterable[Sound], names: str) -> None:
    """Log how many utterances of the validation manifests of these names are trained on, and one of them."""
    dev = list(dev)
    if both := shared(train, dev):
        logger.warning(
            "%d of the %d utterances in %s are trained on too, such as %r: the validation loss does not tell how the "
            "model does on other speech; keep them out of one of the two",
            len(both), len(dev), names, both[0],
        )  # fmt: skip
