# SPDX-License-Identifier: Apache-2.0
"""Connections: how many, how long a head may take, and what is told of what is no HTTP."""

import asyncio
import json
from types import SimpleNamespace

import h11
import pytest
import uvicorn
from uvicorn.server import ServerState

from zipvoice.server.connections import connection_class, end_stuck_ones
from zipvoice.server.guard import LINGER_SECONDS


def test_connections_beyond_the_limit_are_cut_off():
    kept = connection_class(2, 10.0)
    config = uvicorn.Config(lambda *_: None, lifespan="off", log_config=None)
    config.load()
    transports = [SimpleNamespace(get_extra_info=lambda name: None, cut=False) for _ in range(3)]

    async def connect():
        state = ServerState()
        for transport in transports:
            transport.abort = lambda transport=transport: setattr(transport, "cut", True)
            kept(config, state, app_state={}).connection_made(transport)

    asyncio.run(connect())
    assert [transport.cut for transport in transports] == [False, False, True]


@pytest.fixture
def connection(monkeypatch):
    """A connection that keeps notes of its timers, and has uvicorn's part left out."""
    protocol = uvicorn.protocols.http.h11_impl.H11Protocol
    for name in ("connection_made", "data_received", "connection_lost", "handle_websocket_upgrade"):
        monkeypatch.setattr(protocol, name, lambda self, given: self.done.append(given))

    class Loop:
        def call_later(self, seconds, action):
            notes.append((seconds, action))
            return SimpleNamespace(cancel=lambda: notes.append("cancelled"))

    notes = []
    made = connection_class(2, 7.0).__new__(connection_class(2, 7.0))
    made.done, made.notes, made.loop, made.cycle, made.app_state, made.connections = (
        [],
        notes,
        Loop(),
        None,
        {"a": 1},
        [],
    )
    made.transport = SimpleNamespace(
        abort="abort", write=lambda data: notes.append(data), write_eof=lambda: notes.append("eof")
    )
    return made


def test_a_head_has_so_much_time_and_what_follows_it_has_its_own(connection):
    connection.connection_made(connection.transport)
    assert connection.app_state == {"a": 1, "abort": "abort"} and connection.notes == [(7.0, "abort")]
    connection.data_received(b"GET")
    assert connection.notes == [(7.0, "abort")]  # it goes on
    connection.cycle = SimpleNamespace(response_complete=False)
    connection.data_received(b" / HTTP/1.1")
    assert connection.notes[1:] == ["cancelled"]
    connection.data_received(b"body")
    assert connection.notes[1:] == ["cancelled"]
    connection.cycle.response_complete = True
    connection.data_received(b"GET")
    assert connection.notes[2:] == [(7.0, "abort")]
    connection.connection_lost(None)
    connection.connection_lost(None)
    assert connection.notes[3:] == ["cancelled"]
    assert connection.done[1:] == [b"GET", b" / HTTP/1.1", b"body", b"GET", None, None]


def test_a_websocket_may_be_silent(connection):
    connection.connection_made(connection.transport)
    connection.handle_websocket_upgrade("event")
    connection.data_received(b"frame")
    assert connection.is_websocket and connection.notes == [(7.0, "abort"), "cancelled"]


@pytest.mark.parametrize("state", [h11.IDLE, h11.SEND_RESPONSE, h11.SEND_BODY])
def test_what_is_no_http_is_told_so_once(connection, state):
    sent, cut = [], []
    connection.connection_made(connection.transport)
    connection.transport.abort = lambda: cut.append("cut")
    connection.conn = SimpleNamespace(our_state=state, send=lambda event: sent.append(event) or None)
    connection.send_400_response("what uvicorn says")
    if state is h11.SEND_BODY:
        assert (sent, cut, connection.is_refused, len(connection.notes)) == ([], ["cut"], False, 1)
        return
    response, data, end = sent
    assert response.status_code == 400 and json.loads(data.data)["error"]["code"] == "bad_request"
    headers = {bytes(name): bytes(value) for name, value in response.headers}
    length = str(len(data.data)).encode()
    assert headers == {b"content-type": b"application/json", b"content-length": length, b"connection": b"close"}
    assert isinstance(end, h11.EndOfMessage) and cut == []
    *writes, (seconds, _) = connection.notes[1:]
    assert writes == [b"", b"", b"", "cancelled", "eof"] and seconds == LINGER_SECONDS
    before = len(connection.done)
    connection.data_received(b"more")
    assert len(connection.done) == before  # it is dropped


def test_what_is_stuck_while_it_closes_is_dropped(monkeypatch):
    """Not what goes on, what is not closing, or what has no transport yet."""
    cut = []

    class Kept:
        def __init__(self, transport):
            self.transport = transport

    class Transport:
        def __init__(self, name, closing, sizes):
            self.name, self.is_closing = name, lambda: closing
            self.get_write_buffer_size = iter(sizes).__next__

        def abort(self):
            cut.append(self.name)

    transports = (
        Transport("stuck", True, [9, 9, 9]),
        Transport("slow", True, [9, 8, 7]),
        Transport("open", False, [9] * 3),
    )
    connections = [Kept(each) for each in (*transports, None)]
    waits = []

    async def sleep(seconds):
        waits.append((seconds, list(cut)))
        if len(waits) == 4:
            raise asyncio.CancelledError

    monkeypatch.setattr("zipvoice.server.connections.asyncio", SimpleNamespace(sleep=sleep))
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(end_stuck_ones(connections, 5.0))
    assert waits == [(5.0, []), (5.0, []), (5.0, ["stuck"]), (5.0, ["stuck"] * 2)]
