#!/usr/bin/env bash
# onnxruntime 1.32.0 from PyPI, x86: a depthwise convolution over one axis takes about four times as long as the same
# convolution written over two axes of which one has size 1.
#
# The guess was that both take equally long, as the operator is the same and an axis of size 1 changes no number. Seen, 512
# channels, kernel of 31, 1218 frames, one core of an Intel Xeon with AVX-512, between two transpositions as in networks
# whose last axis is the channels: 4.3 ms over one axis, 1.1 ms over two; 192 channels and a kernel of 15, 0.83 and 0.30 ms.
# The results are equal. onnxruntime lays channels out in blocks, a vector of the processor each, for convolutions of two
# axes alone; it then drops the transpositions as well. The graph that it optimised shows it: ReorderInput, Conv,
# ReorderOutput in place of Transpose, Conv, Transpose. What PyTorch exports from Conv1d stays as it is, and says nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.22.0 numpy
cat > "$folder/times.py" <<'PYTHON'
import sys
import time

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

CHANNELS, WIDTH, FRAMES = 512, 31, 1218
generator = np.random.default_rng(0)
weight = generator.standard_normal((CHANNELS, 1, WIDTH), dtype=np.float32)
frames = generator.standard_normal((1, FRAMES, CHANNELS), dtype=np.float32)


def session(axes):
    """(1, T, C) -> (1, T, C), or with an axis of size 1 in front of T."""
    kernel = weight if axes == 1 else weight[:, :, None]
    shape = [1, "T", CHANNELS] if axes == 1 else [1, 1, "T", CHANNELS]
    to, back = ([0, 2, 1], [0, 2, 1]) if axes == 1 else ([0, 3, 1, 2], [0, 2, 3, 1])
    pads = [WIDTH // 2] * 2 if axes == 1 else [0, WIDTH // 2, 0, WIDTH // 2]
    nodes = [
        helper.make_node("Transpose", ["x"], ["a"], perm=to),
        helper.make_node("Conv", ["a", "weight"], ["b"], group=CHANNELS, pads=pads),
        helper.make_node("Transpose", ["b"], ["y"], perm=back),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy")
    graph = helper.make_graph(nodes, "conv", [x], [y], [numpy_helper.from_array(kernel, "weight")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.optimized_model_filepath = f"{sys.argv[1]}/{axes}.onnx"
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


sessions = {axes: session(axes) for axes in (1, 2)}
inputs = {1: frames, 2: frames[:, None]}
seconds, values = {1: [], 2: []}, {}
for _ in range(20):
    for axes in (1, 2):
        start = time.process_time()
        values[axes] = sessions[axes].run(None, {"x": inputs[axes]})[0]
        seconds[axes].append(time.process_time() - start)
np.testing.assert_allclose(values[1], values[2][:, 0], atol=1e-4)
kinds = {axes: [node.op_type for node in onnx.load(f"{sys.argv[1]}/{axes}.onnx").graph.node] for axes in (1, 2)}
for axes in (1, 2):
    print(f"axes: {axes}, {1e3 * min(seconds[axes]):.2f} ms, {' '.join(kinds[axes])}")
assert kinds == {1: ["Transpose", "Conv", "Transpose"], 2: ["ReorderInput", "Conv", "ReorderOutput"]}
assert min(seconds[1]) > 1.5 * min(seconds[2])
PYTHON
"$folder/venv/bin/python" "$folder/times.py" "$folder"
echo "onnxruntime 1.32.0: a convolution of one axis is not laid out in blocks, one of two axes is"
