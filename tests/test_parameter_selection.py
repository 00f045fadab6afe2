# SPDX-License-Identifier: Apache-2.0
import pytest
from torch import nn

from zipvoice.training.model_init import freeze, select, trained

NAMES = ["embed.weight", "encoder.0.in_proj.weight", "encoder.0.in_proj.bias", "encoder.1.in_proj.bias"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("embed", [0]),
        ("embed.weight", [0]),
        ("encoder", [1, 2, 3]),
        ("encoder.0", [1, 2]),
        ("encoder.*.in_proj", [1, 2, 3]),
        ("*.bias", [2, 3]),
        ("*", [0, 1, 2, 3]),
    ],
)
def test_a_pattern_means_what_it_matches_and_what_lies_below(pattern, expected):
    assert select(NAMES, pattern, "to freeze") == [NAMES[i] for i in expected]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("embedd.*", "no part 'embedd.*' to freeze; did you mean 'embed'"),
        ("encoder.2.in_proj", "did you mean 'encoder.1.in_proj' or 'encoder.0.in_proj'"),
        ("zzz", "known: embed, encoder"),
        ("mbed", "did you mean 'embed'"),
    ],
)
def test_a_pattern_that_means_nothing_is_an_error_that_names_what_is_near(pattern, message):
    with pytest.raises(ValueError) as error:
        select(NAMES, pattern, "to freeze")
    assert message in str(error.value)


def test_no_more_than_three_parts_are_suggested():
    with pytest.raises(ValueError) as error:
        select([f"layer.{i}.weight" for i in range(9)], "layer.9", "to freeze")
    assert str(error.value).count("'layer.") == 1 + 3


def test_frozen_parameters_are_not_counted_as_trained():
    model = nn.ModuleDict({"a": nn.Linear(3, 5), "b": nn.Linear(1000, 2)})
    freeze(model, ["a", "b.bias"])
    assert [name for name, param in model.named_parameters() if param.requires_grad] == ["b.weight"]
    assert trained(model) == "2,000 of 2,022 parameters are trained: 2,000 in b"
