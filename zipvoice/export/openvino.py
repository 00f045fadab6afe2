# SPDX-License-Identifier: Apache-2.0
"""Graphs in OpenVINO's own files, for this package and for programs in C, C++ and JavaScript. Needs openvino."""

import hashlib
import logging
import tempfile
from pathlib import Path

from zipvoice.config.export import ExportOptions
from zipvoice.export.folder import OPENVINO_WEIGHTS
from zipvoice.export.onnx import LIBRARIES, ExportedGraph, Source, compared, export_graphs, marks, trace
from zipvoice.files import whole_file
from zipvoice.runtime.graphs import graph_file
from zipvoice.runtime.openvino import MARKS, OpenVinoEngine

SUFFIX = ".xml"
"""Of the file with operators; that with weights is named after it."""
FILES = (OPENVINO_WEIGHTS, SUFFIX)
"""The one that is looked for comes last."""

logger = logging.getLogger(__name__)


def export_openvino(options: ExportOptions) -> list[ExportedGraph]:
    """As `zipvoice.export.onnx.export_onnx`, in OpenVINO's files: names, numbers and lengths are those of the others.

    Raises ValueError for weights in 8 bits too.

    Example:
        >>> export_openvino(ExportOptions("zipvoice_small", "exp/openvino"))
    """
    if options.int8:
        raise ValueError("--int8 is for ONNX Runtime and sherpa-onnx; leave it out for OpenVINO")
    try:
        import openvino  # noqa: F401
    except ImportError:
        raise ImportError("export for OpenVINO needs it: pip install 'zipvoice-tts[openvino]'") from None
    return export_graphs(options, write_graph, (*LIBRARIES, "openvino"), FILES)


def write_graph(source: Source, output: Path) -> list[ExportedGraph]:
    """Write the two files of a graph, once it is compared with its network. Raises ValueError if it differs from it."""
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        traced = Path(folder) / graph_file(source.name)
        logger.info("tracing %s", source.name)
        trace(source, traced)
        model = openvino.Core().read_model(traced)
        for name, value in marks(source).items():
            model.set_rt_info(value, [MARKS, name])
        written = Path(folder) / graph_file(source.name, SUFFIX)
        openvino.save_model(model, written, compress_to_fp16=False)
        graph = OpenVinoEngine("float32", 1).open(written, source.name)
        difference = compared(source, lambda inputs: [graph(inputs)])
        files = [written.with_suffix(suffix) for suffix in FILES]
        return [_placed(file, output, source.precision, difference) for file in files]


def _placed(file: Path, output: Path, precision: str, difference: float) -> ExportedGraph:
    """A file that was written elsewhere, in its folder."""
    content = file.read_bytes()
    with whole_file(output / file.name) as path:
        path.write_bytes(content)
    return ExportedGraph(file.name, precision, len(content) / 1e6, hashlib.sha256(content).hexdigest(), difference)
