# SPDX-License-Identifier: Apache-2.0
"""A name for each request, by which its client and the log speak of the same one."""

import logging
import re
import time
import uuid
from contextvars import ContextVar

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "X-Request-Id"
"""What a client sends in it comes back, and a name of the server's where it sends none."""
request_id: ContextVar[str] = ContextVar("request_id", default="-")
"""Of the request that is being answered."""

_NAME = re.compile(r"[\w.:+/=-]{1,128}", re.ASCII)
_BEGINNINGS = ("http.response.start", "websocket.accept", "websocket.http.response.start")

logger = logging.getLogger(__name__)


class RequestLog:
    """Names each request, and writes a line about it when it is answered.

    Args:
        app: what is behind it.
        is_on: whether lines are written.
        tells: whether answers have the name; proxies like Ray's put it there themselves.
    """

    def __init__(self, app: ASGIApp, is_on: bool, tells: bool = True) -> None:
        self.app, self.is_on, self.tells = app, is_on, tells

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        answer = _Answer(Headers(scope=scope).get(HEADER, ""), send, self.tells)
        try:
            await self.app(scope, receive, answer.send)
        finally:
            if self.is_on:
                logger.info("%s %s %r %s", answer.name, scope.get("method", "WS"), scope["path"][:200], answer)


class _Answer:
    """What one request got."""

    def __init__(self, sent_name: str, send: Send, tells: bool) -> None:
        self.name = sent_name if _NAME.fullmatch(sent_name) else uuid.uuid4().hex
        request_id.set(self.name)
        self._send, self._tells, self._started = send, tells, time.monotonic()
        self._status, self._size, self._is_whole = 101, 0, False

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind in _BEGINNINGS:
            if self._tells:
                MutableHeaders(raw=message.setdefault("headers", []))[HEADER] = self.name
            self._status = message.get("status", self._status)
        await self._send(message)
        self._size += len(message.get("body") or message.get("bytes") or b"")
        self._is_whole = kind == "websocket.close" or (kind.endswith(".body") and not message.get("more_body"))

    def __str__(self) -> str:
        took = time.monotonic() - self._started
        return f"{self._status}, {self._size} bytes in {took:.2f} s" + ("" if self._is_whole else ", cut off")
