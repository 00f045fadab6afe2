# SPDX-License-Identifier: Apache-2.0
"""OpenVINO gives the numbers of the networks at every length, in its own files and in graphs without weights."""

import hashlib
import itertools
import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
from test_export import LENGTHS, differences
from tiny_models import make_model, make_vocoder

from zipvoice import builtin
from zipvoice.cli import main
from zipvoice.config.export import ExportOptions
from zipvoice.export.folder import TITLE
from zipvoice.export.onnx import ExportedGraph, Source
from zipvoice.export.openvino import export_openvino, write_graph
from zipvoice.export.weightless import write_model_graphs
from zipvoice.files import write_text
from zipvoice.pretrained import load_network, read_directory
from zipvoice.runtime import openvino as runtime
from zipvoice.runtime import signal_stack
from zipvoice.runtime.select import default_vocoder, load_model, load_vocoder
from zipvoice.runtime.weightless import Header, Parameter, WeightlessGraph

pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny distilled model with weightless graphs and, in `exported`, OpenVINO's own files and a vocoder's."""
    folder = tmp_path_factory.mktemp("openvino")
    make_model(folder, "zipvoice_distill")
    make_vocoder(folder / "vocos")
    directory = read_directory(folder)
    write_model_graphs(load_network(directory), directory.file, folder, ["float32"])
    export_openvino(ExportOptions(str(folder), str(folder / "exported"), vocoder=str(folder / "vocos")))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("graphs", [".", "exported"])
def test_graphs_give_the_numbers_of_the_network(folder, graphs):
    models = [
        load_model(read_directory(folder), "torch", device="cpu"),
        load_model(read_directory(folder / graphs), "openvino", dtype="float32"),
    ]
    for batch, frames in ((1, 1), (2, 2), (1, 3), (3, 37)):
        assert max(differences(*models, batch, frames)) < 2e-5


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_the_stack_for_signals_is_the_same_after_as_before(folder):
    """Else it would be one that goes with OpenVINO's Core, and a signal after that would end the process."""

    def stack():
        return [getattr(signal_stack.current(), name) for name, _ in signal_stack.SignalStack._fields_]

    before, network = stack(), load_model(read_directory(folder), "torch", device="cpu")
    for graphs in (".", "exported"):
        model = load_model(read_directory(folder / graphs), "openvino", dtype="float32")  # must live, for now
        differences(network, model, 1, 5)
        assert stack() == before


class WithTextOf:
    """The velocities of one runtime over the text condition of another; it counts the frames that differ in theirs."""

    def __init__(self, network, graphs):
        self.description, self.velocity = network.description, graphs.velocity
        self.network, self.graphs, self.others = network, graphs, 0

    def condition(self, *given):
        wanted, own = self.network.numpy(self.network.condition(*given).text), self.graphs.condition(*given)
        self.others += (np.abs(wanted - own.text).max(axis=2) > 2e-5).sum()
        return replace(own, text=wanted)


@pytest.mark.slow
@pytest.mark.parametrize("name", builtin.MODELS)
def test_trained_models_give_their_numbers(name):
    """But for frames in whose very middle a token ends: OpenVINO rounds double precision to single."""
    directory = read_directory(name)
    network, graphs = (load_model(directory, kind, device="cpu", dtype="float32") for kind in ("torch", "openvino"))
    mixed = WithTextOf(network, graphs)
    for batch, frames in itertools.product((1, 2), (*LENGTHS, 500, 1218)):
        assert max(differences(network, mixed, batch, frames)) < 2e-5
    assert mixed.others <= 5  # of some 6000


@pytest.mark.slow
def test_a_folder_of_its_files_is_computed_by_it(folder):
    graphs = folder / "exported"
    assert not list(graphs.glob("*.onnx"))
    assert default_vocoder(graphs, read_directory(graphs), "auto") == graphs
    model = load_model(read_directory(graphs))
    assert (model.computed_by.runtime, model.computed_by.device) == ("openvino", "CPU")
    log_mel = np.random.default_rng(0).standard_normal((1, 100, 20), dtype=np.float32) - 3
    found, wanted = load_vocoder(graphs)(log_mel), load_vocoder(folder / "vocos", "torch")(log_mel)
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    card = (graphs / "README.md").read_text(encoding="utf-8")
    assert "velocity.xml" in card and "velocity.bin" in card and "openvino 2" in card


def test_the_arithmetic_is_what_the_processor_is_made_for_or_what_is_asked_for(monkeypatch):
    monkeypatch.setattr(runtime, "_dtypes_of", lambda core: ["bfloat16", "float32"])
    assert runtime.OpenVinoEngine().dtype == "bfloat16"
    assert runtime.OpenVinoEngine("float32").dtype == "float32"
    monkeypatch.setattr(runtime, "_dtypes_of", lambda core: ["float32"])
    assert runtime.OpenVinoEngine().dtype == "float32"
    with pytest.raises(ValueError, match="computes in float32 on this processor, not in bfloat16"):
        runtime.OpenVinoEngine("bfloat16")


def product(has_weights):
    """The graph of y = x @ w + b, with a weight that lies elsewhere, in ONNX's form."""
    value = onnx.helper.make_tensor_value_info
    names = [value(name, onnx.TensorProto.FLOAT, ["N", size]) for name, size in (("x", 2), ("y", 3))]
    weight = onnx.numpy_helper.from_array(np.ones((2, 3), np.float32), "w")
    if not has_weights:
        weight.ClearField("raw_data")
        weight.data_location = onnx.TensorProto.EXTERNAL
        weight.external_data.add(key="location", value="weights")
    bias = onnx.numpy_helper.from_array(np.float32([1, 2, 3]), "b")
    nodes = [onnx.helper.make_node("MatMul", ["x", "w"], ["m"]), onnx.helper.make_node("Add", ["m", "b"], ["y"])]
    graph = onnx.helper.make_graph(nodes, "product", names[:1], names[1:], [weight, bias])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.helper.set_model_props(model, {"zipvoice.graph": "velocity", "zipvoice.format": "1"})
    return model


def test_a_graph_takes_weights_that_lie_elsewhere(tmp_path):
    header = Header("velocity", "1", "key", (Parameter("w", (2, 3)),))
    graph = WeightlessGraph(tmp_path / "a.graph", header, product(has_weights=False).SerializeToString())
    weight, x = np.arange(6, dtype=np.float32).reshape(2, 3), np.float32([[1, 0], [0, 1], [1, 1]])
    filled = runtime.OpenVinoEngine("float32", 1).fill(graph, {"w": weight, "more": weight}, "model.pt")
    assert filled.inputs == {"x"} and filled.precision == "float32"
    np.testing.assert_allclose(filled({"x": x}), x @ weight + np.float32([1, 2, 3]))


def test_a_graph_says_of_itself_what_it_is(tmp_path):
    path = tmp_path / "velocity.onnx"
    onnx.save(product(has_weights=True), path)
    engine = runtime.OpenVinoEngine("float32", 1)
    np.testing.assert_allclose(engine.open(path, "velocity")({"x": np.float32([[1, 2]])}), [[4, 5, 6]])
    with pytest.raises(ValueError, match="holds the velocity graph"):
        engine.open(path, "condition")
    path.write_text("no graph")
    with pytest.raises(ValueError, match=r"velocity\.onnx cannot be read as a graph"):
        engine.open(path, "velocity")


def test_a_graph_is_written_once_it_gives_the_numbers_of_its_network(tmp_path):
    torch = pytest.importorskip("torch")
    layer = torch.nn.Linear(2, 3)
    axes = {"x": {0: "T"}, "y": {0: "T"}}

    def source(reference):
        return Source("velocity", layer, reference, lambda frames: {"x": torch.rand(frames, 2)}, ("y",), axes)

    with pytest.raises(ValueError, match="the velocity graph differs from the network by"):
        write_graph(source(lambda x: layer(x) + 0.1), tmp_path)
    assert list(tmp_path.iterdir()) == []
    written = write_graph(source(layer), tmp_path)
    assert [graph.file for graph in written] == ["velocity.bin", "velocity.xml"]
    for graph in written:
        content = (tmp_path / graph.file).read_bytes()
        assert graph.sha256 == hashlib.sha256(content).hexdigest() and graph.megabytes == len(content) / 1e6
        assert graph.difference < 1e-5 and graph.precision == "float32"
    x = torch.rand(4, 2)
    found = runtime.OpenVinoEngine("float32", 1).open(tmp_path / "velocity.xml", "velocity")({"x": x.numpy()})
    np.testing.assert_allclose(found, layer(x).detach().numpy(), atol=1e-6)


SPOILT = {
    "cut short": (lambda path: path.write_bytes(path.read_bytes()[:2000]), "cannot be read as a graph"),
    "no weights": (lambda path: path.with_suffix(".bin").unlink(), "cannot be read as a graph"),
    "swapped": (lambda path: shutil.copy(path.with_name("condition.xml"), path), "holds the condition graph"),
    "missing": (lambda path: path.unlink(), "zipvoice export MODEL --output-dir"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SPOILT)
def test_a_file_that_cannot_be_used_is_named(folder, tmp_path, kind):
    graphs = shutil.copytree(folder / "exported", tmp_path / "graphs")
    spoil, message = SPOILT[kind]
    if kind == "swapped":
        shutil.copy(graphs / "condition.bin", graphs / "velocity.bin")
    spoil(graphs / "velocity.xml")
    with pytest.raises((ValueError, OSError), match=message) as raised:
        load_model(read_directory(graphs), "openvino")
    assert str(graphs / "velocity") in str(raised.value)
    assert "\n" not in str(raised.value)


def test_only_the_files_of_the_last_export_speak(tmp_path, monkeypatch):
    make_model(tmp_path / "model")
    for name in ("README.md", "condition.onnx", "velocity.onnx", "vocoder.bin", "vocoder.xml"):
        write_text(tmp_path / "graphs" / name, TITLE)
    files = [f"{name}{suffix}" for name in ("condition", "velocity") for suffix in (".bin", ".xml")]
    graphs = [ExportedGraph(file, "float32", 1.0, "", 0.0) for file in files]
    monkeypatch.setattr("zipvoice.export.openvino.write_graph", lambda source, output: graphs)
    export_openvino(ExportOptions(str(tmp_path / "model"), str(tmp_path / "graphs")))
    assert {path.name for path in (tmp_path / "graphs").iterdir()} == {"README.md", "model.json", "tokens.txt"}


def test_what_it_cannot_do_is_refused(tmp_path, capsys):
    name = builtin.MODELS[0]
    with pytest.raises(ValueError, match="computes on the CPU here: --device cpu"):
        load_model(read_directory(name), "openvino", device="cuda")
    assert main(["export", name, "-o", str(tmp_path / "out"), "--for", "openvino", "--int8"]) == 1
    assert "leave it out for OpenVINO" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_command_says_what_spoke(tmp_path, capsys):
    said = ["say", "Hello.", "--runtime", "openvino", "--json", "-o", str(tmp_path / "out.wav")]
    assert main(said) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["runtime"], told["device"]) == ("openvino", "CPU")
    assert told["dtype"] in ("float32", "bfloat16")
