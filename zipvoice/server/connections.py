# SPDX-License-Identifier: Apache-2.0
"""Connections as uvicorn keeps them, with limits that it does not have: on their number and on the time of a head."""

import asyncio
import json
from collections.abc import Collection
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from zipvoice.server.errors import invalid
from zipvoice.server.guard import LINGER_SECONDS


class Connection(H11Protocol):
    """One connection. Without more ado it ends one that says nothing, or says it too slowly."""

    max_connections = 1000
    head_seconds = 10.0
    is_refused = False
    is_websocket = False
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state: dict[str, Any] = {**self.app_state, "abort": transport.abort}
        if len(self.connections) > self.max_connections:
            transport.abort()
        else:
            self._watch_head()

    def data_received(self, data: bytes) -> None:
        if self.is_refused:
            return
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head_timer()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        super().handle_websocket_upgrade(event)
        self.is_websocket = True

    def send_400_response(self, msg: str) -> None:
        """In the shape of all errors, unless another answer is on its way, which is cut off."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()
            return
        body = json.dumps({"error": invalid("this is not HTTP", code="bad_request").body}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        # What the client goes on sending is dropped for a while: a close before would reset the connection, and the
        # answer be lost.
        self._end_head_timer()
        self.is_refused = True
        self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _watch_head(self) -> None:
        """Between requests, a begun head must be whole in time."""
        if self.is_websocket or (self.cycle is not None and not self.cycle.response_complete):
            self._end_head_timer()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_seconds, self.transport.abort)

    def _end_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def connection_class(max_connections: int, head_seconds: float) -> type[Connection]:
    """Connections with these limits."""
    return type("Connection", (Connection,), {"max_connections": max_connections, "head_seconds": head_seconds})


async def end_stuck_ones(connections: Collection[Any], seconds: float) -> None:
    """Drop what closing connections hold for clients who have taken in none of it for `seconds`. Never ends.

    asyncio waits for such clients without an end. Only what is being closed is looked at: while something is sent, who
    sends it has its own patience.
    """
    before: dict[Any, int] = {}
    while True:
        await asyncio.sleep(seconds)
        closing = [each for each in connections if each.transport is not None and each.transport.is_closing()]
        unsent = {each: each.transport.get_write_buffer_size() for each in closing}
        for each, size in unsent.items():
            if before.get(each) == size:
                each.transport.abort()
        before = unsent
