# SPDX-License-Identifier: Apache-2.0
"""How a server starts: its limits, where it listens, and what it logs."""

import asyncio
import logging
import signal
import socket
import threading
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

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
from zipvoice.server.connections import Connection
from zipvoice.server.run import listening
from zipvoice.server.threads import filled_pool


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
    monkeypatch.setattr(run.socket, "create_server", lambda where, **options: (where, options))
    assert listening("::1", 80) == (("::1", 80), {"family": socket.AF_INET6, "backlog": 1024})
    assert listening("127.0.0.1", 80) == (("127.0.0.1", 80), {"family": socket.AF_INET, "backlog": 1024})


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
    monkeypatch.setattr(
        run, "memory", SimpleNamespace(bound_heaps=lambda: said.append("heaps"), keep=lambda: said.append("kept"))
    )
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
        assert said == ["heaps", f"mine speaks at {where}", "kept"] and len(closed) == (2 if wyoming is None else 3)
        said.clear()
        closed.clear()


@pytest.mark.parametrize(
    ("signals", "is_forced", "drains"), [([signal.SIGTERM], False, 7.5), ([signal.SIGINT], True, 0), ([], False, 7.5)]
)
@pytest.mark.parametrize("has_wyoming", [True, False])
def test_a_server_drains_wyoming_last_and_ends_with_what_ended_it(
    speaker, monkeypatch, signals, is_forced, drains, has_wyoming
):
    done, tidying = [], {}

    class Server:
        drain_seconds_left, force_exit = 7.5, is_forced
        server_state = SimpleNamespace(connections="connections")

        def __init__(self, config, speaker, live):
            done.append((config.app.state.speaker is speaker, config.app.state.live is live, config.ws_max_size))

        async def serve(self, sockets):
            await asyncio.sleep(0)
            pool = asyncio.get_running_loop()._default_executor
            done.append((sockets, pool._max_workers, await asyncio.to_thread(len, "thread")))

    class Home:
        def __init__(self, speaker):
            self.handle = "handle"

        async def drain(self, seconds):
            done.append(f"drained {seconds}")

    async def start_server(handle, sock, limit):
        done.append((handle, sock, limit))
        return SimpleNamespace(close=lambda: done.append("closed"))

    def never_ends(name):
        async def tidy(*given):
            tidying[name] = given
            try:
                await asyncio.sleep(60)
            finally:
                tidying[name] += ("ended",)

        return tidy

    monkeypatch.setattr(run, "_Server", Server)
    monkeypatch.setattr(run, "WyomingServer", Home)
    monkeypatch.setattr(run.asyncio, "start_server", start_server)
    monkeypatch.setattr(run, "_ended_by_signals", lambda server: nullcontext(signals))
    monkeypatch.setattr(run, "end_stuck_ones", never_ends("stuck"))
    monkeypatch.setattr(run.memory, "give_back_at_rest", never_ends("memory"))
    home = "home" if has_wyoming else None
    with pytest.raises(KeyboardInterrupt) if is_forced else nullcontext():
        asyncio.run(run._serve(speaker, (), "http", home))
    listens, ends = ([("handle", "home", 65536)], ["closed"]) if has_wyoming else ([], [])
    assert done == [(True, True, 1 << 20), *listens, (["http"], 6, 6), *ends, f"drained {drains}"]
    admitted, is_at_rest, ended = tidying["memory"]
    assert (admitted(), is_at_rest(), ended) == (speaker.scheduler.metrics().admitted, True, "ended")
    assert tidying["stuck"] == ("connections", speaker.options.send_seconds, "ended")


def test_a_pool_has_all_its_threads_from_the_start():
    before = set(threading.enumerate())
    pool = filled_pool(3, "zipvoice-test")
    made = {thread.name.rpartition("_")[0] for thread in set(threading.enumerate()) - before}
    assert (len(set(threading.enumerate()) - before), made) == (3, {"zipvoice-test"})
    together = threading.Barrier(3)
    assert sorted(pool.map(lambda _: together.wait(30), range(3))) == [0, 1, 2]
    pool.shutdown()


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
