# SPDX-License-Identifier: Apache-2.0
"""`zipvoice serve`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from zipvoice.cli.parsing import note, parse
from zipvoice.cli.synthesis import Machine
from zipvoice.config.server import ServerOptions
from zipvoice.server.admission import SchedulerLimits


@dataclass(frozen=True)
class Serve:
    """Speak for other programs: HTTP as OpenAI's clients speak it, a WebSocket, Wyoming, and a page to try it.

    Without options it serves this machine alone, with the model and the voices of the package.
    """

    machine: Annotated[Machine, tyro.conf.arg(name="")] = field(default_factory=Machine)
    server: Annotated[ServerOptions, tyro.conf.arg(name="")] = field(default_factory=ServerOptions)
    limits: Annotated[SchedulerLimits, tyro.conf.arg(name="")] = field(default_factory=SchedulerLimits)


def serve(arguments: list[str]) -> None:
    command = parse(Serve, "serve", arguments)
    try:
        from zipvoice.server.run import serve as run
    except ModuleNotFoundError as error:
        raise ImportError(f'the server needs {error.name}: pip install "zipvoice-tts[server]"') from None
    name = Path(command.machine.model).name
    run(command.machine.load(), name, command.server, command.limits, note)
