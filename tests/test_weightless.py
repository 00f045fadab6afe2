# SPDX-License-Identifier: Apache-2.0
"""Graphs without weights: weights of their sizes can be put into them, others are refused, and the package has some.

That they give the numbers of the network is in test_export.py.
"""

import gzip
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.numpy
import torch
from test_runtime import BLOCK
from tiny_models import LETTERS, TINY, make_model

from zipvoice import builtin
from zipvoice.audio.files import read as read_sound
from zipvoice.audio.mel import inverse_transform
from zipvoice.cli import main
from zipvoice.config.export import ExportOptions
from zipvoice.config.model import Vocabulary
from zipvoice.config.model_file import ModelFile
from zipvoice.config.vocoder import VocosConfig
from zipvoice.export.onnx import export_onnx
from zipvoice.export.weightless import write_model_graphs
from zipvoice.pretrained import RELEASED, load_network, read_directory
from zipvoice.runtime import onnx, select
from zipvoice.runtime.base import NARROW
from zipvoice.runtime.onnx import KEPT_SIZES, OnnxGraph
from zipvoice.runtime.select import load_model, load_vocoder
from zipvoice.runtime.weightless import (
    Header,
    Parameter,
    find_graphs,
    find_vocoder_graph,
    names_of,
    network_key,
    pack,
    read,
    read_floats,
    vocoder_key,
)
from zipvoice.weights import pack_int8, read_weights, write_weights

FOX = "The quick brown fox jumps over the lazy dog."


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny model with its graphs."""
    folder = tmp_path_factory.mktemp("model")
    make_model(folder)
    directory = read_directory(folder)
    write_model_graphs(load_network(directory), directory.file, folder)
    return folder


@pytest.fixture
def model(folder, tmp_path):
    """A copy that may be spoilt."""
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def velocity(folder, runtime):
    loaded = load_model(read_directory(folder), runtime, device="cpu")
    x = np.random.default_rng(0).standard_normal((1, 20, 100), dtype=np.float32)
    condition = loaded.condition(np.array([[5, 9, 7, 0]]), np.array([3]), np.array([20]), 0.1 * x)
    return loaded.numpy(loaded.velocity(0.3, loaded.array(x), condition, 1.0))


def test_other_weights_need_no_other_graph(model):
    before = velocity(model, "onnx")
    torch.manual_seed(7)
    network = load_network(read_directory(model))
    with torch.no_grad():
        for value in network.parameters():
            value.add_(0.05 * torch.randn_like(value))
    write_weights(network.state_dict(), model / "model.safetensors")
    after = velocity(model, "onnx")
    np.testing.assert_allclose(after, velocity(model, "torch"), atol=2e-5)
    assert np.abs(after - before).max() > 0.1


def test_in_8_bits_weights_are_rounded_as_the_graph_is_opened(folder, tmp_path):
    """The sound is that of a graph that was exported so; its rounding is what the two differ from the network by."""
    directory = read_directory(folder)
    export_onnx(ExportOptions(str(folder), str(tmp_path), int8=True))
    loaded = [load_model(directory, "onnx", dtype="int8"), load_model(read_directory(tmp_path), "onnx")]
    assert [model.computed_by.dtype for model in loaded] == ["int8", "int8"]
    x = np.random.default_rng(0).standard_normal((1, 20, 100), dtype=np.float32)
    filled, opened = (
        model.velocity(0.3, x, model.condition(np.array([[5, 9, 7, 0]]), np.array([3]), np.array([20]), 0.1 * x), 1.0)
        for model in loaded
    )
    size = np.abs(opened).mean()
    assert np.abs(filled - opened).max() < 1e-4 * size
    assert 1e-4 * size < np.abs(filled - velocity(folder, "onnx")).mean() < 0.05 * size


def test_without_a_mask_no_frame_is_padding(folder):
    loaded = load_model(read_directory(folder), "onnx")
    x = np.random.default_rng(0).standard_normal((1, 20, 100), dtype=np.float32)
    masked = loaded.condition(np.array([[5, 9, 7, 0]]), np.array([3]), np.array([20]), 0.1 * x)
    assert not masked.padding_mask.any()
    bare = replace(masked, padding_mask=None)
    assert np.array_equal(loaded.velocity(0.3, x, bare, 1.0), loaded.velocity(0.3, x, masked, 1.0))


def test_weights_in_a_byte_each_are_the_same_numbers_without_pytorch(model):
    packed = pack_int8(load_network(read_directory(model)).state_dict())
    write_weights(packed, model / "model.safetensors")
    wanted, found = read_weights(model / "model.safetensors"), read_floats(model / "model.safetensors")
    assert wanted.keys() == found.keys()
    assert all(np.array_equal(found[name], value.float().numpy()) for name, value in wanted.items())
    np.testing.assert_allclose(velocity(model, "onnx"), velocity(model, "torch"), atol=2e-5)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "model."])
@pytest.mark.parametrize("form", [dict, pack_int8])
def test_weights_have_their_plain_names_whichever_program_saved_them(model, prefix, form):
    """As for PyTorch; the variant is told by names, too."""
    make_model(model, "zipvoice_distill")
    write_model_graphs(load_network(read_directory(model)), read_directory(model).file, model, ["float32"])
    weights = form(load_network(read_directory(model)).state_dict())
    write_weights({f"{prefix}{name}": value for name, value in weights.items()}, model / "model.safetensors")
    wanted = read_weights(model / "model.safetensors")
    assert {*names_of(model / "model.safetensors")} == {*weights}
    found = read_floats(model / "model.safetensors")
    assert wanted.keys() == found.keys()
    assert all(np.array_equal(found[name], value.float().numpy()) for name, value in wanted.items())
    data = json.loads((model / "model.json").read_text())
    (model / "model.json").write_text(json.dumps({name: x for name, x in data.items() if name != "variant"}))
    loaded = load_model(read_directory(model), device="cpu")
    assert (loaded.computed_by.runtime, loaded.description.variant) == ("onnx", "zipvoice_distill")


def truncated(path):
    path.write_bytes(path.read_bytes()[:-100])


def swapped(path):
    path.write_bytes(path.with_name("condition.graph.gz").read_bytes())


def other_format(path):
    graph = read(path, "velocity")
    path.write_bytes(pack(replace(graph.header, format="99"), graph.model))


def no_graph_inside(path):
    graph = read(path, "velocity")
    path.write_bytes(pack(graph.header, graph.model[:500]))


SPOILT = {
    "truncated": (truncated, "cannot be read as a graph"),
    "no gzip": (lambda path: path.write_text("velocity"), "cannot be read as a graph"),
    "no header": (lambda path: path.write_bytes(gzip.compress(b"\x08\x08")), "cannot be read as a graph"),
    "foreign": (lambda path: path.write_bytes(gzip.compress(b'{"made": "elsewhere"}\n')), "unknown key 'made'"),
    "no graph inside": (no_graph_inside, "cannot be read as a graph"),
    "swapped": (swapped, "holds the condition graph in place of the velocity graph"),
    "other format": (other_format, "has format 99, this version reads 1: export the model again"),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_a_graph_that_cannot_be_used_is_named(model, kind):
    spoil, message = SPOILT[kind]
    spoil(model / "velocity.graph.gz")
    with pytest.raises(ValueError, match=message) as raised:
        load_model(read_directory(model), "onnx")
    assert str(model / "velocity.graph.gz") in str(raised.value) and "\n" not in str(raised.value)


def test_weights_that_are_named_are_for_pytorch(model):
    """Graphs have their own."""
    directory = read_directory(model)
    assert load_model(directory, device="cpu").computed_by.runtime == "onnx"
    named = load_model(directory, device="cpu", weights=model / "model.safetensors")
    assert named.computed_by.runtime == "torch"


def test_weights_that_do_not_fit_are_named(model):
    weights = safetensors.numpy.load_file(model / "model.safetensors")
    bias = weights.pop("fm_decoder.in_proj.bias")
    safetensors.numpy.save_file(weights, model / "model.safetensors")
    with pytest.raises(ValueError, match=r"model\.safetensors does not fit .*fm_decoder\.in_proj\.bias is missing"):
        load_model(read_directory(model), "onnx")
    safetensors.numpy.save_file({**weights, "fm_decoder.in_proj.bias": bias[:3]}, model / "model.safetensors")
    with pytest.raises(ValueError, match=r"fm_decoder\.in_proj\.bias has shape \(3,\), not \(24,\)"):
        load_model(read_directory(model), "onnx")
    (model / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged or no safetensors file"):
        load_model(read_directory(model), "onnx")


def test_a_graph_is_for_networks_of_its_sizes_only(model, monkeypatch):
    file = read_directory(model).file
    assert find_graphs(read_directory(model), "zipvoice") is not None
    assert find_graphs(read_directory(model), "zipvoice_distill") is None
    wider = replace(file, model=replace(TINY, fm_decoder_dim=32))
    assert network_key(wider, "zipvoice", LETTERS.vocabulary) != network_key(file, "zipvoice", LETTERS.vocabulary)
    make_model(model, config=wider.model)
    with pytest.raises(FileNotFoundError, match=r"zipvoice export .* where PyTorch is installed; or install that here"):
        load_model(read_directory(model), "onnx")
    assert load_model(read_directory(model), "auto", device="cpu").computed_by.runtime == "torch"
    monkeypatch.setattr(select, "_has_pytorch", lambda: False)
    with pytest.raises(FileNotFoundError, match=r"zipvoice export .* where PyTorch is installed; or install that here"):
        load_model(read_directory(model), "auto")


def test_the_same_graph_has_the_same_file():
    header = Header("velocity", "1", "key", (Parameter("weight", (2, 3)),))
    assert pack(header, b"graph") == pack(header, b"graph")


# ---------------------------------------------------------------- auto


@pytest.mark.parametrize(
    ("options", "accelerator", "runtime"),
    [
        ({}, False, "onnx"),
        ({"device": "cpu"}, True, "onnx"),
        ({}, True, "torch"),
        ({"dtype": "bfloat16"}, False, "torch"),
        ({"dtype": "float32"}, False, "onnx"),
        ({"dtype": "auto"}, False, "onnx"),
        ({"dtype": "int8"}, False, "onnx"),
        ({"dtype": "int8", "weights": "model.safetensors"}, False, "torch"),
        ({"weights": "model.safetensors"}, False, "torch"),
    ],
)
def test_auto_takes_what_suits_the_device(folder, monkeypatch, options, accelerator, runtime):
    monkeypatch.setattr(select, "_sees_accelerator", lambda: accelerator)
    assert load_model(read_directory(folder), **options).computed_by.runtime == runtime


# ---------------------------------------------------------------- what comes with the package


@pytest.mark.parametrize("name", builtin.MODELS)
def test_the_models_of_the_package_have_graphs_that_fit(name):
    directory = read_directory(name)
    for precision in ("float32", "int8"):
        condition, decoder = find_graphs(directory, directory.file.variant, precision)
        assert condition.path.parent == decoder.path.parent == directory.path
        assert (condition.header.precision, decoder.header.precision) == ("float32", precision)
    assert find_vocoder_graph(builtin.folder(builtin.VOCODER)) is not None


@pytest.mark.parametrize("variant", RELEASED)
def test_there_are_graphs_for_the_released_models(variant):
    vocabulary = Vocabulary(388, 0, 360, 361) if "dialog" in variant else Vocabulary(360)
    folder = builtin.folder(builtin.GRAPHS) / variant
    for file, precision in (("condition", "float32"), ("velocity", "float32"), ("velocity.int8", "int8")):
        header = read(folder / f"{file}.graph.gz", file.partition(".")[0]).header
        assert header.network == network_key(ModelFile(), variant, vocabulary)
        assert header.precision == precision
    shapes = {parameter.name: parameter.shape for parameter in header.parameters}
    assert shapes["fm_decoder.encoders.4.layers.3.feed_forward3.in_proj.weight"] == (1920, 512)
    assert ("fm_decoder.guidance_scale_embed.weight" in shapes) == (variant == "zipvoice_distill")
    vocoder = read(builtin.folder(builtin.GRAPHS) / "vocos" / "vocoder.graph.gz", "vocoder").header
    assert vocoder.network == vocoder_key(VocosConfig())
    assert {parameter.name for parameter in vocoder.parameters} >= inverse_transform().keys()


SAY = "import sys; from zipvoice.cli import main; sys.exit(main(sys.argv[1:]))"


@pytest.mark.parametrize("model", [builtin.MODELS[0], pytest.param(builtin.MODELS[1], marks=pytest.mark.slow)])
def test_the_package_speaks_without_pytorch_as_with_it(tmp_path, model, capsys):
    """With the vocoder of the package: Griffin-Lim magnifies rounding."""
    said = ["say", FOX, "--model", model, "--vocoder", builtin.VOCODER, "--json"]
    done = subprocess.run(
        [sys.executable, "-c", BLOCK + SAY, *said, "-o", str(tmp_path / "onnx.wav")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    about = json.loads(done.stdout)
    assert (about["runtime"], about["device"]) == ("onnx", "CPUExecutionProvider")
    assert main([*said, "--runtime", "torch", "--device", "cpu", "-o", str(tmp_path / "torch.wav")]) == 0
    assert json.loads(capsys.readouterr().out)["runtime"] == "torch"
    without, wanted = (read_sound(tmp_path / f"{name}.wav").samples for name in ("onnx", "torch"))
    np.testing.assert_allclose(without, wanted, atol=2e-3)


def test_the_core_of_the_package_needs_no_pytorch(tmp_path):
    """What the built package asks for, as its metadata says."""
    root = Path(__file__).resolve().parents[1]
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (tmp_path / name).write_bytes((root / name).read_bytes())
    (tmp_path / "zipvoice").mkdir()
    build = "import sys; from setuptools.build_meta import prepare_metadata_for_build_wheel as build; build('out')"
    (tmp_path / "out").mkdir()
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, check=True, capture_output=True)
    (metadata,) = tmp_path.glob("out/*.dist-info/METADATA")
    lines = metadata.read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    required = [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")]
    core = {line.partition(";")[0].strip() for line in required if "extra ==" not in line}
    assert {"numpy", "onnxruntime>=1.20", "piper-phonemize"} <= core
    assert not [name for name in core if name.startswith(("torch", "lhotse", "vocos"))]
    assert [line for line in required if line.startswith("torch") and 'extra == "torch"' in line]


def test_idle_threads_of_a_graph_leave_the_cores_to_others():
    """Those of ONNX Runtime would wait for work in a loop; seen from outside it is noise, so it is asked."""
    options = load_vocoder("vocos_small", "onnx")._graph.session.get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


@pytest.mark.parametrize(("threads", "evaluations"), [(None, 4), (1, 4), (2, 2), (3, 1), (9, 1)])
def test_as_many_evaluations_go_on_at_once_as_there_are_cores(monkeypatch, threads, evaluations):
    monkeypatch.setattr(onnx, "num_cores", lambda: 4)
    engine = onnx.OnnxEngine(threads)
    assert (engine.num_threads, engine.evaluations_at_once) == (threads or 4, evaluations)


@pytest.mark.parametrize(("width", "given", "threads"), [(NARROW - 12, None, 1), (NARROW, None, 4), (192, 3, 3)])
def test_a_narrow_decoder_is_evaluated_in_one_thread_unless_more_are_asked_for(
    tmp_path, monkeypatch, width, given, threads
):
    monkeypatch.setattr(onnx, "num_cores", lambda: 4)
    monkeypatch.setattr(onnx.graphs, "load_model", lambda directory, engine, *more: engine)
    make_model(tmp_path)
    directory = read_directory(tmp_path)
    file = replace(directory.file, model=replace(directory.file.model, fm_decoder_dim=width))
    assert onnx.load_model(replace(directory, file=file), num_threads=given).num_threads == threads


def test_memory_is_given_back_after_a_run_of_other_sizes_than_the_last_few():
    """Not after the first one: what that leaves behind the second needs. Seen from outside it is noise."""
    asked = []

    def run(outputs, inputs, options):
        try:
            asked.append(options.get_run_config_entry("memory.enable_memory_arena_shrinkage"))
        except RuntimeError:  # there is none
            asked.append(None)
        return [inputs["x"]]

    graph = OnnxGraph(SimpleNamespace(get_inputs=lambda: [SimpleNamespace(name="x")], run=run))
    for length in (5, 5, 7, 7, 5, 7, 5, *[7] * KEPT_SIZES, 5, 5):
        graph({"x": np.zeros((1, length), np.float32)})
    assert asked == [None, None, "cpu:0", *[None] * (4 + KEPT_SIZES), "cpu:0", None]
