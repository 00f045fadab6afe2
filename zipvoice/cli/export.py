# SPDX-License-Identifier: Apache-2.0
"""The command that makes graphs of models."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from zipvoice.cli.parsing import note, parse
from zipvoice.config.export import ExportOptions


@dataclass(frozen=True)
class Export:
    """Make graphs of a model, which speak without PyTorch: `zipvoice say "Hello." --model DIR --runtime onnx`.

    The folder is a model directory with a card that tells how far the graphs are from the networks they were made of.
    """

    options: Annotated[ExportOptions, tyro.conf.arg(name="")]


def export(arguments: list[str]) -> None:
    if arguments and not arguments[0].startswith("-"):
        arguments = ["--model", *arguments]
    arguments = ["--output-dir" if argument == "-o" else argument for argument in arguments]
    options = parse(Export, "export MODEL", arguments).options
    from zipvoice.export.onnx import export_onnx

    for graph in export_onnx(options):
        note(
            f"{options.output_dir}/{graph.file}: {graph.precision}, {graph.megabytes:.1f} MB, "
            f"differs from the network by {graph.difference:.1e}"
        )
