# SPDX-License-Identifier: Apache-2.0
"""From token ids and a prompt's features to the features of new speech.

Shapes: B batch, P frames of the longest prompt, T frames of the longest utterance, C mel bins of all channels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from zipvoice.config.model import Vocabulary
from zipvoice.model.condition import Condition, padding_mask
from zipvoice.model.duration import predicted_frames, text_length
from zipvoice.model.guidance import guided_velocity
from zipvoice.model.solver import euler, time_grid
from zipvoice.model.zipvoice import ZipVoice

Tokens = Sequence[Sequence[int]]


def num_generated_frames(
    vocabulary: Vocabulary, tokens: Tokens, prompt_tokens: Tokens, prompt_frames: Sequence[int], speed: float = 1.0
) -> list[int]:
    """Frames to generate for each text, at its prompt's pace and the given `speed`."""
    _check_texts(tokens, prompt_tokens, prompt_frames)
    lengths, prompt_lengths = (
        [text_length(ids, vocabulary.durations) for ids in texts] for texts in (tokens, prompt_tokens)
    )
    batch = zip(prompt_frames, prompt_lengths, lengths, strict=True)
    return [predicted_frames(*item, speed) for item in batch]


def prompt_condition(
    model: ZipVoice,
    tokens: Tokens,
    prompt_tokens: Tokens,
    prompt: Tensor,
    prompt_frames: Sequence[int],
    num_frames: Sequence[int],
) -> Condition:
    """The condition for new speech that continues a prompt.

    Args:
        model: any variant.
        tokens: B texts to be spoken.
        prompt_tokens: B transcripts of the prompts.
        prompt: features of the prompts (B, P, C), scaled.
        prompt_frames: B numbers of frames of the prompts.
        num_frames: B numbers of frames to generate.

    Returns:
        The condition for the prompts followed by the new speech.

    Raises:
        ValueError: a text or prompt is empty, or there are more tokens than frames.
    """
    _check_texts(tokens, prompt_tokens, prompt_frames)
    if min(prompt_frames) < 1 or max(prompt_frames) > prompt.shape[1]:
        raise ValueError(f"prompts of {list(prompt_frames)} frames do not fit features of {prompt.shape[1]} frames")
    total = [before + new for before, new in zip(prompt_frames, num_frames, strict=True)]
    text = model.condition_text([[*before, *new] for before, new in zip(prompt_tokens, tokens, strict=True)], total)
    speech = prompt.new_zeros(len(total), max(total), prompt.shape[-1])
    for index, frames in enumerate(prompt_frames):
        speech[index, :frames] = prompt[index, :frames]
    padded = min(total) < max(total)
    mask = padding_mask(torch.tensor(total, device=prompt.device), max(total)) if padded else None
    return Condition(text, speech, mask)


def _check_texts(tokens: Tokens, prompt_tokens: Tokens, prompt_frames: Sequence[int]) -> None:
    if not len(tokens) == len(prompt_tokens) == len(prompt_frames) > 0:
        raise ValueError(
            f"{len(tokens)} texts, {len(prompt_tokens)} prompt transcripts and {len(prompt_frames)} prompts; "
            "each text needs a prompt and its transcript"
        )
    for kind, texts in (("text", tokens), ("prompt transcript", prompt_tokens)):
        for index, ids in enumerate(texts):
            if not ids:
                raise ValueError(f"{kind} {index} of the batch has no tokens; leave it out or give it some text")


@torch.inference_mode()
def sample(
    model: ZipVoice,
    tokens: Tokens,
    prompt_tokens: Tokens,
    prompt: Tensor,
    prompt_frames: Sequence[int],
    *,
    num_steps: int,
    guidance_scale: float | Tensor,
    t_shift: float = 0.5,
    temperature: float = 1.0,
    speed: float = 1.0,
    num_frames: Sequence[int] | None = None,
    noise: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> list[Tensor]:
    """Generate speech in the voice of a prompt.

    Args:
        model: any variant.
        tokens: B texts to be spoken.
        prompt_tokens: B transcripts of the prompts.
        prompt: features of the prompts (B, P, C), scaled.
        prompt_frames: B numbers of frames of the prompts.
        num_steps: Euler steps.
        guidance_scale: one number or one per utterance (B, 1, 1).
        t_shift: time shift of the steps, see `time_grid`.
        temperature: factor of the noise, as in Grad-TTS (Popov et al., 2021).
        speed: speaking rate relative to the prompts'.
        num_frames: B numbers of frames to generate, instead of those that follow from `speed`.
        noise: the noise (B, T, C), instead of a random draw.
        generator: of the random draw, on the model's device.

    Returns:
        B tensors (frames, C), the new speech without the prompt.

    Raises:
        ValueError: see `prompt_condition`, `predicted_frames` and `time_grid`.
    """
    times = time_grid(num_steps, t_shift)
    if num_frames is None:
        num_frames = num_generated_frames(model.vocabulary, tokens, prompt_tokens, prompt_frames, speed)
    condition = prompt_condition(model, tokens, prompt_tokens, prompt, prompt_frames, num_frames)
    if noise is None:
        noise = torch.randn(condition.speech.shape, generator=generator, device=prompt.device)
    x = euler(guided_velocity(model, guidance_scale), temperature * noise, condition, times)
    spans = zip(x, prompt_frames, num_frames, strict=True)
    return [features[before : before + new] for features, before, new in spans]
