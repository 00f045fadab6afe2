# SPDX-License-Identifier: Apache-2.0
"""From the description of a run to a trained vocoder, from where the run stopped if it had begun."""

import logging
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import torch

from zipvoice.config.strict_json import read_json, write_json
from zipvoice.config.vocoder import VocoderRunConfig
from zipvoice.data.segments import Crops, recordings, whole
from zipvoice.seeds import seed_of
from zipvoice.training import checkpoint
from zipvoice.training.distributed import World, joined
from zipvoice.training.logger import Tracker
from zipvoice.training.run import log_to
from zipvoice.training.trainer import StopReason
from zipvoice.training.vocoder.trainer import VocoderTrainer
from zipvoice.vocoder.discriminators import Discriminators
from zipvoice.vocoder.vocos import Vocos, load_vocos

FIXED_SETTINGS = ("vocos", "discriminators")
"""What a run cannot change once it has checkpoints."""

logger = logging.getLogger(__name__)


def train_vocoder(config: VocoderRunConfig) -> StopReason:
    """Train a vocoder as described, from the newest checkpoint of the run if it has one.

    The folder of the run becomes a vocoder directory with the averaged weights of the newest checkpoint, beside
    run.json, the checkpoints and the logs. Started by torchrun, each process makes batches of its own, and the first
    one writes.

    Returns why training ended. Raises ValueError for settings that do not fit together or to the checkpoints, data that
    cannot be used, or a loss that is not finite.
    """
    exp_dir = Path(config.exp_dir)
    with joined(config.device) as world, log_to(exp_dir / "train.log", world):
        state = _state_to_resume(config, world)
        vocos, discriminators = _initial(config, world.device)
        crops, dev, tracker = Crops(config), [], None
        if world.is_first:
            write_json(config, exp_dir / "run.json")
            dev = [whole(cut) for cut in recordings(config.dev)]
            tracker = Tracker(exp_dir, state["step"] if state else -1)
        with closing(tracker) if tracker else nullcontext():
            trainer = VocoderTrainer(config, vocos, discriminators, crops, dev, tracker, world)
            if state:
                trainer.load_state_dict(state)
            return trainer.run()


def _state_to_resume(config: VocoderRunConfig, world: World) -> dict[str, Any] | None:
    """The newest checkpoint of the run as the first process finds it, None if there is none."""
    found = None
    if world.is_first:
        checkpoint.sweep(config.exp_dir)
        found = checkpoint.newest(config.exp_dir)
        if found:
            _check_unchanged(config)
            logger.info("continuing from %s", found[0])
    path = world.of_first(found[0] if found else None)
    if path is None:
        return None
    return found[1] if found else checkpoint.load(path)


def _check_unchanged(config: VocoderRunConfig) -> None:
    """Raise ValueError if the checkpoints in the folder are of other networks than the ones described."""
    before = read_json(VocoderRunConfig, Path(config.exp_dir) / "run.json")
    changed = [name for name in FIXED_SETTINGS if getattr(before, name) != getattr(config, name)]
    if changed:
        raise ValueError(
            f"{config.exp_dir} holds checkpoints of a run with other settings of {' and '.join(changed)}. "
            "Take these back, or choose another exp_dir"
        )


def _initial(config: VocoderRunConfig, device: torch.device) -> tuple[Vocos, Discriminators]:
    """The networks with their initial weights, on the device."""
    torch.manual_seed(seed_of(config.seed, "initial weights"))
    discriminators = Discriminators(config.discriminators)
    vocos = load_vocos(config.init_from).train() if config.init_from else Vocos(config.vocos)
    if vocos.config != config.vocos:
        raise ValueError(f"the vocoder in {config.init_from} has other sizes: {vocos.config}, not {config.vocos}")
    return vocos.to(device), discriminators.to(device)
