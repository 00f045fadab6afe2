#!/usr/bin/env bash
# torch 2.13.0 from PyPI, x86: torch.ops.onednn.qlinear_pointwise, the product of 8 bits that torch.compile uses, takes some
# hundred times as long for signed inputs as for unsigned ones on processors with AVX-512, VNNI or not, and for results in
# bfloat16 instead of float32 on processors with AVX2 alone. With AMX all are equally fast.
#
# The guess was that signs cost a correction at most, as libraries of such products have one for it, and that a result
# in bfloat16 costs a rounding. Seen, a product of 32 x 128 x 128 on one core of an Intel Xeon whose oneDNN was held to older
# instructions by ONEDNN_MAX_CPU_ISA: unsigned inputs 25 to 30 us; signed ones 13,000 us with AVX512_CORE, AVX512_CORE_VNNI,
# AVX512_CORE_BF16 and AVX2_VNNI; unsigned ones with results in bfloat16 11,000 us with AVX2 and AVX2_VNNI, 26 us from AVX-512
# on. The results are right: there is no fast kernel, and the plain one that takes its place says nothing. Who rounds to 8
# bits makes inputs unsigned, with a zero point, and asks for float32.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
cat > "$folder/times.py" <<'PYTHON'
import sys
import time

import torch

torch.set_num_threads(1)
rows, inputs, outputs = 32, 128, 128
x = torch.randint(0, 63, (rows, inputs), generator=torch.Generator().manual_seed(0))
weight = torch.randint(-63, 63, (outputs, inputs), generator=torch.Generator().manual_seed(1)).to(torch.int8)
packed = torch.ops.onednn.qlinear_prepack(weight, [rows, inputs])
scales, zeros = torch.ones(outputs), torch.zeros(outputs, dtype=torch.int32)
expected = x.float() @ weight.float().T


def microseconds(kind, result):
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        y = torch.ops.onednn.qlinear_pointwise(
            x.to(kind), 1.0, 0, packed, scales, zeros, None, 1.0, 0, result, "none", [], ""
        )
        best = min(best, time.process_time() - start)
    assert (y.float() - expected).abs().max() <= expected.abs().max() / 128, "the product is wrong"
    return 1e6 * best


unsigned = microseconds(torch.uint8, torch.float32)
other = microseconds(torch.int8, torch.float32) if sys.argv[1] == "signed" else microseconds(torch.uint8, torch.bfloat16)
print(f"unsigned to float32: {unsigned:.0f} us; {sys.argv[1]}: {other:.0f} us")
sys.exit(other < 30 * unsigned)
PYTHON
echo "held to AVX2"
ONEDNN_MAX_CPU_ISA=AVX2 "$folder/venv/bin/python" "$folder/times.py" bfloat16
if grep -q avx512vl /proc/cpuinfo; then
  echo "held to AVX-512"
  ONEDNN_MAX_CPU_ISA=AVX512_CORE "$folder/venv/bin/python" "$folder/times.py" signed
fi
echo "torch 2.13.0: the kind of numbers decides between a fast kernel and a plain one"
