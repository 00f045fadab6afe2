# SPDX-License-Identifier: Apache-2.0
"""How a speech server ends, what it lets go of, and what it gives back to the system."""

import asyncio
import gc
import itertools
import math
import socket
import weakref
from types import SimpleNamespace

import pytest
import uvicorn
from starlette.websockets import WebSocketDisconnect

from zipvoice.config.server import ServerOptions
from zipvoice.server import memory
from zipvoice.server.connections import end_stuck_ones
from zipvoice.server.live_routes import LiveSession
from zipvoice.server.run import _Server
from zipvoice.server.wyoming import WyomingServer


def test_a_server_is_not_at_rest_while_a_websocket_has_sound_to_send():
    """Its utterance is spoken before it is sent, and uvicorn closes it without asking."""
    session, drained = SimpleNamespace(is_speaking=True), SimpleNamespace(drain=lambda seconds: True)
    server = _Server(uvicorn.Config("none"), SimpleNamespace(scheduler=drained), [session])
    assert not server._is_at_rest()
    session.is_speaking = False
    assert server._is_at_rest()


def test_what_a_closing_connection_holds_for_a_client_that_reads_nothing_is_dropped():
    class Closing(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport
            connections.add(self)
            transport.write(bytes(50_000_000))
            transport.close()

        def connection_lost(self, error):
            connections.remove(self)

    async def serve():
        listener = await asyncio.get_running_loop().create_server(Closing, "127.0.0.1", 0)
        ending = asyncio.create_task(end_stuck_ones(connections, 0.1))
        with socket.create_connection(listener.sockets[0].getsockname()):
            while not connections:
                await asyncio.sleep(0.01)
            while connections:
                await asyncio.sleep(0.01)
        ending.cancel()
        listener.close()

    connections: set[Closing] = set()
    asyncio.run(asyncio.wait_for(serve(), 60))


@pytest.mark.parametrize("is_ours", [True, False])
def test_a_websocket_whose_client_takes_nothing_in_is_let_go(is_ours):
    """By whatever server it came."""
    ended = []
    scope = {"state": {"abort": lambda: ended.append("abort")}} if is_ours else {}
    speaker = SimpleNamespace(options=ServerOptions(send_seconds=0.01))
    session = LiveSession(SimpleNamespace(scope=scope), speaker, "")
    with pytest.raises(WebSocketDisconnect):
        asyncio.run(session._within(asyncio.sleep(60)))
    assert ended == ["abort"] * is_ours


def test_draining_takes_no_longer_in_two_parts_than_in_one(monkeypatch):
    speaker = SimpleNamespace(scheduler=SimpleNamespace(drain=lambda seconds: False), options=ServerOptions())
    server, clock = _Server(uvicorn.Config("none"), speaker, set()), itertools.count(0.0, 10.0)
    server.servers = []
    monkeypatch.setattr("zipvoice.server.run.time", SimpleNamespace(monotonic=lambda: next(clock)))
    asyncio.run(uvicorn_without_sockets(server).shutdown())
    assert server.config.timeout_graceful_shutdown == 1 and server.drain_seconds_left == 0


@pytest.mark.parametrize(
    ("rests_at", "is_forced", "waits", "patience"),
    [(0, False, 0, 30), (3, False, 3, 29), (99, True, 0, 30), (99, False, 60, 1)],
)
def test_a_server_speaks_to_its_end_before_it_ends_connections(monkeypatch, rests_at, is_forced, waits, patience):
    """Here a wait takes half a second, and thirty are left for all."""
    now, slept, closed, sleep = [100.0], [], [], asyncio.sleep

    async def asleep(seconds):
        slept.append(seconds)
        now[0] += 0.5
        await sleep(0)

    drained = SimpleNamespace(drain=lambda seconds: seconds == 0 and len(slept) >= rests_at)
    speaker = SimpleNamespace(scheduler=drained, options=ServerOptions(drain_seconds=30.0))
    server = uvicorn_without_sockets(_Server(uvicorn.Config("none"), speaker, set()))
    server.servers = [SimpleNamespace(close=lambda: closed.append(len(slept)), wait_closed=lambda: sleep(0))]
    server.force_exit = is_forced
    monkeypatch.setattr("zipvoice.server.run.time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr("zipvoice.server.run.asyncio", SimpleNamespace(sleep=asleep))
    assert server.drain_seconds_left == math.inf
    asyncio.run(server.shutdown())
    assert slept == [0.05] * waits and closed == [0, waits]  # nobody is let in meanwhile; then uvicorn ends the rest
    assert server.config.timeout_graceful_shutdown == patience
    assert server.drain_seconds_left == 30 - waits / 2


def uvicorn_without_sockets(server):
    server.lifespan = SimpleNamespace(shutdown=lambda: asyncio.sleep(0))
    return server


def test_what_holds_itself_is_given_back_at_rest():
    class Circle:
        pass

    circle = Circle()
    circle.itself, gone = circle, weakref.ref(circle)
    gc.disable()
    try:
        del circle
        memory.give_back()
        assert gone() is None
    finally:
        gc.enable()


def test_a_wyoming_connection_ends_though_its_client_reads_nothing():
    aborted = []

    async def serve():
        reader, speaker = asyncio.StreamReader(), SimpleNamespace(options=ServerOptions(send_seconds=0.01))
        reader.feed_eof()
        transport = SimpleNamespace(abort=lambda: aborted.append("abort"))
        writer = SimpleNamespace(transport=transport, close=lambda: None, get_extra_info=lambda name: None)
        await WyomingServer(speaker).handle(reader, writer)
        while not aborted:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(serve(), 60))
    assert aborted == ["abort"]
