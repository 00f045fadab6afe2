# SPDX-License-Identifier: Apache-2.0
"""What a run starts with: settings and weights of the model that it goes on from, and what of it is trained."""

import logging
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from zipvoice.config.model import Variant
from zipvoice.config.training import RunConfig
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.pretrained import (
    Pretrained,
    dialog_from_base,
    distilled_from_base,
    load_pretrained,
    stereo_from_dialog,
)
from zipvoice.seeds import seed_of
from zipvoice.text.token_table import TokenTable
from zipvoice.training.lora import adapt
from zipvoice.training.parameter_selection import freeze, trained
from zipvoice.weights import load_strictly

INHERITED = ("variant", "model", "feature", "tokenizer")
"""Settings that go with the weights of a model; but for the tokenizer, they cannot be others."""

logger = logging.getLogger(__name__)


def source_model(config: RunConfig) -> Pretrained | None:
    """The model to start from: the teacher of a distilled model, for others the one in init_from; None from scratch.

    Raises ValueError for settings that do not fit together.
    """
    teacher = config.objective.teacher
    if (config.variant == "zipvoice_distill") != (teacher is not None):
        raise ValueError(
            "objective.teacher is for the variant zipvoice_distill, which needs it: a base model for the first stage, "
            "the result of the first stage for the second"
        )
    if teacher is not None and config.init_from is not None:
        raise ValueError("a distilled model starts from its teacher: leave out init_from")
    name = teacher or config.init_from
    return load_pretrained(name) if name else None


def inherited(config: RunConfig, source: Pretrained | None) -> RunConfig:
    """The run with what was left at its default as in the model to start from; the defaults would not fit that model.

    The tokenizer is one of these settings, so that a corpus is read as the model has learnt to read.
    """
    if source is None:
        return config
    defaults = RunConfig()
    left = [name for name in INHERITED if getattr(config, name) == getattr(defaults, name)]
    if source.variant == "zipvoice_distill" and "variant" in left:
        raise ValueError(
            f"{config.init_from} is a distilled model, which training on speech would spoil: fine-tune the base model, "
            "and distil the result (objective.teacher)"
        )
    return replace(config, **{name: getattr(source.file, name) for name in left})


def initial_model(config: RunConfig, table: TokenTable, source: Pretrained | None) -> ZipVoice:
    """The model with its initial weights, with adapters if it is to have them, frozen where it is not to be trained."""
    teacher = config.objective.teacher
    if teacher is not None and source is not None and source.table != table:
        raise ValueError(f"a distilled model knows the tokens of its teacher and no more: give {teacher}/tokens.txt")
    torch.manual_seed(seed_of(config.seed, "initial weights"))
    model = ZipVoice(config.model, table.vocabulary, config.variant)
    if source is not None:
        _take_weights(model, source)
    elif config.variant == "zipvoice_dialog_stereo":
        logger.warning("training a stereo model from scratch; init_from can name a dialogue model to start from")
    if teacher is not None:
        freeze(model, [name for name, _ in model.named_children() if name != "fm_decoder"])
    freeze(model, config.optim.freeze)
    if config.lora.rank:
        adapt(model, config.lora, _num_known(config, source))
    logger.info(trained(model))
    return model


def _num_known(config: RunConfig, source: Pretrained | None) -> int:
    """How many tokens a model to be adapted knows. Raises ValueError where more than adapters would have to learn."""
    if source is None or source.variant != config.variant or config.objective.teacher is not None:
        raise ValueError(
            "lora.rank is for fine-tuning: adapters leave the weights as they are, so init_from must name a model of "
            "the same variant; otherwise set lora.rank to 0"
        )
    if config.optim.freeze:
        raise ValueError("with lora.rank only adapters are trained: say where with lora.targets, without optim.freeze")
    return len(source.table)


def _take_weights(model: ZipVoice, source: Pretrained) -> None:
    """Start from the weights of a model of the same variant, or of the one that `model` is derived from."""
    weights, fresh = source.model.state_dict(), model.state_dict()
    surgery = SURGERY.get((source.variant, model.variant))
    if surgery is not None:
        weights = surgery(weights, fresh)
    elif source.variant == model.variant:
        added = fresh["embed.weight"][len(source.table) :]
        weights = {**weights, "embed.weight": torch.cat([weights["embed.weight"], added])}
    else:
        raise ValueError(f"a {model.variant} model cannot start from the weights of a {source.variant} model")
    load_strictly(model, weights, f"the {source.variant} model to start from")


SURGERY: dict[tuple[Variant, Variant], Callable[..., dict[str, Tensor]]] = {
    ("zipvoice", "zipvoice_distill"): distilled_from_base,
    ("zipvoice", "zipvoice_dialog"): dialog_from_base,
    ("zipvoice_dialog", "zipvoice_dialog_stereo"): stereo_from_dialog,
}
