# SPDX-License-Identifier: Apache-2.0
"""How a server starts: its limits, where it listens, and what it logs."""

import asyncio
import json
import logging
import signal
import socket
from types import SimpleNamespace

import h11
import pytest
import uvicorn
from uvicorn.server import ServerState

from zipvoice.config.server import ServerOptions
from zipvoice.server import (
    answers,
    guard,
    recordings,
    run,
    scheduler,
    speech_routes,
    storage,
    voice_store,
)
from zipvoice.server.admission import SchedulerLimits
from zipvoice.server.connections import Connection, connection_class, end_stuck_ones
from zipvoice.server.guard import LINGER_SECONDS
from zipvoice.server.run import listening


def test_ports_and_limits_that_cannot_be_are_named():
    for kind, wrong in (
        (ServerOptions, {"port": 70_000}),
        (ServerOptions, {"wyoming": -1}),
        (ServerOptions, {"send_seconds": 0.0}),
        (SchedulerLimits, {"requests_per_minute": 0.0}),
        (SchedulerLimits, {"max_requests": 0}),
        (SchedulerLimits, {"queue_seconds": float("nan")}),
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            kind(**wrong)


BOUNDS = [
    (answers, "MAX_HEADER_BYTES", 4096),
    (guard, "BODY_OVERHEAD", 65_536),
    (guard, "LINGER_SECONDS", 2.0),
    (guard, "LINGER_BYTES", 268_435_456),
    (recordings, "AT_A_TIME", 2),
    (recordings, "MOST_WAITING", 32),
    (run, "MAX_MESSAGE_BYTES", 1_048_576),
    (run, "NUM_WORKERS", 6),
    (scheduler, "NUM_PLANNERS", 2),
    (speech_routes, "MAX_BATCH_BYTES", 134_217_728),
    (storage, "NUM_THREADS", 4),
    (storage, "MOST_WAITING", 64),
    (storage, "LONGEST_SECONDS", 10.0),
    (voice_store, "HEAD_BYTES", 16_384),
    (voice_store, "MOST_HEAD_BYTES", 16_777_216),
    (voice_store, "CACHED_PROMPTS", 64),
]


@pytest.mark.parametrize(("module", "name", "value"), BOUNDS, ids=lambda value: getattr(value, "__name__", None))
def test_what_strangers_may_take_is_bounded(module, name, value):
    """A bound is changed here as well, by somebody who has thought of what it protects."""
    assert getattr(module, name) == value


def test_an_address_that_is_taken_or_not_there_is_told_with_what_helps():
    with listening("127.0.0.1", 0) as taken, pytest.raises(OSError, match="choose another with --wyoming"):
        listening("127.0.0.1", taken.getsockname()[1], "--wyoming")
    with pytest.raises(OSError, match="choose another with --host"):
        listening("192.0.2.1", 0)


def test_a_server_listens_at_addresses_of_either_version(monkeypatch):
    monkeypatch.setattr(run.socket, "create_server", lambda where, **options: (where, options["family"]))
    assert listening("::1", 80) == (("::1", 80), socket.AF_INET6)
    assert listening("127.0.0.1", 80) == (("127.0.0.1", 80), socket.AF_INET)


@pytest.mark.parametrize(
    ("asked", "levels"),
    [
        ({}, (logging.WARNING, logging.ERROR)),
        ({"log_requests": True}, (logging.INFO, logging.ERROR)),
        ({"log_texts": True}, (logging.INFO, logging.WARNING)),
    ],
)
def test_a_server_logs_what_is_asked_for_and_no_text_else(monkeypatch, asked, levels):
    def listening(*_):
        raise OSError("taken")

    loggers = [logging.getLogger(f"zipvoice.{name}") for name in ("server", "text")]
    before = [logger.level for logger in loggers]
    monkeypatch.setattr(run, "listening", listening)
    monkeypatch.setattr(run.memory, "bound_heaps", lambda: None)
    try:
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        with pytest.raises(OSError, match="taken"):
            run.serve(None, "mine", ServerOptions(**asked), SchedulerLimits(), print)
        assert tuple(logger.level for logger in loggers) == levels
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def test_a_server_serves_what_it_was_told_to(monkeypatch, tmp_path):
    """Its sockets, its voices and its keys, until it is told to end."""
    served, said, closed = [], [], []

    class Socket:
        def __init__(self, *where):
            self.where = where

        def getsockname(self):
            return self.where[0], self.where[1] + 1

        def __enter__(self):
            return self

        def __exit__(self, *error):
            closed.append(self.where)

    class Desk(Socket):
        pass

    async def serve(*given):
        served.append(given)

    monkeypatch.setattr(run, "listening", Socket)
    monkeypatch.setattr(run, "Scheduler", Desk)
    monkeypatch.setattr(run, "_serve", serve)
    monkeypatch.setattr(run, "memory", SimpleNamespace(bound_heaps=lambda: said.append("heaps"), keep=lambda: None))
    given = {"api_key": "k", "voices": str(tmp_path), "voice_alias": ("alloy=heart",), "max_voices": 7}
    for wyoming, where in ((None, "http://127.0.0.1:81"), (90, "http://127.0.0.1:81 and tcp://127.0.0.1:91 (Wyoming)")):
        options, limits = ServerOptions(port=80, wyoming=wyoming, **given), SchedulerLimits()
        run.serve("synthesizer", "mine", options, limits, said.append)
        speaker, keys, http, home = served.pop()
        assert (speaker.synthesizer, speaker.model, speaker.options, keys) == ("synthesizer", "mine", options, ("k",))
        assert speaker.scheduler.where == ("synthesizer", limits)
        assert speaker.voices.folder.path == tmp_path
        assert (speaker.voices.aliases, speaker.voices.max_voices) == ({"alloy": "heart"}, 7)
        assert http.where == ("127.0.0.1", 80)
        assert (home and home.where) == (wyoming and ("127.0.0.1", wyoming, "--wyoming"))
        assert said == ["heaps", f"mine speaks at {where}"] and len(closed) == (2 if wyoming is None else 3)
        said.clear()
        closed.clear()


def test_an_address_stands_as_in_browsers():
    for where, shown in ((("127.0.0.1", 80), "127.0.0.1:80"), (("::1", 80, 0, 0), "[::1]:80")):
        assert run.address(SimpleNamespace(getsockname=lambda where=where: where)) == shown


def test_uvicorn_is_set_to_say_nothing_and_to_keep_to_the_limits():
    options = ServerOptions(max_connections=5, receive_seconds=30.0, drain_seconds=9.0)
    settings = run._uvicorn_settings(options)
    kept = settings.pop("http")
    assert (kept.max_connections, kept.head_seconds, kept.__mro__[1]) == (5, 5.0, Connection)
    assert settings == {
        "ws": "websockets-sansio",
        "ws_max_size": 1 << 20,
        "lifespan": "off",
        "access_log": False,
        "log_config": None,
        "log_level": logging.CRITICAL,
        "server_header": False,
        "timeout_graceful_shutdown": 9.0,
    }


@pytest.mark.parametrize(
    ("signals", "is_forced"),
    [
        ([signal.SIGTERM], False),
        ([signal.SIGINT], True),
        ([signal.SIGTERM, signal.SIGTERM], True),
        ([], False),
    ],
)
def test_signals_end_a_server_and_the_second_one_at_once(signals, is_forced):
    cut = []
    transport = SimpleNamespace(abort=lambda: cut.append("cut"))
    connections = [SimpleNamespace(transport=each) for each in (transport, None)]
    state = SimpleNamespace(connections=connections)
    server = SimpleNamespace(should_exit=False, force_exit=False, server_state=state)
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]

    async def told():
        with run._ended_by_signals(server) as received:
            for number in signals:
                signal.raise_signal(number)
            while len(received) < len(signals):
                await asyncio.sleep(0)
            return received

    assert asyncio.run(told()) == signals
    assert (server.should_exit, server.force_exit, cut) == (bool(signals), is_forced, ["cut"] * is_forced)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


# ---------------------------------------------------------------- connections


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
