# SPDX-License-Identifier: Apache-2.0
"""The log of a run: messages in train.log, scalars in log.jsonl, and these with samples in TensorBoard."""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from tqdm.contrib.logging import logging_redirect_tqdm

from zipvoice.config.model import FeatureConfig
from zipvoice.config.synthesis import SamplingConfig
from zipvoice.data.collate import Batch
from zipvoice.files import hold, make_folder, write_text
from zipvoice.model.condition import Condition
from zipvoice.model.guidance import guided_velocity, under_guidance
from zipvoice.model.solver import solve, times_of
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.runtime.base import Vocoder
from zipvoice.training.distributed import ALONE, World
from zipvoice.training.objectives import condition

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch.utils.tensorboard import SummaryWriter

PROMPT_FRACTION = 0.3  # of a validation utterance, continued by the model
NUM_SAMPLES = 2
PLAUSIBLE = (-30.0, 10.0)  # log-mel values; those of an untrained model would overflow


@contextmanager
def log_to(path: Path, world: World = ALONE) -> Iterator[None]:
    """Send the package's messages to a file and to stderr, there without breaking the progress bar.

    Processes other than the first send warnings to stderr only. Raises ValueError if another run writes the file.
    """
    package = logging.getLogger("zipvoice")
    level = package.level
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if world.is_first:
        make_folder(path.parent)
        handlers.append(file := logging.FileHandler(path, encoding="utf-8"))
        if file.stream and not hold(file.stream):
            file.close()
            raise ValueError(
                f"another process is training in {path.parent}: wait until it ends, or choose another exp_dir"
            )
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        package.addHandler(handler)
    package.setLevel(logging.INFO if world.is_first else logging.WARNING)
    propagate, package.propagate = package.propagate, False  # else a root handler would repeat every line
    try:
        with logging_redirect_tqdm([package]):
            yield
    finally:
        package.setLevel(level)
        package.propagate = propagate
        for handler in handlers:
            package.removeHandler(handler)
            handler.close()
        if world.is_first:
            _remove_empty(path)


def _remove_empty(path: Path) -> None:
    """Leave nothing of a run that could not start: its log without a line, and the folder made for it."""
    with suppress(OSError):  # the folder holds other files
        if not path.stat().st_size:
            path.unlink()
            path.parent.rmdir()


class MetricLogger:
    """Records scalars in `log.jsonl`, one object per line, and in `tensorboard/`.

    Args:
        exp_dir: folder of the run.
        step: where the run goes on from; what was recorded after it, before an interruption, is dropped. A new run: -1.
    """

    def __init__(self, exp_dir: str | os.PathLike[str], step: int = -1) -> None:
        self.path = Path(exp_dir) / "log.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        truncate(self.path, step)
        self.file = self.path.open("a", encoding="utf-8")
        self.writer = _summary_writer(Path(exp_dir) / "tensorboard", step)

    def scalars(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Record values of one kind (`train`, `valid`) after `step` steps."""
        self.file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
        self.file.flush()
        for name, value in values.items():
            self.writer.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        self.file.close()
        self.writer.close()


def truncate(path: Path, step: int) -> None:
    """Drop the records of a log.jsonl after `step`, and a last line that was cut off."""
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]
        try:
            kept = [line for line in whole if json.loads(line)["step"] <= step]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is damaged ({error}); move it away, training does without") from None
        write_text(path, "".join(kept))


class Samples:
    """Continuations of the beginning of validation utterances by the model, as pictures and sounds.

    Args:
        batch: utterances; the first few are used, and of stereo features those the model generates.
        metrics: where pictures and sounds go.
        feature: scale and rate of the features.
        sampling: how the model is sampled, as in synthesis.
        vocoder: of any runtime.
        every: steps between samples.
    """

    def __init__(
        self,
        batch: Batch,
        metrics: MetricLogger,
        feature: FeatureConfig,
        sampling: SamplingConfig,
        vocoder: Vocoder,
        every: int = 1,
    ) -> None:
        self.batch = _first(batch, NUM_SAMPLES)
        self.metrics = metrics
        self.feature = feature
        self.sampling = sampling
        self.every = every
        self.vocoder = vocoder

    def __call__(self, model: ZipVoice, step: int) -> None:
        """Record pictures and sounds of the continuations at every multiple of `every`."""
        if step % self.every:
            return
        generated = self.continuations(model)
        for name, features, length in zip(self.batch.ids, generated, self.batch.feature_lens.tolist(), strict=True):
            log_mels = (features[:length] / self.feature.scale).clamp(*PLAUSIBLE)
            channels = log_mels.split(model.config.feat_dim, dim=1)
            for number, log_mel in enumerate(channels):
                tag = f"samples/{name}" + (f"/channel{number}" if len(channels) > 1 else "")
                audio = self.vocoder(log_mel.T[None].numpy()).clip(-1, 1)  # (1, N)
                self.metrics.writer.add_figure(tag, _picture(log_mel), step)
                self.metrics.writer.add_audio(tag, audio, step, self.feature.sampling_rate)

    @torch.no_grad()
    def continuations(self, model: ZipVoice) -> Tensor:
        """Features (B, T, C) of the utterances, their beginning real and the rest generated, on the CPU."""
        model.eval()
        batch = self.batch.to(next(model.parameters()).device)
        num_frames = batch.features.shape[1]
        split = (PROMPT_FRACTION * batch.feature_lens).long()
        mask = (torch.arange(num_frames) >= split[:, None]).to(batch.features.device)  # (B, T)
        noise = torch.randn(batch.features.shape, generator=torch.Generator().manual_seed(0)).to(batch.features)
        sampling = self.sampling

        def velocity(t: float | Tensor, x: Tensor, condition: Condition, scale: float | Tensor, **end: Any) -> Tensor:
            v: Tensor = guided_velocity(model, scale)(t, x, condition, **end)
            return v

        guided = under_guidance(velocity, sampling.guidance_scale, sampling)
        given = condition(model, batch, mask)
        x = solve(guided, sampling.temperature * noise, given, times_of(sampling), sampling.solver)
        return torch.where(mask[:, :, None], x, batch.features).cpu()


def _first(batch: Batch, size: int) -> Batch:
    """The first utterances of a batch, without the padding of the others."""
    lengths = batch.feature_lens[:size]
    features = batch.features[:size, : int(lengths.max())]
    return Batch(features, lengths, batch.tokens[:size], batch.ids[:size], batch.texts[:size])


def _summary_writer(folder: Path, step: int) -> "SummaryWriter":
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ImportError("training needs TensorBoard: pip install 'zipvoice-tts[training]'") from None
    return SummaryWriter(str(folder), purge_step=step + 1)


def _picture(log_mel: Tensor) -> "Figure":
    """A picture of features (T, F)."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("pictures of samples need matplotlib: pip install 'zipvoice-tts[training]'") from None
    figure = Figure(figsize=(8, 3), layout="tight")
    axes = figure.add_subplot(xlabel="frame", ylabel="mel bin")
    axes.imshow(log_mel.T.numpy(), origin="lower", aspect="auto", interpolation="nearest")
    return figure
