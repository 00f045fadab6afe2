# SPDX-License-Identifier: Apache-2.0
"""Each cell of the table in docs/runtimes.md: what a runtime does sounds as PyTorch has it, the rest is refused."""

import functools
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_models import make_model, tone

from zipvoice import SynthesisOptions, Synthesizer
from zipvoice.config.export import ExportOptions
from zipvoice.export.onnx import export_onnx, velocity_source, write_graph
from zipvoice.export.weightless import write_model_graphs
from zipvoice.pretrained import RELEASED, load_network, read_directory
from zipvoice.runtime.openvino import OpenVinoEngine
from zipvoice.runtime.select import load_model
from zipvoice.synthesis.cues import Cue
from zipvoice.synthesis.subtitles import dub

PAGE = Path(__file__).resolve().parents[1] / "docs" / "runtimes.md"
QUICK = {"num_steps": 2, "guidance_scale": 1.0}


def cells():
    """Feature, runtime and yes or no, as the page has them; OpenVINO takes seconds to make a model ready."""
    section = PAGE.read_text(encoding="utf-8").partition("## What each can do")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    header, _, *body = rows
    return [
        pytest.param(row[0], runtime, cell, marks=pytest.mark.slow if runtime == "openvino" else ())
        for row in body
        for runtime, cell in zip(header[1:], row[1:], strict=True)
    ]


VARIANTS = [pytest.param(name, marks=pytest.mark.slow if name != "zipvoice" else ()) for name in RELEASED]


@pytest.fixture(scope="module", params=VARIANTS)
def folder(request, tmp_path_factory):
    """A tiny model with weightless graphs and, in `exported`, graphs with weights."""
    folder = tmp_path_factory.mktemp(request.param)
    make_model(folder, request.param)
    (folder / "other.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    directory = read_directory(folder)
    write_model_graphs(load_network(directory), directory.file, folder)
    export_onnx(ExportOptions(str(folder), str(folder / "exported")))
    shutil.copytree(folder / "exported", folder / "int8")
    write_graph(velocity_source(load_network(directory), int8=True), folder / "int8")
    yield folder
    synthesizer.cache_clear()  # else a process of many tests would keep all models


@functools.cache
def synthesizer(folder, runtime, dtype="float32", **options):
    """OpenVINO by itself computes in bfloat16 where the processor has it."""
    directory = read_directory(folder / "exported" if runtime == "onnx, exported" else folder)
    model = load_model(directory, runtime.partition(",")[0], device="cpu", dtype=dtype, **options)
    return Synthesizer(model, lowest_band, directory.tokenizer(model.description.variant), directory.table)


def lowest_band(log_mel):
    """Stands in for a vocoder: samples that move as the features do."""
    return np.tanh(log_mel[:, 0, 1:].repeat(256, axis=1) / 100)


def voice(speaker):
    text = "[S1] a low tone [S2] and again" if speaker.is_dialogue else "a low tone"
    return speaker.prompt(tone(1.5, channels=speaker.num_channels), text)


def texts(speaker):
    turns = ("[S1] ", "[S2] ") if speaker.is_dialogue else ("", "")
    return f"{turns[0]}one two three, four five. {turns[1]}six seven eight nine ten!"


def one_text(folder, runtime):
    speaker = synthesizer(folder, runtime)
    return speaker.synthesize(texts(speaker), voice(speaker), **QUICK).samples


def chunks(folder, runtime):
    speaker = synthesizer(folder, runtime)
    return speaker.synthesize(texts(speaker), voice(speaker), max_chunk_seconds=3.5, **QUICK).samples


def streams(folder, runtime):
    speaker = synthesizer(folder, runtime)
    parts = speaker.stream(texts(speaker), voice(speaker), max_chunk_seconds=3.5, **QUICK)
    return np.concatenate([part.samples for part in parts], axis=1)


def exact_durations(folder, runtime):
    speaker = synthesizer(folder, runtime)
    samples = speaker.synthesize(texts(speaker), voice(speaker), duration=2.0, **QUICK).samples
    assert samples.shape[1] == 48000
    return samples


def subtitles(folder, runtime):
    speaker = synthesizer(folder, runtime)
    cue = Cue(1, 0.5, 2.0, texts(speaker), None)
    return dub(speaker, [cue], {None: voice(speaker)}, SynthesisOptions(**QUICK)).audio.samples


def other_weights(folder, runtime):
    speaker = synthesizer(folder, runtime, weights="other.safetensors")
    return speaker.synthesize(texts(speaker), voice(speaker), **QUICK).samples


def half_precision(folder, runtime):
    speaker = synthesizer(folder, runtime, dtype="bfloat16")
    return speaker.synthesize(texts(speaker), voice(speaker), **QUICK).samples


def eight_bits(folder, runtime):
    is_exported = runtime == "onnx, exported"
    speaker = synthesizer(folder / "int8", "onnx", None) if is_exported else synthesizer(folder, runtime, dtype="int8")
    assert speaker.model.computed_by.dtype == "int8"
    return speaker.synthesize(texts(speaker), voice(speaker), **QUICK).samples


AS_ONE_TEXT = "another weight file", "bfloat16 and float16", "8 bits"
"""Features whose sound is compared with that of one text, in float32."""
FEATURES = {
    "one text": (one_text, 1e-4),
    "chunks in one batch": (chunks, 1e-4),
    "streams": (streams, 1e-4),
    "exact durations": (exact_durations, 1e-4),
    "subtitles": (subtitles, 1e-4),
    "another weight file": (other_weights, 1e-4),
    "bfloat16 and float16": (half_precision, 0.05),
    "8 bits": (eight_bits, 0.05),
}


def test_the_table_tells_of_every_feature():
    assert {cell.values[0] for cell in cells()} == set(FEATURES)
    assert {cell.values[1] for cell in cells()} == {"torch", "onnx", "onnx, exported", "openvino"}


@pytest.mark.parametrize(("feature", "runtime", "cell"), cells())
def test_a_cell_of_the_table(folder, feature, runtime, cell):
    speak, tolerance = FEATURES[feature]
    if cell == "no":
        with pytest.raises(
            ValueError, match=r"export others|graphs compute in float32|OpenVINO computes in .*, not in int8"
        ):
            speak(folder, runtime)
        return
    if cell == "bfloat16":  # on processors that have it
        if OpenVinoEngine().dtype != "bfloat16":
            with pytest.raises(ValueError, match="on this processor, not in bfloat16"):
                speak(folder, runtime)
            return
        cell = "yes"
    assert cell == "yes"
    wanted = (one_text if feature in AS_ONE_TEXT else speak)(folder, "torch")
    found = speak(folder, runtime)
    assert wanted.std() > 0.001
    np.testing.assert_allclose(found, wanted, atol=tolerance)
