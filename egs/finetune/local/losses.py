# SPDX-License-Identifier: Apache-2.0
"""Validation losses of some models on the new voice and on the old one, with the same noise, times and masks for all.

The first model is the one that the others started from; utterances with tokens that it does not know are left out.

usage: python local/losses.py MODEL_DIR...
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from zipvoice.config.data import DataConfig, ManifestConfig
from zipvoice.data.collate import Batch
from zipvoice.data.dataset import ValidationData
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.pretrained import Pretrained, load_pretrained
from zipvoice.training.objectives import BASE_MASK, ConditionMask, FlowMatching

MANIFESTS = {"new voice": "data/lj_cuts_dev.jsonl.gz", "old voice": "data/old_cuts_dev.jsonl.gz"}
REPEATS = 4  # with other noise, times and masks


def main(models: Sequence[Path]) -> None:
    first = load_pretrained(models[0])
    batches = [batches_for(first, manifest) for manifest in MANIFESTS.values()]
    print("  ".join(["model".ljust(20), *MANIFESTS]))
    for path in models:
        model = load_pretrained(path).model
        print("  ".join([str(path).ljust(20), *(f"{loss(model, voice):9.3f}" for voice in batches)]))


def batches_for(model: Pretrained, manifest: str) -> list[Batch]:
    data = DataConfig(dev=(ManifestConfig(manifest),), max_duration=16.0, unknown_tokens="skip", num_workers=0)
    return list(ValidationData(data, model.table, model.tokenizer, scale=model.file.feature.scale))


@torch.inference_mode()
def loss(model: ZipVoice, batches: Iterable[Batch]) -> float:
    """The mean over all frames, several times."""
    objective, generator = FlowMatching(ConditionMask(BASE_MASK, "span")), torch.Generator().manual_seed(0)
    losses = [objective.validate(model, batch, generator) for _ in range(REPEATS) for batch in batches]
    return sum(float(item.value) * item.num_frames for item in losses) / sum(item.num_frames for item in losses)


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
