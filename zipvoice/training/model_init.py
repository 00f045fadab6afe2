# SPDX-License-Identifier: Apache-2.0
"""Model initialisation: settings and weights of the model that a run starts from, and the parameters it trains."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from zipvoice.config.model import Variant
from zipvoice.config.training import RunConfig
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.pretrained import (
    STEP_EMBED,
    Pretrained,
    dialog_from_base,
    distilled_from_base,
    load_pretrained,
    stereo_from_dialog,
)
from zipvoice.seeds import seed_of
from zipvoice.text.token_table import TokenTable
from zipvoice.training.lora import adapt, adaptable
from zipvoice.weights import load_strictly

NUM_SUGGESTIONS = 3
INHERITED = ("variant", "model", "feature", "tokenizer")
"""Settings that a run takes from the model it starts from, unless it has its own; of these only the tokenizer may
differ."""

logger = logging.getLogger(__name__)


def teacher_model(config: RunConfig) -> Pretrained | None:
    """The teacher of a distilled model."""
    return load_pretrained(config.objective.teacher) if config.objective.teacher is not None else None


def source_model(config: RunConfig, teacher: Pretrained | None) -> Pretrained | None:
    """The model to start from: the one in init_from, else the teacher of a distilled model; None from scratch.

    Raises ValueError for a model that does not suit the teacher.
    """
    if config.init_from is None:
        return teacher
    source = load_pretrained(config.init_from)
    if teacher is not None and not (source.variant == "zipvoice_distill" and _read_alike(source, teacher)):
        raise ValueError(
            "a distilled model starts from its teacher, or from a distilled model with its tokens and text encoder, "
            f"which {config.init_from} is not: leave out init_from"
        )
    return source


def _read_alike(one: Pretrained, other: Pretrained) -> bool:
    """Whether two models have the same tokens, and make the same of them."""
    ours, theirs = (
        {name: weight for name, weight in each.model.state_dict().items() if not name.startswith("fm_decoder.")}
        for each in (one, other)
    )
    same = ours.keys() == theirs.keys() and all(torch.equal(weight, theirs[name]) for name, weight in ours.items())
    return same and one.table == other.table


def inherited(config: RunConfig, source: Pretrained | None) -> RunConfig:
    """The run, with the settings of the model to start from where they were left at their defaults.

    The tokenizer is one of these settings, so that texts are tokenized as in the training of that model.
    """
    if source is None:
        return config
    defaults = RunConfig()
    left = [name for name in INHERITED if getattr(config, name) == getattr(defaults, name)]
    if source.variant == "zipvoice_distill" and "variant" in left:
        raise ValueError(
            f"{config.init_from} is a distilled model, which cannot be fine-tuned on speech: fine-tune the base model, "
            "and distil the result (objective.teacher)"
        )
    return _with_step(replace(config, **{name: getattr(source.file, name) for name in left}))


def _with_step(config: RunConfig) -> RunConfig:
    """The run, whose model knows the step if its objective asks for that; ValueError if only the model does."""
    sizes, is_asked = config.model, config.objective.kind == "mean-flow"
    if sizes.step_embed_dim is not None and not is_asked:
        raise ValueError("model.step_embed_dim is for objective.kind mean-flow: set that, or start from another model")
    if not is_asked or sizes.step_embed_dim is not None:
        return config
    return replace(config, model=replace(sizes, step_embed_dim=sizes.time_embed_dim))


def initial_model(config: RunConfig, table: TokenTable, source: Pretrained | None) -> ZipVoice:
    """The model with its initial weights, with adapters if it is to have them, frozen where it is not to be trained."""
    teacher = config.objective.teacher
    if teacher is not None and source is not None and source.table != table:
        raise ValueError(f"a distilled model has the tokens of its teacher and no more: give {teacher}/tokens.txt")
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
        num_known = _num_known(config, source)
        adapt(model, adapted_layers(model, config.lora.targets), config.lora, num_known)
    logger.info(trained(model))
    return model


def adapted_layers(model: nn.Module, targets: Sequence[str]) -> list[str]:
    """The linear layers that the patterns select. Raises ValueError for a pattern without any."""
    layers = adaptable(model)
    return [layer for pattern in targets for layer in select(layers, pattern, "with linear layers to adapt")]


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
        new = {name: fresh[name] for name in fresh if name == STEP_EMBED}
        weights = {**new, **weights, "embed.weight": torch.cat([weights["embed.weight"], added])}
    else:
        raise ValueError(f"a {model.variant} model cannot start from the weights of a {source.variant} model")
    load_strictly(model, weights, f"the {source.variant} model to start from")


SURGERY: dict[tuple[Variant, Variant], Callable[..., dict[str, Tensor]]] = {
    ("zipvoice", "zipvoice_distill"): distilled_from_base,
    ("zipvoice", "zipvoice_dialog"): dialog_from_base,
    ("zipvoice_dialog", "zipvoice_dialog_stereo"): stereo_from_dialog,
}

# ---------------------------------------------------------------- parameter selection


def select(names: Iterable[str], pattern: str, purpose: str) -> list[str]:
    """The names that match a pattern, or that lie in a part that does; * stands for anything.

    Raises ValueError, which tells the purpose and names that are near, if there are none.
    """
    names = list(names)
    chosen = [name for name in names if any(fnmatchcase(part, pattern) for part in _with_parents(name))]
    if not chosen:
        raise ValueError(f"the model has no part {pattern!r} {purpose}{_near(pattern, names)}")
    return chosen


def freeze(model: nn.Module, patterns: Sequence[str]) -> None:
    """Exclude the parameters that the patterns select from training. Raises ValueError for one without any."""
    parameters = dict(model.named_parameters())
    for pattern in patterns:
        for name in select(parameters, pattern, "to freeze"):
            parameters[name].requires_grad_(False)


def trained(model: nn.Module) -> str:
    """A sentence for the log: how many parameters are trained, of how many and in which parts."""
    total = sum(param.numel() for param in model.parameters())
    parts: Counter[str] = Counter()
    for name, param in model.named_parameters():
        if param.requires_grad:
            parts[name.split(".")[0]] += param.numel()
    share = ", ".join(f"{number:,} in {part}" for part, number in parts.items())
    return f"{parts.total():,} of {total:,} parameters are trained: {share or 'none'}"


def _with_parents(name: str) -> list[str]:
    """A name and those of the parts it lies in, from the outermost: a, a.b, a.b.weight."""
    words = name.split(".")
    return [".".join(words[:length]) for length in range(1, len(words) + 1)]


def _near(pattern: str, names: Iterable[str]) -> str:
    """The end of an error message: the names most like the pattern, else those of the outermost parts."""
    known = list(dict.fromkeys(part for name in names for part in _with_parents(name)))
    near = get_close_matches(pattern.removesuffix(".*"), known, n=NUM_SUGGESTIONS, cutoff=0.5)
    if near:
        return f"; did you mean {' or '.join(map(repr, near))}?"
    return f"; known: {', '.join(name for name in known if '.' not in name)}"
