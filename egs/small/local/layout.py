# SPDX-License-Identifier: Apache-2.0
"""Utterances with a whole number of frames for each token.

ZipVoice gives each token equally many frames, a whole number, and leaves the frames that remain at the end without a
token. In a recording of 7.9 frames for each token, that is the last tenth, and the text runs ahead of the speech. So
where tokens are to lie beside their sounds, recordings are stretched a little until no frames remain.
"""

from typing import Any

from torch import Tensor

from zipvoice.audio.mel import HOP, SAMPLING_RATE
from zipvoice.training.cuts import require_lhotse

Cut = Any  # lhotse's, which takes seconds to import


def frames_per_token(num_frames: int, num_tokens: int) -> int:
    """The whole number closest to the pace of an utterance."""
    return max(1, round(num_frames / num_tokens))


def stored(store: Any, cut: Cut, features: Tensor) -> Cut:
    """The cut with these features, as long as they are, and without a recording, which they no longer follow."""
    copy = require_lhotse().utils.fastcopy
    cut, seconds = store(cut, features), len(features) * HOP / SAMPLING_RATE
    said, described = copy(cut.supervisions[0], duration=seconds), copy(cut.features, duration=seconds)
    return copy(cut, duration=seconds, supervisions=[said], features=described, recording=None)
