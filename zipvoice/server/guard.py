# SPDX-License-Identifier: Apache-2.0
"""What stands before all routes: who may come in, and how much a request may send, and for how long."""

import asyncio
import hmac
from collections.abc import Iterable
from hashlib import sha256
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zipvoice.config.server import ServerOptions
from zipvoice.server.errors import ApiError

BODY_OVERHEAD = 1 << 16
"""Bytes that a body may have beside a recording and a text."""
LINGER_SECONDS = 2.0
"""What a refused client goes on sending is read for so long: a connection that is closed before would be reset, and the
refusal lost."""
KEY_PROTOCOL = "openai-insecure-api-key."
"""How a web page, which cannot set headers, gives its key to a WebSocket: as a protocol of this beginning."""
LINGER_BYTES = 1 << 28
"""And up to so many bytes."""
HERE = ("localhost", "127.0.0.1", "::1")


class Guard:
    """Refuses strangers, other people's web pages and bodies that are too large or too slow.

    Args:
        app: what is behind it.
        options: the limits.
        keys: that are accepted; none lets everybody in.
        without_key: paths that need no key.
    """

    def __init__(self, app: ASGIApp, options: ServerOptions, keys: Iterable[str], without_key: Iterable[str]) -> None:
        self.app, self.options = app, options
        self.digests = [sha256(key.encode()).digest() for key in keys]
        self.without_key = frozenset(without_key)
        self.hosts = {*HERE, options.host, *options.allow_host}
        self.max_body = options.max_upload_bytes * 3 // 2 + BODY_OVERHEAD

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            self._check_origin(headers)
            self._check_key(scope, headers)
            body = _Body(receive, self.options.receive_seconds, self.max_body)
            body.check_length(headers.get("content-length", "0"))
        except ApiError as error:
            await self._refuse(error, scope, receive, send)
            return
        if scope["type"] == "websocket":
            await self.app(scope, receive, send)
        elif scope["method"] == "HEAD":  # what GET gives, of which the connection, which knows, sends the head alone
            await self.app({**scope, "method": "GET"}, body.receive, body.closing(send))
        else:
            await self.app(scope, body.receive, body.closing(send))

    def _check_origin(self, headers: Headers) -> None:
        """Keep other people's web pages out, which a browser on this machine may have open."""
        place = headers.get("host", "")
        name = _hostname(place)
        if not self.digests and not self.options.allow_anyone and name not in self.hosts:
            raise ApiError(403, f"this server is not called {name[:80]!r}; --allow-host allows it", "wrong_host")
        origin = headers.get("origin")
        if origin is None or origin.partition("://")[2] == place:
            return
        if not {"*", origin} & set(self.options.allow_origin):
            raise ApiError(
                403, f"pages of {origin[:80]!r} may not use this server; --allow-origin allows it", "wrong_origin"
            )

    def _check_key(self, scope: Scope, headers: Headers) -> None:
        if not self.digests:
            return
        digest = sha256(_sent_key(scope, headers).encode("latin-1", "replace")).digest()  # the bytes that were sent
        known = [hmac.compare_digest(digest, each) for each in self.digests]  # all of them, whichever fits
        if any(known):
            scope.setdefault("state", {})["key"] = digest.hex()[:16]
        elif scope["type"] == "websocket" or scope["path"] not in self.without_key:
            message = "give a key of this server, as in Authorization: Bearer KEY"
            raise ApiError(401, message, "invalid_api_key", headers={"WWW-Authenticate": "Bearer"})

    async def _refuse(self, error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()  # websocket.connect
            await error.response()(scope, receive, send)
        else:
            body = _Body(receive, self.options.receive_seconds, self.max_body)
            body.is_refused = True
            await error.response()(scope, receive, body.closing(send))


class _Body:
    """A request's body as it comes in, counted and timed."""

    def __init__(self, receive: Receive, seconds: float, max_bytes: int) -> None:
        self._receive, self._max_bytes, self._size = receive, max_bytes, 0
        self._until = asyncio.get_running_loop().time() + seconds
        self._is_whole = False
        self.is_refused = False

    def check_length(self, declared: str) -> None:
        if declared.isdigit() and int(declared) > self._max_bytes:
            self._refuse_size()

    def _refuse_size(self) -> None:
        self.is_refused = True
        raise ApiError(413, f"the request is larger than {self._max_bytes} bytes", "too_large")

    async def receive(self) -> Message:
        if self._is_whole:
            return await self._receive()
        try:
            left = self._until - asyncio.get_running_loop().time()
            message = await asyncio.wait_for(self._receive(), max(0.0, left))
        except asyncio.TimeoutError:
            self.is_refused = True
            raise ApiError(408, "the request came too slowly", "slow_request") from None
        self._size += len(message.get("body", b""))
        if self._size > self._max_bytes:
            self._refuse_size()
        self._is_whole = not message.get("more_body", False)
        return message

    def closing(self, send: Send) -> Send:
        """A `send` that ends the connection after the answer to a body which was not read to its end."""

        async def send_and_close(message: Message) -> None:
            if self.is_refused and message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Connection"] = "close"
            if self.is_refused and message["type"] == "http.response.body" and not message.get("more_body", False):
                await send({**message, "more_body": True})
                await self._linger()
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        return send_and_close

    async def _linger(self) -> None:
        async def drain() -> None:
            more, left = True, LINGER_BYTES
            while more and left > 0:
                message = await self._receive()
                more = message["type"] == "http.request" and message.get("more_body", False)
                left -= len(message.get("body", b""))

        try:
            await asyncio.wait_for(drain(), LINGER_SECONDS)
        except asyncio.TimeoutError:
            return


def _hostname(place: str) -> str:
    """The name in a Host header; empty for what is none."""
    try:
        return urlsplit(f"//{place}").hostname or ""
    except ValueError:
        return ""


def _sent_key(scope: Scope, headers: Headers) -> str:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return key.strip()
    protocols = (name for name in scope.get("subprotocols", ()) if name.startswith(KEY_PROTOCOL))
    return next(protocols, "").removeprefix(KEY_PROTOCOL)
