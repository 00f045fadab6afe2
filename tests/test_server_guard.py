# SPDX-License-Identifier: Apache-2.0
"""Who may use a server, and from where."""

import asyncio
from dataclasses import replace
from hashlib import sha256
from types import SimpleNamespace

import pytest
from server_app import ask
from starlette.requests import HTTPConnection

from zipvoice.config.server import ServerOptions
from zipvoice.server import guard
from zipvoice.server.app import build_app
from zipvoice.server.guard import Guard
from zipvoice.server.speech_routes import caller


@pytest.mark.parametrize(
    ("host", "is_open"),
    [
        *((host, False) for host in ("localhost", "127.0.0.1", "127.8.8.8", "::1")),
        *((host, True) for host in ("0.0.0.0", "::", "10.0.0.7", "192.168.1.7", "fe80::1", "8.8.8.8", "speech.local")),
    ],
)
def test_whoever_opens_a_server_to_a_network_says_for_whom(host, is_open):
    for more in ({}, {"api_key": "k", "wyoming": 10200}):  # Wyoming knows no keys
        if is_open:
            with pytest.raises(ValueError, match=f"at {host} everybody in the network could use"):
                ServerOptions(host=host, **more)
        assert ServerOptions(host=host, **more, allow_anyone=is_open).is_open == is_open
    assert ServerOptions(host=host, api_key="k").is_open == is_open


def test_a_file_of_keys_has_one_in_each_line_that_is_no_remark(tmp_path):
    path = tmp_path / "keys"
    path.write_text("# for the phone\n one \n\ntwo#2\n#three\n")
    assert ServerOptions(api_key_file=path).keys() == ("one", "two#2")
    assert ServerOptions(api_key=" own ", api_key_file=path).keys() == ("own", "one", "two#2")
    path.write_bytes(b"\xef\xbb\xbfone\r\n")  # as editors of Windows save it
    assert ServerOptions(api_key_file=path).keys() == ("one",)
    path.write_text("one", encoding="utf-16")
    with pytest.raises(ValueError, match="keys is not UTF-8; save it as such"):
        ServerOptions(api_key_file=path).keys()
    path.write_text("# none yet\n\n")
    with pytest.raises(ValueError, match="holds no key; write one on a line of its own"):
        ServerOptions(api_key_file=path).keys()


def status(options, keys=(), kind="http", subprotocols=(), without_key=(), **headers) -> int:
    """Of what a guard lets through or refuses."""

    async def through(scope, receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request"}

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": kind, "method": "GET", "path": "/v1/models", "headers": raw, "extensions": {}}
    if kind == "websocket":
        scope |= {"extensions": {"websocket.http.response": {}}, "subprotocols": subprotocols}
    asyncio.run(Guard(through, options, keys, without_key)(scope, receive, send))
    return sent[0]["status"]


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("127.0.0.1", 204),
        ("127.0.0.1:8000", 204),
        ("LOCALHOST:8000", 204),
        ("[::1]:8000", 204),
        ("studio.lan", 204),
        ("evil.example", 403),
        ("evil.example:8000", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example:8000", 403),
        ("localhost:80@evil.example", 403),
        ("[::1", 403),
        ("", 403),
    ],
)
def test_without_keys_the_server_answers_to_its_own_names_alone(host, code, kind):
    """A page of evil.example, whose name was made to point here, has its own name in Host and in Origin."""
    options = ServerOptions(allow_host=("studio.lan",))
    assert status(options, kind=kind, host=host, origin=f"http://{host}") == code


def test_with_a_key_or_for_anyone_the_name_does_not_matter():
    assert status(ServerOptions(), ("k",), host="evil.example", authorization="Bearer k") == 204
    assert status(ServerOptions(), ("ключ",), host="evil.example", authorization="Bearer ключ") == 204
    assert status(ServerOptions(), ("k",), host="evil.example", authorization="bearer k") == 204
    assert [status(ServerOptions(), ("a", "b"), authorization=f"Bearer {key}") for key in "abc"] == [204, 204, 401]
    assert status(ServerOptions(), ("k",), host="evil.example", authorization="Basic k") == 401
    assert status(ServerOptions(), ("k",), host="evil.example") == 401
    assert status(ServerOptions(allow_anyone=True), host="evil.example") == 204


def test_the_address_that_is_listened_at_is_a_name_of_the_server():
    options = ServerOptions(host="127.8.8.8")
    assert status(options, host="127.8.8.8:8000") == 204
    assert status(options, host="127.8.8.9:8000") == 403


@pytest.mark.parametrize(
    ("protocols", "code"),
    [
        ([], 401),
        (["k"], 401),
        (["zipvoice", "openai-insecure-api-key.k"], 204),
        (["openai-insecure-api-key.b", "openai-insecure-api-key.k"], 401),  # the first counts
    ],
)
def test_a_websocket_may_have_its_key_in_a_protocol(protocols, code):
    assert status(ServerOptions(), ("k",), "websocket", protocols, host="a") == code
    assert status(ServerOptions(), ("k",), "websocket", protocols, host="a", authorization="Bearer  k ") == 204
    assert status(ServerOptions(), ("k",), "websocket", protocols, host="a", authorization="Bearer b") == 401


def test_what_needs_no_key_is_no_websocket():
    options, free = ServerOptions(), ("/v1/models",)
    assert status(options, ("k",), "http", without_key=free) == 204
    assert status(options, ("k",), "websocket", without_key=free) == 401


def test_the_page_and_what_supervisors_ask_for_need_no_key(speaker):
    guarded = build_app(speaker, ("k",))
    free = ("/", "/app.css", "/app.js", "/docs", "/openapi.json", "/health", "/ready")
    for path in (*free, "/v1/models", "/metrics", "/v1/audio/voices", "/nothing"):
        answer = ask(guarded, "GET", path)
        assert answer.status_code == (200 if path in free else 401)
        assert answer.headers.get("www-authenticate") == (None if path in free else "Bearer")


@pytest.mark.parametrize(
    ("origin", "allowed", "code"),
    [
        (None, (), 204),
        ("http://127.0.0.1:8000", (), 204),
        ("https://127.0.0.1:8000", (), 204),
        ("http://127.0.0.1:8001", (), 403),
        ("http://127.0.0.1", (), 403),
        ("null", (), 403),
        ("https://chat.example", (), 403),
        ("https://chat.example", ("https://chat.example",), 204),
        ("http://chat.example", ("https://chat.example",), 403),
        ("https://chat.example", ("*",), 204),
    ],
)
def test_pages_are_of_the_server_or_allowed(origin, allowed, code):
    headers = {"host": "127.0.0.1:8000", **({} if origin is None else {"origin": origin})}
    for keys, key in (((), {}), (("k",), {"authorization": "Bearer k"})):
        assert status(ServerOptions(allow_origin=allowed), keys, **headers, **key) == code


def test_callers_are_known_by_their_keys_or_else_by_their_addresses():
    seen = []

    async def app(scope, receive, send):
        seen.append(caller(HTTPConnection(scope)))

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"authorization", b"Bearer k")]}
    for keys, client in (((), ("10.0.0.7", 1)), ((), None), (("b", "k"), ("10.0.0.7", 1))):
        asyncio.run(Guard(app, ServerOptions(allow_anyone=True), keys, ())({**scope, "client": client}, None, None))
    assert seen == ["10.0.0.7", "", sha256(b"k").hexdigest()[:16]]


# ---------------------------------------------------------------- bodies


@pytest.mark.parametrize(("size", "status"), [(65537, 400), (65538, 413)])  # one byte of sound needs another
@pytest.mark.parametrize("is_declared", [True, False])
def test_a_body_may_have_half_as_much_again_as_a_recording_and_some(speaker, size, status, is_declared):
    async def parts():
        yield b" " * (size - 1)
        yield b" "

    app = build_app(replace(speaker, options=ServerOptions(max_upload_bytes=1)))
    typed = {"Content-Type": "application/json"}
    content = b" " * size if is_declared else parts()
    answer = ask(app, "POST", "/v1/audio/speech", content=content, headers=typed)
    assert answer.status_code == status
    assert answer.headers.get("connection") == ("close" if status == 413 else None)
    if status == 413:
        error = answer.json()["error"]
        assert (error["code"], error["message"]) == ("too_large", "the request is larger than 65537 bytes")


def played(monkeypatch, messages):
    """What a guard reads of a client that is refused, and what it sends to it, one after the other."""
    monkeypatch.setattr("zipvoice.server.guard.LINGER_BYTES", 10)
    done, left = [], iter(messages)

    async def receive():
        done.append(next(left, None))
        if done[-1] is None:
            await asyncio.sleep(60)
        return done[-1]

    async def send(message):
        done.append((message["type"].rpartition(".")[2], message.get("more_body", False)))
        if "status" in message:
            assert (message["status"], (b"connection", b"close") in message["headers"]) == (403, True)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"host", b"evil.example")]}
    asyncio.run(Guard(None, ServerOptions(), (), ())(scope, receive, send))
    return done


def test_what_a_refused_client_goes_on_sending_is_read_before_the_answer_ends(monkeypatch):
    """Up to so many bytes, or until it ends, or is gone, or says nothing more for so long."""
    monkeypatch.setattr("zipvoice.server.guard.LINGER_SECONDS", 0.01)
    part, last = ({"type": "http.request", "body": b"four", "more_body": more} for more in (True, False))
    gone, answered, ended = {"type": "http.disconnect"}, [("start", False), ("body", True)], [("body", False)]
    for messages, read in (
        ([last, part], [last]),
        ([part, last, part], [part, last]),
        ([part, gone, part], [part, gone]),
        ([part] * 9, [part] * 3),
        ([part], [part, None]),
    ):
        assert played(monkeypatch, messages) == [*answered, *read, *ended]


def test_a_whole_body_has_so_much_time(monkeypatch):
    """What comes after it, as the news that the client is gone, may take any time."""
    now, waits = [100.0], []

    async def wait_for(coming, seconds):
        waits.append(seconds)
        now[0] += 25.0
        return await coming

    async def receive():
        return {"type": "http.request", "body": b"a", "more_body": len(waits) < 4}

    async def read():
        body = guard._Body(receive, 60.0, 100)
        for _ in range(6):
            await body.receive()

    loop = SimpleNamespace(time=lambda: now[0])
    known = SimpleNamespace(wait_for=wait_for, get_running_loop=lambda: loop, TimeoutError=asyncio.TimeoutError)
    monkeypatch.setattr(guard, "asyncio", known)
    asyncio.run(read())
    assert waits == [60.0, 35.0, 10.0, 0.0]


def test_a_body_that_does_not_come_is_told_so_and_ends_the_connection(speaker):
    async def never():
        yield b"{"
        await asyncio.sleep(60)

    app = build_app(replace(speaker, options=ServerOptions(receive_seconds=0.05)))
    answer = ask(app, "POST", "/v1/audio/speech", content=never(), headers={"Content-Type": "application/json"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], answer.headers["connection"]) == (408, "slow_request", "close")


def test_a_websocket_is_refused_after_it_has_asked():
    done = []

    async def receive():
        done.append("connect")

    async def send(message):
        done.append(message["type"])

    scope = {"type": "websocket", "path": "/", "headers": [], "extensions": {"websocket.http.response": {}}}
    asyncio.run(Guard(None, ServerOptions(), (), ())(scope, receive, send))
    assert done == ["connect", "websocket.http.response.start", "websocket.http.response.body"]
