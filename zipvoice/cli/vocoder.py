# SPDX-License-Identifier: Apache-2.0
"""The command that makes vocoders."""

from zipvoice.cli.parsing import parse
from zipvoice.cli.training import exit_status
from zipvoice.config.strict_json import read_json
from zipvoice.config.vocoder import VocoderRunConfig


def train_vocoder(arguments: list[str]) -> int:
    described = arguments and not arguments[0].startswith("-")
    config = read_json(VocoderRunConfig, arguments[0]) if described else VocoderRunConfig()
    rest = arguments[1:] if described else arguments
    run = parse(VocoderRunConfig, "train-vocoder CONFIG.json", rest, config, of_run=True)
    from zipvoice.training.run import train_vocoder as run_training

    return exit_status(run_training(run))
