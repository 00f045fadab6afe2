# SPDX-License-Identifier: Apache-2.0
"""From token ids and prompts to the features of new speech, with any runtime.

Shapes: B batch, P frames of a prompt, S tokens of the longest text, T frames of the longest utterance, C mel bins of
all channels.
"""

from collections.abc import Sequence

import numpy as np

from zipvoice.config.synthesis import SamplingConfig
from zipvoice.model.arrays import Array
from zipvoice.model.condition import Condition, pad_tokens
from zipvoice.model.duration import check_frames
from zipvoice.model.solver import euler, time_grid
from zipvoice.runtime.base import AcousticModel, Floats

Tokens = Sequence[Sequence[int]]


def sample(
    model: AcousticModel,
    tokens: Tokens,
    prompt_tokens: Tokens,
    prompts: Sequence[Floats],
    num_frames: Sequence[int],
    noise: Sequence[Floats],
    sampling: SamplingConfig,
) -> list[Floats]:
    """Generate speech in the voices of prompts, all utterances at the same time.

    Args:
        model: of any runtime.
        tokens: B texts to be spoken.
        prompt_tokens: B transcripts of the prompts.
        prompts: B scaled features (P, C).
        num_frames: B numbers of frames to generate.
        noise: B initial states (T, C), one row for each frame of prompt and new speech.
        sampling: steps, guidance and noise; the temperature is that of Grad-TTS (Popov et al., 2021).

    Returns:
        B scaled features (frames, C), the new speech without the prompt.

    Raises:
        ValueError: a text or a transcript is empty, there are more tokens than frames, or no steps.
    """
    times = time_grid(sampling.num_steps, sampling.t_shift)
    condition = prompt_condition(model, tokens, prompt_tokens, prompts, num_frames)

    def velocity(t: float | Array, x: Array, condition: Condition) -> Array:
        return model.velocity(t, x, condition, sampling.guidance_scale)

    state = model.array(_padded(noise) * np.float32(sampling.temperature))
    features = model.numpy(euler(velocity, state, condition, times))
    spans = zip(features, prompts, num_frames, strict=True)
    return [frames[len(prompt) : len(prompt) + new] for frames, prompt, new in spans]


def prompt_condition(
    model: AcousticModel,
    tokens: Tokens,
    prompt_tokens: Tokens,
    prompts: Sequence[Floats],
    num_frames: Sequence[int],
) -> Condition:
    """The condition for prompts followed by new speech; arguments and errors as of `sample`."""
    for kind, texts in (("text", tokens), ("prompt transcript", prompt_tokens)):
        for index, ids in enumerate(texts):
            if not ids:
                raise ValueError(f"{kind} {index} of the batch has no tokens; leave it out or give it some text")
    texts = [[*before, *new] for before, new in zip(prompt_tokens, tokens, strict=True)]
    total = [len(prompt) + new for prompt, new in zip(prompts, num_frames, strict=True)]
    check_frames([len(ids) for ids in texts], total)
    padded, num_tokens = pad_tokens(texts, model.description.vocabulary.pad_id)
    return model.condition(padded, num_tokens, np.array(total), _padded(prompts, max(total)))


def _padded(items: Sequence[Floats], longest: int | None = None) -> Floats:
    """Matrices (T, C) as one array (B, T, C), zero behind each."""
    longest = longest or max(map(len, items))
    return np.stack([np.pad(item, ((0, longest - len(item)), (0, 0))) for item in items])
