# SPDX-License-Identifier: Apache-2.0
"""The server as a process: it listens, says where, and ends as it is told to."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable
from typing import Any

import uvicorn

from zipvoice.config.server import ServerOptions
from zipvoice.server.admission import SchedulerLimits
from zipvoice.server.app import build_app
from zipvoice.server.connections import connection_class
from zipvoice.server.scheduler import Scheduler
from zipvoice.server.speaker import Speaker
from zipvoice.server.voice_store import VoiceStore
from zipvoice.synthesis import voices
from zipvoice.synthesis.synthesizer import Synthesizer

MAX_MESSAGE_BYTES = 1 << 20
"""Of a WebSocket."""


def serve(
    synthesizer: Synthesizer, model: str, options: ServerOptions, limits: SchedulerLimits, say: Callable[[str], None]
) -> None:
    """Serve until a signal comes: SIGTERM lets what is being spoken end, SIGINT does not and raises KeyboardInterrupt.

    Args:
        synthesizer: what speaks.
        model: its name, under which clients ask for it.
        options: where to listen, and for whom.
        limits: how much is spoken at a time.
        say: told where the server listens, once it does.

    Raises OSError where it cannot listen.
    """
    keys = options.keys()
    with listening(options.host, options.port) as http, Scheduler(synthesizer, limits) as scheduler:
        store = VoiceStore(options.voices or voices.folder(), options.aliases(), options.max_voices)
        speaker = Speaker(synthesizer, scheduler, store, model, options)
        asyncio.run(_serve(speaker, keys, http, say))


async def _serve(speaker: Speaker, keys: tuple[str, ...], http: socket.socket, say: Callable[[str], None]) -> None:
    options = speaker.options
    server = _Server(uvicorn.Config(build_app(speaker, keys), **_uvicorn_settings(options)))
    received: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        server.force_exit = server.force_exit or number is signal.SIGINT or bool(received)
        server.should_exit = True
        received.append(number)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end, number)
    say(f"{speaker.model} speaks at {address(http)}")
    await server.serve(sockets=[http])
    if signal.SIGINT in received:
        raise KeyboardInterrupt


class _Server(uvicorn.Server):
    """Leaves signals to `_serve`."""

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]
        return contextlib.nullcontext()


def _uvicorn_settings(options: ServerOptions) -> dict[str, Any]:
    return {
        "http": connection_class(options.max_connections, options.receive_seconds / 6),
        "ws": "websockets-sansio",
        "ws_max_size": MAX_MESSAGE_BYTES,
        "lifespan": "off",
        "access_log": False,
        "log_config": None,
        "log_level": logging.CRITICAL,
        "server_header": False,
        "timeout_graceful_shutdown": options.drain_seconds,
    }


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises OSError that says what to do where the address is taken or unknown."""
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(where[:2], family=family, backlog=1024)
    except OSError as error:
        raise OSError(
            f"cannot listen at {host}, port {port}: {error.strerror or error}; choose another with --port"
        ) from None


def address(listener: socket.socket) -> str:
    """Where to find what listens, as an address for browsers and clients."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
