# SPDX-License-Identifier: Apache-2.0
"""How mistakes are told: the status, the word for programs, the field, and what may be done about it."""

import asyncio
import logging
from dataclasses import replace
from functools import partial

import pytest
from server_app import HERE, ask
from starlette.requests import ClientDisconnect

import zipvoice
from zipvoice.server.admission import Busy, ShuttingDown
from zipvoice.server.app import _Failures, build_app
from zipvoice.server.errors import ApiError, busy, error_type, invalid, of_validation
from zipvoice.server.speaker import told
from zipvoice.server.speech_job import Cancelled, DeadlineExceeded, Failed


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "invalid_request_error"),
        (429, "rate_limit_error"),
        (499, "invalid_request_error"),
        (500, "server_error"),
        (503, "server_error"),
    ],
)
def test_a_status_has_a_type(status, kind):
    error = ApiError(status, "half a \ud83d", "odd", "a.\udc00", headers={"X": "y"})
    body = {"message": "half a \\ud83d", "type": kind, "param": "a.\\udc00", "code": "odd"}
    assert error_type(status) == kind and error.body == body
    assert error.response().status_code == status and error.response().headers["x"] == "y"


@pytest.mark.parametrize(("seconds", "told"), [(0.0, "1"), (0.4, "1"), (2.0, "2"), (2.1, "3")])
def test_a_client_is_not_asked_to_come_back_too_early(seconds, told):
    assert busy("later", seconds, "busy").headers == {"Retry-After": told}


LATER, SOON = {"Retry-After": "7"}, {"Retry-After": "5"}


@pytest.mark.parametrize(
    ("error", "status", "code", "param", "message", "headers"),
    [
        (invalid("as it is", "input"), 400, "invalid_value", "input", "as it is", {}),
        (Cancelled("cancelled"), 503, "shutting_down", None, "the server is shutting down", SOON),
        (ShuttingDown("ends", 9.0), 503, "shutting_down", None, "the server is shutting down", SOON),
        (Busy("full", 6.5), 429, "busy", None, "full; try again later", LATER),
        (DeadlineExceeded("late"), 408, "deadline_exceeded", None, "the speech was not finished in the time", {}),
        (ClientDisconnect(), 408, "client_gone", None, "the client is gone", {}),
        (ValueError("no words"), 400, "invalid_text", "input", "no words", {}),
        (Failed("NaN"), 500, "internal_error", None, "the server failed; its log says why", {}),
        (OSError("disk"), 500, "internal_error", None, "the server failed; its log says why", {}),
    ],
)
def test_every_error_has_its_words(error, status, code, param, message, headers, caplog):
    found = told(error)
    assert (found.status_code, found.code, found.param, found.headers) == (status, code, param, headers)
    assert found.message.startswith(message)
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * (status == 500)


def complaint(*place, kind="float_type", message="Input should be a number", **ctx):
    return {"type": kind, "loc": place, "msg": message, "ctx": ctx}


@pytest.mark.parametrize(
    ("errors", "message", "param", "code"),
    [
        ([complaint("body", "speed")], "speed: Input should be a number", "speed", "float_type"),
        ([complaint("query", "speed")], "speed: Input should be a number", "speed", "float_type"),
        ([complaint("path", "speed")], "speed: Input should be a number", "speed", "float_type"),
        ([complaint("speed")], "speed: Input should be a number", "speed", "float_type"),
        ([complaint("body", "turns", 0, "body")], "turns.0.body: Input", "turns.0.body", "float_type"),
        (
            [complaint("body", "a"), complaint("body", "b")],
            "a: Input should be a number (and 1 more)",
            "a",
            "float_type",
        ),
        ([complaint("body")] * 3, "Input should be a number (and 2 more)", None, "float_type"),
        ([complaint("body", message="Value error, not both", kind="value_error")], "not both", None, "value_error"),
        ([complaint("body", kind="unknown_field", message="no", param="sped")], "no", "sped", "unknown_field"),
        (
            [complaint("body", 7, kind="json_invalid", error="oh")],
            "the body is not valid JSON: oh",
            None,
            "invalid_json",
        ),
        ([complaint("body", kind="model_attributes_type")], "send a JSON object, with", None, "no_json_object"),
        ([complaint("body", "a", kind="model_attributes_type")], "a: Input", "a", "model_attributes_type"),
    ],
)
def test_the_first_of_pydantics_complaints_is_told(errors, message, param, code):
    error = of_validation(errors)
    assert (error.status_code, error.param, error.code) == (400, param, code)
    assert error.message.startswith(message) and error.message.count("more)") == (len(errors) > 1)


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "message"),
    [
        ("GET", "/v1/" + "x" * 100, 404, "unknown_url", f"there is no '/v1/{'x' * 76}' here"),
        ("GET", "/redoc", 404, "unknown_url", "there is no '/redoc' here"),
        ("DELETE", "/health", 405, "method_not_allowed", "'/health' takes other methods than DELETE, see the header"),
        ("A" * 30, "/health", 405, "method_not_allowed", f"'/health' takes other methods than {'A' * 20}, see"),
        ("GET", "/teapot", 418, "bad_request", "short and stout"),
        ("GET", "/teacup", 418, "bad_request", "parsing the body"),
        ("GET", "/form", 400, "bad_request", "a form without its end"),
    ],
)
def test_a_path_that_gives_nothing_says_why(speaker, method, path, status, code, message):
    from starlette.exceptions import HTTPException

    def fail(status, message, cause):
        raise HTTPException(status, message, {"X-Tea": "green"}) from cause

    app, cause = build_app(speaker), ValueError("no words")
    for name, *given in (
        ("teapot", 418, "short and stout", None),
        ("teacup", 418, "parsing the body", cause),
        ("form", 400, "a form without its end", cause),
    ):
        app.add_api_route(f"/{name}", partial(fail, *given))
    answer = ask(app, method, path)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (status, code, None)
    assert error["message"].startswith(message)
    assert answer.headers.get("x-tea") == ("green" if code == "bad_request" else None)


@pytest.mark.parametrize(("kind", "is_begun"), [("http", True), ("websocket", False), ("http", False)])
def test_a_failure_is_answered_unless_there_is_an_answer_already(kind, is_begun, caplog):
    sent = []

    async def app(scope, receive, send):
        if is_begun:
            await send({"type": "http.response.start", "status": 200})
        raise RuntimeError("the disk is gone")

    async def send(message):
        sent.append(message.get("status"))

    def handle():
        asyncio.run(_Failures(app)({"type": kind}, None, send))

    if kind == "http" and not is_begun:
        handle()
        assert sent == [500, None]
    else:
        with pytest.raises(RuntimeError, match="the disk is gone"):
            handle()
        assert sent == [200] * is_begun


def test_pages_of_other_origins_may_do_and_read_what_they_need(speaker):
    page, options = "https://chat.example", replace(speaker.options, allow_origin=("https://chat.example",))
    app = build_app(replace(speaker, options=options))
    wanted = {"Origin": page, "Access-Control-Request-Headers": "x-stainless-lang"}
    for method, status in (("GET", 200), ("POST", 200), ("DELETE", 200), ("PUT", 400)):
        headers = {**wanted, "Access-Control-Request-Method": method}
        answer = ask(app, "OPTIONS", "/v1/audio/speech", headers=headers)
        assert answer.status_code == status
    answer = ask(app, "GET", "/v1/models", headers={"Origin": page})
    exposed = "X-Request-Id, X-Model, X-Ignored-Fields, X-Word-Timestamps, Retry-After"
    assert answer.headers["access-control-expose-headers"] == exposed
    own = ask(build_app(speaker), "GET", "/v1/models", headers={"Origin": HERE}).headers
    assert not any(name.startswith("access-control") for name in own)  # where no others are allowed


def test_the_description_of_the_routes_names_the_package(app):
    info = ask(app, "GET", "/openapi.json").json()["info"]
    assert info == {"title": "ZipVoice", "version": zipvoice.__version__}


def test_the_description_tells_what_speech_is_answered_with(app):
    paths, audio, events = ask(app, "GET", "/openapi.json").json()["paths"], {"audio/mpeg"}, {"text/event-stream"}
    for path, method, kinds in (
        ("/v1/audio/speech", "post", audio | events),
        ("/v1/audio/dialogue", "post", audio | events),
        ("/v1/audio/voices/{name}/preview", "get", audio),
        ("/v1/audio/speech/batch", "post", {"application/json"}),
        ("/metrics", "get", None),
    ):
        answer = paths[path][method]["responses"]["200"]
        assert set(answer.get("content", ())) == (kinds or set())
