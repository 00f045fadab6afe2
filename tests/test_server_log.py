# SPDX-License-Identifier: Apache-2.0
"""The name that a request has, and what is logged of it."""

import asyncio
import logging
from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace

import pytest
from server_app import QUICK, ask

from zipvoice.config.server import ServerOptions
from zipvoice.server.app import build_app
from zipvoice.server.guard import Guard
from zipvoice.server.request_log import RequestLog, request_id


def test_a_request_has_the_name_its_client_gave_it(app):
    assert ask(app, "GET", "/health", headers={"X-Request-Id": "a/b-1"}).headers["x-request-id"] == "a/b-1"
    refused = ask(app, "GET", "/v1/models", headers={"X-Request-Id": "mine", "Host": "evil.example"})
    assert refused.status_code == 403 and refused.headers["x-request-id"] == "mine"
    for unusual in ("", "a b", "a\t1", "x" * 129):
        made = ask(app, "GET", "/health", headers={"X-Request-Id": unusual}).headers["x-request-id"]
        assert len(made) == 32 and made.isalnum()


def test_a_failure_is_told_by_the_name_of_its_request(speaker, monkeypatch, caplog):
    def fail():
        raise RuntimeError("the disk is gone")

    monkeypatch.setattr(speaker.voices, "names", fail)
    page = "https://chat.example.org"
    app = build_app(replace(speaker, options=replace(speaker.options, log_requests=True, allow_origin=(page,))))
    with caplog.at_level(logging.INFO, "zipvoice.server"):
        failed = ask(app, "GET", "/v1/audio/voices", headers={"X-Request-Id": "mine", "Origin": page})
    assert failed.status_code == 500 and failed.headers["x-request-id"] == "mine"
    assert "the disk" not in failed.text and "the request mine failed" in caplog.text
    assert failed.json()["error"]["code"] == "internal_error"
    assert failed.headers["access-control-allow-origin"] == page
    assert "mine GET '/v1/audio/voices' 500, " in caplog.text and "cut off" not in caplog.text


def lines(speaker, caplog, **changed) -> list[str]:
    loud = replace(speaker, options=replace(speaker.options, **changed))
    with caplog.at_level(logging.INFO, "zipvoice.server"):
        body = {**QUICK, "voice": "low", "input": "one two."}
        answer = ask(build_app(loud), "POST", "/v1/audio/speech", json=body, headers={"X-Request-Id": "mine"})
    assert answer.status_code == 200
    return [record.getMessage().replace(str(len(answer.content)), "SIZE") for record in caplog.records]


def test_requests_and_texts_are_logged_only_when_asked(speaker, caplog):
    assert lines(speaker, caplog) == []
    (line,) = lines(speaker, caplog, log_requests=True)
    assert line.startswith("mine POST '/v1/audio/speech' 200, SIZE bytes in ") and "cut off" not in line
    assert lines(speaker, caplog, log_texts=True)[-1] == "mine low: 'one two.'"


def test_the_texts_of_dialogues_are_logged_too(speaker, caplog):
    loud = replace(speaker, options=replace(speaker.options, log_texts=True))
    body = {**QUICK, "turns": [{"text": "one.", "voice": "low"}, {"text": "two.", "voice": "alloy"}]}
    with caplog.at_level(logging.INFO, "zipvoice.server"):
        ask(build_app(loud), "POST", "/v1/audio/dialogue", json=body, headers={"X-Request-Id": "mine"})
    assert [record.getMessage() for record in caplog.records] == ["mine low: 'one.'", "mine alloy: 'two.'"]


def test_an_answer_that_was_not_sent_whole_is_logged_so(caplog):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"abc", "more_body": True})

    async def send(message):
        pass

    scope = {"type": "http", "method": "GET", "path": "/\n", "headers": []}
    with caplog.at_level(logging.INFO, "zipvoice.server"):
        asyncio.run(RequestLog(app, True)(scope, None, send))
    assert "GET '/\\n' 200, 3 bytes in " in caplog.text and caplog.text.rstrip().endswith("s, cut off")


@pytest.mark.parametrize(
    ("scope", "messages", "line"),
    [
        (
            {"type": "websocket", "path": "/" + "x" * 300},
            [{"type": "websocket.accept"}, {"type": "websocket.send", "bytes": b"abcd"}, {"type": "websocket.close"}],
            "me WS '/" + "x" * 199 + "' 101, 4 bytes in 2.50 s",
        ),
        (
            {"type": "websocket", "path": "/"},
            [{"type": "websocket.accept"}, {"type": "websocket.send", "text": "abcd"}],
            "me WS '/' 101, 0 bytes in 2.50 s, cut off",
        ),
        (
            {"type": "websocket", "path": "/"},
            [
                {"type": "websocket.http.response.start", "status": 403},
                {"type": "websocket.http.response.body", "body": b"no"},
            ],
            "me WS '/' 403, 2 bytes in 2.50 s",
        ),
        (
            {"type": "http", "path": "/", "method": "GET"},
            [
                {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]},
                {"type": "http.response.body", "body": b"abc", "more_body": True},
                {"type": "http.response.body"},
            ],
            "me GET '/' 200, 3 bytes in 2.50 s",
        ),
        ({"type": "http", "path": "/", "method": "GET"}, [], "me GET '/' 101, 0 bytes in 2.50 s, cut off"),
    ],
)
@pytest.mark.parametrize("tells", [True, False])
def test_every_answer_has_a_line(monkeypatch, caplog, scope, messages, line, tells):
    now, sent = [10.0], []
    monkeypatch.setattr("zipvoice.server.request_log.time", SimpleNamespace(monotonic=lambda: now[0]))

    async def app(scope, receive, send):
        assert request_id.get() == "me"
        for message in messages:
            await send(message)
        now[0] = 12.5

    async def send(message):
        sent.append(message)

    messages = deepcopy(messages)
    with caplog.at_level(logging.INFO, "zipvoice.server"):
        scope = {**scope, "headers": [(b"x-request-id", b"me")]}
        asyncio.run(RequestLog(app, True, tells)(scope, None, send))
    assert caplog.messages == [line] and len(sent) == len(messages)
    named = [(b"x-request-id", b"me") in message.get("headers", []) for message in sent]
    assert named == [tells and position == 0 for position in range(len(sent))]


def test_the_life_of_a_server_is_no_request(caplog):
    seen = []

    async def app(scope, receive, send):
        seen.append((scope, receive, send))

    with caplog.at_level(logging.INFO, "zipvoice.server"):
        for wrapped in (RequestLog(app, True), Guard(app, ServerOptions(), ("k",), ())):
            asyncio.run(wrapped({"type": "lifespan"}, 1, 2))
    assert seen == [({"type": "lifespan"}, 1, 2)] * 2 and caplog.messages == []
