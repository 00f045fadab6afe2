#!/usr/bin/env bash
# openvino 2026.4.1 from PyPI, Linux: asking a Core for its CPU gives the calling thread another stack for signals
# (sigaltstack), which belongs to the Core.
#
# The guess was that a library that computes leaves the handling of signals to the program, or at least to the main thread
# of a program that asks for it. Seen: no stack before and one of 20144 bytes after the first question about the CPU on an
# Intel Xeon with AMX; when the Core goes in the same thread, the stack from before is back. What happens when it goes in
# another thread, as with Python's garbage collector, is told in the changelog of this project, whose runtime keeps the
# stack that was there. It matters since Python 3.10, whose handlers run on such a stack.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet openvino==2026.4.1
"$folder/venv/bin/python" - <<'PYTHON'
import ctypes

import openvino


class Stack(ctypes.Structure):
    _fields_ = [("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


def stack():
    found = Stack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found))
    return found.address, found.size


before = stack()
core = openvino.Core()
made = stack()
core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
asked = stack()
del core
freed = stack()
print(f"before {before}, with a Core {made}, asked for its CPU {asked}, Core gone {freed}")
assert before == made == freed == (None, 0)
assert asked[0] is not None and asked[1] > 0, "the signal stack stays as it was now"
PYTHON
echo "openvino 2026.4.1 replaces the signal stack of the thread that asks for its CPU"
