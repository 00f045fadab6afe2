# SPDX-License-Identifier: Apache-2.0
"""What synthesis asks of a runtime: an acoustic model and a vocoder.

NumPy arrays go in and come out. Between them, over the steps of the solver, states and conditions are arrays of the
runtime's own kind and stay on its device. Shapes: B batch, S tokens of the longest text, T frames of the longest
utterance, F mel bins of one channel, C of all channels, N samples.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from zipvoice.config.model import FeatureConfig, Variant, Vocabulary
from zipvoice.config.model_file import ModelFile
from zipvoice.config.synthesis import SamplingConfig
from zipvoice.model.arrays import Array
from zipvoice.model.condition import Condition

DTYPES = ("float32", "bfloat16", "float16", "int8", "auto")
"""Arithmetic of a model; what each runtime has of it, it says."""

NARROW = 384
"""On a CPU the products of decoders of fewer channels are so short that other arithmetic than float32, or more threads
than one, cost about as much as they save."""

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class ModelDescription:
    """What text, prompts and planning need to know of an acoustic model."""

    variant: Variant
    vocabulary: Vocabulary
    feature: FeatureConfig
    sampling: SamplingConfig
    """How it is best sampled."""
    frame_multiple: int
    """Largest down-sampling factor of its decoder; see `zipvoice.synthesis.chunk_planner.ChunkPlanner`."""
    fast: SamplingConfig | None = None
    """How it is sampled for fast speech, if that was searched for."""

    @classmethod
    def of(cls, file: ModelFile, variant: Variant, vocabulary: Vocabulary) -> "ModelDescription":
        """From a model.json and a token table; `variant` is stated, for released files leave it out."""
        multiple = max(file.model.fm_decoder_downsampling_factor)
        return cls(variant, vocabulary, file.feature, file.sampling_of(variant), multiple, file.fast)

    @property
    def num_channels(self) -> int:
        return 2 if self.variant == "zipvoice_dialog_stereo" else 1

    @property
    def is_dialogue(self) -> bool:
        return "dialog" in self.variant


@dataclass(frozen=True)
class ComputedBy:
    """What speaks."""

    runtime: str
    """As `zipvoice.load` takes it."""
    device: str
    """A device of PyTorch, or an execution provider of ONNX Runtime."""
    dtype: str = "float32"
    """Arithmetic of its matrix products; int8 where graphs were exported so."""

    @property
    def on_accelerator(self) -> bool:
        """Whether that is elsewhere than on the CPU.

        Example:
            >>> ComputedBy("torch", "cuda:0").on_accelerator, ComputedBy("onnx", "CPUExecutionProvider").on_accelerator
            (True, False)
        """
        return not self.device.lower().startswith("cpu")


class AcousticModel(Protocol):
    """From token ids and a prompt's features to a velocity. Several threads may use it at once."""

    @property
    def computed_by(self) -> ComputedBy:
        """What computes it."""

    @property
    def description(self) -> ModelDescription:
        """What it is."""

    @property
    def num_threads(self) -> int:
        """Threads that one evaluation takes on a CPU."""

    @property
    def evaluations_at_once(self) -> int:
        """How many evaluations, each in a thread of its own, make the best of the machine when there is much to do."""

    def condition(self, tokens: Integers, num_tokens: Integers, num_frames: Integers, speech: Floats) -> Condition:
        """The condition of utterances, of the runtime's arrays; it depends on nothing but the arguments.

        Args:
            tokens: ids (B, S + 1), with at least one padding token behind each text.
            num_tokens: tokens of each text (B), positive and at most its frames.
            num_frames: frames of each utterance (B), with the prompt.
            speech: scaled features (B, T, C) that are known, zero where speech is to be generated.
        """

    def velocity(
        self,
        t: float | Array,
        x: Array,
        condition: Condition,
        guidance_scale: float | Array,
        t_next: float | Array | None = None,
    ) -> Array:
        """The velocity under guidance (B, T, C), of the runtime's arrays as are its arguments.

        Args:
            t: time in [0, 1], one number for all or per utterance (B, 1, 1).
            x: state (B, T, C).
            condition: what `condition` gave.
            guidance_scale: one number for all or per utterance (B, 1, 1).
            t_next: of a model of mean velocities, the end of the step, as `t`; by default no step.
        """

    def array(self, values: NDArray[Any]) -> Array:
        """A NumPy array as one of the runtime's, on its device."""

    def numpy(self, array: Array) -> Floats:
        """One of the runtime's arrays as float32 in NumPy."""


class Vocoder(Protocol):
    """From log-mel features to sound. Several threads may use it at once."""

    def __call__(self, log_mel: Floats) -> Floats:
        """Log-mel features (B, F, T), T at least 2, to samples (B, N) at 24 kHz, N = (T - 1) · 256.

        Nominally in [-1, 1]; those of loud speech may be beyond.
        """
