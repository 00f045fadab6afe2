# SPDX-License-Identifier: Apache-2.0
"""The server as a process: it listens, says where, and ends as it is told to."""

import asyncio
import errno
import logging
import math
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import uvicorn

from zipvoice.config.server import ServerOptions
from zipvoice.server import memory
from zipvoice.server.admission import SchedulerLimits
from zipvoice.server.app import build_app
from zipvoice.server.connections import connection_class, end_stuck_ones
from zipvoice.server.live_routes import LiveSession
from zipvoice.server.scheduler import Scheduler
from zipvoice.server.speaker import Speaker
from zipvoice.server.threads import filled_pool
from zipvoice.server.voice_folders import folder_at
from zipvoice.server.voice_store import VoiceStore
from zipvoice.server.wyoming import MAX_LINE_BYTES, WyomingServer
from zipvoice.synthesis import voices
from zipvoice.synthesis.synthesizer import Synthesizer

MAX_MESSAGE_BYTES = 1 << 20
"""Of a WebSocket."""
NUM_WORKERS = 6
"""Threads for what would keep the event loop waiting: codecs, recordings."""


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
    memory.bound_heaps()
    if options.log_requests or options.log_texts:
        logging.getLogger("zipvoice.server").setLevel(logging.INFO)
    if not options.log_texts:
        logging.getLogger("zipvoice.text").setLevel(logging.ERROR)  # it shows what is left out, with what is around it
    with ExitStack() as stack:
        http = stack.enter_context(listening(options.host, options.port))
        wyoming = None
        if options.wyoming is not None:
            wyoming = stack.enter_context(listening(options.host, options.wyoming, "--wyoming"))
        scheduler = stack.enter_context(Scheduler(synthesizer, limits))
        store = VoiceStore(folder_at(options.voices or voices.folder()), options.aliases(), options.max_voices)
        speaker = Speaker(synthesizer, scheduler, store, model, options)
        say(
            f"{model} speaks at http://{address(http)}"
            + (f" and tcp://{address(wyoming)} (Wyoming)" if wyoming else "")
        )
        memory.keep()
        asyncio.run(_serve(speaker, keys, http, wyoming))


async def _serve(speaker: Speaker, keys: tuple[str, ...], http: socket.socket, wyoming: socket.socket | None) -> None:
    asyncio.get_running_loop().set_default_executor(filled_pool(NUM_WORKERS, "zipvoice-work"))
    options = speaker.options
    app = build_app(speaker, keys)
    server = _Server(uvicorn.Config(app, **_uvicorn_settings(options)), speaker, app.state.live)
    home = WyomingServer(speaker)
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it tells what clients send
    counts = speaker.scheduler.metrics
    tidying = (
        asyncio.create_task(memory.give_back_at_rest(lambda: counts().admitted, lambda: counts().open == 0)),
        asyncio.create_task(end_stuck_ones(server.server_state.connections, options.send_seconds)),
    )
    with _ended_by_signals(server) as received:
        if wyoming is None:
            await server.serve(sockets=[http])
        else:
            listener = await asyncio.start_server(home.handle, sock=wyoming, limit=MAX_LINE_BYTES)
            await server.serve(sockets=[http])
            listener.close()
        await home.drain(0 if server.force_exit else server.drain_seconds_left)
    for task in tidying:
        task.cancel()
    if signal.SIGINT in received:
        raise KeyboardInterrupt


@contextmanager
def _ended_by_signals(server: uvicorn.Server) -> Iterator[list[int]]:
    """Let signals end the server, SIGINT or a second one at once; the list gets those that came."""
    received: list[int] = []

    def end(number: int) -> None:
        server.should_exit = True
        if number == signal.SIGINT or received:
            server.force_exit = True
            for connection in list(server.server_state.connections):
                if connection.transport is not None:
                    connection.transport.abort()
        received.append(number)

    loop = asyncio.get_running_loop()
    before = {
        number: signal.signal(number, lambda number, _: loop.call_soon_threadsafe(end, number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Server(uvicorn.Server):
    """Leaves signals to `_serve`, and speaks to the end before it ends connections, which uvicorn does first."""

    def __init__(self, config: uvicorn.Config, speaker: Speaker, live: set[LiveSession]) -> None:
        super().__init__(config)
        self.speaker, self.live = speaker, live
        self._drains_until = math.inf

    @property
    def drain_seconds_left(self) -> float:
        """What is left of `drain_seconds` since it was told to end."""
        return max(0.0, self._drains_until - time.monotonic())

    def _is_at_rest(self) -> bool:
        """Let nobody in any more; whether all is spoken, and sent where uvicorn does not wait for it."""
        return self.speaker.scheduler.drain(0) and not any(session.is_speaking for session in self.live)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listener in self.servers:
            listener.close()
        self._drains_until = time.monotonic() + self.speaker.options.drain_seconds
        while not (self.force_exit or self._is_at_rest() or not self.drain_seconds_left):
            await asyncio.sleep(0.05)
        self.config.timeout_graceful_shutdown = math.ceil(max(1.0, self.drain_seconds_left))
        await super().shutdown(sockets)

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


def listening(host: str, port: int, option: str = "--port") -> socket.socket:
    """A socket that listens. Raises OSError that says what to do where the address is taken or unknown.

    `option`: by which the port was chosen.
    """
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(where[:2], family=family, backlog=1024)
    except OSError as error:
        is_of_host = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
        remedy = f"choose another with {'--host' if is_of_host else option}"
        raise OSError(f"cannot listen at {host}, port {port}: {error.strerror or error}; {remedy}") from None


def address(listener: socket.socket) -> str:
    """Where to find what listens, as it stands in addresses."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
