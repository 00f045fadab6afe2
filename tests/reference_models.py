# SPDX-License-Identifier: Apache-2.0
"""Small networks with their reference inputs and outputs."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from zipvoice.config.model import ModelConfig, Vocabulary
from zipvoice.config.model_file import ModelFile
from zipvoice.config.strict_json import from_dict
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.runtime.torch import TorchModel

FOLDER = Path(__file__).parent / "data" / "models"
CASES = ("zipvoice_u5", "distill_u3", "dialog_u3", "stereo_u5")


@dataclass(frozen=True)
class Reference:
    """One network and everything that is known about it."""

    model: ZipVoice
    weights: dict[str, torch.Tensor]
    tensors: dict[str, torch.Tensor]
    tests: list[dict[str, Any]]


@cache
def reference(case: str) -> Reference:
    description = json.loads((FOLDER / f"{case}.json").read_text())
    tokenizer = description["tokenizer"]
    vocabulary = Vocabulary(
        tokenizer["vocab_size"], tokenizer["pad_id"], tokenizer.get("spk_a_id"), tokenizer.get("spk_b_id")
    )
    model = ZipVoice(
        from_dict(ModelConfig, description["config"]["model"]), vocabulary, description["model_name"]
    ).eval()
    weights = load_file(FOLDER / f"{case}.weights.safetensors")
    model.load_state_dict(weights)
    return Reference(model, weights, load_file(FOLDER / f"{case}.io.safetensors"), description["tests"])


def runtime_model(case: str) -> TorchModel:
    network = reference(case).model
    return TorchModel(network, ModelFile(network.config), "cpu")


def reference_tests(kind: str) -> list[tuple[str, str]]:
    """All (case, test name) of a kind."""
    return [(case, test["name"]) for case in CASES for test in reference(case).tests if test["kind"] == kind]


def arguments(case: str, name: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """What a test gives to the network, and what should come back."""
    known = reference(case)
    (test,) = (test for test in known.tests if test["name"] == name)
    given = {key: known.tensors[tensor] for key, tensor in test.get("inputs", {}).items()}
    return {**test, **given}, {key: known.tensors[tensor] for key, tensor in test["outputs"].items()}
