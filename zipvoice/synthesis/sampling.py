# SPDX-License-Identifier: Apache-2.0
"""From token ids and prompts to the features of new speech, with any runtime.

`sample` takes utterances from noise to speech together. `begin` puts them at the start of their way, from where
`advance` takes any of them one step further together, wherever each of them is.

Shapes: B batch, P frames of a prompt, S tokens of the longest text, T frames of the longest utterance, C mel bins of
all channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zipvoice.config.synthesis import EVALUATIONS, SamplingConfig
from zipvoice.model.arrays import Array, padded
from zipvoice.model.condition import Condition, pad_tokens, padding_mask
from zipvoice.model.duration import check_frames
from zipvoice.model.guidance import ReusedGuidance, scale_at, under_guidance
from zipvoice.model.solver import SOLVERS, Past, Velocity, solve, times_of
from zipvoice.runtime.base import AcousticModel, Floats
from zipvoice.seeds import standard_normal, synthesis_seed
from zipvoice.synthesis.chunk_planner import SpeechChunk

Tokens = Sequence[Sequence[int]]


def initial_noise(chunk: SpeechChunk) -> Floats:
    """The state (T, C) that sampling starts from, the same on all runtimes and devices."""
    return standard_normal((chunk.total_frames, chunk.voice.prompt.features.shape[1]), synthesis_seed(*chunk.seed))


@dataclass(eq=False)
class Trajectory:
    """One utterance on its way from noise to speech; arrays are the runtime's."""

    state: Array
    """(T, C), with the frames of the prompt."""
    condition: Condition
    """Of this utterance alone, without an axis of utterances: text (T, F), speech (T, C), no mask."""
    times: Sequence[float]
    """Of the solver's steps, from noise to speech."""
    sampling: SamplingConfig
    prompt_frames: int
    past: Past
    """What its last step leaves for the next."""
    velocity: Velocity
    """Its own, which remembers the guidance that is reused."""
    num_steps_done: int = 0

    @property
    def num_frames(self) -> int:
        """With the prompt."""
        return len(self.state)

    @property
    def num_steps_left(self) -> int:
        return len(self.times) - 1 - self.num_steps_done

    @property
    def time(self) -> float:
        """Where its next step begins."""
        return self.times[self.num_steps_done]

    @property
    def reuses_guidance(self) -> bool:
        """Whether its next step takes the guidance of a step before, or none, so that it is evaluated once."""
        return isinstance(self.velocity, ReusedGuidance) and not self.velocity.is_due(self.time)

    def speech(self, model: AcousticModel) -> Floats:
        """The scaled features (T, C) of the new speech."""
        return model.numpy(self.state[self.prompt_frames :])


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
    times = times_of(sampling)
    condition = prompt_condition(model, tokens, prompt_tokens, prompts, num_frames)
    state = model.array(padded(noise, max(map(len, noise))) * np.float32(sampling.temperature))
    velocity = under_guidance(model.velocity, sampling.guidance_scale, sampling)
    features = model.numpy(solve(velocity, state, condition, times, sampling.solver))
    spans = zip(features, prompts, num_frames, strict=True)
    return [frames[len(prompt) : len(prompt) + new] for frames, prompt, new in spans]


def begin(
    model: AcousticModel,
    tokens: Tokens,
    prompt_tokens: Tokens,
    prompts: Sequence[Floats],
    num_frames: Sequence[int],
    noise: Sequence[Floats],
    sampling: Sequence[SamplingConfig],
) -> list[Trajectory]:
    """Utterances before their first step, conditioned at the same time; arguments and errors as of `sample`.

    Each has its own `sampling`.
    """
    times = [times_of(each) for each in sampling]
    condition = prompt_condition(model, tokens, prompt_tokens, prompts, num_frames)
    trajectories = []
    for row, (prompt, new, start, each) in enumerate(zip(prompts, num_frames, noise, sampling, strict=True)):
        total = len(prompt) + new
        state = model.array(start[:total] * np.float32(each.temperature))
        own = Condition(condition.text[row, :total], condition.speech[row, :total])
        velocity = under_guidance(model.velocity, each.guidance_scale, each)
        trajectories.append(Trajectory(state, own, times[row], each, len(prompt), Past.none(state), velocity))
    return trajectories


def advance(model: AcousticModel, trajectories: Sequence[Trajectory]) -> None:
    """Take each utterance one step further, all together, whatever time each of them is at.

    They have solver and guidance in common, see `share_steps`, and `reuses_guidance` too.
    """
    first, *others = trajectories
    assert all(share_steps(first.sampling, other.sampling) for other in others)
    assert all(first.reuses_guidance == other.reuses_guidance for other in others)
    lengths = [trajectory.num_frames for trajectory in trajectories]
    longest = max(lengths)
    condition = Condition(
        padded([trajectory.condition.text for trajectory in trajectories], longest),
        padded([trajectory.condition.speech for trajectory in trajectories], longest),
        None if min(lengths) == longest else padding_mask(model.array(np.array(lengths)), longest),
    )
    t = _per_utterance(model, [trajectory.time for trajectory in trajectories])
    t_next = _per_utterance(model, [trajectory.times[trajectory.num_steps_done + 1] for trajectory in trajectories])
    past = Past(
        _per_utterance(model, [trajectory.past.t for trajectory in trajectories]),
        padded([trajectory.past.velocity for trajectory in trajectories], longest),
    )

    x = padded([trajectory.state for trajectory in trajectories], longest)
    step = SOLVERS[first.sampling.solver]
    states, velocities = step(_velocity(model, trajectories), x, condition, t, t_next, past)
    for trajectory, state, v in zip(trajectories, states, velocities, strict=True):
        trajectory.state = state[: trajectory.num_frames]
        trajectory.past = Past(trajectory.time, v[: trajectory.num_frames])
        trajectory.num_steps_done += 1


def _velocity(model: AcousticModel, trajectories: Sequence[Trajectory]) -> Velocity:
    """Of the next step of all of them."""
    first, *others = trajectories
    if not others:
        return first.velocity
    if reused := [each.velocity for each in trajectories if isinstance(each.velocity, ReusedGuidance)]:
        times, lengths = [each.time for each in trajectories], [each.num_frames for each in trajectories]
        return reused[0].side_by_side(reused[1:], times, lengths)
    scale = _per_utterance(model, [trajectory.sampling.guidance_scale for trajectory in trajectories])
    return under_guidance(model.velocity, scale, first.sampling)


def begins_unguided(sampling: SamplingConfig) -> bool:
    """What `Trajectory.reuses_guidance` will be before the first step."""
    scale = scale_at(times_of(sampling)[0], sampling.guidance_scale, sampling.guidance_interval)
    return sampling.guidance_every > 1 and scale == 0


def share_steps(first: SamplingConfig, second: SamplingConfig) -> bool:
    """Whether utterances of the two samplings can take a step together.

    Where guidance is reused and a step has several evaluations, each utterance steps alone.
    """
    shared = ("solver", "guidance_interval", "guidance_every")
    alike = all(getattr(first, name) == getattr(second, name) for name in shared)
    return alike and (first.guidance_every == 1 or EVALUATIONS[first.solver] == 1)


def evaluations(sampling: SamplingConfig, is_distilled: bool) -> int:
    """Of the network, from noise to speech; a batch with an unconditional half counts as two.

    Example:
        >>> evaluations(SamplingConfig(16, 1.0), is_distilled=False)
        32
    """
    counted = 0

    def velocity(t: float | Array, x: Array, condition: Condition, guidance_scale: float | Array, **end: Any) -> Array:
        nonlocal counted
        counted += len(x) * (1 if is_distilled or guidance_scale == 0 else 2)
        return x

    nothing = np.zeros((1, 1, 1), np.float32)
    guided = under_guidance(velocity, sampling.guidance_scale, sampling)
    solve(guided, nothing, Condition(nothing, nothing), times_of(sampling), sampling.solver)
    return counted


def _per_utterance(model: AcousticModel, values: Sequence[float]) -> float | Array:
    """One number where all are equal, which needs nothing on the device, else one for each utterance (B, 1, 1)."""
    if len(set(values)) == 1:
        return values[0]
    return model.array(np.array(values, np.float32)[:, None, None])


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
    padded_ids, num_tokens = pad_tokens(texts, model.description.vocabulary.pad_id)
    return model.condition(padded_ids, num_tokens, np.array(total), padded(prompts, max(total)))
