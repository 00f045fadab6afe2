# SPDX-License-Identifier: Apache-2.0
"""What a request may say, and what it is told of that: the application without a process around it."""

import base64

import pytest
from pydantic import ValidationError
from server_app import ask

from zipvoice.config.server import ServerOptions
from zipvoice.config.strict_json import DoubledKeyError, unique_keys
from zipvoice.server.errors import ApiError
from zipvoice.server.guard import Guard
from zipvoice.server.recordings import of_data_url
from zipvoice.server.schemas import Dialogue, LiveSettings, Speech


@pytest.mark.parametrize(
    ("schema", "needed"),
    [
        (Speech, {"input": "a"}),
        (LiveSettings, {}),
        (Dialogue, {"turns": [{"text": "a"}]}),
    ],
)
def test_a_field_that_is_null_is_as_one_that_is_left_out(schema, needed):
    bare = schema.model_validate(needed)
    nulls = {name: None for name in schema.model_fields if name not in needed}
    assert schema.model_validate({**needed, **nulls, "instructions": None}) == bare
    for name in needed:
        with pytest.raises(ValidationError, match="Field required"):
            schema.model_validate({**needed, name: None})


@pytest.mark.parametrize(
    ("field", "other", "value"),
    [
        ("language", "lang_code", "en"),
        ("num_steps", "num_step", 4),
        ("guidance_scale", "guidance", 2.0),
        ("timeout_seconds", "request_timeout_s", 5.0),
        ("duration", "duration_seconds", 3.0),
        ("voice", "speaker", "heart"),
    ],
)
def test_a_field_has_the_names_of_other_servers_too(field, other, value):
    for name in (field, other):
        assert getattr(Speech.model_validate({"input": "one.", name: value}), field) == value


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"input": "one.", "input": "two."}', "input"),
        ('{"input": "one.", "speed": 1, "voice": {"id": "low", "id": "low"}}', "id"),
        (f'{{"{"x" * 100}": 1, "{"x" * 100}": 2}}', "x" * 80),
    ],
)
def test_a_field_that_is_there_twice_is_a_mistake(app, body, field):
    typed = {"Content-Type": "application/json"}
    answer = ask(app, "POST", "/v1/audio/speech", content=body, headers=typed)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "given_twice", field)


class Name(str):
    """A key that counts how often it is looked at."""

    looks = 0
    __hash__ = str.__hash__

    def __eq__(self, other):
        Name.looks += 1
        return str.__eq__(self, other)


def test_the_field_that_is_there_twice_is_found_among_thousands_at_once():
    names = [*(Name(number) for number in range(2000)), Name(1999)]
    with pytest.raises(DoubledKeyError, match="1999"):
        unique_keys([(name, 0) for name in names])
    assert Name.looks < 10 * len(names)


@pytest.mark.parametrize("where", ["a field", "voice"])
def test_a_name_of_megabytes_is_neither_compared_nor_sent_back(app, monkeypatch, where):
    monkeypatch.setattr("difflib.SequenceMatcher", None)
    name = "voices" * 300_000
    body = {"input": "one.", "voice": name} if where == "voice" else {"input": "one.", name: 1}
    answer = ask(app, "POST", "/v1/audio/speech", json=body)
    assert answer.json()["error"]["code"] in ("voice_not_found", "unknown_field") and len(answer.content) < 1000


@pytest.mark.parametrize("path", ["/", "/app.js", "/docs", "/health", "/ready", "/v1/models", "/v1/audio/voices"])
def test_head_tells_what_get_does(app, path):
    head, get = (ask(app, method, path) for method in ("HEAD", "GET"))
    assert head.status_code == get.status_code == 200
    assert head.headers["content-type"] == get.headers["content-type"]
    assert head.headers["content-length"] == get.headers["content-length"]
    assert ask(app, "HEAD", "/v1/audio/speech").status_code == 405


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/v1/audio/voices", "GET, POST"), ("/v1/audio/voices/low", "DELETE"), ("/v1/audio/speech", "POST"), ("/", "GET")],
)
def test_a_path_tells_all_that_can_be_done_there(app, path, allowed):
    answer = ask(app, "PUT", path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert answer.json()["error"]["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"seed": ' + b"9" * 5000 + b"}", "too many digits"),
        (b"[" * 100_000, "nested"),
        (b'"\xff"', "not UTF-8"),
        (b"{", "the body is not valid JSON: "),
    ],
)
def test_a_body_that_is_json_no_server_reads_is_told_why(app, body, reason):
    error = ask(app, "POST", "/v1/audio/speech", content=body, headers={"Content-Type": "application/json"}).json()
    assert reason in error["error"]["message"] and "sys." not in error["error"]["message"]
    assert (error["error"]["code"], error["error"]["param"]) == ("invalid_json", None)


@pytest.mark.parametrize("size", [998, 999, 1000])
def test_a_recording_may_have_the_size_that_is_permitted(size):
    """In base64, within a request that has room for it."""
    data = bytes(size)
    url = f"data:audio/wav;base64,{base64.b64encode(data).decode()}"
    assert of_data_url(url, 1000) == data
    with pytest.raises(ApiError, match="ref_audio is larger than 990 bytes"):
        of_data_url(url, 990)
    assert len(url) < Guard(None, ServerOptions(max_upload_bytes=1000), (), ()).max_body
    assert Guard(None, ServerOptions(max_upload_bytes=10**8), (), ()).max_body > 10**8 * 4 / 3
