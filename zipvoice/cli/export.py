# SPDX-License-Identifier: Apache-2.0
"""The command that makes graphs of models."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from zipvoice.cli.parsing import note, parse
from zipvoice.config.export import ExportOptions, SherpaOptions

if TYPE_CHECKING:
    from zipvoice.export.onnx import ExportedGraph


@dataclass(frozen=True)
class Export:
    """Make graphs of a model, which speak without PyTorch: `zipvoice say "Hello." --model DIR --runtime onnx`.

    The folder is a model directory with a card that tells how far the graphs are from the networks they were made of.
    With `--for sherpa` it is one for sherpa-onnx, on phones, in browsers and small devices.
    """

    options: Annotated[ExportOptions, tyro.conf.arg(name="")]
    target: Annotated[Literal["onnx", "openvino", "sherpa", "tensorrt"], tyro.conf.arg(name="for")] = "onnx"
    """What will speak with them: this package by ONNX Runtime or OpenVINO, or sherpa-onnx. TensorRT is refused; the
    error says why, and what to do on a GPU."""
    sherpa: Annotated[SherpaOptions, tyro.conf.arg(name="")] = field(default_factory=SherpaOptions)


NO_TENSORRT = (
    "there is no export for TensorRT: engines are built on the GPU that runs them, and none was there to try one on. "
    "On a GPU, speak with --runtime torch --dtype auto. For engines of your own, --for onnx writes velocity.onnx of "
    "standard operators; build them in float32 or bfloat16, for its exponentials overflow in float16"
)


def export(arguments: list[str]) -> None:
    if arguments and not arguments[0].startswith("-"):
        arguments = ["--model", *arguments]
    command = parse(Export, "export MODEL", arguments, spelled={"-o": "--output-dir"})
    options = command.options
    if command.target == "tensorrt":
        raise ValueError(NO_TENSORRT)
    if command.target != "sherpa" and command.sherpa != SherpaOptions():
        raise ValueError("--num-steps and --lexicon are for sherpa-onnx; add --for sherpa")
    for graph in _export(command):
        note(
            f"{options.output_dir}/{graph.file}: {graph.precision}, {graph.megabytes:.1f} MB, "
            f"differs from the network by {graph.difference:.1e}"
        )


def _export(command: Export) -> "list[ExportedGraph]":
    if command.target == "sherpa":
        from zipvoice.export.sherpa import export_sherpa

        return export_sherpa(command.options, command.sherpa)
    if command.target == "openvino":
        from zipvoice.export.openvino import export_openvino

        return export_openvino(command.options)
    from zipvoice.export.onnx import export_onnx

    return export_onnx(command.options)
