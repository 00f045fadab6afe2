# SPDX-License-Identifier: Apache-2.0
import json
import subprocess
from dataclasses import fields

import pytest
from tiny_models import TINY, make_model

from zipvoice.cli import bench, main
from zipvoice.pretrained import load_network, read_directory
from zipvoice.synthesis import measurement
from zipvoice.synthesis.measurement import Measurement, fastest, processor, product_shapes

ROW = Measurement("onnx", "float32", 2, 300, 0.0123, None, 0.25, 123.4, 267.2)


def test_products_are_those_of_the_network(tmp_path):
    """What its linear layers multiply, counted in the network itself."""
    torch = pytest.importorskip("torch")
    make_model(tmp_path, "zipvoice")
    directory = read_directory(tmp_path)
    decoder, seen = load_network(directory).fm_decoder, []

    def count(layer, inputs, output):
        seen.append((inputs[0].shape[:-1].numel(), layer.in_features, layer.out_features))

    for name, layer in decoder.named_modules():
        if isinstance(layer, torch.nn.Linear) and "linear_pos" not in name and "time_emb" not in name:
            layer.register_forward_hook(count)
    frames, width = 12, TINY.feat_dim
    decoder(x=torch.zeros(1, frames, 3 * width), t=torch.full((1, 1), 0.5))
    products = product_shapes(directory, frames)
    assert sum(map(flops, products)) == sum(map(flops, seen)) > 0
    (tmp_path / "model.safetensors").unlink()
    assert product_shapes(directory, frames) == []


def flops(shape):
    rows, inputs, outputs = shape
    return 2 * rows * inputs * outputs


def test_the_first_call_warms_up_and_the_fastest_counts(monkeypatch):
    clock = iter([0.0, 9.0, 10.0, 15.0, 20.0, 23.0, 30.0, 34.0])
    monkeypatch.setattr(measurement.time, "perf_counter", lambda: next(clock))
    assert fastest(lambda: None, 3) == 3.0


def test_nothing_is_measured_without_a_repetition():
    with pytest.raises(ValueError, match="repetitions must be at least 1, not 0"):
        measurement.measure("zipvoice_small", "onnx", repetitions=0)


def test_what_is_measured_is_loaded_as_is_asked_for(monkeypatch):
    def load(*arguments, **options):
        raise LookupError(arguments, options)

    monkeypatch.setattr(measurement, "load", load)
    with pytest.raises(LookupError) as loaded:
        measurement.measure("mine", "torch", dtype="bfloat16", device="cuda:1")
    assert loaded.value.args == (("mine",), {"runtime": "torch", "dtype": "bfloat16", "device": "cuda:1"})


def test_rows_are_shown_in_columns():
    head, row = bench.table([ROW]).splitlines()
    assert head.split() == [each.name for each in fields(Measurement)]
    assert row.split() == ["onnx", "float32", "2", "300", "0.0123", "-", "0.25", "123", "267"]


def test_each_runtime_and_dtype_is_measured_in_a_process_of_its_own(monkeypatch, capsys):
    lines = []

    def run(line, **settings):
        lines.append(line[3:])
        assert settings == {"capture_output": True, "text": True}
        return subprocess.CompletedProcess(line, 0, json.dumps([vars(ROW)]), "")

    monkeypatch.setattr(bench.subprocess, "run", run)
    assert main(["bench", "m", "--runtime", "onnx", "torch", "--dtype", "float32", "bfloat16", "int8", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == 5 * [vars(ROW)]
    assert [(line[3], line[5]) for line in lines] == [
        ("onnx", "float32"),
        ("onnx", "int8"),
        ("torch", "float32"),
        ("torch", "bfloat16"),
        ("torch", "int8"),
    ]
    assert main(["bench", "--runtime", "onnx", "--dtype", "bfloat16"]) == 1
    assert "graphs have no bfloat16 (onnx: float32, int8;" in capsys.readouterr().err


def test_a_measurement_that_fails_is_told_with_what_was_measured(monkeypatch, capsys):
    failed = subprocess.CompletedProcess([], 1, "", "zipvoice: no such thing\n")
    monkeypatch.setattr(bench.subprocess, "run", lambda line, **settings: failed)
    assert main(["bench", "m", "--runtime", "onnx", "torch"]) == 1
    assert "onnx in float32: no such thing" in capsys.readouterr().err


def test_a_model_is_measured(tmp_path, capsys):
    make_model(tmp_path, "zipvoice")
    (tmp_path / "model.json").write_text(
        json.dumps({**json.loads((tmp_path / "model.json").read_text()), "vocoder": "griffin-lim"})
    )
    line = ["bench", str(tmp_path), "--runtime", "torch", "--repetitions", "1", "--text", "hello", "--device", "cpu"]
    assert main([*line, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert list(row) == [each.name for each in fields(Measurement)]
    assert (row["runtime"], row["dtype"]) == ("torch", "float32")
    assert min(row["products_seconds"], row["seconds_per_evaluation"], row["first_audio_seconds"]) > 0
    assert main(line) == 0
    out, err = capsys.readouterr()
    assert out.split()[0] == "runtime" and f"{tmp_path} on {processor()}, " in err
