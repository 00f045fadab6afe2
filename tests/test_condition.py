# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zipvoice.model.arrays import running_sum
from zipvoice.model.condition import pad_tokens, padding_mask
from zipvoice.model.duration import (
    check_frames,
    predicted_frames,
    text_length,
    timed_alignment,
    uniform_alignment,
    upsample,
)

KNOWN = json.loads((Path(__file__).parent / "data" / "text_condition" / "alignment.json").read_text())


@pytest.mark.parametrize("known", KNOWN["average_upsampling"])
def test_frames_take_the_tokens_of_the_reference(known):
    tokens, frames = torch.tensor(known["tokens_lens"]), torch.tensor(known["features_lens"])
    index = uniform_alignment(tokens, frames, int(frames.max()))
    assert index.tolist() == known["token_index"]
    assert padding_mask(frames, int(frames.max())).int().tolist() == known["padding_mask"]


def test_predicted_frames_equal_reference():
    for known in KNOWN["predicted_duration"]:
        frames = predicted_frames(known["prompt_frames"], known["prompt_tokens"], known["tokens"], known["speed"])
        assert frames == known["generated_frames"], known


def test_padded_tokens_equal_reference():
    for known in KNOWN["padded_labels"]:
        if all(known["labels"]):
            ids, lengths = pad_tokens(known["labels"], known["pad_id"])
            assert ids.tolist() == known["padded"]
            assert lengths.tolist() == [len(labels) for labels in known["labels"]]


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 200)), min_size=1, max_size=4))
def test_every_token_gets_the_same_number_of_frames(sizes):
    tokens = torch.tensor([tokens for tokens, _ in sizes])
    frames = torch.tensor([tokens + more for tokens, more in sizes])
    longest = int(frames.max())
    for row, num_tokens, num_frames in zip(uniform_alignment(tokens, frames, longest), tokens, frames, strict=True):
        counts = row.bincount(minlength=int(num_tokens) + 1)
        assert (counts[:-1] == num_frames // num_tokens).all()
        assert (row.diff() >= 0).all()


def test_upsample_picks_the_rows():
    text = torch.arange(2 * 4 * 3.0).view(2, 4, 3)
    frames = upsample(text, uniform_alignment(torch.tensor([3, 1]), torch.tensor([7, 2]), 7))
    assert torch.equal(frames[0], text[0, [0, 0, 1, 1, 2, 2, 3]])
    assert torch.equal(frames[1], text[1, [0, 0, 1, 1, 1, 1, 1]])


def test_frames_are_shared_out_by_durations():
    durations = torch.tensor([[1.0, 2.0, 0.5, 9.0], [3.0, 9.0, 9.0, 9.0]])
    index = timed_alignment(durations, torch.tensor([3, 1]), torch.tensor([7, 3]), 8)
    assert index.tolist() == [[0, 0, 1, 1, 1, 1, 2, 3], [0, 0, 0, 1, 1, 1, 1, 1]], (
        "what is behind a text does not matter"
    )


@given(
    st.lists(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=30), min_size=1, max_size=4),
    st.integers(1, 300),
)
def test_a_token_gets_its_share_of_the_frames_to_within_one(durations, num_frames):
    longest = max(map(len, durations)) + 1
    padded = torch.tensor([row + [1.0] * (longest - len(row)) for row in durations])
    num_tokens = torch.tensor([len(row) for row in durations])
    frames = torch.tensor([num_frames + i for i in range(len(durations))])
    index = timed_alignment(padded, num_tokens, frames, int(frames.max()))
    for places, row, length in zip(index, durations, frames.tolist(), strict=True):
        assert (places.diff() >= 0).all()
        assert (places[length:] == len(row)).all() and places[:length].max() < len(row)
        counts = places.bincount(minlength=len(row) + 1)[: len(row)]
        share = torch.tensor(row) / sum(row) * length
        assert ((counts - share).abs() < 1.001).all()


@given(st.integers(1, 40), st.integers(1, 6))
def test_equal_durations_lay_out_a_text_as_none_do(num_tokens, frames_per_token):
    tokens, frames = torch.tensor([num_tokens]), torch.tensor([num_tokens * frames_per_token])
    timed = timed_alignment(torch.ones(1, num_tokens + 1), tokens, frames, int(frames))
    assert torch.equal(timed, uniform_alignment(tokens, frames, int(frames)))


def test_how_much_speech_a_text_is():
    assert text_length([1, 2, 2]) == 3
    assert text_length([1, 2, 2], durations=(1.0, 0.5, 0.25, 2.0)) == 1.0


def test_empty_text():
    with pytest.raises(ValueError, match="text 1 of the batch has no tokens"):
        pad_tokens([[1], []], 0)


def test_more_tokens_than_frames():
    check_frames([3, 4], [3, 9])
    with pytest.raises(ValueError, match=r"utterance 1 .* 10 tokens but only 9 frames"):
        check_frames([3, 10], [3, 9])


@pytest.mark.parametrize("seed", range(20))
def test_arrays_of_both_kinds_share_out_the_same_frames(seed):
    """Among 400 tokens and 1400 frames some borders fall so close to a frame's centre that rounding decides."""
    rng = np.random.default_rng(seed)
    durations = rng.integers(1, 30, (1, 401)).astype(np.float32) / np.float32(100)
    lengths = np.array([400]), np.array([int(rng.integers(1000, 1400))])
    found = timed_alignment(durations, *lengths, int(lengths[1][0]))
    tensors = timed_alignment(torch.from_numpy(durations), *map(torch.from_numpy, lengths), int(lengths[1][0]))
    np.testing.assert_array_equal(found, tensors.numpy())


def test_many_small_durations_are_not_lost_beside_a_large_one():
    small = torch.full((1, 2**17 + 1), 2.0**-24, dtype=torch.bfloat16)
    small[0, 0] = 1
    assert running_sum(small)[0, -1].item() == 1 + 2**-7  # in single precision it stays 1


@pytest.mark.parametrize(
    ("frames", "length", "speed", "message"),
    [
        (0, 3, 1.0, "the prompt has 0 frames and a text of length 3; it needs speech"),
        (1, 0, 1.0, "the prompt has 1 frames and a text of length 0; it needs speech"),
        (1, 3, 0.0, "speed must be a positive number, not 0"),
        (1, 3, -1.0, "speed must be a positive number"),
        (1, 3, float("inf"), "speed must be a positive number"),
        (1, 3, float("nan"), "speed must be a positive number"),
    ],
)
def test_a_length_is_predicted_from_speech_and_a_speed(frames, length, speed, message):
    with pytest.raises(ValueError, match=message):
        predicted_frames(frames, length, 5, speed)
    assert predicted_frames(1, 1, 5) == 5
