# SPDX-License-Identifier: Apache-2.0
"""The name that a request has, and what is logged of it."""

import asyncio
import logging
from dataclasses import replace

from server_app import QUICK, ask

from zipvoice.server.app import build_app
from zipvoice.server.request_log import RequestLog


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
