# SPDX-License-Identifier: Apache-2.0
"""How a server starts: its limits, where it listens, and what it logs."""

import asyncio
import logging
import socket
from types import SimpleNamespace

import pytest
import uvicorn
from uvicorn.server import ServerState

from zipvoice.config.server import ServerOptions
from zipvoice.server import run
from zipvoice.server.admission import SchedulerLimits
from zipvoice.server.connections import connection_class
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
