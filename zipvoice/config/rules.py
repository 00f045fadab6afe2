# SPDX-License-Identifier: Apache-2.0
"""What settings may be, checked when they are made."""

import math
from collections.abc import Iterable


def require(settings: object, rules: Iterable[tuple[str, bool, str]], prefix: str = "") -> None:
    """Raise ValueError for the first setting that is not as it must be.

    Args:
        settings: the dataclass.
        rules: name of a setting, whether it is valid, and what it must be.
        prefix: of the names, as users know them.

    Example:
        >>> require(OptimizerConfig(), [("base_lr", False, "above 0")], "optim.")
        Traceback (most recent call last):
        ValueError: optim.base_lr must be above 0, not 0.02
    """
    for name, valid, wanted in rules:
        if not valid:
            raise ValueError(f"{prefix}{name} must be {wanted}, not {getattr(settings, name)!r}")


def is_above_zero(value: float | None) -> bool:
    """Whether a setting is a finite number above 0, or is left out."""
    return value is None or 0 < value < math.inf
