# SPDX-License-Identifier: Apache-2.0
"""Who may use a server, and from where."""

import asyncio

import pytest

from zipvoice.config.server import ServerOptions
from zipvoice.server.guard import Guard


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


def status(options, keys=(), kind="http", **headers) -> int:
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
    scope = {"type": kind, "method": "GET", "path": "/v1/models", "headers": raw, "extensions": {}, "subprotocols": []}
    if kind == "websocket":
        scope["extensions"] = {"websocket.http.response": {}}
    asyncio.run(Guard(through, options, keys, ())(scope, receive, send))
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
