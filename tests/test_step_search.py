# SPDX-License-Identifier: Apache-2.0
import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from tiny_models import make_model

import zipvoice
from zipvoice.cli import main
from zipvoice.cli.steps import TEXTS, search_steps
from zipvoice.config.model_file import ModelFile
from zipvoice.config.strict_json import read_json
from zipvoice.config.synthesis import SamplingConfig, SynthesisOptions
from zipvoice.model.solver import solve, times_of
from zipvoice.pretrained import read_directory
from zipvoice.synthesis import step_search
from zipvoice.synthesis.sampling import evaluations
from zipvoice.synthesis.step_search import PARTS, Flow, search_grid, spectral_distance


def distance_of_a_known_flow(sampling):
    """From x(1) = 1 / e of x' = -2 t x."""
    x = solve(lambda t, x, condition: -2 * t * x, np.ones((1, 1, 1)), None, times_of(sampling), sampling.solver)
    return abs(x.item() - math.exp(-1))


@pytest.mark.parametrize("solver", ["euler", "adams-bashforth"])
def test_the_grid_of_two_steps_is_the_best_there_is(solver):
    sampling = SamplingConfig(2, 1.0, solver=solver)
    found = search_grid(distance_of_a_known_flow, sampling, lambda trial: None)
    grids = [(0.0, part / PARTS, 1.0) for part in range(1, PARTS)]
    assert found.distance == min(distance_of_a_known_flow(replace(sampling, time_grid=grid)) for grid in grids)
    assert replace(found.sampling, time_grid=None) == sampling


@pytest.mark.parametrize("num_steps", [3, 5, 31, 32])
def test_what_is_found_is_no_worse_than_where_the_search_began(num_steps):
    trials = []
    found = search_grid(distance_of_a_known_flow, SamplingConfig(num_steps, 1.0, solver="heun"), trials.append)
    grids = [trial.sampling.time_grid for trial in trials]
    assert len(set(grids)) == len(grids)
    assert {len(grid) for grid in grids} == {num_steps + 1}
    assert found.distance == min(trial.distance for trial in trials)
    if num_steps == 5:
        assert (0.0, 0.0625, 0.125, 0.25, 0.5, 1.0) in grids


@pytest.mark.parametrize("num_steps", [1, 33])
def test_steps_that_leave_no_choice(num_steps):
    with pytest.raises(ValueError, match="2 to 32 steps"):
        search_grid(distance_of_a_known_flow, SamplingConfig(num_steps, 1.0), print)


@pytest.mark.parametrize(("texts", "voices"), [([], (None,)), (["hello"], ())])
def test_a_distance_needs_a_text_and_a_voice(texts, voices):
    with pytest.raises(ValueError, match="needs a text and a voice at least"):
        Flow(None, texts, voices)


def test_distance_of_spectra():
    mel = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32)
    assert spectral_distance(mel, mel) == 0.0
    assert spectral_distance(mel, mel + 0.1) == pytest.approx(0.1 * 20 / math.log(10), rel=1e-4)
    quiet = mel - 100
    quiet[0] = mel[0]
    inaudible = quiet + np.linspace(0, 3, 7, dtype=np.float32)[:, None]
    assert spectral_distance(quiet, inaudible) == 0.0


# ---------------------------------------------------------------- command


def search(directory, *arguments):
    """The search with a few exact steps, on a short text."""
    return main(["search-steps", str(directory), "-n", "2", "--text", "hello", *arguments])


@pytest.fixture
def directory(tmp_path, monkeypatch):
    monkeypatch.setattr(step_search, "EXACT_STEPS", 16)
    make_model(tmp_path, "zipvoice")
    return tmp_path


def test_what_is_found_is_written_for_fast_speech(directory, capsys):
    before = read_json(ModelFile, directory / "model.json")
    assert search(directory, "--solver", "euler", "--guidance-every", "2", "--guidance-interval", "0", "0.5") == 0
    told, after = capsys.readouterr(), read_json(ModelFile, directory / "model.json")
    assert replace(after, fast=None) == before
    assert after.fast is not None
    assert (after.fast.num_steps, after.fast.solver, after.fast.guidance_scale) == (2, "euler", 1.0)
    assert (after.fast.guidance_every, after.fast.guidance_interval) == (2, (0.0, 0.5))
    grid = " ".join(f"{t:g}" for t in after.fast.time_grid)
    assert f"in 2 steps of euler: {grid}" in told.out
    distances = [float(line.split()[1]) for line in told.err.splitlines() if line.split()[2:3] == ["dB"]]
    assert float(told.out.split()[0]) == min(distances)


def test_interrupted_or_only_tried_it_leaves_the_file(directory, monkeypatch, capsys):
    content = (directory / "model.json").read_bytes()
    assert search(directory, "--dry-run", "--quiet") == 0
    assert capsys.readouterr().err == ""
    calls = itertools.count()

    def interrupted(*spectra):
        if next(calls) == 5:
            raise KeyboardInterrupt
        return spectral_distance(*spectra)

    monkeypatch.setattr(step_search, "spectral_distance", interrupted)
    assert search(directory) == 130
    assert (directory / "model.json").read_bytes() == content
    assert sorted(path.name for path in directory.iterdir() if path.name.startswith(".")) == []


@pytest.mark.parametrize(
    ("arguments", "message"), [(["-n", "1"], "2 to 32 steps, not 1"), (["--solver", "mean-flow"], "leave out solver")]
)
def test_what_cannot_be_is_refused_before_the_work(directory, monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(step_search, "Flow", None)
    assert main(["search-steps", str(directory), *arguments]) == 1
    assert message in capsys.readouterr().err


def test_the_search_computes_as_is_asked_for(directory, monkeypatch):
    def load(*source, **given):
        raise LookupError(source, given)

    monkeypatch.setattr("zipvoice.synthesis.synthesizer.load", load)
    with pytest.raises(LookupError) as loaded:
        search_steps([str(directory), "--runtime", "onnx", "--device", "cpu"])
    given = {"vocoder": "griffin-lim", "runtime": "onnx", "device": "cpu"}
    assert loaded.value.args == ((str(directory),), given)


def test_a_model_of_the_package_is_not_written(capsys):
    assert search("zipvoice_small") == 1
    assert "is not a model directory" in capsys.readouterr().err


def test_fast_speech_is_that_of_what_was_found(directory, tmp_path, capsys):
    data = json.loads((directory / "model.json").read_text())
    fast = {"num_steps": 2, "guidance_scale": 1.0, "time_grid": [0.0, 0.25, 1.0], "solver": "midpoint"}
    (directory / "model.json").write_text(json.dumps({**data, "fast": fast}))
    given = ["--time-grid", "0", "0.25", "1", "--solver", "midpoint", "--t-shift", "0.5"]
    for name, options in (("fast", ["--fast"]), ("same", given), ("usual", [])):
        machine = ["-m", str(directory), "--vocoder", "griffin-lim", "--runtime", "torch"]
        assert main(["say", "hello", *machine, *options, "-o", str(tmp_path / f"{name}.wav")]) == 0
        if name != "same":
            (told,) = [line for line in capsys.readouterr().err.splitlines() if "evaluations" in line] or [""]
            assert told == ("fast: 2 steps, 8 evaluations of the network" if name == "fast" else "")
    fast_sound, same, usual = ((tmp_path / f"{name}.wav").read_bytes() for name in ("fast", "same", "usual"))
    assert fast_sound == same
    assert fast_sound != usual


@pytest.mark.parametrize("fast", [None, {"num_steps": 3, "guidance_scale": 1.0, "guidance_every": 2}])
def test_one_text_and_lists_tell_what_fast_speech_took(directory, tmp_path, capsys, fast):
    data = json.loads((directory / "model.json").read_text())
    (directory / "model.json").write_text(json.dumps({**data, "fast": fast}))
    machine = ["-m", str(directory), "--vocoder", "griffin-lim", "--runtime", "torch", "--fast", "--json"]
    (tmp_path / "list.txt").write_text("hello\n")
    for command in (
        ["say", "hello", "-o", str(tmp_path / "a.wav")],
        ["batch", str(tmp_path / "list.txt"), "-o", str(tmp_path)],
    ):
        assert main([*command, *machine]) == 0
        out, err = capsys.readouterr()
        told = json.loads(out)
        expected = (True, 3, 5) if fast else (False, 16, 32)  # that at t = 1/2 is that of t = 1/5
        assert (told["fast"], told["num_steps"], told["evaluations"]) == expected
        assert ("the model has no fast steps" in err) == (fast is None)


def test_the_package_speaks_with_the_steps_that_were_found_for_it(monkeypatch):
    """Nearer to the exact flow, in 10 evaluations, than in the 12 of Euler's method, in a sentence of the search."""
    sampling = read_directory("zipvoice_small").file.sampling
    assert (sampling.solver, sampling.guidance_every, len(sampling.time_grid)) == ("adams-bashforth", 2, 7)
    assert evaluations(sampling, is_distilled=False) == 10
    monkeypatch.setattr(step_search, "EXACT_STEPS", 48)  # with fewer the exact flow is too far from itself
    flow = Flow(zipvoice.load("zipvoice_small"), list(TEXTS[:1]))
    euler = SamplingConfig(6, sampling.guidance_scale, 0.5, sampling.temperature)
    assert flow.distance(sampling) < 0.95 * flow.distance(euler)


def test_contrast_says_nothing_about_steps(tmp_path):
    """Of two samplings that differ in it alone, the same features are compared; what is found keeps it."""
    flow = Flow(zipvoice.load(), TEXTS[:1])
    plain = SamplingConfig(2, 1.0, temperature=0.2)
    (without,), (sharp,) = flow.mels(plain), flow.mels(replace(plain, contrast=1.5))
    np.testing.assert_array_equal(without, sharp)
    assert flow.sampling.contrast == zipvoice.load().resolved(SynthesisOptions()).contrast > 0
