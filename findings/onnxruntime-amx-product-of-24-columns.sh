#!/usr/bin/env bash
# onnxruntime 1.23.2 from PyPI, the last for Python 3.10, Linux, processors with AMX: MatMulInteger of unsigned by signed
# numbers of 8 bits is wrong in some cells where the result has 17 to 31 columns and 32 rows or more. 1.32.0 is right.
#
# The guess was that a product of whole numbers is exact, or that an inexact one is so for large numbers alone, as without
# VNNI. Seen on an Intel Xeon with AMX: cells of every 32nd row, from column 16 on, such as -680486270 for 1810, for inner
# sizes from 1 to 1536, whether the weight is a constant or not and at every level of optimisation. The differences are other
# ones in other processes, as of sums that begin at what was in memory. With 1 to 16 columns, and with 32 to 99, every cell
# was right. A network with such a layer gives huge numbers or NaN; more columns of zeros, to make 32, help.
set -euo pipefail
if ! grep -qw amx_int8 /proc/cpuinfo; then
  echo "nothing to see here: this takes a processor with AMX"
  exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/product.py" <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

generator = np.random.default_rng(0)


def wrong_cells(rows, inner, columns):
    frames = generator.integers(0, 256, (rows, inner)).astype(np.uint8)
    weight = generator.integers(-63, 64, (inner, columns)).astype(np.int8)
    x = helper.make_tensor_value_info("x", TensorProto.UINT8, frames.shape)
    y = helper.make_tensor_value_info("y", TensorProto.INT32, [rows, columns])
    node = helper.make_node("MatMulInteger", ["x", "weight"], ["y"])
    graph = helper.make_graph([node], "product", [x], [y], [numpy_helper.from_array(weight, "weight")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.argwhere(session.run(None, {"x": frames})[0] != frames.astype(np.int32) @ weight.astype(np.int32))


found = {columns: wrong_cells(64, 16, columns) for columns in (8, 16, 17, 24, 31, 32, 40, 64)}
for columns, cells in found.items():
    rows, at = (sorted({int(cell[axis]) for cell in cells}) for axis in (0, 1))
    print(f"{columns} columns: {len(cells)} cells are wrong" + (f", in the rows {rows} and columns {at}" if rows else ""))
wrong = [columns for columns, cells in found.items() if len(cells)]
assert wrong == ([17, 24, 31] if onnxruntime.__version__ == "1.23.2" else []), wrong
assert not len(wrong_cells(31, 16, 24))
PYTHON
for version in 1.23.2 1.32.0; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/pip" install --quiet "onnxruntime==$version" onnx==1.22.0 numpy
  echo "onnxruntime $version"
  "$folder/$version/bin/python" "$folder/product.py"
done
echo "onnxruntime 1.23.2: products of 8 bits by AMX are wrong where they have 17 to 31 columns; 1.32.0 is right"
