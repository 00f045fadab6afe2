#!/usr/bin/env bash
# numpy 2.4.6: rfft of float32 is computed in double precision, unless norm="forward" is given, when it is single.
#
# The guess was that since NumPy 2 the precision of the input decides, as the type of the result (complex64) suggests, and
# that norm only scales. Seen: with the default norm the result is, to the last bit, that of the samples as float64,
# rounded at the end; with norm="forward" (times N) it has the errors of float32, and it takes a fraction of the time. So
# whoever wants speed has to ask for another scaling, and whoever compares results of both must allow for single precision.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import time

import numpy as np

x = np.random.default_rng(0).standard_normal((282, 1024)).astype(np.float32)
exact = np.fft.rfft(x.astype(np.float64))
plain, forward = np.fft.rfft(x), np.fft.rfft(x, norm="forward") * 1024
assert plain.dtype == forward.dtype == np.complex64


def least_seconds(norm):
    times = []
    for _ in range(30):
        start = time.perf_counter()
        np.fft.rfft(x, norm=norm)
        times.append(time.perf_counter() - start)
    return min(times)


print(f"largest error: default {np.abs(plain - exact).max():.1e}, forward {np.abs(forward - exact).max():.1e}")
print(f"time: default {least_seconds('backward') / least_seconds('forward'):.1f} times that of forward")
assert np.array_equal(plain, exact.astype(np.complex64)), "the default is single precision now"
assert not np.array_equal(forward, exact.astype(np.complex64)), "forward is double precision now"
print("numpy", np.__version__, "computes rfft of float32 in double precision by default")
PYTHON
