# SPDX-License-Identifier: Apache-2.0
"""The server as a process: it listens, says where, and ends as it is told to."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import uvicorn

from zipvoice.config.server import ServerOptions
from zipvoice.server.admission import SchedulerLimits
from zipvoice.server.app import build_app
from zipvoice.server.connections import connection_class
from zipvoice.server.scheduler import Scheduler
from zipvoice.server.speaker import Speaker
from zipvoice.server.voice_store import VoiceStore
from zipvoice.server.wyoming import MAX_LINE_BYTES, WyomingServer
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
    with ExitStack() as stack:
        http = stack.enter_context(listening(options.host, options.port))
        wyoming = None
        if options.wyoming is not None:
            wyoming = stack.enter_context(listening(options.host, options.wyoming))
        scheduler = stack.enter_context(Scheduler(synthesizer, limits))
        store = VoiceStore(options.voices or voices.folder(), options.aliases(), options.max_voices)
        speaker = Speaker(synthesizer, scheduler, store, model, options)
        say(
            f"{model} speaks at http://{address(http)}"
            + (f" and tcp://{address(wyoming)} (Wyoming)" if wyoming else "")
        )
        asyncio.run(_serve(speaker, keys, http, wyoming))


async def _serve(speaker: Speaker, keys: tuple[str, ...], http: socket.socket, wyoming: socket.socket | None) -> None:
    options = speaker.options
    server = _Server(uvicorn.Config(build_app(speaker, keys), **_uvicorn_settings(options)))
    received = _end_by_signals(server)
    home = WyomingServer(speaker)
    if wyoming is None:
        await server.serve(sockets=[http])
    else:
        listener = await asyncio.start_server(home.handle, sock=wyoming, limit=MAX_LINE_BYTES)
        await server.serve(sockets=[http])
        listener.close()
    if signal.SIGINT in received:
        raise KeyboardInterrupt
    await home.drain(options.drain_seconds)


def _end_by_signals(server: uvicorn.Server) -> list[signal.Signals]:
    """End the server when a signal comes, at once at SIGINT or a second one; the list gets those that came."""
    received: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        server.should_exit = True
        if number is signal.SIGINT or received:
            server.force_exit = True
            for connection in list(server.server_state.connections):
                if connection.transport is not None:
                    connection.transport.abort()
        received.append(number)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end, number)
    return received


class _Server(uvicorn.Server):
    """Leaves signals to `_serve`."""

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()


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
    """Where to find what listens, as it stands in addresses."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
