# SPDX-License-Identifier: Apache-2.0
"""Which objective a run minimises."""

import torch

from zipvoice.config.synthesis import SamplingConfig
from zipvoice.config.training import RunConfig
from zipvoice.data.collate import Batch
from zipvoice.model.solver import times_of
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.pretrained import Pretrained
from zipvoice.training.backward_distillation import BackwardDistillation
from zipvoice.training.losses import Objective
from zipvoice.training.mean_flow import MeanFlow
from zipvoice.training.objectives import (
    BASE_MASK,
    DIALOG_MASK,
    ConditionMask,
    Distillation,
    FlowMatching,
    StereoFlowMatching,
)


def build_objective(
    config: RunConfig, teacher: Pretrained | None, sampling: SamplingConfig, device: torch.device
) -> Objective[ZipVoice, Batch]:
    """What a run minimises. Raises ValueError for a teacher that the objective cannot learn from.

    Args:
        config: the description of the run.
        teacher: of distillation and mean-flow.
        sampling: how the trained model is sampled.
        device: where the teacher is evaluated.

    Example:
        >>> build_objective(RunConfig(), None, PUBLISHED_SAMPLING["zipvoice"], torch.device("cpu"))
        <zipvoice.training.objectives.FlowMatching object at ...>
    """
    settings = config.objective
    place = settings.mask or ("suffix" if "dialog" in config.variant else "span")
    mask = ConditionMask(settings.mask_fraction or (BASE_MASK if place == "span" else DIALOG_MASK), place)
    if teacher is not None:
        return _distillation(config, teacher, sampling, mask, device)
    if config.variant == "zipvoice_dialog_stereo":
        return StereoFlowMatching(mask, settings.condition_drop_ratio, settings.exclusive_weight)
    return FlowMatching(mask, settings.condition_drop_ratio, settings.time_power)


def _distillation(
    config: RunConfig, teacher: Pretrained, sampling: SamplingConfig, mask: ConditionMask, device: torch.device
) -> BackwardDistillation | Distillation | MeanFlow:
    settings, model, is_base = config.objective, teacher.model.to(device), teacher.variant != "zipvoice_distill"
    if settings.kind == "mean-flow":
        return MeanFlow(model, settings.instant_ratio, mask)
    if settings.kind == "backward-distillation":
        if not is_base:
            raise ValueError(f"objective.kind {settings.kind} learns from a base model: name one in objective.teacher")
        times = times_of(sampling)
        return BackwardDistillation(model, times, settings.temperature, settings.guidance_scale, mask)
    return Distillation(model, None if is_base else settings.ema_decay, mask, shared_text=True)
