# SPDX-License-Identifier: Apache-2.0
"""What a run reads, looked for before any network is made: all that is missing is told at once."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from zipvoice.config.training import LoopConfig, RunConfig
from zipvoice.config.vocoder import VocoderRunConfig
from zipvoice.data.corpus_list import listed
from zipvoice.data.mux import NO_MANIFEST
from zipvoice.data.segments import NO_RECORDINGS
from zipvoice.data.shar import check_manifest
from zipvoice.pretrained import RELEASED, check_no_graphs, read_directory, weights_path
from zipvoice.runtime.select import check_vocoder
from zipvoice.text.token_table import TokenTable
from zipvoice.vocoder.vocos_files import WEIGHT_FILES, first_file, read_config

NO_SAMPLES = "sample_every needs validation data (data.dev) to make samples of; set it to 0 without"
Check = Callable[[], object]
"""Raises ValueError or OSError for what is missing."""


def check_inputs(config: RunConfig) -> None:
    """Raise for all that a run of a model cannot do without: ValueError, or the OSError of a single missing file."""
    _raise_all(_of_model(config))


def check_vocoder_inputs(config: VocoderRunConfig) -> None:
    """As `check_inputs`, for the run of a vocoder."""
    _raise_all(_of_vocoder(config))


def _of_model(config: RunConfig) -> Iterator[Check]:
    yield from _of_any(config)
    yield partial(check_no_graphs, Path(config.exp_dir))
    yield partial(_teacher, config)
    for model in (config.init_from, config.objective.teacher):
        if model is not None:
            yield partial(_model, model)
    yield partial(_tokens, config)
    yield partial(_named, config.data.train, NO_MANIFEST)
    for manifest in (*config.data.train, *config.data.dev):
        yield partial(check_manifest, manifest.path)
    if config.sample_every:
        yield partial(_named, config.data.dev, NO_SAMPLES)
        yield partial(check_vocoder, config.vocoder)


def _of_vocoder(config: VocoderRunConfig) -> Iterator[Check]:
    yield from _of_any(config)
    yield partial(check_no_graphs, Path(config.exp_dir), "vocoder")
    if config.init_from is not None:
        yield partial(read_config, config.init_from)
        yield partial(first_file, config.init_from, *WEIGHT_FILES)
    yield partial(_named, config.train, NO_RECORDINGS)
    for source in (*config.train, *config.dev):
        if not Path(source).is_dir():
            yield partial(check_manifest, source)


def _of_any(config: LoopConfig) -> Iterator[Check]:
    yield partial(_checkpoint, config.resume)


def _raise_all(checks: Iterable[Check]) -> None:
    faults: list[ValueError | OSError] = []
    for check in checks:
        try:
            check()
        except (ValueError, OSError) as error:
            faults.append(error)
    if len(told := list(dict.fromkeys(map(str, faults)))) > 1:
        raise ValueError(f"the run cannot begin, faults: {listed(told)}")
    if faults:
        raise faults[0]


def _checkpoint(resume: str) -> None:
    if resume not in ("auto", "never") and not Path(resume).exists():
        raise FileNotFoundError(f"there is no checkpoint {resume}; resume is auto, never or the path of one")


def _teacher(config: RunConfig) -> None:
    if (config.variant == "zipvoice_distill") != (config.objective.teacher is not None):
        raise ValueError(
            "objective.teacher is for the variant zipvoice_distill, which needs it: a base model for the first stage, "
            "the result of the first stage for the second"
        )


def _model(source: str) -> None:
    """A model directory, unless it is still to be downloaded."""
    if source not in RELEASED or (Path(source) / "model.json").is_file():
        weights_path(read_directory(source).path)


def _tokens(config: RunConfig) -> None:
    if config.tokens is not None:
        if not Path(config.tokens).is_file():
            raise ValueError(f"there is no token table {config.tokens} (tokens)")
        TokenTable.read(config.tokens)
    elif not config.is_fine_tuning:
        raise ValueError("training from scratch needs a token table: give the path of a tokens.txt (tokens)")


def _named(names: Iterable[object], message: str) -> None:
    if not list(names):
        raise ValueError(message)
