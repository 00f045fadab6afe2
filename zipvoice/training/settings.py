# SPDX-License-Identifier: Apache-2.0
"""The settings of a run compared with those that it was started with, which are in its run.json."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zipvoice.config.strict_json import read_json, to_dict
from zipvoice.config.training import LoopConfig

FREE = ("exp_dir", "resume", "device", "num_steps", "num_epochs", "max_seconds")
"""Settings that may change once a run has finished: they say where and how long, not what is trained."""

logger = logging.getLogger(__name__)


def check_unchanged(config: LoopConfig, fixed: Sequence[str], exp_dir: Path, more: Sequence[str]) -> None:
    """Raise ValueError if the checkpoints in a folder are of another model than that described; log what else changed.

    Args:
        config: of the run that is to go on.
        fixed: settings that cannot change.
        exp_dir: folder with checkpoints and run.json.
        more: other differences that are known.
    """
    details = [*_changes(config, exp_dir, fixed), *more]
    if details:
        raise ValueError(
            f"{exp_dir} holds checkpoints of a run with other settings ({'; '.join(details)}). "
            "Restore these, or choose another exp_dir"
        )
    names = [name for name in to_dict(config) if name not in FREE]
    if changed := _changes(config, exp_dir, names):
        logger.info("settings have changed since %s was written: %s", exp_dir / "run.json", "; ".join(changed))


def check_same(config: LoopConfig, step: int) -> None:
    """Raise ValueError if a run that has finished is started again with other settings, which would change nothing."""
    exp_dir = Path(config.exp_dir)
    names = [name for name in to_dict(config) if name not in FREE]
    if (exp_dir / "run.json").is_file() and (details := _changes(config, exp_dir, names)):
        raise ValueError(
            f"the run in {exp_dir} finished after {step} steps, with other settings ({'; '.join(details)}); nothing is "
            "trained or written. Choose another exp_dir, or more steps or epochs to go on with these settings"
        )


def _changes(config: LoopConfig, exp_dir: Path, names: Sequence[str]) -> list[str]:
    """What differs from the run.json of a folder, of settings by name."""
    before, now = to_dict(read_json(type(config), exp_dir / "run.json")), to_dict(config)
    changed = [(name, *_differing(_value(before, name), _value(now, name))) for name in names]
    return [f"{name} was {_short(old)}, is {_short(new)}" for name, old, new in changed if old != new]


def _value(settings: Any, name: str) -> Any:
    """A setting by its name, in which dots lead into others."""
    for part in name.split("."):
        settings = (settings or {}).get(part)
    return settings


def _differing(before: Any, now: Any) -> tuple[Any, Any]:
    """Two settings, of those with fields only the fields that differ."""
    if not (isinstance(before, Mapping) and isinstance(now, Mapping)):
        return before, now
    fields = {key: _differing(before.get(key), now.get(key)) for key in (*before, *now)}
    changed = {key: pair for key, pair in fields.items() if pair[0] != pair[1]}
    return {key: old for key, (old, _) in changed.items()}, {key: new for key, (_, new) in changed.items()}


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 120 else text[:117] + "..."
