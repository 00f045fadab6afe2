# SPDX-License-Identifier: Apache-2.0
"""Graphs in standard operators, without what can be computed beforehand. Needs the package onnx."""

from pathlib import Path
from typing import Any

OPSET = 17
"""Of all graphs."""


def folded(model: bytes, path: Path) -> Any:
    """An ONNX model with everything computed that does not depend on its arguments; `path` is overwritten."""
    import onnx
    from onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions

    options = SessionOptions()
    options.graph_optimization_level = GraphOptimizationLevel.ORT_ENABLE_BASIC  # standard operators only
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    InferenceSession(model, options, providers=["CPUExecutionProvider"])
    simpler = onnx.load(str(path))
    del simpler.opset_import[:]
    simpler.opset_import.append(onnx.helper.make_opsetid("", OPSET))
    return simpler
