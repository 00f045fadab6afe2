# SPDX-License-Identifier: Apache-2.0
"""Prompts with two speakers: recordings one after the other, transcripts with tags, turns that models can count.

Models tell the speakers by the parity of the number of turns so far, prompt included. So the prompt must have an even
number of them, beginning with the first speaker, or the voices would be swapped.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from zipvoice.audio.files import Audio
from zipvoice.audio.mel import FLOOR, NUM_MELS
from zipvoice.synthesis.chunk_planner import check_turns, merged_turns
from zipvoice.text.token_table import SPEAKER_TAGS


def prompt_turns(tokens: Sequence[str]) -> list[str]:
    """The tokens of a transcript with alternating turns of both speakers. Raises ValueError for anything else."""
    check_turns(tokens)
    turns = merged_turns(tokens)
    last = [token for token in turns if token in SPEAKER_TAGS][-1]
    if last != SPEAKER_TAGS[1]:
        raise ValueError(
            "the transcript of a dialogue's voices must have turns of both speakers and end with one of [S2]; after "
            "one of [S1] the model would swap the voices"
        )
    return turns


def joined_transcripts(texts: Sequence[str]) -> str:
    """The transcript of both speakers. Raises ValueError if a text is empty or has tags of its own.

    Example:
        >>> joined_transcripts(["Hello.", "Hi, how are you?"])
        '[S1]Hello.[S2]Hi, how are you?'
    """
    for number, text in enumerate(texts, start=1):
        if not text.strip() or any(tag in text for tag in SPEAKER_TAGS):
            raise ValueError(
                f"the transcript of speaker {number} must be what is said, without tags, not {text[:60]!r}"
            )
    return "".join(f"{tag}{text}" for tag, text in zip(SPEAKER_TAGS, texts, strict=True))


def joined_recordings(recordings: Sequence[Audio], num_channels: int) -> Audio:
    """Two recordings of one rate, the first speaker's first; for two channels each speaker in a channel of their own.

    Two-channel recordings are taken as they are for two channels. Raises ValueError for any other mixture of channels.
    """
    first, second = recordings
    rate = first.sampling_rate
    assert rate == second.sampling_rate
    if num_channels == 1:
        return Audio(np.concatenate([first.mono().samples, second.mono().samples], axis=1), rate)
    if first.num_channels == second.num_channels == 2:
        return Audio(np.concatenate([first.samples, second.samples], axis=1), rate)
    if not first.num_channels == second.num_channels == 1:
        raise ValueError(
            f"the recordings of the two speakers have {first.num_channels} and {second.num_channels} channels; the "
            "stereo model takes two one-channel recordings, or two two-channel ones with the speakers in their channels"
        )
    left = np.pad(first.samples, ((0, 1), (0, 0)))  # (2, N)
    right = np.pad(second.samples, ((1, 0), (0, 0)))  # (2, M)
    return Audio(np.concatenate([left, right], axis=1), rate)


def joined_features(first: NDArray[np.float32], second: NDArray[np.float32], num_channels: int) -> NDArray[np.float32]:
    """Log-mel features (T, F) of two voices, the first speaker's first; for two channels (T, 2 F) as for recordings.

    Raises ValueError for a voice of two channels.
    """
    if {first.shape[1], second.shape[1]} != {NUM_MELS}:
        raise ValueError("a voice that has two channels is of two speakers already")
    if num_channels == 1:
        return np.concatenate([first, second])
    features = np.full((len(first) + len(second), 2 * first.shape[1]), np.log(np.float32(FLOOR)), np.float32)
    features[: len(first), : first.shape[1]] = first
    features[len(first) :, first.shape[1] :] = second
    return features
