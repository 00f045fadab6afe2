# SPDX-License-Identifier: Apache-2.0
"""Graphs give the numbers of the networks they were exported from, at every length; other files are refused."""

import hashlib
import json
import math
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tiny_models import FIVE_STACKS, make_model, make_vocoder, tiny_vocoder

import zipvoice
from zipvoice import Audio, builtin
from zipvoice.cli import main
from zipvoice.config.export import ExportOptions
from zipvoice.export.folder import GRAPHS, SHERPA_FILES, TITLE, check_folder, clear
from zipvoice.export.folding import OPSET, folded
from zipvoice.export.int8 import ByteWeight, byte_product, byte_product_by_frame
from zipvoice.export.layers import _folded_swoosh
from zipvoice.export.onnx import compared, export_onnx
from zipvoice.export.vocoder import TracedVocos
from zipvoice.export.weightless import write_model_graphs
from zipvoice.files import write_text
from zipvoice.pretrained import load_network, load_pretrained, read_directory, save_pretrained
from zipvoice.runtime.select import default_vocoder, load_model, load_vocoder
from zipvoice.runtime.weightless import rounded
from zipvoice.vocoder.vocos import LARGEST_MAGNITUDE

SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("zipvoice_distill", "zipvoice_dialog")]
LENGTHS = (1, 2, 3, 4, 5, 37, 101)


@pytest.fixture(scope="module", params=["zipvoice", "zipvoice_dialog_stereo", *SLOW])
def folder(request, tmp_path_factory):
    """A tiny model with weightless graphs and, in `graphs`, graphs with weights."""
    folder = tmp_path_factory.mktemp(request.param)
    make_model(folder / "model", request.param, FIVE_STACKS)
    directory = read_directory(folder / "model")
    write_model_graphs(load_network(directory), directory.file, folder / "model", ["float32"])
    export_onnx(ExportOptions(str(folder / "model"), str(folder / "graphs")))
    return folder


def loaded(graphs):
    return load_model(read_directory(graphs), "onnx")


def differences(network, graphs, batch, frames, seed=0):
    """Largest differences of text condition and velocities, in both halves of the way, with guidance and without.

    Those of velocities are relative to their standard deviation, where that is above one, and to (1 + w) + w, by which
    guidance magnifies the rounding of the two velocities that it is made of. States are noise of the temperature that
    the model is sampled with: of one that it has not met a network may magnify the rounding, also by PyTorch.
    """
    rng = np.random.default_rng(seed)
    lengths = np.array([max(1, frames - 2 * i) for i in range(batch)])
    num_tokens = np.maximum(1, lengths // 3)
    tokens = np.zeros((batch, num_tokens.max() + 1), np.int64)
    for row, count in zip(tokens, num_tokens, strict=True):
        row[:count] = rng.integers(1, network.description.vocabulary.size, count)
    channels = 100 * network.description.num_channels
    x, speech = rng.standard_normal((2, batch, frames, channels), dtype=np.float32)
    x *= network.description.sampling.temperature
    conditions = [runtime.condition(tokens, num_tokens, lengths, 0.3 * speech) for runtime in (network, graphs)]
    real = (np.arange(frames) < lengths[:, None])[:, :, None]
    found = [np.abs(real * (network.numpy(conditions[0].text) - conditions[1].text)).max()]
    for t, scale in ((0.2, 1.5), (0.9, 1.5), (0.4, 0.0)):
        w = 0 if network.network.is_distilled else scale * (2 if t <= 0.5 else 1)
        wanted = network.numpy(network.velocity(t, network.array(x), conditions[0], scale))
        difference = np.abs(real * (wanted - graphs.velocity(t, x, conditions[1], scale))).max()
        found.append(difference / max(1.0, wanted.std()) / (1 + 2 * w))
    return found


@pytest.mark.parametrize("graphs", ["graphs", "model"])
@pytest.mark.parametrize("frames", LENGTHS)
def test_graphs_give_the_numbers_of_the_network(folder, graphs, frames):
    network, graph = load_model(read_directory(folder / "model"), "torch", device="cpu"), loaded(folder / graphs)
    for batch in (1, 2, 3):
        assert max(differences(network, graph, batch, frames)) < 2e-5


SPEAK = """
import sys
sys.modules["torch"] = None  # importing it now raises ImportError
import numpy as np, zipvoice
synthesizer = zipvoice.load(sys.argv[1], vocoder=sys.argv[1])
voice = synthesizer.prompt(zipvoice.Audio(np.load(sys.argv[2]), 24000), "spoken by nobody")
np.save(sys.argv[3], synthesizer.synthesize("Hello there, this is it.", voice, num_steps=2, guidance_scale=1.0).samples)
"""


def test_without_torch_a_seed_keeps_its_sound(tmp_path):
    make_model(tmp_path / "model")
    make_vocoder(tmp_path / "vocos")
    export_onnx(ExportOptions(str(tmp_path / "model"), str(tmp_path / "graphs"), vocoder=str(tmp_path / "vocos")))
    noise = 0.1 * np.random.default_rng(0).standard_normal((1, 48000)).astype(np.float32)
    np.save(tmp_path / "voice.npy", noise)
    arguments = [tmp_path / "graphs", tmp_path / "voice.npy", tmp_path / "spoken.npy"]
    subprocess.run([sys.executable, "-c", SPEAK, *arguments], check=True)
    synthesizer = zipvoice.load(tmp_path / "model", vocoder=tmp_path / "vocos", runtime="torch", device="cpu")
    voice = synthesizer.prompt(Audio(noise, 24000), "spoken by nobody")
    wanted = synthesizer.synthesize("Hello there, this is it.", voice, num_steps=2, guidance_scale=1.0).samples
    np.testing.assert_allclose(np.load(tmp_path / "spoken.npy"), wanted, atol=1e-4)

    network, graph = load_vocoder(tmp_path / "vocos", "torch"), load_vocoder(tmp_path / "graphs", "onnx")
    for frames in (2, 3, 40):
        log_mel = np.random.default_rng(frames).standard_normal((2, 100, frames), dtype=np.float32) - 3
        assert graph(log_mel).shape == (2, (frames - 1) * 256)
        np.testing.assert_allclose(graph(log_mel), network(log_mel), atol=2e-5)


@torch.inference_mode()
def test_a_vocoder_is_traced_with_its_largest_magnitude():
    vocos = tiny_vocoder().eval()
    vocos.head.out.bias[:513] += math.log(LARGEST_MAGNITUDE)
    traced, mel = TracedVocos(vocos), torch.randn(1, 100, 7, generator=torch.Generator().manual_seed(0))
    magnitude = traced.spectrum(mel)[0]
    assert magnitude.max() == LARGEST_MAGNITUDE and magnitude.min() < LARGEST_MAGNITUDE
    torch.testing.assert_close(traced(mel), vocos(mel), atol=1e-5, rtol=0)


def test_folded_swoosh_is_finite_however_large_its_argument():
    z = torch.tensor([-1e4, -100.0, -1.0, 0.0, 1.0, 59.0, 61.0, 88.0, 89.0, 1e4])
    wanted = torch.nn.functional.softplus(z.double()) - 0.08 * z.double()
    torch.testing.assert_close(_folded_swoosh(z).double(), wanted, rtol=1e-6, atol=1e-6)


# ---------------------------------------------------------------- files that cannot be used


@pytest.fixture
def graphs(folder, tmp_path):
    """A copy of the graphs that may be spoilt."""
    return shutil.copytree(folder / "graphs", tmp_path / "graphs")


def foreign(path):
    """A graph of somebody else's that does nothing."""
    value = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N"]) for name in ("x", "y")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "nothing", value[:1], value[1:])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)


def other_format(path):
    graph = onnx.load(path)
    onnx.helper.set_model_props(graph, {"zipvoice.graph": "velocity", "zipvoice.format": "99"})
    onnx.save(graph, path)


SPOILT = {
    "cut short": (lambda path: path.write_bytes(path.read_bytes()[:2000]), "cannot be read as a graph"),
    "no graph": (lambda path: path.write_text("velocity"), "cannot be read as a graph"),
    "foreign": (foreign, "another program"),
    "swapped": (lambda path: shutil.copy(path.with_name("condition.onnx"), path), "holds the condition graph"),
    "other format": (other_format, "format 99, this version reads 1: export the model again"),
    "missing": (lambda path: path.unlink(), "zipvoice export MODEL --output-dir"),
}


@pytest.mark.parametrize("kind", SPOILT)
@pytest.mark.parametrize("folder", ["zipvoice"], indirect=True)
def test_a_file_that_cannot_be_used_is_named(graphs, kind):
    spoil, message = SPOILT[kind]
    spoil(graphs / "velocity.onnx")
    with pytest.raises((ValueError, OSError), match=message) as raised:
        load_model(read_directory(graphs), "onnx")
    assert str(graphs / "velocity.onnx") in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("folder", ["zipvoice"], indirect=True)
def test_graphs_of_no_variant_are_refused(graphs):
    content = json.loads((graphs / "model.json").read_text())
    del content["variant"]
    (graphs / "model.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"model\.json does not tell the variant: export the model again"):
        load_model(read_directory(graphs), "onnx")


@pytest.mark.parametrize("folder", ["zipvoice"], indirect=True)
def test_what_graphs_cannot_do_is_refused(folder):
    directory = read_directory(folder / "graphs")
    for change, message in (
        ({"device": "cuda"}, "on the CPU: --device cpu"),
        ({"dtype": "bfloat16"}, "in float32 or int8, not in bfloat16"),
        ({"dtype": "int8"}, "are in float32, not in int8: take dtype float32, or export the model with --int8"),
        ({"weights": "epoch-3.pt"}, "hold their weights"),
        ({"variant": "zipvoice_distill"}, "hold their weights and variant"),
    ):
        with pytest.raises(ValueError, match=message):
            load_model(directory, "onnx", **change)


def test_8_bits_are_asked_of_pytorch_where_graphs_have_none(folder, tmp_path):
    shutil.copytree(folder / "graphs", tmp_path, dirs_exist_ok=True)
    with pytest.raises(ValueError, match="are in float32, not in int8"):
        load_model(read_directory(tmp_path), device="cpu", dtype="int8")
    shutil.copy(folder / "model" / "model.safetensors", tmp_path)
    computed_by = load_model(read_directory(tmp_path), device="cpu", dtype="int8").computed_by
    assert (computed_by.runtime, computed_by.dtype) == ("torch", "int8")


@pytest.mark.parametrize("folder", ["zipvoice"], indirect=True)
def test_the_velocity_is_of_standard_operators_and_named_axes(folder):
    """What docs/runtimes.md tells those who make other engines of it."""
    model = onnx.load(folder / "graphs" / "velocity.onnx")
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    assert {node.domain for node in model.graph.node} == {""}
    axes = {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.input}
    frames = {name: ["B", "T", 100] for name in ("x", "text", "speech")}
    assert axes == {"t": ["B"], **frames, "padding_mask": ["B", "T"]}


def test_tensorrt_is_refused_with_what_to_do(tmp_path, capsys):
    assert main(["export", builtin.MODELS[0], "-o", str(tmp_path / "graphs"), "--for", "tensorrt"]) == 1
    assert "speak with --runtime torch --dtype auto" in capsys.readouterr().err
    assert not (tmp_path / "graphs").exists()


def test_the_command_writes_a_model_directory_with_a_card(tmp_path, capsys):
    make_model(tmp_path / "model", "zipvoice_distill")
    assert main(["export", str(tmp_path / "model"), "-o", str(tmp_path / "graphs"), "--int8"]) == 0
    assert sorted(path.name for path in (tmp_path / "graphs").iterdir()) == [
        "README.md", "condition.onnx", "model.json", "tokens.txt", "velocity.onnx",
    ]  # fmt: skip
    told = capsys.readouterr().err
    assert "velocity.onnx: int8" in told and "condition.onnx: float32" in told
    card = (tmp_path / "graphs" / "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256((tmp_path / "graphs" / "velocity.onnx").read_bytes()).hexdigest() in card

    graph = onnx.load(tmp_path / "graphs" / "velocity.onnx").graph
    weights = {initializer.name: onnx.numpy_helper.to_array(initializer) for initializer in graph.initializer}
    products = [node for node in graph.node if node.op_type in ("MatMul", "Gemm") and {*weights} & {*node.input}]
    exact = {"in_proj", "out_proj", "time_embed.0", "time_embed.2", "guidance_scale_embed"}
    assert len(products) == len(exact) and {node.output[0].split("/")[-2] for node in products} == exact
    rounded = [
        weights[node.input[1]] for node in graph.node if node.op_type == "MatMulInteger" and node.input[1] in weights
    ]
    assert len(rounded) > 20
    # two products of 255 and 64 are the most that 16 bits hold, in which processors without VNNI add them
    assert all(32 < np.abs(weight.astype(int)).max() <= 64 for weight in rounded)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_frames_are_rounded_in_steps_of_their_own(tmp_path):
    random = np.random.default_rng(0)
    frames = 10 ** random.uniform(-1, 3, (50, 1)) * random.uniform(0.1, 1, (50, 16))
    x = torch.tensor(frames, dtype=torch.float32)
    weight = torch.tensor(5.0 ** np.arange(24)[:, None] * random.standard_normal((24, 16)), dtype=torch.float32)
    bias = torch.tensor(random.standard_normal(24), dtype=torch.float32)
    exact, found = x @ weight.T + bias, byte_product_by_frame(x, in_bytes(weight), bias)
    sizes = x.norm(dim=1, keepdim=True) * weight.norm(dim=1)
    assert 1e-3 < ((found - exact).abs() / sizes).max() < 0.01  # of small frames and columns as of large ones
    assert ((in_a_graph(byte_product_by_frame, x, in_bytes(weight), bias, tmp_path) - found).abs() / sizes).max() < 1e-6


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_frames_are_rounded_in_steps_of_all(tmp_path):
    random = torch.Generator().manual_seed(0)
    x, bias = torch.randn(2, 7, 16, generator=random), torch.randn(24, generator=random)
    weight = 5.0 ** torch.arange(24)[:, None] * torch.randn(24, 16, generator=random)
    in_codes = in_bytes(weight)
    codes, scale = in_codes.codes, in_codes.scale
    assert codes.dtype == torch.int8 and codes.shape == (16, 24) and codes.abs().amax(dim=0).eq(63).all()
    assert (codes.T * scale[:, None] - weight).abs().le(0.5001 * scale[:, None]).all()
    torch.testing.assert_close(in_codes.sums(), (codes * scale).sum(dim=0))
    found, step = byte_product(x, in_codes, bias), (x.max() - x.min()) / 255
    multiplied = (found - bias) @ torch.linalg.pinv((codes * scale).double()).float()  # what stood for x
    assert ((multiplied - x).abs() < 0.51 * step + 1e-4).all()
    given = in_a_graph(byte_product, x, in_codes, bias, tmp_path)
    assert ((given - found).abs() / scale).max() < 1e-2  # of one step of both


@pytest.mark.parametrize(("columns", "multiplied"), [(16, 16), (17, 32), (24, 32), (31, 32), (32, 32), (33, 33)])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_numbers_of_columns_that_onnxruntime_gets_wrong_are_made_others(tmp_path, columns, multiplied):
    random = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(*shape, generator=random) for shape in ((64, 16), (columns, 16), (columns,)))
    for layer, positive in ((byte_product, x), (byte_product_by_frame, x.abs())):
        found, in_codes = layer(positive, in_bytes(weight), bias), in_bytes(weight)
        given = in_a_graph(layer, positive, in_codes, bias, tmp_path)
        assert found.shape == (64, columns)
        assert (given - found).abs().max() < 0.05  # no step of a frame times a weight
        path = tmp_path / "layer.onnx"
        graph = folded(path.read_bytes(), path).graph
        shapes = {tensor.name: tensor.dims for tensor in graph.initializer}
        (product,) = [node for node in graph.node if node.op_type == "MatMulInteger"]
        assert [*shapes[product.input[1]]] == [16, multiplied]


def in_bytes(weight):
    return ByteWeight(*map(torch.from_numpy, rounded(weight.numpy())))


def in_a_graph(layer, x, weight, bias, tmp_path):
    class Layer(torch.nn.Module):
        def forward(self, x):
            return layer(x, weight, bias)

    path, options = tmp_path / "layer.onnx", {"input_names": ["x"], "dynamic_axes": {"x": {x.ndim - 2: "N"}}}
    torch.onnx.export(Layer(), (x[..., :3, :],), str(path), dynamo=False, opset_version=OPSET, **options)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"x": x.numpy()})[0])


@pytest.mark.parametrize(("precision", "most"), [("float32", 1e-3), ("int8", 0.1)])
def test_a_graph_that_differs_by_more_than_its_precision_explains_is_not_written(precision, most):
    def compared_at(error, length=37):
        def graph(inputs):
            return [inputs["x"] * (1 + error * (len(inputs["x"]) == length))]

        source = SimpleNamespace(
            name="velocity",
            precision=precision,
            example=lambda frames: {"x": torch.linspace(1, 2, frames, dtype=torch.float64)},
            reference=lambda x: x,
        )
        return compared(source, graph)

    assert compared_at(0.99 * most) == pytest.approx(0.99 * most)
    assert [compared_at(0.5 * most, length) > 0 for length in (2, 3, 4, 5, 300)] == [True, True, False, True, True]
    for error in (1.01 * most, math.nan):
        with pytest.raises(ValueError, match=r"the velocity graph differs from the network by (0\.10?|0\.001|nan)"):
            compared_at(error)


def test_a_card_of_something_else_is_kept(tmp_path):
    make_model(tmp_path / "model")
    (tmp_path / "model" / "README.md").write_text("# My model")
    with pytest.raises(ValueError, match="choose another --output-dir"):
        export_onnx(ExportOptions(str(tmp_path / "model"), str(tmp_path / "model")))
    assert (tmp_path / "model" / "README.md").read_text() == "# My model"


def test_graphs_are_not_put_where_they_would_speak_for_weights_that_change(tmp_path):
    make_model(tmp_path / "model")
    with pytest.raises(ValueError, match=r"holds the weights of a model; .*Choose another --output-dir"):
        export_onnx(ExportOptions(str(tmp_path / "model"), str(tmp_path / "model")))
    assert not list((tmp_path / "model").glob("*.onnx"))


@pytest.mark.parametrize(("there", "for_sherpa"), [("model.json", True), ("text/model.json", False)])
def test_graphs_of_two_kinds_do_not_share_a_folder_and_its_tokens(tmp_path, there, for_sherpa):
    check_folder(tmp_path, (), for_sherpa)
    write_text(tmp_path / there, "{}")
    check_folder(tmp_path, (), not for_sherpa)
    with pytest.raises(ValueError, match=r"holds graphs for .*, and those for .* have another tokens.txt"):
        check_folder(tmp_path, (), for_sherpa)


@pytest.mark.parametrize("for_sherpa", [False, True])
def test_what_an_earlier_export_wrote_goes_and_nothing_else(tmp_path, for_sherpa):
    files = {*(SHERPA_FILES if for_sherpa else GRAPHS)}
    for name in {*files, "README.md", "notes.txt", "recording.wav"}:
        write_text(tmp_path / name, TITLE)
    kept = {"vocoder.onnx"} | {name for name in files if name.startswith("condition")}
    check_folder(tmp_path, kept, for_sherpa)
    clear(tmp_path, kept, for_sherpa)
    assert {path.name for path in tmp_path.iterdir()} == (kept & files) | {"README.md", "notes.txt", "recording.wav"}


@pytest.mark.parametrize("for_sherpa", [False, True])
def test_graphs_that_nobody_knows_of_do_not_speak_with_new_ones(tmp_path, for_sherpa):
    write_text(tmp_path / "vocoder.onnx", "whose?")
    check_folder(tmp_path, ["vocoder.onnx"], for_sherpa)
    with pytest.raises(ValueError, match=r"vocoder.onnx would speak together with the new graphs.*delete it, or"):
        check_folder(tmp_path, ["velocity.onnx"], for_sherpa)


def test_a_folder_speaks_with_what_was_asked_for_last(tmp_path, caplog):
    make_model(tmp_path / "model")
    make_vocoder(tmp_path / "vocos")
    options = ExportOptions(str(tmp_path / "model"), str(tmp_path / "graphs"), vocoder=str(tmp_path / "vocos"))
    export_onnx(options)
    assert (tmp_path / "graphs" / "vocoder.onnx").is_file()
    export_onnx(replace(options, vocoder=None))
    assert f"deleted {tmp_path / 'graphs' / 'vocoder.onnx'}, which an earlier export had written" in caplog.text
    assert sorted(path.name for path in (tmp_path / "graphs").glob("*.onnx")) == ["condition.onnx", "velocity.onnx"]
    pretrained = load_pretrained(tmp_path / "model")
    weights = pretrained.model.state_dict()
    with pytest.raises(ValueError, match=r"velocity.onnx would speak in place of the weights that are to be written"):
        save_pretrained(tmp_path / "graphs", weights, pretrained.file, pretrained.table)


@pytest.mark.parametrize("folder", ["zipvoice"], indirect=True)
def test_a_folder_speaks_with_its_own_vocoder_graph(graphs):
    directory = read_directory(graphs)
    with pytest.raises(FileNotFoundError, match="--vocoder vocos_small writes one, griffin-lim needs none"):
        load_vocoder(default_vocoder(graphs, directory, "onnx"), "onnx")
    (graphs / "vocoder.onnx").touch()
    assert default_vocoder(graphs, directory, "auto") == default_vocoder(graphs, directory, "onnx") == graphs
    assert default_vocoder(builtin.MODELS[0], directory, "onnx") == builtin.MODELS_VOCODER


@pytest.mark.slow
@pytest.mark.parametrize("name", builtin.MODELS)
def test_graphs_of_trained_models_give_their_numbers(tmp_path, name):
    export_onnx(ExportOptions(name, str(tmp_path)))
    network = load_model(read_directory(name), "torch", device="cpu")
    for graphs in (loaded(tmp_path), loaded(name)):  # with weights, and those of the package, which take its own
        for batch, frames in product((1, 2, 3), (*LENGTHS, 500, 1218)):
            assert max(differences(network, graphs, batch, frames)) < 2e-5


@pytest.mark.slow
def test_the_graphs_of_the_package_in_8_bits_are_small_and_close(tmp_path):
    velocity = export_onnx(ExportOptions(builtin.MODELS[0], str(tmp_path), int8=True))[1]
    assert velocity.megabytes < 7.7  # 7.80 with names of operators, 7.9 with the sizes of inner values too
    assert 1e-3 < velocity.difference < 0.025
    exact, rounded = loaded(builtin.MODELS[0]), loaded(tmp_path)
    speaker, asked = zipvoice.load(builtin.MODELS[0], runtime="onnx"), []
    speaker.model.velocity = lambda *inputs: (asked.append(inputs), exact.velocity(*inputs))[1]
    speaker.synthesize("The quick brown fox jumps over the lazy dog.", seed=1)
    assert len(asked) == 3
    for inputs in asked:  # of speech, where few frames of activations are far larger than the others
        wanted = exact.velocity(*inputs)
        assert np.linalg.norm(rounded.velocity(*inputs) - wanted) < 0.07 * np.linalg.norm(wanted)
