# SPDX-License-Identifier: Apache-2.0
"""Parts of a model by name, as in `text_encoder` or `fm_decoder.encoders.*.bias`, and which of them are trained."""

from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from torch import nn

NUM_SUGGESTIONS = 3


def select(names: Iterable[str], pattern: str, purpose: str) -> list[str]:
    """Those of the names that a pattern means: itself or a part it lies in matches, * standing for anything.

    Raises ValueError, which tells the purpose and names that are near, if there are none.
    """
    names = list(names)
    chosen = [name for name in names if any(fnmatchcase(part, pattern) for part in _with_parents(name))]
    if not chosen:
        raise ValueError(f"the model has no part {pattern!r} {purpose}{_near(pattern, names)}")
    return chosen


def freeze(model: nn.Module, patterns: Sequence[str]) -> None:
    """Exclude the parameters that the patterns mean from training. Raises ValueError for one that means none."""
    parameters = dict(model.named_parameters())
    for pattern in patterns:
        for name in select(parameters, pattern, "to freeze"):
            parameters[name].requires_grad_(False)


def trained(model: nn.Module) -> str:
    """How many parameters are trained, of how many and in which parts, for people."""
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
