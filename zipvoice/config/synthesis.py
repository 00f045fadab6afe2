# SPDX-License-Identifier: Apache-2.0
"""How a text is spoken."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import pairwise
from numbers import Integral, Real
from typing import Any, Literal, TypeAlias, get_args

from zipvoice.config.model import Variant
from zipvoice.config.strict_json import suggestion

SolverName: TypeAlias = Literal["euler", "midpoint", "heun", "adams-bashforth", "mean-flow"]
EVALUATIONS: dict[SolverName, int] = {"euler": 1, "midpoint": 2, "heun": 2, "adams-bashforth": 1, "mean-flow": 1}
"""Of the velocity in each step of a solver."""
EPSS_GRIDS: dict[int, tuple[float, ...]] = {
    len(thirty_seconds) - 1: tuple(each / 32 for each in thirty_seconds)
    for thirty_seconds in ((0, 2, 4, 8, 16, 32), (0, 2, 4, 6, 8, 16, 32), (0, 2, 4, 6, 8, 16, 24, 32))
}
"""Published time grids by the number of steps (empirically pruned step sampling, Zheng et al., 2025)."""


MOST_CONTRAST = 2.0
"""Nats; real speech has 0.5 to 0.7 over mel bands and 0.2 to 0.25 over time."""


@dataclass(frozen=True)
class SamplingConfig:
    """How a model gets from noise to speech unless it is told otherwise."""

    num_steps: int
    """Steps of the solver."""
    guidance_scale: float
    """Strength of classifier-free guidance."""
    t_shift: float = 0.5
    """Time shift in (0, 1]; below 1 more steps are spent close to noise."""
    temperature: float = 1.0
    """Standard deviation of the initial noise."""
    solver: SolverName = "euler"
    """How a step is taken; see `zipvoice.model.solver.SOLVERS`."""
    time_grid: tuple[float, ...] | None = None
    """Times between which the solver steps, from 0 to 1, instead of those that t_shift gives."""
    guidance_interval: tuple[float, float] | None = None
    """First and last time with guidance, which costs one evaluation of the network less outside them."""
    guidance_every: int = 1
    """Evaluations of the conditional velocity for one of the unconditional; between them guidance is reused."""
    contrast: float = 0.0
    """Least contrast of the features over mel bands in nats, see `zipvoice.audio.postfilter`; 0 leaves them alone."""
    time_contrast: float = 0.0
    """Least contrast over time in nats, above 1.6 kHz."""
    match_spectrum: float = 0.0
    """Share, from 0 to 1, of the difference of long-term average spectra of speech and prompt that is taken away."""

    def __post_init__(self) -> None:
        check_times(self.num_steps, self.time_grid, self.guidance_interval)
        if self.guidance_every < 1:
            raise ValueError(f"guidance_every must be at least 1, not {self.guidance_every}")
        check_postfilter(self.contrast, self.time_contrast, self.match_spectrum)

    @property
    def unfiltered(self) -> "SamplingConfig":
        """The same without what is done to the features after the last step."""
        return replace(self, contrast=0.0, time_contrast=0.0, match_spectrum=0.0)


def check_postfilter(contrast: float, time_contrast: float, match_spectrum: float) -> None:
    """Raise ValueError for a contrast that no speech has, and for more than all of a difference."""
    for name, value, most in (
        ("contrast", contrast, MOST_CONTRAST),
        ("time_contrast", time_contrast, MOST_CONTRAST),
        ("match_spectrum", match_spectrum, 1.0),
    ):
        if not 0 <= value <= most:
            raise ValueError(f"{name} must be from 0 to {most:g}, not {value}")


def check_times(
    num_steps: int | None, time_grid: Sequence[float] | None, guidance_interval: Sequence[float] | None
) -> None:
    """Raise ValueError for a time grid or an interval that is none, and for steps that are not those of the grid."""
    if time_grid is not None:
        rises = len(time_grid) > 1 and all(t < t_next for t, t_next in pairwise(time_grid))
        if not rises or (time_grid[0], time_grid[-1]) != (0, 1):
            raise ValueError(f"time_grid must rise from 0 to 1, not {' '.join(f'{t:g}' for t in time_grid)}")
        if num_steps not in (None, len(time_grid) - 1):
            raise ValueError(f"time_grid has {len(time_grid) - 1} steps and num_steps is {num_steps}; leave it out")
    if guidance_interval is not None:
        first, *last = guidance_interval
        if len(last) != 1 or not 0 <= first <= last[0] <= 1:
            raise ValueError(f"guidance_interval must be two times in order, from 0 to 1, not {guidance_interval}")


KINDS = {int: (Integral, "a whole number"), float: (Real, "a number"), bool: (bool, "True or False")}
"""What a field of each type takes, NumPy's numbers too, and how that is called."""


def check_kinds(options: "SynthesisOptions") -> None:
    """Raise ValueError for a number that is none: a text, 2.5 steps, None where something must be said."""
    for each in fields(options):
        value, (kind, *none) = getattr(options, each.name), get_args(each.type) or (each.type,)
        if kind not in KINDS or (value is None and none):
            continue
        accepted, name = KINDS[kind]
        if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"{each.name} must be {name}, not {value!r:.40}")


def changed(options: "SynthesisOptions | None", changes: Mapping[str, Any]) -> "SynthesisOptions":
    """The options, by default the usual ones, with single ones replaced by name. Raises TypeError for what is none.

    Example:
        >>> changed(None, {"speed": 1.1})
    """
    if not isinstance(options, SynthesisOptions | None):
        raise TypeError(f"options are zipvoice.SynthesisOptions(...), not a {type(options).__name__}")
    for name in changes.keys() - {each.name for each in fields(SynthesisOptions)}:
        raise TypeError(
            f"there is no option {name!r}{suggestion(name, [each.name for each in fields(SynthesisOptions)])}"
        )
    return replace(options or SynthesisOptions(), **changes)


MOST_STEPS, SLOWEST, FASTEST, LONGEST_SECONDS = 1000, 0.01, 1000.0, 86_400
"""What is beyond these is a slip of the pen, and would take all memory or never end."""


@dataclass(frozen=True)
class SynthesisOptions:
    """How a text is spoken."""

    num_steps: int | None = None
    """Steps from noise to speech. By default what suits the model: 16 for the released ones, 8 for a distilled
    one, 4 for that of the package."""
    guidance_scale: float | None = None
    """Strength of classifier-free guidance; by default 1, 3 (distilled) or 1.5 (dialogue)."""
    t_shift: float | None = None
    """Time shift in (0, 1]; below 1 more steps are spent close to noise. By default 0.5 for the released models."""
    temperature: float | None = None
    """Standard deviation of the initial noise, from 0 to 1, by default 1 for the released models. Less noise makes
    speech plainer and more alike from seed to seed; a model of little training speaks more clearly with it."""
    solver: SolverName | None = None
    """How a step is taken; midpoint and heun evaluate the network twice in each. By default euler, as published."""
    time_grid: tuple[float, ...] | None = None
    """Times between which the steps lie, from 0 to 1, such as 0 0.0625 0.125 0.25 0.5 1; replaces num_steps and
    t_shift."""
    guidance_interval: tuple[float, float] | None = None
    """First and last time, from 0 to 1, at which there is guidance; by default always. Outside them a model that is not
    distilled is evaluated once instead of twice."""
    guidance_every: int | None = None
    """Evaluate the unconditional half of guidance at every 2nd, 3rd ... time only, and reuse it between; by default 1,
    at all times. Not for distilled models."""
    contrast: float | None = None
    """Least contrast of the spectrum in nats, from 0 to 2: speech with less is sharpened, which makes voices that a
    small model follows from afar less dull. By default what suits the model: 0, nothing, for released ones."""
    time_contrast: float | None = None
    """The same over time, from 0 to 2, above 1.6 kHz, which makes consonants crisper."""
    match_spectrum: float | None = None
    """Draw the average spectrum of the speech to that of the voice's recording, from 0 to 1, the whole of the
    difference: more like the voice, and like its room and microphone, too. By default what suits the model: 0 for
    released ones."""
    fast: bool = False
    """Take the few steps that the model has for fast speech, as zipvoice search-steps finds them; where it has none,
    its usual ones, which a note tells."""
    speed: float = 1.0
    """Speaking rate relative to the prompt's."""
    duration: float | None = None
    """Length of the speech in seconds, to the sample; replaces speed."""
    target_rms: float = 0.1
    """Quieter recordings of voices are raised to this root-mean-square level for the model; 0 leaves them."""
    loudness: float = -20.0
    """Level of the speech in LUFS (ITU-R BS.1770), as far as its peaks allow."""
    keep_level: bool = False
    """Speak as loud as the recording of the voice is, however quiet that may be."""
    seed: int = 666
    """Seed of the initial noise."""
    max_chunk_seconds: float | None = None
    """A longer text is spoken in chunks of about this length, prompt included; by default 25, dialogues 40. However
    little that leaves beside the prompt, each has room for 1.6 seconds of text."""
    first_chunk_seconds: float | None = None
    """Length of the first chunk, without the prompt; the next ones grow. By default it is like the others, or 3 in a
    stream."""
    max_batch_seconds: float | None = None
    """Chunks spoken at the same time have at most this length together, prompts and padding included; by default 100
    on an accelerator, and 10 on a CPU, where larger batches take more memory and no less time."""
    short_text_floor: bool = True
    """Give words that would take less than 1.6 s more time; a model swallows very short texts otherwise."""
    remove_long_silence: bool = False
    """Shorten every silence to at most one second."""
    word_times: bool = False
    """Find when each word is spoken: `Audio.words`."""
    raw: bool = False
    """Evaluate the bare model: the text as it is, in one piece, nothing trimmed or added. Published scores use this."""

    def __post_init__(self) -> None:
        check_kinds(self)
        if self.time_grid is not None:
            object.__setattr__(self, "time_grid", tuple(map(float, self.time_grid)))  # of an array, too
        for name, valid, wanted in (
            ("solver", self.solver in (None, *EVALUATIONS), f"one of {', '.join(EVALUATIONS)}"),
            ("num_steps", self.num_steps is None or self.num_steps >= 1, "at least 1"),
            ("num_steps", (self.num_steps or 1) <= MOST_STEPS, f"at most {MOST_STEPS}"),
            ("guidance_every", self.guidance_every is None or self.guidance_every >= 1, "at least 1"),
            ("speed", self.speed > 0, "above 0"),
            ("speed", SLOWEST <= self.speed <= FASTEST, f"from {SLOWEST:g} to {FASTEST:g}"),
            ("duration", not (self.duration or 0) >= LONGEST_SECONDS, f"below {LONGEST_SECONDS} s"),
            ("seed", abs(self.seed) < 2**63, "below 2^63"),
            ("t_shift", self.t_shift is None or 0 < self.t_shift <= 1, "above 0 and at most 1"),
            ("temperature", 0 <= (self.temperature or 0) <= 1, "from 0 to 1"),
            ("loudness", -60 <= self.loudness <= 0, "from -60 to 0 LUFS"),
            ("target_rms", 0 <= self.target_rms <= 1, "from 0 to 1"),
            ("guidance_scale", 0 <= (self.guidance_scale or 0) < float("inf"), "a number of 0 or more"),
            *(
                (
                    name,
                    getattr(self, name) is None or 0 < getattr(self, name) < float("inf"),
                    "a number of seconds above 0",
                )
                for name in ("duration", "max_chunk_seconds", "first_chunk_seconds", "max_batch_seconds")
            ),
        ):
            if not valid:
                raise ValueError(f"{name} must be {wanted}, not {str(getattr(self, name))[:40]}")
        if self.raw and self.duration is not None:
            raise ValueError("raw speech has the length that the model predicts; leave out duration or raw")
        if self.raw and self.fast:
            raise ValueError("raw speech is sampled as for published scores; leave out fast or raw")
        check_times(self.num_steps, self.time_grid, self.guidance_interval)
        check_postfilter(self.contrast or 0, self.time_contrast or 0, self.match_spectrum or 0)

    def resolved(
        self,
        variant: Variant,
        sampling: SamplingConfig,
        fast: SamplingConfig | None = None,
        on_accelerator: bool = False,
    ) -> "ResolvedOptions":
        """A copy in which what was left open has the value that suits a model of a variant and its `sampling`.

        Or, where that is asked for and the model has one, its `fast` sampling; and what suits the device. Raises
        ValueError for a guidance interval or its reuse with a distilled model, which always has guidance, and for the
        solver mean-flow with a model of another.
        """
        usual = fast if self.fast and fast else sampling
        suits: dict[str, Any] = asdict(usual.unfiltered if self.raw else usual)
        suits["max_chunk_seconds"] = 40.0 if "dialog" in variant else 25.0
        suits["max_batch_seconds"] = 100.0 if on_accelerator else 10.0
        given = {name: value for name, value in vars(self).items() if value is not None}
        if self.time_grid is not None:
            suits["num_steps"] = len(self.time_grid) - 1
        elif self.num_steps is not None or self.t_shift is not None:
            suits["time_grid"] = None
        resolved = ResolvedOptions(**{**suits, **given})
        for name in ("guidance_interval", "guidance_every") if variant == "zipvoice_distill" else ():
            if getattr(resolved, name) not in (None, 1):
                raise ValueError(f"a distilled model has guidance at all times, at no cost; leave out {name}")
        if resolved.solver == "mean-flow" and sampling.solver != "mean-flow":
            raise ValueError(
                "solver mean-flow is for models that were trained with objective.kind mean-flow, and this one was not; "
                "leave out solver"
            )
        return resolved


@dataclass(frozen=True)
class ResolvedOptions(SynthesisOptions):
    """Options that leave nothing of a model open; see `SynthesisOptions.resolved`."""

    num_steps: int = field(kw_only=True)
    guidance_scale: float = field(kw_only=True)
    t_shift: float = field(kw_only=True)
    temperature: float = field(kw_only=True)
    solver: SolverName = field(kw_only=True, default="euler")
    guidance_every: int = field(kw_only=True, default=1)
    contrast: float = field(kw_only=True, default=0.0)
    time_contrast: float = field(kw_only=True, default=0.0)
    match_spectrum: float = field(kw_only=True, default=0.0)
    max_chunk_seconds: float = field(kw_only=True)
    max_batch_seconds: float = field(kw_only=True)

    @property
    def level(self) -> float | None:
        """LUFS of the speech, None for that of the recording."""
        return None if self.keep_level or self.raw else self.loudness

    @property
    def sampling(self) -> SamplingConfig:
        """What a solver needs of them."""
        return SamplingConfig(**{each.name: getattr(self, each.name) for each in fields(SamplingConfig)})


PUBLISHED_SAMPLING: dict[Variant, SamplingConfig] = {
    "zipvoice": SamplingConfig(16, 1.0),
    "zipvoice_distill": SamplingConfig(8, 3.0),
    "zipvoice_dialog": SamplingConfig(16, 1.5),
    "zipvoice_dialog_stereo": SamplingConfig(16, 1.5),
}
"""What each released model is used with."""
MEAN_FLOW_SAMPLING = SamplingConfig(2, 1.0, t_shift=1.0, solver="mean-flow")
"""What a model of mean velocities is used with."""
