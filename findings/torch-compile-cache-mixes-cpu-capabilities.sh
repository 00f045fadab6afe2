#!/usr/bin/env bash
# torch 2.13.0: ATEN_CPU_CAPABILITY is not in the key of torch.compile's cache, so code that was generated for one
# instruction set is taken for another, where it does not compile.
#
# The guess was that the cache of compiled graphs, which is told apart by versions, options and device, is told apart by
# the instruction set too, since the C++ that it holds is written with vectors of that set, and since the other order
# works. Seen: after a run on a processor with AVX2, the same function with ATEN_CPU_CAPABILITY=default in the same cache
# raises CppCompileError ("at::vec has not been declared"); in a cache of its own it is right. Whoever tests several
# settings, or shares a cache between them, needs a TORCHINDUCTOR_CACHE_DIR for each. Needs g++ and a processor with AVX2.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
cat > "$folder/compiled.py" <<'PYTHON'
import sys

import torch


def curve(x, y):
    return torch.tanh(x) * y + x


x = torch.linspace(-3, 3, 6400).reshape(64, 100)
try:
    found = torch.compile(curve)(x, x.cos())
except torch._dynamo.exc.BackendCompilerFailed as error:
    print("raises", type(error.inner_exception).__name__)
    sys.exit()
assert torch.allclose(found, curve(x, x.cos()), atol=1e-6)
print("right for", torch.backends.cpu.get_cpu_capability())
PYTHON
run() { TORCHINDUCTOR_CACHE_DIR="$folder/$1" ${2:+env ATEN_CPU_CAPABILITY=$2} "$folder/venv/bin/python" "$folder/compiled.py"; }

first=$(run shared "")
alone=$(run alone default)
second=$(run shared default)
echo "a new cache, all instructions: $first"
echo "a cache of its own, ATEN_CPU_CAPABILITY=default: $alone"
echo "the first cache, ATEN_CPU_CAPABILITY=default: $second"
if [ "$first" = "right for DEFAULT" ]; then
  echo "this processor has no AVX2: nothing to be seen" >&2
  exit 1
fi
[ "$alone" = "right for DEFAULT" ]
[ "$second" = "raises CppCompileError" ]
echo "torch 2.13.0 keeps one cache for all ATEN_CPU_CAPABILITY"
