# SPDX-License-Identifier: Apache-2.0
"""How long tokens last: which token each frame speaks, and how many frames a text gets.

ZipVoice has no duration model. All tokens of a text get the same number of frames or, where the vocabulary has typical
durations, frames in proportion to them; how long a text lasts follows from the prompt's pace. NumPy arrays and PyTorch
tensors alike. Shapes: B batch, S tokens of the longest text, T frames of the longest utterance, F text features.
"""

import math
from collections.abc import Sequence

import numpy as np

from zipvoice.model.arrays import Array, cast, namespace, positions, running_sum

SHORT_SECONDS = 1.6
"""Speech predicted to be shorter gets more time; see `short_text_floor`."""
MIN_FRAMES = 2
"""A vocoder makes sound between frames."""


def uniform_alignment(num_tokens: Array, num_frames: Array, longest: int) -> Array:
    """Which token each frame speaks: every token gets the same number of frames, a whole number.

    The frames that remain, and the padding, take the position behind the last token. So do all frames of an utterance
    with fewer frames than tokens.

    Args:
        num_tokens: tokens of each text (B), positive.
        num_frames: frames of each utterance (B).
        longest: number of frames T of the result.

    Returns:
        Text positions (B, T), int64.

    Example:
        >>> uniform_alignment(np.array([3]), np.array([7]), 8).tolist()
        [[0, 0, 1, 1, 2, 2, 3, 3]]
    """
    xp = namespace(num_tokens)
    frames_per_token = (num_frames // num_tokens)[:, None]
    position = positions(longest, num_tokens) // frames_per_token.clip(1)
    return xp.minimum(xp.where(frames_per_token > 0, position, num_tokens[:, None]), num_tokens[:, None])


def timed_alignment(durations: Array, num_tokens: Array, num_frames: Array, longest: int) -> Array:
    """Which token each frame speaks: the frames are shared out in proportion to typical durations of the tokens.

    A frame takes the token that is spoken at its centre. The padding takes the position behind the last token.

    Args:
        durations: of the tokens (B, S + 1), positive; those behind the last token of a text do not matter.
        num_tokens: tokens of each text (B), positive.
        num_frames: frames of each utterance (B).
        longest: number of frames T of the result.

    Returns:
        Text positions (B, T), int64.

    Example:
        >>> timed_alignment(np.array([[1.0, 2.0, 9.0]]), np.array([2]), np.array([6]), 7).tolist()
        [[0, 0, 1, 1, 1, 1, 2]]
    """
    is_token = positions(durations.shape[1], num_tokens) < num_tokens[:, None]
    ends = running_sum(durations * is_token)  # (B, S + 1)
    centres = (cast(positions(longest, num_tokens), durations) + 0.5) / cast(num_frames, durations)[:, None]
    position = (ends[:, None, :] <= (centres * ends[:, -1:])[:, :, None]).sum(2)  # tokens that have ended, (B, T)
    return namespace(durations).minimum(position, num_tokens[:, None])


def upsample(text: Array, alignment: Array) -> Array:
    """Encoded text (B, S + 1, F), a tensor, spread over the frames (B, T, F), by the token of each frame (B, T)."""
    return text.gather(1, alignment[:, :, None].expand(-1, -1, text.shape[-1]))


def check_frames(num_tokens: Sequence[int], num_frames: Sequence[int]) -> None:
    """Raise ValueError where a text has more tokens than the utterance has frames: none of it would be spoken."""
    for index, (tokens, frames) in enumerate(zip(num_tokens, num_frames, strict=True)):
        if frames < tokens:
            raise ValueError(
                f"utterance {index} of the batch has {tokens} tokens but only {frames} frames; "
                "a token needs at least one frame: shorten the text, lengthen the speech or lower the speed"
            )


def text_length(ids: Sequence[int], durations: Sequence[float] | None = None) -> float:
    """How much speech a text is: the typical durations of its tokens together or, without any, their number.

    Args:
        ids: token ids of the text.
        durations: of all tokens, see `Vocabulary.durations`.

    Example:
        >>> text_length([1, 2, 2]), text_length([1, 2, 2], durations=(1.0, 0.5, 0.25))
        (3, 1.0)
    """
    return len(ids) if durations is None else sum(durations[i] for i in ids)


def predicted_frames(prompt_frames: int, prompt_length: float, length: float, speed: float = 1.0) -> int:
    """Frames to generate for a text, at the prompt's pace.

    Computed in float32 in this order; released results depend on its rounding.

    Args:
        prompt_frames: frames of the prompt.
        prompt_length: of the prompt's transcript, by `text_length`: for the released models its number of tokens.
        length: of the text to be spoken, by `text_length`.
        speed: speaking rate relative to the prompt's.

    Raises:
        ValueError: the prompt is empty or the speed is not positive.

    Example:
        >>> predicted_frames(prompt_frames=50, prompt_length=10, length=20, speed=0.5)
        200
    """
    if prompt_frames < 1 or prompt_length <= 0:
        raise ValueError(
            f"the prompt has {prompt_frames} frames and a text of length {prompt_length:g}; it needs speech and its "
            "transcript"
        )
    if not (math.isfinite(speed) and speed > 0):
        raise ValueError(f"speed must be a positive number, not {speed}")
    return int(paced(np.float32(prompt_frames), np.float32(prompt_length), np.float32(length), np.float32(speed)))


def paced(prompt_frames: Array, prompt_length: Array, length: Array, speed: Array) -> Array:
    """`predicted_frames` of float32 numbers or arrays, as whole float32 numbers."""
    return namespace(prompt_frames).ceil(prompt_frames / prompt_length * length / speed)


def short_text_floor(seconds: float) -> float:
    """Seconds of speech that a text of a predicted length gets: the same from 1.6 s on, more below.

    3 d / (1.4 + d) is the slow-down of 0.6 for one word (0.4 s) and 0.8 for two to four (1 s) that other systems
    apply by counting words, made continuous: longer texts never get shorter speech.

    Example:
        >>> short_text_floor(1.0), short_text_floor(2.0)
        (1.25, 2.0)
    """
    return seconds if seconds >= SHORT_SECONDS else lengthened(seconds)


def lengthened(seconds: Array) -> Array:
    """What `short_text_floor` makes of less than `SHORT_SECONDS`; numbers or arrays."""
    return 3 * seconds / (1.4 + seconds)
