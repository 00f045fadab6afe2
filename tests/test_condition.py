# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zipvoice.model.condition import check_frames, frame_tokens, pad_tokens, padding_mask, predicted_frames, upsample

KNOWN = json.loads((Path(__file__).parent / "data" / "text_condition" / "alignment.json").read_text())


@pytest.mark.parametrize("known", KNOWN["average_upsampling"])
def test_frames_take_the_tokens_of_the_reference(known):
    tokens, frames = torch.tensor(known["tokens_lens"]), torch.tensor(known["features_lens"])
    index = frame_tokens(tokens, frames, int(frames.max()))
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
    for row, num_tokens, num_frames in zip(frame_tokens(tokens, frames, longest), tokens, frames, strict=True):
        counts = row.bincount(minlength=int(num_tokens) + 1)
        assert (counts[:-1] == num_frames // num_tokens).all()
        assert (row.diff() >= 0).all()


def test_upsample_picks_the_rows():
    text = torch.arange(2 * 4 * 3.0).view(2, 4, 3)
    frames = upsample(text, torch.tensor([3, 1]), torch.tensor([7, 2]), 7)
    assert torch.equal(frames[0], text[0, [0, 0, 1, 1, 2, 2, 3]])
    assert torch.equal(frames[1], text[1, [0, 0, 1, 1, 1, 1, 1]])


def test_empty_text():
    with pytest.raises(ValueError, match="text 1 of the batch has no tokens"):
        pad_tokens([[1], []], 0)


def test_more_tokens_than_frames():
    check_frames([3, 4], [3, 9])
    with pytest.raises(ValueError, match=r"utterance 1 .* 10 tokens but only 9 frames"):
        check_frames([3, 10], [3, 9])
