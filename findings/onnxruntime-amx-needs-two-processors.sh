#!/usr/bin/env bash
# onnxruntime 1.32.0 from PyPI, Linux, processors with AMX: products of 8 bits use AMX only in a process that may run on two
# processors when it imports the package; confined to one, they take three times as long.
#
# The guess was that the processors which a process may run on decide where it runs, not which instructions it uses. Seen
# with one thread on an Intel Xeon with AMX, unsigned frames (1218, 512) by signed weights (512, 1536): 1.1 ms if the process
# may use two processors, 3.6 ms if it was confined to one before the import, 1.2 ms if only after it. Results are equal, and
# products in float32 take 12 ms everywhere. While it is imported, onnxruntime puts numbers into a tile, moves its thread from
# one allowed processor to the next and looks whether the tile still holds them; where there is no other processor to go to,
# it makes no such check, and does without AMX. So one process for each processor, each confined to its own, as servers are
# often laid out, is the slow way. PyTorch's products in bfloat16 (oneDNN) use AMX in both cases.
set -euo pipefail
if ! grep -qw amx_int8 /proc/cpuinfo || [ "$(nproc)" -lt 2 ]; then
  echo "nothing to see here: this takes a processor with AMX, and two that this process may use"
  exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.22.0 numpy
cat > "$folder/product.py" <<'PYTHON'
import os
import sys
import time

import numpy as np

processors = sorted(os.sched_getaffinity(0))
if sys.argv[1] == "before":
    os.sched_setaffinity(0, processors[:1])

import onnxruntime
from onnx import TensorProto, helper, numpy_helper

if sys.argv[1] == "after":
    os.sched_setaffinity(0, processors[:1])

generator = np.random.default_rng(0)
weight = generator.integers(-63, 64, (512, 1536)).astype(np.int8)
frames = generator.integers(0, 256, (1218, 512)).astype(np.uint8)


def session(operator, frames, weight, result):
    kind = helper.np_dtype_to_tensor_dtype(frames.dtype)
    x, y = helper.make_tensor_value_info("x", kind, frames.shape), helper.make_tensor_value_info("y", result, None)
    node = helper.make_node(operator, ["x", "weight"], ["y"])
    graph = helper.make_graph([node], "product", [x], [y], [numpy_helper.from_array(weight, "weight")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def milliseconds(session, frames):
    seconds = []
    for _ in range(60):
        start = time.process_time()
        session.run(None, {"x": frames})
        seconds.append(time.process_time() - start)
    return 1e3 * min(seconds)


integers = session("MatMulInteger", frames, weight, TensorProto.INT32)
floats = session("MatMul", frames.astype(np.float32), weight.astype(np.float32), TensorProto.FLOAT)
assert np.array_equal(integers.run(None, {"x": frames})[0], frames.astype(np.int32) @ weight.astype(np.int32))
print(milliseconds(integers, frames), milliseconds(floats, frames.astype(np.float32)))
PYTHON
for confined in never after before; do
  "$folder/venv/bin/python" "$folder/product.py" "$confined" > "$folder/$confined"
  read -r integers floats < "$folder/$confined"
  printf 'confined to one processor: %-7s 8 bits %.2f ms, float32 %.2f ms\n' "$confined" "$integers" "$floats"
done
paste "$folder/never" "$folder/after" "$folder/before" | awk '{ exit !($5 > 1.6 * $1 && $5 > 1.6 * $3 && $6 < 1.4 * $2) }'
echo "onnxruntime 1.32.0: no AMX in a process that was confined to one processor before the import"
