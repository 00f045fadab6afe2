# SPDX-License-Identifier: Apache-2.0
"""What the velocity is conditioned on: text spread evenly over the frames, and the speech that is known.

Shapes: B batch, S tokens of the longest text, T frames of the longest utterance, F mel bins of one channel, C of all.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Condition:
    """Everything a velocity knows besides the time and the current state."""

    text: Tensor
    """(B, T, F) encoded text, one vector per frame."""
    speech: Tensor
    """(B, T, C) known frames, zero where speech is to be generated."""
    padding_mask: Tensor | None = None
    """(B, T), True at frames beyond the end of an utterance; None where no utterance is padded."""


def padding_mask(lengths: Tensor, longest: int) -> Tensor:
    """(B, longest), True at positions beyond each of the `lengths` (B)."""
    return torch.arange(longest, device=lengths.device) >= lengths[:, None]


def pad_tokens(
    tokens: Sequence[Sequence[int]], pad_id: int, device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Token ids of unequal length as one matrix.

    Args:
        tokens: B lists of token ids.
        pad_id: the padding token; at least one stands behind every text, for the frames that are left over.
        device: where the result lives.

    Returns:
        Ids (B, S + 1) and the numbers of tokens (B), int64.

    Raises:
        ValueError: a text has no tokens.
    """
    lengths = [len(ids) for ids in tokens]
    for index, length in enumerate(lengths):
        if length == 0:
            raise ValueError(f"text {index} of the batch has no tokens; leave it out or give it some text")
    width = max(lengths, default=0) + 1
    padded = [[*ids, *([pad_id] * (width - len(ids)))] for ids in tokens]
    return torch.tensor(padded).to(device, non_blocking=True), torch.tensor(lengths).to(device, non_blocking=True)


def frame_tokens(num_tokens: Tensor, num_frames: Tensor, longest: int) -> Tensor:
    """Which text position each frame takes: every token gets the same number of frames, a whole number.

    The frames that remain, and the padding, take the position behind the last token. So do all frames of an utterance
    with fewer frames than tokens.

    Args:
        num_tokens: tokens of each text (B), positive.
        num_frames: frames of each utterance (B).
        longest: number of frames T of the result.

    Returns:
        Text positions (B, T), int64.
    """
    frames_per_token = num_frames // num_tokens
    position = torch.arange(longest, device=num_tokens.device) // frames_per_token.clamp(min=1)[:, None]
    position = torch.where(frames_per_token[:, None] > 0, position, num_tokens[:, None])
    return torch.minimum(position, num_tokens[:, None])  # (B, T)


def timed_frame_tokens(durations: Tensor, num_tokens: Tensor, num_frames: Tensor, longest: int) -> Tensor:
    """Which text position each frame takes: the frames are shared out in proportion to the durations of the tokens.

    A frame takes the token that is spoken at its centre. The padding takes the position behind the last token.

    Args:
        durations: of the tokens (B, S + 1), positive; those behind the last token of a text do not matter.
        num_tokens: tokens of each text (B), positive.
        num_frames: frames of each utterance (B).
        longest: number of frames T of the result.

    Returns:
        Text positions (B, T), int64.
    """
    ends = durations.masked_fill(padding_mask(num_tokens, durations.shape[1]), 0.0).cumsum(dim=1)  # (B, S + 1)
    centres = (torch.arange(longest, device=ends.device) + 0.5) / num_frames[:, None]  # in utterances
    position = torch.searchsorted(ends, centres * ends[:, -1:], right=True)
    return torch.minimum(position, num_tokens[:, None])  # (B, T)


def upsample(text: Tensor, index: Tensor) -> Tensor:
    """Encoded text (B, S + 1, F) spread over the frames (B, T, F), by the text position of each frame (B, T)."""
    return text.gather(1, index[:, :, None].expand(-1, -1, text.shape[-1]))


def check_frames(num_tokens: Sequence[int], num_frames: Sequence[int]) -> None:
    """Raise ValueError where a text has more tokens than the utterance has frames: it would not be heard at all."""
    for index, (tokens, frames) in enumerate(zip(num_tokens, num_frames, strict=True)):
        if frames < tokens:
            raise ValueError(
                f"utterance {index} of the batch has {tokens} tokens but only {frames} frames; "
                "a token needs at least one frame: shorten the text, lengthen the speech or lower the speed"
            )


def predicted_frames(prompt_frames: int, prompt_length: float, length: float, speed: float = 1.0) -> int:
    """Frames to generate for a text, at the prompt's pace.

    Computed in float32 in this order; released results depend on its rounding.

    Args:
        prompt_frames: frames of the prompt.
        prompt_length: of the prompt's transcript, by `Vocabulary.length`: for the released models its tokens.
        length: of the text to be spoken.
        speed: speaking rate relative to the prompt's.

    Raises:
        ValueError: the prompt is empty or the speed is not positive.
    """
    if prompt_frames < 1 or prompt_length <= 0:
        raise ValueError(
            f"the prompt has {prompt_frames} frames and a text of length {prompt_length:g}; it needs speech and its "
            "transcript"
        )
    if not (math.isfinite(speed) and speed > 0):
        raise ValueError(f"speed must be a positive number, not {speed}")
    frames = torch.tensor(prompt_frames, dtype=torch.float32) / prompt_length * length / speed
    return math.ceil(frames.item())
